"""`pyscale export`: every format written from scaled files and read back by other programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.cli import main
from pyscale.dataset import combine_tables, load_job, make_job
from pyscale.errors import DataError, UsageError
from pyscale.export_rows import ExportRows, rows_of_result
from pyscale.exports import write_merged
from pyscale.io.expt import write_expt
from pyscale.io.refl import read_refl, write_refl
from pyscale.options.export import EXPORT_NAMES
from pyscale.reflections import Flag
from pyscale.result import ScalingResult
from pyscale.symmetry import to_asu

FORMATS = ("mtz", "merged_mtz", "xds_ascii", "shelx", "sca", "mmcif", "cif", "json")


@pytest.fixture(scope="module")
def scaled(small_result: ScalingResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaled")
    small_result.write(folder / "scaled.expt", folder / "scaled.refl")
    return folder


@pytest.fixture(scope="module")
def rows(small_result: ScalingResult) -> ExportRows:
    return rows_of_result(small_result)


@pytest.fixture(scope="module")
def export(scaled: Path) -> Callable[..., Path]:
    """Export by the command line; returns the file."""

    def run(kind: str, *options: str, name: str = "") -> Path:
        path = scaled / (name or f"out.{kind}")
        files = [str(scaled / "scaled.expt"), str(scaled / "scaled.refl")]
        assert main(["export", *files, f"format={kind}", f"hklout={path}", *options]) == 0
        return path

    return run


def merged_by_gemmi(rows: ExportRows, kind: gemmi.DataType) -> gemmi.Intensities:
    found = gemmi.Intensities()
    accepted = rows.accepted
    columns = (accepted.miller_index, accepted.intensities.value, accepted.intensities.sigma)
    found.set_data(gemmi.UnitCell(*rows.unit_cell), rows.space_group, *columns)
    found.remove_systematic_absences()
    found.merge_in_place(kind)
    return found


# --- rows -------------------------------------------------------------------------------------------------


def test_rows_are_those_that_were_scaled(small_result: ScalingResult, rows: ExportRows) -> None:
    result, observations = small_result, small_result.observations
    used = ~result.scaled.small_scale
    accepted = used & ~result.scaled.outlier
    assert len(rows.accepted) == np.count_nonzero(accepted)
    assert np.count_nonzero(rows.is_outlier) == np.count_nonzero(used & result.scaled.outlier) > 0
    expected = (observations.intensity / result.scaled.g)[accepted]
    assert_array_equal(np.sort(rows.accepted.intensities.value), np.sort(expected))
    table = result.table
    bad = np.uint64(int(Flag.user_excluded_in_scaling))
    assert not (rows.table["flags"] & bad).any() and len(rows) < len(table)


def test_files_give_the_rows_of_the_result(scaled: Path, rows: ExportRows) -> None:
    from pyscale.exporting import export_files

    options, _ = EXPORT_NAMES.from_keywords({})
    again = export_files([scaled / "scaled.expt", scaled / "scaled.refl"], options).rows
    assert_array_equal(again.miller_index, rows.miller_index)
    for name in ("value", "sigma", "scale", "scale_sigma"):
        assert_array_equal(getattr(again.intensities, name), getattr(rows.intensities, name))
    assert_array_equal(again.is_outlier, rows.is_outlier)
    assert again.unit_cell == pytest.approx(rows.unit_cell, abs=1e-12)


def without_dates(path: Path) -> bytes:
    lines = path.read_bytes().split(b"\n")
    return b"\n".join(line for line in lines if b"DATE=" not in line and b"run on" not in line)


@pytest.mark.parametrize("kind", ["shelx", "xds_ascii", "sca", "cif", "json"])
def test_files_do_not_depend_on_the_order_of_rows(kind: str, scaled: Path, tmp_path: Path) -> None:
    table = read_refl(scaled / "scaled.refl")
    order = np.random.default_rng(8).permutation(len(table))
    shuffled = table.select(order)
    shuffled.identifiers = dict(table.identifiers)
    write_refl(shuffled, tmp_path / "shuffled.refl")
    for name, reflections in (("a", scaled / "scaled.refl"), ("b", tmp_path / "shuffled.refl")):
        (tmp_path / name).mkdir()
        files = [str(scaled / "scaled.expt"), str(reflections)]
        assert main(["export", *files, f"format={kind}", f"hklout={tmp_path / name / 'x'}"]) == 0
    assert without_dates(tmp_path / "a" / "x") == without_dates(tmp_path / "b" / "x")


# --- MTZ --------------------------------------------------------------------------------------------------


def test_unmerged_mtz_merges_to_the_merged_file(export: Callable[..., Path], rows: ExportRows) -> None:
    merged, unmerged = (gemmi.read_mtz_file(str(export(kind))) for kind in ("merged_mtz", "mtz"))
    for kind in (gemmi.DataType.Mean, gemmi.DataType.Anomalous):
        a, b = gemmi.Intensities(), gemmi.Intensities()
        a.import_mtz(merged, kind)
        b.import_mtz(unmerged, gemmi.DataType.Unmerged)
        said: list[str] = []
        assert gemmi.validate_merged_intensities(a, b, False, said.append), said
        assert any("Intensities match" in line for line in said)
    expected = merged_by_gemmi(rows, gemmi.DataType.Mean)
    assert_allclose(merged.column_with_label("IMEAN").array, expected.value_array, rtol=1e-6)
    sigma = np.array(merged.column_with_label("SIGIMEAN").array)
    # what the uncertainty of the scales adds is common to equivalents: no merging of rows can know it
    assert np.all(sigma >= expected.sigma_array * (1 - 1e-6))
    statistical = replace(rows, has_common_scale_errors=False).merged
    assert_allclose(np.sort(statistical.sigma), np.sort(expected.sigma_array), rtol=1e-6)


def test_merged_mtz_is_what_pyscale_merge_merges(
    export: Callable[..., Path], small_result: ScalingResult, tmp_path: Path
) -> None:
    write_merged(small_result, tmp_path / "scale.mtz")
    scale, exported = (gemmi.read_mtz_file(str(p)) for p in (tmp_path / "scale.mtz", export("merged_mtz")))
    merged = pyscale.merge(small_result, partiality_threshold=0.0).data_sets[0].merged
    assert_array_equal(exported.make_miller_array(), scale.make_miller_array())
    for label in ("IMEAN", "I(+)", "I(-)", "SIGIMEAN"):
        a, b = (np.array(m.column_with_label(label).array) for m in (exported, scale))
        assert_allclose(a, b, rtol=1e-3, atol=1e-3)
    assert_allclose(np.sort(exported.column_with_label("IMEAN").array), np.sort(merged.intensity), rtol=1e-5)


def test_unmerged_mtz_says_where_it_comes_from(export: Callable[..., Path], rows: ExportRows) -> None:
    mtz = gemmi.read_mtz_file(str(export("mtz", "project_name=P", "mtz.crystal_name=C")))
    assert mtz.history[0].startswith(f"From pyscale, version {pyscale.__version__}, run on ")
    assert all(len(line) <= 80 for line in mtz.history)
    assert [(d.project_name, d.crystal_name) for d in mtz.datasets][1:] == [("P", "C")]
    asu, isym = to_asu(rows.space_group, rows.accepted.miller_index)
    index = mtz.make_miller_array()
    # rows of the file and ours, each in the order of index, operator, intensity
    theirs = np.lexsort((mtz.column_with_label("I").array, mtz.column_with_label("M/ISYM").array, *index.T))
    ours = np.lexsort((rows.accepted.intensities.value.astype(np.float32), isym, *asu.T))
    assert_array_equal(index[theirs], asu[ours])
    assert_array_equal(np.array(mtz.column_with_label("M/ISYM").array)[theirs], isym[ours])
    panel = rows.experiments[0].panels[0]
    batch = mtz.batches[0]
    assert batch.floats[111] == pytest.approx(abs(panel["origin"][2]), rel=1e-5)
    assert [batch.floats[k] for k in range(113, 117)] == [0, panel["image_size"][0], 0, panel["image_size"][1]]


def test_original_columns_and_batches_go_through(scaled: Path, tmp_path: Path) -> None:
    table = read_refl(scaled / "scaled.refl")
    image = np.clip(np.floor(table["xyzobs.px.value"][:, 2]).astype(np.int32) + 1, 1, 80)
    table["mtz.BATCH"] = image + np.where(table["id"] == 0, 300, 100).astype(np.int32)
    table["mtz.WIDTH"] = np.random.default_rng(1).permutation(len(table)) / 8
    table["mtz.FLAG"] = np.arange(len(table), dtype=np.int32) % 7
    table["mtz.I"] = np.zeros(len(table))
    write_refl(table, tmp_path / "t.refl")
    files = [str(scaled / "scaled.expt"), str(tmp_path / "t.refl")]
    assert main(["export", *files, f"hklout={tmp_path / 'u.mtz'}"]) == 0
    mtz = gemmi.read_mtz_file(str(tmp_path / "u.mtz"))
    assert [b.number for b in mtz.batches][:80] == list(range(301, 381))
    assert {b.number for b in mtz.batches} == {*range(101, 181), *range(301, 381)}
    assert {c.label: c.type for c in mtz.columns}["WIDTH"] == "R"
    assert {c.label: c.type for c in mtz.columns}["FLAG"] == "I"
    by_width = dict(zip(table["mtz.WIDTH"].astype(np.float32).tolist(), range(len(table)), strict=True))
    row = np.array([by_width[w] for w in np.array(mtz.column_with_label("WIDTH").array).tolist()])
    assert_array_equal(mtz.column_with_label("BATCH").array, table["mtz.BATCH"][row])
    assert_array_equal(mtz.column_with_label("FLAG").array, table["mtz.FLAG"][row])
    assert mtz.switch_to_original_hkl()
    assert_array_equal(mtz.make_miller_array(), table["miller_index"][row])
    assert np.array(mtz.column_with_label("I").array).max() > 0


def test_wavelengths_are_data_sets(small_result: ScalingResult, tmp_path: Path) -> None:
    experiments = small_result.experiments
    beam = dict(experiments[1].beam or {})
    experiments.set_model(1, "beam", {**beam, "wavelength": beam["wavelength"] * 1.01})
    write_expt(experiments, tmp_path / "s.expt")
    write_refl(small_result.table, tmp_path / "s.refl")
    assert main(["export", str(tmp_path / "s.expt"), str(tmp_path / "s.refl"), f"hklout={tmp_path / 'u.mtz'}"]) == 0
    mtz = gemmi.read_mtz_file(str(tmp_path / "u.mtz"))
    assert [d.dataset_name for d in mtz.datasets][1:] == ["WAVE1", "WAVE2"]
    assert mtz.datasets[2].wavelength == pytest.approx(1.01 * mtz.datasets[1].wavelength, rel=1e-4)
    assert {b.number > 100: b.dataset_id for b in mtz.batches} == {False: 1, True: 2}


# --- XDS --------------------------------------------------------------------------------------------------


def header_of(path: Path) -> dict[str, list[str]]:
    lines = [line[1:] for line in path.read_text().splitlines() if line.startswith("!")]
    parts = (line.split("=", 1) for line in lines if "=" in line)
    found = {key.strip(): value.split() for key, value in parts}
    single = re.findall(r"(ORGX|ORGY|QX|QY)= *([-.0-9]+)", "\n".join(lines))
    return found | {key: [value] for key, value in single}


def test_xds_ascii_of_one_sweep_is_consistent_with_its_header(small_result: ScalingResult, tmp_path: Path) -> None:
    """Where XDS' formulas and the header say that each reflection must be, it is."""
    from pyscale.export_rows import scaled_rows
    from pyscale.export_text import write_xds_file

    job = small_result.job.select([1])
    rows = scaled_rows(job, combine_tables(job, [small_result.tables[1]]))
    write_xds_file(rows, tmp_path / "x.hkl", name="x.hkl")
    header = header_of(tmp_path / "x.hkl")
    records = np.loadtxt(tmp_path / "x.hkl", comments="!")
    assert records.shape == (len(rows), 12)

    def vector(key: str) -> np.ndarray:
        return np.array(header[key], dtype=np.float64)

    axes = np.array([vector(f"UNIT_CELL_{axis}-AXIS") for axis in "ABC"])
    wavelength = vector("X-RAY_WAVELENGTH")[0]
    s0 = vector("INCIDENT_BEAM_DIRECTION") / wavelength
    image = records[:, 7] - vector("STARTING_FRAME")[0] + 1
    angle = np.radians(vector("STARTING_ANGLE")[0] + vector("OSCILLATION_RANGE")[0] * image)
    r = records[:, :3] @ np.linalg.inv(axes).T
    axis = vector("ROTATION_AXIS")
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    r = r * cos + np.cross(axis, r) * sin + axis * (r @ axis)[:, None] * (1 - cos)
    s1 = r + s0
    assert np.median(np.abs(np.linalg.norm(s1, axis=1) * wavelength - 1)) < 1e-3
    ex, ey = vector("DIRECTION_OF_DETECTOR_X-AXIS"), vector("DIRECTION_OF_DETECTOR_Y-AXIS")
    normal = np.cross(ex, ey)
    along = vector("DETECTOR_DISTANCE")[0] / (s1 @ normal)
    pixel = float(header["QX"][0])
    x = vector("ORGX")[0] + along * (s1 @ ex) / pixel
    y = vector("ORGY")[0] + along * (s1 @ ey) / pixel
    assert np.median(np.abs(x - records[:, 5])) < 0.5 and np.median(np.abs(y - records[:, 6])) < 0.5


@pytest.mark.parametrize("n_sweeps", [1, 2])
def test_xds_ascii_is_read_by_gemmi(n_sweeps: int, small_result: ScalingResult, tmp_path: Path) -> None:
    from pyscale.export_rows import scaled_rows
    from pyscale.export_text import write_xds_file

    job = small_result.job.select(range(n_sweeps))
    rows = scaled_rows(job, combine_tables(job, small_result.tables[:n_sweeps]))
    write_xds_file(rows, tmp_path / "x.hkl", name="x.hkl", anomalous=True)
    xds = gemmi.read_xds_ascii(str(tmp_path / "x.hkl"))
    assert xds.spacegroup_number == 19 and xds.friedels_law == "F"
    assert xds.cell_constants == pytest.approx(rows.unit_cell, abs=1e-3)
    assert_array_equal(xds.miller_array, rows.miller_index)
    assert_allclose(xds.iobs_array, rows.intensities.value, rtol=1e-5)
    assert_allclose(xds.sigma_array, np.where(rows.is_outlier, -1, 1) * rows.intensities.sigma, rtol=1e-5)
    assert np.count_nonzero(np.asarray(xds.sigma_array) < 0) == np.count_nonzero(rows.is_outlier) > 0
    assert_array_equal(xds.iset_array, rows.data_set + 1)
    assert_allclose(xds.zd_array, rows.centroid[:, 2], atol=1e-3)
    assert_allclose(xds.xd_array, rows.centroid[:, 0] + 0.5, atol=0.01)
    found = gemmi.Intensities()
    found.import_xds(xds)
    found.remove_systematic_absences()
    found.merge_in_place(gemmi.DataType.Mean)
    expected = merged_by_gemmi(rows, gemmi.DataType.Mean)
    assert_array_equal(found.miller_array, expected.miller_array)
    assert_allclose(found.value_array, expected.value_array, rtol=1e-4)


# --- mmCIF ------------------------------------------------------------------------------------------------


def test_mmcif_is_fit_for_deposition(export: Callable[..., Path], rows: ExportRows) -> None:
    path = export("mmcif")
    blocks = gemmi.as_refln_blocks(gemmi.cif.read(str(path)))
    assert [b.block.name for b in blocks] == ["scaled", "scaled_unmerged"]
    for kind in (gemmi.DataType.Mean, gemmi.DataType.Anomalous):
        merged, unmerged = gemmi.Intensities(), gemmi.Intensities()
        merged.import_refln_block(blocks[0], kind)
        blocks[1].use_unmerged(True)
        unmerged.import_refln_block(blocks[1], gemmi.DataType.Unmerged)
        assert len(unmerged.value_array) == len(rows.accepted)
        said: list[str] = []
        assert gemmi.validate_merged_intensities(merged, unmerged, False, said.append), said
    document = gemmi.cif.read(str(path))
    block = document[0]
    overall = rows.statistics().overall
    for tag, value in {
        "d_resolution_high": overall.d_min,
        "number_obs": overall.n_unique,
        "pdbx_number_measured_all": overall.n_obs,
        "percent_possible_obs": 100 * overall.completeness,
        "pdbx_Rrim_I_all": overall.r_meas,
        "pdbx_CC_half": overall.cc_half,
    }.items():
        assert float(block.find_value(f"_reflns.{tag}")) == pytest.approx(value, abs=5.1e-5), tag
    shells = block.find("_reflns_shell.", ["d_res_high", "number_unique_obs", "pdbx_Rrim_I_all"])
    assert len(shells) == 20 and sum(int(row[1]) for row in shells) == overall.n_unique
    highs = [float(row[0]) for row in shells]
    assert highs == sorted(highs, reverse=True)
    software = block.get_mmcif_category("_software.")
    assert software["name"][0] == "pyscale" and software["classification"][0] == "data scaling"
    for each in document:
        assert each.find_value("_cell.entry_id") == each.find_value("_entry.id") == block.name
    assert [float(row[0]) for row in block.find(["_diffrn_radiation_wavelength.wavelength"])] == [0.9795]


# --- CIF --------------------------------------------------------------------------------------------------


def test_core_cif_holds_data_and_measurement(export: Callable[..., Path], rows: ExportRows) -> None:
    block = gemmi.cif.read(str(export("cif", "cif.shelx_hkl_file=True"))).sole_block()
    table = block.find("_refln_", ["index_h", "index_k", "index_l", "F_squared_meas", "F_squared_sigma"])
    found = {tuple(map(int, list(row)[:3])): (float(row[3]), float(row[4])) for row in table}
    theirs = merged_by_gemmi(rows, gemmi.DataType.Anomalous)
    indices = theirs.miller_array * np.where(np.asarray(theirs.isign_array) < 0, -1, 1)[:, None]
    expected = dict(
        zip(map(tuple, indices.tolist()), zip(theirs.value_array, theirs.sigma_array, strict=True), strict=True)
    )
    centric = {h for h in expected if rows.space_group.operations().is_reflection_centric(h)}
    assert found.keys() == expected.keys() or found.keys() - centric == expected.keys() - centric
    for h in found.keys() & expected.keys():
        assert found[h][0] == pytest.approx(expected[h][0], rel=1e-4)
        # the uncertainty of the scale, which no merging of rows can know, joins the sigma
        assert found[h][1] >= expected[h][1] * (1 - 1e-4)
    observed = rows.accepted.miller_index
    assert int(block.find_value("_diffrn_reflns_limit_k_max")) == observed[:, 1].max()
    assert int(block.find_value("_diffrn_reflns_number")) == rows.statistics().overall.n_obs
    sine = 0.9795 / 2 / float(block.find_value("_reflns_d_resolution_high"))
    assert float(block.find_value("_diffrn_reflns_theta_max")) == pytest.approx(np.degrees(np.arcsin(sine)), abs=1e-3)
    assert block.find_value("_exptl_absorpt_correction_type") == "multi-scan"
    text = gemmi.cif.as_string(block.find_value("_shelx_hkl_file"))
    records = [line for line in text.splitlines() if line.strip()]
    assert len(records) == len(rows.accepted) + 1 and records[-1].split()[:3] == ["0", "0", "0"]


def test_transmission_is_that_of_the_absorption_surface(tmp_path: Path) -> None:
    """The model evaluated with and without its surface, the other way round: by `pyscale apply`."""
    data = pyscale.simulate(d_min=4.5, sweep_width=100.0, oscillation_width=1.0, seed=4, absorption=0.2)
    job = make_job(data.experiments(), [data.reflections()])
    result = pyscale.scale(job, absorption_correction=True, nproc=1)
    result.write(tmp_path / "s.expt", tmp_path / "s.refl")
    files = [str(tmp_path / "s.expt"), str(tmp_path / "s.refl")]
    assert main(["export", *files, "format=cif", f"hklout={tmp_path / 'a.cif'}"]) == 0
    block = gemmi.cif.read(str(tmp_path / "a.cif")).sole_block()
    document = json.loads((tmp_path / "s.expt").read_text())
    absorption = document["scaling_model"][0]["absorption"]
    absorption["parameters"] = [0.0] * len(absorption["parameters"])
    (tmp_path / "flat.expt").write_text(json.dumps(document))
    applied = {}
    for name in ("s", "flat"):
        outputs = [f"output.experiments={tmp_path / 'o.expt'}", f"output.reflections={tmp_path / 'o.refl'}"]
        assert main(["apply", str(tmp_path / f"{name}.expt"), files[1], *outputs]) == 0
        applied[name] = read_refl(tmp_path / "o.refl")
    kept = (applied["s"]["flags"] & np.uint64(int(Flag.scaled))) != 0
    factor = (applied["s"]["inverse_scale_factor"] / applied["flat"]["inverse_scale_factor"])[kept]
    expected = factor.min() / factor.max()
    assert expected < 0.98
    assert float(block.find_value("_exptl_absorpt_correction_T_min")) == pytest.approx(expected, abs=1e-3)
    assert float(block.find_value("_exptl_absorpt_correction_T_max")) == 1.0


# --- columns ----------------------------------------------------------------------------------------------


def test_json_columns(export: Callable[..., Path], rows: ExportRows) -> None:
    document = json.loads(export("json").read_text())
    columns, accepted = document["columns"], rows.accepted
    assert_array_equal(np.column_stack([columns[x] for x in "hkl"]), accepted.miller_index)
    assert_array_equal(columns["intensity"], accepted.intensities.value)
    assert_array_equal(columns["scale"], accepted.intensities.scale)
    assert document["data_sets"] == rows.job.identifiers and document["is_scaled"] and not document["is_merged"]
    assert document["space_group"] == "P 21 21 21"
    document = json.loads(export("json", "merged=True", name="merged.json").read_text())
    assert len(document["columns"]["intensity_minus"]) == len(rows.merged.intensity)
    assert document["columns"]["intensity_minus"].count(None) == np.isnan(rows.merged.intensity_minus).sum() > 0


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_arrow_columns(kind: str, export: Callable[..., Path], rows: ExportRows) -> None:
    pytest.importorskip("pyarrow", reason="[no ORACLES] pyarrow is not installed")
    from pyarrow import feather, parquet

    path = export(kind)
    table = parquet.read_table(path) if kind == "parquet" else feather.read_table(path)
    assert_array_equal(table["sigma"].to_numpy(), rows.accepted.intensities.sigma)
    assert_array_equal(table["h"].to_numpy(), rows.accepted.miller_index[:, 0])
    header = json.loads(table.schema.metadata[b"pyscale"])
    assert header["unit_cell"] == pytest.approx(rows.unit_cell)


def test_without_pyarrow_one_line_says_so(
    scaled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    files = [str(scaled / "scaled.expt"), str(scaled / "scaled.refl")]
    assert main(["export", *files, "format=parquet", f"hklout={tmp_path / 'x'}"]) == 2
    error = capsys.readouterr().err.strip()
    assert "pip install 'pyscale-xtal[arrow]'" in error and "\n" not in error
    assert not list(tmp_path.iterdir())


# --- other programs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mtz", "merged_mtz", "sca", "cif", "shelx", "xds_ascii", "mmcif"])
def test_iotbx_reads_what_we_write(
    kind: str, export: Callable[..., Path], rows: ExportRows, run_oracle: Callable[..., None]
) -> None:
    path = export(kind)
    out = path.with_suffix(".oracle.json")
    run_oracle("cctbx_reflections.py", f"{path}=hklf4" if kind == "shelx" else path, out)
    found = json.loads(out.read_text())
    labels = {"mtz": "I", "merged_mtz": "I(+)", "sca": "I(+)", "shelx": "Iobs", "xds_ascii": "iobs", "cif": "scaled"}
    label = labels.get(kind, "_refln.pdbx_I_plus")
    array = next(a for a in found["arrays"] if label in a["labels"][:2])
    if kind != "shelx":
        assert array["unit_cell"] == pytest.approx(rows.unit_cell, abs=1e-3)
        assert array["space_group"] == "P 21 21 21"
    # iotbx leaves misfits of XDS out, and knows neither scale of HKLF 4 nor that of data sets
    values = np.sort(array["data"])
    merged = merged_by_gemmi(rows, gemmi.DataType.Anomalous)
    expected = rows.accepted.intensities.value if kind in ("mtz", "shelx", "xds_ascii") else merged.value_array
    expected = np.sort(expected)
    if kind == "shelx":
        expected = expected * values[-1] / expected[-1]
    assert len(values) == len(expected)
    assert_allclose(values, expected, rtol=1e-4, atol=1e-3)


def test_each_wavelength_has_columns_of_its_own(scaled: Path, tmp_path: Path) -> None:
    document = json.loads((scaled / "scaled.expt").read_text())
    document["beam"].append(document["beam"][0] | {"wavelength": 1.1})
    document["experiment"][1]["beam"] = len(document["beam"]) - 1
    (tmp_path / "two.expt").write_text(json.dumps(document))
    job = load_job([tmp_path / "two.expt", scaled / "scaled.refl"])
    said = pyscale.export(job, tmp_path / "m.mtz", format="merged_mtz")
    mtz = gemmi.read_mtz_file(str(tmp_path / "m.mtz"))
    assert [round(d.wavelength, 4) for d in mtz.datasets[1:]] == [0.9795, 1.1]
    for k in (0, 1):
        alone = pyscale.merge(job, use_datasets=f"#{k}", scale_errors="independent").data_sets[0].merged
        column = mtz.column_with_label(f"N_WAVE{k + 1}")
        assert column.dataset_id == k + 1
        assert np.nansum(column.array) == alone.n_obs.sum()
    assert "together" not in said
    assert "of 2 wavelengths together" in pyscale.export(job, tmp_path / "a.sca", format="sca")


def test_merged_files_agree_after_scaling_with_mates_apart(small_result: ScalingResult, tmp_path: Path) -> None:
    result = pyscale.scale(small_result.job, anomalous=True)
    result.write(tmp_path / "a.expt", tmp_path / "a.refl")
    write_merged(result, tmp_path / "scale.mtz")
    job = load_job([tmp_path / "a.expt", tmp_path / "a.refl"])
    pyscale.export(job, tmp_path / "export.mtz", format="merged_mtz")
    mtz = {name: gemmi.read_mtz_file(str(tmp_path / f"{name}.mtz")) for name in ("scale", "export")}
    column = {name: {c.label: np.array(c.array) for c in file.columns} for name, file in mtz.items()}
    merged = pyscale.merge(job).data_sets[0].merged
    for label in ("IMEAN", "SIGIMEAN", "I(+)", "SIGI(-)"):
        assert_allclose(column["scale"][label], column["export"][label], rtol=2e-6)
    assert_allclose(np.sort(column["scale"]["IMEAN"]), np.sort(merged.intensity), rtol=2e-6)


def test_files_that_lack_symmetry_get_it_from_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{h:4d}{k:4d}{h + k:4d}{10.5 * h + k:8.2f}{1.25:8.2f}{1:4d}" for h in range(1, 5) for k in range(5)]
    (tmp_path / "a.hkl").write_text("\n".join([*lines, "   0   0   0    0.00    0.00   0"]) + "\n")
    command = ["export", str(tmp_path / "a.hkl"), "format=json", f"hklout={tmp_path / 'a.json'}"]
    assert main(command) == 1
    assert "space_group=NAME" in capsys.readouterr().err
    given = ["unit_cell=5,6,7,90,90,90", "space_group=P222", "input.wavelength=0.71"]
    assert main([*command, *given]) == 0
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["space_group"] == "P 2 2 2" and document["unit_cell"] == pytest.approx([5, 6, 7, 90, 90, 90])
    assert len(document["columns"]["h"]) == len(lines)


def test_outliers_alone_are_nothing_to_export(small_result: ScalingResult, tmp_path: Path) -> None:
    table = small_result.table.select(np.arange(len(small_result.table)))
    table["flags"] = table["flags"] | np.uint64(int(Flag.outlier_in_scaling))
    table.identifiers = dict(small_result.table.identifiers)
    write_refl(table, tmp_path / "a.refl")
    write_expt(small_result.experiments, tmp_path / "a.expt")
    with pytest.raises(DataError, match=r"all .* scaled reflections are outliers"):
        pyscale.export(load_job([tmp_path / "a.expt", tmp_path / "a.refl"]), tmp_path / "x.sca", format="sca")


# --- options and errors -----------------------------------------------------------------------------------


def test_resolution_limits(export: Callable[..., Path], rows: ExportRows) -> None:
    columns = json.loads(export("json", "d_min=5.03", "d_max=12.1", name="cut.json").read_text())["columns"]
    inside = (rows.accepted.d_spacing >= 5.03) & (rows.accepted.d_spacing <= 12.1)
    assert len(columns["d"]) == np.count_nonzero(inside) and 0 < inside.sum() < len(inside)
    weak = json.loads(export("json", "min_isigi=2", name="cut.json").read_text())["columns"]
    i = rows.accepted.intensities
    assert len(weak["d"]) == np.count_nonzero(i.value >= 2 * i.sigma) < len(i.value)


def test_integrated_intensities(scaled: Path, tmp_path: Path) -> None:
    """What is not scaled: I_sum LP / (QE p) and I_prf LP / QE of rows with the flags of integration."""
    data = pyscale.simulate(d_min=4.0, sweep_width=20.0, oscillation_width=1.0, seed=2)
    write_expt(data.experiments(), tmp_path / "i.expt")
    write_refl(data.reflections(), tmp_path / "i.refl")
    files = [str(tmp_path / "i.expt"), str(tmp_path / "i.refl")]
    assert main(["export", *files, f"hklout={tmp_path / 'u.mtz'}"]) == 0
    mtz = gemmi.read_mtz_file(str(tmp_path / "u.mtz"))
    labels = mtz.column_labels()
    assert "IPR" in labels and "SCALEUSED" not in labels
    table = read_refl(tmp_path / "i.refl")
    conversion = table["lp"] / table["qe"]
    expected = {
        "I": table["intensity.sum.value"] * conversion / table["partiality"],
        "IPR": table["intensity.prf.value"] * conversion,
    }
    kept = table["partiality"] >= 0.4
    for label, values in expected.items():
        mine = np.sort(np.array(mtz.column_with_label(label).array))
        assert_allclose(mine, np.sort(values[kept].astype(np.float32)), rtol=1e-6)
    assert main(["export", *files, "format=shelx", f"hklout={tmp_path / 'u.hkl'}", "intensity=profile"]) == 0
    assert main(["export", *files, "format=shelx", f"hklout={tmp_path / 'v.hkl'}", "intensity=sum"]) == 0
    assert (tmp_path / "u.hkl").read_bytes() != (tmp_path / "v.hkl").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["format=sca", "merged=True"], "option merged is for formats shelx, json, parquet, arrow"),
        (["format=cif", "intensity=profile+sum"], "is for format=mtz only"),
        (["format=sadabs"], "expected one of mtz, merged_mtz"),
        (["d_min=90"], "no reflection lies between d_min and d_max"),
        (["min_isigi=1e9"], "no reflection passes min_isigi"),
        (["hklout=missing/x.mtz"], "the directory does not exist"),
        (["hklot=x"], "did you mean hklout"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], message: str, scaled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(scaled)
    before = sorted(scaled.iterdir())
    assert main(["export", "scaled.expt", "scaled.refl", *options]) in (1, 2)
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
    assert sorted(scaled.iterdir()) == before


def test_inputs_are_not_overwritten(
    scaled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(scaled)
    before = (scaled / "scaled.refl").read_bytes()
    same = ["format=shelx", "hklout=a.hkl", "shelx.ins=a.hkl"]
    assert main(["export", "scaled.expt", "scaled.refl", *same]) == 2
    assert "named for two outputs" in capsys.readouterr().err and not (scaled / "a.hkl").exists()
    assert (scaled / "scaled.refl").read_bytes() == before


FULL_DISK = """
import sys
sys.dont_write_bytecode = True  # files of it would be cut off too
import resource, signal, sys
from pyscale.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of the size of files to set")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_leaves_nothing_behind(kind: str, scaled: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("what was there")
    arguments = ["export", scaled / "scaled.expt", scaled / "scaled.refl", f"format={kind}", f"hklout={tmp_path / 'x'}"]
    command = [sys.executable, "-c", FULL_DISK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert f"{tmp_path / 'x'}: cannot be written (" in done.stderr and done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_text() == "what was there"


def test_data_that_were_not_scaled_cannot_be_exported_as_scaled(tmp_path: Path) -> None:
    data = pyscale.simulate(d_min=5.0, sweep_width=10.0, oscillation_width=1.0, seed=2)
    job = make_job(data.experiments(), [data.reflections()])
    with pytest.raises(DataError, match=r"column 'intensity.scale.value' is missing"):
        pyscale.export(job, tmp_path / "x.mtz", intensity="scale")


def test_names_of_dials_are_known(tmp_path: Path) -> None:
    options, notes = EXPORT_NAMES.from_keywords(
        {"shelx.hklout": "a", "mtz.d_min": 2.0, "mtz.combine_partials": True, "mtz.partiality_threshold": 0.5}
    )
    assert (options.hklout, options.d_min, options.partiality_threshold) == ("a", 2.0, 0.5)
    assert len(notes) == 4


def test_the_python_interface_exports_results_and_files(
    small_result: ScalingResult, scaled: Path, tmp_path: Path
) -> None:
    said = pyscale.export(small_result, tmp_path / "a.sca", format="sca", anomalous=False)
    job = load_job([scaled / "scaled.expt", scaled / "scaled.refl"])
    assert pyscale.export(job, tmp_path / "b.sca", format="sca", anomalous=False).endswith(said.split(": ")[1])
    assert (tmp_path / "a.sca").read_bytes() == (tmp_path / "b.sca").read_bytes()
    with pytest.raises(UsageError, match="colour"):
        pyscale.export(job, tmp_path / "c", colour="sca")


def test_instructions_for_shelx(tmp_path: Path) -> None:
    from pyscale.io.shelx_ins_out import write_ins

    expected = {
        "P 1 21/c 1": ("LATT 1", 1),
        "P 21 21 21": ("LATT -1", 3),
        "C 1 2/c 1": ("LATT 7", 1),
        "I -4 2 d": ("LATT -2", 7),
        "R -3 :H": ("LATT 3", 2),
        "P -1": ("LATT 1", 0),
    }
    for name, (lattice, n_symmetry) in expected.items():
        group = gemmi.find_spacegroup_by_name(name)
        write_ins(tmp_path / "a.ins", (5, 6, 7, 90, 90, 90), group, 0.71)
        lines = (tmp_path / "a.ins").read_text().splitlines()
        symmetry = [line.split(" ", 1)[1] for line in lines if line.startswith("SYMM")]
        assert lattice in lines and len(symmetry) == n_symmetry, name
        # generate the group again as SHELX does: identity, SYMM, inversion, centring
        inversion = [gemmi.Op()] + ([gemmi.Op("-x,-y,-z")] if "-" not in lattice else [])
        points = [gemmi.Op("x,y,z"), *map(gemmi.Op, symmetry)]
        generated = {(b * a).wrap().triplet() for a in points for b in inversion}
        primitive = {op.triplet() for op in group.operations().sym_ops}
        centred = {op.wrap().triplet() for op in group.operations()}
        assert len(generated) == len(primitive) and generated <= centred, name


# --- scale output.* ---------------------------------------------------------------------------------------


def test_scale_writes_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = pyscale.simulate(d_min=4.5, sweep_width=90.0, oscillation_width=1.0, seed=6, absorption=0.2)
    write_expt(data.experiments(), tmp_path / "i.expt")
    write_refl(data.reflections(), tmp_path / "i.refl")
    names = {"xds_ascii": "xds_ascii", "shelx_hkl": "shelx", "scalepack": "sca", "mmcif": "mmcif", "cif": "cif"}
    assert main(["scale", "i.expt", "i.refl", "nproc=1", *(f"output.{n}=scale/{n}" for n in names)]) == 2
    (tmp_path / "scale").mkdir()
    assert main(["scale", "i.expt", "i.refl", "nproc=1", *(f"output.{n}=scale/{n}" for n in names)]) == 0
    (tmp_path / "export").mkdir()
    for name, kind in names.items():
        options = [f"format={kind}", f"hklout=export/{name}", "anomalous=False"]
        assert main(["export", "scaled.expt", "scaled.refl", *options]) == 0
        assert without_dates(tmp_path / "scale" / name) == without_dates(tmp_path / "export" / name), name
    assert "_exptl_absorpt_correction_T_min" in (tmp_path / "scale" / "cif").read_text()
    assert "Written to scale/cif" in (tmp_path / "pyscale.scale.log").read_text()


def test_the_log_is_no_other_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "a.expt", "a.refl", "output.log=x", "output.mmcif=x"]) == 2
    assert "named for two outputs (output.log and output.mmcif)" in capsys.readouterr().err


def test_every_format_has_a_name_of_its_own(scaled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in FORMATS:
        assert main(["export", str(scaled / "scaled.expt"), str(scaled / "scaled.refl"), f"format={kind}"]) == 0
    assert len(list(tmp_path.iterdir())) == len(FORMATS)
