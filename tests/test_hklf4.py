"""SHELX HKLF 4 files."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import other_formats
import pyscale
from pyscale.errors import DataError, PyscaleError
from pyscale.io.formats import format_of
from pyscale.io.hklf4 import is_hklf4, parse_hklf4
from pyscale.io.shelx_symmetry import shelx_space_group

OPTIONS = {"unit_cell": other_formats.CELL, "space_group": "P222"}


@pytest.fixture(scope="module")
def batches() -> other_formats.Batches:
    return other_formats.simulated_batches()


def write(path: Path, b: other_formats.Batches, tail: str = "") -> Path:
    path.write_text(other_formats.hklf4_text(b.index, b.intensity, b.sigma, b.batch, tail))
    return path


def test_each_batch_is_a_data_set_whose_scale_is_found(tmp_path: Path, batches: other_formats.Batches) -> None:
    job = pyscale.read(write(tmp_path / "any.name", batches), **OPTIONS)
    assert len(job.data_sets) == 4 and all(d.experiment.is_still for d in job.data_sets)
    result = pyscale.scale(job, nproc=1)
    g = np.asarray(result.inverse_scale_factor)
    table = result.table
    ratio = np.array([np.median(g[table["id"] == k]) for k in range(4)])
    expected = np.array([batches.scale[k + 1] for k in range(4)])
    np.testing.assert_allclose(ratio / ratio[0], expected / expected[0], rtol=0.01)
    assert result.statistics.overall.r_meas < 0.03
    assert all(plan.model.value == "KB" for plan in result.plans)


def test_columns_are_fixed_and_may_touch() -> None:
    text = b"   1-111   2-1234.5 1000.00   3\r\n   0   0   3   52001     100\n   0   0   0\nrest"
    index, intensity, sigma, batch, rest = parse_hklf4(text, "x")
    assert index.tolist() == [[1, -111, 2], [0, 0, 3]]
    # F8.2: hundredths where there is no decimal point
    assert intensity.tolist() == [-1234.5, 520.01] and sigma.tolist() == [1000.0, 1.0]
    assert batch.tolist() == [3, 1] and rest == b"rest"


@given(
    st.lists(
        st.tuples(
            *[st.integers(-99, 99)] * 3,
            st.floats(-9999, 99999, allow_nan=False),
            st.floats(0, 99999, allow_nan=False),
            st.integers(1, 999),
        ).filter(lambda row: row[:3] != (0, 0, 0)),
        min_size=1,
        max_size=30,
    )
)
def test_what_is_written_is_read(rows: list[tuple[int, int, int, float, float, int]]) -> None:
    table = np.array(rows, dtype=float)
    text = other_formats.hklf4_text(table[:, :3].astype(int), table[:, 3], table[:, 4], table[:, 5]).encode()
    index, intensity, sigma, batch, rest = parse_hklf4(text, "x")
    np.testing.assert_array_equal(index, table[:, :3])
    np.testing.assert_allclose(intensity, table[:, 3], atol=0.0051)
    np.testing.assert_allclose(sigma, table[:, 4], atol=0.0051)
    np.testing.assert_array_equal(batch, table[:, 5])
    assert rest == b""


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(data: bytes) -> None:
    try:
        parse_hklf4(data, "x")
    except DataError as error:
        assert "\n" not in str(error)


def test_symmetry_is_needed_and_may_stand_behind_the_reflections(
    tmp_path: Path, batches: other_formats.Batches
) -> None:
    path = write(tmp_path / "a.hkl", batches)
    with pytest.raises(DataError, match=r"no unit cell and no space group: give unit_cell=.* and space_group=NAME"):
        pyscale.read(path)
    with pytest.raises(DataError, match=r"no space group: give space_group=NAME"):
        pyscale.read(path, unit_cell=other_formats.CELL)
    shelx = "TITL x\nCELL 0.56086 30 40 55 90 90 90\nZERR 4 0 0 0 0 0 0\nLATT -1\nSYMM -X,-Y,Z\nSYMM -X,Y,-Z\n"
    cif = "".join(
        f"_cell_{n} {v}(2)\n"
        for n, v in zip(
            ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma"),
            other_formats.CELL,
            strict=True,
        )
    )
    for tail in (shelx, cif + "_symmetry_space_group_name_H-M 'P 2 2 2'\n_diffrn_radiation_wavelength 0.56086\n"):
        job = pyscale.read(write(tmp_path / "b.hkl", batches, tail))
        experiment = job.data_sets[0].experiment
        assert experiment.space_group.xhm() == "P 2 2 2" and experiment.wavelength == 0.56086
        np.testing.assert_allclose(experiment.unit_cell, other_formats.CELL)
    # Options come before what the file says.
    assert pyscale.read(tmp_path / "b.hkl", space_group="P212121").data_sets[0].experiment.space_group.number == 19
    assert (
        pyscale.read(tmp_path / "b.hkl", unit_cell=(31, 41, 56, 90, 90, 90)).data_sets[0].experiment.unit_cell[0] == 31
    )


@pytest.mark.parametrize(
    ("lattice", "operators", "name"),
    [
        (-1, ["-x,0.5+y,-z"], "P 1 21 1"),
        (1, ["-X, 0.5+Y, 0.5-Z"], "P 1 21/c 1"),
        (-7, ["-x,y,-z"], "C 1 2 1"),
        (3, ["-y,x-y,z"], "R -3:H"),
        (-1, ["0.5-X, -Y, 0.5+Z", "-X, 0.5+Y, 0.5-Z", "0.5+X, 0.5-Y, -Z"], "P 21 21 21"),
        (4, [], "F -1"),
    ],
)
def test_instructions_make_space_groups(lattice: int, operators: list[str], name: str) -> None:
    found = shelx_space_group(lattice, operators)
    assert found is not None and found.xhm() == name


def test_unsound_instructions_make_none() -> None:
    assert shelx_space_group(1, ["junk"]) is None
    assert shelx_space_group(-1, ["x+1/7,y,z"]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("   1   2   3   10.00    1.00  -2\n   0   0   0\n", "HKLF 5"),
        ("   1   2   3   10.00    1.00   1\n   1   x   3   10.00    1.00   1\n", "line 2, columns 5-8"),
        ("   1   2   3   10.00    1.00   1\n   1   2   3 ***.**    1.00   1\n", "line 2, columns 13-20"),
        ("   0   0   0    0.00    0.00   0\n", "holds no reflections"),
        ("   1   2   3   10.00    1.00   1\n   1\0\0\0\0\0\0\0   10.00    1.00   1\n", "line 2 has bytes of zero"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.hkl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        pyscale.read(path, **OPTIONS)


def test_cut_files_are_read_with_a_warning(tmp_path: Path, batches: other_formats.Batches) -> None:
    path = write(tmp_path / "x.hkl", batches)
    text = path.read_text().split("\n")
    path.write_text("\n".join(text[:500]))
    job = pyscale.read(path, **OPTIONS)
    assert sum(len(d.reflections) for d in job.data_sets) == 500
    assert any(d.name == "terminated" and d.is_warning for of in job.input_decisions.values() for d in of)


def test_a_row_that_is_cut_is_not_taken_for_a_whole_one(tmp_path: Path, batches: other_formats.Batches) -> None:
    path = write(tmp_path / "x.hkl", batches)
    lines = path.read_text().split("\n")[:500]
    path.write_text("\n".join([*lines[:-1], lines[-1][:25]]))
    job = pyscale.read(path, **OPTIONS)
    assert sum(len(d.reflections) for d in job.data_sets) == 499


def test_rows_without_a_sigma_are_left_out(tmp_path: Path, batches: other_formats.Batches) -> None:
    batches = other_formats.Batches(
        **{**vars(batches), "sigma": np.where(batches.unique % 50 == 0, 0.0, batches.sigma)}
    )
    job = pyscale.read(write(tmp_path / "x.hkl", batches), **OPTIONS)
    result = pyscale.scale(job, nproc=1)
    without = int((batches.unique % 50 == 0).sum())
    assert without and sum(e.to_dict()["filtered"].get("not_integrated", 0) for e in result.ledger) == without


def test_the_kind_is_told_by_content() -> None:
    assert is_hklf4(b"   1   2   3   10.00    1.00   1\n")
    for other in (b"", b"!FORMAT=XDS_ASCII", b"data_x\n", b"MTZ ", b"{}", b"1 2 3 10 1\n", b"\x89HDF\r\n\x1a\n"):
        assert not is_hklf4(other)
        found = format_of(other)
        assert found is None or found.name != "SHELX HKLF 4"


def test_real_data(data_root: Path) -> None:
    path = data_root / "nacl_hklf4" / "NaCl.hkl"
    job = pyscale.read(path, unit_cell=(5.64109, 5.64109, 5.64109, 90, 90, 90), space_group="Fm-3m")
    assert len(job.data_sets) == 50
    result = pyscale.scale(job, nproc=1)
    overall = result.statistics_with_outliers.overall
    # The deposited CIF: 8578 reflections, R_int 0.0243.
    assert overall.n_obs == 8578 and overall.n_unique == 111
    assert overall.r_merge < 0.0243
    cif = pyscale.scale(pyscale.read(data_root / "nacl_hklf4" / "NaCl.cif"), nproc=1)
    assert cif.statistics_with_outliers.overall.r_merge == pytest.approx(overall.r_merge, rel=1e-3)
    assert issubclass(DataError, PyscaleError)


@pytest.mark.parametrize(
    "tail",
    [
        "CELL " + "0" * 10**6,
        "\n" * 10**6,
        "_cell_length_a " + "1" * 10**6,
        "SYMM " + "x " * 10**5,
        " " * 10**6 + "_cell_length_a",
        ("SYMM x+1/2,y,z\n" * 10**4) + "CELL 1 1 1 1 1 1 1\nLATT 1\n",
    ],
)
def test_no_text_behind_the_reflections_takes_long(tmp_path: Path, batches: other_formats.Batches, tail: str) -> None:
    path = write(tmp_path / "x.hkl", batches, tail)
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"no unit cell|no space group|volume"):
        pyscale.read(path)
    assert time.perf_counter() - start < 5.0
