"""Variances of expected rather than observed counts.

An integrator estimates the variance of an intensity from the counts that it saw. Where these fluctuated low the
variance is low too, and the weight high: weighted means, and through them scales, are biased. Once the expected
intensity E = g I_h of an observation is known, the part of its variance that came from its own counts is replaced:

    V' = (V - k I) + k max(E, 0),

k being the variance per unit of intensity, LP / QE where intensities are photons. Detectors that count in other units,
and variances that were rescaled, have another k: it is taken from the data.
"""

from __future__ import annotations

import numpy as np

from . import _core
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["count_variance_slope", "expected_count_variance"]


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


def expected_count_variance(
    variance: FloatArray, intensity: FloatArray, expected: FloatArray, slope: FloatArray
) -> FloatArray:
    """Replace the part of each variance that came from the observed counts by that of the expected ones.

    What remains of V is at least that of one count.

    Parameters
    ----------
    variance, intensity, expected, slope : (n,) float64
        On the scale of the unscaled intensity.

    Returns
    -------
    (n,) float64
    """
    floor = np.minimum(variance, slope**2)
    background = np.maximum(variance - slope * intensity, floor)
    result: FloatArray = background + slope * np.maximum(expected, 0.0)
    return result
