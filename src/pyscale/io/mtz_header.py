"""The text header of an MTZ file, checked against the size of the file before anything is read by it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import gemmi
import numpy as np

from ..errors import DataError
from ..typing import IntArray

__all__ = ["MTZ_MAGIC", "MtzHeader", "read_mtz_header"]

MTZ_MAGIC = b"MTZ "

_WORD = 4
_FIRST_DATA = 80
_RECORD = 80
_MOST_RECORDS = 1_000_000
_BATCH_HEADER = 185 * _WORD + 2 * _RECORD
"""Least bytes of a batch header: its numbers, and the records BH and TITLE."""


@dataclass(frozen=True)
class MtzHeader:
    """Counts, and what gemmi does not give from Python.

    Attributes
    ----------
    n_columns, n_records, n_batches : int
        Of the record NCOL; they fit into the file.
    rotations : (n, 3, 3) int32
        Rotation parts R of the SYMM records in their order, h' = h R. ISYM numbers count them.
    """

    n_columns: int
    n_records: int
    n_batches: int
    rotations: IntArray


def read_mtz_header(path: Path) -> MtzHeader:
    """Read the header of an MTZ file, and compare what it says with the size of the file.

    Raises
    ------
    DataError
        If the file is truncated or corrupt.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        order, start = _header_position(path, file.read(20), size)
        file.seek(start)
        counts: tuple[int, int, int] | None = None
        operators: list[str] = []
        for record in _records(file):
            key, _, rest = record.partition(" ")
            if key == "NCOL":
                counts = _counts(path, rest)
            elif key == "SYMM":
                operators.append(rest.strip())
    if counts is None:
        raise DataError(f"{path}: the MTZ header has no record NCOL; the file is corrupt")
    n_columns, n_records, n_batches = counts
    if _FIRST_DATA + n_columns * n_records * _WORD != start or n_batches * _BATCH_HEADER > size - start:
        raise DataError(
            f"{path}: the MTZ header tells of {n_records} records of {n_columns} columns and {n_batches} batches, "
            f"which is not what {size} bytes hold (byte order {order!r}); the file is truncated or corrupt"
        )
    return MtzHeader(n_columns, n_records, n_batches, _rotations(path, operators))


def _header_position(path: Path, head: bytes, size: int) -> tuple[str, int]:
    """Byte order and first byte of the header; the machine stamp names the order, 1 is big-endian."""
    if len(head) < 20 or not head.startswith(MTZ_MAGIC):
        raise DataError(f"{path}: ends within its first 20 bytes; the MTZ file is truncated")
    order = ">" if head[9] >> 4 == 1 else "<"
    (word,) = struct.unpack(f"{order}i", head[4:8])
    if word == -1:
        (word,) = struct.unpack(f"{order}q", head[12:20])
    start = (word - 1) * _WORD
    if not _FIRST_DATA <= start <= size - _RECORD:
        raise DataError(f"{path}: {size} bytes, but its header is at byte {start}; the MTZ file is truncated")
    return order, start


def _records(file: BinaryIO) -> Iterator[str]:
    """Records of the main header up to END."""
    for _ in range(_MOST_RECORDS):
        record = file.read(_RECORD)
        if len(record) < _RECORD or record.startswith(b"END"):
            return
        yield record.decode("ascii", "replace")


def _counts(path: Path, text: str) -> tuple[int, int, int]:
    numbers = re.findall(r"-?\d+", text)
    counts = tuple(int(n) for n in numbers[:3])
    if len(counts) != 3 or min(counts) < 0 or max(counts) >= 2**40:
        raise DataError(f"{path}: the MTZ header has the record 'NCOL {text.strip()}'; the file is corrupt")
    return counts


def _rotations(path: Path, operators: list[str]) -> IntArray:
    try:
        rotations = [gemmi.Op(text.replace(" ", "").lower()).rot for text in operators]
    except (RuntimeError, ValueError):
        raise DataError(f"{path}: a SYMM record of the MTZ header is no operator ({operators})") from None
    return np.array(rotations, dtype=np.int32).reshape(-1, 3, 3) // gemmi.Op.DEN
