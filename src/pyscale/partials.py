"""Reflections recorded in parts on several rows: merged into one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .reflections import Flag, ReflectionTable
from .typing import BoolArray, FloatArray, IndexArray

__all__ = ["PartialSets", "merge_partials"]

_FULL = 0.99
_COMPLETE = 0.95
"""Share of what is recorded that must have summed intensities for these to stand for the reflection."""
_SAME_PLACE = 0.5
"""Parts of one reflection have one predicted centroid, within this many pixels and images."""


def merge_partials(table: ReflectionTable) -> tuple[ReflectionTable, int]:
    """Merge the rows of each reflection that was recorded in parts; see `PartialSets` for which these are.

    Summed intensities, their variances and partialities of the parts that have a sum add up. If these parts hold less
    than 95 % of what is recorded, the profile-fitted intensity of the part with the largest partiality is taken
    instead, if it has one. Profile-fitted intensities are not averaged: each is fitted to a part of the modelled
    profile, and those of its tails, where little was recorded, are no estimate of the whole
    (docs/reference/formats.md).

    The other columns are those of the part with the largest partiality, in the place of the first part. The column
    `n_records` tells how many rows each row was.

    Returns
    -------
    ReflectionTable
        The table itself when nothing was merged.
    int
        Number of rows that left.
    """
    sets = PartialSets.of(table)
    if sets.rows.size == 0:
        return table, 0
    merged, main, is_sum = table.copy(), sets.main, sets.is_sum
    recorded = table["partiality"][sets.rows]
    new = {"partiality": np.where(is_sum, sets.sums(recorded * sets.has_sum), sets.sums(recorded))}
    for name in ("intensity.sum.value", "intensity.sum.variance"):
        if name in table:
            total = sets.sums(np.where(sets.has_sum, table[name][sets.rows], 0.0))
            new[name] = np.where(is_sum, total, table[name][main])
    for name, values in new.items():
        merged[name] = _replaced(table[name], main, values)
    merged["flags"] = _replaced(table["flags"], main, _flags(table, sets))
    records = table.get("n_records")
    records = np.ones(len(table), np.int32) if records is None else records
    merged["n_records"] = _replaced(records, main, np.add.reduceat(records[sets.rows], sets.starts))
    return sets.in_first_place(merged), int(sets.rows.size - sets.starts.size)


@dataclass(frozen=True)
class PartialSets:
    """Rows that are parts of one reflection.

    Each is recorded to more than nothing and less than 99 % and integrated in some way. They have the column
    `partial_id`, Miller index and data set (`id`) in common, and `panel`, `entering` and predicted centroid
    (`xyzcal.px`) where there are such columns: an index recurs in a sweep, and a `partial_id` may not have been set.

    Attributes
    ----------
    rows : (n,) int64
        Rows of all sets of two or more parts, set after set.
    starts : (n_sets,) int64
        Where each set begins in `rows`.
    main : (n_sets,) int64
        The row with the largest partiality of each set.
    has_sum : (n,) bool
        Parts with a valid summed intensity.
    is_sum : (n_sets,) bool
        Whether the sums stand for the reflection; else the profile-fitted intensity of the main row does.
    """

    rows: IndexArray
    starts: IndexArray
    main: IndexArray
    has_sum: BoolArray
    is_sum: BoolArray

    @classmethod
    def of(cls, table: ReflectionTable) -> PartialSets:
        """Find the parts in a table; there are none without the columns `partiality` and `partial_id`."""
        rows, starts = _find_sets(table)
        if rows.size == 0:
            return cls(rows, starts, rows, np.zeros(0, np.bool_), np.zeros(0, np.bool_))
        partiality, number = table["partiality"][rows], np.repeat(np.arange(starts.size), _sizes(rows, starts))
        largest = np.maximum.reduceat(partiality, starts)
        is_largest = np.flatnonzero(partiality == largest[number])
        main = np.full(starts.size, np.iinfo(np.int64).max)
        np.minimum.at(main, number[is_largest], rows[is_largest])
        has_sum = _has(table, rows, "sum")
        share = np.add.reduceat(partiality * has_sum, starts) / np.add.reduceat(partiality, starts)
        return cls(rows, starts, main, has_sum, (share >= _COMPLETE) | ~_has(table, main, "prf"))

    @property
    def first(self) -> IndexArray:
        """The first row of each set, (n_sets,) int64."""
        return np.asarray(np.minimum.reduceat(self.rows, self.starts))

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum of a quantity of the parts (n,) over each set, (n_sets,) float64."""
        return np.asarray(np.add.reduceat(values, self.starts))

    def in_first_place(self, table: ReflectionTable) -> ReflectionTable:
        """Of each set the main row alone, where the first one was; all other rows as they are."""
        first = self.first
        keep = np.ones(len(table), dtype=np.bool_)
        keep[self.rows] = False
        keep[first] = True
        kept = np.flatnonzero(keep)
        taken = kept.copy()
        taken[np.searchsorted(kept, first)] = self.main
        result = table.select(taken)
        if table.input_row is not None:
            result.input_row = table.input_row[kept]
        return result


def _flags(table: ReflectionTable, sets: PartialSets) -> np.ndarray:
    """Flags of the main rows: which intensity is valid, and what speaks against any of the parts."""
    cleared = table["flags"][sets.main] & ~np.uint64(int(Flag.integrated))
    bad = np.bitwise_or.reduceat(table["flags"][sets.rows] & np.uint64(int(Flag.bad_shoebox)), sets.starts)
    kinds = np.where(sets.is_sum, np.uint64(int(Flag.integrated_sum)), np.uint64(int(Flag.integrated_prf)))
    flags: np.ndarray = cleared | bad | kinds
    return flags


def _replaced(values: np.ndarray, rows: IndexArray, new: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[rows] = new
    return values


def _sizes(rows: IndexArray, starts: IndexArray) -> IndexArray:
    return np.diff(np.append(starts, rows.size))


def _has(table: ReflectionTable, rows: IndexArray, which: str) -> BoolArray:
    """Which of some rows have a summed ("sum") or profile-fitted ("prf") intensity."""
    if f"intensity.{which}.value" not in table:
        return np.zeros(rows.size, np.bool_)
    bit = Flag.integrated_sum if which == "sum" else Flag.integrated_prf
    valid: BoolArray = (table["flags"][rows] & np.uint64(int(bit))) != 0
    return valid


def _find_sets(table: ReflectionTable) -> tuple[IndexArray, IndexArray]:
    """Rows of all sets of two or more parts, set after set, and where each set starts."""
    nothing = np.zeros(0, np.int64)
    if "partiality" not in table or "partial_id" not in table:
        return nothing, nothing
    integrated = np.uint64(int(Flag.integrated))
    candidate = (table["partiality"] < _FULL) & (table["partiality"] > 0) & ((table["flags"] & integrated) != 0)
    rows = _with_common_partial_id(table, np.flatnonzero(candidate).astype(np.int64))
    if rows.size == 0:
        return nothing, nothing
    keys = _keys(table, rows)
    predicted = np.zeros((rows.size, 3)) if "xyzcal.px" not in table else table["xyzcal.px"][rows]
    order = np.lexsort((predicted[:, 2], *keys[::-1]))
    rows, predicted, keys = rows[order], predicted[order], [key[order] for key in keys]
    same = np.logical_and.reduce([key[1:] == key[:-1] for key in keys])
    same &= (np.abs(predicted[1:] - predicted[:-1]) <= _SAME_PLACE).all(axis=1)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    sizes = _sizes(rows, starts)
    rows = rows[np.repeat(sizes > 1, sizes)]
    sizes = sizes[sizes > 1]
    return rows, (np.cumsum(sizes) - sizes).astype(np.int64)


def _keys(table: ReflectionTable, rows: IndexArray) -> list[np.ndarray]:
    """What parts of one reflection have in common, the predicted centroid apart; the data set and the id first."""
    keys = [table[name][rows] for name in ("id", "partial_id", "panel", "entering") if name in table]
    return [*keys, *table["miller_index"][rows].T]


def _with_common_partial_id(table: ReflectionTable, rows: IndexArray) -> IndexArray:
    """Rows that share their `partial_id` with another one of their data set; in most tables these are few."""
    partial_id, number = table["partial_id"][rows], table.get("id")
    data_set = np.zeros(rows.size, np.int32) if number is None else number[rows]
    rises = (data_set[1:] > data_set[:-1]) | ((data_set[1:] == data_set[:-1]) & (partial_id[1:] > partial_id[:-1]))
    if rises.all():
        return rows[:0]
    order = np.lexsort((partial_id, data_set))
    partial_id, data_set = partial_id[order], data_set[order]
    same = (partial_id[1:] == partial_id[:-1]) & (data_set[1:] == data_set[:-1])
    common = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    shared: IndexArray = rows[np.sort(order[common])]
    return shared
