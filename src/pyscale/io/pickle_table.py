"""Reflection tables in the pickles of DIALS before 2020 (`.pickle`, or `.refl` all the same): read, never written."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..reflections import COLUMN_TYPES, ColumnType, ReflectionTable
from ..typing import ByteArray
from .pickle_reader import Buffer, PickledObject, PickleError, PickleReader

__all__ = ["PICKLE_STARTS", "is_pickle", "parse_pickle"]

_logger = logging.getLogger(__name__)

_TABLE = "dials_array_family_flex_ext.reflection_table"
_GRID = "scitbx_array_family_flex_ext.grid"
_ENCODE = "_codecs.encode"
_COLUMNS: Mapping[str, str] = {
    "scitbx_array_family_flex_ext.bool": "bool",
    "scitbx_array_family_flex_ext.int": "int",
    "scitbx_array_family_flex_ext.size_t": "std::size_t",
    "scitbx_array_family_flex_ext.double": "double",
    "scitbx_array_family_flex_ext.vec2_double": "vec2<double>",
    "scitbx_array_family_flex_ext.vec3_double": "vec3<double>",
    "scitbx_array_family_flex_ext.mat3_double": "mat3<double>",
    "cctbx_array_family_flex_ext.miller_index": "cctbx::miller::index<>",
    "dials_array_family_flex_ext.int6": "int6",
}
_DROPPED = ("dials_array_family_flex_ext.shoebox", "scitbx_array_family_flex_ext.std_string")
_KNOWN = frozenset({_TABLE, _GRID, _ENCODE, *_COLUMNS, *_DROPPED})
_TEXT_START = b"cdials_array_family_flex_ext\nreflection_table\n"

PICKLE_STARTS = (b"\x80", _TEXT_START)
"""First bytes of a pickled table, of protocol 2 and later, and 0 and 1."""


def is_pickle(start: bytes) -> bool:
    """Whether bytes are the start of a pickled reflection table; give at least 64 where there are as many."""
    return start.startswith(PICKLE_STARTS)


def parse_pickle(buffer: Buffer, source: str) -> ReflectionTable:
    """Read a pickled reflection table, without unpickling: nothing in it is run.

    Shoeboxes and strings are dropped; a number that was not finite is NaN.

    Parameters
    ----------
    buffer
        The file's bytes.
    source
        Its name, for messages.

    Raises
    ------
    PickleError
        If it is truncated or corrupt, or holds anything but a reflection table.
    """
    return _TableParser(len(buffer), source).table(PickleReader(buffer, _KNOWN).read())


class _TableParser:
    """Makes the table of what was read.

    Columns may refer to the same bytes, which then are decoded again: `_budget` keeps all of them together from being
    larger than the file.
    """

    def __init__(self, n_bytes: int, source: str) -> None:
        self._budget = n_bytes
        self._source = source

    def table(self, value: Any) -> ReflectionTable:
        if not isinstance(value, PickledObject) or value.class_name != _TABLE:
            raise PickleError("it holds something that is no reflection table")
        identifiers, n_rows, columns = _state(value.state)
        table = ReflectionTable(identifiers=identifiers, source=self._source)
        dropped = []
        for name, column in columns.items():
            if not isinstance(name, str):
                raise PickleError(f"column {name!r} has no name")
            if isinstance(column, PickledObject) and column.class_name in _DROPPED:
                dropped.append(name)
            else:
                self._add(table, name, column, n_rows)
        if dropped:
            _logger.info("%s: %s: shoeboxes and strings of pickles are not read", self._source, ", ".join(dropped))
        if n_rows and not table.names():
            raise PickleError(f"{n_rows} rows, but no column")
        return table

    def _add(self, table: ReflectionTable, name: str, column: Any, n_rows: int) -> None:
        dials_type = _COLUMNS.get(column.class_name) if isinstance(column, PickledObject) else None
        if dials_type is None:
            raise PickleError(f"column {name!r} is no array")
        try:
            values = _decode(self._data(column.state), COLUMN_TYPES[dials_type], n_rows)
        except ValueError as error:
            raise PickleError(f"column {name!r}: {error}") from None
        table.set(name, values, dials_type)

    def _data(self, state: Any) -> ByteArray:
        """Bytes of a column whose state is a grid and bytes."""
        if not isinstance(state, tuple) or len(state) != 2 or not _is_object(state[0], _GRID):
            raise PickleError("its state is not a grid and bytes")
        data = state[1]
        if _is_object(data, _ENCODE):
            text, *encoding = data.arguments
            if not isinstance(text, str) or encoding not in (["latin1"], ["latin-1"]):
                raise PickleError("its bytes are not text in latin-1")
            data = text
        if not isinstance(data, str | memoryview):
            raise PickleError("its state is not a grid and bytes")
        self._budget -= len(data)
        if self._budget < 0:
            raise PickleError("the columns together are larger than the file")
        return np.frombuffer(_latin_1(data) if isinstance(data, str) else data, np.uint8)


def _latin_1(text: str) -> bytes:
    try:
        return codecs.encode(text, "latin-1")
    except UnicodeEncodeError:
        raise PickleError("its bytes are not text in latin-1") from None


def _is_object(value: Any, class_name: str) -> bool:
    return isinstance(value, PickledObject) and value.class_name == class_name


def _state(state: Any) -> tuple[dict[int, str], int, dict[Any, Any]]:
    """Identifiers, number of rows, and columns, of state (1, rows, columns, {}) or (2, identifiers, rows, ...)."""
    items = list(state) if isinstance(state, tuple) else []
    identifiers: Any = items.pop(1) if len(items) == 5 and items[0] == 2 else {}
    if len(items) != 4 or items[0] not in (1, 2) or (items[0] == 2) != (len(state) == 5):
        raise PickleError("it is a reflection table of an unknown version")
    _, n_rows, n_columns, columns = items
    if type(n_rows) is not int or n_rows < 0 or not isinstance(columns, dict) or len(columns) != n_columns:
        raise PickleError("the numbers of rows and columns are not those of the table")
    if not isinstance(identifiers, dict):
        raise PickleError("the identifiers are no dictionary")
    return {_number(k): _text(v) for k, v in identifiers.items()}, n_rows, columns


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise PickleError(f"{value!r} is no number of a data set")
    return value


def _text(value: Any) -> str:
    if isinstance(value, memoryview):
        return codecs.decode(value, "latin-1")
    if not isinstance(value, str):
        raise PickleError("an identifier is not text")
    return value


def _decode(data: ByteArray, kind: ColumnType, n_rows: int) -> NDArray[Any]:
    width = max(kind.width, 1)
    if kind.dtype == np.bool_:
        return _core.read_flex_bools(data, n_rows).view(np.bool_)
    if kind.name == "std::size_t":
        return _core.read_flex_uint64(data, n_rows)
    read = _core.read_flex_int32 if kind.dtype.kind == "i" else _core.read_flex_doubles
    return read(data, n_rows, width).reshape(n_rows, *kind.row_shape)
