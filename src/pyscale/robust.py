"""Robust losses: observations that disagree with their group weigh less in the fit (docs/theory/error-model.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from .typing import FloatArray, IndexArray

__all__ = ["RobustLoss", "robust_factors", "robust_loss", "standardised_residuals"]

_HUBER, _NU = 1.345, 4.0
_CYCLES = 3
"""Means and weights of a group in turn: the minimiser itself goes on with this."""
_LEAST_VARIANCE = 1e-9

Function = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class RobustLoss:
    """A loss rho(z) of a standardised residual, in place of z^2 / 2.

    Attributes
    ----------
    weight : callable
        psi(z) / z, psi = rho': the factor of the weight 1/sigma'^2 in iteratively reweighted least squares.
    slope : callable
        psi'(z).

    Both carry a factor that makes `variance_factor` 1 for Gaussian residuals.
    """

    weight: Function
    slope: Function

    def variance_factor(self, z: FloatArray, freedom: FloatArray) -> float:
        """What the inverse of the reweighted normal matrix is to be multiplied by to be a covariance.

        <weight> <psi^2> / <psi'>^2 (Huber, 1981), which is chi^2 for the loss z^2 / 2. 0 without freedom.

        Parameters
        ----------
        z, freedom : (n,) float64
            Standardised residuals, and how many degrees of freedom each of them counts for.
        """
        total = freedom.sum()
        if not total > 0:
            return 0.0
        weight, slope = self.weight(z), self.slope(z)
        means = [float(freedom @ x) / total for x in (weight, (weight * z) ** 2, slope)]
        return float(means[0] * means[1] / means[2] ** 2)


def _huber_weight(z: FloatArray) -> FloatArray:
    result: FloatArray = _HUBER / np.maximum(np.abs(z), _HUBER)
    return result


def _huber_slope(z: FloatArray) -> FloatArray:
    result: FloatArray = (np.abs(z) <= _HUBER).astype(np.float64)
    return result


def _student_weight(z: FloatArray) -> FloatArray:
    result: FloatArray = (_NU + 1.0) / (_NU + z * z)
    return result


def _student_slope(z: FloatArray) -> FloatArray:
    result: FloatArray = (_NU + 1.0) * (_NU - z * z) / (_NU + z * z) ** 2
    return result


_FUNCTIONS: dict[str, tuple[Function, Function]] = {
    "huber": (_huber_weight, _huber_slope),
    "student_t": (_student_weight, _student_slope),
}


@cache
def robust_loss(scheme: str) -> RobustLoss | None:
    """Return the loss of a `weighting_scheme`; None for invvar, least squares."""
    if scheme not in _FUNCTIONS:
        return None
    weight, slope = _FUNCTIONS[scheme]
    z = np.linspace(-12.0, 12.0, 240001)
    factor = RobustLoss(weight, slope).variance_factor(z, np.exp(-0.5 * z * z))
    return RobustLoss(lambda z: weight(z) / factor, lambda z: slope(z) / factor)


def standardised_residuals(
    intensity: FloatArray, weight: FloatArray, factor: FloatArray, g: FloatArray, offsets: IndexArray
) -> tuple[FloatArray, FloatArray]:
    """Residuals from the means of groups over their standard uncertainties, the means weighted robustly.

    A row of variance v and of share p in its mean has the residual variance v (1 - 2p) + sum p_j^2 v_j.

    Parameters
    ----------
    intensity, weight, g : (n,) float64, sorted by group
        Unscaled intensities, 1/sigma'^2 (0: left out), and inverse scale factors.
    factor : (n,) float64
        Of the weights in the means.
    offsets : (n_groups + 1,) int64

    Returns
    -------
    z : (n,) float64
        0 for rows left out or alone.
    freedom : (n,) float64
        1 - p, which sums to the rows less the groups; 0 for rows left out or alone.
    """
    starts, counts = offsets[:-1], np.diff(offsets)
    precision = weight * g * g
    sums = np.add.reduceat(factor * precision, starts)
    products = np.add.reduceat(factor * weight * g * intensity, starts)
    used = precision > 0
    divisor = np.where(sums > 0, sums, 1.0)
    share = factor * precision / np.repeat(divisor, counts)
    spread = np.add.reduceat(np.divide(share**2, precision, out=np.zeros_like(share), where=used), starts)
    variance = 1.0 - 2.0 * share + precision * np.repeat(spread, counts)
    used &= variance > _LEAST_VARIANCE
    residual = (intensity - g * np.repeat(products / divisor, counts)) * np.sqrt(weight)
    z = np.divide(residual, np.sqrt(np.maximum(variance, _LEAST_VARIANCE)), out=np.zeros_like(residual), where=used)
    return z, np.where(used, 1.0 - share, 0.0)


def robust_factors(
    intensity: FloatArray, weight: FloatArray, g: FloatArray, offsets: IndexArray, loss: RobustLoss
) -> FloatArray:
    """Factors of the weights of all rows under a loss; those of rows left out or alone do not count.

    Parameters
    ----------
    intensity, weight, g, offsets
        As in `standardised_residuals`.
    loss : RobustLoss

    Returns
    -------
    (n,) float64
    """
    factor = np.ones(intensity.size)
    for _ in range(_CYCLES):
        factor = loss.weight(standardised_residuals(intensity, weight, factor, g, offsets)[0])
    return factor
