"""Indexings under which data sets agree best with the mean of the others, found by block coordinate ascent."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .indexing_intensities import UniqueIntensities
from .typing import FloatArray, IndexArray

__all__ = ["Agreement", "Consensus", "agreement", "find_consensus"]

_MOST_FOLDS = 32
_LARGEST_FOLD_TABLE = 20_000_000
_MOST_ROUNDS = 30
_RANDOM_STARTS = 3
_SMALL_JOB = 2_000_000
"""Values, times operators, up to which several starts cost little."""
_MIN_PRECISION = 1e-6
_LARGEST_CORRELATION = 0.999


@dataclass(frozen=True)
class Agreement:
    """How data sets agree with the mean of the others, under each operator.

    Attributes
    ----------
    correlation : (n_data_sets, k) float64
        Weighted correlation coefficient; 0 where it is undefined.
    n_common : (n_data_sets, k) float64
        Effective number of unique reflections in common, (sum w)^2 / sum w^2.
    """

    correlation: FloatArray
    n_common: FloatArray

    @property
    def fisher_z(self) -> FloatArray:
        """Artanh of the correlations."""
        result: FloatArray = np.arctanh(np.clip(self.correlation, -_LARGEST_CORRELATION, _LARGEST_CORRELATION))
        return result

    @property
    def variance(self) -> FloatArray:
        """Variance of `fisher_z`; infinite with three or fewer reflections in common."""
        n = self.n_common - 3.0
        with np.errstate(divide="ignore"):
            result: FloatArray = np.where(n > 0, 1.0 / np.maximum(n, 0.0), np.inf)
        return result


@dataclass(frozen=True)
class Consensus:
    """Operator of each data set, (n_data_sets,) int64, and the sum over data sets of n times correlation."""

    operator: IndexArray
    objective: float


@dataclass
class _Fold:
    """Data sets that are judged together by all others."""

    rows: UniqueIntensities
    starts: IndexArray
    numbers: IndexArray

    def sums(self, operator: IndexArray) -> FloatArray:
        """Precision, and precision times value, summed per merged reflection: (2, n_merged)."""
        chosen = self.rows.merged_reflection[operator[self.rows.data_set], self.rows.reflection]
        precision, n = self.rows.precision, self.rows.n_merged
        return np.stack([np.bincount(chosen, precision, n), np.bincount(chosen, precision * self.rows.value, n)])

    def compare(self, others: FloatArray) -> Agreement:
        """Correlate the data sets `numbers` with the mean of others, given as their sums."""
        correlation, n_common = np.zeros((2, self.numbers.size, len(self.rows.merged_reflection)))
        own = self.rows.precision / (1.0 + self.rows.precision)
        known = others[0] > _MIN_PRECISION
        mean = np.divide(others[1], others[0], out=np.zeros_like(others[1]), where=known)
        weight = np.where(known, others[0] / (1.0 + others[0]), 0.0)
        for k, merged in enumerate(self.rows.merged_reflection):
            column = merged[self.rows.reflection]
            w, x, y = own * weight[column], self.rows.value, mean[column]
            total, squares, sx, sy, sxx, syy, sxy = (
                np.add.reduceat(t, self.starts) for t in (w, w * w, w * x, w * y, w * x * x, w * y * y, w * x * y)
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                covariance = sxy - sx * sy / total
                spread = np.sqrt((sxx - sx**2 / total) * (syy - sy**2 / total))
                correlation[:, k] = np.where(spread > 0, covariance / spread, 0.0)
                n_common[:, k] = np.where(squares > 0, total**2 / squares, 0.0)
        return Agreement(correlation, n_common)


def _folds(rows: UniqueIntensities) -> list[_Fold]:
    """Consecutive data sets; each its own fold if there are few."""
    most = max(2, min(_MOST_FOLDS, _LARGEST_FOLD_TABLE // max(rows.n_merged, 1)))
    edges = np.unique(np.linspace(0, rows.n_data_sets, min(rows.n_data_sets, most) + 1).astype(np.int64))
    places = np.searchsorted(rows.data_set, edges)
    folds = []
    for start, stop in pairwise(places.tolist()):
        if stop > start:
            part = rows.select(slice(start, stop))
            numbers, starts = np.unique(part.data_set, return_index=True)
            folds.append(_Fold(part, starts, numbers))
    return folds


def agreement(rows: UniqueIntensities, operator: IndexArray, fixed: FloatArray) -> Agreement:
    """Compare every data set with the others, these under given operators.

    Parameters
    ----------
    rows : UniqueIntensities
    operator : (n_data_sets,) int64
    fixed : (2, n_merged) float64
        Precision, and precision times value, of reference intensities; zeros without.
    """
    correlation, n_common = np.zeros((2, rows.n_data_sets, len(rows.merged_reflection)))
    folds = _folds(rows)
    sums = [fold.sums(operator) for fold in folds]
    total = fixed + np.sum(sums, axis=0)
    for fold, own in zip(folds, sums, strict=True):
        found = fold.compare(_without(total, own))
        correlation[fold.numbers], n_common[fold.numbers] = found.correlation, found.n_common
    return Agreement(correlation, n_common)


def find_consensus(rows: UniqueIntensities, fixed: FloatArray, seed: int) -> Consensus:
    """Choose operators so that each data set agrees best with the others (Brehm & Diederichs 2014, their problem).

    From a start, the data sets take in turn, fold by fold, the operator of the highest correlation with the mean of all
    other folds, until none changes. Small jobs try several starts: the indexings as they are, data sets that join one
    after the other, and random ones; the best sum of correlations wins. The time is linear in the rows.

    Parameters
    ----------
    rows, fixed
        As for `agreement`.
    seed : int
    """
    n, n_operators = rows.n_data_sets, len(rows.merged_reflection)
    folds = _folds(rows)
    starts: list[IndexArray | None] = [None if fixed.any() else np.zeros(n, dtype=np.int64)]
    if len(rows) * n_operators <= _SMALL_JOB and not fixed.any():
        random = np.random.default_rng(seed)
        starts += [None, *(random.integers(n_operators, size=n) for _ in range(_RANDOM_STARTS))]
    found = [_ascend(folds, start, fixed, n) for start in starts]
    best = max(c.objective for c in found)
    return next(c for c in found if c.objective >= best - 1e-6 * abs(best))


def _ascend(folds: list[_Fold], start: IndexArray | None, fixed: FloatArray, n_data_sets: int) -> Consensus:
    """Climb from a start; without one, data sets join one fold after the other."""
    operator = np.zeros(n_data_sets, dtype=np.int64) if start is None else start.copy()
    sums = [np.zeros_like(fixed) if start is None else fold.sums(operator) for fold in folds]
    objective = 0.0
    for _ in range(_MOST_ROUNDS):
        before, objective = operator.copy(), 0.0
        total = fixed + np.sum(sums, axis=0)
        for i, fold in enumerate(folds):
            others = _without(total, sums[i])
            found = fold.compare(others)
            chosen = _best(found, operator[fold.numbers])
            operator[fold.numbers] = chosen
            sums[i] = fold.sums(operator)
            total = others + sums[i]
            objective += float((found.n_common * found.correlation)[np.arange(chosen.size), chosen].sum())
        if np.count_nonzero(operator != before) <= n_data_sets // 1000:
            break
    return Consensus(operator, objective)


def _without(total: FloatArray, own: FloatArray) -> FloatArray:
    """Subtract sums; precisions do not become negative by rounding."""
    result: FloatArray = total - own
    np.maximum(result[0], 0.0, out=result[0])
    return result


def _best(found: Agreement, operator: IndexArray) -> IndexArray:
    """Operator of the highest correlation, those of few reflections shrunk; the present one if it is as good."""
    score = found.fisher_z * found.n_common / (found.n_common + 3.0)
    score[np.arange(operator.size), operator] += 1e-9
    best: IndexArray = np.argmax(score, axis=1)
    return best
