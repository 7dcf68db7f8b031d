"""Reflections recorded in parts on several rows: merged into the first of them."""

from __future__ import annotations

import numpy as np

from .reflections import Flag, ReflectionTable
from .typing import BoolArray, IndexArray, IntArray

__all__ = ["merge_partials"]

_FULL = 0.99


def merge_partials(table: ReflectionTable) -> tuple[ReflectionTable, int]:
    """Merge rows of a data set (column `id`) that share a `partial_id` and are each recorded to less than 99 %.

    Summed intensities and variances add up; profile-fitted ones, each an estimate of the whole, are averaged with
    weights I^2/V, as dials.scale does; partialities add up. The first row stays, the others leave.

    Returns
    -------
    ReflectionTable
        The table itself when nothing was merged.
    int
        Number of rows that left.
    """
    if "partiality" not in table or "partial_id" not in table:
        return table, 0
    rows, starts = _partial_sets(table)
    if rows.size == 0:
        return table, 0
    first = rows[starts]
    merged = table.copy()
    flags = table["flags"].copy()
    for which, bit in (("sum", Flag.integrated_sum), ("prf", Flag.integrated_prf)):
        if f"intensity.{which}.value" in table:
            complete = _merge_intensity(table, merged, which, rows, starts, np.uint64(int(bit)))
            flags[first[~complete]] &= ~np.uint64(int(bit))
    partiality = table["partiality"].copy()
    partiality[first] = np.add.reduceat(table["partiality"][rows], starts)
    merged["partiality"] = partiality
    merged["flags"] = flags
    keep = np.ones(len(table), dtype=np.bool_)
    keep[rows] = False
    keep[first] = True
    return merged.select(keep), int((~keep).sum())


def _partial_sets(table: ReflectionTable) -> tuple[IndexArray, IndexArray]:
    """Rows of all sets of two or more parts, set after set in table order, and where each set starts."""
    integrated = np.uint64(int(Flag.integrated))
    candidate = (table["partiality"] < _FULL) & (table["partiality"] > 0) & ((table["flags"] & integrated) != 0)
    rows = _with_common_partial_id(table, np.flatnonzero(candidate).astype(np.int64))
    if rows.size == 0:
        return rows, rows
    h, k, l = table["miller_index"][rows].T
    rows = rows[np.lexsort((l, k, h, table["partial_id"][rows], _data_set(table, rows)))]
    same = _same_reflection(table, rows)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    sizes = np.diff(np.append(starts, rows.size))
    rows = rows[np.repeat(sizes > 1, sizes)]
    sizes = sizes[sizes > 1]
    return rows, (np.cumsum(sizes) - sizes).astype(np.int64)


def _data_set(table: ReflectionTable, rows: IndexArray) -> IntArray:
    number = table.get("id")
    found: IntArray = np.zeros(rows.size, np.int32) if number is None else number[rows]
    return found


def _with_common_partial_id(table: ReflectionTable, rows: IndexArray) -> IndexArray:
    """Rows that share their `partial_id` with another one of their data set; in most tables these are few."""
    partial_id, data_set = table["partial_id"][rows], _data_set(table, rows)
    rises = (data_set[1:] > data_set[:-1]) | ((data_set[1:] == data_set[:-1]) & (partial_id[1:] > partial_id[:-1]))
    if rises.all():
        return rows[:0]
    order = np.lexsort((partial_id, data_set))
    partial_id, data_set = partial_id[order], data_set[order]
    same = (partial_id[1:] == partial_id[:-1]) & (data_set[1:] == data_set[:-1])
    common = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    shared: IndexArray = rows[np.sort(order[common])]
    return shared


def _same_reflection(table: ReflectionTable, rows: IndexArray) -> BoolArray:
    """Whether each row and its predecessor are parts of one reflection."""
    partial_id, miller_index = table["partial_id"][rows], table["miller_index"][rows]
    data_set = _data_set(table, rows)
    same: BoolArray = (partial_id[1:] == partial_id[:-1]) & (miller_index[1:] == miller_index[:-1]).all(axis=1)
    same &= data_set[1:] == data_set[:-1]
    return same


def _merge_intensity(
    table: ReflectionTable,
    merged: ReflectionTable,
    which: str,
    rows: IndexArray,
    starts: IndexArray,
    bit: np.uint64,
) -> BoolArray:
    """Write the merged intensities into the first rows; return for each set whether all parts were valid."""
    value, variance = table[f"intensity.{which}.value"], table[f"intensity.{which}.variance"]
    complete: BoolArray = np.logical_and.reduceat((table["flags"][rows] & bit) != 0, starts)
    parts, part_variances = value[rows], variance[rows]
    if which == "sum":
        new_value, new_variance = np.add.reduceat(parts, starts), np.add.reduceat(part_variances, starts)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = parts**2 / part_variances
            total = np.add.reduceat(weight, starts)
            new_value = np.add.reduceat(weight * parts, starts) / total
            new_variance = np.add.reduceat(weight * part_variances, starts) / total
            complete = complete & (total > 0) & np.isfinite(new_value) & np.isfinite(new_variance)
    first = rows[starts][complete]
    values, variances = value.copy(), variance.copy()
    values[first], variances[first] = new_value[complete], new_variance[complete]
    merged[f"intensity.{which}.value"], merged[f"intensity.{which}.variance"] = values, variances
    return complete
