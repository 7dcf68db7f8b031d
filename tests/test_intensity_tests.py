"""Wilson plot, moments, twin tests, pseudo-translation against known truth, another program, and brute force."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from intensity_cases import Case, largest, observations
from pyscale.analysis.intensity_pairs import moment_ratio, neighbours, twin_mates, usable
from pyscale.analysis.normalised import NormalisedIntensities, normalise
from pyscale.analysis.pseudo_translation import pseudo_translation
from pyscale.analysis.twin_laws import higher_symmetry
from pyscale.analysis.twinning import TwinAnalysis, twin_analysis
from pyscale.analysis.wilson import wilson_plot
from pyscale.symmetry import find_space_group, rotation_matrices

CRYSTAL = Case()
SMALL = Case(space_group="P 1", unit_cell=(9.0, 11.0, 13.0, 80.0, 85.0, 95.0), d_min=0.8, b=3.0)


def normalised(case: Case) -> NormalisedIntensities:
    return normalise(observations(case), case.unit_cell, case.label or case.space_group)


def analysed(case: Case) -> TwinAnalysis:
    data, group = normalised(case), find_space_group(case.label or case.space_group)
    found = twin_analysis(data, case.unit_cell, group, pseudo_translation(data, case.unit_cell, group))
    assert found is not None
    return found


def test_normalised_intensities_have_mean_one_in_every_direction() -> None:
    case = replace(CRYSTAL, anisotropy=20.0)
    data = normalised(case)
    assert data.anisotropy == pytest.approx(20.0, abs=2.0)
    along = np.abs(data.miller_index[:, 2]) / 70.0 / np.sqrt(data.d_star_sq)
    for low, high in ((0, 0.3), (0.3, 0.7), (0.7, 1.01)):
        chosen = (along >= low) & (along < high)
        assert data.z[chosen].mean() == pytest.approx(1.0, abs=5 / math.sqrt(chosen.sum()))


@pytest.mark.parametrize("b", [10.0, 25.0, 60.0])
@pytest.mark.parametrize("group", ["P 41", "C 1 2 1"])
def test_the_wilson_plot_finds_b_and_scale(b: float, group: str) -> None:
    cell = CRYSTAL.unit_cell if group == "P 41" else (60.0, 45.0, 70.0, 90.0, 105.0, 90.0)
    case = replace(CRYSTAL, b=b, space_group=group, unit_cell=cell)
    found = wilson_plot(normalised(case), cell, group, 1.0)
    assert found is not None and found.is_good
    assert (found.composition, found.radiation) == ("protein", "x-rays")
    assert found.b == pytest.approx(b, abs=max(4 * found.sigma_b, 1.0))
    assert found.sigma_b < 3
    # The assumed residue has a little sulphur and the same volume.
    assert found.log_scale == pytest.approx(0, abs=0.05 + 4 * found.sigma_log_scale)


def test_the_error_of_b_is_that_of_its_scatter() -> None:
    found = [
        wilson_plot(normalised(replace(CRYSTAL, d_min=2.6, seed=k)), CRYSTAL.unit_cell, "P 41", 1.0) for k in range(16)
    ]
    pulls = [(f.b - 25.0) / f.sigma_b for f in found if f is not None]
    assert len(pulls) == 16
    assert 0.4 < np.std(pulls) < 1.7
    assert abs(np.mean(pulls)) < 1.2


def test_ice_rings_do_not_move_the_wilson_plot() -> None:
    clean, iced = (
        wilson_plot(normalised(replace(CRYSTAL, ice=ice)), CRYSTAL.unit_cell, "P 41", 1.0)
        for ice in ((0.0, 0.0), (2.67, 3.0))
    )
    assert clean is not None and iced is not None
    assert iced.b == pytest.approx(clean.b, abs=2.0)
    assert any(s.kink and s.d_min < 2.67 < s.d_max for s in iced.shells)
    assert not any(s.kink for s in clean.shells)


def test_electrons_have_form_factors_of_their_own() -> None:
    data = normalised(SMALL)
    by_x, by_e = (wilson_plot(data, SMALL.unit_cell, SMALL.space_group, w) for w in (0.7, 0.025))
    assert by_x is not None and by_e is not None
    assert (by_x.composition, by_e.radiation) == ("organic", "electrons")
    # Those of electrons fall off faster, so that less is left to B.
    assert by_e.b < by_x.b - 0.3


@pytest.mark.parametrize("fraction", [0.2, 0.35, 0.5])
@pytest.mark.parametrize("noise", [0.02, 0.5])
def test_a_twin_is_found_with_its_law_and_fraction(fraction: float, noise: float) -> None:
    found = analysed(replace(CRYSTAL, twin_fraction=fraction, noise=noise))
    assert found.verdict == "twinned", found.reason
    (law,) = found.laws
    assert law.operator == "k,h,-l"
    assert law.fraction == pytest.approx(fraction, abs=max(0.02, 4 * law.sigma))
    variance = 1 - 2 * fraction + 2 * fraction**2
    assert found.variance.value == pytest.approx(variance, abs=4 * found.variance.sigma + 0.03)
    if fraction < 0.5:
        assert found.fraction == pytest.approx(fraction, abs=4 * found.sigma_fraction + 0.02)
    assert found.warnings()[0].startswith("The crystal is twinned")


@pytest.mark.parametrize("noise", [0.02, 0.5, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_moments_of_an_untwinned_crystal_are_wilsons_whatever_the_noise(noise: float, seed: int) -> None:
    found = analysed(replace(CRYSTAL, noise=noise, seed=seed))
    assert found.verdict == "untwinned", found.reason
    assert found.acentric is not None
    assert found.acentric.value == pytest.approx(2.0, abs=4 * found.acentric.sigma + 0.02)
    assert found.l2.value == pytest.approx(1 / 3, abs=4 * found.l2.sigma)
    assert not found.warnings()


def test_perfect_twins_have_the_moments_of_theory() -> None:
    found = analysed(replace(CRYSTAL, twin_fraction=0.5))
    assert found.acentric is not None and found.l_test is not None
    assert found.acentric.value == pytest.approx(1.5, abs=4 * found.acentric.sigma)
    assert found.l2.value == pytest.approx(0.2, abs=4 * found.l2.sigma)
    assert found.l_test.mean_abs_l.value == pytest.approx(0.375, abs=0.015)
    assert found.l_test.cumulative[9] == pytest.approx(0.5 * 0.5 * (3 - 0.25), abs=0.03)


def test_errors_of_the_moment_ratio_are_those_of_its_scatter() -> None:
    pulls = []
    for seed in range(24):
        data = normalised(replace(CRYSTAL, d_min=3.5, seed=seed, noise=0.3))
        ratio = moment_ratio(data, *neighbours(data, usable(data, centric=False), CRYSTAL.unit_cell, "P 41"))
        pulls.append((ratio.value - 1 / 3) / ratio.sigma)
    # The mean that intensities are divided by knows each of them a little.
    assert -0.8 < np.mean(pulls) < 0.4
    assert 0.5 < np.std(pulls) < 1.5


def test_the_moment_ratio_is_that_of_a_plain_loop() -> None:
    data = normalised(replace(CRYSTAL, d_min=6.0))
    rows = usable(data, centric=False)
    place = {tuple(h): k for k, h in enumerate(data.miller_index.tolist()) if rows[k]}
    above = below = 0.0
    pairs = 0
    for (h, k, m), i in place.items():
        for other in ((h + 2, k, m), (h, k + 2, m), (h, k, m + 2)):
            if other in place:
                j = place[other]
                weight = 1 / (1 + 0.5 * (data.noise[i] + data.noise[j])) ** 2
                variance = data.sigma[i] ** 2 + data.sigma[j] ** 2
                above += weight * ((data.z[i] - data.z[j]) ** 2 - variance)
                below += weight * ((data.z[i] + data.z[j]) ** 2 - variance)
                pairs += 1
    found = moment_ratio(data, *neighbours(data, rows, CRYSTAL.unit_cell, "P 41"))
    assert found.n == pairs
    assert found.value == pytest.approx(above / below, rel=1e-12)


def test_neighbours_obey_the_centring_and_mates_the_law() -> None:
    cell = (80.0, 80.0, 50.0, 90.0, 90.0, 120.0)
    case = Case(space_group="R 3:H", unit_cell=cell, d_min=4.0)
    data = normalised(case)
    rows = usable(data, centric=False)
    first, second = neighbours(data, rows, cell, "R 3:H")
    difference = data.miller_index[second] - data.miller_index[first]
    assert len(first) > 200
    assert not (difference % 2).any()
    assert len(np.unique(difference, axis=0)) == 3
    law = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]], float)
    for a, b in zip(*twin_mates(data, rows, law, rotation_matrices("R 3:H")), strict=True):
        images = [
            sign * (data.miller_index[a] @ law.astype(int) @ r) for r in rotation_matrices("R 3:H") for sign in (1, -1)
        ]
        assert any((image == data.miller_index[b]).all() for image in images)


@pytest.mark.parametrize("case", [
    replace(CRYSTAL, anisotropy=40.0),
    replace(CRYSTAL, translation=(0.5, 0.5, 0.46), alike=0.8),
    replace(CRYSTAL, ice=(2.67, 3.0)),
    Case(space_group="P 21 21 21", unit_cell=(38.0, 48.0, 62.0, 90.0, 90.0, 90.0)),
    Case(space_group="P 43 21 2", unit_cell=(60.0, 60.0, 35.0, 90.0, 90.0, 90.0)),
    SMALL,
    replace(SMALL, space_group="P -1"),
    Case(space_group="P b c a", unit_cell=(12.0, 14.0, 18.0, 90.0, 90.0, 90.0), d_min=0.8, b=3.0),
    replace(SMALL, space_group="P -1", label="P 1"),
    replace(CRYSTAL, noise=20.0),
    replace(CRYSTAL, d_min=8.0),
])  # fmt: skip
@pytest.mark.parametrize("seed", [1, 2])
def test_no_untwinned_crystal_is_called_a_twin(case: Case, seed: int) -> None:
    data, group = normalised(replace(case, seed=seed)), find_space_group(case.label or case.space_group)
    found = twin_analysis(data, case.unit_cell, group, pseudo_translation(data, case.unit_cell, group))
    assert found is None or (found.verdict in VERDICTS_WITHOUT_TWIN and not found.warnings()), found


VERDICTS_WITHOUT_TWIN = ("untwinned", "cannot tell", "suggests tNCS", "suggests inversion centre")


def test_a_centre_of_inversion_that_the_label_lacks_is_told() -> None:
    assert analysed(replace(SMALL, space_group="P -1", label="P 1")).verdict == "suggests inversion centre"


def test_too_low_a_symmetry_is_told_from_a_twin() -> None:
    cell = (60.0, 60.0, 70.0, 90.0, 90.0, 90.0)
    found = analysed(Case(space_group="P 4 2 2", label="P 4", unit_cell=cell))
    assert (found.verdict, found.higher_symmetry) == ("too symmetric", "P 4 2 2")
    assert "P 4 2 2" in found.warnings()[0]


def test_a_twin_merged_in_the_symmetry_of_its_lattice_is_suspected() -> None:
    found = analysed(replace(CRYSTAL, twin_fraction=0.5, label="P 41 2 2"))
    assert found.verdict == "possibly twinned"
    assert "lower symmetry" in found.warnings()[0]


def test_higher_symmetry_names_the_group_with_the_law() -> None:
    hexagonal = (58.4, 58.4, 156.2, 90, 90, 120)
    assert higher_symmetry(hexagonal, find_space_group("R 3:H"), "k,h,-l") == "R 3 2:H"
    orthorhombic = find_space_group("P 21 21 21")
    assert higher_symmetry((81.0, 81.1, 81.2, 90, 90, 90), orthorhombic, "k,h,-l") == "P 4 2 2"


def test_a_twin_with_a_pseudo_translation_is_still_found() -> None:
    found = analysed(replace(CRYSTAL, twin_fraction=0.4, translation=(0.5, 0.5, 0.46), alike=0.8))
    assert found.verdict == "twinned", found.reason
    # The moments alone do not tell.
    assert found.acentric is not None and found.acentric.value > 1.6


@pytest.mark.parametrize("vector", [(0.5, 0.5, 0.5), (0.5, 0.0, 0.46), (0.33, 0.17, 0.5)])
def test_pseudo_translations_are_found_where_they_are(vector: tuple[float, float, float]) -> None:
    case = Case(space_group="P 1 21 1", unit_cell=(60.0, 75.0, 80.0, 90.0, 100.0, 90.0), d_min=4.0)
    case = replace(case, translation=vector, alike=1.0)
    found = pseudo_translation(normalised(case), case.unit_cell, case.space_group)
    assert found is not None and found.is_significant
    # Patterson symmetry: 2/m about b.
    images = [np.array(vector) * s for s in ((1, 1, 1), (-1, 1, -1), (1, -1, 1), (-1, -1, -1))]
    distance = [np.abs((np.array(found.vector) - v + 0.5) % 1 - 0.5) for v in images]
    assert min(d.max() for d in distance) < 0.02
    assert found.warnings()


@pytest.mark.parametrize("seed", range(4))
def test_no_pseudo_translation_is_seen_in_clean_data(seed: int) -> None:
    for case in (CRYSTAL, Case(space_group="P 43 21 2", unit_cell=(60.0, 60.0, 35.0, 90.0, 90.0, 90.0))):
        found = pseudo_translation(normalised(replace(case, seed=seed)), case.unit_cell, case.space_group)
        assert found is not None and not found.is_significant and not found.warnings()


def test_the_patterson_map_is_a_sum_of_cosines() -> None:
    case = Case(space_group="P 1 21 1", unit_cell=(60.0, 75.0, 80.0, 90.0, 100.0, 90.0), d_min=6.0)
    data = normalised(replace(case, translation=(0.5, 0.0, 0.46), alike=0.8))
    found = pseudo_translation(data, case.unit_cell, case.space_group)
    assert found is not None
    z = np.clip(data.z, 0, 6)
    images = np.concatenate([data.miller_index @ r for r in rotation_matrices(case.space_group)])
    every, row = np.unique(np.concatenate([images, -images]), axis=0, return_index=True)
    value = np.tile(z, len(images) * 2 // len(z))[row]
    height = ((value - z.mean()) * np.cos(2 * np.pi * every @ np.array(found.vector))).sum() / value.sum()
    assert found.height == pytest.approx(height, rel=0.02)


def test_nothing_depends_on_the_scale() -> None:
    obs = observations(replace(CRYSTAL, twin_fraction=0.3))
    group = find_space_group("P 41")
    scaled = replace(obs, intensity=obs.intensity * 1024.0, variance=obs.variance * 1024.0**2)
    one, other = (
        twin_analysis(normalise(o, CRYSTAL.unit_cell, group), CRYSTAL.unit_cell, group) for o in (obs, scaled)
    )
    assert one is not None and other is not None
    assert other.l2.value == pytest.approx(one.l2.value, rel=1e-9)
    assert (other.verdict, other.l2.n) == (one.verdict, one.l2.n)


def test_few_reflections_give_no_answer() -> None:
    case = replace(CRYSTAL, d_min=14.0)
    data = normalised(case)
    group = find_space_group("P 41")
    assert twin_analysis(data, case.unit_cell, group) is None
    assert pseudo_translation(data, case.unit_cell, group) is None
    assert wilson_plot(data, case.unit_cell, group, 1.0) is None


@pytest.mark.parametrize("case", [
    replace(CRYSTAL, noise=0.02),
    replace(CRYSTAL, noise=0.02, twin_fraction=0.3),
    replace(CRYSTAL, noise=0.02, translation=(0.5, 0.5, 0.46), alike=0.8),
])  # fmt: skip
def test_cctbx_agrees(case: Case, run_oracle: Callable[..., None], tmp_path: Path) -> None:
    data, group = normalised(case), find_space_group(case.space_group)
    n_residues = gemmi.UnitCell(*case.unit_cell).volume / 264.0 / 4
    np.savez(
        tmp_path / "case.npz",
        unit_cell=case.unit_cell,
        hall=group.hall,
        miller_index=data.miller_index,
        intensity=data.z * data.expected,
        sigma=data.sigma * data.expected,
        z=data.z,
        n_residues=n_residues,
        twin_law=np.array(case.twin_law),
    )
    run_oracle("cctbx_intensity_tests.py", tmp_path / "case.npz", tmp_path / "out.json")
    theirs: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    twins = analysed(case)
    wilson = wilson_plot(data, case.unit_cell, group, 1.0)
    translation = pseudo_translation(data, case.unit_cell, group)
    assert wilson is not None and twins.l_test is not None and translation is not None
    assert twins.acentric is not None and twins.centric_moment is not None
    assert theirs["acentric"] == pytest.approx(twins.acentric.value, abs=0.03)
    assert theirs["centric"] == pytest.approx(twins.centric_moment.value, abs=0.06)
    # Their pairs are drawn at random from many differences of indices.
    assert theirs["mean_abs_l"] == pytest.approx(twins.l_test.mean_abs_l.value, abs=0.02)
    assert theirs["mean_l_squared"] == pytest.approx(twins.l2.value, abs=0.02)
    assert theirs["b_wilson"] == pytest.approx(wilson.b, abs=3.0)
    (law,) = twins.laws
    # Theirs has reflections too that the law leaves where they are, of H = 0.
    index = data.miller_index[~data.is_centric]
    moved = (largest(index @ np.array(case.twin_law), case.space_group) != index).any(axis=1).mean()
    assert theirs["mean_h"] == pytest.approx(moved * law.mean_h, abs=0.02)
    assert theirs["mean_h_squared"] == pytest.approx(moved * law.mean_h_squared, abs=0.02)
    if case.alike:
        assert theirs["patterson_height"] > 0.2 and translation.is_significant
        # Symmetry may have moved it.
        assert np.allclose(sorted(np.abs(theirs["patterson_vector"])), sorted((0.46, 0.5, 0.5)), atol=0.05)
    else:
        assert theirs["patterson_height"] < 0.2 and not translation.is_significant
