"""Reflection tables: named columns over numpy arrays, and the flag bits of DIALS."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .column_types import COLUMN_TYPES, ColumnType
from .data_frames import ColumnSource, flat_columns, html_table
from .errors import DataError
from .flags import Flag
from .shared_columns import SharedColumns, joined_columns
from .typing import FloatArray, IndexArray
from .variable_length import VariableLengthColumn

__all__ = ["COLUMN_TYPES", "ColumnType", "Flag", "OpaqueColumn", "ReflectionTable"]

_logger = logging.getLogger(__name__)


_TYPE_OF = {(t.dtype, t.row_shape): t.name for t in COLUMN_TYPES.values()}


@dataclass(frozen=True)
class OpaqueColumn:
    """A column that is passed through undecoded.

    Attributes
    ----------
    dials_type : str
        `Shoebox<>` or `std::string`.
    rows : VariableLengthColumn
        The bytes as they stand on file, row after row.
    version : int
        Version of the file they came from: 2 may hold shoebox masks of one byte per pixel, 1 never does.
    """

    dials_type: str
    rows: VariableLengthColumn
    version: int = 1

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> OpaqueColumn:
        """Return consecutive rows; ValueError if the rows cannot be told apart."""
        return self.take(np.arange(start, stop, dtype=np.int64))

    def take(self, rows: IndexArray) -> OpaqueColumn:
        """Return the rows of the given numbers; ValueError if the rows cannot be told apart."""
        return OpaqueColumn(self.dials_type, self.rows.take(rows), self.version)


@dataclass(frozen=True)
class _Column:
    dials_type: str
    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)

    def part(self, start: int, stop: int) -> _Column:
        return _Column(self.dials_type, np.ascontiguousarray(self.values[start:stop]))

    def take(self, rows: IndexArray) -> _Column:
        return _Column(self.dials_type, self.values.take(rows, axis=0))


_AnyColumn: TypeAlias = "_Column | OpaqueColumn"


class ReflectionTable(ColumnSource):
    """Named columns of equal length.

    Columns read from a file are read-only views of its bytes: not copied, and not necessarily aligned in
    memory (`numpy.require(column, requirements="A")` gives an aligned array where compiled code needs one).
    Assign a new array to change a column.

    Consecutive rows of a table (`select` with a slice, `copy`) share its columns, and cut them only when asked for: a
    table can be split into very many.

    Parameters
    ----------
    identifiers
        Identifier of each data set, by the number in the column `id`.
    source
        The file that the table came from, for messages.
    """

    def __init__(self, *, identifiers: Mapping[int, str] | None = None, source: str = "") -> None:
        self._shared: SharedColumns[_AnyColumn] = SharedColumns()
        self.identifiers: dict[int, str] = dict(identifiers or {})
        self.source = source
        self._origin: tuple[IndexArray, range] | None = None

    def _sharing(self, columns: SharedColumns[_AnyColumn]) -> ReflectionTable:
        table = ReflectionTable(identifiers=self.identifiers, source=self.source)
        table._shared = columns
        return table

    @property
    def input_row(self) -> IndexArray | None:
        """Row of the job's input that each row came from, shape (n,), int64; `select` keeps it up to date."""
        if self._origin is None:
            return None
        rows, part = self._origin
        return rows[part.start : part.stop]

    @input_row.setter
    def input_row(self, rows: IndexArray | None) -> None:
        self._origin = None if rows is None else (rows, range(len(rows)))

    def __len__(self) -> int:
        return self._shared.n_rows

    def __contains__(self, name: object) -> bool:
        return name in self._shared

    def __repr__(self) -> str:
        return f"ReflectionTable({len(self)} rows, {len(self.names())} columns, source={self.source!r})"

    def _repr_html_(self) -> str:
        return html_table(["column", "type"], self.types().items(), repr(self))

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Return all columns but the undecoded ones, each (n,): `h`, `k`, `l`, `s1.0`, ... of those with several."""
        return flat_columns({name: self[name] for name in self.names() if self.opaque(name) is None})

    def __getitem__(self, name: str) -> NDArray[Any]:
        column = self._shared[name]
        if isinstance(column, OpaqueColumn):
            raise DataError(f"{self._where}: column '{name}' ({column.dials_type}) is kept undecoded")
        return column.values

    def __setitem__(self, name: str, array: ArrayLike) -> None:
        values = np.asarray(array)
        dials_type = _TYPE_OF.get((values.dtype.newbyteorder("<"), values.shape[1:])) if values.ndim else None
        if dials_type is None:
            raise ValueError(
                f"column '{name}': no DIALS column type for dtype {values.dtype}, shape {values.shape}; "
                "possible are (n,) bool, int32, uint64, float64; (n, 2|3|9) float64; (n, 3|6) int32"
            )
        self.set(name, values, dials_type)

    def __delitem__(self, name: str) -> None:
        del self._shared[name]

    @property
    def _where(self) -> str:
        return self.source or "reflection table"

    def set(self, name: str, array: ArrayLike, dials_type: str) -> None:
        """Add or replace a column of a named DIALS type.

        Raises
        ------
        ValueError
            If the type is unknown, or the array has another dtype, row shape or length.
        """
        if dials_type not in COLUMN_TYPES:
            raise ValueError(f"column '{name}': unknown type '{dials_type}'; known are {', '.join(COLUMN_TYPES)}")
        kind = COLUMN_TYPES[dials_type]
        values = np.asarray(array)
        if values.dtype.newbyteorder("<") != kind.dtype or values.ndim == 0 or values.shape[1:] != kind.row_shape:
            raise ValueError(
                f"column '{name}' ({dials_type}) needs dtype {kind.dtype}, shape {('n', *kind.row_shape)}, "
                f"got {values.dtype} and {values.shape}"
            )
        self._check_length(name, len(values))
        values = np.ascontiguousarray(values, dtype=kind.dtype.newbyteorder("="))
        self._shared[name] = _Column(dials_type, values)

    def set_opaque(self, name: str, column: OpaqueColumn) -> None:
        """Add or replace a column that is passed through undecoded.

        Raises
        ------
        ValueError
            If its number of rows differs from the table's.
        """
        self._check_length(name, len(column.rows))
        self._shared[name] = column

    def _check_length(self, name: str, n: int) -> None:
        if n != len(self) and self._shared.has_others(name):
            raise ValueError(f"column '{name}' has {n} rows, the table {len(self)}")

    def names(self) -> list[str]:
        """Names of all columns, in alphabetical order."""
        return sorted(self._shared.names())

    def types(self) -> dict[str, str]:
        """Name of each column's type on file."""
        return {name: self._shared.whole(name).dials_type for name in self.names()}

    def follows(self, previous: ReflectionTable) -> bool:
        """Whether the rows follow those of another in the same columns, so that joining the two costs nothing."""
        return self._shared.follows(previous._shared)

    def get(self, name: str) -> NDArray[Any] | None:
        """Return a column, or None if the table has none of this name."""
        return self[name] if name in self._shared else None

    def centroids(self) -> FloatArray:
        """Copy of the `centroid_column`."""
        return np.array(self.centroid_column(), dtype=np.float64)

    def centroid_column(self) -> FloatArray:
        """Centroid of each row in pixels and array coordinate, observed or else predicted, (n, 3) float64.

        Raises
        ------
        DataError
            If the table has neither.
        """
        for name in ("xyzobs.px.value", "xyzcal.px"):
            centroid = self.get(name)
            if centroid is not None:
                return centroid
        raise DataError(f"{self.source}: columns 'xyzobs.px.value' and 'xyzcal.px' are missing")

    def require(self, name: str) -> NDArray[Any]:
        """Return a column.

        Raises
        ------
        DataError
            If the table has none of this name.
        """
        if name not in self._shared:
            raise DataError(f"{self._where}: column '{name}' is missing")
        return self[name]

    def dials_type(self, name: str) -> str:
        """Return the name of a column's type on file."""
        return self._shared.whole(name).dials_type

    def opaque(self, name: str) -> OpaqueColumn | None:
        """Return the column if it is one that is passed through undecoded, else None."""
        if name not in self._shared or not isinstance(self._shared.whole(name), OpaqueColumn):
            return None
        column = self._column(name)
        return column if isinstance(column, OpaqueColumn) else None

    def _column(self, name: str) -> _AnyColumn:
        try:
            return self._shared[name]
        except ValueError as error:
            raise DataError(f"{self._where}: column '{name}': {error}") from None

    def copy(self) -> ReflectionTable:
        """Return a table of the same arrays, not copied; replacing its columns leaves this one alone."""
        table = self._sharing(self._shared.copy())
        table._origin = self._origin
        return table

    def select(self, rows: ArrayLike | slice) -> ReflectionTable:
        """Return the table of some rows.

        Parameters
        ----------
        rows
            A mask, bool of shape (n,); row numbers, integers of shape (m,); or a slice (copies nothing).

        Raises
        ------
        ValueError, IndexError
            If the mask has another length, or a row does not exist.
        DataError
            If the elements of an undecoded column cannot be told apart (a corrupt shoebox).
        """
        if isinstance(rows, slice):
            part = range(len(self))[rows]
            return self._part(part) if part.step == 1 else self.select(np.arange(len(self))[rows])
        index = _row_numbers(rows, len(self))
        table = self._sharing(SharedColumns())
        for name in self._shared.names():
            column = self._column(name)
            try:
                table._shared[name] = column.take(index)
            except ValueError as error:
                raise DataError(f"{self._where}: column '{name}': {error}") from None
        if self.input_row is not None:
            table.input_row = self.input_row.take(index)
        return table

    def _part(self, rows: range) -> ReflectionTable:
        start, stop = rows.start, max(rows.start, rows.stop)
        table = self._sharing(self._shared.part(start, stop))
        if self._origin is not None:
            table._origin = self._origin[0], self._origin[1][start:stop]
        return table

    @classmethod
    def concatenate(cls, tables: Sequence[ReflectionTable]) -> ReflectionTable:
        """Return all rows of some tables, in order.

        A column that some table lacks is dropped, with a warning in the log. Identifiers are joined.

        Raises
        ------
        DataError
            If a column has different types, or a number in `id` belongs to different identifiers.
        """
        result = cls(source=_common(t.source for t in tables) or "")
        if not tables:
            return result
        for table in tables:
            _join_identifiers(result, table)
        if len(tables) == 1:
            result._shared, result._origin = tables[0]._shared.copy(), tables[0]._origin
            return result
        columns, dropped = joined_columns([t._shared for t in tables], lambda name: _join_columns(name, tables))
        for name in dropped:
            lacking = next(t for t in tables if name not in t)
            _logger.warning("Column '%s' is dropped: %s has none.", name, lacking._where)
        result._shared = columns
        result._origin = _joined_origin(tables)
        return result


def _joined_origin(tables: Sequence[ReflectionTable]) -> tuple[IndexArray, range] | None:
    origins = [t._origin for t in tables if t._origin is not None]
    if len(origins) < len(tables):
        return None
    (whole, first), (_, last) = origins[0], origins[-1]
    follow = all(a[1].stop == b[1].start for a, b in pairwise(origins))
    if follow and all(rows is whole for rows, _ in origins):
        return whole, range(first.start, last.stop)
    rows = np.concatenate([rows[part.start : part.stop] for rows, part in origins])
    return rows, range(len(rows))


def _row_numbers(rows: ArrayLike, n: int) -> IndexArray:
    array = np.asarray(rows)
    if array.dtype == np.bool_:
        if array.shape != (n,):
            raise ValueError(f"the mask has shape {array.shape}, the table {n} rows")
        return np.flatnonzero(array).astype(np.int64, copy=False)
    if array.ndim != 1 or not (array.size == 0 or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"rows must be a mask or integers of shape (m,), got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64, copy=False)


def _common(values: Iterable[str]) -> str | None:
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _join_identifiers(result: ReflectionTable, table: ReflectionTable) -> None:
    for number, identifier in table.identifiers.items():
        known = result.identifiers.setdefault(number, identifier)
        if known != identifier:
            raise DataError(f"{table._where}: id {number} is data set '{identifier}', but '{known}' in another table")


def _join_columns(name: str, tables: Sequence[ReflectionTable]) -> _AnyColumn:
    columns = [t._column(name) for t in tables]
    dials_type = _common(c.dials_type for c in columns)
    if dials_type is None:
        found = sorted({c.dials_type for c in columns})
        raise DataError(f"column '{name}' has different types in the tables to join: {', '.join(found)}")
    opaque = [c for c in columns if isinstance(c, OpaqueColumn)]
    if opaque:
        rows = VariableLengthColumn.concatenate([c.rows for c in opaque])
        return OpaqueColumn(dials_type, rows, max(c.version for c in opaque))
    return _Column(dials_type, np.concatenate([c.values for c in columns if isinstance(c, _Column)]))
