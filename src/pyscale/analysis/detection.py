"""Which cells deviate, in the mean or in the mean square, more than chance and more than matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from .. import _core
from ..slow_imports import slow_import
from ..typing import BoolArray, FloatArray, IntArray

__all__ = ["CellSums", "Findings", "RowTerms", "cell_sums", "components", "find_deviating", "local_median", "threshold"]

FALSE_ALARMS = 1e-3
"""Probability of any false alarm in a job whose deviations are as assumed."""
MIN_BIAS, MIN_DEVIATION = 0.1, 0.25
"""Relative deviation of intensities, and mean deviation in standard deviations, that matter."""
MIN_SCATTER = 2.0
"""Mean square deviation relative to that elsewhere."""
MIN_REJECTED, MIN_REJECTED_RATIO = 0.05, 5.0
"""Rejected fraction, and its ratio to that elsewhere."""
_MIN_ROWS = 40
_GROWN = 3.0
"""Significance of cells that join neighbours which deviate; half of each effect is enough for them."""


@dataclass(frozen=True)
class RowTerms:
    """What is summed over cells.

    Attributes
    ----------
    deviation : (n,) float64
        From the mean of the others in standard deviations, limited; NaN for rows that are left out.
    square : (n,) float64
        Its square over the mean square at that resolution.
    signal : (n,) float64
        Expected intensity over the same standard deviation.
    rejected : (n,) bool
    """

    deviation: FloatArray
    square: FloatArray
    signal: FloatArray
    rejected: BoolArray

    @cached_property
    def use(self) -> BoolArray:
        """Rows that are not left out, (n,) bool."""
        use: BoolArray = np.isfinite(self.deviation)
        return use


@dataclass(frozen=True)
class CellSums:
    """Sums over the observations of cells, any shape.

    Attributes
    ----------
    n, rejected : int64 as float64
        Observations, and those that were rejected.
    deviation, square : float64
        Sums of deviations and of their squares.
    cross, signal : float64
        Sums of deviation times signal, and of signal squared.
    """

    n: FloatArray
    deviation: FloatArray
    square: FloatArray
    cross: FloatArray
    signal: FloatArray
    rejected: FloatArray

    @property
    def ratio(self) -> FloatArray:
        """Relative deviation of intensities by least squares."""
        return _divided(self.cross, self.signal)

    @property
    def mean(self) -> FloatArray:
        """Mean deviation."""
        return _divided(self.deviation, self.n)

    @property
    def mean_square(self) -> FloatArray:
        """Mean square deviation relative to that at the same resolution."""
        return _divided(self.square, self.n)

    def part(self, begin: int, end: int) -> CellSums:
        """Return consecutive cells."""
        return self.map(lambda a: a[begin:end])

    def map(self, function: Callable[[FloatArray], FloatArray]) -> CellSums:
        """Apply a function to all sums."""
        return CellSums(*(function(getattr(self, name)) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Findings:
    """Cells that deviate: `seeds` surely, `grown` enough to join neighbouring ones; low, high, or scattered.

    Attributes
    ----------
    low, high, scattered : bool arrays of the cells
        Seeds.
    grown_low, grown_high, grown_scattered : bool arrays
    significance : float64
        The greatest of the cell, in standard deviations.
    """

    low: BoolArray
    high: BoolArray
    scattered: BoolArray
    grown_low: BoolArray
    grown_high: BoolArray
    grown_scattered: BoolArray
    significance: FloatArray

    @property
    def seeds(self) -> BoolArray:
        """Cells that surely deviate."""
        return self.low | self.high | self.scattered


def _divided(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def cell_sums(key: IntArray, terms: RowTerms, n_cells: int) -> CellSums:
    """Sum over cells; rows of key -1 are in none."""
    rejected = terms.rejected.view(np.uint8)
    sums = _core.sum_over_cells(key, terms.deviation, terms.square, terms.signal, rejected, n_cells)
    return CellSums(*np.ascontiguousarray(sums.T))


def threshold(n_tests: int) -> float:
    """Significance beyond which none of so many tests raises a false alarm, but for `FALSE_ALARMS` (Bonferroni)."""
    return -NormalDist().inv_cdf(FALSE_ALARMS / (2.0 * max(n_tests, 1)))


def local_median(values: FloatArray, weights: FloatArray, half_width: int) -> FloatArray:
    """Median over the filled neighbours of each of some consecutive bins, itself included."""
    padded = np.pad(np.where(weights > 0, values, np.nan), half_width, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half_width + 1)
    empty = np.isnan(windows).all(axis=1)
    result = np.ones(values.size)
    result[~empty] = np.nanmedian(windows[~empty], axis=1)
    return result


def find_deviating(
    sums: CellSums,
    spread: tuple[float, float],
    limit: float,
    background: CellSums,
    *,
    with_bias: bool = True,
) -> Findings:
    """Test cells against chance and against what matters.

    Parameters
    ----------
    sums : CellSums
    spread : (float, float)
        Standard deviations of deviations and of their relative squares over all observations.
    limit : float
        Significance needed.
    background : CellSums
        Of what the cells are compared with, of a shape that fits theirs.
    with_bias : bool
        Whether means say anything: not where groups of equivalents lie within one cell.
    """
    enough = sums.n >= _MIN_ROWS
    n = np.maximum(sums.n, 1.0)
    bias = sums.mean * np.sqrt(n) / spread[0] if with_bias else np.zeros_like(n)
    relative = _divided(sums.mean_square, np.broadcast_to(background.mean_square, n.shape))
    # Mean squares are like chi-square over its degrees of freedom; equivalents in one cell may halve these.
    freedom = n / max(spread[1] ** 2, 2.0)
    scatter = (np.cbrt(relative) - 1.0 + 2.0 / (9.0 * freedom)) / np.sqrt(2.0 / (9.0 * freedom))
    usual = _divided(background.rejected + 1.0, background.n + 1.0)
    rejection = _significance(sums.rejected, sums.n * usual)
    fraction = sums.rejected / n

    def beyond(least: float, effect: float) -> tuple[BoolArray, BoolArray, BoolArray]:
        matters = (np.abs(sums.ratio) > effect * MIN_BIAS) & (np.abs(sums.mean) > effect * MIN_DEVIATION) & enough
        rejected = (fraction > effect * MIN_REJECTED) & (fraction > effect * MIN_REJECTED_RATIO * usual)
        scattered = (scatter > least) & (relative > 1.0 + effect * (MIN_SCATTER - 1.0))
        return (
            matters & (bias < -least) & (sums.ratio < 0),
            matters & (bias > least) & (sums.ratio > 0),
            (scattered | (rejected & (rejection > least))) & enough,
        )

    return Findings(
        *beyond(limit, 1.0), *beyond(_GROWN, 0.5), np.maximum.reduce([np.abs(bias), scatter, rejection]) * enough
    )


def _significance(count: FloatArray, mean: FloatArray) -> FloatArray:
    """Normal deviate of the probability of so many Poisson counts or more; 0 without a count.

    P(at least k) is that of a chi-square of 2k degrees of freedom below twice the mean, whose cube root is nearly
    normal (Wilson & Hilferty, 1931).
    """
    k = np.maximum(count, 1.0)
    deviate = 3.0 * np.sqrt(k) * (1.0 - 1.0 / (9.0 * k) - np.cbrt(mean / k))
    result: FloatArray = np.where(count > 0, deviate, 0.0)
    return result


def components(findings: Findings) -> list[tuple[str, BoolArray]]:
    """Connected cells that hold a seed, what is too low first: (low, high or scattered, their mask)."""
    if not findings.seeds.any():
        return []
    ndimage = slow_import("scipy.ndimage")
    found: list[tuple[str, BoolArray]] = []
    taken = np.zeros(findings.low.shape, np.bool_)
    for name in ("low", "high", "scattered"):
        seeds = getattr(findings, name) & ~taken
        mask = (getattr(findings, f"grown_{name}") | (findings.grown_scattered & ~findings.grown_high)) & ~taken
        if name == "high":
            mask = (findings.grown_high | findings.grown_scattered) & ~taken
        labels, _ = ndimage.label(mask | seeds, structure=np.ones((3,) * mask.ndim))
        for number in np.unique(labels[seeds]).tolist():
            own = labels == number
            taken |= own
            found.append((name, own))
    return found
