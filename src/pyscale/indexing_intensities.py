"""Normalised intensities of data sets, comparable under every indexing that the lattice allows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _core
from .indexing_operators import IndexingOperators
from .preparation import UnitCell
from .symmetry import inverse_d_squared
from .typing import FloatArray, IndexArray, IntArray

__all__ = ["IndexedIntensities", "UniqueIntensities", "unique_intensities"]

_LARGEST_BOX = 5e7
_SHELLS = 30
_ROWS_PER_BIN = 50
_MOST_BINS = 20
_E2_LIMITS = (-1.0, 4.0)
_SYSTEMATIC = 0.05
"""Variance of E^2 from what scales do not yet correct."""
_MIN_PRECISION = 1e-3
_OUTLYING = 6.0
"""Times the mean of its bin, at which intensities are cut for the mean."""


@dataclass(frozen=True)
class IndexedIntensities:
    """Observations, corrected for Lorentz-polarisation; neither scales nor decay matter.

    Attributes
    ----------
    data_set : (n,) int64
        Number of its data set; 0 everywhere for a reference.
    miller_index : (n, 3) int32
    intensity, variance : (n,) float64
        Variances positive.
    """

    data_set: IndexArray
    miller_index: IntArray
    intensity: FloatArray
    variance: FloatArray

    def followed_by(self, other: IndexedIntensities, number: int) -> IndexedIntensities:
        """Return these and others, all of one further data set."""
        return IndexedIntensities(
            np.concatenate([self.data_set, np.full(other.intensity.size, number, dtype=np.int64)]),
            np.concatenate([self.miller_index, other.miller_index]),
            np.concatenate([self.intensity, other.intensity]),
            np.concatenate([self.variance, other.variance]),
        )


@dataclass(frozen=True)
class UniqueIntensities:
    """Normalised intensity of each unique reflection of each data set, sorted by data set.

    Attributes
    ----------
    data_set : (n,) int64
    reflection : (n,) int64
        Column of `merged_reflection`.
    value : (n,) float64
        E^2 - <E^2>.
    precision : (n,) float64
        Inverse variance of `value`; intensities themselves have variance 1.
    merged_reflection : (k, n_reflections) int64
        Number of the group of equivalents that a reflection belongs to under each operator.
    n_data_sets, n_merged : int
    """

    data_set: IndexArray
    reflection: IndexArray
    value: FloatArray
    precision: FloatArray
    merged_reflection: IndexArray
    n_data_sets: int
    n_merged: int

    def __len__(self) -> int:
        return int(self.value.size)

    def select(self, rows: np.ndarray | slice) -> UniqueIntensities:
        """Return some rows only."""
        return UniqueIntensities(
            self.data_set[rows],
            self.reflection[rows],
            self.value[rows],
            self.precision[rows],
            self.merged_reflection,
            self.n_data_sets,
            self.n_merged,
        )


def unique_intensities(
    rows: IndexedIntensities, cell: UnitCell, operators: IndexingOperators, *, n_data_sets: int, n_threads: int
) -> UniqueIntensities:
    """Normalise intensities and average equivalents within each data set.

    E^2 is I over its mean in a bin of resolution; every data set has bins of its own, as many as its rows allow, so
    that neither scales nor decay remain. Large E^2 are cut.
    """
    indices, index_number = _distinct(rows.miller_index)
    core, n_core = _group_numbers(indices, operators.core, n_threads)
    order = _canonical_order(rows.data_set * n_core + core[index_number], rows.intensity, rows.variance)
    data_set, index_number = rows.data_set[order], index_number[order]
    quantile = _quantiles(index_number, inverse_d_squared(cell, indices))
    value, precision = _normalised(data_set, quantile, rows.intensity[order], rows.variance[order], n_data_sets)
    use = precision > _MIN_PRECISION
    key, value, total = _averaged(data_set[use] * n_core + core[index_number[use]], value[use], precision[use])
    representative = np.zeros((n_core, 3), dtype=np.int32)
    representative[core[::-1]] = indices[::-1]
    moved = np.concatenate([operators.apply(k, representative) for k in range(len(operators))])
    merged, n_merged = _group_numbers(moved, operators.point_group, n_threads)
    return UniqueIntensities(
        data_set=key // max(n_core, 1),
        reflection=key % max(n_core, 1),
        value=value,
        precision=total,
        merged_reflection=merged.reshape(len(operators), n_core),
        n_data_sets=n_data_sets,
        n_merged=n_merged,
    )


def _canonical_order(key: IndexArray, intensity: FloatArray, variance: FloatArray) -> IndexArray:
    """Order by key and, among equal keys, by value: one that the order of the rows cannot change."""
    order = np.argsort(key)
    same = key[order[1:]] == key[order[:-1]]
    tied = np.zeros(key.size, dtype=np.bool_)
    tied[1:] |= same
    tied[:-1] |= same
    rows = order[tied]
    order[tied] = rows[np.lexsort((variance[rows], intensity[rows], key[rows]))]
    return order


def _averaged(key: IndexArray, value: FloatArray, precision: FloatArray) -> tuple[IndexArray, FloatArray, FloatArray]:
    """Distinct keys of rows sorted by key, the weighted mean of each and its precision."""
    if not key.size:
        return key, value, precision
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    total = np.add.reduceat(precision, starts)
    return key[starts], np.add.reduceat(precision * value, starts) / total, total


def _distinct(miller_index: IntArray) -> tuple[IntArray, IndexArray]:
    """Different Miller indices, and which of them each row has."""
    low = miller_index.min(axis=0, initial=0).astype(np.int64)
    size = miller_index.max(axis=0, initial=0).astype(np.int64) - low + 1
    h, k, l = (miller_index.astype(np.int64) - low).T
    cell = (h * size[1] + k) * size[2] + l
    if np.prod(size.astype(np.float64)) <= _LARGEST_BOX:
        occupied = np.zeros(int(np.prod(size)), dtype=np.bool_)
        occupied[cell] = True
        found = np.flatnonzero(occupied)
        number: IndexArray = (np.cumsum(occupied) - 1)[cell]
    else:
        distinct: tuple[IndexArray, IndexArray] = np.unique(cell, return_inverse=True)
        found, number = distinct
    indices = np.stack([found // (size[1] * size[2]), found // size[2] % size[1], found % size[2]], axis=1) + low
    return np.ascontiguousarray(indices, dtype=np.int32), number


def _group_numbers(indices: IntArray, rotations: IntArray, n_threads: int) -> tuple[IndexArray, int]:
    """Number of the group of equivalents of each index, Friedel mates together, and how many there are."""
    rank = np.arange(len(indices), dtype=np.int64)
    groups = _core.group_reflections(np.ascontiguousarray(indices), rotations, rank, n_threads)
    n = groups["offsets"].size - 1
    number = np.empty(len(indices), dtype=np.int64)
    number[groups["order"]] = np.repeat(np.arange(n), np.diff(groups["offsets"]))
    return number, n


def _quantiles(index_number: IndexArray, inverse_d2: FloatArray) -> FloatArray:
    """Fraction of all rows at lower resolution, of each row; in [0, 1)."""
    count = np.bincount(index_number, minlength=inverse_d2.size)
    by_resolution = np.argsort(inverse_d2, kind="stable")
    quantile = np.empty(inverse_d2.size)
    quantile[by_resolution] = (np.cumsum(count[by_resolution]) - 0.5) / max(index_number.size, 1)
    result: FloatArray = np.clip(quantile, 0.0, 1.0 - 1e-9)[index_number]
    return result


def _normalised(
    data_set: IndexArray, quantile: FloatArray, intensity: FloatArray, variance: FloatArray, n_data_sets: int
) -> tuple[FloatArray, FloatArray]:
    """E^2 - <E^2> per data set and bin, and the precision of each; 0 where there is none."""
    mean, bins = _expected(data_set, quantile, intensity, n_data_sets)
    usable = mean > 0
    e2 = np.divide(intensity, mean, out=np.zeros_like(intensity), where=usable)
    spread = np.divide(variance, mean**2, out=np.zeros_like(intensity), where=usable)
    precision = np.where(usable, 1.0 / (spread + _SYSTEMATIC), 0.0)
    value = np.clip(e2, *_E2_LIMITS)
    n_bins = n_data_sets * _MOST_BINS
    weight = np.bincount(bins, precision, n_bins)
    centre = np.bincount(bins, precision * value, n_bins) / np.maximum(weight, _MIN_PRECISION)
    return value - centre[bins], precision


def _expected(
    data_set: IndexArray, quantile: FloatArray, intensity: FloatArray, n_data_sets: int
) -> tuple[FloatArray, IndexArray]:
    """Mean intensity of the data set at the resolution of each row, and the row's bin; 0 where it is not positive.

    The fall-off common to all data sets is taken out first, for it is steep in the few bins of a still.
    """
    scale = _bin_means(data_set, intensity, n_data_sets)[data_set]
    positive = scale > 0
    relative = np.divide(intensity, scale, out=np.zeros_like(intensity), where=positive)
    shell = (quantile * _SHELLS).astype(np.int64)
    fall_off = _bin_means(shell[positive], relative[positive], _SHELLS)[shell]
    positive &= fall_off > 0
    flat = np.divide(relative, fall_off, out=np.zeros_like(intensity), where=positive)
    n_bins = np.clip(np.bincount(data_set, minlength=n_data_sets) // _ROWS_PER_BIN, 1, _MOST_BINS)
    bins = data_set * _MOST_BINS + (quantile * n_bins[data_set]).astype(np.int64)
    mean = _bin_means(bins, flat, n_data_sets * _MOST_BINS)[bins] * fall_off * scale
    return np.where(positive, mean, 0.0), bins


def _bin_means(bins: IndexArray, intensity: FloatArray, n_bins: int) -> FloatArray:
    """Mean intensity per bin, that of intensities cut at some multiple of it; 0 without data."""
    count = np.maximum(np.bincount(bins, minlength=n_bins), 1)
    mean = np.bincount(bins, intensity, n_bins) / count
    cut = np.minimum(intensity, _OUTLYING * np.maximum(mean, 0.0)[bins])
    result: FloatArray = np.bincount(bins, cut, n_bins) / count
    return result
