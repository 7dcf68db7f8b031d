"""Structure-factor amplitudes of intensities that may be weak or negative (French & Wilson 1978)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _core
from .merging import MergedReflections
from .symmetry import SpaceGroupLike, UnitCellLike, epsilon_and_centric, inverse_d_squared
from .typing import BoolArray, FloatArray, IndexArray

__all__ = ["Amplitudes", "french_wilson", "merged_amplitudes", "wilson_prior"]

#: Reflections in one bin of the Wilson plot, and in the moving average: a fortieth of all, within these limits.
_WINDOW = (40, 400)
#: Moving averages, coarse and fine: window, and how far each may be expected to lie from what went before.
_LEVELS = ((4, 0.3), (1, 0.15))
#: Relative scatter of the bins around the straight line of the Wilson plot.
_LINE_SCATTER = 0.3
_SIGNIFICANT = 3.0
_LARGEST_LOGARITHM = 300.0


@dataclass(frozen=True)
class Amplitudes:
    """Amplitudes of merged reflections; NaN where there is no intensity.

    Attributes
    ----------
    amplitude, sigma : (m,) float64
        From the mean of both mates.
    amplitude_plus, sigma_plus, amplitude_minus, sigma_minus : (m,) float64
        Of the mates; centric reflections have F(+) alone.
    difference, difference_sigma : (m,) float64
        F(+) - F(-), of acentric reflections with both mates.
    """

    amplitude: FloatArray
    sigma: FloatArray
    amplitude_plus: FloatArray
    sigma_plus: FloatArray
    amplitude_minus: FloatArray
    sigma_minus: FloatArray

    @property
    def difference(self) -> FloatArray:
        """F(+) - F(-), (m,) float64."""
        result: FloatArray = self.amplitude_plus - self.amplitude_minus
        return result

    @property
    def difference_sigma(self) -> FloatArray:
        """Standard uncertainty of `difference`, (m,) float64."""
        result: FloatArray = np.hypot(self.sigma_plus, self.sigma_minus)
        return result


def french_wilson(
    intensity: FloatArray, sigma: FloatArray, prior_mean: FloatArray, is_centric: BoolArray, n_threads: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Posterior mean and standard deviation of F = J^1/2; see `pyscale::french_wilson` of the C++ core.

    Parameters
    ----------
    intensity, sigma : (n,) float64
        Any finite value; sigma > 0. NaN gives NaN.
    prior_mean : (n,) float64
        Expected intensity before the measurement, epsilon included; infinite for none.
    is_centric : (n,) bool

    Returns
    -------
    amplitude, amplitude_sigma : (n,) float64
        amplitude^2 + amplitude_sigma^2 is the posterior mean of J.
    """
    known = np.isfinite(intensity) & np.isfinite(sigma)
    result = np.full((2, len(intensity)), np.nan)
    found = _core.french_wilson(
        np.ascontiguousarray(intensity[known]),
        np.ascontiguousarray(sigma[known]),
        np.ascontiguousarray(prior_mean[known]),
        is_centric[known].astype(np.uint8),
        n_threads,
    )
    result[:, known] = found["amplitude"], found["amplitude_sigma"]
    return result[0], result[1]


def wilson_prior(
    intensity: FloatArray,
    sigma: FloatArray,
    epsilon: FloatArray,
    is_centric: BoolArray,
    d_star_sq: FloatArray,
    breadth: int = 1,
) -> FloatArray:
    """Mean intensity, epsilon included, to expect of each reflection at its resolution, smooth in 1/d^2.

    The straight line of the Wilson plot times moving averages of what is left: means of reflections near in
    resolution, weighted by the distance in rank (a triangle) and by the inverse variance 1/(c S^2 + sigma^2), c = 1 or
    2 for centric ones, which does not depend on the intensity itself. A coarse one moves from the line, and a fine one
    from that, as far as its standard error lets it.

    Parameters
    ----------
    intensity, sigma, epsilon, d_star_sq : (n,) float64
        Sigma > 0; 1/d^2 in A^-2.
    is_centric : (n,) bool
    breadth : int
        Times the usual number of reflections in the moving averages, for means that follow single reflections less.

    Returns
    -------
    ndarray, shape (n,), float64
        Positive.
    """
    order = np.lexsort((sigma, intensity, d_star_sq))
    x, value, error = d_star_sq[order], (intensity / epsilon)[order], (sigma / epsilon)[order]
    window = breadth * int(np.clip(len(order) // 40, *_WINDOW))
    trend = _fall_off(x, value, error, window)
    ratio, noise = value / trend, (error / trend) ** 2
    excess = np.where(is_centric[order], 2.0, 1.0)
    local = np.ones(len(order))
    for factor, spread in _LEVELS:
        weight = 1.0 / (excess * local**2 + noise)
        total = _triangle(weight, factor * window)
        mean, variance = _triangle(weight * ratio, factor * window) / total, factor * window / total
        part = 1.0 / (1.0 + variance / (spread * local) ** 2)
        local = np.maximum(local + part * (mean - local), 0.1 * local)
    prior = np.empty(len(order))
    prior[order] = trend * local
    result: FloatArray = epsilon * prior
    return result


def _fall_off(x: FloatArray, value: FloatArray, error: FloatArray, window: int) -> FloatArray:
    """Straight line of the Wilson plot, fitted to the means of bins; constant where not two are significant."""
    edges = np.arange(0, len(x), window)
    count = np.diff(np.append(edges, len(x)))
    mean, centre = (np.add.reduceat(v, edges) / count for v in (value, x))
    noise = np.add.reduceat(error**2, edges) / count**2
    spread = np.sqrt(np.add.reduceat((value - np.repeat(mean, count)) ** 2, edges) / count**2 + noise)
    strong = mean > _SIGNIFICANT * spread
    if np.count_nonzero(strong) < 2 or np.ptp(centre[strong]) == 0:
        overall = max(float(np.mean(value)), float(np.sqrt(np.sum(value**2 + error**2)) / len(x)))
        return np.full(len(x), overall)
    origin = centre[strong].mean()
    line = np.polynomial.polynomial.polyfit(centre[strong] - origin, np.log(mean[strong]), 1)
    line = _refined_line(line, centre - origin, mean, noise, count)
    height = np.clip(line[0] + line[1] * (x - origin), line[0] - _LARGEST_LOGARITHM, line[0] + _LARGEST_LOGARITHM)
    result: FloatArray = np.exp(height)
    return result


def _refined_line(
    line: FloatArray, x: FloatArray, mean: FloatArray, noise: FloatArray, count: IndexArray
) -> FloatArray:
    """Least squares for the means themselves, those that are weak or negative included: no bias by the logarithm."""
    design = np.stack([np.ones(len(x)), x], axis=1)
    for _ in range(10):
        model = np.exp(np.clip(design @ line, line[0] - _LARGEST_LOGARITHM, line[0] + _LARGEST_LOGARITHM))
        weight = 1.0 / (model**2 * (1.0 / count + _LINE_SCATTER**2) + noise)
        rows = design * (model * np.sqrt(weight))[:, None]
        step, *_ = np.linalg.lstsq(rows, (mean - model) * np.sqrt(weight), rcond=None)
        if not np.all(np.isfinite(step)):
            break
        line = line + step * min(1.0, 1.0 / max(1e-12, float(np.max(np.abs(design @ step)))))
    return line


def _triangle(values: FloatArray, window: int) -> FloatArray:
    """Sums with a triangle of weights around each element: a moving sum of moving sums."""
    return _box(_box(values, window), window)


def _box(values: FloatArray, window: int) -> FloatArray:
    """Sums of the `window` | 1 elements around each; fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    result: FloatArray = (
        sums[np.minimum(place + window // 2 + 1, len(values))] - sums[np.maximum(place - window // 2, 0)]
    )
    return result


def merged_amplitudes(
    merged: MergedReflections,
    unit_cell: UnitCellLike,
    space_group: SpaceGroupLike,
    *,
    flat_prior: bool = False,
    n_threads: int = 1,
) -> Amplitudes:
    """Amplitudes of merged intensities: of the means, and of I(+) and I(-), with the prior of the means.

    Parameters
    ----------
    merged : MergedReflections
    unit_cell, space_group
    flat_prior : bool
        Use only that intensities are not negative.
    """
    factor, _ = epsilon_and_centric(space_group, merged.miller_index)
    if flat_prior:
        prior = np.full(len(factor), np.inf)
    else:
        epsilon = factor.astype(np.float64)
        d_star_sq = inverse_d_squared(unit_cell, merged.miller_index)
        prior = wilson_prior(merged.intensity, merged.sigma, epsilon, merged.is_centric, d_star_sq)
    pairs = (
        (merged.intensity, merged.sigma),
        (merged.intensity_plus, merged.sigma_plus),
        (merged.intensity_minus, merged.sigma_minus),
    )
    return Amplitudes(*(c for i, s in pairs for c in french_wilson(i, s, prior, merged.is_centric, n_threads)))
