"""Variances of expected rather than observed counts.

An integrator estimates the variance of an intensity from the counts that it saw. Where these fluctuated low the
variance is low too, and the weight high: weighted means, and through them scales, are biased. Once the expected
intensity E = g I_h of an observation is known, the part of its variance that came from its own counts is replaced:

    V' = (V - k max(I, 0) - q k min(I, 0)) + k max(E, 0),

k being the variance per unit of intensity, LP / QE where intensities are photons. Detectors that count in other units,
and variances that were rescaled, have another k: it is taken from the data.
"""

from __future__ import annotations

import numpy as np

from . import _core
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["background_variance", "count_variance_slope", "expected_count_variance", "slope_below_zero"]

_PRIOR = 1.0, 0.25
"""What is thought of q before the data are seen, and how firmly."""


def count_variance_slope(
    intensity: FloatArray,
    variance: FloatArray,
    conversion: FloatArray,
    data_set: IntArray,
    n_data_sets: int,
    left_out: BoolArray | None = None,
    n_threads: int = 1,
) -> FloatArray:
    """Variance per unit of intensity k of each observation.

    k = f LP/QE with one factor f per data set, 1 where intensities are photons. No variance is less than that of its
    own counts and of the lowest background: with both in raw units, f is a low quantile of (V - B) / I over strong
    observations, B a low quantile of V over weak ones. Data sets with few strong observations have k = 0.

    Parameters
    ----------
    intensity, variance, conversion : (n,) float64
        Before division by g; `conversion` is LP / QE.
    data_set : (n,) int32
    left_out : (n,) bool, optional
        Observations that f is not to know.

    Returns
    -------
    (n,) float64
    """
    usable = conversion if left_out is None else np.where(left_out, 0.0, conversion)
    factor = _core.count_variance_factors(intensity, variance, usable, data_set, n_data_sets, n_threads)
    slope: FloatArray = factor[data_set] * np.maximum(conversion, 0.0)
    return slope


def slope_below_zero(
    intensity: FloatArray, variance: FloatArray, slope: FloatArray, data_set: IntArray, n_data_sets: int
) -> FloatArray:
    """Share q of k with which variances of negative intensities fall further.

    It is 1 where a variance is that of the raw counts under the spot, which are never negative, 0 where an integrator
    gives negative intensities the variance of the background. Weak observations tell: those above and below zero lie on
    the same background, so that the difference of their mean variances is k times that of the mean intensities
    above, plus q k times that below.

    Parameters
    ----------
    intensity, variance, slope : (n,) float64
    data_set : (n,) int32

    Returns
    -------
    (n_data_sets,) float64
        1 as far as the data do not tell.
    """
    # In units of k, where intensities are counts.
    with np.errstate(divide="ignore", invalid="ignore"):
        count, spread = intensity / slope, variance / slope**2
    weak = (slope > 0) & np.isfinite(spread) & (np.abs(count) < np.sqrt(spread))
    sums = []
    for side in (weak & (count > 0), weak & (count < 0)):
        rows = [count[side], spread[side], spread[side] ** 2]
        n = np.maximum(np.bincount(data_set[side], minlength=n_data_sets), 1)
        means = [np.bincount(data_set[side], values, n_data_sets) / n for values in rows]
        sums.append((means[0], means[1], (means[2] - means[1] ** 2) / n, n))
    (x_above, v_above, error_above, n_above), (x_below, v_below, error_below, n_below) = sums
    known = (x_below < 0) & (np.minimum(n_above, n_below) > 1)
    scale = np.where(known, -x_below, 1.0)
    found = (v_above - v_below - x_above) / scale
    precision = np.where(known, scale**2 / np.maximum(error_above + error_below, 1e-12), 0.0)
    mean, sigma = _PRIOR
    blend = (np.where(known, found, 0.0) * precision + mean / sigma**2) / (precision + 1.0 / sigma**2)
    result: FloatArray = np.clip(blend, 0.0, 1.0)
    return result


def background_variance(
    variance: FloatArray, intensity: FloatArray, slope: FloatArray, below: FloatArray | float = 1.0
) -> FloatArray:
    """What remains of each variance without that of its own counts: at least that of one count.

    Parameters
    ----------
    variance, intensity, slope : (n,) float64
        On the scale of the unscaled intensity.
    below : (n,) float64 or float
        Share q of the slope below zero.

    Returns
    -------
    (n,) float64
    """
    counted = np.where(intensity < 0, below * intensity, intensity)
    result: FloatArray = np.maximum(variance - slope * counted, np.minimum(variance, slope**2))
    return result


def expected_count_variance(background: FloatArray, expected: FloatArray, slope: FloatArray) -> FloatArray:
    """Variance of expected counts on a background, all (n,) float64."""
    result = np.maximum(expected, 0.0)
    result *= slope
    result += background
    return result
