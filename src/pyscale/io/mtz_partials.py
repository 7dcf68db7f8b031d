"""Records of unmerged MTZ files summed to observations: partials over consecutive batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..threads import thread_count
from ..typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["FRACTION_LIMITS", "Parts", "find_parts"]

_T = TypeVar("_T", bound=np.generic)

FRACTION_LIMITS = (0.95, 1.05)
"""Within these limits of the summed FRACTIONCALC a reflection is complete, as AIMLESS has it."""

_PARTS_BASE = 100
"""MPART = 100 * number of parts + number of this part, 0 for a reflection on one image."""


@dataclass(frozen=True)
class Parts:
    """Which records make an observation.

    Attributes
    ----------
    rows : (n_records,) int64
        Records, those of an observation together, in the order of their batches. Observations are in the order of
        their first records in the file.
    starts : (n_observations,) int64
        Where each observation begins in `rows`.
    main : (n_observations,) int64
        The record with the largest fraction of each.
    complete : (n_observations,) bool
        Recorded as a whole: on one image, or with fractions that add up to one.
    is_arranged : bool
        Whether `rows` rises from 0.
    """

    rows: IndexArray
    starts: IndexArray
    main: IndexArray
    complete: BoolArray
    is_arranged: bool = False

    @property
    def n_records(self) -> IntArray:
        """How many records each observation has, (n_observations,) int32."""
        counts: IntArray = np.diff(self.starts, append=self.rows.size).astype(np.int32)
        return counts

    @property
    def are_single(self) -> bool:
        """Whether each observation is one record, in the order of the file."""
        return self.rows is self.starts

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum of a quantity of the records (n_records,) over each observation, float64."""
        if self.are_single:
            return values
        return np.asarray(np.add.reduceat(self._arranged(values), self.starts, dtype=np.float64))

    def means(self, values: Sequence[FloatArray | None], weights: FloatArray) -> list[FloatArray | None]:
        """Weighted means over each observation; that of the main record where weights add up to nothing."""
        if self.are_single:
            return list(values)
        total = self.sums(weights)
        means: list[FloatArray | None] = []
        for column in values:
            if column is None:
                means.append(None)
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                mean = self.sums(column * weights) / total
            means.append(np.where(total > 0, mean, column[self.main]))
        return means

    def any(self, mask: BoolArray) -> BoolArray:
        """Whether any record of each observation is in a mask (n_records,)."""
        if self.are_single:
            return mask
        if not mask.any():
            return np.zeros(self.starts.size, np.bool_)
        return np.asarray(np.logical_or.reduceat(self._arranged(mask), self.starts))

    def arranged(self) -> Parts:
        """The same of records that have been put in the order of `rows`."""
        place = np.empty_like(self.rows)
        place[self.rows] = np.arange(self.rows.size)
        return Parts(np.arange(self.rows.size), self.starts, place[self.main], self.complete, is_arranged=True)

    def _arranged(self, values: NDArray[_T]) -> NDArray[_T]:
        return values if self.is_arranged else values[self.rows]


def find_parts(miller_index: IntArray, m_isym: IntArray, batch: IntArray, columns: Mapping[str, FloatArray]) -> Parts:
    """Find the records that belong together.

    Parts of a reflection have the same index and ISYM, M > 0 and consecutive batches; MPART, where there is such a
    column, starts again with the next reflection. Without FRACTIONCALC the number of parts in MPART tells what is
    complete, and without either all are taken to be.

    Parameters
    ----------
    miller_index : (n, 3) int32
    m_isym : (n,) int32
        256 M + ISYM.
    batch : (n,) int32
        Numbers of the batches, of which those of different sweeps never follow each other.
    columns : mapping of str to (n,) float64
        FRACTIONCALC and MPART, where the file has them.
    """
    n = len(batch)
    part = m_isym >= 256
    if not part.any():
        rows = np.arange(n, dtype=np.int64)
        return Parts(rows, rows, rows, np.ones(n, np.bool_))
    order, follows = _consecutive(miller_index, m_isym, batch)
    fraction, mpart = columns.get("FRACTIONCALC"), columns.get("MPART")
    if mpart is not None and not (mpart[part] > 0).any():
        mpart = None
    follows &= part[order[1:]]
    if mpart is not None:
        number = np.rint(mpart[order]).astype(np.int64) % _PARTS_BASE
        follows &= (number[1:] > 1) & (number[:-1] > 0)
    starts = np.flatnonzero(np.concatenate([[True], ~follows])).astype(np.int64)
    rows, starts = _in_file_order(order, starts)
    observed = Parts(rows, starts, _main(rows, starts, fraction), np.ones(starts.size, np.bool_))
    single = ~part[rows[starts]]
    return Parts(rows, starts, observed.main, single | _complete(observed, fraction, mpart))


def _complete(parts: Parts, fraction: FloatArray | None, mpart: FloatArray | None) -> BoolArray:
    if fraction is not None:
        low, high = FRACTION_LIMITS
        total = parts.sums(fraction)
        return (total >= low) & (total <= high)
    if mpart is not None:
        wanted = np.rint(mpart[parts.rows[parts.starts]]).astype(np.int64) // _PARTS_BASE
        complete: BoolArray = np.maximum(wanted, 1) == parts.n_records
        return complete
    return parts.complete


def _consecutive(miller_index: IntArray, m_isym: IntArray, batch: IntArray) -> tuple[IndexArray, BoolArray]:
    """Order by index, ISYM and batch, and which records follow their predecessors: the same, one batch later."""
    batch_key = batch.astype(np.int64) - int(batch.min())
    key = _reflection_key(miller_index, m_isym, int(batch_key.max()) + 2)
    key *= int(batch_key.max()) + 2
    key += batch_key
    order = _core.stable_order(key, thread_count())
    return order, np.diff(key[order]) == 1


def _reflection_key(miller_index: IntArray, m_isym: IntArray, factor: int) -> IndexArray:
    """One number for each index and ISYM, small enough to be multiplied by a factor."""
    columns = [*miller_index.T, m_isym]
    lowest = [int(c.min()) for c in columns]
    spans = [int(c.max()) - low + 1 for c, low in zip(columns, lowest, strict=True)]
    if float(np.prod(np.array(spans, np.float64))) * factor > 2.0**62:
        return np.unique(np.column_stack(columns), axis=0, return_inverse=True)[1].ravel().astype(np.int64)
    key = np.zeros(len(m_isym), np.int64)
    for column, low, span in zip(columns, lowest, spans, strict=True):
        key *= span
        key += column
        key -= low
    return key


def _in_file_order(order: IndexArray, starts: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Arrange observations by their first records in the file."""
    sizes = np.diff(starts, append=order.size)
    observation = np.full(order.size, -1, np.int64)
    observation[np.minimum.reduceat(order, starts)] = np.arange(starts.size)
    by_first = observation[observation >= 0]
    sizes, begins = sizes[by_first], starts[by_first]
    new_starts = np.cumsum(sizes) - sizes
    rows = order[np.arange(order.size) - np.repeat(new_starts, sizes) + np.repeat(begins, sizes)]
    return rows, new_starts.astype(np.int64)


def _main(rows: IndexArray, starts: IndexArray, fraction: FloatArray | None) -> IndexArray:
    sizes = np.diff(starts, append=rows.size)
    if fraction is None:
        middle: IndexArray = rows[starts + sizes // 2]
        return middle
    value = fraction[rows]
    largest = np.flatnonzero(value == np.repeat(np.maximum.reduceat(value, starts), sizes))
    owner = np.repeat(np.arange(starts.size), sizes)[largest]
    main: IndexArray = rows[largest[np.concatenate([[True], owner[1:] != owner[:-1]])]]
    return main
