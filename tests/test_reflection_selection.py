"""Subsets for the minimisation: minima by counting, scales against those of all data, and what stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.dataset import Job, make_job
from pyscale.errors import UsageError
from pyscale.result import ScalingResult

SUBSETS: dict[str, dict[str, Any]] = {
    "quasi_random": {"min_per_area": (12,), "quasi_random.n_resolution_bins": (5,), "min_per_dataset": 300},
    "random": {"min_groups": 300, "min_reflections": 2500},
    "intensity_ranges": {},
}


@pytest.fixture(scope="module")
def simulated() -> Any:
    return pyscale.simulate(d_min=3.0, n_sweeps=2, sweep_width=100.0, oscillation_width=1.0, seed=5)


@pytest.fixture(scope="module")
def job(simulated: Any) -> Job:
    return make_job(simulated.experiments(), [simulated.reflections()])


def scaled(job: Job, method: str, **options: Any) -> ScalingResult:
    chosen = {"nproc": 1, **SUBSETS.get(method, {}), **options}
    return pyscale.scale(job, **{"reflection_selection.method": method}, **chosen)


@pytest.fixture(scope="module")
def by_method(job: Job) -> dict[str, ScalingResult]:
    return {method: scaled(job, method) for method in ("use_all", *SUBSETS)}


def deviations(subset: ScalingResult, everything: ScalingResult) -> np.ndarray:
    """ln of the ratio of scales over sigma, after an overall scale and B, which no data determine."""
    assert_array_equal(subset.observations.row, everything.observations.row)
    ratio = np.log(subset.fit.g / everything.fit.g)
    columns = np.stack([np.ones(ratio.size), 0.5 / everything.observations.d_spacing**2], axis=1)
    ratio -= columns @ np.linalg.lstsq(columns, ratio, rcond=None)[0]
    result: np.ndarray = ratio * subset.fit.g / np.sqrt(subset.fit.g_variance)
    return result


@pytest.mark.parametrize("method", SUBSETS)
def test_scales_agree_with_those_of_all_observations(by_method: dict[str, ScalingResult], method: str) -> None:
    subset, everything = by_method[method], by_method["use_all"]
    n_selected, n_usable = subset.selection.selected.sum(), subset.selection.usable.sum()
    assert 0.1 * n_usable < n_selected < 0.9 * n_usable
    z = deviations(subset, everything)
    assert np.sqrt(np.mean(z**2)) < 1.5
    assert np.mean(np.abs(z) < 2.0) > 0.9
    # less data, less certain
    assert np.median(subset.fit.g_variance / subset.fit.g**2) > np.median(
        everything.fit.g_variance / everything.fit.g**2
    )


@pytest.mark.parametrize("method", SUBSETS)
def test_scales_of_l_cysteine(data_root: Any, method: str) -> None:
    data = pyscale.read(*sorted((data_root / "l_cysteine").glob("*_integrated.*")))
    options: dict[str, Any] = {
        "quasi_random": {"min_per_area": (5,)},
        "random": {"min_groups": 700, "min_reflections": 1},
    }
    subset = pyscale.scale(data, **{"reflection_selection.method": method}, **options.get(method, {}))
    assert subset.selection.selected.sum() < 0.95 * subset.selection.usable.sum()
    z = deviations(subset, pyscale.scale(data))
    assert np.sqrt(np.mean(z**2)) < 2.0
    assert np.mean(np.abs(z) < 2.0) > 0.9


def segment(direction: np.ndarray) -> np.ndarray:
    """Equal areas by polar angle and azimuth."""
    theta = np.degrees(np.arccos(direction[:, 2] / np.linalg.norm(direction, axis=1)))
    phi = np.degrees(np.arctan2(direction[:, 1], direction[:, 0])) % 360.0
    cap = np.degrees(np.arccos(1.0 / 3.0))
    band = (theta >= cap) & (theta <= 180.0 - cap)
    quarter = (np.where(band, phi - 45.0, phi) % 360.0 // 90.0).astype(int)
    result: np.ndarray = quarter + np.where(band, 4, np.where(theta < cap, 0, 8))
    return result


def areas_of_beams(result: ScalingResult) -> np.ndarray:
    """Segments from the geometry of the data sets: the diffracted beam turned back by the goniometer's rotation."""
    obs = result.observations
    found = np.full(len(obs), -1)
    for k, p in enumerate(result.prepared):
        rows = np.flatnonzero(obs.data_set == k)
        experiment = p.data_set.experiment
        assert experiment.oscillation is not None and experiment.rotation_axis is not None
        start, width = experiment.oscillation
        phi = np.radians(start + width * obs.image_z[rows])
        s1 = p.table["s1"][obs.row[rows]]
        axis = experiment.rotation_axis
        along = np.outer(s1 @ axis, axis)
        turned = along + (s1 - along) * np.cos(-phi)[:, None] + np.cross(axis, s1) * np.sin(-phi)[:, None]
        found[rows] = segment(np.stack([-turned[:, 2], turned[:, 1], turned[:, 0]], axis=1))
    return found


def test_areas_and_data_sets_have_their_minima(by_method: dict[str, ScalingResult]) -> None:
    result = by_method["quasi_random"]
    obs, area = result.observations, areas_of_beams(result)
    assert obs.selected is not None
    at_minimum = 0
    for k in range(2):
        here = obs.data_set == k
        in_set = np.bincount(obs.group[here], minlength=obs.offsets.size - 1)
        may = here & (in_set[obs.group] > 1)
        x = obs.d_spacing**-2.0
        shell = np.clip(((x - x[may].min()) / np.ptp(x[may]) * 5).astype(int), 0, 4)
        for s in range(5):
            counts = [np.count_nonzero(obs.selected & may & (shell == s) & (area == a)) for a in range(12)]
            available = [np.count_nonzero(may & (shell == s) & (area == a)) for a in range(12)]
            assert all(n >= min(12, m) for n, m in zip(counts, available, strict=True))
            assert sum(counts) >= min(12 * 12 * 1.5, sum(available))
            at_minimum += sum(counts) < sum(available)
    assert at_minimum > 0
    mean = np.add.reduceat(obs.intensity / np.sqrt(obs.variance), obs.offsets[:-1]) / np.diff(obs.offsets)
    both = np.add.reduceat(obs.data_set == 0, obs.offsets[:-1]) % np.diff(obs.offsets) > 0
    linking = (both & (mean > 1.0))[obs.group]
    whole = np.logical_and.reduceat(obs.selected, obs.offsets[:-1])[obs.group]
    for k in range(2):
        in_links = np.count_nonzero(linking & whole & (obs.data_set == k))
        assert 300 <= in_links < np.count_nonzero(linking & (obs.data_set == k))
    selected = np.bincount(obs.data_set[obs.selected] * 12 + area[obs.selected], minlength=24).reshape(2, 12)
    assert_array_equal(result.selection.per_area, selected)


@pytest.mark.parametrize("method", ["random", "intensity_ranges"])
def test_groups_are_whole(by_method: dict[str, ScalingResult], method: str) -> None:
    obs = by_method[method].observations
    assert obs.selected is not None
    chosen = np.add.reduceat(obs.selected.astype(int), obs.offsets[:-1])
    assert set(np.unique(chosen / np.diff(obs.offsets))) == {0.0, 1.0}
    assert (np.diff(obs.offsets)[chosen > 0] > 1).all()
    mean = np.add.reduceat(obs.intensity / np.sqrt(obs.variance), obs.offsets[:-1]) / np.diff(obs.offsets)
    assert mean[chosen > 0].min() > (1.0 if method == "random" else 2.0)


def test_random_takes_what_the_minima_ask_for(job: Job) -> None:
    result = scaled(job, "random", min_groups=100, min_reflections=4000)
    obs = result.observations
    assert obs.selected is not None
    n_groups = np.unique(obs.group[obs.selected]).size
    assert 0.9 * 4000 < obs.selected.sum() < 1.1 * 4000 and n_groups > 100
    again = scaled(job, "random", min_groups=100, min_reflections=4000).observations.selected
    other = scaled(job, "random", min_groups=100, min_reflections=4000, seed=7).observations.selected
    assert_array_equal(obs.selected, again)
    assert other is not None and (obs.selected != other).any()


@pytest.mark.parametrize("method", SUBSETS)
def test_order_of_rows_and_threads_do_not_matter(
    simulated: Any, by_method: dict[str, ScalingResult], method: str
) -> None:
    table = simulated.reflections()
    order = np.random.default_rng(4).permutation(len(table))
    shuffled = make_job(simulated.experiments(), [table.select(order)])
    first, second = by_method[method].observations, scaled(shuffled, method, nproc=3).observations
    assert_array_equal(first.intensity, second.intensity)
    assert_array_equal(first.selected, second.selected)


def test_only_the_minimisation_is_limited(by_method: dict[str, ScalingResult]) -> None:
    everything = by_method["use_all"]
    assert everything.observations.selected is None
    for method in SUBSETS:
        subset = by_method[method]
        obs, fit = subset.observations, subset.fit
        assert obs.selected is not None
        # outliers are looked for everywhere, and all that is no outlier is merged
        assert (fit.outlier & ~obs.selected).any()
        assert abs(int(fit.outlier.sum()) - int(everything.fit.outlier.sum())) <= 0.2 * everything.fit.outlier.sum()
        left = ~fit.outlier & ~fit.small_scale & ~obs.absent
        assert subset.statistics.overall.n_obs == left.sum()
        in_group = np.bincount(obs.group[left & obs.selected], minlength=obs.offsets.size - 1)
        used = left & obs.selected & (in_group[obs.group] > 1)
        assert fit.n_observations == used.sum() == sum(e.used_in_fit for e in subset.ledger)
        assert fit.error_model_fit is not None and everything.fit.error_model_fit is not None
        assert_allclose(fit.error_model_fit.n_used, everything.fit.error_model_fit.n_used, rtol=0.02)
        # nodes lie where they did
        for ours, theirs in zip(subset.models, everything.models, strict=True):
            for a, b in zip(ours.components, theirs.components, strict=True):
                assert a.axes == b.axes


def test_models_without_beams_take_directions_of_reflections(job: Job) -> None:
    result = scaled(job, "quasi_random", model="KB")
    obs = result.observations
    assert "reciprocal-lattice vectors" in result.selection.reason
    assert obs.selected is not None
    cell = result.unit_cell  # all its angles are right
    area = segment(obs.miller_index / np.array(cell[:3]))
    selected = np.bincount(obs.data_set[obs.selected] * 12 + area[obs.selected], minlength=24).reshape(2, 12)
    assert_array_equal(result.selection.per_area, selected)


def test_numbers_for_each_data_set(job: Job) -> None:
    few_first = scaled(job, "quasi_random", min_per_area=(8, 40), min_per_dataset=0).selection.selected
    few_last = scaled(job, "quasi_random", min_per_area=(40, 8), min_per_dataset=0).selection.selected
    assert few_first[0] < few_last[0] and few_first[1] > few_last[1]
    with pytest.raises(UsageError, match=r"quasi_random\.min_per_area: give one number, or one for each of the 2 data"):
        scaled(job, "quasi_random", min_per_area=(2, 3, 4))


def test_resolution_range_in_either_order(job: Job) -> None:
    one, other = (scaled(job, "intensity_ranges", d_range=r) for r in ((3.5, 8.0), (8.0, 3.5)))
    assert_array_equal(one.observations.selected, other.observations.selected)
    d = one.observations.d_spacing[one.observations.selected]
    assert d.min() > 3.5 and d.max() < 8.0
    assert one.statistics.overall.d_min < 3.1


def test_normalised_intensities_of_data_sets_on_different_scales(simulated: Any) -> None:
    """The window of E^2 chooses the same reflections, whatever the scale of one of the data sets."""
    chosen = []
    for factor in (1.0, 50.0):
        table = simulated.reflections()
        second = np.asarray(table["id"]) == 1
        for name in ("intensity.prf", "intensity.sum"):
            for part, power in (("value", 1), ("variance", 2)):
                column = table[f"{name}.{part}"].copy()
                column[second] *= factor**power
                table[f"{name}.{part}"] = column
        result = scaled(make_job(simulated.experiments(), [table]), "intensity_ranges", E2_range=(1.0, 3.0))
        assert result.observations.selected is not None
        assert "normalised intensity 1 to 3" in result.selection.reason
        chosen.append(result.observations.selected)
    assert np.mean(chosen[0] != chosen[1]) < 0.02


def test_a_small_data_set_keeps_all(simulated: Any) -> None:
    table = simulated.reflections()
    ids = np.asarray(table["id"])
    few = np.sort(np.concatenate([np.flatnonzero(ids == 0), np.flatnonzero(ids == 1)[::8]]))
    result = scaled(
        make_job(simulated.experiments(), [table.select(few)]), "random", min_groups=1, min_reflections=1500
    )
    assert 1 in result.selection.completed
    assert result.selection.selected[1] == result.selection.usable[1]
    assert result.fit.component.max() == 0


def test_auto_takes_all_and_the_document_says_so(job: Job, by_method: dict[str, ScalingResult]) -> None:
    result = pyscale.scale(job, nproc=1)
    assert result.observations.selected is None
    assert_array_equal(result.fit.g, by_method["use_all"].fit.g)
    part = result.to_dict()["reflection_selection"]
    assert part["method"] == "use_all" and "best scales" in part["reason"]
    assert part["n_selected"] == part["n_usable"] == int(result.observations.usable.sum())
    subset = by_method["quasi_random"].to_dict()["reflection_selection"]
    assert subset["method"] == "quasi_random" and subset["n_selected"] < subset["n_usable"]
    assert sum(d["n_selected"] for d in subset["datasets"].values()) == subset["n_selected"]
