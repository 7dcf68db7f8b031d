"""Rows of numbers as text of fixed columns, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..typing import FloatArray, IntArray

__all__ = ["decimals_that_fit", "require_short_indices", "write_rows"]

_ROWS_AT_ONCE = 20_000


def write_rows(file: TextIO, row_format: str, columns: Sequence[NDArray[Any]]) -> None:
    """Write columns (n,) row by row; `row_format` is one row's with % codes, its line end included."""
    n = len(columns[0])
    for start in range(0, n, _ROWS_AT_ONCE):
        parts = [column[start : start + _ROWS_AT_ONCE].tolist() for column in columns]
        file.write(row_format * len(parts[0]) % tuple(chain.from_iterable(zip(*parts, strict=True))))


def decimals_that_fit(values: FloatArray, width: int, most: int) -> IntArray:
    """Most decimals (n,) with which each number, in fixed notation, has no more than `width` characters.

    At most `most`, at least one (the decimal point is part of the number).

    Raises
    ------
    ValueError
        If a number is too large even with one decimal.
    """
    size = np.abs(values)
    with np.errstate(divide="ignore"):
        before = np.maximum(np.floor(np.log10(size)), 0).astype(np.int64) + 1
    room = width - 1 - np.signbit(values)
    decimals: IntArray = np.minimum(room - before, most)
    # Rounding may need one more digit in front: 9.996 with two decimals is 10.00.
    decimals -= (size + 0.5 * 10.0**-decimals >= 10.0**before) & (decimals == room - before)
    if (decimals < 1).any():
        raise ValueError(f"{values[np.argmin(decimals)]:g} does not fit {width} characters")
    return decimals


def require_short_indices(miller_index: IntArray, kind: str) -> None:
    """Refuse Miller indices (n, 3) of more than four characters, which formats of fixed columns cannot hold.

    Raises
    ------
    DataError
        If there are any.
    """
    if miller_index.size and (miller_index.max() > 9999 or miller_index.min() < -999):
        raise DataError(f"{kind} has four characters for a Miller index, between -999 and 9999; export another format")
