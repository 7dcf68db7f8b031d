"""filtering.method=deltacchalf: planted bad data are found, removed as by hand, and accounted for."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.cli import main
from pyscale.dataset import Job, make_job
from pyscale.delta_cc_half import Candidate, DeltaCCHalf
from pyscale.errors import UsageError
from pyscale.filtering import _outlier_ranges
from pyscale.io.refl import read_refl
from pyscale.reflections import Flag, ReflectionTable
from pyscale.result import ScalingResult

BAD_SWEEP, SWEEP_WITH_BAD_IMAGES, BAD_IMAGES = 7, 13, (11, 20)
USER_EXCLUDED = np.uint64(int(Flag.user_excluded_in_scaling))


def spoil(table: ReflectionTable, rows: np.ndarray, seed: int) -> None:
    """Multiply intensities of some rows by random factors, log-normal with a deviation of 0.5."""
    factors = np.where(rows, np.exp(np.random.default_rng(seed).normal(0.0, 0.5, len(table))), 1.0)
    for name in ("intensity.prf.value", "intensity.sum.value"):
        if name in table:
            table[name] = table[name] * factors


def on_images(table: ReflectionTable, images: tuple[int, int]) -> np.ndarray:
    z = table["xyzobs.px.value"][:, 2]
    inside: np.ndarray = (z > images[0] - 1) & (z < images[1])
    return inside


def simulated(n_sweeps: int, seed: int, d_min: float = 3.5) -> tuple[Any, ReflectionTable]:
    starts = tuple(np.random.default_rng(seed).uniform(0.0, 360.0, n_sweeps).tolist())
    data = pyscale.simulate(
        d_min=d_min, sweep_width=40.0, oscillation_width=1.0, n_sweeps=n_sweeps, start_angles=starts, seed=seed
    )
    return data, data.reflections()


@pytest.fixture(scope="module")
def planted() -> Job:
    """Twenty sweeps of 40 images: one of noise, and ten interior images of another."""
    data, table = simulated(20, seed=6)
    bad_images = (table["id"] == SWEEP_WITH_BAD_IMAGES) & on_images(table, BAD_IMAGES)
    spoil(table, (table["id"] == BAD_SWEEP) | bad_images, seed=1)
    return make_job(data.experiments(), [table])


@pytest.fixture(scope="module")
def few() -> Job:
    """Six sweeps of 40 images; 11 to 20 of sweep 1, and the first ten of sweep 3, are bad."""
    data, table = simulated(6, seed=1)
    sweep = table["id"]
    spoil(table, (sweep == 1) & on_images(table, BAD_IMAGES) | (sweep == 3) & on_images(table, (1, 10)), seed=2)
    return make_job(data.experiments(), [table])


def filtered(job: Job, mode: str, error_model: dict[str, str] | None = None, **options: Any) -> ScalingResult:
    chosen = {"mode": mode, "group_size": 5, **options}
    filtering = {"method": "deltacchalf", "deltacchalf": chosen}
    return pyscale.scale(job, nproc=1, filtering=filtering, weighting={"error_model": error_model or {}})


@pytest.fixture(scope="module")
def by_images(few: Job) -> ScalingResult:
    return filtered(few, "image_group")


def removed_images(result: ScalingResult, job: Job) -> dict[int, Any]:
    assert result.filtering is not None
    return {job.identifiers.index(name): ranges for name, ranges in result.filtering.removed_images.items()}


def test_the_bad_sweep_is_removed(planted: Job) -> None:
    result = filtered(planted, "dataset")
    record = result.filtering
    assert record is not None and record.final is not None
    assert [r.identifier for r in record.removed_data_sets] == [planted.identifiers[BAD_SWEEP]]
    assert record.termination_reason == "no_more_removed"
    assert planted.identifiers[BAD_SWEEP] not in result.job.identifiers
    first, last = record.cycles[0].statistics.overall, record.final.overall
    assert last.r_meas < 0.95 * first.r_meas
    assert last.cc_half_sigma_tau > first.cc_half_sigma_tau
    # Every row that was read is either in the ledger or in a data set that left.
    left = sum(entry.read for entry in result.ledger)
    assert left + sum(r.n_reflections for r in record.removed_data_sets) == sum(
        len(d.reflections) for d in planted.data_sets
    )


def test_the_bad_images_are_removed_wherever_they_are(planted: Job) -> None:
    result = filtered(planted, "image_group")
    record = result.filtering
    assert record is not None
    assert [r.identifier for r in record.removed_data_sets] == [planted.identifiers[BAD_SWEEP]]
    assert removed_images(result, planted) == {SWEEP_WITH_BAD_IMAGES: [BAD_IMAGES]}


def test_sd_of_dials_is_blind_to_them(planted: Job) -> None:
    result = filtered(planted, "dataset", {"grouping": "combined"}, rule="sd")
    assert result.filtering is not None and not result.filtering.cycles[0].removed.any()


def test_interior_or_from_the_ends(few: Job, by_images: ScalingResult) -> None:
    assert removed_images(by_images, few) == {1: [BAD_IMAGES], 3: [(1, 10)]}
    # an error model of its own would give the bad sweep less weight, and its images less influence on CC1/2
    from_the_ends = filtered(few, "image_group", {"grouping": "combined"}, interior=False)
    assert removed_images(from_the_ends, few) == {3: [(1, 10)]}


def test_is_what_excluding_by_hand_gives(few: Job, by_images: ScalingResult) -> None:
    by_hand = pyscale.scale(few, nproc=1, exclude_images=("1:11:20", "3:1:10"))
    one, other = by_images.statistics.overall, by_hand.statistics.overall
    assert one.n_obs == other.n_obs
    assert one.r_meas == pytest.approx(other.r_meas, rel=1e-3)
    ratio = by_images.inverse_scale_factor / by_hand.inverse_scale_factor
    assert_allclose(ratio / np.median(ratio), 1.0, atol=1e-2)


def test_rows_are_accounted_for(few: Job, by_images: ScalingResult) -> None:
    record = by_images.filtering
    assert record is not None
    for k, entry in enumerate(by_images.ledger):
        gone = sum(sum(reasons.values()) for reasons in (entry.filtered, entry.user_excluded, entry.rejected))
        assert entry.read == entry.partials_merged + gone + entry.merged
        assert ("delta_cc_half" in entry.user_excluded) == (k in (1, 3))
        assert "exclude_images" not in entry.user_excluded
    table = by_images.table
    expected = (table["id"] == 1) & on_images(table, BAD_IMAGES) | (table["id"] == 3) & on_images(table, (1, 10))
    assert_array_equal((table["flags"] & USER_EXCLUDED) != 0, expected)
    assert by_images.job.experiments[1].valid_image_ranges == [(1, 10), (21, 40)]
    assert by_images.ledger[1].user_excluded["delta_cc_half"] == np.count_nonzero(expected & (table["id"] == 1))


def test_images_of_the_user_and_of_filtering_are_told_apart(few: Job) -> None:
    chosen = {"mode": "image_group", "group_size": 5}
    result = pyscale.scale(
        few, nproc=1, exclude_images=("1:1:10",), filtering={"method": "deltacchalf", "deltacchalf": chosen}
    )
    reasons = result.ledger[1].user_excluded
    assert reasons["exclude_images"] > 0 and reasons["delta_cc_half"] > 0
    assert removed_images(result, few)[1] == [BAD_IMAGES]


def test_order_of_rows_does_not_matter(few: Job, by_images: ScalingResult) -> None:
    order = np.random.default_rng(7).permutation(sum(len(d.reflections) for d in few.data_sets))
    table = ReflectionTable.concatenate([d.reflections for d in few.data_sets]).select(order)
    other = filtered(make_job(few.experiments, [table]), "image_group")
    assert other.filtering is not None and by_images.filtering is not None
    assert other.filtering.removed_images == by_images.filtering.removed_images
    assert other.filtering.final == by_images.filtering.final


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_cycles": 1}, "max_cycles"),
        ({"max_percent_removed": 0.5}, "max_percent_removed"),
        ({"min_completeness": 100.0}, "below_completeness_limit"),
        ({"max_percent_removed": 0.5, "min_completeness": 100.0, "max_cycles": 1}, "max_percent_removed"),
        ({"stdcutoff": 1e4, "max_cycles": 1, "min_completeness": 100.0}, "no_more_removed"),
    ],
)
def test_stop_rules(few: Job, options: dict[str, Any], reason: str) -> None:
    result = filtered(few, "image_group", **options)
    record = result.filtering
    assert record is not None and record.termination_reason == reason
    last = record.cycles[-1]
    if reason == "no_more_removed":
        assert last.n_removed == 0 and not removed_images(result, few)
        return
    assert last.removed.any() and removed_images(result, few)
    assert result.statistics.overall.n_obs < last.statistics.overall.n_obs
    order = np.argsort(last.delta.delta)
    if reason != "max_cycles":
        # The worst first, and that which passes the limit is the last: here already the first.
        assert_array_equal(np.flatnonzero(last.removed), order[:1])
        assert last.percent_removed > 0.5 and last.completeness < 1.0


def test_completeness_is_that_of_what_is_left(few: Job) -> None:
    record = filtered(few, "image_group", max_cycles=1).filtering
    assert record is not None and record.final is not None
    cycle, final = record.cycles[0], record.final.overall
    # Scaled again, a few outliers more or less are found.
    assert cycle.completeness == pytest.approx(final.n_unique / cycle.statistics.overall.n_possible, abs=0.005)


def test_one_data_set_has_no_others_to_compare_with(few: Job) -> None:
    with pytest.raises(UsageError, match=r"mode=dataset: removes whole data sets, and there is one only; mode=image_"):
        filtered(few.select([0]), "dataset")


@pytest.mark.parametrize(
    ("mode", "options", "message"),
    [
        ("dataset", {}, "has 6 data sets only to compare"),
        ("dataset", {"rule": "sd"}, "of 6 data sets none can lie 4 standard deviations below the mean"),
        ("image_group", {"group_size": 3}, "a filtering.deltacchalf.group_size above 3 makes"),
    ],
)
def test_warns_where_it_cannot_judge(
    few: Job, caplog: pytest.LogCaptureFixture, mode: str, options: dict[str, Any], message: str
) -> None:
    thinned = few.replaced(few.experiments, [d.reflections.select(slice(None, None, 5)) for d in few.data_sets])
    with caplog.at_level(logging.WARNING):
        filtered(thinned, mode, max_cycles=1, **options)
    assert sum(message in record.getMessage() for record in caplog.records) == 1


def test_warns_of_a_single_candidate(few: Job, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        result = filtered(few.select([0]), "image_group", group_size=100)
    assert any("can judge 0 image groups only" in record.getMessage() for record in caplog.records)
    assert result.filtering is not None and result.filtering.termination_reason == "no_more_removed"


def test_options_without_a_method_are_named(few: Job, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        pyscale.scale(few.select([0, 1]), nproc=1, filtering={"deltacchalf": {"max_cycles": 2}})
    assert any("these have no effect: filtering.deltacchalf.max_cycles" in r.getMessage() for r in caplog.records)


def test_images_with_outliers_only_are_found() -> None:
    candidates = [
        Candidate(0, (1, 10)),
        Candidate(0, (11, 20)),
        Candidate(0, (31, 40)),
        Candidate(1, (1, 10)),
        Candidate(2),
    ]
    n_all, n_merged = [5, 5, 7, 0, 3], [4, 0, 0, 0, 0]
    delta = DeltaCCHalf(
        cc_half=0.9,
        candidates=candidates,
        delta=np.zeros(5),
        n_merged=np.array(n_merged),
        candidate_of=np.repeat(np.arange(5), n_all).astype(np.int32),
    )
    experiments: Any = [
        SimpleNamespace(image_range=(1, 40), valid_image_ranges=[(1, 20), (31, 40)]),
        SimpleNamespace(image_range=(1, 10), valid_image_ranges=[(1, 10)]),
        SimpleNamespace(image_range=None),
    ]
    assert _outlier_ranges(delta, experiments) == [(0, (31, 40))]


def test_stills_are_removed_as_a_whole() -> None:
    data = pyscale.simulate(kind="stills", n_stills=40, d_min=5.0, seed=4)
    table = data.reflections()
    spoil(table, table["id"] == 11, seed=3)
    job = make_job(data.experiments(), [table])
    result = filtered(job, "image_group")
    record = result.filtering
    assert record is not None
    assert all(c.images is None for c in record.cycles[0].delta.candidates)
    assert not record.removed_images
    assert len(result.job.data_sets) + len(record.removed_data_sets) == 40


def test_cross_validated_models_are_chosen_at_the_end() -> None:
    data, table = simulated(2, seed=1, d_min=7.0)
    result = pyscale.scale(
        make_job(data.experiments(), [table]),
        nproc=1,
        model="cross_validated",
        filtering={"method": "deltacchalf", "deltacchalf": {"mode": "image_group", "max_cycles": 1, "stdcutoff": 50.0}},
    )
    assert result.model_choice is not None and result.filtering is not None


@pytest.fixture(scope="module")
def files(few: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the few sweeps were filtered from the command line."""
    folder = tmp_path_factory.mktemp("filtering")
    data, table = simulated(6, seed=1)
    spoil(table, (table["id"] == 1) & on_images(table, BAD_IMAGES), seed=2)
    result = pyscale.scale(make_job(data.experiments(), [table]), nproc=1)
    result.write(folder / "in.expt", folder / "in.refl")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        names = ["in.expt", "in.refl", "nproc=1", "overwrite_existing_models=True"]
        assert main(["scale", *names, "filtering.method=deltacchalf", "mode=image_group", "group_size=5"]) == 0
    return folder


def test_results_have_the_keys_of_dials(files: Path) -> None:
    results = json.loads((files / "scale_and_filter_results.json").read_text(encoding="utf-8"))
    assert set(results) == {
        "termination_reason",
        "initial_n_reflections",
        "initial_expids_and_image_ranges",
        "expids_and_image_ranges",
        "cycle_results",
        "final_stats",
    }
    identifiers = [name for name, _ in results["initial_expids_and_image_ranges"]]
    assert results["initial_expids_and_image_ranges"] == [[name, [1, 40]] for name in identifiers]
    after = dict(results["expids_and_image_ranges"])
    assert after[identifiers[1]] == [[1, 10], [21, 40]] and after[identifiers[0]] == [[1, 40]]
    first = results["cycle_results"]["1"]
    assert set(first) == {
        "merging_stats",
        "delta_cc_half_values",
        "mean_cc_half",
        "image_ranges_removed",
        "removed_datasets",
        "removed_ids",
        "n_removed",
        "cumul_percent_removed",
    }
    assert sorted(first["image_ranges_removed"]) == [[[11, 15], 1], [[16, 20], 1]]
    assert first["delta_cc_half_values"] == sorted(first["delta_cc_half_values"])
    assert len(first["delta_cc_half_values"]) == 48
    assert first["cumul_percent_removed"] == pytest.approx(100 * first["n_removed"] / results["initial_n_reflections"])
    overall = {"cc_one_half", "r_merge", "r_pim", "i_over_sigma_mean", "completeness", "n_obs"}
    assert set(results["final_stats"]["overall"]) == overall
    assert results["final_stats"]["overall"]["r_pim"] < first["merging_stats"]["overall"]["r_pim"]


def test_log_and_report_show_before_and_after(files: Path) -> None:
    log = (files / "pyscale.scale.log").read_text(encoding="utf-8")
    assert "Statistics before each removal and after the last" in log
    assert "removed 5 images" in log or "removed 10 images" in log
    page = (files / "pyscale.scale.html").read_text(encoding="utf-8")
    assert "Filtering by ΔCC" in page and "nothing more was to be removed" in page


def test_document_fits_its_schema(files: Path, repository: Path) -> None:
    schema = json.loads((repository / "src/pyscale/schema/scale.schema.json").read_text(encoding="utf-8"))
    document = json.loads((files / "pyscale.scale.json").read_text(encoding="utf-8"))
    assert [e.message for e in Draft202012Validator(schema).iter_errors(document)] == []

    def keys(value: dict[str, Any], part: dict[str, Any]) -> None:
        part = schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
        assert set(value) == set(part["properties"])

    filtering, part = document["filtering"], schema["properties"]["filtering"]
    keys(filtering, part)
    keys(filtering["cycles"][0], part["properties"]["cycles"]["items"])
    keys(filtering["cycles"][0]["candidates"][0], schema["$defs"]["filter_cycle"]["properties"]["candidates"]["items"])
    assert document["datasets"][1]["excluded_images"] == [[11, 20]]


def test_later_jobs_leave_the_images_out(files: Path) -> None:
    again = pyscale.scale(pyscale.read(files / "scaled.expt", files / "scaled.refl"), nproc=1)
    assert again.ledger[1].user_excluded["exclude_images"] == np.count_nonzero(
        (read_refl(files / "scaled.refl")["flags"] & USER_EXCLUDED) != 0
    )
    assert again.filtering is None and again.to_dict()["filtering"] is None


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("scale_and_filter_results=missing/r.json", "the directory does not exist"),
        ("scale_and_filter_results=pyscale.scale.log", "is named for two outputs"),
        ("scale_and_filter_results=in.refl", None),
    ],
)
def test_all_outputs_or_none(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], argument: str, message: str | None
) -> None:
    for name in ("in.expt", "in.refl"):
        (tmp_path / name).write_bytes((files / name).read_bytes())
    before = (tmp_path / "in.refl").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        filtering = ["filtering.method=deltacchalf", "mode=image_group", "max_cycles=1", "group_size=5"]
        status = main(["scale", "in.expt", "in.refl", "nproc=1", *filtering, argument])
    if message is None:
        assert status == 0 and (tmp_path / "in.refl").read_bytes() != before
        return
    assert status == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.glob("scaled.*"))
