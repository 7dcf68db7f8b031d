"""Cross validation: the settings, the folds, the table, and what data of known truth say."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.cli import main
from pyscale.cross_validation import CrossValidation, cross_validate
from pyscale.dataset import Job, make_job
from pyscale.free_set import Agreement, FreeSetComparison, HeldOutGroups
from pyscale.options import ScalingOptions, with_changes
from pyscale.settings import settings_to_compare


@pytest.fixture(scope="module")
def job() -> Job:
    data = pyscale.simulate(d_min=4.0, sweep_width=90.0, oscillation_width=1.0, decay=40.0, seed=8)
    return make_job(data.experiments(), [data.reflections()])


def options(mode: str = "multi", **changes: Any) -> ScalingOptions:
    scope = {f"cross_validation.{k}": v for k, v in changes.items()}
    return with_changes(ScalingOptions(), {"cross_validation.cross_validation_mode": mode, **scope})


def named(parameter: str, *values: str) -> list[tuple[str, ScalingOptions]]:
    asked = options(parameter=parameter, parameter_values=values or None)
    return [(s.name, s.options) for s in settings_to_compare(asked, ())]


def test_single_is_the_job_with_a_free_set() -> None:
    (setting,) = settings_to_compare(options("single", nfolds=3), {"cut_data.d_min"})
    assert setting.options.scaling_options.use_free_set and setting.given == {"cut_data.d_min"}


@pytest.mark.parametrize("name", ["scaling_options.outlier_zmax", "outlier_zmax", "zmax"])
def test_names_are_those_of_the_command_line(name: str) -> None:
    found = named(name, "4", "6.5")
    assert [o.scaling_options.outlier_zmax for _, o in found] == [4.0, 6.5]
    assert [n for n, _ in found] == ["outlier_zmax=4.0", "outlier_zmax=6.5"]


def test_a_setting_counts_as_given() -> None:
    asked = options(parameter="d_min", parameter_values=("2", "3"))
    assert [s.given for s in settings_to_compare(asked, {"anomalous"})] == [{"anomalous", "cut_data.d_min"}] * 2


def test_values_that_come_by_themselves() -> None:
    assert [o.anomalous for _, o in named("anomalous")] == [True, False]
    assert [o.model for _, o in named("model")] == ["physical", "KB", "array"]
    assert [n for n, _ in named("model", "KB", "auto")] == ["model=KB", "model=auto"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameter": "d_min"}, "needs cross_validation.parameter_values= for cut_data.d_min"),
        ({}, "needs cross_validation.parameter="),
        ({"parameter": "no_such_thing", "parameter_values": ("1", "2")}, "unknown option no_such_thing"),
        ({"parameter": "d_min", "parameter_values": ("1", "x")}, "cut_data.d_min=x: expected number or auto or None"),
        ({"parameter": "d_min", "parameter_values": ("2", "2.0")}, "d_min=2.0 occurs twice"),
        ({"parameter": "d_min", "parameter_values": ("2",)}, "two values or more"),
        ({"parameter": "nfolds", "parameter_values": ("2", "3")}, "cross validation cannot vary it"),
        ({"parameter": "use_free_set"}, "cross validation cannot vary it"),
        ({"parameter": "output.log", "parameter_values": ("a", "b")}, "cross validation cannot vary it"),
        ({"parameter": "anomalous", "nfolds": 11}, "nfolds=11: there are 10 free sets of 10 %"),
        ({"parameter": "output.additional_stats", "parameter_values": ("True", "False")}, "not yet available"),
    ],
)
def test_silly_options(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(pyscale.UsageError) as caught:
        settings_to_compare(options(**changes), ())
    assert message in str(caught.value)


def test_single_has_no_parameter() -> None:
    with pytest.raises(pyscale.UsageError, match="is for cross_validation_mode=multi"):
        settings_to_compare(options("single", parameter="d_min"), ())


def comparison(offset: int, free: float, likelihood: np.ndarray, n: np.ndarray, index: np.ndarray) -> FreeSetComparison:
    work = Agreement(n_observations=900, n_groups=300, r_meas=0.05, cc_half=0.99, chi_squared=1.0)
    return FreeSetComparison(
        percentage=10.0,
        offset=offset,
        work=work,
        free=replace(work, r_meas=free, cc_half=0.98),
        held_out=HeldOutGroups(miller_index=index, n_observations=n, log_likelihood=likelihood),
    )


def scripted(folds: dict[str, Callable[[int], FreeSetComparison]], nfolds: int) -> CrossValidation:
    """Cross validation over `model` with given comparisons."""
    asked = options(parameter="model", parameter_values=tuple(folds), nfolds=nfolds)
    return cross_validate(asked, (), lambda o, _: lambda k, _: folds[str(o.model)](k), 2)


def test_means_deviations_and_asterisks() -> None:
    index, n = np.array([[1, 0, 0], [2, 0, 0]]), np.array([2, 3])
    rmeas = {"physical": [0.06, 0.08, 0.07], "KB": [0.09, 0.08, 0.10]}
    likelihood = {"physical": np.array([-1.0, -2.0]), "KB": np.array([-2.0, -2.5])}
    found = scripted(
        {m: lambda k, m=m: comparison(k, rmeas[m][k], likelihood[m], n, index) for m in rmeas},
        3,
    )
    first, second = found.scores
    assert first.mean("free_r_meas") == pytest.approx(0.07) and first.standard_deviation(
        "free_r_meas"
    ) == pytest.approx(0.01)
    assert first.mean("r_meas_gap") == pytest.approx(0.02) and first.mean("cc_half_gap") == pytest.approx(0.01)
    assert second.mean("log_likelihood") == pytest.approx(-4.5 / 5)
    assert second.difference == pytest.approx(-1.5 / 5) and second.n_compared == 15
    differences = np.tile([-1.0, -0.5], 3)
    assert second.standard_error == pytest.approx(np.sqrt(6) * differences.std(ddof=1) / 15)
    table = found.table().splitlines()
    assert "0.0700 (0.0100)*" in table[1] and "0.0900 (0.0100)" in table[2] and "0.0900 (0.0100)*" not in table[2]
    assert "-0.6000 (0.0000)*" in table[1] and table[1].count("*") > table[2].count("*")
    assert first.difference == 0.0


def test_only_groups_with_the_same_observations_are_compared() -> None:
    index = np.array([[1, 0, 0], [2, 0, 0], [3, 0, 0]])
    a = comparison(0, 0.1, np.array([-1.0, -9.0, -3.0]), np.array([2, 2, 4]), index)
    b = comparison(0, 0.1, np.array([-7.0, -1.5, -2.0]), np.array([4, 2, 3]), index[[2, 0, 1]])
    found = scripted({"physical": lambda _: a, "KB": lambda _: b}, 1)
    assert found.scores[1].n_compared == 6
    assert found.scores[1].difference == pytest.approx((-7.0 + 3.0 - 1.5 + 1.0) / 6)


def test_one_setting_has_neither_asterisks_nor_differences(job: Job) -> None:
    found = pyscale.cross_validate(job, nfolds=2, nproc=1)
    assert "*" not in found.table() and "difference" not in found.table()
    assert [c.offset for c in found.scores[0].folds] == [0, 1]


def test_folds_are_jobs_with_a_free_set(job: Job) -> None:
    found = pyscale.cross_validate(job, nfolds=2, free_set_percentage=20.0, nproc=2)
    for k in range(2):
        alone = pyscale.scale(job, use_free_set=True, free_set_percentage=20.0, free_set_offset=k, nproc=1)
        assert found.scores[0].folds[k].to_dict() == alone.free_set.to_dict()


def test_the_model_that_follows_the_truth_is_best(job: Job) -> None:
    """Radiation damage along the sweep, which one K and B for the data set cannot follow."""
    found = pyscale.cross_validate(job, parameter="model", parameter_values=["physical", "KB"], nfolds=3)
    assert found.scores[1].difference < -3.0 * found.scores[1].standard_error
    assert found.scores[0].mean("free_r_meas") < found.scores[1].mean("free_r_meas")


def test_threads_make_no_difference(job: Job) -> None:
    def scores(nproc: int) -> list[Any]:
        found = pyscale.cross_validate(job, parameter="decay_correction", nfolds=3, nproc=nproc)
        return [s.to_dict() for s in found.scores]

    assert scores(1) == scores(3) == scores(2)


def test_scaling_does_not_cross_validate_by_accident(job: Job) -> None:
    with pytest.raises(pyscale.UsageError, match="call cross_validate"):
        pyscale.scale(job, cross_validation_mode="single")


def test_a_setting_that_fails_is_said_so(caplog: pytest.LogCaptureFixture) -> None:
    index, n = np.array([[1, 0, 0]]), np.array([2])

    def fails(_: int) -> FreeSetComparison:
        raise pyscale.DataError("too few reflections")

    good = comparison(0, 0.1, np.array([-1.0]), n, index)
    with caplog.at_level(logging.WARNING):
        found = scripted({"physical": lambda _: good, "KB": fails}, 2)
    assert found.scores[1].failure == "too few reflections" and "model=KB cannot be scaled" in caplog.text
    assert "failed: too few reflections" in found.table()
    assert math.isnan(found.scores[1].difference)
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(pyscale.DataError, match="too few reflections"):
        scripted({"physical": fails, "KB": fails}, 1)


def test_warnings_of_folds_are_told_once_and_nothing_else_is(caplog: pytest.LogCaptureFixture) -> None:
    good = comparison(0, 0.1, np.array([-1.0]), np.array([2]), np.array([[1, 0, 0]]))
    logger = logging.getLogger("pyscale.somewhere")

    def talks(k: int) -> FreeSetComparison:
        logger.info("step of fold %d", k)
        logger.warning("odd data in fold %d", k)
        return good

    with caplog.at_level(logging.INFO, logger="pyscale"):
        scripted({"physical": talks, "KB": lambda _: good}, 3)
        logger.info("afterwards")
    assert "step of fold" not in caplog.text
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "model=physical: odd data in fold 0 (and 2 more like it)"
    ]
    assert "afterwards" in caplog.text


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    pyscale.simulate(d_min=4.5, sweep_width=60.0, oscillation_width=2.0, seed=8).write(".")
    return ["simulated.expt", "simulated.refl"]


def test_command_line(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["cross_validation_mode=multi", "parameter=absorption_correction", "nfolds=2", "nproc=1"]
    assert main(["scale", *files, *arguments]) == 0
    out = capsys.readouterr().out
    document = json.loads(Path("pyscale.cross_validation.json").read_text())
    assert [s["name"] for s in document["settings"]] == ["absorption_correction=True", "absorption_correction=False"]
    assert f"{document['settings'][1]['mean']['free_r_meas']:.4f}" in out
    log = Path("pyscale.scale.log").read_text()
    assert "Cross validation: 2 free sets of 10 % of the groups" in log and "free set 1:" in log
    assert not Path("scaled.refl").exists() and not Path("pyscale.scale.json").exists()
    assert main(["scale", *files, *arguments, "output.json=own.json", "output.log=None"]) == 0
    assert Path("own.json").exists()


def test_document_fits_its_schema(job: Job, repository: Path) -> None:
    from test_json_schema import problems

    path = repository / "src" / "pyscale" / "schema" / "cross_validation.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    found = pyscale.cross_validate(job, parameter="absorption_correction", nfolds=1, nproc=1)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert problems(document, schema, schema) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["cross_validation_mode=single", "nfolds=11"],
        ["cross_validation_mode=multi"],
        ["cross_validation_mode=multi", "parameter=lmax", "parameter_values=2,x"],
        ["cross_validation_mode=multi", "parameter=foo", "parameter_values=2,3"],
    ],
)
def test_wrong_usage_is_one_line(files: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(["scale", *files, *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not Path("pyscale.scale.log").exists()
