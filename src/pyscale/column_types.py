"""The column types of DIALS' reflection tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["COLUMN_TYPES", "ColumnType"]


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
