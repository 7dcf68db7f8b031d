"""Screw axes from axial reflections of crystals whose space group is known."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from pyscale.merging import sort_observations
from pyscale.screw_axes import ScrewAssessment, assess_screw_axes, candidate_space_groups
from pyscale.symmetry import epsilon_and_centric, inverse_d_squared, possible_reflections, systematic_absences

CELLS = {
    "2": (40.0, 55.0, 70.0, 90.0, 98.0, 90.0),
    "222": (40.0, 55.0, 70.0, 90.0, 90.0, 90.0),
    "422": (60.0, 60.0, 110.0, 90.0, 90.0, 90.0),
    "622": (60.0, 60.0, 110.0, 90.0, 90.0, 120.0),
    "432": (70.0, 70.0, 70.0, 90.0, 90.0, 90.0),
}
NAMES = (
    *("P 1 21 1", "P 2 21 2", "P 21 21 21", "C 2 2 21", "P 41 21 2", "P 42 2 2", "P 4 21 2"),
    *("P 61 2 2", "P 63 2 2", "P 62 2 2", "P 43 3 2", "P 42 3 2"),
)


def assessed(
    true: str,
    label: str,
    cell: tuple[float, ...],
    noise: float = 0.05,
    leak: float = 0.0,
    d_min: float = 3.0,
    seed: int = 1,
) -> ScrewAssessment | None:
    """Assess simulated data of a true space group that are labelled as another."""
    rng = np.random.default_rng(1)
    index = possible_reflections(cell, label, d_min)
    factor, centric = epsilon_and_centric(label, index)
    x = inverse_d_squared(cell, index)
    mean = factor * 500 * np.exp(-12 * x)
    j = mean * np.where(centric, rng.standard_normal(len(x)) ** 2, rng.exponential(1.0, len(x)))
    absent = systematic_absences(true, index)
    j[absent] = leak * mean[absent]
    rows = np.repeat(np.arange(len(index)), 4)
    sigma = noise * 500 + 0.02 * j[rows]
    observed = j[rows] + sigma * rng.standard_normal(len(rows))
    obs = sort_observations(index[rows], observed, sigma**2, label)
    return assess_screw_axes(obs, cell, label)


def absences(name: str) -> bytes:
    grid = np.array([(h, k, l) for h in range(9) for k in range(9) for l in range(13)], np.int32)
    return systematic_absences(name, grid).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_true_space_group_is_among_the_best(name: str) -> None:
    group = gemmi.find_spacegroup_by_name(name)
    cell = CELLS[group.point_group_hm()]
    symmorphic = f"{group.hm[0]} " + {"2": "1 2 1"}.get(group.point_group_hm(), " ".join(group.point_group_hm()))
    found = assessed(name, symmorphic, cell)
    assert found is not None
    assert found.is_certain
    assert name in found.best
    pattern = absences(name)
    for other in found.best:
        assert absences(other) == pattern
    assert sum({absences(c.name): c.probability for c in found.candidates}.values()) == pytest.approx(1.0)


def test_no_screw_axis_where_there_is_none() -> None:
    found = assessed("P 4 2 2", "P 4 2 2", CELLS["422"])
    assert found is not None
    assert found.best == ("P 4 2 2",)
    assert [axis.verdict for axis in found.axes] == ["absent"] * 3
    assert {axis.name for axis in found.axes} == {"21 along a", "42 along c", "41, 43 along c"}


def test_counts_and_means_are_those_of_the_axial_reflections() -> None:
    cell = CELLS["222"]
    found = assessed("P 21 21 2", "P 2 2 2", cell)
    assert found is not None
    for axis, edge, screw in zip(found.axes, cell[:3], (True, True, False), strict=True):
        n = int(edge / 3.0)
        assert axis.n_present == n // 2
        assert axis.n_absent == (n + 1) // 2
        assert axis.verdict == ("present" if screw else "absent")
        if screw:
            assert abs(axis.i_over_sigma_absent) < 1.5
            assert abs(axis.mean_intensity_absent) < 0.1 * axis.mean_intensity_present


def test_a_little_intensity_in_forbidden_reflections_is_no_disproof() -> None:
    found = assessed("P 21 21 21", "P 2 2 2", CELLS["222"], noise=0.01, leak=0.01)
    assert found is not None
    assert found.best == ("P 21 21 21",)


def test_noise_says_nothing() -> None:
    found = assessed("P 21 21 21", "P 2 2 2", CELLS["222"], noise=100.0)
    assert found is not None
    assert not found.is_certain
    assert {axis.verdict for axis in found.axes} == {"undetermined"}
    low = assessed("P 1 21 1", "P 1 2 1", (20.0, 5.0, 20.0, 90.0, 95.0, 90.0), d_min=5.5)
    assert low is not None
    assert low.axes[0].n_absent == 0
    assert low.axes[0].verdict == "undetermined"
    document = low.to_dict()
    assert document["axes"][0]["mean_intensity_absent"] is None
    assert "undetermined" in low.table()


def test_groups_with_mirrors_or_one_candidate_are_not_assessed() -> None:
    assert assessed("P 1 21/c 1", "P 1 2/m 1", CELLS["2"]) is None
    assert assessed("P 1", "P 1", CELLS["2"]) is None


def test_candidates_have_the_same_rotations_and_centring() -> None:
    names = {g.xhm() for g in candidate_space_groups("P 41 21 2")}
    assert names == {"P 4 2 2", "P 4 21 2", "P 41 2 2", "P 41 21 2", "P 42 2 2", "P 42 21 2", "P 43 2 2", "P 43 21 2"}
    assert {g.xhm() for g in candidate_space_groups("I 2 2 2")} == {"I 2 2 2", "I 21 21 21"}
    assert len(candidate_space_groups("P 2 21 21")) == 8
