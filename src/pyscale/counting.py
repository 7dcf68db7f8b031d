"""Variances of expected rather than observed counts.

An integrator estimates the variance of an intensity from the counts that it saw. Where these fluctuated low the
variance is low too, and the weight high: weighted means, and through them scales, are biased. Once the expected
intensity E = g I_h of an observation is known, the part of its variance that came from its own counts is replaced:

    V' = (V - k max(I, 0)) + k max(E, 0),

k being the variance per unit of intensity, LP / QE per photon. Detectors that count in other units, and variances
that were rescaled, have another k; it is at most what the strongest observations of the data set allow.
"""

from __future__ import annotations

import numpy as np

from .typing import FloatArray, IntArray

__all__ = ["count_variance_slope", "expected_count_variance"]

_STRONG = 3.0
_LOWEST_QUANTILE = 0.005
_LEAST_STRONG = 50


def count_variance_slope(
    intensity: FloatArray, variance: FloatArray, conversion: FloatArray, data_set: IntArray, n_data_sets: int
) -> FloatArray:
    """Variance per unit of intensity k of each observation.

    k = f LP/QE with one factor f <= 1 per data set: a low quantile of V / (I LP/QE) over strong observations, whose
    variance cannot be less than that of their own counts. Data sets with few strong observations have k = 0.

    Parameters
    ----------
    intensity, variance, conversion : (n,) float64
        Before division by g; `conversion` is LP / QE.
    data_set : (n,) int32

    Returns
    -------
    (n,) float64
    """
    factor = np.zeros(n_data_sets)
    strong = (intensity > _STRONG * np.sqrt(variance)) & (conversion > 0)
    ratio = np.full(intensity.size, np.inf)
    ratio[strong] = variance[strong] / (intensity[strong] * conversion[strong])
    for k in range(n_data_sets):
        chosen = ratio[strong & (data_set == k)]
        if chosen.size >= _LEAST_STRONG:
            factor[k] = min(1.0, float(np.quantile(chosen, _LOWEST_QUANTILE)))
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
    background = np.maximum(variance - slope * np.maximum(intensity, 0.0), floor)
    result: FloatArray = background + slope * np.maximum(expected, 0.0)
    return result
