"""Files of XDS as text: their headers, and their records as columns of numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from mmap import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..errors import DataError
from ..threads import thread_count
from ..typing import FloatArray, IntArray
from .unpacked import bytes_of

__all__ = ["XdsHeader", "XdsRecords", "read_xds_records"]

_END_OF_HEADER = b"!END_OF_HEADER"
_END_OF_DATA = b"!END_OF_DATA"
_WHOLE_LINE = ("NAME_TEMPLATE_OF_DATA_FRAMES",)
_KEY = re.compile(r"([A-Z][A-Z0-9_.()'/-]*)=")
_COUNT = "NUMBER_OF_ITEMS_IN_EACH_DATA_RECORD"
_MOST_ITEMS = 200
_LARGEST_INDEX = 10_000
_LARGEST_NUMBER = 1e30


@dataclass(frozen=True)
class XdsHeader:
    """The lines of a header, and the entries KEY= VALUE in them: text and number of the line, of the first of each."""

    source: str
    lines: list[str]
    entries: dict[str, tuple[str, int]]

    @classmethod
    def of(cls, source: str, text: str) -> XdsHeader:
        """Find the entries of a header."""
        lines = text.splitlines()
        entries: dict[str, tuple[str, int]] = {}
        for number, line in enumerate(lines, start=1):
            if line.startswith(("! ISET=", "!ISET=")):
                continue
            found = list(_KEY.finditer(line))
            for match, following in zip_longest(found, found[1:]):
                end = None if following is None or match[1] in _WHOLE_LINE else following.start()
                entries.setdefault(match[1], (line[match.end() : end].strip(), number))
                if match[1] in _WHOLE_LINE:
                    break
        return cls(source, lines, entries)

    def text(self, key: str) -> str | None:
        """The text of an entry."""
        return self.entries[key][0] if key in self.entries else None

    def optional_numbers(self, key: str, count: int) -> FloatArray | None:
        """The first `count` numbers of an entry, (count,); None if there is no such entry.

        Raises
        ------
        DataError
            If the entry does not begin with so many finite numbers.
        """
        if key not in self.entries:
            return None
        text, line = self.entries[key]
        return numbers(text, count, f"{self.source}, line {line}: {key}=")

    def numbers(self, key: str, count: int) -> FloatArray:
        """The same of an entry that must be there."""
        found = self.optional_numbers(key, count)
        if found is None:
            raise DataError(f"{self.source}: the header has no {key}=; it is damaged, or not by XDS")
        return found

    def number(self, key: str, least: float, most: float) -> float:
        """A number within limits, of an entry that must be there."""
        value = float(self.numbers(key, 1)[0])
        if not least <= value <= most:
            line = self.entries[key][1]
            raise DataError(f"{self.source}, line {line}: {key}= {value:g} is not within {least:g} to {most:g}")
        return value

    def direction(self, key: str) -> FloatArray:
        """A unit vector (3,), of an entry that must be there."""
        vector = self.numbers(key, 3)
        length = float(np.linalg.norm(vector))
        if not 1e-6 < length < 1e6:
            raise DataError(f"{self.source}, line {self.entries[key][1]}: {key}= is no direction")
        return vector / length


def numbers(text: str, count: int, where: str) -> FloatArray:
    """The first `count` numbers of a text; DataError beginning with `where` if they are not there or not finite."""
    try:
        found: FloatArray = np.array([float(item) for item in text.split()[:count]], np.float64)
    except ValueError:
        found = np.zeros(0)
    if found.size != count or not np.abs(found).max(initial=0.0) < 1e12:
        raise DataError(f"{where} '{text[:60]}' is not {count} number{'s' * (count > 1)}")
    return found


@dataclass(frozen=True)
class XdsRecords:
    """What is in a file: its header, and the columns of its records under the header's names."""

    header: XdsHeader
    columns: dict[str, FloatArray]

    @property
    def source(self) -> str:
        """The file, for messages."""
        return self.header.source

    def miller_index(self, columns: Mapping[str, FloatArray]) -> IntArray:
        """H, K, L of (some of) the columns, (n, 3) int32.

        Raises
        ------
        DataError
            If one is no integer, or absurdly large.
        """
        index = np.stack([columns[name] for name in "HKL"], axis=1)
        whole = np.rint(np.clip(index, -_LARGEST_INDEX, _LARGEST_INDEX))
        bad = (whole != index).any(axis=1)
        if bad.any():
            shown = " ".join(f"{x:g}" for x in index[int(np.argmax(bad))])
            raise DataError(f"{self.source}: indices '{shown}' of a reflection are no small integers")
        return whole.astype(np.int32)


def read_xds_records(path: Path, wanted: tuple[str, ...], optional: tuple[str, ...]) -> XdsRecords:
    """Read a file of XDS, packed with gzip or not.

    Parameters
    ----------
    path
        The file.
    wanted, optional
        Columns that must be there, and those that are read if they are.

    Raises
    ------
    UsageError
        If the file cannot be opened.
    DataError
        If it is cut off, its header is damaged, a column is missing or a record is no such row of numbers; with file
        and line.
    """
    data = bytes_of(path)
    start = data.find(_END_OF_HEADER)
    if start < 0:
        raise DataError(f"{path}: has no !END_OF_HEADER; the file is cut off or damaged")
    header = XdsHeader.of(str(path), bytes(data[:start]).decode("latin-1"))
    if header.text("MERGE") == "TRUE":
        raise DataError(
            f"{path}: holds merged intensities (MERGE=TRUE), of which nothing can be scaled; give the unmerged file"
        )
    names = _column_names(header)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise DataError(f"{path}: the header has no column {', '.join(missing)} (it has {', '.join(names)})")
    chosen = [name for name in (*wanted, *optional) if name in names]
    values, rest = _decode(path, data, start, names, chosen)
    if not rest.startswith(_END_OF_DATA):
        raise DataError(f"{path}: has no !END_OF_DATA after {values.shape[1]} reflections; the file is cut off")
    if data.find(_END_OF_HEADER, data.find(_END_OF_DATA)) >= 0:
        raise DataError(f"{path}: is several files in one, as a second header tells; give them as files of their own")
    if not values.shape[1]:
        raise DataError(f"{path}: has no reflections")
    if not max(values.max(), -values.min()) < _LARGEST_NUMBER:
        raise DataError(f"{path}: a reflection has a number beyond {_LARGEST_NUMBER:g}; the file is damaged")
    return XdsRecords(header, dict(zip(chosen, values, strict=True)))


def _decode(
    path: Path, data: bytes | mmap, start: int, names: list[str], chosen: list[str]
) -> tuple[FloatArray, bytes]:
    line_end = data.find(b"\n", start)
    begin = len(data) if line_end < 0 else line_end + 1
    first_line = data[:begin].count(b"\n") + 1
    body: NDArray[np.uint8] = np.frombuffer(data, np.uint8)[begin:]
    columns: NDArray[np.int32] = np.array([names.index(name) for name in chosen], np.int32)
    try:
        values, end = _core.read_number_rows(body, len(names), columns, first_line, thread_count())
    except _core.CoreDataError as error:
        raise DataError(f"{path}, {error}; the file is damaged or cut off") from None
    return values, data[begin + end : begin + end + len(_END_OF_DATA)]


def _column_names(header: XdsHeader) -> list[str]:
    """Names of the columns, in their order: of the ITEM_ entries, or of the line !H,K,L,... and those after it."""
    count = int(header.number(_COUNT, 3, _MOST_ITEMS))
    items = {key[5:]: header.numbers(key, 1)[0] for key in header.entries if key.startswith("ITEM_")}
    names = [f"column {k + 1}" for k in range(count)]
    if items:
        for name, place in items.items():
            if not (1 <= place <= count and place == int(place)):
                raise DataError(f"{header.source}, line {header.entries['ITEM_' + name][1]}: no such item of {count}")
            names[int(place) - 1] = name.removesuffix("(IOBS)")
        return names
    at = next((k for k, line in enumerate(header.lines) if line.startswith("!H,K,L,")), None)
    if at is None:
        raise DataError(f"{header.source}: the header names no columns (neither ITEM_H= nor !H,K,L,...)")
    text = header.lines[at].strip()
    for line in header.lines[at + 1 :]:
        if not text.endswith(","):
            break
        text += line.lstrip("!").strip()
    found = [name.strip() for name in text.lstrip("!").split(",")]
    if len(found) != count:
        raise DataError(f"{header.source}, line {at + 1}: names {len(found)} columns, but {_COUNT}={count}")
    return found
