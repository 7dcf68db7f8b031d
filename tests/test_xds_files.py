"""INTEGRATE.HKL and XDS_ASCII.HKL: simulated sweeps written in XDS' coordinates and read back; damaged files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.cli import main
from pyscale.dataset import Job
from pyscale.errors import DataError, PyscaleError, UsageError
from pyscale.flags import Flag
from pyscale.io.formats import format_of
from pyscale.simulation import SimulatedData
from xds_files import geometry_lines, small_sweep, sweep_columns, write_ascii, write_integrate

POSITION = 0.051
"""Positions have one digit behind the point."""


@pytest.fixture(scope="module")
def data() -> SimulatedData:
    return small_sweep()


def decisions(job: Job, number: int = 0) -> dict[str, Any]:
    return {d.name: d for d in job.input_decisions[job.identifiers[number]]}


def directions_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.linalg.norm(np.cross(a, b), axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


class TestIntegrate:
    def test_reflections_come_back(self, data: SimulatedData, tmp_path: Path) -> None:
        truth = write_integrate(tmp_path / "INTEGRATE.HKL", data)
        job = pyscale.read(tmp_path / "INTEGRATE.HKL")
        table = job.data_sets[0].reflections
        assert_array_equal(table["miller_index"], truth["hkl"])
        assert_allclose(table["intensity.prf.value"], truth["intensity"], rtol=5.1e-4)
        assert_allclose(table["intensity.prf.variance"], truth["sigma"] ** 2, rtol=1.1e-3)
        assert_allclose(table["xyzobs.px.value"], truth["xyz"], atol=POSITION)
        assert directions_deg(table["s1"], truth["s1"]).max() < np.degrees(0.1 * 0.172 / 200)
        assert_allclose(np.linalg.norm(table["s1"], axis=1), 1 / data.experiments()[0].wavelength, rtol=1e-6)
        assert_array_equal(table["flags"], int(Flag.predicted | Flag.indexed | Flag.integrated_prf))
        assert_allclose(table["PEAK"], 99.5)
        assert_allclose(table["profile.correlation"], 0.71)

    def test_experiment_comes_back(self, data: SimulatedData, tmp_path: Path) -> None:
        write_integrate(tmp_path / "INTEGRATE.HKL", data)
        found, truth = pyscale.read(tmp_path / "INTEGRATE.HKL").experiments[0], data.experiments()[0]
        assert found.image_range == truth.image_range == (1, 120)
        assert_allclose(found.oscillation, truth.oscillation)
        assert_allclose(found.unit_cell, truth.unit_cell, atol=6e-4)
        assert found.space_group.number == truth.space_group.number
        assert_allclose(found.rotation_axis, truth.rotation_axis, atol=1e-6)
        assert_allclose(found.beam_direction, truth.beam_direction, atol=1e-6)
        assert found.crystal is not None and truth.crystal is not None
        for name in "abc":
            assert_allclose(found.crystal[f"real_space_{name}"], truth.crystal[f"real_space_{name}"], atol=2e-3)
        panel, expected = found.panels[0], truth.panels[0]
        for name in ("fast_axis", "slow_axis", "image_size", "pixel_size"):
            assert_allclose(panel[name], expected[name])
        assert_allclose(panel["origin"], expected["origin"], atol=2e-3)

    def test_geometry_agrees(self, data: SimulatedData, tmp_path: Path) -> None:
        write_integrate(tmp_path / "INTEGRATE.HKL", data)
        found = decisions(pyscale.read(tmp_path / "INTEGRATE.HKL"))
        assert found["geometry"].value == "as in the header"
        assert not any(d.is_warning for d in found.values())

    def test_lp_undoes_the_correction_for_an_unpolarised_beam(self, data: SimulatedData, tmp_path: Path) -> None:
        truth = write_integrate(tmp_path / "INTEGRATE.HKL", data)
        normal = tuple(data.document["beam"][0]["polarization_normal"])
        fraction = data.document["beam"][0]["polarization_fraction"]
        path = tmp_path / "INTEGRATE.HKL"
        job = pyscale.read(path, polarization_fraction=fraction, polarization_normal=normal)
        assert_allclose(job.data_sets[0].reflections["lp"], truth["polarization"], atol=1e-4)
        assert np.ptp(truth["polarization"]) > 0.02
        beam = job.experiments.document["beam"][0]
        assert_allclose(beam["polarization_normal"], normal, atol=1e-6)
        assert beam["polarization_fraction"] == fraction
        assert_array_equal(pyscale.read(path, polarization_fraction=0.5).data_sets[0].reflections["lp"], 1.0)
        assert decisions(pyscale.read(path))["polarization_fraction"].value == 0.99

    def test_sums_are_told_from_profile_fits(self, data: SimulatedData, tmp_path: Path) -> None:
        truth = write_integrate(tmp_path / "INTEGRATE.HKL", data, PROFILE_FITTING="FALSE")
        table = pyscale.read(tmp_path / "INTEGRATE.HKL").data_sets[0].reflections
        assert "intensity.prf.value" not in table
        assert_allclose(table["intensity.sum.value"], truth["intensity"], rtol=5.1e-4)

    def test_gzipped_files_are_the_same(self, data: SimulatedData, tmp_path: Path) -> None:
        write_integrate(tmp_path / "a", data)
        (tmp_path / "b").write_bytes(gzip.compress((tmp_path / "a").read_bytes()))
        plain, packed = (pyscale.read(tmp_path / name).data_sets[0] for name in "ab")
        assert plain.identifier == packed.identifier
        assert_array_equal(plain.reflections["s1"], packed.reflections["s1"])
        (tmp_path / "b").write_bytes((tmp_path / "b").read_bytes()[:-300])
        with pytest.raises(DataError, match="gzip"):
            pyscale.read(tmp_path / "b")

    def test_files_joined_to_one_are_refused(self, data: SimulatedData, tmp_path: Path) -> None:
        write_integrate(tmp_path / "a", data)
        (tmp_path / "b").write_bytes(2 * (tmp_path / "a").read_bytes())
        with pytest.raises(DataError, match="several files in one"):
            pyscale.read(tmp_path / "b")

    def test_options_win_over_the_header(self, data: SimulatedData, tmp_path: Path) -> None:
        write_integrate(tmp_path / "INTEGRATE.HKL", data, SPACE_GROUP_NUMBER="1")
        cell = (50.0, 60.0, 70.0, 90.0, 90.0, 90.0)
        job = pyscale.read(tmp_path / "INTEGRATE.HKL", space_group="P 2 2 2", unit_cell=cell, wavelength=1.1)
        found = job.experiments[0]
        assert (found.space_group.number, found.wavelength) == (16, 1.1)
        assert_allclose(found.unit_cell, cell)
        assert_allclose(np.linalg.norm(job.data_sets[0].reflections["s1"], axis=1), 1 / 1.1)
        with pytest.raises(UsageError, match="space_group"):
            pyscale.read(tmp_path / "INTEGRATE.HKL", space_group="P 7")
        with pytest.raises(UsageError, match="unit_cell"):
            pyscale.read(tmp_path / "INTEGRATE.HKL", unit_cell=(1.0, 1.0, 1.0, 90.0, 90.0, 0.0))

    def test_rows_without_a_sigma_are_left_out_and_told(self, data: SimulatedData, tmp_path: Path) -> None:
        columns = sweep_columns(data)
        columns["sigma"][[3, 7]] = 0.0, -1.0
        write_integrate(tmp_path / "INTEGRATE.HKL", data, columns)
        job = pyscale.read(tmp_path / "INTEGRATE.HKL")
        flags = job.data_sets[0].reflections["flags"]
        assert_array_equal(np.flatnonzero((flags & int(Flag.integrated)) == 0), [3, 7])
        assert pyscale.scale(job).statistics.overall.n_obs <= len(flags) - 2
        assert (decisions(job)["without_sigma"].value, decisions(job)["without_sigma"].is_warning) == (2, True)

    def test_scaling_finds_the_scales(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        data = small_sweep(d_min=3.0, sweep_width=180.0, scale_variation=0.3)
        write_integrate(tmp_path / "INTEGRATE.HKL", data, sweep_columns(data))
        result = pyscale.scale(pyscale.read(tmp_path / "INTEGRATE.HKL"))
        unscaled = pyscale.scale(pyscale.read(tmp_path / "INTEGRATE.HKL"), model="KB")
        assert result.statistics.overall.r_meas < 0.6 * unscaled.statistics.overall.r_meas
        assert "input.polarization_fraction" in str(result.to_dict()["decisions"])


class TestImages:
    """Which images a sweep has, and what becomes of spots at its edges."""

    def test_sweeps_that_count_from_zero_are_shifted(self, data: SimulatedData, tmp_path: Path) -> None:
        write_integrate(tmp_path / "x", data, shift=(0.5, 0.5, -1.0), STARTING_FRAME="0")
        job = pyscale.read(tmp_path / "x")
        assert job.experiments[0].image_range == (1, 120)
        assert_allclose(job.experiments[0].oscillation, data.experiments()[0].oscillation)
        assert_allclose(
            job.data_sets[0].reflections["xyzobs.px.value"][:, 2], sweep_columns(data)["xyz"][:, 2], atol=0.06
        )
        assert decisions(job)["image_shift"].value == 1
        assert decisions(job)["geometry"].value == "as in the header"

    def test_sweeps_may_start_at_any_image(self, data: SimulatedData, tmp_path: Path) -> None:
        write_integrate(tmp_path / "x", data, shift=(0.5, 0.5, 40.0), STARTING_FRAME="41")
        job = pyscale.read(tmp_path / "x")
        assert job.experiments[0].image_range == (41, 160)
        assert_allclose(job.experiments[0].oscillation, data.experiments()[0].oscillation)
        assert decisions(job)["geometry"].value == "as in the header"

    def test_starting_frame_need_not_be_an_image_of_the_file(self, data: SimulatedData, tmp_path: Path) -> None:
        columns = sweep_columns(data)
        late = columns["xyz"][:, 2] > 30.2
        write_integrate(tmp_path / "x", data, {name: values[late] for name, values in columns.items()})
        experiment = pyscale.read(tmp_path / "x").experiments[0]
        assert experiment.image_range == (31, 120)
        assert_allclose(experiment.oscillation, (12.0 + 30 * 0.5, 0.5))

    def test_spots_on_the_very_edges_are_on_the_images(self, data: SimulatedData, tmp_path: Path) -> None:
        columns = sweep_columns(data)
        columns["xyz"][:3, 2], columns["xyz"][-3:, 2] = 0.0, 120.0
        columns["xyz"][3, 2] = -0.2
        write_integrate(tmp_path / "x", data, columns)
        job = pyscale.read(tmp_path / "x")
        z = job.data_sets[0].reflections["xyzobs.px.value"][:, 2]
        assert job.experiments[0].image_range == (1, 120)
        assert z.min() > 0 and z.max() < 120
        assert decisions(job)["beyond_images"].value == 1

    def test_data_range_tells_images_without_reflections(self, data: SimulatedData, tmp_path: Path) -> None:
        entries = geometry_lines(data.experiments()[0], data.document)
        write_ascii(tmp_path / "x", {**entries, "DATA_RANGE": "1 140"}, sweep_columns(data))
        assert pyscale.read(tmp_path / "x").experiments[0].image_range == (1, 140)
        write_ascii(tmp_path / "x", {**entries, "DATA_RANGE": "1 60"}, sweep_columns(data))
        job = pyscale.read(tmp_path / "x")
        assert job.experiments[0].image_range == (1, 120)
        assert decisions(job)["image_range"].is_warning


class TestAscii:
    def write(self, path: Path, data: SimulatedData, columns: dict[str, np.ndarray], **changes: str) -> None:
        entries = geometry_lines(data.experiments()[0], data.document)
        entries |= {"FRACTION_OF_POLARIZATION": "0.980", "POLARIZATION_PLANE_NORMAL": "0.0 1.0 0.0"}
        write_ascii(path, {key: value for key, value in (entries | changes).items() if value}, columns)

    def test_reflections_come_back_uncorrected(self, data: SimulatedData, tmp_path: Path) -> None:
        truth = sweep_columns(data)
        self.write(tmp_path / "XDS_ASCII.HKL", data, truth)
        job = pyscale.read(tmp_path / "XDS_ASCII.HKL")
        table = job.data_sets[0].reflections
        assert_array_equal(table["miller_index"], truth["hkl"])
        assert_allclose(table["intensity.prf.value"], truth["intensity"], rtol=5.1e-4)
        assert_allclose(table["xyzobs.px.value"], truth["xyz"], atol=POSITION)
        assert directions_deg(table["s1"], truth["s1"]).max() < 0.005
        assert "lp" not in table
        assert job.experiments.document["beam"][0]["polarization_fraction"] == 0.98
        assert decisions(job)["intensities"].value == "scaled by CORRECT"
        assert decisions(job)["geometry"].value == "as in the header"

    @pytest.mark.parametrize("flagged", ["drop", "keep"])
    def test_misfits(self, data: SimulatedData, tmp_path: Path, flagged: str) -> None:
        columns = sweep_columns(data)
        sigma = columns["sigma"].copy()
        columns["sigma"][::10] *= -1
        n = len(columns["sigma"][::10])
        self.write(tmp_path / "x", data, columns)
        job = pyscale.read(tmp_path / "x", flagged=flagged)
        table = job.data_sets[0].reflections
        used = (table["flags"] & int(Flag.integrated_prf)) != 0
        assert_array_equal(used, (columns["sigma"] > 0) | (flagged == "keep"))
        assert_allclose(table["intensity.prf.variance"], sigma**2, rtol=1.1e-3)
        n_used = pyscale.scale(job).statistics_with_outliers.overall.n_obs
        assert n_used > len(sigma) - 30 if flagged == "keep" else n_used <= len(sigma) - n
        assert decisions(job)["flagged"].value == flagged
        assert str(n) in decisions(job)["flagged"].reason

    def test_misfits_alone_are_no_data(self, data: SimulatedData, tmp_path: Path) -> None:
        columns = sweep_columns(data)
        columns["sigma"] *= -1
        self.write(tmp_path / "x", data, columns)
        with pytest.raises(DataError, match="positive SIGMA"):
            pyscale.read(tmp_path / "x")

    def test_merged_files_are_refused(self, data: SimulatedData, tmp_path: Path) -> None:
        write_ascii(
            tmp_path / "x", geometry_lines(data.experiments()[0], data.document), sweep_columns(data), merge="TRUE"
        )
        with pytest.raises(DataError, match=r"MERGE=TRUE.*unmerged file"):
            pyscale.read(tmp_path / "x")

    def test_orientation_is_fitted_where_the_header_has_none(self, data: SimulatedData, tmp_path: Path) -> None:
        missing = {f"UNIT_CELL_{axis}-AXIS": "" for axis in "ABC"}
        self.write(tmp_path / "x", data, sweep_columns(data), **missing)
        job = pyscale.read(tmp_path / "x")
        found, truth = job.experiments[0].crystal, data.experiments()[0].crystal
        assert found is not None and truth is not None
        for name in "abc":
            assert_allclose(found[f"real_space_{name}"], truth[f"real_space_{name}"], atol=0.02)
        assert decisions(job)["orientation"].value == "fitted"
        assert not decisions(job)["orientation"].is_warning


class TestXscale:
    ENTRIES: ClassVar = {"SPACE_GROUP_NUMBER": "19", "UNIT_CELL_CONSTANTS": "40 50 60 90 90 90"}
    SETS = (
        "! ISET=   1 INPUT_FILE=one/XDS_ASCII.HKL\n! ISET=   1 X-RAY_WAVELENGTH=  0.9795\n"
        "! ISET=   1 UNIT_CELL_CONSTANTS=  40.1 50.1 60.1 90.0 90.0 90.0\n"
        "! ISET=   7 INPUT_FILE=two/XDS_ASCII.HKL\n! ISET=   7 X-RAY_WAVELENGTH=  1.2800\n"
        "! ISET=   7 UNIT_CELL_CONSTANTS=  40.2 50.2 60.2 90.0 90.0 90.0\n"
    )

    def write(self, path: Path, extra: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
        columns = sweep_columns(small_sweep(d_min=5.0))
        sets = np.where(np.arange(len(columns["hkl"])) % 3 == 0, 7, 1)
        write_ascii(path, self.ENTRIES, columns, program="XSCALE", sets=sets, extra=extra)
        return columns, sets

    def test_data_sets_stay_apart(self, tmp_path: Path) -> None:
        columns, sets = self.write(tmp_path / "x", self.SETS)
        job = pyscale.read(tmp_path / "x")
        assert len(job.data_sets) == 2
        assert [e.wavelength for e in job.experiments] == [0.9795, 1.28]
        assert_allclose([e.unit_cell[0] for e in job.experiments], [40.1, 40.2])
        for k, number in enumerate((1, 7)):
            table = job.data_sets[k].reflections
            assert_array_equal(table["miller_index"], columns["hkl"][sets == number])
            assert_allclose(table["xyzobs.px.value"], columns["xyz"][sets == number], atol=POSITION)
            assert decisions(job, k)["data_set"].value == f"ISET {number}"
            assert "two" in decisions(job, 1)["data_set"].reason
            assert decisions(job, k)["geometry"].is_warning
        assert pyscale.scale(job).statistics.overall.n_obs > 0.9 * len(sets)

    def test_geometry_of_one_sweep_is_not_taken_for_that_of_all(self, tmp_path: Path) -> None:
        geometry = "!ORGX= 1.0 ORGY= 1.0\n!NX= 10 NY= 10 QX= 0.1 QY= 0.1\n!ROTATION_AXIS= 1 0 0\n"
        self.write(tmp_path / "x", self.SETS + geometry)
        job = pyscale.read(tmp_path / "x")
        assert len(job.data_sets) == 2
        assert all(decisions(job, k)["geometry"].is_warning for k in range(2))

    def test_sets_without_a_wavelength_are_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path / "x", "! ISET=   1 INPUT_FILE=one/XDS_ASCII.HKL\n")
        with pytest.raises(DataError, match="no X-RAY_WAVELENGTH"):
            pyscale.read(tmp_path / "x")
        assert len(pyscale.read(tmp_path / "x", wavelength=1.0).data_sets) == 2


DAMAGE = {
    "no end of the header": (("!END_OF_HEADER\n", ""), "no !END_OF_HEADER"),
    "no end of the data": (("!END_OF_DATA\n", ""), r"no !END_OF_DATA after \d+ reflections; the file is cut off"),
    "no wavelength": (("!X-RAY_WAVELENGTH=", "!WAVE="), "the header has no X-RAY_WAVELENGTH="),
    "no cell": (("!UNIT_CELL_CONSTANTS=", "!CELL="), "the header has no UNIT_CELL_CONSTANTS="),
    "no detector": (("!ORGX=", "!OX="), "the header has no ORGX="),
    "no number": (("!STARTING_ANGLE=", "!STARTING_ANGLE= x"), r"line LINE: STARTING_ANGLE= '.*' is not 1 number"),
    "cell of nothing": (("!UNIT_CELL_CONSTANTS=", "!UNIT_CELL_CONSTANTS= 0"), "UNIT_CELL_CONSTANTS="),
    "absurd wavelength": (("!X-RAY_WAVELENGTH=", "!X-RAY_WAVELENGTH= 1E9"), r"X-RAY_WAVELENGTH= 1e\+09 is not within"),
    "absurd pixel": (("QX= ", "QX= -"), "QX= .* is not within"),
    "no rotation": (("!OSCILLATION_RANGE=", "!OSCILLATION_RANGE= 0"), "stills are not read"),
    "no direction": (("!ROTATION_AXIS=", "!ROTATION_AXIS= 0 0 0"), "ROTATION_AXIS= is no direction"),
    "no such group": (("!SPACE_GROUP_NUMBER=", "!SPACE_GROUP_NUMBER= 231"), "SPACE_GROUP_NUMBER= 231"),
    "columns without a name": (("!H,K,L,", "!h,k,l,"), "names no columns"),
    "another number of columns": (("RECORD= 21", "RECORD= 20"), "names 21 columns, but"),
    "absurd number of columns": (("RECORD= 21", "RECORD= 1E9"), "is not within 3 to 200"),
    "a column less": (("ZCAL", "Z"), "no column ZCAL"),
    "a short record": ((" 99.50 71 40 ", " "), r"line LINE: has 18 items instead of 21"),
    "Fortran's stars": ((" 0.30000 99.50", " **** 99.50"), r"line LINE: '\*\*\*\*' is not a number"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_end_in_one_line(
    data: SimulatedData, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (old, new), message = DAMAGE[name]
    write_integrate(tmp_path / "INTEGRATE.HKL", data)
    text = (tmp_path / "INTEGRATE.HKL").read_text()
    assert old in text
    (tmp_path / "INTEGRATE.HKL").write_text(text.replace(old, new, 1))
    message = message.replace("LINE", str(text[: text.index(old)].count("\n") + 1))
    with pytest.raises(DataError, match=message) as error:
        pyscale.read(tmp_path / "INTEGRATE.HKL")
    assert "\n" not in str(error.value)
    assert str(tmp_path / "INTEGRATE.HKL") in str(error.value)
    if name == "no wavelength":
        assert main(["scale", str(tmp_path / "INTEGRATE.HKL")]) == 1
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("hkl", 10**7, "small integers"), ("xyz", 1e8, "images|detector"), ("xyz", 1e31, r"beyond 1e\+30")],
)
def test_absurd_numbers_are_refused(
    data: SimulatedData, tmp_path: Path, column: str, value: float, message: str
) -> None:
    for k in range(3):
        columns = sweep_columns(data)
        columns[column][5, k] = value
        write_integrate(tmp_path / "x", data, columns)
        with pytest.raises(DataError, match=message):
            pyscale.read(tmp_path / "x")


@pytest.fixture(scope="module")
def files(data: SimulatedData, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """An INTEGRATE.HKL and an XDS_ASCII.HKL of few reflections."""
    folder = tmp_path_factory.mktemp("files")
    columns = {name: values[:40] for name, values in sweep_columns(data).items()}
    write_integrate(folder / "a", data, columns)
    write_ascii(folder / "b", geometry_lines(data.experiments()[0], data.document), columns)
    return [(folder / name).read_bytes() for name in "ab"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([0, 1]), st.floats(0, 1))
def test_files_that_are_cut_off_are_refused(files: list[bytes], tmp_path: Path, which: int, part: float) -> None:
    whole = files[which]
    cut = whole[: int(part * (len(whole) - len("!END_OF_DATA\n")))]
    (tmp_path / "cut").write_bytes(cut)
    with pytest.raises(PyscaleError) as error:
        pyscale.read(tmp_path / "cut")
    assert "\n" not in str(error.value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([0, 1]), st.floats(0, 1), st.binary(min_size=1, max_size=6), st.booleans())
def test_files_with_changed_bytes_are_read_or_refused(
    files: list[bytes], tmp_path: Path, which: int, part: float, new: bytes, insert: bool
) -> None:
    whole = files[which]
    at = int(part * len(whole))
    (tmp_path / "changed").write_bytes(whole[:at] + new + whole[at if insert else at + len(new) :])
    try:
        pyscale.read(tmp_path / "changed")
    except PyscaleError as error:
        assert "\n" not in str(error)


def test_formats_are_told_by_content() -> None:
    integrate = b"!OUTPUT_FILE=OTHER.HKL    DATE= 1-Jan-2024\n!Generated by INTEGRATE    (VERSION X)\n"
    for head, name in ((integrate, "XDS INTEGRATE.HKL"), (b"!FORMAT=XDS_ASCII    MERGE=FALSE", "XDS_ASCII.HKL")):
        for packed in (head, gzip.compress(head)):
            found = format_of(packed)
            assert found is not None and found.name == name
    assert format_of(gzip.compress(b"nothing")) is None
    assert format_of(b"\x1f\x8bnothing") is None
