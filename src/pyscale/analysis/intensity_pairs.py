"""Pairs of reflections whose difference tells how intensities are distributed: neighbours, and mates by a twin law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..symmetry import SpaceGroupLike, UnitCellLike, group_operations, inverse_d_squared
from ..typing import BoolArray, FloatArray, IndexArray, IntArray
from .normalised import NormalisedIntensities

__all__ = ["Estimate", "IndexLookup", "moment_ratio", "neighbours", "twin_mates"]

#: Noise of z (variance relative to that of the intensities) above which resolution tells nothing.
_MOST_NOISE = 1.0
#: By how much variances may be wrong, relatively: they are subtracted.
_VARIANCE_ERROR = 0.15
_MOST_MATES = 30_000


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error, and how many pairs or reflections it comes from."""

    value: float
    sigma: float
    n: int


class IndexLookup:
    """Finds reflections by their Miller indices.

    Parameters
    ----------
    miller_index : (m, 3) int32
        In lexicographical order, each once.
    """

    def __init__(self, miller_index: IntArray) -> None:
        self._reach = int(np.abs(miller_index).max(initial=0)) * 4 + 16
        self._keys = self.key(miller_index)

    def key(self, miller_index: IntArray) -> IndexArray:
        """Numbers in the lexicographical order of the indices, (k,) int64."""
        h, k, m = (miller_index[:, i].astype(np.int64) + self._reach for i in range(3))
        width = 2 * self._reach + 1
        result: IndexArray = (h * width + k) * width + m
        return result

    def find(self, keys: IndexArray) -> IndexArray:
        """Rows of reflections by their keys, -1 where there is none, (k,) int64."""
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        result: IndexArray = np.where(self._keys[place] == keys, place, -1)
        return result


def usable(data: NormalisedIntensities, centric: bool) -> BoolArray:
    """Reflections of one kind where noise leaves something to see, (m,) bool."""
    result: BoolArray = (data.is_centric == centric) & (data.noise < _MOST_NOISE)
    return result


def neighbours(
    data: NormalisedIntensities, rows: BoolArray, unit_cell: UnitCellLike, space_group: SpaceGroupLike
) -> tuple[IndexArray, IndexArray]:
    """Pairs of some reflections whose indices differ by even numbers, three directions (Padilla & Yeates 2003)."""
    lookup = IndexLookup(data.miller_index)
    first, second = [], []
    candidates = np.flatnonzero(rows)
    index = data.miller_index[candidates]
    for step in _steps(unit_cell, space_group):
        partner = lookup.find(lookup.key(index + step))
        found = (partner >= 0) & rows[partner]
        first.append(candidates[found])
        second.append(partner[found])
    return np.concatenate(first), np.concatenate(second)


def _steps(unit_cell: UnitCellLike, space_group: SpaceGroupLike) -> IntArray:
    """The three shortest independent differences of even indices that the centring allows."""
    grid = np.array(np.meshgrid(*[np.arange(-6, 7, 2)] * 3, indexing="ij")).reshape(3, -1).T.astype(np.int32)
    grid = grid[grid.any(axis=1)]
    allowed = np.ones(len(grid), np.bool_)
    for centring in group_operations(space_group).cen_ops:
        allowed &= (grid @ np.array(centring)) % 24 == 0
    grid = grid[allowed]
    length = inverse_d_squared(unit_cell, grid)
    chosen: list[IntArray] = []
    for step in grid[np.lexsort((*-grid.T, np.round(length / length.min(), 6)))]:
        if np.linalg.matrix_rank(np.array([*chosen, step])) == len(chosen) + 1:
            chosen.append(step)
        if len(chosen) == 3:
            break
    return np.array(chosen, dtype=np.int32)


def twin_mates(
    data: NormalisedIntensities, rows: BoolArray, operator: FloatArray, rotations: IntArray
) -> tuple[IndexArray, IndexArray]:
    """Pairs of some reflections that a twin law relates, each once.

    Parameters
    ----------
    operator : (3, 3) float64
        T of h' = h T.
    rotations : (k, 3, 3) int32
        Of the point group.
    """
    candidates = np.flatnonzero(rows)
    if len(candidates) > _MOST_MATES:
        candidates = candidates[:: -(-len(candidates) // _MOST_MATES)]
    product = data.miller_index[candidates] @ operator
    whole = np.abs(product - np.rint(product)).max(axis=1, initial=0) < 1e-6
    candidates, moved = candidates[whole], np.rint(product[whole]).astype(np.int32)
    lookup = IndexLookup(data.miller_index)
    largest = np.full(len(moved), np.iinfo(np.int64).min)
    for rotation in rotations:
        image = moved @ rotation
        for sign in (1, -1):
            largest = np.maximum(largest, lookup.key(sign * image))
    partner = lookup.find(largest)
    found = (partner >= 0) & (partner != candidates) & rows[partner]
    low, high = np.minimum(candidates, partner)[found], np.maximum(candidates, partner)[found]
    _, once = np.unique(low * len(data) + high, return_index=True)
    return low[once], high[once]


def moment_ratio(data: NormalisedIntensities, first: IndexArray, second: IndexArray) -> Estimate:
    """Sum of (z1 - z2)^2 over sum of (z1 + z2)^2, both free of the noise that measurement adds.

    It is <L^2> of L = (I1 - I2) / (I1 + I2) where L and the sum are independent, as for Wilson's distributions and
    perfect twins, without the bias of L by noise and without a choice of strong pairs. Noisy resolution ranges weigh
    less. The standard error knows that pairs have reflections in common, and that variances may be wrong.
    """
    n = len(first)
    if n == 0:
        return Estimate(np.nan, np.nan, 0)
    variance = data.sigma[first] ** 2 + data.sigma[second] ** 2
    weight = 1 / (1 + 0.5 * (data.noise[first] + data.noise[second])) ** 2
    total = data.z[first] + data.z[second]
    above = weight * ((data.z[first] - data.z[second]) ** 2 - variance)
    below = weight * (total**2 - variance)
    whole = float(below.sum())
    if whole <= 0:
        return Estimate(np.nan, np.nan, n)
    ratio = float(above.sum()) / whole
    influence = (above - ratio * below) / whole
    each = np.bincount(first, influence, len(data)) + np.bincount(second, influence, len(data))
    # Twice the pairs' own part is counted through both ends.
    statistical = max(float((each**2).sum() - (influence**2).sum()), 0.0)
    systematic = _VARIANCE_ERROR * (1 - ratio) * float((weight * variance).sum()) / whole
    return Estimate(ratio, float(np.sqrt(statistical + systematic**2)), n)
