"""The Python library: its surface, arrays as input, stages, threads, progress and cancellation, what it shows."""

from __future__ import annotations

import runpy
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

import public_api
import pyscale
from pyscale import stages


@pytest.fixture(scope="module")
def simulated() -> pyscale.SimulatedData:
    return pyscale.simulate(d_min=3.0, n_sweeps=2, oscillation_width=1.0, seed=11)


@pytest.fixture(scope="module")
def data(simulated: pyscale.SimulatedData) -> pyscale.Job:
    return simulated.job()


@pytest.fixture(scope="module")
def result(data: pyscale.Job) -> pyscale.ScalingResult:
    return pyscale.scale(data)


def array_arguments(simulated: pyscale.SimulatedData, rows: Any = ...) -> dict[str, Any]:
    """What `from_arrays` takes of simulated sweeps, which have one goniometer and images of 1 degree."""
    table, experiment = simulated.reflections(), simulated.experiments()[0]
    return {
        "miller_index": table["miller_index"][rows],
        "intensity": table["intensity.prf.value"][rows],
        "variance": table["intensity.prf.variance"][rows],
        "unit_cell": experiment.unit_cell,
        "space_group": "P212121",
        "rotation_angle": table["xyzobs.px.value"][rows, 2],
        "s0": -experiment.beam_direction / experiment.wavelength,
        "s1": table["s1"][rows],
        "rotation_axis": experiment.rotation_axis,
        "lp": (table["lp"] / table["qe"])[rows],
        "data_set": table["id"][rows],
    }


def from_arrays(arguments: dict[str, Any]) -> pyscale.Job:
    given = dict(arguments)
    return pyscale.from_arrays(given.pop("miller_index"), given.pop("intensity"), given.pop("variance"), **given)


# The surface


def test_public_interface_is_the_committed_one() -> None:
    """After a deliberate change: `python tests/public_api.py --write`, and a line in CHANGELOG.md."""
    assert public_api.public_api() == public_api.SNAPSHOT.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", [pyscale, stages])
def test_all_public_names_are_there_and_documented(module: Any) -> None:
    for name in module.__all__:
        value = getattr(module, name)
        assert name in dir(module)
        assert name.startswith("__") or value.__doc__, name


def test_errors_have_one_base() -> None:
    from pyscale import _core

    for error in (pyscale.DataError, pyscale.UsageError, pyscale.Cancelled, _core.CoreDataError):
        assert issubclass(error, pyscale.PyscaleError)


@pytest.mark.parametrize("name", ["from_arrays", "stages", "progress", "threads"])
def test_example(name: str, repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(repository / "examples" / f"{name}.py"))
    assert "data set" in capsys.readouterr().out


def test_example_of_fifteen_lines(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read, exclude, scale, look at statistics, merge and write an MTZ file."""
    script = repository / "examples" / "scaling.py"
    code = [s for s in script.read_text(encoding="utf-8").splitlines()[1:] if s and not s.startswith("#")]
    assert len(code) <= 15
    experiments, reflections, _ = pyscale.simulate(d_min=3.0, oscillation_width=1.0).write(tmp_path)
    experiments.rename(tmp_path / "integrated.expt")
    reflections.rename(tmp_path / "integrated.refl")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    assert "completeness" in capsys.readouterr().out
    mtz = gemmi.read_mtz_file("merged.mtz")
    assert mtz.column_with_label("IMEAN") is not None and mtz.nreflections > 1000


# Arrays


def test_arrays_give_what_files_give(simulated: pyscale.SimulatedData, data: pyscale.Job) -> None:
    """In any order of the rows; the table of the result has that order."""
    result = pyscale.scale(data, intensity_choice="profile")
    rows = np.random.default_rng(3).permutation(len(simulated))
    job = from_arrays(array_arguments(simulated, rows))
    assert job.identifiers == ["0", "1"]
    again = pyscale.scale(job)
    np.testing.assert_allclose(again.inverse_scale_factor, result.inverse_scale_factor[rows], rtol=1e-9)
    assert again.statistics.overall.n_obs == result.statistics.overall.n_obs
    np.testing.assert_array_equal(again.table["miller_index"], simulated.reflections()["miller_index"][rows])


def test_arrays_without_geometry(simulated: pyscale.SimulatedData) -> None:
    arguments = array_arguments(simulated)
    for name in ("rotation_angle", "s0", "s1", "rotation_axis"):
        del arguments[name]
    arguments["data_set"] = np.array(["first", "second"])[arguments["data_set"]]
    scaled = pyscale.scale(from_arrays(arguments))
    assert scaled.job.identifiers == ["first", "second"]
    assert [m.model for m in scaled.models] == ["KB", "KB"]
    arguments["rotation_angle"] = simulated.reflections()["xyzobs.px.value"][:, 2]
    scaled = pyscale.scale(from_arrays(arguments))
    assert [m.model for m in scaled.models] == ["physical", "physical"]
    assert not any(m.has_absorption for m in scaled.models)


def changed(name: str, row: int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(arguments: dict[str, Any]) -> None:
        array = np.array(arguments[name], dtype=np.float64)
        array[row] = value
        arguments[name] = array

    return change


def replaced(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda arguments: arguments.__setitem__(name, value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (changed("intensity", 17, np.nan), r"intensity: row 17 is nan"),
        (changed("variance", 5, 0.0), r"variance: row 5 is 0.*positive"),
        (changed("miller_index", 8, [1.5, 0, 0]), r"miller_index: row 8 is \[1.5, 0. , 0. \]"),
        (changed("miller_index", 9, 0), r"miller_index: row 9 .*no reflection"),
        (changed("rotation_angle", 4, np.inf), r"rotation_angle: row 4 is inf"),
        (changed("s1", 3, 0.0), r"s1: row 3 is the zero vector"),
        (changed("lp", 2, -1.0), r"lp: row 2 is -1"),
        (replaced("variance", np.ones(3)), r"variance: has shape \(3,\)"),
        (replaced("intensity", ["a"]), r"intensity: has dtype <U1"),
        (replaced("miller_index", np.zeros((4, 2))), r"miller_index: has shape \(4, 2\)"),
        (replaced("s0", None), r"s1: give s0"),
        (replaced("s0", [0.0, 0.0, 0.0]), r"s0: the zero vector"),
        (replaced("data_set", [0.5]), r"data_set: has shape"),
        (replaced("unit_cell", (1, 2, 3)), r"unit_cell"),
        (replaced("space_group", "P 99"), r"space_group"),
        (replaced("image_width", 0.0), r"image_width: must be a positive number"),
    ],
)
def test_bad_arrays_are_named_with_their_row(
    simulated: pyscale.SimulatedData, spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    arguments = array_arguments(simulated)
    spoil(arguments)
    with pytest.raises(pyscale.PyscaleError, match=message):
        from_arrays(arguments)


# Stages


def test_stages_together_are_scale(data: pyscale.Job, result: pyscale.ScalingResult) -> None:
    prepared = stages.prepare(data)
    fitted = stages.fit(prepared)
    np.testing.assert_array_equal(stages.evaluate(fitted.fit.models, prepared.observations), fitted.fit.g)
    finished = stages.finish(prepared, fitted)
    np.testing.assert_array_equal(finished.inverse_scale_factor, result.inverse_scale_factor)
    assert finished.statistics.to_dict() == result.statistics.to_dict()


def test_stages_on_arrays_find_what_was_planted() -> None:
    rng = np.random.default_rng(5)
    n_groups, multiplicity, a, b = 2000, 8, 1.5, 0.04
    unique = np.unique(rng.integers(1, 30, (n_groups, 3)), axis=0)
    hkl = np.repeat(unique, multiplicity, axis=0) * rng.choice([-1, 1], (len(unique) * multiplicity, 3))
    truth = np.repeat(rng.exponential(1000.0, len(unique)), multiplicity)
    g = rng.uniform(0.5, 2.0, truth.size)
    variance = 25.0 + truth * g
    sigma = a * np.sqrt(variance + (b * truth * g) ** 2)
    intensity = truth * g + sigma * rng.normal(size=truth.size)
    planted = rng.random(truth.size) < 0.002
    intensity[planted] += 20.0 * sigma[planted]
    groups = stages.group(hkl, "P 2 2 2")
    assert len(groups) == len(unique) and groups.offsets[-1] == truth.size
    np.testing.assert_array_equal(groups.unsorted(groups.sorted(hkl)), hkl)
    i, v, k, s = (groups.sorted(x) for x in (intensity, variance, g, sigma))
    outlier = stages.reject_outliers(i, s**2, k, groups.offsets)
    np.testing.assert_array_equal(groups.unsorted(outlier), planted)
    found = stages.fit_error_model(i, v, k, groups.offsets, excluded=outlier)
    assert abs(found.model.a - a) < 4 * found.sigma_a and abs(found.model.b - b) < 4 * found.sigma_b
    kept = ~planted
    merged = stages.merge(hkl[kept], (intensity / g)[kept], (sigma / g)[kept] ** 2, "P 2 2 2")
    pulls = (merged.intensity - truth[::multiplicity][np.lexsort(unique.T[::-1])]) / merged.sigma
    assert abs(pulls.std() - 1.0) < 0.1
    with pytest.raises(pyscale.DataError, match="offsets: is not ascending"):
        stages.reject_outliers(i, v, k, groups.offsets[:-1])
    with pytest.raises(pyscale.DataError, match="inverse_scale_factor: row 0"):
        stages.reject_outliers(i, v, -k, groups.offsets)


def test_groups_with_mates_apart() -> None:
    groups = stages.group([[1, 2, 3], [-1, -2, -3], [-1, -2, 3], [1, 2, 3]], "P 2 2 2", anomalous=True)
    assert np.diff(groups.offsets).tolist() == [3, 1]
    assert groups.miller_index.tolist() == [[1, 2, 3], [-1, -2, -3]]
    assert groups.order.tolist() == [0, 2, 3, 1]


def test_models_applied_without_files(data: pyscale.Job, result: pyscale.ScalingResult) -> None:
    applied, g = pyscale.apply(result, data), result.inverse_scale_factor
    scaled = g != 1.0
    assert np.count_nonzero(~scaled) < 10
    np.testing.assert_allclose(applied.inverse_scale_factor[scaled], g[scaled], rtol=1e-9)
    with pytest.raises(pyscale.DataError, match="no scaling model"):
        pyscale.apply(data, data)


# Progress and cancellation


def test_progress_goes_from_start_to_done(data: pyscale.Job, result: pyscale.ScalingResult) -> None:
    events: list[pyscale.Progress] = []
    again = pyscale.scale(data, progress=events.append, cancel=pyscale.Cancellation())
    fractions = [e.fraction for e in events]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and 0 <= fractions[0] < 0.1
    assert [e.stage for e in events].count("fit") > 3 and events[-1].stage == "done"
    assert {"prepare", "select", "fit", "limits", "statistics", "analyses"} <= {e.stage for e in events}
    np.testing.assert_array_equal(again.inverse_scale_factor, result.inverse_scale_factor)


def test_callback_that_raises_ends_the_job(data: pyscale.Job) -> None:
    def refuse(progress: pyscale.Progress) -> None:
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        pyscale.scale(data, progress=refuse)


@pytest.mark.parametrize("stage", ["prepare", "select", "fit", "limits", "statistics", "analyses"])
def test_cancelled_in_any_stage(data: pyscale.Job, stage: str) -> None:
    cancellation = pyscale.Cancellation()
    seen: list[str] = []

    def cancel_there(progress: pyscale.Progress) -> None:
        seen.append(progress.stage)
        if progress.stage == stage:
            cancellation.cancel()

    with pytest.raises(pyscale.Cancelled, match="nothing was changed"):
        pyscale.scale(data, progress=cancel_there, cancel=cancellation)
    assert seen[-1] == stage and cancellation.is_cancelled
    with pytest.raises(pyscale.Cancelled):
        pyscale.merge(data, cancel=cancellation)


def test_cancelled_from_another_thread_and_by_a_callable(data: pyscale.Job) -> None:
    cancellation = pyscale.Cancellation()
    threading.Timer(0.05, cancellation.cancel).start()
    with pytest.raises(pyscale.Cancelled):
        while True:
            pyscale.scale(data, cancel=cancellation)
    asked = []

    def ask() -> bool:
        asked.append(threading.current_thread())
        return len(asked) > 2

    with pytest.raises(pyscale.Cancelled):
        pyscale.scale(data, cancel=ask)
    assert set(asked) == {threading.current_thread()}
    with pytest.raises(ZeroDivisionError):
        pyscale.scale(data, cancel=lambda: bool(1 / 0))


def test_cancelled_folds_of_a_cross_validation(data: pyscale.Job) -> None:
    cancellation = pyscale.Cancellation()
    events: list[pyscale.Progress] = []

    def told(progress: pyscale.Progress) -> None:
        events.append(progress)
        if "free sets" in progress.message:
            cancellation.cancel()

    before = threading.active_count()
    with pytest.raises(pyscale.Cancelled):
        pyscale.cross_validate(data, nfolds=4, nproc=2, progress=told, cancel=cancellation)
    assert "0 of 4 free sets" in events[-1].message and threading.active_count() == before


# Threads


def test_threads_give_the_same_results(data: pyscale.Job, result: pyscale.ScalingResult) -> None:
    """Three jobs at once over the same data, each with its own number of threads."""
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda n: pyscale.scale(data, nproc=n), (1, 2, 3)))
    assert [r.n_threads for r in found] == [1, 2, 3]
    for r in found:
        np.testing.assert_array_equal(r.inverse_scale_factor, result.inverse_scale_factor)
        assert r.statistics.to_dict() == result.statistics.to_dict()


def test_one_of_two_threads_is_cancelled(data: pyscale.Job, result: pyscale.ScalingResult) -> None:
    cancellation = pyscale.Cancellation()
    with ThreadPoolExecutor(2) as pool:
        stopped = pool.submit(pyscale.scale, data, cancel=cancellation)
        other = pool.submit(pyscale.scale, data)
        cancellation.cancel()
        assert isinstance(stopped.exception(), pyscale.Cancelled)
        np.testing.assert_array_equal(other.result().inverse_scale_factor, result.inverse_scale_factor)


# What is shown and handed on


def test_data_and_results_show_themselves(data: pyscale.Job, result: pyscale.ScalingResult) -> None:
    merged = pyscale.merge(result)
    shown = [data, data.data_sets[0], result, result.statistics, result.fit, merged, merged.merged, result.table]
    for value in [*shown, pyscale.Cancellation(), pyscale.apply(result, data)]:
        text = repr(value)
        assert type(value).__name__ in text and len(text) < 400 and "\n" not in text
    for value in (data, result, result.statistics, merged, result.table):
        text = value._repr_html_()
        assert text.startswith("<table>") and text.count("<table>") == text.count("</table>")


def test_html_is_escaped(simulated: pyscale.SimulatedData) -> None:
    arguments = array_arguments(simulated)
    arguments["data_set"] = np.array(["<script>", "&"])[arguments["data_set"]]
    text = from_arrays(arguments)._repr_html_()
    assert "&lt;script&gt;" in text and "&amp;" in text and "<script>" not in text


def test_columns_go_to_other_libraries(result: pyscale.ScalingResult) -> None:
    import pandas
    import pyarrow

    merged = pyscale.merge(result)
    for source, n in ((result.table, len(result.table)), (result.statistics, 20), (merged, len(merged.merged))):
        columns = source.to_columns()
        assert all(values.shape == (n,) for values in columns.values())
        np.testing.assert_array_equal(source.to_pandas()[next(iter(columns))], next(iter(columns.values())))
        assert isinstance(source.to_pandas(), pandas.DataFrame)
    table = pyarrow.table(merged)
    assert table.column_names[:3] == ["h", "k", "l"]
    np.testing.assert_array_equal(table["intensity"].to_numpy(), merged.merged.intensity)
    assert merged.free_flags is not None
    np.testing.assert_array_equal(table["free_flag"].to_numpy(), merged.free_flags.flag)


def test_missing_libraries_are_named(result: pyscale.ScalingResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(pyscale.UsageError, match="pip install pandas"):
        result.statistics.to_pandas()
    with pytest.raises(pyscale.UsageError, match=r"pyscale-xtal\[arrow\]"):
        result.statistics.__arrow_c_stream__()
