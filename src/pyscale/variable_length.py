"""Columns whose rows are bytes of differing lengths: one buffer, cut only when rows are picked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import _core
from .typing import ByteArray, IndexArray

__all__ = ["SHOEBOX_HEADER_SIZE", "VariableLengthColumn"]

SHOEBOX_HEADER_SIZE = 29
"""Bytes of a shoebox without pixels: panel (u4), bounding box (6 i4), kind of mask (u1)."""


class VariableLengthColumn:
    """Rows of bytes in one buffer.

    Parameters
    ----------
    data
        All rows, one after the other, shape (n_bytes,), uint8.
    n_rows
        How many rows there are.
    row_size
        Bytes per row where all rows are of one size; None for shoeboxes, which tell their own size.
    """

    def __init__(self, data: ByteArray, n_rows: int, row_size: int | None = None) -> None:
        self.data = data
        self.row_size = row_size
        self._n_rows = n_rows
        self._offsets: IndexArray | None = None

    def __len__(self) -> int:
        return self._n_rows

    def offsets(self) -> IndexArray:
        """Return where each row starts, and the end of the last: shape (n_rows + 1,), int64.

        Raises
        ------
        ValueError
            If the rows do not fill the buffer exactly.
        """
        if self._offsets is None:
            if self.row_size is None:
                self._offsets = _core.shoebox_offsets(self.data, self._n_rows)
            else:
                self._offsets = np.arange(self._n_rows + 1, dtype=np.int64) * self.row_size
        return self._offsets

    def take(self, index: IndexArray) -> VariableLengthColumn:
        """Return the rows of the given numbers, shape (m,), int64.

        Raises
        ------
        ValueError
            If the rows do not fill the buffer exactly.
        IndexError
            If there is no such row.
        """
        offsets = self.offsets()
        index = np.arange(self._n_rows, dtype=np.int64).take(index)
        return VariableLengthColumn(_core.gather_bytes(self.data, offsets, index), len(index), self.row_size)

    @staticmethod
    def concatenate(columns: Sequence[VariableLengthColumn]) -> VariableLengthColumn:
        """Return all rows of some columns, in order.

        Raises
        ------
        ValueError
            If the sizes of their rows differ.
        """
        sizes = {c.row_size for c in columns}
        if len(sizes) != 1:
            raise ValueError(f"rows of different sizes: {sizes}")
        return VariableLengthColumn(np.concatenate([c.data for c in columns]), sum(map(len, columns)), sizes.pop())
