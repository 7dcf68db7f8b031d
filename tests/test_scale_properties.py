"""What holds for every scaling job: order, threads and units do not matter, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.cli import main
from pyscale.fit_log import log_undetermined
from pyscale.io.refl import read_refl, write_refl
from pyscale.reflections import ReflectionTable
from pyscale.simulation import SimulationOptions, simulate

SCALED = ("inverse_scale_factor", "inverse_scale_factor_variance", "intensity.scale.value", "intensity.scale.variance")
ENTRY = ("d_max", "d_min", "n_obs", "n_unique", "multiplicity", "completeness", "i_over_sigma")
ENTRY += ("r_merge", "r_meas", "r_pim", "cc_half", "cc_half_sigma_tau")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sweeps with outliers, partials and rows that are not integrated."""
    folder = tmp_path_factory.mktemp("inputs")
    options = SimulationOptions(
        d_min=4.0, sweep_width=80.0, oscillation_width=1.0, n_sweeps=2, partials=0.1, outlier_fraction=0.01, seed=11
    )
    _, refl, _ = simulate(options).write(folder)
    table = read_refl(refl)
    flags = table["flags"].copy()
    flags[::50] &= ~np.uint64(0x300)
    table["flags"] = flags
    (folder / "changed.refl").unlink(missing_ok=True)
    write_refl(table, folder / "changed.refl")
    (folder / "changed.refl").replace(refl)
    return folder


def scale(folder: Path, *arguments: str, refl: Path | None = None) -> ReflectionTable:
    """Scale into the current folder."""
    files = [str(folder / "simulated.expt"), str(refl or folder / "simulated.refl")]
    assert main(["scale", *files, *arguments]) == 0
    return read_refl("scaled.refl")


def document() -> dict[str, Any]:
    result: dict[str, Any] = json.loads(Path("pyscale.scale.json").read_text())
    return result


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_order_of_rows(inputs: Path, tmp_path: Path) -> None:
    """Rows are permuted, parts of one reflection among each other excepted: the first of them stays."""
    table = read_refl(inputs / "simulated.refl")
    first = scale(inputs)
    statistics = document()["merging_statistics"]
    order = np.random.default_rng(0).permutation(len(table))
    _keep_order_of_parts(table, order)
    write_refl(table.select(order), tmp_path / "permuted.refl")
    second = scale(inputs, refl=tmp_path / "permuted.refl")
    assert len(first) == len(second)
    key = [t["xyzcal.px"].sum(axis=1) + 1e6 * t["id"] for t in (first, second)]
    a, b = (np.argsort(k, kind="stable") for k in key)
    assert_array_equal(first["miller_index"][a], second["miller_index"][b])
    assert_array_equal(first["flags"][a], second["flags"][b])
    for name in SCALED:
        assert_allclose(second[name][b], first[name][a], rtol=1e-12, atol=1e-12, err_msg=name)
    for name in ENTRY:
        assert document()["merging_statistics"]["overall"][name] == pytest.approx(
            statistics["overall"][name], rel=1e-12
        )


def _keep_order_of_parts(table: ReflectionTable, order: Any) -> None:
    """Put rows of one `partial_id` into their old order, on the places that they have."""
    key = table["partial_id"][order].astype(np.int64) * 1000 + table["id"][order]
    places = np.argsort(key, kind="stable")
    order[places] = order[places][np.lexsort((order[places], key[places]))]


def test_threads_and_repetition(inputs: Path) -> None:
    """The same bytes for any number of threads, and from every run; inputs stay as they are."""
    before = {path: path.read_bytes() for path in inputs.iterdir()}
    written = []
    for n_threads in (1, 2, 3, 8, 8):
        scale(inputs, f"nproc={n_threads}")
        written.append(Path("scaled.refl").read_bytes())
    assert written[0] and all(data == written[0] for data in written)
    assert {path: path.read_bytes() for path in inputs.iterdir()} == before


@pytest.mark.parametrize("factor", [2.0**-10, 8.0, 1000.0])
def test_unit_of_intensity(inputs: Path, tmp_path: Path, factor: float) -> None:
    """Intensities k times, variances k^2 times as large: the same g, R values, and outliers."""
    first = scale(inputs)
    statistics = document()["merging_statistics"]
    table = read_refl(inputs / "simulated.refl")
    for which in ("prf", "sum"):
        table[f"intensity.{which}.value"] = table[f"intensity.{which}.value"] * factor
        table[f"intensity.{which}.variance"] = table[f"intensity.{which}.variance"] * factor**2
    write_refl(table, tmp_path / "other_unit.refl")
    second = scale(inputs, refl=tmp_path / "other_unit.refl")
    assert_array_equal(second["flags"], first["flags"])
    # Restraints are in units of the cost, which has none; minimisations end within their tolerance.
    assert_allclose(second["inverse_scale_factor"], first["inverse_scale_factor"], rtol=5e-6)
    assert_allclose(second["intensity.scale.value"], factor * first["intensity.scale.value"], rtol=1e-9)
    for name in ("r_merge", "r_meas", "r_pim", "cc_half", "i_over_sigma"):
        found = document()["merging_statistics"]["overall"][name]
        assert found == pytest.approx(statistics["overall"][name], rel=1e-5), name


def test_rows_stay_in_order(inputs: Path) -> None:
    table = read_refl(inputs / "simulated.refl")
    scaled = scale(inputs)
    assert_array_equal(np.diff(scaled["id"]) >= 0, True)
    kept = 0
    for row, found in zip(table["xyzcal.px"].tolist(), table["miller_index"].tolist(), strict=True):
        if kept < len(scaled) and scaled["xyzcal.px"][kept].tolist() == row:
            assert scaled["miller_index"][kept].tolist() == found
            kept += 1
    assert kept == len(scaled)
    merged = sum(e["partials_merged"] for e in document()["ledger"].values())
    assert merged > 0 and len(scaled) == len(table) - merged


def test_ledger_and_document(inputs: Path) -> None:
    scaled = scale(inputs, "d_min=4.2")
    result = document()
    ledger = result["ledger"]
    n_read = {k: e["read"] for k, e in ledger.items()}
    assert sum(n_read.values()) == len(read_refl(inputs / "simulated.refl"))
    for entry in ledger.values():
        gone = sum(sum(entry[kind].values()) for kind in ("filtered", "user_excluded", "rejected"))
        assert entry["read"] == entry["partials_merged"] + gone + entry["merged"]
        assert 0 < entry["used_in_fit"] <= entry["merged"]
        assert entry["user_excluded"]["d_min"] > 0 and entry["filtered"]["not_integrated"] > 0
    bits = {"user_excluded": 1 << 22, "rejected": 1 << 23}
    for kind, bit in bits.items():
        flagged = int(np.count_nonzero(scaled["flags"] & np.uint64(bit)))
        assert flagged == sum(sum(e[kind].values()) for e in ledger.values())
    keys = ["version", "schema_version", "program_version", "options", "decisions", "datasets", "ledger", "fit"]
    for key in [*keys, "error_model"]:
        assert result[key], key
    assert {"identifier", "n_reflections", "images", "model"} <= result["datasets"][0].keys()
    assert {"rounds", "termination", "cost", "wall_seconds", "peak_memory_mib"} <= result["fit"].keys()
    statistics = result["merging_statistics"]
    entries = [statistics["overall"], *statistics["shells"], statistics["with_outliers"]["overall"]]
    entries += [statistics["anomalous"]["overall"], *statistics["anomalous"]["shells"]]
    for entry in entries:
        assert set(ENTRY) <= entry.keys()
    assert all(isinstance(statistics["overall"][name], (int, float)) for name in ENTRY)
    d_min = [entry["d_min"] for entry in statistics["shells"]]
    assert d_min == sorted(d_min, reverse=True)
    assert sum(entry["n_obs"] for entry in statistics["shells"]) == statistics["overall"]["n_obs"]
    rejected = sum(sum(e["rejected"].values()) for e in ledger.values())
    assert statistics["with_outliers"]["overall"]["n_obs"] == statistics["overall"]["n_obs"] + rejected


def test_python_interface(inputs: Path, tmp_path: Path) -> None:
    data = pyscale.read(inputs / "simulated.expt", inputs / "simulated.refl")
    before = [d.reflections["flags"].copy() for d in data.data_sets]
    result = pyscale.scale(data, model="physical", d_min=4.2)
    for flags, data_set in zip(before, data.data_sets, strict=True):
        assert_array_equal(data_set.reflections["flags"], flags)
    assert 0 < result.statistics.overall.r_pim < result.statistics.overall.r_meas
    result.write("a.expt", "a.refl")
    scale(inputs, "model=physical", "d_min=4.2")
    assert Path("a.refl").read_bytes() == Path("scaled.refl").read_bytes()
    assert_array_equal(result.inverse_scale_factor, read_refl("a.refl")["inverse_scale_factor"])
    again = pyscale.scale(data, options=pyscale.ScalingOptions())
    assert again.statistics.overall.n_obs > result.statistics.overall.n_obs
    with pytest.raises(pyscale.UsageError, match="not both"):
        pyscale.scale(data, options=pyscale.ScalingOptions(), d_min=2.0)
    with pytest.raises(pyscale.UsageError, match="d_minimum"):
        pyscale.scale(data, d_minimum=2.0)


def test_log_and_flags(inputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = scale(inputs, "-v")
    identifiers = list(table.identifiers.values())
    line = f"Dataset unique identifiers are {identifiers}"
    assert line in Path("pyscale.scale.log").read_text()
    assert line in capsys.readouterr().out
    assert main(["scale", "--show-options"]) == 0
    assert "cut_data.d_min = None" in capsys.readouterr().out


def test_statistics_are_those_of_the_file(inputs: Path, tmp_path: Path, run_oracle: Callable[..., None]) -> None:
    """iotbx finds our statistics from `scaled.refl`.

    The file's variance holds that of the scale too, I_h^2 var(g), while merging weights by sigma' alone: R values
    agree only as far as these weights do (1e-3 of their value), multiplicity and counts exactly.
    """
    table = scale(inputs)
    statistics = document()["merging_statistics"]["overall"]
    use = (table["flags"] & np.uint64(1 << 26)) != 0
    use &= (table["flags"] & np.uint64((1 << 22) | (1 << 23) | (1 << 24))) == 0
    job = pyscale.read("scaled.expt", "scaled.refl")
    g = table["inverse_scale_factor"][use]
    case = {
        "miller_index": table["miller_index"][use],
        "intensity": table["intensity.scale.value"][use] / g,
        "variance": table["intensity.scale.variance"][use] / g**2,
        "unit_cell": np.array(document()["unit_cell"]),
        "hall": np.array(job.data_sets[0].experiment.space_group.hall),
        "n_shells": np.array(20),
        "d_min": np.array(0.0),
    }
    np.savez(tmp_path / "case.npz", **{f"case|{name}": value for name, value in case.items()})
    run_oracle("cctbx_merging.py", tmp_path / "case.npz", tmp_path / "out.json")
    expected = json.loads((tmp_path / "out.json").read_text())["case"]["merged"]["overall"]
    for name in ("n_obs", "n_unique"):
        assert statistics[name] == expected[name], name
    for name in ("d_min", "d_max", "multiplicity"):
        assert statistics[name] == pytest.approx(expected[name], rel=1e-9), name
    for name in ("r_merge", "r_meas", "r_pim"):
        assert statistics[name] == pytest.approx(expected[name], rel=1e-3), name
    assert statistics["cc_half_sigma_tau"] == pytest.approx(expected["cc_half_sigma_tau"], abs=1e-4)
    assert statistics["i_over_sigma"] >= expected["i_over_sigma"]
    assert statistics["i_over_sigma"] == pytest.approx(expected["i_over_sigma"], rel=0.05)


@pytest.mark.parametrize("n", [0, 1, 5, 6, 40])
def test_what_is_undetermined_is_one_warning(n: int, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"parameter {k:02d}" for k in range(n)]
    with caplog.at_level("INFO", "pyscale"):
        log_undetermined(names)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == min(n, 1)
    assert all(name in caplog.text for name in names)
    if n > 0:
        assert [name for name in names if name in warnings[0]] == names[:5]
        assert (f"{n} in all" in warnings[0]) == (n > 5)
