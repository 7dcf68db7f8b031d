"""What the errors of the scales of equivalents have in common, which merging needs."""

from __future__ import annotations

import numpy as np

from . import _core
from .gauge import UnitCovariance
from .observations import JobObservations
from .typing import BoolArray, FloatArray

__all__ = ["scale_correlations"]


def scale_correlations(
    problem: _core.FitProblem,
    observations: JobObservations,
    parameters: FloatArray,
    covariance: UnitCovariance | None,
    chi_squared: float,
    scales: tuple[FloatArray, FloatArray],
    variance: FloatArray,
    merged: BoolArray,
) -> FloatArray:
    """Mean correlation of the errors of scales between the observations that are merged (theory, equation 33).

    Parameters
    ----------
    problem : _core.FitProblem
        Of the observations.
    observations : JobObservations
    parameters : (p,) float64
    covariance : UnitCovariance or None
        Where it knows data sets by themselves only, correlations are upper bounds.
    chi_squared : float
        By which the covariance is multiplied.
    scales : two (n,) float64
        g and var(g).
    variance : (n,) float64
        sigma'^2 of the unscaled intensity, for merging.
    merged : (n,) bool
        Rows that are merged; g is positive there.

    Returns
    -------
    (n, 2) float64
        Of each row's group, Friedel mates apart and together; 1 where fewer than two are merged, or there is no
        covariance.
    """
    if covariance is None:
        return np.ones((len(observations), 2))
    g, g_variance = scales
    square = np.where(merged, g * g, 1.0)
    weight = np.where(merged, square / variance, 0.0)
    relative = np.where(merged, g_variance / square, 0.0)
    rest = (weight, relative, observations.offsets, observations.anomalous_offsets)
    if covariance.dense is None:
        return problem.local_scale_correlations(parameters, chi_squared * covariance.local.values, *rest)
    return problem.scale_correlations(parameters, chi_squared * covariance.dense, *rest)
