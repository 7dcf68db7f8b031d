"""SHELX HKLF 4 files: unmerged intensities of small molecules, in fixed columns (3I4,2F8.2,I4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..options.importing import InputOptions
from ..typing import FloatArray, IndexArray, IntArray
from .import_parts import (
    checked_cell,
    known_wavelength,
    missing_symmetry,
    observed_columns,
    unknown_position,
    wanted_space_group,
)
from .imported import ImportedDataSet, InputDecision
from .shelx_symmetry import TextSymmetry, symmetry_in_text

__all__ = ["data_sets_of_batches", "is_hklf4", "parse_hklf4", "read_hklf4"]

_WIDTH, _INDEX_WIDTH = 32, 12
_INTEGER = rb" *[-+]?\d+ *"
_REAL = rb" *[-+]?(?:\d+\.?\d*|\.\d+)(?:[Ee][-+]?\d+)? *"
_FIELDS = ((0, 4, _INTEGER), (4, 8, _INTEGER), (8, 12, _INTEGER), (12, 20, _REAL), (20, 28, _REAL))
_BATCH_AT = 28
_MOST_TEXT = 1 << 20
"""Bytes of free text after the reflections that are looked at."""


def is_hklf4(head: bytes) -> bool:
    """Whether a file that begins with these bytes is in SHELX' HKLF 4 format: its first line has the columns."""
    line = head.split(b"\n", 1)[0].rstrip(b"\r")
    return all(re.fullmatch(pattern, line[a:b].ljust(b - a)) for a, b, pattern in _FIELDS)


def read_hklf4(path: Path, options: InputOptions) -> list[ImportedDataSet]:
    """Read a file of unmerged intensities: one data set for each batch number.

    Such files have no geometry: neither rotation angles nor beam directions. Unit cell, wavelength and space group
    are taken from the options, else from SHELX' instructions or CIF items in the text behind the reflections.

    Raises
    ------
    DataError
        If a line is not in the format, or there are no reflections.
    UsageError
        If the file cannot be read, or an option is impossible.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    index, intensity, sigma, batch, rest = parse_hklf4(content, str(path))
    decisions = []
    if rest is None:
        reason = "the file does not end with the line 0 0 0 of the format: it may be cut"
        decisions.append(InputDecision("terminated", False, reason, is_warning=True))
    text = (rest or b"")[:_MOST_TEXT].decode("utf-8", "replace")
    return data_sets_of_batches(
        str(path), "a SHELX HKLF 4 file", (index, intensity, sigma, batch), symmetry_in_text(text), options, decisions
    )


def data_sets_of_batches(
    where: str,
    kind: str,
    reflections: tuple[IntArray, FloatArray, FloatArray, IntArray],
    symmetry: TextSymmetry,
    options: InputOptions,
    decisions: Sequence[InputDecision],
) -> list[ImportedDataSet]:
    """Data sets without geometry, one for each batch number.

    Parameters
    ----------
    where, kind : str
        The file and what it is, for messages.
    reflections
        Miller index (n, 3) int32, intensity and sigma (n,) float64, batch number (n,) int32.
    symmetry : TextSymmetry
        What the file says; options come first.
    options : InputOptions
    decisions : sequence of InputDecision
        What was decided already.
    """
    index, intensity, sigma, batch = reflections
    given = options.unit_cell or symmetry.unit_cell
    cell = None if given is None else checked_cell(given, where)
    group = wanted_space_group(options, cell) or symmetry.space_group
    missing = missing_symmetry(where, kind, options, has_cell=cell is not None, has_group=group is not None)
    wavelength, assumed = known_wavelength(options, symmetry.wavelength, cell, index)
    columns, unmeasured = observed_columns(index, intensity, sigma)
    columns["xyzobs.px.value"] = unknown_position(len(index))
    digest = hashlib.sha256(index.tobytes() + intensity.tobytes()).hexdigest()[:8]
    order: IndexArray = np.argsort(batch, kind="stable")
    numbers, starts = np.unique(batch[order], return_index=True)
    parts = np.split(order, starts[1:])
    reason = "no rotation angles: one scale and one B for each batch number"
    one_scale = InputDecision("geometry", "none", reason)
    return [
        ImportedDataSet(
            source=where,
            columns={name: values[rows] for name, values in columns.items()},
            space_group=group,
            unit_cell=cell,
            wavelength=wavelength,
            image_range=None,
            oscillation=None,
            identifier=f"batch_{number}_{digest}",
            missing=missing,
            decisions=(*decisions, *assumed, *unmeasured, one_scale),
        )
        for number, rows in zip(numbers.tolist(), parts, strict=True)
    ]


def parse_hklf4(content: bytes, where: str) -> tuple[IntArray, FloatArray, FloatArray, IntArray, bytes | None]:
    """Reflections in the format.

    Parameters
    ----------
    content : bytes
    where : str
        The file, for messages.

    Returns
    -------
    miller_index : (n, 3) int32
    intensity, sigma : (n,) float64
        Numbers without a decimal point count hundredths, as the format F8.2 has it.
    batch : (n,) int32
        1 where there is none.
    rest : bytes or None
        What follows the line of zeros that ends the reflections; None without such a line.

    Raises
    ------
    DataError
        If a line is not in the format, or a batch number is negative (twins, HKLF 5).
    """
    lines, starts = _lines(content)
    has_index = ((lines[:, :_INDEX_WIDTH] != ord(" ")) & (lines[:, :_INDEX_WIDTH] != ord("0"))).any(axis=1)
    ends = np.flatnonzero(~has_index)
    n = int(ends[0]) if ends.size else len(lines)
    rest = content[int(starts[n + 1]) :] if ends.size else None
    if n == 0:
        raise DataError(f"{where}: holds no reflections")
    lines = lines[:n]
    if rest is None and n > 1 and not content.endswith(b"\n") and starts[n] - starts[n - 1] < _BATCH_AT:
        # Its last number may have been cut, too.
        lines = lines[:-1]
    if (lines == 0).any():
        number = int(np.argmax((lines == 0).any(axis=1))) + 1
        raise DataError(f"{where}: line {number} has bytes of zero, where the file is damaged")
    index = np.stack([_integers(lines, k, k + 4, where) for k in (0, 4, 8)], axis=1)
    intensity, sigma = (_reals(lines, k, k + 8, where) for k in (12, 20))
    batch = _integers(lines, _BATCH_AT, 32, where)
    if (batch < 0).any():
        raise DataError(
            f"{where}: line {int(np.argmax(batch < 0)) + 1} has a negative batch number, as in HKLF 5 files of twins, "
            "whose overlapping reflections cannot be scaled; give an HKLF 4 file of one domain"
        )
    return index, intensity, sigma, np.where(batch == 0, np.int32(1), batch), rest


def _lines(content: bytes) -> tuple[NDArray[np.uint8], IndexArray]:
    """The first columns of each line, (n, 32) padded with blanks; where each starts, and the end, (n + 1,)."""
    data = np.frombuffer(content, np.uint8)
    feeds = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate([[0], feeds + 1])
    if starts[-1] != data.size:
        starts = np.append(starts, data.size + 1)
    lengths = np.minimum(np.diff(starts) - 1, _WIDTH)
    lines = np.full((len(lengths), _WIDTH), ord(" "), np.uint8)
    for k in range(_WIDTH):
        long_enough = np.flatnonzero(lengths > k)
        lines[long_enough, k] = data[starts[long_enough] + k]
    lines[(lines == ord("\r")) | (lines == ord("\t"))] = ord(" ")
    return lines, np.minimum(starts, data.size)


def _field(lines: NDArray[np.uint8], start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """A field of each line as bytes, 0 where it is blank; and its characters."""
    characters = np.ascontiguousarray(lines[:, start:stop])
    blank = (characters == ord(" ")).all(axis=1)
    if blank.any():
        characters[blank, -1] = ord("0")
    return characters.view(f"S{stop - start}")[:, 0], characters


def _integers(lines: NDArray[np.uint8], start: int, stop: int, where: str) -> IntArray:
    field, _ = _field(lines, start, stop)
    try:
        values: IntArray = field.astype(np.int32)
    except (ValueError, OverflowError):
        raise _wrong(field, start, stop, where, int) from None
    return values


def _reals(lines: NDArray[np.uint8], start: int, stop: int, where: str) -> FloatArray:
    field, characters = _field(lines, start, stop)
    try:
        values: FloatArray = field.astype(np.float64)
    except ValueError:
        raise _wrong(field, start, stop, where, float) from None
    has_point = np.isin(characters, np.frombuffer(b".eEnN", np.uint8)).any(axis=1)
    return np.where(has_point, values, values / 100.0)


def _wrong(field: NDArray[Any], start: int, stop: int, where: str, kind: type) -> DataError:
    for number, text in enumerate(field.tolist(), start=1):
        try:
            kind(text)
        except ValueError:
            shown = text.decode("ascii", "replace")
            return DataError(f"{where}: line {number}, columns {start + 1}-{stop}: {shown!r} is no number")
    return DataError(f"{where}: columns {start + 1}-{stop} hold what is no number")
