"""Jobs with sweeps in another indexing: warnings, new indices, and geometry and files that stay sound."""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.cli import main
from pyscale.dataset import DataSet, Job, combine_tables, load_job, make_job
from pyscale.experiment import ExperimentList
from pyscale.indexing_operators import IndexingOperators, alternative_indexings
from pyscale.io.expt import write_expt
from pyscale.io.refl import write_refl
from pyscale.reindexing import reindex
from pyscale.result import ScalingResult

CELL = (50.0, 50.0, 60.0, 90.0, 90.0, 120.0)
MONOCLINIC = (40.0, 50.0, 40.8, 90.0, 105.0, 90.0)
PLANTED = 3


def simulated(name: str, cell: tuple[float, ...], n_sweeps: int = 5, **options: Any) -> Job:
    settings: dict[str, Any] = {
        "space_group": name,
        "unit_cell": cell,
        "d_min": 4.0,
        "n_sweeps": n_sweeps,
        "sweep_width": 40.0,
        "oscillation_width": 1.0,
        "start_angles": tuple(30.0 * k for k in range(n_sweeps)),
        "seed": 3,
    }
    data = pyscale.simulate(**settings | options)
    return make_job(data.experiments(), [data.reflections()])


def all_operators(name: str, cell: tuple[float, ...]) -> IndexingOperators:
    found = alternative_indexings(cell, gemmi.find_spacegroup_by_name(name), 3.0)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.fixture(scope="module")
def operators() -> IndexingOperators:
    return all_operators("P 3", CELL)


@pytest.fixture(scope="module")
def original() -> Job:
    return simulated("P 3", CELL)


@pytest.fixture(scope="module")
def planted(original: Job, operators: IndexingOperators) -> Job:
    """The fourth sweep with h T for its indices; its crystal is indexed accordingly, as an indexing program does."""
    chosen = [0] * len(original.data_sets)
    chosen[PLANTED] = operators.triplets.index("-h,-k,l")
    return reindex(original, operators, chosen)


@pytest.fixture(scope="module")
def mended(planted: Job) -> ScalingResult:
    return pyscale.scale(planted, check_consistent_indexing=True, nproc=1)


def reciprocal_vectors(data_set: DataSet) -> np.ndarray:
    """A h of all rows, (n, 3), 1/Angstrom."""
    crystal = data_set.experiment.crystal
    assert crystal is not None
    setting = np.linalg.inv(np.array([crystal[f"real_space_{name}"] for name in "abc"]))
    vectors: np.ndarray = data_set.reflections["miller_index"] @ setting.T
    return vectors


def prediction_errors(data_set: DataSet) -> np.ndarray:
    """|s1 - (s0 + S R F A h)| of all rows, 1/Angstrom."""
    experiment, table = data_set.experiment, data_set.reflections
    oscillation, axis = experiment.oscillation, experiment.rotation_axis
    assert oscillation is not None and axis is not None
    q = reciprocal_vectors(data_set) @ experiment.fixed_rotation.T
    angle = np.radians(oscillation[0] + oscillation[1] * table["xyzcal.px"][:, 2])[:, None]
    along = (q @ axis)[:, None] * axis
    rotated = along + (q - along) * np.cos(angle) + np.cross(axis, q) * np.sin(angle)
    s0 = -experiment.beam_direction / experiment.wavelength
    errors: np.ndarray = np.linalg.norm(table["s1"] - (s0 + rotated @ experiment.setting_rotation.T), axis=1)
    return errors


def test_found_and_reindexed(original: Job, planted: Job, mended: ScalingResult) -> None:
    before = pyscale.scale(original, nproc=1)
    assert mended.indexing is not None and mended.indexing.reindexed
    assert mended.indexing.decisions == ["consistent"] * PLANTED + ["-h,-k,l", "consistent"]
    assert mended.statistics.overall.r_meas == pytest.approx(before.statistics.overall.r_meas, rel=1e-9)
    for data_set, expected in zip(mended.job.data_sets, original.data_sets, strict=True):
        assert_array_equal(data_set.reflections["miller_index"], expected.reflections["miller_index"])
    assert_array_equal(mended.table["miller_index"], before.table["miller_index"])
    moved = planted.data_sets[PLANTED].reflections["miller_index"]
    assert (moved != original.data_sets[PLANTED].reflections["miller_index"]).any()


def test_without_the_option_a_warning(
    original: Job, planted: Job, mended: ScalingResult, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="pyscale"):
        result = pyscale.scale(planted, nproc=1)
    (warning,) = [r.getMessage() for r in caplog.records if "indexed unlike" in r.getMessage()]
    assert planted.identifiers[PLANTED] in warning and "-h,-k,l" in warning
    assert "check_consistent_indexing=True" in warning
    assert not any(identifier in warning for k, identifier in enumerate(planted.identifiers) if k != PLANTED)
    assert result.statistics_with_outliers.overall.r_meas > 2 * mended.statistics_with_outliers.overall.r_meas
    assert_array_equal(
        result.job.data_sets[PLANTED].reflections["miller_index"],
        planted.data_sets[PLANTED].reflections["miller_index"],
    )
    assert result.indexing is not None and not result.indexing.reindexed


def test_predictions_stay(original: Job, planted: Job, mended: ScalingResult) -> None:
    for k, data_set in enumerate(mended.job.data_sets):
        assert prediction_errors(original.data_sets[k]).max() < 1e-4
        assert prediction_errors(planted.data_sets[k]).max() < 1e-4
        assert prediction_errors(data_set).max() < 1e-4
        assert_allclose(reciprocal_vectors(data_set), reciprocal_vectors(original.data_sets[k]), atol=1e-12)
    history = mended.experiments[0].history
    assert history[-2].endswith("|reindexed") and history[-1].endswith("|scaled")


@pytest.mark.parametrize("kind", ["rotation", "stills"])
def test_indices_alone_were_planted(kind: str, original: Job, operators: IndexingOperators) -> None:
    """A file whose crystal never went with the indices: the crystal stays, and goes with the new ones."""
    data = pyscale.simulate(kind="stills", space_group="P 3", unit_cell=CELL, n_stills=3, d_min=3.0, seed=2)
    job = original if kind == "rotation" else make_job(data.experiments(), [data.reflections()])
    k = operators.triplets.index("-h,-k,l")
    tables = [d.reflections.copy() for d in job.data_sets]
    tables[1]["miller_index"] = operators.apply(k, tables[1]["miller_index"])
    planted = job.replaced(ExperimentList(job.experiments.document), tables)
    moved = reindex(planted, operators, [0, k] + [0] * (len(tables) - 2))
    assert moved.experiments[1].crystal == job.experiments[1].crystal
    assert_array_equal(moved.data_sets[1].reflections["miller_index"], job.data_sets[1].reflections["miller_index"])
    back = reindex(job, operators, [0, k] + [0] * (len(tables) - 2))
    assert back.experiments[1].crystal != job.experiments[1].crystal


def test_every_operator_keeps_reciprocal_vectors(original: Job, operators: IndexingOperators) -> None:
    before = [reciprocal_vectors(d) for d in original.data_sets]
    for k in range(len(operators)):
        moved = reindex(original, operators, [k] * len(before))
        for data_set, vectors, old in zip(moved.data_sets, before, original.data_sets, strict=True):
            assert_allclose(reciprocal_vectors(data_set), vectors, atol=1e-12)
            assert_allclose(data_set.experiment.unit_cell, CELL, rtol=1e-9)
            axes = [data_set.experiment.crystal[f"real_space_{n}"] for n in "abc"]  # type: ignore[index]
            assert np.linalg.det(np.array(axes)) > 0
            assert data_set.experiment.space_group == old.experiment.space_group


def test_scan_varying_crystal() -> None:
    """Settings at scan points follow; the cell's values are those of the new axes; covariances of the old ones go."""
    job = simulated("P 1 21 1", MONOCLINIC, n_sweeps=2)
    operators = all_operators("P 1 21 1", MONOCLINIC)
    experiments = ExperimentList(job.experiments.document)
    crystal = dict(experiments.model(1, "crystal") or {})
    static = np.linalg.inv(np.array([crystal[f"real_space_{name}"] for name in "abc"]))
    points = [static * (1 + 1e-3 * k) for k in range(4)]
    crystal |= {
        "A_at_scan_points": [p.ravel().tolist() for p in points],
        "B_covariance": [0.0] * 81,
        "recalculated_unit_cell": list(MONOCLINIC),
        "recalculated_cell_parameter_sd": [0.1, 0.2, 0.3, 0.0, 0.5, 0.0],
        "recalculated_cell_volume_sd": 7.0,
    }
    experiments.set_model(1, "crystal", crystal)
    job = job.replaced(experiments, [d.reflections for d in job.data_sets])
    moved = reindex(job, operators, [0, 1]).data_sets[1]
    found = moved.experiment.crystal
    assert found is not None and operators.triplets[1] == "l,-k,h"
    old, new = job.data_sets[1].reflections["miller_index"], moved.reflections["miller_index"]
    for point, setting in zip(points, found["A_at_scan_points"], strict=True):
        assert_allclose(new @ np.reshape(setting, (3, 3)).T, old @ point.T, atol=1e-12)
    a, b, c, *angles = MONOCLINIC
    assert_allclose(moved.experiment.unit_cell, (c, b, a, *angles), rtol=1e-9)
    assert_allclose(moved.experiment.recalculated_unit_cell, (c, b, a, *angles), rtol=1e-9)  # type: ignore[arg-type]
    assert found["recalculated_cell_parameter_sd"] == [0.3, 0.2, 0.1, 0.0, 0.5, 0.0]
    assert found["recalculated_cell_volume_sd"] == 7.0
    assert "B_covariance" not in found
    assert job.data_sets[1].experiment.crystal == crystal


def test_shared_crystal_stays_with_the_others(original: Job, operators: IndexingOperators) -> None:
    experiments = ExperimentList(original.experiments.document)
    document = {**experiments.document, "crystal": [experiments.document["crystal"][0]]}
    document["experiment"] = [{**e, "crystal": 0} for e in document["experiment"]]
    job = original.replaced(ExperimentList(document), [d.reflections for d in original.data_sets])
    moved = reindex(job, operators, [0, 0, 2, 0, 0])
    assert [e.crystal == job.experiments[0].crystal for e in moved.experiments] == [True, True, False, True, True]


def test_pseudo_merohedral_monoclinic() -> None:
    """a and c nearly alike: the planted sweep's cell is exchanged too, and the common cell is right again."""
    job = simulated("P 1 21 1", MONOCLINIC, n_sweeps=4, start_angles=(0.0, 45.0, 90.0, 135.0), d_min=4.5)
    operators = all_operators("P 1 21 1", MONOCLINIC)
    planted = reindex(job, operators, [0, 1, 0, 0])
    result = pyscale.scale(planted, check_consistent_indexing=True, nproc=1)
    assert result.indexing is not None and result.indexing.decisions[1] == "l,-k,h"
    assert_allclose(result.unit_cell, MONOCLINIC, rtol=1e-9)
    assert_allclose(result.job.data_sets[1].experiment.unit_cell, MONOCLINIC, rtol=1e-9)
    before = pyscale.scale(job, nproc=1)
    assert result.statistics.overall.r_meas == pytest.approx(before.statistics.overall.r_meas, rel=1e-6)


def test_stills() -> None:
    options = {"kind": "stills", "n_stills": 60, "d_min": 5.0, "mean_intensity": 500.0}
    data = pyscale.simulate(space_group="P 3", unit_cell=CELL, seed=5, **options)
    job = make_job(data.experiments(), [data.reflections()])
    chosen = 2 * np.random.default_rng(2).integers(2, size=60)
    planted = reindex(job, all_operators("P 3", CELL), chosen)
    result = pyscale.scale(planted, check_consistent_indexing=True, nproc=1)
    assert result.indexing is not None and result.indexing.reindexed
    sound = ~result.indexing.undecided
    remaining = (chosen != result.indexing.operator)[sound]
    assert sound.mean() > 0.8 and max(remaining.mean(), 1 - remaining.mean()) > 0.98


def test_no_ambiguity_no_work(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is to be compared")

    monkeypatch.setattr("pyscale.reindexing.analyse_indexing", refuse)
    job = simulated("P 43 21 2", (50.0, 50.0, 60.0, 90.0, 90.0, 90.0), n_sweeps=2)
    with caplog.at_level(logging.INFO, logger="pyscale"):
        result = pyscale.scale(job, check_consistent_indexing=True, nproc=1)
    assert result.indexing is None and result.to_dict()["indexing"] is None
    assert any("the lattice has no other" in r.getMessage() for r in caplog.records)
    assert pyscale.scale(simulated("P 3", CELL, n_sweeps=1), nproc=1).indexing is None


def test_command_line(
    original: Job, planted: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, job in (("original", original), ("planted", planted)):
        write_expt(job.experiments, tmp_path / f"{name}.expt")
        write_refl(combine_tables(job, [d.reflections for d in job.data_sets]), tmp_path / f"{name}.refl")

    def run(name: str, *arguments: str) -> dict[str, Any]:
        assert main(["scale", f"{name}.expt", f"{name}.refl", *arguments]) == 0
        document: dict[str, Any] = json.loads(Path("pyscale.scale.json").read_text())
        return document

    before, warned = run("original"), run("planted")
    assert "check_consistent_indexing=True" in Path("pyscale.scale.html").read_text()
    after = run("planted", "check_consistent_indexing=True")
    assert "Indexed unlike the others" not in Path("pyscale.scale.html").read_text()
    r_meas = [d["merging_statistics"]["with_outliers"]["overall"]["r_meas"] for d in (before, warned, after)]
    assert r_meas[2] == pytest.approx(r_meas[0], rel=1e-9) and r_meas[1] > 2 * r_meas[0]
    decisions = [entry["decision"] for entry in after["indexing"]["data_sets"]]
    assert decisions == ["consistent"] * PLANTED + ["-h,-k,l", "consistent"]
    assert "-h,-k,l" in Path("pyscale.scale.log").read_text()
    again = load_job(["scaled.expt", "scaled.refl"])
    for data_set, expected in zip(again.data_sets, original.data_sets, strict=True):
        assert_array_equal(data_set.reflections["miller_index"], expected.reflections["miller_index"])
        assert prediction_errors(data_set).max() < 1e-4
    capsys.readouterr()


def test_document_fits_its_schema(mended: ScalingResult, repository: Path) -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads((repository / "src" / "pyscale" / "schema" / "scale.schema.json").read_text())
    document = json.loads(json.dumps(mended.to_dict(), allow_nan=False))
    assert [e.message for e in Draft202012Validator(schema).iter_errors(document)] == []
    properties = schema["properties"]["indexing"]["properties"]
    assert set(document["indexing"]) == set(properties)
    for key in ("operators", "data_sets"):
        assert set(document["indexing"][key][0]) == set(properties[key]["items"]["properties"])


def test_dials_reads_reindexed_files(mended: ScalingResult, require_dials: Path, tmp_path: Path) -> None:
    mended.write(tmp_path / "scaled.expt", tmp_path / "scaled.refl")
    for program in ("dials.show", "dials.merge"):
        command = [str(require_dials / program), "scaled.expt"] + ["scaled.refl"] * (program == "dials.merge")
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]
