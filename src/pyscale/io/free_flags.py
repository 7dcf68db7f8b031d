"""Free-R flags of merged MTZ files, in the conventions of CCP4, phenix and SHELX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from ..errors import DataError, UsageError
from ..free_flags import KnownFlags, sets_of_two
from ..symmetry import SpaceGroupLike, UnitCellLike, rotation_matrices, unit_cell_from
from ..typing import IndexArray, IntArray

__all__ = ["read_free_flags"]

#: Labels without regard to case, `-` and `_`.
_LABELS = ("freerflag", "rfreeflags", "rfreeflag", "freeflag", "freer", "free", "rfree", "test")


def read_free_flags(
    path: str,
    unit_cell: UnitCellLike,
    space_group: SpaceGroupLike,
    length_tolerance: float = 0.1,
    angle_tolerance_deg: float = 3.0,
) -> KnownFlags:
    """Read the flags of a file that is indexed as the data are.

    Columns are known by their labels (FreeR_flag, R-free-flags, ...). Sets 0, 1, 2, ... mean that 0 is free (CCP4);
    of 0 and 1, or -1 and 1 (SHELX), the rarer is free.

    Raises
    ------
    UsageError
        If the file cannot be opened.
    DataError
        If it is no MTZ file, has no flags, or its cell or symmetry are others.
    """
    if not Path(path).is_file():
        raise UsageError(f"option r_free_flags.reference={path}: no such file")
    try:
        mtz = gemmi.read_mtz_file(path)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as MTZ ({str(error)[:80]})") from None
    _require_same_crystal(path, mtz, unit_cell, space_group, length_tolerance, angle_tolerance_deg)
    column = _flag_column(path, mtz)
    values = np.array(column.array, dtype=np.float64)
    known = np.isfinite(values)
    if not known.any() or (values[known] != np.round(values[known])).any():
        raise DataError(f"{path}: column {column.label} holds no flags")
    index = np.ascontiguousarray(mtz.make_miller_array()[known], dtype=np.int32)
    flag, n_sets = _as_sets(index, values[known].astype(np.int64), f"{path}: column {column.label}")
    return KnownFlags(index, flag, n_sets, f"{path}, column {column.label}")


def _require_same_crystal(
    path: str, mtz: Any, unit_cell: UnitCellLike, space_group: SpaceGroupLike, length: float, angle: float
) -> None:
    ours = np.array(unit_cell_from(unit_cell).parameters)
    theirs = np.array(mtz.get_cell().parameters)
    difference = np.abs(theirs - ours)
    if (difference[:3] > length * ours[:3]).any() or (difference[3:] > angle).any():
        text = ", ".join(f"{x:g}" for x in theirs.round(3))
        raise DataError(
            f"{path}: its cell ({text}) is not that of the data; give flags of this crystal form, or widen "
            "r_free_flags.relative_length_tolerance and absolute_angle_tolerance"
        )
    if mtz.spacegroup is None:
        return

    def laue(group: SpaceGroupLike) -> set[tuple[int, ...]]:
        rotations = rotation_matrices(group).reshape(-1, 9)
        return {tuple(r) for r in np.concatenate([rotations, -rotations]).tolist()}

    if laue(mtz.spacegroup) != laue(space_group):
        raise DataError(f"{path}: its space group, {mtz.spacegroup.xhm()}, is of another Laue class than the data")


def _flag_column(path: str, mtz: Any) -> Any:
    by_label = {c.label.lower().replace("-", "").replace("_", ""): c for c in reversed(mtz.columns)}
    for label in _LABELS:
        if label in by_label:
            return by_label[label]
    listed = ", ".join(c.label for c in mtz.columns)
    raise DataError(f"{path}: no column of free-R flags (FreeR_flag, R-free-flags) among {listed[:200]}")


def _as_sets(index: IntArray, values: IndexArray, where: str) -> tuple[IndexArray, int]:
    """Flags whose free set is 0, and the number of sets."""
    found, counts = np.unique(values, return_counts=True)
    if len(found) < 2:
        raise DataError(f"{where}: has one value only, {found[0]}: no free set")
    if len(found) == 2:
        free = found[np.argmin(counts)]
        return sets_of_two(index, values == free)
    if found[0] < 0:
        raise DataError(f"{where}: has negative flags among {len(found)} values; this is no known convention")
    return values, int(found[-1]) + 1
