"""Simulated intensities follow Wilson's statistics and the symmetry."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest

from pyscale.simulation import SimulationOptions, simulate
from pyscale.simulation.crystal import TrueCrystal, make_crystal
from pyscale.typing import FloatArray

CELLS = {
    "P 21 21 21": (38.0, 48.0, 62.0, 90.0, 90.0, 90.0),
    "P 43 21 2": (45.0, 45.0, 37.0, 90.0, 90.0, 90.0),
    "C 1 2 1": (50.0, 40.0, 45.0, 90.0, 103.0, 90.0),
    "P 31 2 1": (45.0, 45.0, 60.0, 90.0, 90.0, 120.0),
    "R 3 :H": (55.0, 55.0, 60.0, 90.0, 90.0, 120.0),
    "F 4 3 2": (70.0, 70.0, 70.0, 90.0, 90.0, 90.0),
    "P 1": (25.0, 26.0, 27.0, 80.0, 95.0, 100.0),
    "P 1 21/c 1": (25.0, 26.0, 27.0, 90.0, 95.0, 90.0),
}


def crystal_of(space_group: str, **changes: float) -> tuple[SimulationOptions, TrueCrystal]:
    options = SimulationOptions(unit_cell=CELLS[space_group], space_group=space_group, d_min=2.51, **changes)
    return options, make_crystal(options, np.random.default_rng(11))


@pytest.mark.parametrize("space_group", CELLS)
def test_sphere_holds_all_allowed_reflections_once(space_group: str) -> None:
    options, crystal = crystal_of(space_group)
    cell, group = gemmi.UnitCell(*options.unit_cell), gemmi.SpaceGroup(space_group)
    full = gemmi.make_miller_array(cell, group, options.d_min, unique=False)
    full = full[~group.operations().systematic_absences(full)]
    assert sorted(map(tuple, full.tolist())) == sorted(map(tuple, crystal.miller_index.tolist()))
    assert not group.operations().systematic_absences(crystal.miller_index).any()


@pytest.mark.parametrize("space_group", CELLS)
def test_equivalents_share_group_and_intensity(space_group: str) -> None:
    _, crystal = crystal_of(space_group, anomalous=0.1)
    group = gemmi.SpaceGroup(space_group)
    asu = gemmi.ReciprocalAsu(group)
    rows = np.linspace(0, len(crystal.miller_index) - 1, 400).astype(int)
    unique: dict[tuple[int, ...], int] = {}
    own: dict[tuple[tuple[int, ...], bool], float] = {}
    for row in rows:
        index, isym = asu.to_asu(crystal.miller_index[row].tolist(), group.operations())
        centric = group.operations().is_reflection_centric(index)
        assert unique.setdefault(tuple(index), crystal.group[row]) == crystal.group[row]
        assert crystal.centric[crystal.group[row]] == centric
        assert crystal.epsilon[crystal.group[row]] == group.operations().epsilon_factor_without_centering(index)
        mate = (tuple(index), bool(isym % 2) or centric)
        assert own.setdefault(mate, crystal.intensity[row]) == crystal.intensity[row]
    assert len(set(unique.values())) == len(unique)


def test_intensities_in_rows_are_those_of_the_crystal() -> None:
    data = simulate(SimulationOptions(d_min=3.0, anomalous=0.05))
    merged: dict[int, float] = dict(zip(data.truth["group"].tolist(), data.truth["I"].tolist(), strict=True))
    assert all(merged[g] == i for g, i in zip(data.truth["group"].tolist(), data.truth["I"].tolist(), strict=True))
    assert np.any(data.truth["I_own"] != data.truth["I"])
    index = np.abs(data.truth["miller"])
    for group in np.unique(data.truth["group"])[:200]:
        rows = data.truth["group"] == group
        assert len(np.unique(index[rows], axis=0)) == 1  # mmm: equivalents differ in signs only


def normalised(crystal: TrueCrystal, options: SimulationOptions) -> FloatArray:
    """E² of the unique reflections from the definition of B, without the module's own mean."""
    first = np.unique(crystal.group, return_index=True)[1]
    d = crystal.d[first]
    value = crystal.merged_intensity[first] / crystal.epsilon * np.exp(options.wilson_b / (2.0 * d**2))
    return np.asarray(value / value.mean())


def test_wilson_moments() -> None:
    """<I²>/<I>² is 2 for acentric and 3 for centric reflections (Wilson, 1949)."""
    acentric, centric = [], []
    for seed in range(12):
        options = SimulationOptions(unit_cell=CELLS["P 43 21 2"], space_group="P 43 21 2", d_min=1.6)
        crystal = make_crystal(options, np.random.default_rng(seed))
        e2 = normalised(crystal, options)
        acentric.append(e2[~crystal.centric])
        centric.append(e2[crystal.centric])
    for values, second, fourth in (
        (np.concatenate(acentric), 2.0, 24.0),
        (np.concatenate(centric), 3.0, 105.0),
    ):
        error = np.sqrt((fourth - second**2) / len(values))
        assert abs((values**2).mean() / values.mean() ** 2 - second) < 4.0 * error
        assert len(values) > 5000
    # both kinds have the same mean
    assert abs(np.concatenate(centric).mean() - np.concatenate(acentric).mean()) < 0.05


@pytest.mark.parametrize("wilson_b", [0.0, 30.0])
def test_intensities_fall_with_the_wilson_b(wilson_b: float) -> None:
    options, crystal = crystal_of("P 21 21 21", wilson_b=wilson_b)
    x = 1.0 / (2.0 * crystal.d**2)
    # maximum-likelihood slope of an exponential distribution: E[I exp(Bx)] is independent of x
    e2 = crystal.merged_intensity * np.exp(wilson_b * x)
    assert abs(np.corrcoef(e2, x)[0, 1]) < 0.05
    assert crystal.merged_intensity.mean() == pytest.approx(options.mean_intensity, rel=0.1)


def test_anomalous_differences_have_the_asked_size() -> None:
    _, crystal = crystal_of("P 21 21 21", anomalous=0.08)
    acentric = ~crystal.centric[crystal.group]
    difference = 2.0 * np.abs(crystal.intensity - crystal.merged_intensity)
    assert difference[acentric].mean() / crystal.merged_intensity[acentric].mean() == pytest.approx(0.08, rel=0.1)
    assert not difference[~acentric].any()
    plus, minus = (crystal.group[m & acentric] for m in (crystal.friedel_plus, ~crystal.friedel_plus))
    np.testing.assert_array_equal(np.bincount(plus), np.bincount(minus))
