"""Reflection tables on file: round trips, versions, zero copy; msgpack's own unpacker is the oracle."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pyscale.errors import DataError, UsageError
from pyscale.io.refl import read_refl, write_refl
from pyscale.reflections import COLUMN_TYPES, Flag, ReflectionTable

TYPE_STRING = "dials::af::reflection_table"


def shoebox(depth: int, mask_kind: int, seed: int) -> bytes:
    """One shoebox of 2 x 3 x depth pixels, or without pixels."""
    head = struct.pack("<I6iB", seed, 1, 3, 2, 5, 0, depth, mask_kind)
    size = {0: 0, 1: 12, 2: 9}[mask_kind] * 6 * depth
    return head + np.random.default_rng(seed).bytes(size)


def document(columns: dict[str, Any], n: int, version: int = 1, identifiers: dict[int, str] | None = None) -> list[Any]:
    return [TYPE_STRING, version, {"identifiers": identifiers or {}, "nrows": n, "data": columns}]


def pack(path: Path, *args: Any, **kwargs: Any) -> Path:
    path.write_bytes(msgpack.packb(document(*args, **kwargs)))
    return path


def unpack(path: Path) -> Any:
    return msgpack.unpackb(path.read_bytes(), strict_map_key=False)


SMALL = {
    "flags": ["std::size_t", [2, struct.pack("<2Q", 256, 2**63)]],
    "id": ["int", [2, struct.pack("<2i", 0, -1)]],
    "entering": ["bool", [2, b"\x01\x00"]],
    "miller_index": ["cctbx::miller::index<>", [2, struct.pack("<6i", 1, 2, 3, -4, 5, 6)]],
    "s1": ["vec3<double>", [2, struct.pack("<6d", *range(6))]],
    "shoebox": ["Shoebox<>", [2, shoebox(2, 1, 3) + shoebox(0, 0, 4)]],
}


@st.composite
def raw_tables(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    n = draw(st.integers(0, 9))
    columns: dict[str, Any] = {}
    for name in draw(st.sets(st.text(max_size=6), min_size=1, max_size=8)):
        dials_type = draw(st.sampled_from([*COLUMN_TYPES, "Shoebox<>", "std::string"]))
        if dials_type == "Shoebox<>":
            kinds = draw(st.lists(st.sampled_from([0, 1, 2]), min_size=n, max_size=n))
            data = b"".join(shoebox(k, k, i) for i, k in enumerate(kinds))
        elif dials_type == "bool":
            data = bytes(draw(st.lists(st.sampled_from([0, 1]), min_size=n, max_size=n)))
        else:
            size = 32 if dials_type == "std::string" else COLUMN_TYPES[dials_type].row_size
            data = draw(st.binary(min_size=n * size, max_size=n * size))
        columns[name] = [dials_type, [n, data]]
    return columns, n


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=raw_tables(), zipped=st.booleans(), version=st.sampled_from([1, 2]))
def test_every_column_type_survives_byte_for_byte(
    tmp_path: Path, raw: tuple[dict[str, Any], int], zipped: bool, version: int
) -> None:
    columns, n = raw
    path = pack(tmp_path / "in.refl", columns, n, version, {0: "a", 7: "ü"})
    if zipped:
        path.write_bytes(gzip.compress(path.read_bytes()))
    write_refl(read_refl(path), tmp_path / "out.refl")
    written = unpack(tmp_path / "out.refl")
    has_shoebox = any(t == "Shoebox<>" for t, _ in columns.values())
    assert written == document(columns, n, version if has_shoebox else 1, {0: "a", 7: "ü"})
    assert list(written[2]["data"]) == sorted(columns)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=raw_tables(), data=st.data())
def test_select_and_concatenate_cut_and_join_rows(
    tmp_path: Path, raw: tuple[dict[str, Any], int], data: st.DataObject
) -> None:
    columns, n = raw
    table = read_refl(pack(tmp_path / "in.refl", columns, n))
    cut = data.draw(st.integers(0, n))
    parts = [table.select(np.arange(n) < cut), table.select(np.arange(cut, n))]
    write_refl(ReflectionTable.concatenate(parts), tmp_path / "out.refl")
    assert unpack(tmp_path / "out.refl") == document(columns, n)
    twice = table.select(slice(None, None, -1)).select(np.arange(n)[::-1])
    write_refl(twice, tmp_path / "out.refl")
    assert unpack(tmp_path / "out.refl") == document(columns, n)


def test_values_have_their_types(tmp_path: Path) -> None:
    table = read_refl(pack(tmp_path / "in.refl", SMALL, 2, identifiers={0: "x"}))
    assert len(table) == 2
    assert table.identifiers == {0: "x"}
    assert table.source == str(tmp_path / "in.refl")
    assert_array_equal(table["flags"], np.array([256, 2**63], np.uint64))
    assert_array_equal(table["entering"], [True, False])
    assert_array_equal(table["miller_index"], [[1, 2, 3], [-4, 5, 6]])
    assert_array_equal(table["s1"], np.arange(6.0).reshape(2, 3))
    assert table["entering"].dtype == np.bool_
    assert table.dials_type("id") == "int"


def test_columns_are_read_only_views_of_the_file(tmp_path: Path) -> None:
    table = read_refl(pack(tmp_path / "in.refl", SMALL, 2))
    for name in set(SMALL) - {"shoebox"}:
        column = table[name]
        assert not column.flags.owndata
        assert not column.flags.writeable
    base = table["s1"]
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, memoryview)
    assert type(base.obj).__name__ == "mmap"


def test_a_selected_shoebox_keeps_its_own_bytes(tmp_path: Path) -> None:
    table = read_refl(pack(tmp_path / "in.refl", SMALL, 2)).select([1])
    write_refl(table, tmp_path / "out.refl")
    assert unpack(tmp_path / "out.refl")[2]["data"]["shoebox"] == ["Shoebox<>", [1, shoebox(0, 0, 4)]]


def test_a_new_table_is_version_1_and_sorted(tmp_path: Path) -> None:
    table = ReflectionTable(identifiers={0: "a"})
    table["z"] = np.arange(3, dtype=np.int32)
    table["b"] = np.ones((3, 6), np.int32)
    table["miller_index"] = np.ones((3, 3), np.int32)
    table["m"] = np.zeros((3, 9))
    write_refl(table, tmp_path / "out.refl")
    raw = unpack(tmp_path / "out.refl")
    assert raw[:2] == [TYPE_STRING, 1]
    assert {k: v[0] for k, v in raw[2]["data"].items()} == {
        "b": "int6",
        "m": "mat3<double>",
        "miller_index": "cctbx::miller::index<>",
        "z": "int",
    }
    assert raw[2]["data"]["z"][1] == [3, struct.pack("<3i", 0, 1, 2)]


@pytest.mark.parametrize("values", [np.zeros(2, np.float32), np.zeros((2, 4)), np.zeros(2, np.int64), np.float64(1)])
def test_other_dtypes_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="column 'x': no DIALS column type"):
        ReflectionTable()["x"] = values


def test_lengths_must_agree() -> None:
    table = ReflectionTable()
    table["x"] = np.zeros(2)
    with pytest.raises(ValueError, match="has 3 rows, the table 2"):
        table["y"] = np.zeros(3)
    table["x"] = np.zeros(3)
    assert len(table) == 3


def test_a_missing_column_is_named_with_its_file(tmp_path: Path) -> None:
    table = read_refl(pack(tmp_path / "in.refl", SMALL, 2))
    assert table.get("lp") is None
    with pytest.raises(DataError, match=r"in\.refl: column 'lp' is missing"):
        table.require("lp")


def test_a_column_missing_in_one_table_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    first, second = ReflectionTable(source="a.refl"), ReflectionTable(source="b.refl")
    first["x"] = second["x"] = np.zeros(2)
    first["qe"] = np.ones(2)
    assert ReflectionTable.concatenate([first, second]).names() == ["x"]
    assert "'qe' is dropped: b.refl has none" in caplog.text


def test_flags_have_the_values_of_dials() -> None:
    assert Flag.integrated_sum == 256
    assert Flag.integrated_prf == 512
    assert Flag.user_excluded_in_scaling == 4194304
    assert Flag.outlier_in_scaling == 8388608
    assert Flag.excluded_for_scaling == 16777216
    assert Flag.scaled == 67108864
    assert Flag.bad_for_scaling == 4194304 + 8388608 + 16777216
    assert Flag.bad_shoebox == sum(1 << b for b in range(10, 16))


def _outcome(path: Path) -> str:
    try:
        table = read_refl(path)
        table.select(np.arange(len(table)))
    except DataError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return "refused"
    assert len(table) <= 2
    return "valid"


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = pack(tmp_path / "x.refl", SMALL, 2, identifiers={0: "x"}).read_bytes()
    path = tmp_path / "cut.refl"
    for data in (whole, gzip.compress(whole, mtime=0)):
        for length in range(len(data)):
            path.write_bytes(data[:length])
            assert _outcome(path) == "refused"
        path.write_bytes(data)
        assert _outcome(path) == "valid"
    path.write_bytes(whole + b"\0")
    assert _outcome(path) == "refused"


def test_no_flipped_byte_does_harm(tmp_path: Path) -> None:
    whole = pack(tmp_path / "x.refl", SMALL, 2, identifiers={0: "x"}).read_bytes()
    path = tmp_path / "flipped.refl"
    outcomes = set()
    for position in range(len(whole)):
        for value in {0xC1, 0xFF, whole[position] ^ 1} - {whole[position]}:
            path.write_bytes(whole[:position] + bytes([value]) + whole[position + 1 :])
            outcomes.add(_outcome(path))
    assert outcomes == {"refused", "valid"}


@pytest.mark.parametrize("header", [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8])
def test_no_length_is_believed(tmp_path: Path, header: bytes) -> None:
    start = b"\x93" + msgpack.packb(TYPE_STRING) + b"\x01\x83" + msgpack.packb("data") + b"\x81" + msgpack.packb("x")
    path = tmp_path / "huge.refl"
    for prefix in (b"", b"\x92" + msgpack.packb("double"), b"\x92" + msgpack.packb("double") + b"\x92\x01"):
        path.write_bytes(start + prefix + header)
        assert _outcome(path) == "refused"


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\x80\x02cdials", "the file is cut off|a line has no end"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"", "empty"),
        (b"hello", "not a DIALS reflection table"),
        (gzip.compress(b"hello", mtime=0), "not a DIALS reflection table"),
        (msgpack.packb([TYPE_STRING, 3, {}]), "version 3"),
        (msgpack.packb(document({"x": ["float", [0, b""]]}, 0)), "unknown type 'float'"),
        (msgpack.packb(document({"x": ["int", [2, b"1234"]]}, 2)), "4 bytes, but 2 rows of 4"),
        (msgpack.packb(document({"x": ["int", [1, b"1234"]]}, 2)), "nrows is 2, but the columns have 1"),
        (msgpack.packb(document({"x": ["bool", [1, b"\x02"]]}, 1)), "neither 0 nor 1"),
    ],
)
def test_what_cannot_be_read_is_refused_with_one_sentence(tmp_path: Path, start: bytes, message: str) -> None:
    path = tmp_path / "x.refl"
    path.write_bytes(start)
    with pytest.raises(DataError, match=message) as caught:
        read_refl(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.refl"):
        read_refl(tmp_path / "none.refl")
    with pytest.raises(UsageError, match="not a regular file"):
        read_refl(tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "cunir_stills/integrated",
        "l_cysteine/20_integrated",
        "l_cysteine/35_integrated",
        "l_cysteine_narrow/11_integrated",
        "quartz_ed/scaled",
        "reference/lcys_4_physical/scaled",
    ],
)
def test_real_files_survive_byte_for_byte(data_root: Path, tmp_path: Path, name: str) -> None:
    path = data_root / f"{name}.refl"
    write_refl(read_refl(path), tmp_path / "out.refl")
    original, written = unpack(path), unpack(tmp_path / "out.refl")
    assert written[2] == original[2]
    assert written[1] == 1


@pytest.mark.data
def test_real_shoeboxes_can_be_cut(data_root: Path) -> None:
    table = read_refl(data_root / "l_cysteine_narrow/11_integrated.refl")
    column = table.opaque("shoebox")
    assert column is not None
    assert column.rows.offsets()[-1] == column.rows.data.size
