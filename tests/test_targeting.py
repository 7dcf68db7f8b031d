"""New data sets against scaled ones: the target cycle, and what stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.dataset import Job, combine_tables, make_job
from pyscale.errors import DataError, UsageError
from pyscale.experiment import ExperimentList
from pyscale.result import ScalingResult
from pyscale.symmetry import inverse_d_squared
from pyscale.typing import FloatArray

CELL = (20.0, 24.0, 30.0, 90.0, 90.0, 90.0)
OPTIONS = {"absorption_correction": True}


@pytest.fixture(scope="module")
def simulated() -> Any:
    return pyscale.simulate(
        unit_cell=CELL,
        n_sweeps=4,
        sweep_width=70.0,
        start_angles=(0.0, 45.0, 90.0, 135.0),
        d_min=2.0,
        absorption=0.05,
        truth="model",
        seed=8,
    )


@pytest.fixture(scope="module")
def raw(simulated: Any) -> Job:
    return make_job(simulated.experiments(), [simulated.reflections()])


@pytest.fixture(scope="module")
def first(raw: Job) -> ScalingResult:
    """The first two sweeps, scaled."""
    return pyscale.scale(raw.select([0, 1]), **OPTIONS)


@pytest.fixture(scope="module")
def mixed(raw: Job, first: ScalingResult) -> Job:
    """Two scaled sweeps and two new ones, in turns."""
    scaled, new = first.experiments, raw.experiments
    order = [(new, 2), (scaled, 0), (new, 3), (scaled, 1)]
    experiments = ExperimentList.concatenate([e.select([k]) for e, k in order])
    tables = [raw.data_sets[2].reflections, first.tables[0], raw.data_sets[3].reflections, first.tables[1]]
    return make_job(experiments, [combine_tables(make_job(experiments, tables), tables)])


def column(result: ScalingResult, name: str) -> FloatArray:
    return np.concatenate([t[name] for t in result.tables])


def parameters(result: ScalingResult) -> dict[str, list[list[float]]]:
    return {
        p.identifier: [c.parameters.tolist() for c in m.components]
        for p, m in zip(result.prepared, result.models, strict=True)
    }


def test_only_target_leaves_scaled_data_sets_bit_for_bit(
    simulated: Any, raw: Job, first: ScalingResult, mixed: Job
) -> None:
    result = pyscale.scale(mixed, only_target=True, only_save_targeted=False, **OPTIONS)
    before, after = parameters(first), parameters(result)
    assert len(after) == 4 and before.items() <= after.items()
    stored = {e.identifier: e.scaling_model for e in result.experiments}
    for experiment in first.experiments:
        old, new = experiment.scaling_model, stored[experiment.identifier]
        assert old is not None and new is not None
        for name in ("scale", "decay", "absorption"):
            assert new[name]["parameters"] == old[name]["parameters"]
            assert new[name]["est_standard_devs"] == old[name]["est_standard_devs"]
    for number, table in ((1, first.tables[0]), (3, first.tables[1])):
        np.testing.assert_allclose(
            result.tables[number]["inverse_scale_factor"], table["inverse_scale_factor"], rtol=1e-14
        )
    report = result.reference
    assert report is not None and report.kind == "data_sets" and set(report.labels) == set(before)
    assert set(report.data_sets) == set(after) - set(before)
    for found in report.data_sets.values():
        assert found.n_groups > 100 and found.cc > found.cc_before > 0.99 and found.r < found.r_before
    # the new ones are on the scale of the old: one factor and one B are between all of them and the truth
    edges = np.cumsum([0] + [len(d.reflections) for d in raw.data_sets])
    medians = []
    for table, k in zip(result.tables, (2, 0, 3, 1), strict=True):
        true = simulated.truth["g"][edges[k] : edges[k + 1]]
        medians.append(np.median(np.log(table["inverse_scale_factor"] / true)))
    assert np.ptp(medians) < 0.03


def test_only_the_new_data_sets_are_saved(mixed: Job, first: ScalingResult) -> None:
    everything = pyscale.scale(mixed, only_target=True, only_save_targeted=False, **OPTIONS)
    result = pyscale.scale(mixed, only_target=True, **OPTIONS)
    new = [mixed.identifiers[0], mixed.identifiers[2]]
    assert [e.identifier for e in result.experiments] == new
    assert list(result.table.identifiers.values()) == new
    for k, number in ((0, 0), (1, 2)):
        for name in ("inverse_scale_factor", "intensity.scale.variance", "flags"):
            np.testing.assert_array_equal(result.tables[k][name], everything.tables[number][name])
    assert result.statistics.overall.n_obs == sum(entry.merged for entry in result.ledger)
    assert list(result.to_dict()["ledger"]) == new
    assert result.observations.offsets[-1] == len(result.observations)
    alone = result.observations
    np.testing.assert_array_equal(np.unique(alone.data_set), [0, 1])
    np.testing.assert_array_equal(np.diff(alone.offsets), np.bincount(alone.group))


def test_the_target_cycle_leads_to_the_joint_fit(raw: Job, mixed: Job) -> None:
    targeted = pyscale.scale(mixed, **OPTIONS)
    joint = pyscale.scale(raw.select([2, 0, 3, 1]), **OPTIONS)
    at_once = pyscale.scale(mixed, target_cycle=False, **OPTIONS)
    assert targeted.reference is not None and at_once.reference is None and joint.reference is None
    sigma, g = np.sqrt(column(joint, "inverse_scale_factor_variance")), column(joint, "inverse_scale_factor")
    use = sigma > 0
    for result in (targeted, at_once):
        moved = (column(result, "inverse_scale_factor") - g)[use] / sigma[use]
        assert np.abs(moved).max() < 0.6
        assert np.sqrt(np.mean(moved**2)) < 0.15
        assert not any(c.held for m in result.models for c in m.components)
    assert all(c.sigmas is not None for m in targeted.models for c in m.components)


def test_shared_components_are_shared_again(raw: Job) -> None:
    options = {"absorption_correction": True, "share.absorption": True}
    first = pyscale.scale(raw.select([0, 1]), **options)
    experiments = ExperimentList.concatenate([first.experiments, raw.experiments.select([2, 3])])
    job = make_job(experiments, [*first.tables, *(d.reflections for d in raw.data_sets[2:])])
    kept = pyscale.scale(job, only_target=True, only_save_targeted=False, **options)
    surfaces = [next(c for c in m.components if c.name == "absorption") for m in kept.models]
    np.testing.assert_array_equal(surfaces[0].parameters, first.models[0].component("absorption").parameters)
    assert all(c.shared for c in surfaces)
    together = pyscale.scale(job, **options)
    surfaces = [next(c for c in m.components if c.name == "absorption") for m in together.models]
    for c in surfaces[1:]:
        np.testing.assert_array_equal(c.parameters, surfaces[0].parameters)


def test_only_target_needs_both(raw: Job, first: ScalingResult) -> None:
    with pytest.raises(UsageError, match="no data set has been scaled before"):
        pyscale.scale(raw, only_target=True)
    with pytest.raises(UsageError, match="all data sets have been scaled before"):
        pyscale.scale(make_job(first.experiments, [first.table]), only_target=True)


def test_nothing_in_common(raw: Job, first: ScalingResult) -> None:
    """The scaled data sets have what is coarser than 3 A, the new one the rest."""
    tables = [*first.tables, raw.data_sets[2].reflections]
    fine = [inverse_d_squared(CELL, t["miller_index"]) > 1.0 / 9.0 for t in tables]
    parts = [t.select(mask if k == 2 else ~mask) for k, (t, mask) in enumerate(zip(tables, fine, strict=True))]
    experiments = ExperimentList.concatenate([first.experiments, raw.experiments.select([2])])
    job = make_job(experiments, parts)
    with pytest.raises(DataError, match="no reflection in common"):
        pyscale.scale(job, only_target=True, **OPTIONS)
    assert len(np.unique(pyscale.scale(job, **OPTIONS).fit.component)) == 2


def test_the_same_for_any_number_of_threads(mixed: Job) -> None:
    one, three = (pyscale.scale(mixed, nproc=n, **OPTIONS) for n in (1, 3))
    np.testing.assert_array_equal(one.inverse_scale_factor, three.inverse_scale_factor)
