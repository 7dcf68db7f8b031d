"""A few distribution functions, without the 0.2 s that importing scipy.special takes at the start of every command."""

from __future__ import annotations

import math

import numpy as np

from .typing import FloatArray

__all__ = ["central_normal_quantile", "chi_squared_probability", "correlation_interval", "correlation_p_value"]

CENTRAL_RANGE = 0.425
NORMAL_95 = 1.959963984540054
# Wichura (1988), Appl. Statist. 37, 477, algorithm AS 241, PPND16: z = q A(r) / B(r), r = 0.425^2 - q^2.
_NUMERATOR = (
    2509.0809287301226727,
    33430.575583588128105,
    67265.770927008700853,
    45921.953931549871457,
    13731.693765509461125,
    1971.5909503065514427,
    133.14166789178437745,
    3.387132872796366608,
)
_DENOMINATOR = (
    5226.495278852854561,
    28729.085735721942674,
    39307.89580009271061,
    21213.794301586595867,
    5394.1960214247511077,
    687.1870074920579083,
    42.313330701600911252,
    1.0,
)


def central_normal_quantile(probability: FloatArray) -> FloatArray:
    """Quantile of the standard normal distribution to 1e-15, for probabilities within 0.425 of one half.

    Parameters
    ----------
    probability : (n,) float64

    Returns
    -------
    (n,) float64
        NaN outside the range.
    """
    q = np.asarray(probability, dtype=np.float64) - 0.5
    r = CENTRAL_RANGE**2 - q * q
    z = q * np.polyval(_NUMERATOR, r) / np.polyval(_DENOMINATOR, r)
    result: FloatArray = np.where(np.abs(q) <= CENTRAL_RANGE, z, np.nan)
    return result


def correlation_p_value(correlation: float, n: int) -> float:
    """Probability that uncorrelated normal pairs correlate at least so much (Student's t, one-sided).

    With sin(theta) = correlation the integral over Student's density of n - 2 degrees of freedom is the finite sum of
    Abramowitz & Stegun (1964), 26.7.3 and 26.7.4.

    Parameters
    ----------
    correlation : float
        Pearson correlation, -1 to 1.
    n : int
        Number of pairs, at least 3.

    Returns
    -------
    float
    """
    freedom = n - 2
    cos_squared = max(0.0, 1.0 - correlation**2)
    if freedom % 2 == 0:
        k = np.arange(1, freedom // 2)
        inside = correlation * _series((2 * k - 1) / (2 * k) * cos_squared)
    else:
        k = np.arange(1, (freedom - 1) // 2)
        inside = math.asin(correlation)
        if freedom > 1:
            inside += correlation * math.sqrt(cos_squared) * _series(2 * k / (2 * k + 1) * cos_squared)
        inside *= 2 / math.pi
    return 0.5 * (1.0 - inside)


def correlation_interval(correlation: float, standard_error: float, n: int) -> tuple[float, float]:
    """95 % confidence interval of the correlation of n pairs: normal in Fisher's z = artanh(r).

    Its standard error is that of r over 1 - r^2, at least Fisher's (n - 3)^-1/2, which few pairs underrate.

    Parameters
    ----------
    correlation, standard_error : float
    n : int
        Number of pairs.

    Returns
    -------
    low, high : float
        NaN for fewer than 4 pairs, or where the correlation is not defined.
    """
    if n < 4 or not math.isfinite(standard_error):
        return math.nan, math.nan
    slope = 1.0 - correlation**2
    if slope <= 0.0:
        return correlation, correlation
    half = NORMAL_95 * max(standard_error / slope, (n - 3) ** -0.5)
    z = math.atanh(correlation)
    return math.tanh(z - half), math.tanh(z + half)


def _series(ratios: FloatArray) -> float:
    """1 + r_1 + r_1 r_2 + ..."""
    return 1.0 + float(np.cumprod(ratios).sum())


def chi_squared_probability(value: float, freedom: int) -> float:
    """Probability that chi-squared of some degrees of freedom is at least so large (Abramowitz & Stegun 26.4.4-5)."""
    if value <= 0:
        return 1.0
    half = 0.5 * value
    k, total = (2, math.exp(-half)) if freedom % 2 == 0 else (1, math.erfc(math.sqrt(half)))
    while k < freedom:
        total += math.exp(0.5 * k * math.log(half) - half - math.lgamma(0.5 * k + 1.0))
        k += 2
    return total
