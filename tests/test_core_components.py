"""The components of scaling models as the core evaluates them, against tables, scipy and a stored model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from pyscale import _core
from pyscale.integration import integrated_intensities
from pyscale.intensity_choice import PROFILE, combined_intensities
from pyscale.io.refl import read_refl
from pyscale.joint_model import JointModel
from pyscale.model_reading import model_from_dict
from pyscale.reflections import ReflectionTable
from pyscale.scaling_model import DataSetModel


def evaluate(
    model: DataSetModel,
    z: Any,
    d: Any = 1.0,
    beams: tuple[Any, Any] = (np.zeros((0, 3)), np.zeros((0, 3))),
) -> Any:
    z = np.atleast_1d(np.asarray(z, float))
    x = np.ascontiguousarray(0.5 / np.broadcast_to(np.asarray(d, float), z.shape) ** 2)
    joint = JointModel([model])
    rows = _core.Observations(np.zeros(len(z), np.int32), z, x, *beams)
    return _core.inverse_scale_factors(joint.core, rows, joint.parameters)


@pytest.mark.parametrize(
    ("width", "interval", "n", "actual"),
    [
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
    ],
)
def test_number_of_nodes(width: float, interval: float, n: int, actual: float) -> None:
    assert _core.node_count(width, interval) == (n, pytest.approx(actual, rel=1e-12))


@pytest.mark.parametrize(
    ("parameters", "values"),
    [
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
    ],
)
def test_smoother_values(parameters: list[float], values: dict[float, float]) -> None:
    axis = _core.SmootherAxis(1.0, 0.0, 1.0, len(parameters))
    for x, expected in values.items():
        first, weights = _core.smoother_window(axis, x)
        found = np.dot(weights, parameters[first : first + len(weights)])
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (2, [0.76556432, 0.23443568]),
        (3, [0.73386908, 0.26452149, 0.00160943]),
        (5, [0.25613117, 0.7105916, 0.03327723]),
    ],
)
def test_smoother_weights(n: int, expected: list[float]) -> None:
    first, weights = _core.smoother_window(_core.SmootherAxis(1.0, 0.0, 1.0, n), 0.25)
    assert first == 0
    np.testing.assert_allclose(weights, expected, atol=6e-9)


@given(
    n=st.integers(2, 40),
    factor=st.floats(1e-4, 10.0),
    first=st.floats(-1e4, 1e4),
    length=st.floats(0.0, 1e4),
    place=st.floats(-2.0, 3.0),
)
def test_smoother_weights_are_a_mean_of_near_nodes(
    n: int, factor: float, first: float, length: float, place: float
) -> None:
    axis = _core.make_smoother_axis(factor, n, first, first + length)
    start, weights = _core.smoother_window(axis, first + place * length)
    assert sum(weights) == pytest.approx(1.0, abs=1e-14)
    assert min(weights) >= 0.0
    assert start >= 0 and start + len(weights) <= n


@given(x=st.floats(0.0, 6.0), values=st.lists(st.floats(-5.0, 5.0), min_size=8, max_size=8))
def test_smoothed_values_lie_between_the_nodes(x: float, values: list[float]) -> None:
    first, weights = _core.smoother_window(_core.SmootherAxis(1.0, 0.0, 1.0, 8), x)
    nodes = values[first : first + 3]
    assert min(nodes) - 1e-12 <= np.dot(weights, nodes) <= max(nodes) + 1e-12


@pytest.mark.parametrize(
    ("direction", "values"),
    [
        ((0, 0, 1), (0, 0.488602512, 0, 0, 0, 0.630783131, 0, 0)),
        ((1, 0, 0), (0, 0, 0.488602512, 0, 0, -0.315391565, 0, 0.546274215)),
        ((0, 1, 0), (0.488602512, 0, 0, 0, 0, -0.315391565, 0, -0.546274215)),
        ((0.6, 0, 0.8), (0, 0.39088201, 0.293161507, 0, 0, 0.29016024, 0.524423247, 0.196658718)),
        (
            (0.36, 0.48, 0.8),
            (0.234529206, 0.39088201, 0.175896904, 0.188792369, 0.419538597, 0.29016024, 0.314653948, -0.055064441),
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
    ],
)
def test_harmonics_values(direction: tuple[float, float, float], values: tuple[float, ...]) -> None:
    np.testing.assert_allclose(_core.real_harmonics(2, direction), values, atol=2e-9)


def scipy_harmonics(lmax: int, direction: Any) -> Any:
    """Real harmonics without the Condon-Shortley phase from scipy's Legendre functions, which have it."""
    x, y, z = direction
    phi = math.atan2(y, x)
    values = []
    for degree in range(1, lmax + 1):
        for m in range(-degree, degree + 1):
            k = abs(m)
            norm = math.sqrt(
                (2 * degree + 1) / (4 * math.pi) * math.exp(math.lgamma(degree - k + 1) - math.lgamma(degree + k + 1))
            )
            legendre = (-1) ** k * special.lpmv(k, degree, z)
            angular = 1.0 if m == 0 else math.sqrt(2) * (math.sin(k * phi) if m < 0 else math.cos(k * phi))
            values.append(norm * legendre * angular)
    return np.array(values)


@pytest.mark.parametrize("lmax", range(2, 13))
def test_harmonics_agree_with_scipy(lmax: int) -> None:
    vectors = np.random.default_rng(lmax).normal(size=(40, 3))
    vectors = np.concatenate([vectors, np.eye(3), -np.eye(3)])
    for v in vectors / np.linalg.norm(vectors, axis=1)[:, None]:
        # lpmv loses digits near the poles and for high orders
        np.testing.assert_allclose(_core.real_harmonics(lmax, v), scipy_harmonics(lmax, v), atol=2e-9)


def all_components() -> tuple[_core.JobModel, Any]:
    rng = np.random.default_rng(5)
    job, make = _core.JobModel(), _core.Component
    for _ in range(3):
        job.add_data_set()
    axis = _core.make_smoother_axis(0.06, 8, 0.0, 100.0)
    parameters = []
    for k in (0, 2):
        for component in (make.smooth_scale(axis), make.smooth_decay(axis), make.absorption(3)):
            job.add(k, component)
        parameters += [1 + 0.1 * rng.normal(size=8), rng.normal(size=8), 0.02 * rng.normal(size=15)]
        if k == 0:
            job.add(1, make.constant_scale())
            job.add(1, make.constant_decay())
            parameters += [np.array([1.3]), np.array([-0.7])]
    return job, np.concatenate(parameters)


def random_rows(n: int, seed: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)

    def directions() -> Any:
        v = rng.normal(size=(n, 3))
        return v / np.linalg.norm(v, axis=1)[:, None]

    data_set = rng.integers(0, 3, n).astype(np.int32)
    return data_set, rng.uniform(0, 100, n), rng.uniform(0, 0.4, n), directions(), directions()


@settings(max_examples=30, deadline=None)
@given(chosen=st.lists(st.integers(0, 999), min_size=1, max_size=60), n_threads=st.sampled_from([1, 2, 3, 8]))
def test_scales_do_not_depend_on_the_other_rows(chosen: list[int], n_threads: int) -> None:
    job, parameters = all_components()
    rows = random_rows(1000, 8)
    g = _core.inverse_scale_factors(job, _core.Observations(*rows), parameters, n_threads)
    part = _core.Observations(*(np.ascontiguousarray(a[chosen]) for a in rows))
    np.testing.assert_array_equal(_core.inverse_scale_factors(job, part, parameters, n_threads), g[chosen])
    covariance = 1e-4 * np.eye(len(parameters))
    whole = _core.inverse_scale_factor_variances(job, _core.Observations(*rows), parameters, covariance, n_threads)
    some = _core.inverse_scale_factor_variances(job, part, parameters, covariance, n_threads)
    np.testing.assert_array_equal(some, whole[chosen])


def test_variance_of_the_scale_is_the_quadratic_form_of_its_derivatives() -> None:
    job, parameters = all_components()
    rows = _core.Observations(*random_rows(60, 9))
    rng = np.random.default_rng(3)
    root = rng.normal(size=(len(parameters), len(parameters)))
    covariance = 1e-4 * root @ root.T
    derivatives = np.empty((60, len(parameters)))
    for k in range(len(parameters)):
        h = np.zeros(len(parameters))
        h[k] = 1e-6
        above, below = (_core.inverse_scale_factors(job, rows, parameters + s * h) for s in (1, -1))
        derivatives[:, k] = (above - below) / 2e-6
    expected = np.einsum("ik,kl,il->i", derivatives, covariance, derivatives)
    found = _core.inverse_scale_factor_variances(job, rows, parameters, covariance)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# Rows of quartz_ed/scaled: K, B, exp(B / 2 d^2), absorption, g, intensity before division by g.
GOLDEN = {
    5: (0.9408969902990, 0.1418432383034, 1.0669571710371, 0.9999871634136, 1.0038839043988517, 52.69265589406),
    835: (1.3006514063810, -0.3670470617676, 0.5947479462882, 1.0000479137853, 0.773596816957918, 3.190698013942791),
    1617: (0.7834085574130, -0.0309724536890, 0.9926955807826, 0.9999160614944, 0.777620935072653, None),
}
D_SPACING = {5: 1.046081503271256, 835: 0.5942975760695974, 1617: 1.4533977097876072}
FIRST_IMAGE_Z = 0.5000000023541105


@pytest.fixture(scope="module")
def quartz(data_root: Path) -> tuple[ReflectionTable, DataSetModel]:
    folder = data_root / "quartz_ed"
    document = json.loads((folder / "scaled.expt").read_text())
    model = model_from_dict(document["scaling_model"][0], "quartz_ed")
    table = read_refl(folder / "scaled.refl")
    last = float(table["xyzobs.px.value"][:, 2].max())
    return table, model.placed({"image_z": np.array([FIRST_IMAGE_Z, last])})


def quartz_beams(table: ReflectionTable, rows: list[int]) -> tuple[Any, Any]:
    return _core.crystal_frame_beams(
        (-0.0005096947903773, -4.7238328e-06, 0.99999987009),
        (0.9999570551912293, 0.009267565661199248, 0.0),
        np.eye(3),
        np.eye(3),
        -50.0,
        1.0,
        0.0,
        np.array(table["s1"][rows]),
        np.array(table["xyzobs.px.value"][rows, 2]),
    )


@pytest.mark.parametrize("row", list(GOLDEN))
def test_complete_reflections(quartz: tuple[ReflectionTable, DataSetModel], row: int) -> None:
    table, model = quartz
    scale, decay, absorption = model.components
    k, b, fall, surface, g, intensity = GOLDEN[row]
    z, d = table["xyzobs.px.value"][row, 2], D_SPACING[row]

    def only(component: Any) -> DataSetModel:
        return DataSetModel("physical", (component,))

    beams = quartz_beams(table, [row])
    assert evaluate(only(scale), z)[0] == pytest.approx(k, abs=1e-11)
    assert math.log(evaluate(only(decay), z, math.sqrt(0.5))[0]) == pytest.approx(b, abs=1e-11)
    assert evaluate(only(decay), z, d)[0] == pytest.approx(fall, abs=1e-11)
    assert evaluate(only(absorption), z, d, beams)[0] == pytest.approx(surface, abs=1e-11)
    assert evaluate(model, z, d, beams)[0] == pytest.approx(g, rel=1e-9)
    assert table["inverse_scale_factor"][row] == pytest.approx(g, rel=1e-12)
    if intensity is not None:
        found, _ = combined_intensities(integrated_intensities(table), PROFILE)
        assert found[row] == pytest.approx(intensity, rel=1e-12)


def test_place_of_the_nodes(quartz: tuple[ReflectionTable, DataSetModel]) -> None:
    table, model = quartz
    (scale,), (decay,) = model.components[0].axes, model.components[1].axes
    z = table["xyzobs.px.value"][:, 2]
    for axis, coordinates in ((scale, (0, 3.500127475245, 6.9062333618)), (decay, (0, 2.500091053746, 4.93302382983))):
        for row, x in zip(GOLDEN, coordinates, strict=True):
            assert z[row] * axis.factor - axis.origin == pytest.approx(x, abs=1e-9)


def test_crystal_frame_beams(quartz: tuple[ReflectionTable, DataSetModel]) -> None:
    s0, s1 = quartz_beams(quartz[0], [835])
    np.testing.assert_allclose(s0[0], (-0.999953483, 0.00962671238, -0.000598958591), atol=1e-9)
    np.testing.assert_allclose(s1[0], (0.999136461, 0.000553695976, 0.041545463), atol=1e-9)
