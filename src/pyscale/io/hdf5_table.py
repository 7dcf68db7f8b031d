"""Reflection tables that newer DIALS writes as HDF5: `/dials/PROCESS/group_N`, a dataset for each column."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..reflections import ReflectionTable
from .atomic import PathLike

__all__ = ["is_hdf5", "read_hdf5_table"]

_logger = logging.getLogger(__name__)

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MOST_COMPRESSED = 1100
"""No filter of HDF5 packs data denser; what claims to has no data behind it."""
_SMALL = 1 << 16
_SIZES = ("flags", "panel", "partial_id")
"""Columns of the type std::size_t."""


def is_hdf5(path: PathLike) -> bool:
    """Whether a file is HDF5; False if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_SIGNATURE)) == _SIGNATURE
    except OSError:
        return False


def read_hdf5_table(path: PathLike) -> ReflectionTable:
    """Read a reflection table of DIALS in HDF5 form; shoeboxes and strings stay out.

    Of several processes the last is read, as DIALS does. Its groups, each a table with the attributes
    `experiment_ids` and `identifiers`, become one table with ids of its own. Only plain numbers inside the file itself
    are read: nothing is followed to other files, nothing is run, and no more memory is taken than the file has data
    for.

    Raises
    ------
    DataError
        If h5py is not installed, or the file is truncated, corrupt, or no reflection table.
    """
    try:
        import h5py
    except ImportError:
        raise DataError(
            f"{path}: is an HDF5 file, which h5py reads: pip install h5py (or 'pyscale-xtal[hdf5]')"
        ) from None
    source = str(path)
    try:
        with h5py.File(path, "r") as file:
            tables: list[ReflectionTable] = []
            first = 0
            for group in _groups(h5py, file, source):
                table, n_experiments = _table(h5py, group, source, first)
                tables.append(table)
                first += n_experiments
    except DataError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{source}: truncated or corrupt HDF5 file ({reason})") from None
    except MemoryError:
        raise DataError(f"{source}: does not fit into memory") from None
    joined = ReflectionTable.concatenate(tables)
    joined.source = source
    return joined


def _groups(h5py: Any, file: Any, source: str) -> Iterator[Any]:
    """Groups of the last process, in the order of their numbers."""
    top = _member(h5py, file, "dials")
    names = list(top) if isinstance(top, h5py.Group) else []
    process = _member(h5py, top, names[-1]) if names else None
    if not isinstance(process, h5py.Group) or not len(process):
        raise DataError(f"{source}: is an HDF5 file, but no reflection table of DIALS (no groups under /dials)")

    def number(name: str) -> tuple[int, str]:
        last = name.rpartition("_")[2]
        return (int(last) if last.isascii() and last.isdigit() and len(last) < 10 else 10**9), name

    for name in sorted(process, key=number):
        group = _member(h5py, process, name)
        if not isinstance(group, h5py.Group):
            raise DataError(f"{source}: {process.name}/{name} is no group")
        yield group


def _member(h5py: Any, group: Any, name: str) -> Any:
    """A member that lies in the file itself, None if there is none, or it is a link to elsewhere."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    return group.get(name)


def _table(h5py: Any, group: Any, source: str, first: int) -> tuple[ReflectionTable, int]:
    """The table of a group, whose experiments get consecutive ids from `first`, and how many these are."""
    where = f"{source}: {group.name}"
    numbers, identifiers = _identifiers(group, where)
    table = ReflectionTable(source=source, identifiers={first + k: name for k, name in enumerate(identifiers)})
    left_out = []
    members = {name: _member(h5py, group, name) for name in group}
    _require_like_lengths({name: c for name, c in members.items() if isinstance(c, h5py.Dataset)}, where)
    for name, column in members.items():
        values = _column(column, name, where) if isinstance(column, h5py.Dataset) else None
        if values is None:
            left_out.append(name)
        else:
            table[name] = values
    if left_out:
        _logger.info("%s: columns that are no plain numbers stay out: %s", where, ", ".join(left_out)[:200])
    if "id" not in table or table.dials_type("id") != "int":
        raise DataError(f"{where}: has no column 'id' of integers")
    ids = table["id"]
    if not identifiers:
        numbers = np.unique(ids[ids >= 0]).astype(np.int64)
    order = np.argsort(numbers)
    place = np.minimum(np.searchsorted(numbers, ids, sorter=order), max(len(numbers) - 1, 0))
    position = order[place] if len(numbers) else np.zeros(len(ids), np.int64)
    known = numbers[position] == ids if len(numbers) else np.zeros(len(ids), np.bool_)
    if not (known | (ids < 0)).all():
        wrong = int(ids[~known & (ids >= 0)][0])
        raise DataError(f"{where}: the id {wrong} of a reflection is not among the attribute experiment_ids")
    table["id"] = np.where(known, first + position, -1).astype(np.int32)
    return table, len(numbers)


def _require_like_lengths(columns: Mapping[str, Any], where: str) -> None:
    """Refuse columns of numbers of different lengths, before any is unpacked."""
    first: tuple[str, int] | None = None
    for name, column in columns.items():
        if _is_plain(column):
            first = first or (name, column.shape[0])
            if column.shape[0] != first[1]:
                raise DataError(f"{where}: column '{name}' has {column.shape[0]} rows, but '{first[0]}' {first[1]}")


def _is_plain(column: Any) -> bool:
    return column.dtype.kind in "biuf" and column.shape is not None and 1 <= len(column.shape) <= 3


def _identifiers(group: Any, where: str) -> tuple[NDArray[np.int64], list[str]]:
    if "experiment_ids" not in group.attrs or "identifiers" not in group.attrs:
        raise DataError(f"{where}: lacks the attributes experiment_ids and identifiers of a reflection table of DIALS")
    numbers = np.atleast_1d(np.asarray(group.attrs["experiment_ids"]))
    names = np.atleast_1d(np.asarray(group.attrs["identifiers"], dtype=object)).ravel().tolist()
    texts = [x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x) for x in names]
    if numbers.size == 0:
        numbers = numbers.astype(np.int64)
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1 or len(numbers) != len(texts):
        raise DataError(f"{where}: the attributes experiment_ids and identifiers do not go together")
    if len(np.unique(numbers)) != len(numbers):
        raise DataError(f"{where}: an id occurs twice in the attribute experiment_ids")
    return numbers.astype(np.int64), texts


def _column(column: Any, name: str, where: str) -> NDArray[Any] | None:
    """A column of plain numbers, in the dtype of DIALS; None for others."""
    if not _is_plain(column):
        return None
    shape = column.shape
    if column.is_virtual or column.external:
        raise DataError(f"{where}: column '{name}' lies in other files")
    size = int(np.prod([float(n) for n in shape])) * column.dtype.itemsize
    chunk = int(np.prod([float(n) for n in column.chunks or (0,)])) * column.dtype.itemsize
    stored = int(column.id.get_storage_size())
    if size > _SMALL + _MOST_COMPRESSED * stored or chunk > 2 * size + _SMALL:
        raise DataError(
            f"{where}: column '{name}' claims {size} bytes in pieces of {chunk}, but {stored} are stored: corrupt file"
        )
    values: NDArray[Any] = column[()]
    if values.ndim == 3:
        if shape[1:] != (3, 3):
            return None
        values = values.reshape(-1, 9)
    return _in_types_of_dials(values, name, where)


def _in_types_of_dials(values: NDArray[Any], name: str, where: str) -> NDArray[Any] | None:
    width = values.shape[1] if values.ndim == 2 else 0
    kind = values.dtype.kind
    if kind == "f":
        return values.astype(np.float64) if width in (0, 2, 3, 9) else None
    if kind == "b":
        return values if width == 0 else None
    if width not in (0, 3, 6):
        return None
    is_size = width == 0 and (name in _SIZES or (values.dtype.kind == "u" and name != "id"))
    target = np.uint64 if is_size else np.int32
    limits = np.iinfo(target)
    if values.size and (int(values.min()) < limits.min or int(values.max()) > limits.max):
        raise DataError(f"{where}: column '{name}' has numbers beyond {limits.min} to {limits.max}")
    return values.astype(target)
