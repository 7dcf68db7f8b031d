"""The error model of dials.scale, sigma'^2 = a^2 (V + (b I)^2), found as dials.scale finds it.

It stands beside the likelihood model for comparison and for continuity: sigmas depend on the observed intensity,
absolute limits choose the observations, a comes from the core of the normal probability plot and b from the variance
of bins. Normalised deviations are those of dials.scale too, sqrt((n - 1)/n) (I/g - I_h) / sigma', whose variance is
below 1 for a right model: sigmas come out too small, by a factor (n - 1)/n in the mean of groups of n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .errors import DataError
from .typing import BoolArray, FloatArray, IndexArray

__all__ = ["BasicFit", "BasicLimits", "refine_basic"]

_MIN_ROWS = 250
_MIN_MEAN_I_OVER_V, _MIN_INTENSITY = 0.85, 0.001
_MAX_GROUP_RATIO, _GROUP_RATIO_OF_STRONG = 50.0, 40.0
_CENTRAL = 1.5
_MAX_CYCLES, _SETTLED_A, _LEAST_A = 50, 0.01, 0.4
_START_B = 0.02
_LARGE_BIN, _MANY_ROWS, _SHORT_BIN = 250, 25_000, 5


@dataclass(frozen=True)
class BasicLimits:
    """Options of the basic model.

    Attributes
    ----------
    min_expected : float
        Least expected intensity g I_h of an observation.
    n_bins : int
        Bins of intensity.
    stills_min_i_over_sigma, stills_min_multiplicity : float, int
        For stills.
    """

    min_expected: float = 25.0
    n_bins: int = 10
    stills_min_i_over_sigma: float = 2.0
    stills_min_multiplicity: int = 4


@dataclass(frozen=True)
class BasicFit:
    """Parameters, the observations that they were found from, and how it ended."""

    a: float
    b: float
    n_used: int
    converged: bool
    reason: str


@dataclass(frozen=True)
class _Rows:
    """Observations in groups, unscaled, with their group's mean and size."""

    intensity: FloatArray
    variance: FloatArray
    g: FloatArray
    weight: FloatArray
    group: IndexArray

    def take(self, keep: BoolArray) -> _Rows:
        return _Rows(*(getattr(self, f)[keep] for f in ("intensity", "variance", "g", "weight", "group")))

    def sums(self, values: FloatArray) -> FloatArray:
        """Return sums over the group of each row."""
        n = int(self.group[-1]) + 1 if self.group.size else 0
        summed = np.bincount(self.group, values, n).astype(np.float64)
        return summed[self.group]

    @property
    def size(self) -> FloatArray:
        return self.sums(np.ones_like(self.g))

    @property
    def mean(self) -> FloatArray:
        wg = self.weight * self.g
        return self.sums(wg * self.intensity) / self.sums(wg * self.g)

    def repeated(self, least: int = 2) -> _Rows:
        return self.take(self.size >= least)


def refine_basic(
    intensity: FloatArray,
    variance: FloatArray,
    inverse_scale_factor: FloatArray,
    weight: FloatArray,
    anomalous_offsets: IndexArray,
    usable: BoolArray,
    start: tuple[float, float],
    *,
    fixed_a: float | None = None,
    fixed_b: float | None = None,
    method: Literal["individual", "regression"] = "individual",
    stills: bool = False,
    limits: BasicLimits | None = None,
) -> BasicFit:
    """Find a and b as dials.scale does, with `error_model.basic.minimisation` as `method`.

    Parameters
    ----------
    intensity, variance, inverse_scale_factor, weight : (n,) float64, sorted by group
        I and V before division by g; weights 1/sigma'^2 of the means.
    anomalous_offsets : (n_groups + 1,) int64
        Groups with Friedel mates apart.
    usable : (n,) bool
        No outliers, recorded to the least part.
    start : (float, float)
        a and b, kept where too few observations pass the limits.
    stills : bool
        Whether the limits of stills apply.
    """
    limits = limits or BasicLimits()
    kept = (start[0] if fixed_a is None else fixed_a, start[1] if fixed_b is None else fixed_b)
    group = np.repeat(np.arange(anomalous_offsets.size - 1), np.diff(anomalous_offsets))
    usable = usable & (inverse_scale_factor > 0) & (variance > 0)
    rows = _Rows(intensity, variance, inverse_scale_factor, weight, group).take(usable)
    try:
        rows = _chosen_stills(rows, limits) if stills else _chosen(rows, limits)
    except DataError as error:
        return BasicFit(*kept, rows.g.size, False, f"kept: {error}")
    if fixed_a is not None and fixed_b is not None:
        return BasicFit(fixed_a, fixed_b, rows.g.size, True, "a and b are fixed")
    if method == "regression":
        return _regression(rows, fixed_a, fixed_b)
    return _individual(rows, kept, fixed_a, fixed_b, limits.n_bins)


def _chosen(rows: _Rows, limits: BasicLimits) -> _Rows:
    """Rows of rotation data that dials.scale uses."""
    size = np.maximum(rows.size, 1)
    rows = rows.take(rows.sums(rows.intensity / rows.variance) / size > _MIN_MEAN_I_OVER_V)
    strong = (rows.mean * rows.g > limits.min_expected) & (rows.size > 1) & (rows.intensity > _MIN_INTENSITY)
    rows = rows.take(strong)
    if rows.g.size < _MIN_ROWS:
        raise DataError(
            f"only {rows.g.size} observations are strong enough for the basic error model, {_MIN_ROWS} needed"
        )
    rows = rows.repeated()
    mean, size = rows.mean, rows.size
    scatter = rows.sums((rows.intensity / rows.g - mean) ** 2) / (size - 1)
    ratio = scatter / (rows.sums(rows.variance / rows.g**2) / size)
    return rows.take(ratio < max(_MAX_GROUP_RATIO, float(mean.max(initial=0.0)) / _GROUP_RATIO_OF_STRONG))


def _chosen_stills(rows: _Rows, limits: BasicLimits) -> _Rows:
    rows = rows.take(rows.intensity >= limits.stills_min_i_over_sigma * np.sqrt(rows.variance))
    rows = rows.take(rows.mean * rows.g > limits.min_expected)
    rows = rows.take(np.abs(_deviations(rows, 1.0, _START_B)) < 6.0)
    rows = rows.repeated(limits.stills_min_multiplicity)
    if rows.g.size < _MIN_ROWS:
        raise DataError(
            f"only {rows.g.size} observations are strong enough for the basic error model, {_MIN_ROWS} needed"
        )
    return rows


def _deviations(rows: _Rows, a: float, b: float) -> FloatArray:
    sigma = a * np.sqrt(rows.variance + (b * rows.intensity) ** 2) / rows.g
    size = rows.size
    deviation: FloatArray = np.sqrt((size - 1) / size) * (rows.intensity / rows.g - rows.mean) / sigma
    return deviation


def _individual(
    rows: _Rows, start: tuple[float, float], fixed_a: float | None, fixed_b: float | None, n_bins: int
) -> BasicFit:
    """a and b in turn until a settles."""
    bins = _bins(rows.g * rows.mean, n_bins)
    n = rows.g.size
    if fixed_a is not None:
        return BasicFit(fixed_a, _best_b(rows, bins, fixed_a), n, True, "b refined, a fixed")
    if fixed_b is not None:
        return BasicFit(_core_width(_deviations(rows, 1.0, fixed_b)), fixed_b, n, True, "a refined, b fixed")
    a, b = start
    for _ in range(_MAX_CYCLES):
        before = a
        a = _core_width(_deviations(rows, 1.0, b))
        b = _best_b(rows, bins, a)
        if abs(a - before) < _SETTLED_A * before and a > _LEAST_A:
            return BasicFit(_core_width(_deviations(rows, 1.0, b)), b, n, True, "converged")
    return BasicFit(1.0, _best_b(rows, bins, 1.0), n, False, "a and b do not settle: a = 1, b alone refined")


def _core_width(deviation: FloatArray) -> float:
    """Slope of the normal probability plot within 1.5 standard deviations."""
    from scipy.special import ndtr, ndtri

    n = deviation.size
    first, last = (math.ceil(n * float(ndtr(z)) - 0.5) for z in (-_CENTRAL, _CENTRAL))
    observed = np.sort(deviation)[first:last]
    expected = ndtri((np.arange(first, last) + 0.5) / n)
    expected = expected - expected.mean()
    return float(expected @ (observed - observed.mean()) / (expected @ expected))


def _best_b(rows: _Rows, bins: list[tuple[IndexArray, float]], a: float) -> float:
    """b that brings the variance of the deviations in all bins closest to 1, bins weighted by their intensity."""
    from scipy.optimize import minimize_scalar

    total = sum(weight for _, weight in bins)

    def cost(log_b: float) -> float:
        deviation = _deviations(rows, a, math.exp(log_b))
        variances = [(float(np.var(deviation[chosen])), weight) for chosen, weight in bins]
        return sum(w * ((0.5 - v) ** 2 + 1 / v - 1.25) for v, w in variances) / total

    found = minimize_scalar(cost, bounds=(math.log(1e-6), math.log(10.0)), method="bounded", options={"xatol": 1e-4})
    return math.exp(float(found.x))


def _bins(x: FloatArray, n_bins: int) -> list[tuple[IndexArray, float]]:
    """Rows of each bin of expected intensity, from the top in equal steps of its logarithm, and its mean intensity."""
    n, order = x.size, np.argsort(-x, kind="stable")
    descending = x[order]
    largest = _LARGE_BIN if n <= _MANY_ROWS else n // 100
    least = min(largest, n // (3 * n_bins))
    step = (math.log(descending[0]) - math.log(max(1.0, descending[-1]))) / n_bins
    edges = [descending[0] * math.exp(-k * step) for k in range(1, n_bins)] + [descending[-1] - 0.01]
    bins, begin = [], 0
    for edge in edges:
        end = int(np.searchsorted(-descending, -edge, side="left"))
        end = min(n, max(end, begin + least))
        if end - begin >= max(least - _SHORT_BIN, 2):
            bins.append((order[begin:end], float(descending[begin:end].mean())))
        begin = end
    return bins


def _regression(rows: _Rows, fixed_a: float | None, fixed_b: float | None) -> BasicFit:
    """Straight line through the relative scatter of groups against their relative variance."""
    size, mean = rows.size, rows.mean
    y = rows.sums((rows.intensity - rows.g * mean) ** 2 / rows.intensity**2) / (size - 1)
    x = rows.sums(rows.variance / rows.intensity**2) / size
    first = np.concatenate([[True], rows.group[1:] != rows.group[:-1]])
    x, y = x[first], y[first]
    if fixed_a is not None:
        a_squared, product = fixed_a**2, float(np.mean(y - fixed_a**2 * x))
    elif fixed_b is not None:
        a_squared = float(np.sum(y * (x + fixed_b**2)) / np.sum((x + fixed_b**2) ** 2))
        product = a_squared * fixed_b**2
    else:
        a_squared = float(np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2))
        product = float(y.mean() - a_squared * x.mean())
    if not a_squared > 0:
        return BasicFit(1.0, _START_B, rows.g.size, False, "the regression has no positive slope: kept at the start")
    b = math.sqrt(max(product, 0.0) / a_squared)
    return BasicFit(math.sqrt(a_squared), b, rows.g.size, True, "regression")
