"""Scaled files go in again: stored models, error model and crossover are the start, and nothing moves without cause."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import pyscale
from pyscale.dataset import Job, combine_tables, make_job
from pyscale.errors import DataError, UsageError
from pyscale.experiment import ExperimentList
from pyscale.image_ranges import in_ranges
from pyscale.integration import integrated_intensities
from pyscale.intensity_choice import combined_intensities
from pyscale.model_json import model_to_dict
from pyscale.model_plan import Decision
from pyscale.model_reading import model_from_dict
from pyscale.model_trimming import trimmed
from pyscale.options import options_from_keywords
from pyscale.preparation import prepare
from pyscale.reflections import Flag
from pyscale.result import ScalingResult
from pyscale.stored_models import stored_models

CELL = (20.0, 24.0, 30.0, 90.0, 90.0, 90.0)
OUTLIER = np.uint64(int(Flag.outlier_in_scaling))


def again(result: ScalingResult, **options: Any) -> ScalingResult:
    """Scale the output of a job."""
    return pyscale.scale(output_of(result), **options)


def output_of(result: ScalingResult) -> Job:
    return make_job(result.experiments, [result.table])


def stored(result: ScalingResult) -> list[dict[str, Any]]:
    """The scaling models of the output."""
    return [e.scaling_model or {} for e in result.experiments]


def moved(first: ScalingResult, second: ScalingResult) -> np.ndarray:
    """Change of the scales in their uncertainties."""
    sigma = np.sqrt(first.table["inverse_scale_factor_variance"])
    use = sigma > 0
    change: np.ndarray = (second.inverse_scale_factor - first.inverse_scale_factor)[use] / sigma[use]
    return change


def assert_at_once(first: ScalingResult, second: ScalingResult) -> None:
    rounds = second.fit.rounds
    assert len(rounds) <= 2 and rounds[0].n_iterations <= 3
    assert abs(rounds[0].cost - rounds[0].initial_cost) < 1e-3 * rounds[0].initial_cost
    assert np.abs(moved(first, second)).max() < 0.1
    assert ((first.table["flags"] ^ second.table["flags"]) & OUTLIER).sum() == 0
    for name in ("r_meas", "r_pim", "r_merge"):
        before, after = (getattr(r.statistics.overall, name) for r in (first, second))
        assert after == pytest.approx(before, abs=5e-5), name


@pytest.fixture(scope="module")
def sweeps() -> Job:
    """Two sweeps of one crystal with absorption, decay and a few outliers."""
    data = pyscale.simulate(
        unit_cell=CELL, n_sweeps=2, sweep_width=90.0, d_min=1.8, absorption=0.1, outlier_fraction=0.005, seed=5
    )
    return make_job(data.experiments(), [data.reflections()])


@pytest.fixture(scope="module")
def scaled(sweeps: Job) -> ScalingResult:
    return pyscale.scale(sweeps, physical={"absorption_correction": True})


@pytest.fixture(scope="module")
def cysteine(data_root: Path) -> Callable[..., Job]:
    """Sweeps of l_cysteine by their numbers."""

    def read(*numbers: int) -> Job:
        stems = [data_root / f"l_cysteine/{n}_integrated" for n in numbers]
        return pyscale.read(*(s.with_suffix(x) for s in stems for x in (".expt", ".refl")))

    return read


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": "KB"},
        {"model": "array", "n_resolution_bins": 4, "decay_interval": 30},
        {"model": "dose_decay", "scale_interval": 10},
        {"image_scale": True},
        {"physical.scale_correction": False},
        {"share.absorption": True, "absorption_level": "medium"},
    ],
    ids=["physical", "KB", "array", "dose_decay", "image_scale", "constant", "shared"],
)
def test_the_same_data_give_the_same_answer_at_once(sweeps: Job, options: dict[str, Any]) -> None:
    first = pyscale.scale(sweeps, **options)
    assert_at_once(first, again(first))


@pytest.mark.data
def test_real_sweeps_give_the_same_answer_at_once(cysteine: Callable[..., Job]) -> None:
    first = pyscale.scale(cysteine(20, 25, 30, 35))
    second = again(first)
    assert_at_once(first, second)
    assert np.abs(moved(first, second)).max() < 0.02


@pytest.mark.data
@pytest.mark.parametrize("name", ["lcys_20_physical", "lcys_4_KB", "lcys_4_high"])
def test_files_of_dials_are_a_start_and_then_settled(data_root: Path, name: str) -> None:
    folder = data_root / "reference" / name
    first = pyscale.scale(pyscale.read(folder / "scaled.expt", folder / "scaled.refl"))
    theirs = json.loads((folder / "scaled.expt").read_text())["scaling_model"]
    for model, plan, document in zip(first.models, first.plans, theirs, strict=True):
        assert model.model == document["__id__"]
        assert {c.name: c.n_parameters for c in model.components} == {
            k: len(v["parameters"]) for k, v in document.items() if isinstance(v, dict) and "parameters" in v
        }
        assert plan.model.reason == "kept from the stored model"
    assert first.fit.intensity_choice.common == theirs[0]["configuration_parameters"]["Imid"]
    assert first.fit.intensity_choice.tried == []
    second = again(first)
    assert_at_once(first, second)


def test_the_document_and_the_log_say_what_was_kept(scaled: ScalingResult, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        second = again(scaled)
    n, name = scaled.models[0].n_parameters, scaled.job.identifiers[0]
    assert f"Scaling model of data set {name} kept from the input (physical, {n} parameters)" in caplog.text
    decisions = second.to_dict()["decisions"][scaled.job.identifiers[0]]
    assert decisions["scale_interval"] == {
        "value": scaled.models[0].components[0].interval_deg,
        "reason": "kept from the stored model",
    }
    assert {d["reason"] for d in decisions.values()} == {"kept from the stored model"}


def test_overwriting_gives_what_the_integrated_data_gave(sweeps: Job, scaled: ScalingResult) -> None:
    anew = again(scaled, overwrite_existing_models=True, physical={"absorption_correction": True})
    np.testing.assert_array_equal(anew.inverse_scale_factor, scaled.inverse_scale_factor)
    assert anew.fit.intensity_choice.tried and len(anew.fit.rounds) == len(scaled.fit.rounds)


def test_excluding_images_equals_removing_rows_and_trimming_the_model(scaled: ScalingResult) -> None:
    last = scaled.job.data_sets[0].experiment.image_range[1]  # type: ignore[index]
    cut = last // 2
    excluded = again(scaled, exclude_images=f"#0:{cut + 1}:{last}")

    job = output_of(scaled)
    experiments = job.experiments.select(range(2))
    document = experiments[0].scaling_model
    assert document is not None
    model = trimmed(model_from_dict(document, "stored"), (1, last), (1, cut), experiments[0].oscillation[1])  # type: ignore[index]
    extra = {k: v for k, v in document["configuration_parameters"].items() if k in ("error_model_parameters", "Imid")}
    extra |= {"valid_image_range": [1, cut]}
    extra["pyscale"] = {"error_model": document["configuration_parameters"]["pyscale"]["error_model"]}
    experiments.set_scaling_model(0, model_to_dict(model, extra))
    experiments.set_valid_image_ranges(0, [(1, cut)])
    tables = [d.reflections for d in job.data_sets]
    kept = in_ranges([(1, cut)], tables[0]["xyzobs.px.value"][:, 2])
    by_hand = pyscale.scale(make_job(experiments, [tables[0].select(kept), tables[1]]))

    whole = excluded.tables[0]
    np.testing.assert_array_equal(whole["inverse_scale_factor"][kept], by_hand.tables[0]["inverse_scale_factor"])
    user = (whole["flags"] & np.uint64(int(Flag.user_excluded_in_scaling))) != 0
    np.testing.assert_array_equal(user, ~kept)
    for ours, theirs in zip(excluded.models, by_hand.models, strict=True):
        assert [c.n_parameters for c in ours.components] == [c.n_parameters for c in theirs.components]
    assert excluded.models[0].n_parameters < scaled.models[0].n_parameters


def test_exclusions_stay_and_accumulate_while_resolution_limits_are_undone(scaled: ScalingResult) -> None:
    first = again(scaled, exclude_images="#0:121:180")
    second = again(first, exclude_images="#0:1:20", d_min=2.5)
    third = again(second)
    experiment = third.experiments[0]
    assert experiment.valid_image_ranges == [(21, 120)]
    configuration = (experiment.scaling_model or {})["configuration_parameters"]
    assert configuration["valid_image_range"] == [21, 120]
    assert second.statistics.overall.n_obs < 0.6 * third.statistics.overall.n_obs
    assert third.ledger[0].user_excluded.keys() == {"exclude_images"}
    counts = [sum(r.ledger[1].rejected.values()) + r.ledger[1].merged for r in (first, third)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("fixed", [("decay",), ("absorption",), ("scale",), ("scale", "decay", "absorption")])
def test_fixed_components_keep_every_bit(scaled: ScalingResult, fixed: tuple[str, ...]) -> None:
    # A limit of resolution moves what is free.
    second = again(scaled, correction={"fix": fixed}, d_min=2.2)
    free = {"scale", "decay", "absorption"} - set(fixed)
    for before, after in zip(stored(scaled), stored(second), strict=True):
        for name in fixed:
            assert after[name] == before[name]
        for name in free:
            assert after[name]["parameters"] != before[name]["parameters"]
    assert 0 <= second.fit.covariance.effective_parameters <= second.fit.parameters.size
    for name in fixed:
        assert (
            second.to_dict()["decisions"][scaled.job.identifiers[0]][name]["reason"]
            == "kept constant by correction.fix"
        )


def test_uncertainties_beside_a_fixed_component_are_those_of_the_rest(scaled: ScalingResult) -> None:
    """What is held can only make the rest better known."""
    second = again(scaled, correction={"fix": ["absorption"]})
    for before, after in zip(scaled.models, second.models, strict=True):
        assert (after.components[0].sigmas <= 1.02 * before.components[0].sigmas).all()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"correction": {"fix": ["decoy"]}}, "correction.fix=decoy: is no component"),
        ({"correction": {"fix": ["modulation"]}}, "correction.fix=modulation: no stored model has this component"),
        (
            {"correction": {"fix": ["scale"]}, "overwrite_existing_models": True},
            "correction.fix=scale: no stored model has this component",
        ),
    ],
)
def test_what_cannot_be_fixed_is_refused(scaled: ScalingResult, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        again(scaled, **options)


def test_nothing_can_be_fixed_without_stored_models(sweeps: Job) -> None:
    with pytest.raises(UsageError, match="no stored model has this component"):
        pyscale.scale(sweeps, correction={"fix": ["decay"]})


@pytest.mark.parametrize("lmax", [2, 6])
def test_another_lmax_copies_what_is_common(scaled: ScalingResult, lmax: int) -> None:
    options = options_from_keywords(physical={"lmax": lmax})
    prepared = [prepare(d, scaled.unit_cell, options) for d in output_of(scaled).data_sets]
    n = min(lmax * (lmax + 2), 24)
    for before, start in zip(scaled.models, stored_models(prepared, options, {"physical.lmax"}, 1), strict=True):
        assert start is not None and start.plan.lmax == Decision(lmax, "set by the user")
        old, new = before.components[-1], start.model.components[-1]
        np.testing.assert_array_equal(new.parameters[:n], old.parameters[:n])
        assert new.lmax == lmax and (new.parameters[n:] == 0).all() and new.sigmas is None
    second = again(scaled, physical={"lmax": lmax})
    assert [m.components[-1].lmax for m in second.models] == [lmax, lmax]


def test_a_weight_of_the_user_holds_and_is_kept_later(scaled: ScalingResult) -> None:
    second = again(scaled, physical={"surface_weight": 7e4, "decay_restraint": 3.0})
    for result in (second, again(second)):
        for model in result.models:
            weights = {c.name: c.weight("null") for c in model.components}
            assert weights["absorption"] == 7e4 and weights["decay"] == 3.0


def test_options_that_change_nothing_are_named_once(scaled: ScalingResult, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        again(scaled, model="array", physical={"scale_interval": 5.0, "absorption_correction": True})
    (line,) = [r.getMessage() for r in caplog.records if "changes nothing" in r.getMessage()]
    assert "model, physical.scale_interval changes" in line and "overwrite_existing_models=True" in line


def test_the_stored_error_model_is_used_from_the_first_round(scaled: ScalingResult) -> None:
    second = again(scaled)
    rounds = second.fit.rounds
    stored = scaled.fit.error_models.common
    assert (rounds[0].a, rounds[0].b) == pytest.approx((stored.a, stored.b), rel=1e-3)
    without = again(scaled, reset_error_model=True)
    assert len(without.fit.rounds) > len(rounds)
    assert without.fit.error_models.common.a == pytest.approx(scaled.fit.error_models.common.a, rel=0.02)
    fixed = again(scaled, error_model={"basic": {"a": 1.5, "b": 0.05}})
    assert (fixed.fit.rounds[0].a, fixed.fit.rounds[0].b) == (1.5, 0.05)


@pytest.mark.data
def test_crossovers_of_data_sets_are_stored_with_them_and_used_again(cysteine: Callable[..., Job]) -> None:
    first = pyscale.scale(cysteine(20, 25), joint_analysis=False)
    imids = first.fit.intensity_choice.imids.tolist()
    on_file = [model["configuration_parameters"]["Imid"] for model in stored(first)]
    document = first.to_dict()
    assert on_file == imids == [d["imid"] for d in document["datasets"]]
    for d in document["datasets"]:
        assert min(d["tried_imids"], key=lambda c: c["r_meas"])["imid"] == d["imid"]
    assert document["fit"]["imid"] == (imids[0] if imids[0] == imids[1] else None)
    # each data set's intensities are those of its own crossover
    for p, table, imid in zip(first.prepared, first.tables, imids, strict=True):
        value, _ = combined_intensities(integrated_intensities(p.table), imid)
        assert_array_equal(table["intensity.scale.value"], np.where(np.isfinite(value), value, 0.0))
    second = again(first, joint_analysis=False)
    assert second.fit.intensity_choice.imids.tolist() == imids and second.fit.intensity_choice.tried == []


@pytest.mark.data
def test_the_stored_crossover_is_used_unless_it_is_asked_for(
    cysteine: Callable[..., Job], caplog: pytest.LogCaptureFixture
) -> None:
    first = pyscale.scale(cysteine(20))
    assert first.fit.intensity_choice.tried
    second = again(first)
    assert second.fit.intensity_choice.common == first.fit.intensity_choice.common
    assert second.fit.intensity_choice.tried == []
    third = again(first, intensity_choice="combine")
    tried = [[c.imid for c in r.fit.intensity_choice.tried] for r in (third, first)]
    assert tried[0] == pytest.approx(tried[1], rel=0.02)
    assert again(first, Imid=[0.0]).fit.intensity_choice.common == 0.0
    new = cysteine(25)
    assert first.fit.intensity_choice.common == 1.0
    experiments = [first.experiments, pyscale.scale(new, Imid=[0.0]).experiments]
    tables = [first.table, combine_tables(new, [d.reflections for d in new.data_sets])]
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert pyscale.scale(make_job(ExperimentList.concatenate(experiments), tables)).fit.intensity_choice.tried
    assert "looked for again: the stored models have different ones" in caplog.text


@pytest.mark.data
def test_new_data_sets_join_scaled_ones(cysteine: Callable[..., Job]) -> None:
    together = pyscale.scale(cysteine(20, 25))
    scaled, new = pyscale.scale(cysteine(20)), cysteine(25)
    # Another unit of intensity must not matter.
    table = new.data_sets[0].reflections.copy()
    for which in ("prf", "sum"):
        table[f"intensity.{which}.value"] = table[f"intensity.{which}.value"] * 50.0
        table[f"intensity.{which}.variance"] = table[f"intensity.{which}.variance"] * 2500.0
    job = make_job(
        ExperimentList.concatenate([scaled.experiments, new.experiments]), [scaled.table, combine_tables(new, [table])]
    )
    joined = pyscale.scale(job)
    reasons = [plan.model.reason for plan in joined.plans]
    assert reasons[0] == "kept from the stored model" and "deg" in reasons[1]
    ratio = [
        j["inverse_scale_factor"] / t["inverse_scale_factor"]
        for j, t in zip(joined.tables, together.tables, strict=True)
    ]
    middle = [float(np.median(r)) for r in ratio]
    assert middle[1] / middle[0] == pytest.approx(50.0, rel=0.02)
    assert joined.statistics.overall.r_meas == pytest.approx(together.statistics.overall.r_meas, abs=2e-3)


def test_components_shared_with_different_parameters_are_separated(
    scaled: ScalingResult, caplog: pytest.LogCaptureFixture
) -> None:
    job = output_of(scaled)
    experiments = job.experiments.select(range(2))
    for k in range(2):
        document = json.loads(json.dumps(experiments[k].scaling_model))
        document["configuration_parameters"]["shared"] = ["absorption"]
        experiments.set_scaling_model(k, document)
    with caplog.at_level(logging.INFO):
        second = pyscale.scale(make_job(experiments, [scaled.table]))
    assert "share a component 'absorption' of different parameters" in caplog.text
    assert np.abs(moved(scaled, second)).max() < 0.1


@pytest.mark.data
def test_a_surface_of_the_old_frame_is_fitted_again(data_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = data_root / "l_cysteine_legacy"
    job = pyscale.read(folder / "scaled_30.expt", folder / "scaled_30.refl")
    with caplog.at_level(logging.INFO):
        first = pyscale.scale(job)
    assert "fitted again in today's frame, from zero; scale and decay are kept" in caplog.text
    old = job.experiments[0].scaling_model or {}
    assert first.models[0].components[0].n_parameters == len(old["scale"]["parameters"])
    assert first.statistics.overall.r_meas < 0.06
    assert_at_once(first, again(first))
    with pytest.raises(UsageError, match="must be fitted again"):
        pyscale.scale(job, correction={"fix": ["absorption"]})


def test_a_stored_model_that_cannot_be_read_is_one_line_with_advice(scaled: ScalingResult) -> None:
    experiments = scaled.experiments
    experiments.set_scaling_model(0, {"__id__": "future"})
    with pytest.raises(DataError, match=r"'future' cannot be evaluated.*overwrite_existing_models=True") as caught:
        pyscale.scale(make_job(experiments, [scaled.table]))
    assert "\n" not in str(caught.value)
    assert pyscale.scale(make_job(experiments, [scaled.table]), overwrite_existing_models=True).statistics
