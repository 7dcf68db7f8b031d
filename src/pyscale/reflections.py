"""Reflection tables: named columns over numpy arrays, and the flag bits of DIALS."""

from __future__ import annotations

import enum
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError
from .typing import FloatArray, IndexArray
from .variable_length import VariableLengthColumn

__all__ = ["COLUMN_TYPES", "ColumnType", "Flag", "OpaqueColumn", "ReflectionTable"]

_logger = logging.getLogger(__name__)


class Flag(enum.IntFlag):
    """Bits of the column `flags`, by the names that DIALS gives them."""

    predicted = 1 << 0
    observed = 1 << 1
    indexed = 1 << 2
    used_in_refinement = 1 << 3
    strong = 1 << 5
    reference_spot = 1 << 6
    dont_integrate = 1 << 7
    integrated_sum = 1 << 8
    integrated_prf = 1 << 9
    overloaded = 1 << 10
    overlapped_bg = 1 << 11
    overlapped_fg = 1 << 12
    in_powder_ring = 1 << 13
    foreground_includes_bad_pixels = 1 << 14
    background_includes_bad_pixels = 1 << 15
    used_in_modelling = 1 << 16
    centroid_outlier = 1 << 17
    failed_during_background_modelling = 1 << 18
    failed_during_summation = 1 << 19
    failed_during_profile_fitting = 1 << 20
    bad_reference = 1 << 21
    user_excluded_in_scaling = 1 << 22
    outlier_in_scaling = 1 << 23
    excluded_for_scaling = 1 << 24
    excluded_for_refinement = 1 << 25
    scaled = 1 << 26
    not_suitable_for_refinement = 1 << 27

    integrated = integrated_sum | integrated_prf
    bad_for_scaling = user_excluded_in_scaling | outlier_in_scaling | excluded_for_scaling
    bad_for_refinement = centroid_outlier | excluded_for_refinement | not_suitable_for_refinement
    includes_bad_pixels = foreground_includes_bad_pixels | background_includes_bad_pixels
    bad_shoebox = overloaded | overlapped_bg | overlapped_fg | in_powder_ring | includes_bad_pixels


@dataclass(frozen=True)
class ColumnType:
    """A column type of DIALS: its name on file, dtype, and how many elements make a row (0: a scalar)."""

    name: str
    dtype: np.dtype[Any]
    width: int = 0

    @property
    def row_size(self) -> int:
        """Bytes per row."""
        return self.dtype.itemsize * max(self.width, 1)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row: () or (width,)."""
        return (self.width,) if self.width else ()


COLUMN_TYPES: Mapping[str, ColumnType] = {
    t.name: t
    for t in (
        ColumnType("bool", np.dtype(np.bool_)),
        ColumnType("int", np.dtype("<i4")),
        ColumnType("std::size_t", np.dtype("<u8")),
        ColumnType("double", np.dtype("<f8")),
        ColumnType("vec2<double>", np.dtype("<f8"), 2),
        ColumnType("vec3<double>", np.dtype("<f8"), 3),
        ColumnType("mat3<double>", np.dtype("<f8"), 9),
        ColumnType("int6", np.dtype("<i4"), 6),
        ColumnType("cctbx::miller::index<>", np.dtype("<i4"), 3),
    )
}
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


@dataclass(frozen=True)
class _Column:
    dials_type: str
    values: NDArray[Any]


_AnyColumn: TypeAlias = "_Column | OpaqueColumn"


class ReflectionTable:
    """Named columns of equal length.

    Columns read from a file are read-only views of its bytes: not copied, and not necessarily aligned in
    memory (`numpy.require(column, requirements="A")` gives an aligned array where compiled code needs one).
    Assign a new array to change a column.

    Parameters
    ----------
    identifiers
        Identifier of each data set, by the number in the column `id`.
    source
        The file that the table came from, for messages.
    """

    def __init__(self, *, identifiers: Mapping[int, str] | None = None, source: str = "") -> None:
        self._columns: dict[str, _AnyColumn] = {}
        self.identifiers: dict[int, str] = dict(identifiers or {})
        self.source = source
        self.input_row: IndexArray | None = None
        """Row of the job's input that each row came from, shape (n,), int64; `select` keeps it up to date."""

    def __len__(self) -> int:
        for column in self._columns.values():
            return len(column.values if isinstance(column, _Column) else column.rows)
        return 0

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __repr__(self) -> str:
        return f"ReflectionTable({len(self)} rows, {len(self._columns)} columns, source={self.source!r})"

    def __getitem__(self, name: str) -> NDArray[Any]:
        column = self._columns[name]
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
        del self._columns[name]

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
        self._columns[name] = _Column(dials_type, values)

    def set_opaque(self, name: str, column: OpaqueColumn) -> None:
        """Add or replace a column that is passed through undecoded.

        Raises
        ------
        ValueError
            If its number of rows differs from the table's.
        """
        self._check_length(name, len(column.rows))
        self._columns[name] = column

    def _check_length(self, name: str, n: int) -> None:
        others = self._columns.keys() - {name}
        if others and n != len(self):
            raise ValueError(f"column '{name}' has {n} rows, the table {len(self)}")

    def names(self) -> list[str]:
        """Names of all columns, in alphabetical order."""
        return sorted(self._columns)

    def get(self, name: str) -> NDArray[Any] | None:
        """Return a column, or None if the table has none of this name."""
        return self[name] if name in self._columns else None

    def centroids(self) -> FloatArray:
        """Centroid of each row in pixels and array coordinate, observed or else predicted, (n, 3) float64.

        Raises
        ------
        DataError
            If the table has neither.
        """
        for name in ("xyzobs.px.value", "xyzcal.px"):
            centroid = self.get(name)
            if centroid is not None:
                return np.array(centroid, dtype=np.float64)
        raise DataError(f"{self.source}: columns 'xyzobs.px.value' and 'xyzcal.px' are missing")

    def require(self, name: str) -> NDArray[Any]:
        """Return a column.

        Raises
        ------
        DataError
            If the table has none of this name.
        """
        if name not in self._columns:
            raise DataError(f"{self._where}: column '{name}' is missing")
        return self[name]

    def dials_type(self, name: str) -> str:
        """Return the name of a column's type on file."""
        return self._columns[name].dials_type

    def opaque(self, name: str) -> OpaqueColumn | None:
        """Return the column if it is one that is passed through undecoded, else None."""
        column = self._columns.get(name)
        return column if isinstance(column, OpaqueColumn) else None

    def copy(self) -> ReflectionTable:
        """Return a table of the same arrays, not copied; replacing its columns leaves this one alone."""
        table = ReflectionTable(identifiers=self.identifiers, source=self.source)
        table._columns = dict(self._columns)
        table.input_row = self.input_row
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
        index: slice | IndexArray = rows if isinstance(rows, slice) else _row_numbers(rows, len(self))
        table = ReflectionTable(identifiers=self.identifiers, source=self.source)
        for name, column in self._columns.items():
            if isinstance(column, _Column):
                table._columns[name] = _Column(column.dials_type, _take(column.values, index))
                continue
            try:
                selected = column.rows.take(np.arange(len(self))[index] if isinstance(index, slice) else index)
            except ValueError as error:
                raise DataError(f"{self._where}: column '{name}': {error}") from None
            table._columns[name] = OpaqueColumn(column.dials_type, selected, column.version)
        if self.input_row is not None:
            table.input_row = _take(self.input_row, index)
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
        kept = set.intersection(*(set(t._columns) for t in tables))
        for name in sorted(set().union(*(t._columns for t in tables)) - kept):
            lacking = next(t for t in tables if name not in t)
            _logger.warning("Column '%s' is dropped: %s has none.", name, lacking._where)
        for name in sorted(kept):
            result._columns[name] = _join_columns(name, tables)
        if all(t.input_row is not None for t in tables):
            result.input_row = np.concatenate([t.input_row for t in tables if t.input_row is not None])
        return result


def _row_numbers(rows: ArrayLike, n: int) -> IndexArray:
    array = np.asarray(rows)
    if array.dtype == np.bool_:
        if array.shape != (n,):
            raise ValueError(f"the mask has shape {array.shape}, the table {n} rows")
        return np.flatnonzero(array).astype(np.int64, copy=False)
    if array.ndim != 1 or not (array.size == 0 or np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"rows must be a mask or integers of shape (m,), got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64, copy=False)


def _take(values: NDArray[Any], index: slice | IndexArray) -> NDArray[Any]:
    return np.ascontiguousarray(values[index]) if isinstance(index, slice) else values.take(index, axis=0)


def _common(values: Iterable[str]) -> str | None:
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _join_identifiers(result: ReflectionTable, table: ReflectionTable) -> None:
    for number, identifier in table.identifiers.items():
        known = result.identifiers.setdefault(number, identifier)
        if known != identifier:
            raise DataError(f"{table._where}: id {number} is data set '{identifier}', but '{known}' in another table")


def _join_columns(name: str, tables: Sequence[ReflectionTable]) -> _AnyColumn:
    columns = [t._columns[name] for t in tables]
    dials_type = _common(c.dials_type for c in columns)
    if dials_type is None:
        found = sorted({c.dials_type for c in columns})
        raise DataError(f"column '{name}' has different types in the tables to join: {', '.join(found)}")
    opaque = [c for c in columns if isinstance(c, OpaqueColumn)]
    if opaque:
        rows = VariableLengthColumn.concatenate([c.rows for c in opaque])
        return OpaqueColumn(dials_type, rows, max(c.version for c in opaque))
    return _Column(dials_type, np.concatenate([c.values for c in columns if isinstance(c, _Column)]))
