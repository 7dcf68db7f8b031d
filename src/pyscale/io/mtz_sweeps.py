"""Sweeps of an unmerged MTZ file: which batches follow each other, and at which angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["BatchHeaders", "Sweep", "read_batch_headers", "sweeps_of_headers", "sweeps_of_records"]

_PHI_START, _PHI_END = 36, 37
_CRYSTAL = 12
_STILL_WIDTH = 1e-6
_LARGEST_GAP = 1000
"""Batches that may be missing inside a sweep."""


@dataclass(frozen=True)
class BatchHeaders:
    """Batch headers in the order of their numbers.

    Attributes
    ----------
    number, dataset_id, crystal : (n,) int64
    values : (n, 156) float64
        The real numbers of the CCP4 library's batch header, in its order.
    """

    number: IndexArray
    dataset_id: IndexArray
    crystal: IndexArray
    values: FloatArray

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True)
class Sweep:
    """Batches that follow each other in rotation.

    Attributes
    ----------
    number : (n,) int64
        Batch numbers, rising; some may be missing in between.
    start, width : float
        Rotation angle at the beginning of the first batch, and of one batch (degrees). Negative widths are of
        sweeps in which angles fall. Width 0: a still.
    headers : (n, 156) float64 or None
    dataset_id : int
        Of the MTZ file; -1: unknown.
    """

    number: IndexArray
    start: float
    width: float
    headers: FloatArray | None
    dataset_id: int

    @property
    def is_still(self) -> bool:
        """Whether nothing rotates."""
        return self.width == 0.0

    @property
    def n_images(self) -> int:
        """How many images there are from the first to the last, missing ones counted."""
        return int(self.number[-1] - self.number[0]) + 1

    def middle(self, batch: IntArray | IndexArray) -> FloatArray:
        """Angle (degrees) in the middle of batches."""
        return np.asarray(self.start + (batch - self.number[0] + 0.5) * self.width)


def read_batch_headers(batches: Sequence[Any]) -> BatchHeaders | None:
    """Return the numbers in batch headers (`gemmi.Mtz.Batch`), sorted; None if there are none."""
    if not batches:
        return None
    number = np.array([b.number for b in batches], np.int64)
    order = np.argsort(number, kind="stable")
    values = np.array([list(b.floats) for b in batches], np.float64)
    dataset = np.array([b.dataset_id for b in batches], np.int64)
    crystal = np.array([b.ints[_CRYSTAL] for b in batches], np.int64)
    return BatchHeaders(number[order], dataset[order], crystal[order], values[order])


def sweeps_of_headers(headers: BatchHeaders) -> list[Sweep]:
    """Tell sweeps apart by data set, crystal, image width, and angles that do not go on with the batch numbers."""
    start = headers.values[:, _PHI_START]
    width = headers.values[:, _PHI_END] - start
    other = (np.diff(headers.dataset_id) != 0) | (np.diff(headers.crystal) != 0)
    size = np.maximum(np.abs(width[:-1]), np.abs(width[1:]))
    other |= (np.abs(np.diff(width)) > 0.02 * size + 1e-4) | (size < _STILL_WIDTH)
    begins = _begins(headers.number, start, width[:-1], 0.5, other)
    sweeps = []
    for first, end in zip(begins, [*begins[1:], len(headers)], strict=True):
        angles, numbers = start[first:end], headers.number[first:end]
        step = _step(numbers, angles, width[first:end])
        # Falling angles: an image then begins where its header says that it ends.
        origin = angles[0] if step * width[first] >= 0 else angles[0] + width[first]
        sweep = Sweep(numbers, float(origin), step, headers.values[first:end], int(headers.dataset_id[first]))
        sweeps.append(sweep)
    return sweeps


def sweeps_of_records(batch: IntArray, angle: FloatArray | None) -> list[Sweep]:
    """Tell sweeps apart without headers, by the column ROT (degrees); without it each gap in batches ends one.

    Without angles a batch is taken to be one degree wide, from 0.
    """
    number = np.unique(batch).astype(np.int64)
    if angle is None:
        begins = np.flatnonzero(np.concatenate([[True], np.diff(number) > 1])).tolist()
        ends = [*begins[1:], number.size]
        return [Sweep(number[a:b], 0.0, 1.0, None, -1) for a, b in zip(begins, ends, strict=True)]
    middle = _medians(batch, angle)
    steps = np.diff(middle)[np.diff(number) == 1]
    width = float(np.median(steps)) if steps.size else 0.0
    if abs(width) < 1e-3:
        return [Sweep(number[k : k + 1], float(middle[k]), 0.0, None, -1) for k in range(number.size)]
    none = np.zeros(number.size - 1, np.bool_)
    begins = _begins(number, middle, np.full(number.size - 1, width), 3.0, none)
    sweeps = []
    for first, end in zip(begins, [*begins[1:], number.size], strict=True):
        mine = (batch >= number[first]) & (batch <= number[end - 1])
        sweeps.append(_line(number[first:end], batch[mine], angle[mine], width))
    return sweeps


def _begins(number: IndexArray, angle: FloatArray, width: FloatArray, slack: float, other: BoolArray) -> list[int]:
    """Where sweeps begin: at `other`, and where angles do not continue within `slack` image widths."""
    turned, expected = np.diff(angle), np.diff(number) * np.abs(width)
    neighbours = np.diff(number) == 1
    allowed = slack * np.abs(width) + 1e-3
    continues = np.zeros(turned.size, np.bool_)
    for direction in (1.0, -1.0):
        off = turned - direction * expected
        off = np.where(neighbours, off - 360.0 * np.rint(off / 360.0), off)
        continues |= np.abs(off) <= allowed
    begins: list[int] = np.flatnonzero(
        np.concatenate([[True], other | ~continues | (np.diff(number) > _LARGEST_GAP)])
    ).tolist()
    return begins


def _step(number: IndexArray, angle: FloatArray, width: FloatArray) -> float:
    """Rotation from one batch to the next."""
    size = float(np.median(np.abs(width)))
    if size < _STILL_WIDTH:
        return 0.0
    turned = np.diff(angle) / np.diff(number)
    falls = turned.size > 0 and float(np.median(turned)) < 0
    return float(np.round(-size if falls else size, 5))


def _medians(batch: IntArray, angle: FloatArray) -> FloatArray:
    order = np.lexsort((angle, batch))
    starts = np.flatnonzero(np.concatenate([[True], np.diff(batch[order]) != 0]))
    sizes = np.diff(starts, append=batch.size)
    medians: FloatArray = angle[order[starts + sizes // 2]]
    return medians


def _line(number: IndexArray, batch: IntArray, angle: FloatArray, width: float) -> Sweep:
    """The straight line through the angles of the records of a sweep; angles beyond 360 degrees are unwound."""
    place = (batch - number[0]).astype(np.float64) + 0.5
    offset = float(np.median(angle[batch == number[0]])) - 0.5 * width
    angle = angle + 360.0 * np.rint((offset + place * width - angle) / 360.0)
    if number.size > 1:
        spread = place - place.mean()
        slope = float((spread * angle).sum() / (spread**2).sum())
        width = float(np.round(slope, 3)) or slope
    return Sweep(number, float(np.round(np.median(angle - place * width), 3)), width, None, -1)
