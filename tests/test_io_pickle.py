"""Pickled reflection tables of 2018 and 2019: decoded, never run; Python's pickler and DIALS are the oracles."""

from __future__ import annotations

import gzip
import logging
import os
import pickle
import subprocess
import sys
import time
import tracemalloc
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

import pickles
import pyscale
from pyscale import _core
from pyscale.errors import DataError
from pyscale.io.refl import read_refl, write_refl
from pyscale.reflections import COLUMN_TYPES, ReflectionTable

HEX = bytes.fromhex


def decoded(kind: str, raw: bytes, n_rows: int) -> list[Any]:
    data = np.frombuffer(raw, np.uint8)
    if kind in ("doubles", "int32"):
        return list(getattr(_core, f"read_flex_{kind}")(data, n_rows, 1).tolist())
    return list(getattr(_core, f"read_flex_{kind}")(data, n_rows).tolist())


def read(path: Path, raw: bytes) -> ReflectionTable:
    path.write_bytes(raw)
    return read_refl(path)


def assert_holds(table: ReflectionTable, columns: dict[str, Any]) -> None:
    assert table.names() == sorted(columns)
    for name, (kind, values) in columns.items():
        assert table.dials_type(name) == kind
        assert table[name].dtype == values.dtype
        assert_array_equal(table[name], values)


@pytest.mark.parametrize(
    ("kind", "raw", "values"),
    [
        (
            "doubles",
            "0207 00 02800201 82800201 028000 02c00202 08ccccccccccccd08203 839a50020b",
            [0, 1, -1, 0.5, 3, 0.1, -1234.5],
        ),
        ("int32", "0207 00 0201 8201 02ff 030001 832c01 04701101", [0, 1, -1, 255, 256, -300, 70000]),
        ("bools", "0202 31 30", [1, 0]),
        ("uint64", "0201 0203", [3]),
        # Further strings, as cctbx-base 2025.11 wrote them.
        ("doubles", "0202 0280833104 08f2168983b9dbb0030004", [5e-324, 1.7e308]),
        ("int32", "0202 8500000080 05ffffff7f", [-(2**31), 2**31 - 1]),
    ],
)
def test_golden_byte_strings_of_the_specification(kind: str, raw: str, values: list[float]) -> None:
    assert decoded(kind, HEX(raw.replace(" ", "")), len(values)) == values


def test_numbers_that_were_not_finite_are_nan() -> None:
    written_by_cctbx = HEX("0202" + "02800201" + "09" + "00" * 9)
    one, other = decoded("doubles", written_by_cctbx, 2)
    assert one == 1.0 and np.isnan(other)


@pytest.mark.parametrize("n_rows", [0, 1, 3, 200])
@pytest.mark.parametrize("identifiers", [None, {}, {0: "0", 1: "\xe9\xe8"}])
def test_every_column_type_is_decoded(tmp_path: Path, n_rows: int, identifiers: dict[int, str] | None) -> None:
    columns = pickles.small_columns(n_rows)
    table = read(tmp_path / "x.pickle", pickles.table_pickle(columns, n_rows, identifiers))
    assert_holds(table, columns)
    assert table.identifiers == (identifiers or {})
    assert len(table) == n_rows


_VALUES = {
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "vec3<double>": st.floats(allow_nan=False, allow_infinity=False),
    "mat3<double>": st.floats(allow_nan=False, allow_infinity=False),
    "int": st.integers(-(2**31), 2**31 - 1),
    "cctbx::miller::index<>": st.integers(-(2**31), 2**31 - 1),
    "int6": st.integers(-300, 300),
    "std::size_t": st.integers(0, 2**64 - 1),
    "bool": st.booleans(),
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), n_rows=st.integers(0, 5))
def test_any_values_come_back(tmp_path: Path, data: st.DataObject, n_rows: int) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(_VALUES)), min_size=1, max_size=4))
    columns = {}
    for i, kind in enumerate(kinds):
        layout = COLUMN_TYPES[kind]
        shape = (n_rows, *layout.row_shape)
        columns[f"c{i}"] = (kind, data.draw(hnp.arrays(layout.dtype, shape, elements=_VALUES[kind])))
    table = read(tmp_path / "x.refl", pickles.table_pickle(columns, n_rows))
    assert_holds(table, columns)


def _stub(module: str, name: str) -> type:
    def reduce(self: Any) -> tuple[Any, ...]:
        return type(self), self.arguments, self.state

    return type(name, (), {"__module__": module, "__reduce__": reduce, "__init__": _stub_init, "state": None})


def _stub_init(self: Any, *arguments: Any) -> None:
    self.arguments = arguments


@pytest.fixture
def pickled(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pickle columns with Python's own pickler, of classes with the names of flex."""
    classes: dict[str, Any] = {}
    names = [
        *pickles.FLEX.values(),
        "scitbx_array_family_flex_ext grid",
        "dials_array_family_flex_ext reflection_table",
    ]
    for full in names:
        module, name = full.split()
        classes[full] = _stub(module, name)
        monkeypatch.setitem(sys.modules, module, sys.modules.get(module) or types.ModuleType(module))
        setattr(sys.modules[module], name, classes[full])

    def make(columns: dict[str, Any], n_rows: int, protocol: int, as_text: bool) -> bytes:
        arrays = {}
        for name, (kind, values) in columns.items():
            grid = classes["scitbx_array_family_flex_ext grid"]((0,), (n_rows,), True)
            grid.state = (n_rows,)
            raw = pickles.column_bytes(values)
            arrays[name] = classes[pickles.FLEX[kind]]()
            arrays[name].state = (grid, raw.decode("latin-1") if as_text else raw)
        table = classes["dials_array_family_flex_ext reflection_table"]()
        table.state = (2, {0: "a", 7: "b"}, n_rows, len(arrays), arrays)
        return pickle.dumps(table, protocol)

    return make


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("as_text", [False, True])
def test_all_protocols_of_python_are_read(tmp_path: Path, pickled: Any, protocol: int, as_text: bool) -> None:
    columns = pickles.small_columns(20)
    table = read(tmp_path / "x.refl", pickled(columns, 20, protocol, as_text))
    assert_holds(table, columns)
    assert table.identifiers == {0: "a", 7: "b"}


def test_strings_that_python_2_wrote_in_protocol_0_are_read(tmp_path: Path) -> None:
    columns = {"d": ("double", np.array([0.1, -1234.5, 0.0]))}
    raw = pickles.column_bytes(columns["d"][1])
    quoted = b"S" + ascii(raw.decode("latin-1")).encode() + b"\n"
    assert b"\\x" in quoted
    whole = pickles.table_pickle(columns, 3).replace(pickles.string(raw), quoted)
    assert_holds(read(tmp_path / "x.refl", whole), columns)


def test_a_gzipped_pickle_is_read(tmp_path: Path) -> None:
    columns = pickles.small_columns(4)
    assert_holds(read(tmp_path / "x.refl", gzip.compress(pickles.table_pickle(columns, 4))), columns)


def test_shoeboxes_are_dropped_and_the_log_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = pickles.small_columns(2)
    raw = pickles.table_pickle({**columns, "shoebox": ("Shoebox<>", np.zeros(2, np.bool_))}, 2)
    with caplog.at_level(logging.INFO):
        table = read(tmp_path / "x.refl", raw)
    assert_holds(table, columns)
    assert "shoebox" in caplog.text


GRID = pickles.global_name("scitbx_array_family_flex_ext grid")


@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        (b"cos\nsystem\nU\x08touch me\x85R", "'os.system'"),
        (b"cposix\nsystem\nU\x08touch me\x85R", "'posix.system'"),
        (b"cbuiltins\neval\nU\x011\x85R", "'builtins.eval'"),
        (b"c__builtin__\neval\nU\x011\x85R", "'__builtin__.eval'"),
        (b"\x8c\x02os\x8c\x06system\x93\x8c\x08touch me\x85R", "'os.system'"),
        (b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93", "'os.system'"),
        (b"cscitbx_array_family_flex_ext\nexec\n", "exec"),
        (b"cscitbx_array_family_flex_ext.double\n__class__\n", "__class__"),
        (b"c_codecs\ndecode\n", "_codecs.decode"),
        (b"ca\nb\r\x1b[2J\n", r"a\.b\\r\\x1b"),
        (b"(ios\nsystem\n", "instruction 0x69"),
        (b"(cos\nsystem\no", "'os.system'"),
        (GRID + b")\x81", "instruction 0x81"),
        (b"\x82\x01", "instruction 0x82"),
        (b"P0\n", "instruction 0x50"),
        (b"U\x01aQ", "instruction 0x51"),
    ],
)
def test_nothing_but_the_names_of_flex_is_accepted_and_nothing_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instructions: bytes, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.refl"
    for raw in (pickles.table_of_state(instructions), pickles.START + b"0" + instructions + b"."):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=words) as caught:
            read_refl(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def _of_columns(items: bytes, n_rows: int = 1, n_columns: int = 1) -> bytes:
    state = b"(" + pickles.number(1) + pickles.number(n_rows) + pickles.number(n_columns) + b"}(" + items + b"ut"
    return pickles.table_of_state(state)


def _doubling_tuples(n: int) -> bytes:
    """A tuple of tuples of ... that is small, but takes 2^n steps to walk, print or hash."""
    steps = [b")q\x00"] + [b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(n)]
    return b"0".join(steps)


def _shared_bytes() -> bytes:
    """A file whose columns all refer to the same bytes."""
    raw = pickles.column_bytes(np.zeros(20000))
    kind = "scitbx_array_family_flex_ext double"
    first = pickles.text("c") + pickles.flex_array(kind, 20000, raw).replace(raw + b"\x86b", raw + b"q\x05\x86b")
    grid = GRID + b"(N\x85t" + b"R"
    more = [pickles.text(f"c{i}") + pickles.global_name(kind) + b")R" + grid + b"h\x05\x86b" for i in range(2000)]
    return _of_columns(first + b"".join(more), 20000, 2001)


def _many_rows() -> bytes:
    """A table and a column that both say to have 2^40 rows."""
    kind = "scitbx_array_family_flex_ext double"
    raw = _of_columns(pickles.text("d") + pickles.flex_array(kind, 1, pickles.integer(2**40) + b"\0"), 77)
    return raw.replace(pickles.number(77), b"\x8a\x06" + b"\0" * 5 + b"\x01")


HOSTILE = {
    "long string": pickles.START + b"T\xff\xff\xff\x7f",
    "negative string": pickles.START + b"T\xff\xff\xff\xff",
    "long bytes": pickles.START + b"\x8e" + b"\xff" * 8,
    "long text": pickles.START + b"\x8d" + b"\xff" * 8,
    "long integer": pickles.START + b"\x8b\xff\xff\xff\x7f",
    "integer of many digits": pickles.START + b"L" + b"9" * 200_000 + b"L\n",
    "large memo": _of_columns(b"U\x01aNr\xff\xff\xff\xff"),
    "key of nested tuples": pickles.START + b"}" + _doubling_tuples(200) + b"Nsb.",
    "state of nested tuples": pickles.START + _doubling_tuples(200) + b"b.",
    "column of nested tuples": _of_columns(b"U\x01a" + _doubling_tuples(200)),
    "identifiers of nested tuples": pickles.table_of_state(
        b"(K\x02}K\x00" + _doubling_tuples(200) + b"sK\x00K\x00}t",
    ),
    "list in itself": pickles.table_of_state(b"]q\x00h\x00a"),
    "dictionary in itself": pickles.table_of_state(b"(K\x01K\x00K\x01}q\x00U\x01ah\x00st"),
    "many instructions": pickles.START + b"N0" * 15_000 + b".",
    "deep stack": pickles.START + b"(" * 30_000 + b".",
    "shared bytes": _shared_bytes(),
    "many rows": _many_rows(),
    "negative rows": _of_columns(b"", -1, 0),
    "rows without columns": _of_columns(b"", 5, 0),
    "one column missing": _of_columns(b"", 0, 1),
    "text as column": _of_columns(b"U\x01aU\x01b"),
    "grid as column": _of_columns(b"U\x01a" + GRID + b")R"),
    "number as name": _of_columns(b"K\x05" + pickles.flex_array("scitbx_array_family_flex_ext int", 0, b"\0"), 0),
    "long name": _of_columns(b"X\x00\x02\x00\x00" + b"a" * 512 + b"N"),
    "column twice": _of_columns(b"U\x01aNU\x01aN"),
    "state twice": pickles.START + b"NbNb.",
    "flex as table": pickles.global_name("scitbx_array_family_flex_ext int").join([b"\x80\x02", b")R."]),
    "number as table": b"\x80\x02K\x05.",
    "no state": pickles.START + b".",
    "unknown version": pickles.table_of_state(b"(K\x03}K\x00K\x00}t"),
    "unknown protocol": b"\x80\x09" + pickles.START[2:],
    "bytes left": pickles.table_pickle({}, 0) + b"x",
    "stack left": pickles.START[:2] + b"N" + pickles.table_pickle({}, 0)[2:],
    "mark for a value": pickles.START + b"(b.",
    "no mark": pickles.START + b"t.",
    "unread memo": pickles.START + b"h\x63b.",
    "no line end": pickles.START + b"c" + b"a" * 1000,
    "bad escape": pickles.START + b"S'\\z'\nb.",
    "bad quotes": pickles.START + b"S'\nb.",
    "bad UTF-8": pickles.START + b"X\x01\x00\x00\x00\xffb.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_in_one_line_without_time_or_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("pyscale.io.pickle_reader._MAX_INSTRUCTIONS", 25_000)
    path = tmp_path / "x.refl"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    begin = time.monotonic()
    try:
        with pytest.raises(DataError) as caught:
            read_refl(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.monotonic() - begin < 20.0
    assert peak < 40 * len(HOSTILE[name]) + 2_000_000
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 600


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("0201 02", "cut off"),
        ("0201 0203 00", "bytes are left"),
        ("0202 0203 00", "2 rows instead of 1"),
        ("0201 0a 01 02 03 04 05 06 07 08 09", "no possible length"),
        ("0201 8201", "negative number"),
        ("0201 01", "no possible length"),
    ],
)
def test_columns_that_are_not_what_they_say_are_refused(tmp_path: Path, raw: str, words: str) -> None:
    array = pickles.flex_array("scitbx_array_family_flex_ext size_t", 1, HEX(raw.replace(" ", "")))
    with pytest.raises(DataError, match=f"column 'flags': .*{words}"):
        read(tmp_path / "x.refl", _of_columns(pickles.text("flags") + array))


@pytest.mark.parametrize(("value", "words"), [(2**31, "too large"), (-(2**31) - 1, "too large")])
def test_integers_that_do_not_fit_their_column_are_refused(value: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decoded("int32", pickles.integer(1) + pickles.integer(value), 1)


def test_a_number_beyond_the_largest_double_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        decoded("doubles", HEX("0201" + "0280" + "030104"), 1)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.refl"
    whole = pickles.table_pickle(pickles.small_columns(2), 2, {0: "0"})
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(DataError) as caught:
            read_refl(path)
        assert "\n" not in str(caught.value)
    assert len(read(path, whole)) == 2


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_pickles_are_refused_or_read_but_never_break(tmp_path: Path, data: st.DataObject) -> None:
    whole = bytearray(pickles.table_pickle(pickles.small_columns(2), 2, {0: "0"}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "x.refl"
    path.write_bytes(bytes(whole))
    try:
        table = read_refl(path)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert all(len(table[name]) == 2 for name in table.names())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=st.lists(st.sampled_from([bytes([c]) for c in b"(0N)}]tdlsuaebRK\x85\x86\x87\x88\x94h\x00q\x01U."])))
def test_arbitrary_programs_are_refused(tmp_path: Path, program: list[bytes]) -> None:
    path = tmp_path / "x.refl"
    path.write_bytes(pickles.START + b"".join(program))
    with pytest.raises(DataError):
        read_refl(path)


def test_a_million_rows_take_less_than_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    block = b"".join(map(pickles.double, rng.normal(size=3000)))
    raw = pickles.integer(1_000_000) + block * 1000
    array = pickles.flex_array("scitbx_array_family_flex_ext vec3_double", 1_000_000, raw)
    path = tmp_path / "x.refl"
    path.write_bytes(_of_columns(pickles.text("s1") + array, 1_000_000))
    begin = time.monotonic()
    assert read_refl(path)["s1"].shape == (1_000_000, 3)
    assert time.monotonic() - begin < 10.0


@pytest.mark.data
@pytest.mark.parametrize("name", ["20_integrated", "25_integrated"])
def test_row_O17_pickles_of_2019_hold_the_same_as_their_msgpack_form(data_root: Path, name: str) -> None:
    old = read_refl(data_root / "l_cysteine_legacy" / f"{name}.pickle")
    new = read_refl(data_root / "l_cysteine" / f"{name}.refl")
    assert len(old) == len(new) > 4000
    # The boxes of the pixels, and they alone, were not kept when the pixels were taken out of the msgpack form.
    assert set(old.names()) ^ set(new.names()) <= {"bbox"}
    for column in set(old.names()) & set(new.names()):
        assert old.dials_type(column) == new.dials_type(column)
        assert_array_equal(old[column], new[column], err_msg=column)


@pytest.mark.data
def test_row_O17_a_pickle_under_the_name_refl_is_written_as_msgpack(data_root: Path, tmp_path: Path) -> None:
    old = read_refl(data_root / "l_cysteine_legacy" / "scaled_30.refl")
    assert old.identifiers == {0: "2"}
    write_refl(old, tmp_path / "new.refl")
    assert (tmp_path / "new.refl").read_bytes()[:2] == b"\x93\xbb"
    new = read_refl(tmp_path / "new.refl")
    assert new.identifiers == old.identifiers and new.names() == old.names()
    for column in old.names():
        assert_array_equal(old[column], new[column], err_msg=column)


WRITE_WITH_DIALS = """
import pickle, sys
from dials.array_family import flex
n = 50
t = flex.reflection_table()
t["d"] = flex.random_double(n) - 0.5
t["id"] = flex.int(range(-1, n - 1))
t["flags"] = flex.size_t(range(0, 1000 * n, 1000))
t["entering"] = flex.random_bool(n, 0.5)
t["s1"] = flex.vec3_double(flex.random_double(n), flex.random_double(n), -flex.random_double(n))
t["v2"] = flex.vec2_double(flex.random_double(n), flex.random_double(n))
t["m"] = flex.mat3_double([tuple(flex.random_double(9)) for _ in range(n)])
t["miller_index"] = flex.miller_index([(i, -i * i, 7 * i) for i in range(n)])
t["bbox"] = flex.int6([(i, i + 5, -i, 300 * i, 0, 70000) for i in range(n)])
t.experiment_identifiers()[0] = "first"
t.as_msgpack_file(sys.argv[1] + "/new.refl")
t.as_pickle(sys.argv[1] + "/default.pickle")
for protocol in range(6):
    with open(f"{sys.argv[1]}/{protocol}.pickle", "wb") as file:
        pickle.dump(t, file, protocol)
"""


def test_row_O17_pickles_of_dials_hold_the_same_as_its_msgpack_files(tmp_path: Path, require_dials: Path) -> None:
    interpreter = require_dials.joinpath("dials.scale").read_text().splitlines()[0].removeprefix("#!").split()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    command = [*interpreter, "-c", WRITE_WITH_DIALS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    new = read_refl(tmp_path / "new.refl")
    for name in ("default", *map(str, range(6))):
        old = read_refl(tmp_path / f"{name}.pickle")
        assert old.names() == new.names() and old.identifiers == new.identifiers
        for column in new.names():
            assert_array_equal(old[column], new[column], err_msg=f"{name}: {column}")


def test_pickles_and_experiments_are_told_apart_by_content(tmp_path: Path) -> None:
    columns = {"id": ("int", np.zeros(2, np.int32)), "d": ("double", np.ones(2))}
    (tmp_path / "x.json").write_bytes(pickles.table_pickle(columns, 2))
    (tmp_path / "x.refl").write_text('{"experiment": [{}]}')
    job = pyscale.read(tmp_path / "x.json", tmp_path / "x.refl")
    assert job.identifiers == ["0"] and len(job.data_sets[0].reflections) == 2
