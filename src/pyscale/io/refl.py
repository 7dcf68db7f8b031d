"""Reflection tables of DIALS (`.refl`): msgpack, versions 1 and 2, plain or gzipped; pickles are read too."""

from __future__ import annotations

import contextlib
import gzip
import mmap
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from weakref import WeakSet

import msgpack
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..reflections import COLUMN_TYPES, OpaqueColumn, ReflectionTable
from ..variable_length import SHOEBOX_HEADER_SIZE, VariableLengthColumn
from .atomic import PathLike, write_atomically
from .hdf5_table import is_hdf5, read_hdf5_table
from .msgpack_reader import MsgpackError, MsgpackReader
from .pickle_reader import PickleError
from .pickle_table import is_pickle, parse_pickle

__all__ = ["GZIP_MAGIC", "forget_pages", "read_refl", "write_refl"]

_Buffer: TypeAlias = "bytes | mmap.mmap"
_TYPE_STRING = "dials::af::reflection_table"
_SHOEBOX = "Shoebox<>"
_STRING = "std::string"
GZIP_MAGIC = b"\x1f\x8b"
_MAX_BIN = 2**32 - 1
_START_SIZE = 64
_mapped: WeakSet[mmap.mmap] = WeakSet()
_mapped_lock = threading.Lock()


def read_refl(path: PathLike) -> ReflectionTable:
    """Read a reflection table: msgpack, HDF5 (needs h5py), or a pickle of DIALS before 2020, as its content tells.

    Columns in msgpack form are read-only views of the file's bytes (mapped into memory, or unpacked if gzipped);
    shoeboxes and strings are carried along undecoded. A pickle is decoded, without them; nothing in it is run.

    Raises
    ------
    UsageError
        If the file does not exist or cannot be opened.
    DataError
        If it is no reflection table, or truncated or corrupt.
    """
    if is_hdf5(path):
        return read_hdf5_table(path)
    buffer = _open(path)
    _refuse_other_formats(buffer, path)
    try:
        if is_pickle(buffer[:_START_SIZE]):
            return parse_pickle(buffer, str(path))
        return _parse(MsgpackReader(buffer), str(path))
    except (MsgpackError, PickleError) as error:
        raise DataError(f"{path}: truncated or corrupt reflection table: {error}") from None


def forget_pages() -> None:
    """Let the system take back the memory of files that are mapped; what is looked at again is read again."""
    if hasattr(mmap, "MADV_DONTNEED"):
        with _mapped_lock:
            known = list(_mapped)
        for mapped in known:
            mapped.madvise(mmap.MADV_DONTNEED)


def _open(path: PathLike) -> _Buffer:
    if Path(path).exists() and not Path(path).is_file():
        raise UsageError(f"{path}: is not a regular file")
    try:
        with Path(path).open("rb") as file:
            if file.read(2) == GZIP_MAGIC:
                file.seek(0)
                return _unpack(file, path)
            try:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                with _mapped_lock:
                    _mapped.add(mapped)
                return mapped
            except ValueError:
                raise DataError(f"{path}: the file is empty") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


def _unpack(file: BinaryIO, path: PathLike) -> bytes:
    try:
        # Looking at the start first keeps what is no table from being unpacked into memory.
        with contextlib.closing(gzip.GzipFile(fileobj=file)) as stream:
            _refuse_other_formats(stream.read(_START_SIZE), path)
        file.seek(0)
        return gzip.GzipFile(fileobj=file).read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: truncated or corrupt gzip file ({error})") from None
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory when unpacked") from None


def _refuse_other_formats(buffer: _Buffer, path: PathLike) -> None:
    start = buffer[:_START_SIZE]
    if start[:1] == b"\x93" or is_pickle(start):
        return
    raise DataError(f"{path}: is not a DIALS reflection table")


def _parse(reader: MsgpackReader, source: str) -> ReflectionTable:
    if reader.array_header("table") != 3 or reader.text("type") != _TYPE_STRING:
        raise DataError(f"{source}: is not a DIALS reflection table")
    version = reader.integer("version")
    if version not in (1, 2):
        raise DataError(f"{source}: version {version} of DIALS reflection tables is unknown; known are 1 and 2")
    table = ReflectionTable(source=source)
    n_rows: int | None = None
    seen = set()
    for _ in range(reader.map_header("table")):
        key = reader.text("key of the table")
        seen.add(key)
        if key == "identifiers":
            _parse_identifiers(reader, table)
        elif key == "nrows":
            n_rows = reader.integer("nrows")
        elif key == "data":
            _parse_columns(reader, table, version)
        else:
            raise reader.error(f"unknown key {key!r}")
    reader.finish()
    if seen != {"identifiers", "nrows", "data"} or n_rows is None:
        raise reader.error("one of the keys identifiers, nrows and data is missing")
    if n_rows != len(table):
        raise reader.error(f"nrows is {n_rows}, but the columns have {len(table)} rows")
    return table


def _parse_identifiers(reader: MsgpackReader, table: ReflectionTable) -> None:
    for _ in range(reader.map_header("identifiers")):
        number = reader.integer("identifiers")
        if number in table.identifiers:
            raise reader.error(f"id {number} occurs twice in identifiers")
        table.identifiers[number] = reader.text("identifiers")


def _parse_columns(reader: MsgpackReader, table: ReflectionTable, version: int) -> None:
    for _ in range(reader.map_header("data")):
        name = reader.text("column name")
        if name in table:
            raise reader.error(f"column {name!r} occurs twice")
        if reader.array_header(f"column {name!r}") != 2:
            raise reader.error(f"column {name!r} is not a pair of type and data")
        dials_type = reader.text(f"type of column {name!r}")
        if reader.array_header(f"column {name!r}") != 2:
            raise reader.error(f"column {name!r} does not hold a count and bytes")
        n_rows = reader.integer(f"length of column {name!r}")
        data = reader.binary(f"column {name!r}")
        if table.names() and n_rows != len(table):
            raise reader.error(f"column {name!r} has {n_rows} rows, those before it {len(table)}")
        _add_column(reader, table, name, dials_type, n_rows, data, version)


def _add_column(
    reader: MsgpackReader,
    table: ReflectionTable,
    name: str,
    dials_type: str,
    n_rows: int,
    data: NDArray[np.uint8],
    version: int,
) -> None:
    if dials_type == _SHOEBOX:
        if data.size < n_rows * SHOEBOX_HEADER_SIZE or (n_rows == 0 and data.size):
            raise reader.error(f"column {name!r}: {data.size} bytes cannot hold {n_rows} shoeboxes")
        table.set_opaque(name, OpaqueColumn(dials_type, VariableLengthColumn(data, n_rows), version))
    elif dials_type == _STRING:
        row_size = data.size // max(n_rows, 1)
        if row_size * n_rows != data.size or (n_rows and not row_size):
            raise reader.error(f"column {name!r}: {data.size} bytes cannot hold {n_rows} strings")
        table.set_opaque(name, OpaqueColumn(dials_type, VariableLengthColumn(data, n_rows, row_size), 1))
    elif dials_type in COLUMN_TYPES:
        table.set(name, _decode(reader, name, dials_type, n_rows, data), dials_type)
    else:
        raise reader.error(f"column {name!r} has the unknown type {dials_type!r}")


def _decode(reader: MsgpackReader, name: str, dials_type: str, n_rows: int, data: NDArray[np.uint8]) -> NDArray[Any]:
    kind = COLUMN_TYPES[dials_type]
    if n_rows * kind.row_size != data.size:
        raise reader.error(f"column {name!r}: {data.size} bytes, but {n_rows} rows of {kind.row_size}")
    if dials_type == "bool" and data.size and data.max() > 1:
        raise reader.error(f"column {name!r}: a truth value that is neither 0 nor 1")
    return data.view(kind.dtype).reshape(n_rows, *kind.row_shape)


def write_refl(table: ReflectionTable, path: PathLike) -> None:
    """Write a reflection table, whole or not at all.

    The columns stand in alphabetical order. The version is 1, which every DIALS reads, unless the table
    carries shoeboxes that came from a version 2 file.

    Raises
    ------
    UsageError
        If the file cannot be written.
    DataError
        If a column is too large for the format (4 GiB), or an identifier is not valid text.
    """
    parts = {name: _encode(table, name) for name in table.names()}
    for name, data in parts.items():
        if data.nbytes > _MAX_BIN:
            raise DataError(f"{path}: column '{name}' has {data.nbytes} bytes, the format ends at 4 GiB; split the job")
    shoeboxes = [c.version for c in map(table.opaque, parts) if c is not None and c.dials_type == _SHOEBOX]
    try:
        head = [msgpack.packb(x) for x in ("identifiers", table.identifiers, "nrows", len(table), "data")]
        columns = [(msgpack.packb(n), msgpack.packb(table.dials_type(n)), data) for n, data in parts.items()]
    except (UnicodeEncodeError, OverflowError, TypeError) as error:
        raise DataError(f"{path}: an identifier or column name cannot be written ({error})") from None
    with write_atomically(path) as temporary, _disk_errors(path), temporary.open("wb") as file:
        file.write(b"\x93" + msgpack.packb(_TYPE_STRING) + msgpack.packb(max(shoeboxes, default=1)) + b"\x83")
        file.writelines(head)
        file.write(b"\xdf" + struct.pack(">I", len(columns)))
        n_rows = msgpack.packb(len(table))
        for name, dials_type, data in columns:
            file.write(name + b"\x92" + dials_type + b"\x92" + n_rows + b"\xc6" + struct.pack(">I", data.nbytes))
            file.write(data.data)
            forget_pages()


@contextlib.contextmanager
def _disk_errors(path: PathLike) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None


def _encode(table: ReflectionTable, name: str) -> NDArray[np.uint8]:
    opaque = table.opaque(name)
    if opaque is not None:
        return opaque.rows.data
    values = np.ascontiguousarray(table[name], dtype=COLUMN_TYPES[table.dials_type(name)].dtype)
    return values.reshape(-1).view(np.uint8)
