"""Simulated spots obey the diffraction geometry, whatever the goniometer."""

from __future__ import annotations

import numpy as np
import pytest

from pyscale.simulation import SimulationOptions, simulate
from pyscale.typing import FloatArray

SMALL = {"unit_cell": (21.0, 26.0, 33.0, 90.0, 90.0, 90.0), "d_min": 2.0}
SETTINGS = {
    "plain": SimulationOptions(**SMALL, sweep_width=360.0),
    "askew": SimulationOptions(
        **SMALL,
        n_sweeps=2,
        sweep_width=400.0,
        start_angles=(-250.0, 33.3),
        oscillation_width=0.25,
        rotation_axis=(0.3, -0.9, 0.2),
        beam_direction=(0.05, -0.03, 1.0),
        random_goniometer=True,
        detector_offset=(12.0, -31.0),
        partials=0.1,
        polarization_fraction=0.7,
        seed=4,
    ),
    "monoclinic": SimulationOptions(
        unit_cell=(21.0, 26.0, 33.0, 90.0, 106.0, 90.0),
        space_group="C 1 2 1",
        d_min=1.9,
        sweep_width=70.0,
        seed=9,
    ),
}


def rotation_matrix(axis: FloatArray, angle: float) -> FloatArray:
    """exp(angle [axis]×) by its power series: independent of the closed formula."""
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = angle * np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    total, term = np.eye(3), np.eye(3)
    for k in range(1, 60):
        term = term @ cross / k
        total = total + term
    return total


class Sweep:
    """One experiment as a reader of the files sees it: the document and the columns only."""

    def __init__(self, options: SimulationOptions, number: int) -> None:
        self.data = simulate(options)
        document = self.data.document
        self.entry = document["experiment"][number]
        self.columns = self.data.columns[number]
        beam = document["beam"][self.entry["beam"]]
        self.wavelength = beam["wavelength"]
        self.direction = np.array(beam["direction"])
        self.beam = beam
        self.s0 = -self.direction / self.wavelength
        goniometer = document["goniometer"][self.entry["goniometer"]]
        self.axis = np.array(goniometer["rotation_axis"])
        self.fixed = np.reshape(goniometer["fixed_rotation"], (3, 3))
        self.setting = np.reshape(goniometer["setting_rotation"], (3, 3))
        self.scan = document["scan"][self.entry["scan"]]
        self.panel = document["detector"][self.entry["detector"]]["panels"][0]
        crystal = document["crystal"][self.entry["crystal"]]
        real = np.array([crystal[f"real_space_{axis}"] for axis in "abc"])
        self.a_matrix = np.linalg.inv(real)

    def angles(self) -> FloatArray:
        """Scan angle (radians) from z and the scan of the document."""
        start, width = self.scan["oscillation"]
        first = self.scan["image_range"][0]
        return np.radians(start + width * (self.columns["xyzcal.px"][:, 2] - (first - 1)))

    def reciprocal(self, rows: slice, shift: float = 0.0) -> FloatArray:
        """r in the laboratory for some rows, turned `shift` radians further."""
        return np.array(
            [
                self.setting @ rotation_matrix(self.axis, phi + shift) @ self.fixed @ self.a_matrix @ h
                for h, phi in zip(self.columns["miller_index"][rows], self.angles()[rows], strict=True)
            ]
        )


@pytest.fixture(scope="module", params=SETTINGS)
def sweep(request: pytest.FixtureRequest) -> Sweep:
    options = SETTINGS[request.param]
    return Sweep(options, options.n_sweeps - 1)


SOME = slice(None, None, 37)


def test_every_spot_lies_on_the_ewald_sphere(sweep: Sweep) -> None:
    length = np.linalg.norm(sweep.columns["s1"], axis=1)
    np.testing.assert_allclose(length, 1.0 / sweep.wavelength, rtol=0, atol=1e-9)
    expected = sweep.s0 + sweep.reciprocal(SOME)
    np.testing.assert_allclose(sweep.columns["s1"][SOME], expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(sweep.columns["xyzcal.mm"][:, 2], sweep.angles(), rtol=0, atol=1e-9)


def test_detector_position_agrees_with_s1(sweep: Sweep) -> None:
    fast, slow, origin = (np.array(sweep.panel[k]) for k in ("fast_axis", "slow_axis", "origin"))
    mm, px = sweep.columns["xyzcal.mm"], sweep.columns["xyzcal.px"]
    point = origin + mm[:, :1] * fast + mm[:, 1:2] * slow
    direction = point / np.linalg.norm(point, axis=1, keepdims=True)
    np.testing.assert_allclose(sweep.columns["s1"] * sweep.wavelength, direction, rtol=0, atol=1e-9)
    np.testing.assert_allclose(px[:, :2] * sweep.panel["pixel_size"], mm[:, :2], rtol=0, atol=1e-9)
    assert np.all(px[:, :2] > 0)
    assert np.all(px[:, :2] < sweep.panel["image_size"])


def test_lorentz_factor_is_the_speed_through_the_sphere(sweep: Sweep) -> None:
    step = 1e-6
    ahead, behind = (np.linalg.norm(sweep.s0 + sweep.reciprocal(SOME, s), axis=1) for s in (step, -step))
    speed = (ahead - behind) / (2 * step) * sweep.wavelength
    unit = sweep.columns["s1"][SOME] * sweep.wavelength
    fraction, normal = sweep.beam["polarization_fraction"], np.array(sweep.beam["polarization_normal"])
    # the form that DIALS documents for its LP correction
    share = (1 - 2 * fraction) * (1 - (unit @ normal) ** 2) + fraction * (1 + (unit @ sweep.direction) ** 2)
    np.testing.assert_allclose(sweep.columns["lp"][SOME], np.abs(speed) / share, rtol=1e-6)
    # entering: from outside the sphere, |s0 + r| > 1/wavelength, to its inside
    np.testing.assert_array_equal(sweep.columns["entering"][SOME], speed < 0)


def test_no_spot_in_the_blind_region(sweep: Sweep) -> None:
    normal = np.cross(sweep.columns["s1"], sweep.s0)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    np.testing.assert_allclose(sweep.columns["zeta"], normal @ (sweep.setting @ sweep.axis), atol=1e-12)
    assert np.abs(sweep.columns["zeta"]).min() >= sweep.data.options.zeta_min


def test_resolution_is_that_of_the_cell(sweep: Sweep) -> None:
    q = sweep.columns["miller_index"] @ sweep.a_matrix.T
    np.testing.assert_allclose(sweep.columns["d"], 1.0 / np.linalg.norm(q, axis=1), rtol=1e-9)
    assert sweep.columns["d"].min() >= sweep.data.options.d_min * (1 - 1e-9)
    unit = sweep.columns["s1"] * sweep.wavelength
    sine = np.sqrt((1 + unit @ sweep.direction) / 2)
    np.testing.assert_allclose(2 * sweep.columns["d"] * sine, sweep.wavelength, rtol=1e-9)


def test_full_turn_records_every_crossing_that_is_not_blind() -> None:
    """A step-by-step search for sign changes of the excitation error finds the same spots."""
    options = SimulationOptions(
        unit_cell=(9.0, 11.0, 13.0, 90.0, 90.0, 90.0), d_min=1.5, sweep_width=360.0, zeta_min=0.0, seed=3
    )
    sweep = Sweep(options, 0)
    n_steps = 7200
    edges = np.radians(np.linspace(0.0, 360.0, n_steps + 1))
    index = np.unique(sweep.columns["miller_index"], axis=0)
    q = index @ sweep.a_matrix.T
    lengths = np.array([np.linalg.norm(sweep.s0 + q @ rotation_matrix(sweep.axis, a).T, axis=1) for a in edges])
    n_found = np.count_nonzero(np.diff(lengths > 1.0 / sweep.wavelength, axis=0), axis=0)
    recorded = {tuple(h): 0 for h in index.tolist()}
    for h in sweep.columns["miller_index"].tolist():
        recorded[tuple(h)] += 1
    counts = np.array([recorded[tuple(h)] for h in index.tolist()])
    assert set(np.unique(n_found)) == {2}
    # the detector covers this resolution in all directions
    np.testing.assert_array_equal(counts, n_found)


def test_sweeps_beyond_a_full_turn_repeat_spots() -> None:
    once = simulate(SimulationOptions(**SMALL, sweep_width=360.0)).columns[0]
    twice = simulate(SimulationOptions(**SMALL, sweep_width=720.0)).columns[0]
    assert len(twice["id"]) == 2 * len(once["id"])
    images = 360.0 / 0.5
    second = twice["xyzcal.px"][:, 2] >= images
    np.testing.assert_allclose(twice["xyzcal.px"][second, 2] - images, once["xyzcal.px"][:, 2], atol=1e-9)


def test_boxes_hold_their_spots(sweep: Sweep) -> None:
    box, px = sweep.columns["bbox"].reshape(-1, 3, 2), sweep.columns["xyzcal.px"]
    assert np.all(box[:, :, 0] <= px)
    assert np.all(px <= box[:, :, 1])
    n_images = sweep.scan["image_range"][1]
    assert np.all(box[:, 2, 0] >= 0)
    assert np.all(box[:, 2, 1] <= n_images)


def test_stills_scale_s1_and_tell_partialities() -> None:
    options = SimulationOptions(**SMALL, kind="stills", n_stills=5, seed=2)
    data = simulate(options)
    assert "goniometer" not in data.document["experiment"][0]
    assert "scan" not in data.document["experiment"][0]
    for entry, columns in zip(data.document["experiment"], data.columns, strict=True):
        crystal = data.document["crystal"][entry["crystal"]]
        a_matrix = np.linalg.inv([crystal[f"real_space_{axis}"] for axis in "abc"])
        s = np.array([0.0, 0.0, -1.0]) / options.wavelength + columns["miller_index"] @ a_matrix.T
        length = np.linalg.norm(s, axis=1)
        np.testing.assert_allclose(columns["s1"], s / length[:, None] / options.wavelength, atol=1e-9)
        width = np.hypot(0.5 / options.mosaic_block_size, np.radians(options.mosaicity) / columns["d"])
        excess = (length - 1.0 / options.wavelength) / width
        np.testing.assert_allclose(columns["partiality"], np.exp(-(excess**2) / 2), rtol=1e-6)
        assert 0.0 < columns["partiality"].min() < 0.3
        assert 0.95 < columns["partiality"].max() <= 1.0
