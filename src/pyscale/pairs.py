"""Which of two equivalents that disagree is wrong, by what else is known of them.

Within a group of two the test of outliers says that they disagree, and nothing more. Intensities that hardly any
reflection of that resolution has, or that are far below zero, point to one of them; so does the mean of the Friedel
mates where these are a group of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .typing import BoolArray, FloatArray, IndexArray

__all__ = ["BIJVOET", "DisputedPairs", "merging_variance", "posterior_odds", "tail_of_intensities", "undisputed_mates"]

BIJVOET = 0.3
"""Standard deviation of I(+) - I(-) relative to their mean that is allowed for: few have more."""
_LARGE_BIJVOET = 2.0
"""Largest such difference, in standard deviations, that may be one."""
CERTAIN = math.log(19.0)
_DECADES = math.log(1e4)
"""Range of ln |deviation| of a wrong intensity about which nothing is known."""
_UNUSUAL = 1e-3
"""Share of reflections that follow no Wilson statistics."""


@dataclass(frozen=True)
class DisputedPairs:
    """Pairs that disagree.

    Attributes
    ----------
    rows : (m, 2) int64
    value, variance : (m, 2) float64
        Scaled intensities I/g and their variances.
    mean : (m,) float64
        Expected intensity of such a reflection, epsilon <I/epsilon> at its resolution.
    mates, mates_variance : (m,) float64
        Mean of the Friedel mates that are a group of their own, and its variance; infinite where there are none.
    """

    rows: IndexArray
    value: FloatArray
    variance: FloatArray
    mean: FloatArray
    mates: FloatArray
    mates_variance: FloatArray


def merging_variance(
    intensity: FloatArray, g: FloatArray, sigma_squared: FloatArray, disputed: BoolArray
) -> FloatArray:
    """sigma'^2 of the error model, for pairs that disagree as large as their difference shows, (n,) float64."""
    variance: FloatArray = sigma_squared.copy()
    rows = np.flatnonzero(disputed).reshape(-1, 2)
    difference = np.diff(intensity[rows] / g[rows], axis=1)
    factor = difference**2 / np.sum(variance[rows] / g[rows] ** 2, axis=1, keepdims=True)
    variance[rows] *= np.maximum(factor, 1.0)
    return variance


def tail_of_intensities(normalised: FloatArray) -> float:
    """Decay length of the distribution of E^2 between its 90 % and 99 % quantiles; 1 for Wilson's acentric, at least 1.

    Heavy atoms, translations and anisotropy make strong reflections more common; the data say so themselves.
    """
    if normalised.size == 0:
        return 1.0
    low, high = np.quantile(normalised, [0.9, 0.99])
    return max(float(high - low) / math.log(10.0), 1.0)


def undisputed_mates(value: FloatArray, variance: FloatArray, zmax: float) -> BoolArray:
    """Pairs (m, 2) of I(+) and I(-) whose disagreement may be a Bijvoet difference, (m,) bool."""
    difference = np.abs(value[:, 0] - value[:, 1])
    allowed = zmax * np.sqrt(variance.sum(axis=1)) + _LARGE_BIJVOET * BIJVOET * np.maximum(value.mean(axis=1), 0.0)
    result: BoolArray = difference <= allowed
    return result


def posterior_odds(pairs: DisputedPairs, tail: float) -> FloatArray:
    """ln of the odds that the second, not the first, of each pair is wrong, (m,) float64.

    One of the two is right: its probability is that of a reflection of that resolution (exponential above, Gaussian
    errors, and a few that follow no statistics). The other one is anything, with equal chances another reflection's
    intensity, a part of its own, or off by any amount of either sign.
    """
    first = _log_right(pairs, 0, tail) + _log_wrong(pairs, 1, tail)
    second = _log_right(pairs, 1, tail) + _log_wrong(pairs, 0, tail)
    return first - second


def _log_ndtr(x: FloatArray) -> FloatArray:
    # 0.2 s that jobs without such pairs need not wait for.
    from scipy.special import log_ndtr

    result: FloatArray = log_ndtr(x)
    return result


def _log_prior(x: FloatArray, variance: FloatArray, mean: FloatArray) -> FloatArray:
    """ln p(x) of a measured intensity: exponential of some mean with Gaussian error, and its rare exceptions."""
    sigma = np.sqrt(variance)
    wilson = 0.5 * variance / mean**2 - x / mean + _log_ndtr((x - variance / mean) / sigma) - np.log(mean)
    beyond: FloatArray = np.log(_UNUSUAL * mean) - 2.0 * np.log(mean + np.abs(x)) + _log_ndtr(x / sigma)
    result: FloatArray = np.logaddexp(wilson, beyond)
    return result


def _log_right(pairs: DisputedPairs, k: int, tail: float) -> FloatArray:
    x, variance = pairs.value[:, k], pairs.variance[:, k]
    known = np.isfinite(pairs.mates_variance)
    mates = np.where(known, pairs.mates, 0.0)
    spread = variance + np.where(known, pairs.mates_variance, 1.0) + (BIJVOET * np.maximum(mates, 0.0)) ** 2
    agreement = np.where(known, -0.5 * (x - mates) ** 2 / spread, 0.0)
    return _log_prior(x, variance, tail * pairs.mean) + agreement


def _log_wrong(pairs: DisputedPairs, k: int, tail: float) -> FloatArray:
    """ln p(x) of the wrong one, given that the other one is right."""
    x, variance = pairs.value[:, k], pairs.variance[:, k]
    right = pairs.value[:, 1 - k]
    sigma = np.sqrt(pairs.variance.sum(axis=1))
    other = _log_prior(x, variance, tail * pairs.mean)
    off = -np.log(2.0 * _DECADES * (np.abs(x - right) + sigma))
    part = _log_ndtr(x / sigma) + _log_ndtr((right - x) / sigma) - np.log(np.maximum(right, sigma))
    result: FloatArray = np.logaddexp.reduce([other, off, part]) - math.log(3.0)
    return result
