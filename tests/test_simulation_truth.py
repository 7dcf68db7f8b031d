"""True scales: the basis against golden values and scipy, and what the truth file says about itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from pyscale.simulation import SimulationOptions, simulate
from pyscale.simulation.absorption import Ellipsoid
from pyscale.simulation.basis import make_smoother, real_spherical_harmonics, smooth
from pyscale.simulation.distortions import automatic_intervals
from pyscale.typing import FloatArray

# computed by DIALS (parameters, {coordinate: value}), spacing 1
SMOOTHER_VALUES = [
    ([1, 2], {0: 1.0857346406, 0.25: 1.2344356832, 0.5: 1.5, 1: 1.9142653594}),
    ([1, 2, 4], {0: 1.1157109604, 0.25: 1.2693497848, 0.5: 1.520923264, 1: 2.1031258496, 2: 3.7693343929}),
    (
        [1, 2, 4, 3, 1],
        {0: 1.5, 0.25: 1.8104232889, 0.5: 2.1031258496, 1: 2.9832613888, 1.5: 3.6906224513, 3: 2.0},
    ),
    (
        [1, 2, 4, 3, 1, 0, 5, 2],
        {0: 1.5, 0.25: 1.8104232889, 0.5: 2.1031258496, 1: 2.9832613888, 3: 1.9832613888, 6: 3.5},
    ),
]

# computed by DIALS, l = 1 (m = −1, 0, 1) and l = 2 (m = −2 ... 2)
HARMONICS_VALUES = [
    ((0, 0, 1), (0, 0.488602512, 0, 0, 0, 0.630783131, 0, 0)),
    ((1, 0, 0), (0, 0, 0.488602512, 0, 0, -0.315391565, 0, 0.546274215)),
    ((0, 1, 0), (0.488602512, 0, 0, 0, 0, -0.315391565, 0, -0.546274215)),
    ((0.6, 0, 0.8), (0, 0.39088201, 0.293161507, 0, 0, 0.29016024, 0.524423247, 0.196658718)),
    (
        (0.36, 0.48, 0.8),
        (
            0.234529206,
            0.39088201,
            0.175896904,
            0.188792369,
            0.419538597,
            0.29016024,
            0.314653948,
            -0.055064441,
        ),
    ),
    (
        (-0.6, -0.64, -0.48),
        (
            -0.312705608,
            -0.234529206,
            -0.293161507,
            0.419538597,
            0.335630878,
            -0.097392915,
            0.314653948,
            -0.027095201,
        ),
    ),
]

# range, requested interval, nodes, actual interval (degrees)
LAYOUTS = [
    (1.5, 1, 3, 0.75),
    (3, 1, 5, 1.0),
    (9, 2, 7, 1.8),
    (10, 4, 5, 10 / 3),
    (20, 4, 7, 4.0),
    (20, 5, 6, 5.0),
    (90, 15, 8, 15.0),
    (100, 15, 9, 100 / 7),
    (100, 20, 7, 20.0),
    (180, 15, 14, 15.0),
    (180, 20, 11, 20.0),
    (360, 15, 26, 15.0),
    (360, 20, 20, 20.0),
]


@pytest.mark.parametrize(("parameters", "values"), SMOOTHER_VALUES)
def test_smoother_values(parameters: list[float], values: dict[float, float]) -> None:
    n = len(parameters)
    extent = float(n - 1 if n < 4 else n - 2)
    x = np.array(list(values), float)
    found = smooth(np.array(parameters, float), x, extent)
    np.testing.assert_allclose(found, list(values.values()), rtol=0, atol=6e-11)


@pytest.mark.parametrize(("width", "interval", "n", "actual"), LAYOUTS)
def test_smoother_layout(width: float, interval: float, n: int, actual: float) -> None:
    smoother = make_smoother(width, interval, 0.5, np.linspace(3.0, width / 0.5, 50))
    assert smoother.n_parameters == n
    assert smoother.interval == pytest.approx(actual)
    assert smoother.norm_fac == pytest.approx(0.999 * 0.5 / actual)
    assert smoother.origin == pytest.approx(3.0 * smoother.norm_fac)


@given(n=st.integers(2, 12), shift=st.floats(-5, 5), slope=st.floats(-2, 2))
@settings(max_examples=30, deadline=None)
def test_smoother_is_linear_and_keeps_constants(n: int, shift: float, slope: float) -> None:
    extent = float(n - 1 if n < 4 else n - 2)
    x = np.linspace(0.0, extent, 41)
    ramp = np.arange(n, dtype=float)
    np.testing.assert_allclose(smooth(np.full(n, shift), x, extent), shift, atol=1e-12)
    found = smooth(slope * ramp + shift, x, extent)
    np.testing.assert_allclose(found, slope * smooth(ramp, x, extent) + shift, atol=1e-11)
    mirrored = smooth(ramp[::-1].copy(), x[::-1].copy(), extent)
    interior = np.abs(x * 2 % 1) > 1e-9  # window changes at half spacings round one way
    np.testing.assert_allclose(mirrored[interior], smooth(ramp, x, extent)[interior], atol=1e-11)


@pytest.mark.parametrize(("vector", "values"), HARMONICS_VALUES)
def test_harmonics_values(vector: tuple[float, ...], values: tuple[float, ...]) -> None:
    found = real_spherical_harmonics(2, np.array([vector], float))
    np.testing.assert_allclose(found[0], values, rtol=0, atol=2e-9)


def scipy_harmonics(lmax: int, vectors: FloatArray) -> FloatArray:
    """The same from scipy's Legendre functions, whose Condon-Shortley phase (−1)^m is taken out."""
    azimuth = np.arctan2(vectors[:, 1], vectors[:, 0])
    columns = []
    for l in range(1, lmax + 1):
        for m in range(-l, l + 1):
            k = abs(m)
            norm = math.sqrt((2 * l + 1) / (4 * math.pi) * math.factorial(l - k) / math.factorial(l + k))
            value = norm * (-1) ** k * special.lpmv(k, l, vectors[:, 2])
            columns.append(value if m == 0 else math.sqrt(2) * value * (np.sin if m < 0 else np.cos)(k * azimuth))
    return np.stack(columns, axis=1)


def test_harmonics_agree_with_scipy() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(300, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = real_spherical_harmonics(8, vectors)
    assert found.shape == (300, 80)
    np.testing.assert_allclose(found, scipy_harmonics(8, vectors), atol=1e-12)


@pytest.mark.parametrize(
    ("width", "scale", "decay"),
    [(3, 1, 1.5), (5, 2, 3), (10, 4, 5), (24, 4, 5), (25, 8, 10), (89, 8, 10), (90, 15, 20), (360, 15, 20)],
)
def test_automatic_intervals(width: float, scale: float, decay: float) -> None:
    assert automatic_intervals(width) == (scale, decay)


def smoothed(parameters: FloatArray, layout: FloatArray, z: FloatArray) -> FloatArray:
    """Gaussian-weighted mean of the three nearest nodes, written as the definition with a loop."""
    _, norm_fac, origin, extent = layout
    n = len(parameters)
    positions = np.arange(n) - (0.5 if n > 3 else 0.0)
    spacing = extent / (n - 1 if n < 4 else n - 2)
    values = []
    for x in (z * norm_fac - origin) / spacing:
        window = slice(None)
        if n > 3:
            raw = math.floor(x - 1.0) + 1 if x >= 1.5 else math.ceil(x - 2.0) + 1
            first, last = max(raw, 0), min(max(raw + 3, 2), n)
            window = slice(min(first, n - 2), last)
        weights = np.exp(-(((x - positions[window]) / 0.7) ** 2))
        values.append(weights @ parameters[window] / weights.sum())
    return np.array(values)


@pytest.mark.parametrize("width", [70.0, 200.0])
def test_model_truth_lies_in_the_basis(width: float) -> None:
    """g from the stored parameters, the columns and the experiment document alone."""
    options = SimulationOptions(
        truth="model",
        d_min=3.2,
        n_sweeps=2,
        sweep_width=width,
        start_angles=(20.0, -77.0),
        random_goniometer=True,
        rotation_axis=(0.6, 0.0, -0.8),
        lmax=3,
        seed=5,
    )
    data = simulate(options)
    for k, columns in enumerate(data.columns):
        own = data.truth["id"] == k
        z, d = columns["xyzobs.px.value"][:, 2], columns["d"]
        part = {name: data.truth[f"sweep_{k}/{name}"] for name in ("scale", "decay", "absorption")}
        scale = smoothed(part["scale"], data.truth[f"sweep_{k}/scale_layout"], z)
        b = smoothed(part["decay"], data.truth[f"sweep_{k}/decay_layout"], z)
        goniometer = data.document["goniometer"][k]
        fixed, setting = (np.reshape(goniometer[n], (3, 3)) for n in ("fixed_rotation", "setting_rotation"))
        from scipy.spatial.transform import Rotation

        phi = np.radians(options.start_angles[k] + z * options.oscillation_width)
        turn = Rotation.from_rotvec(np.outer(phi, goniometer["rotation_axis"])).as_matrix()
        to_crystal = np.swapaxes(setting @ turn @ fixed, 1, 2)
        source = to_crystal @ np.array([0.0, 0.0, 1.0])
        diffracted = np.einsum("nij,nj->ni", to_crystal, columns["s1"] * options.wavelength)
        aligned = [np.stack([-v[:, 2], v[:, 1], v[:, 0]], axis=1) for v in (source, diffracted)]
        surface = 1.0 + sum(scipy_harmonics(3, v) for v in aligned) @ part["absorption"] / 2
        np.testing.assert_allclose(data.truth["g"][own], scale * np.exp(b / (2 * d**2)) * surface, rtol=1e-9)
        assert surface.std() == pytest.approx(options.absorption, rel=1e-6)


def test_narrow_model_truth_has_no_absorption() -> None:
    data = simulate(SimulationOptions(truth="model", sweep_width=8.0, n_sweeps=3, d_min=3.0))
    assert "sweep_2/scale" in data.truth
    assert "sweep_2/absorption" not in data.truth


def test_smooth_truth_is_outside_the_basis() -> None:
    """Even the best physical model misses the smooth truth by more than rounding, by less than its size."""
    data = simulate(SimulationOptions(truth="smooth", d_min=2.8, scale_variation=0.0, decay=0.0, seed=1))
    columns, g = data.columns[0], data.truth["g"]
    phi = -columns["xyzcal.mm"][:, 2]
    spread = np.log(g).std()
    beams = []
    for v in (np.tile([0.0, 0.0, 1.0], (len(g), 1)), columns["s1"] * data.options.wavelength):
        y = np.cos(phi) * v[:, 1] - np.sin(phi) * v[:, 2]
        z = np.sin(phi) * v[:, 1] + np.cos(phi) * v[:, 2]
        beams.append(real_spherical_harmonics(4, np.stack([-z, y, v[:, 0]], axis=1)))
    design = np.column_stack([np.ones(len(g)), (beams[0] + beams[1]) / 2])
    residual = (g - design @ np.linalg.lstsq(design, g, rcond=None)[0]).std()
    assert 0.01 < spread < 0.1
    assert 1e-5 < residual < 0.3 * spread


def test_refill_makes_a_jump() -> None:
    options = SimulationOptions(d_min=3.0, scale_variation=0.0, decay=0.0, absorption=0.0, refill_jump=0.5)
    data = simulate(options)
    before = data.truth["z"] <= data.truth["sweep_0/refill_image"][0]
    np.testing.assert_allclose(data.truth["g"][before], 1.0)
    np.testing.assert_allclose(data.truth["g"][~before], 1.5)
    assert 0.2 < before.mean() < 0.8


@pytest.mark.parametrize("truth", ["model", "smooth"])
def test_decay_weakens_high_resolution_with_dose(truth: str) -> None:
    options = SimulationOptions(
        truth=truth, d_min=2.5, scale_variation=0.0, absorption=0.0, decay=10.0, sweep_width=360.0
    )
    data = simulate(options)
    b = np.log(data.truth["g"]) * 2 * data.columns[0]["d"] ** 2
    late = data.truth["z"] > 0.95 * options.n_images
    assert b[late].mean() == pytest.approx(-10.0, abs=1.2)
    assert abs(b[data.truth["z"] < 0.02 * options.n_images].mean()) < 1.2


def test_chord_of_an_ellipsoid() -> None:
    rng = np.random.default_rng(3)
    shape, centre = rng.normal(size=(3, 3)) + 2 * np.eye(3), np.array([0.1, -0.2, 0.3])
    body = Ellipsoid(shape, centre)
    point = centre + np.linalg.solve(shape, [0.3, 0.4, -0.5])
    directions = rng.normal(size=(100, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    length = body.chord(point, directions)
    assert np.all(length > 0)
    ends = point + length[:, None] * directions
    np.testing.assert_allclose(np.linalg.norm((ends - centre) @ shape.T, axis=1), 1.0, rtol=1e-12)
    sphere = Ellipsoid(np.eye(3) / 2.0, np.zeros(3))
    np.testing.assert_allclose(sphere.chord(np.zeros(3), directions), 2.0)
