"""Which observations the minimisation sees, and with what weights: without the free set, and robustly."""

from __future__ import annotations

import math

import numpy as np

from .errors import DataError, UsageError
from .observations import JobObservations
from .options import ScalingOptions
from .robust import robust_factors, robust_loss, standardised_residuals
from .typing import BoolArray, FloatArray

__all__ = ["FitWeights", "free_set_period"]

_SETTLED = 1e-3
"""Mean change of the robust factors of the weights at which they are the same."""


def free_set_period(percentage: float) -> int:
    """Every how many groups one is free: 100 / percentage, rounded down."""
    return math.floor(100.0 / percentage * (1.0 + 1e-12))


class FitWeights:
    """Weights of the minimisation.

    Attributes
    ----------
    free : (n,) bool
        Rows of the free set, whole groups with Friedel mates together, which no parameter is to know of.
    factor : (n,) float64
        What the robust loss has multiplied the weights by.
    """

    def __init__(self, observations: JobObservations, options: ScalingOptions) -> None:
        self.free = _free_rows(observations, options)
        self._loss = robust_loss(options.weighting.weighting_scheme)
        self.factor = np.ones(len(observations))

    def update(self, obs: JobObservations, weight: FloatArray, g: FloatArray, *, robust: bool) -> FloatArray:
        """Return the weights of the next minimisation, (n,) float64.

        Parameters
        ----------
        obs : JobObservations
        weight : (n,) float64
            1/sigma'^2, 0 for rows that are excluded.
        g : (n,) float64
            Scales so far.
        robust : bool
            Whether these are good enough to tell which observations deviate.
        """
        weight = np.where(self.free, 0.0, weight)
        if self._loss is not None and robust:
            self.factor = robust_factors(obs.intensity, weight, g, obs.target_offsets, self._loss)
        return weight * self.factor

    def settled(self, obs: JobObservations, weight: FloatArray, g: FloatArray) -> bool:
        """Whether the scales that the last weights have led to would change them no more."""
        if self._loss is None:
            return True
        weight = np.where(self.free, 0.0, weight)
        new = robust_factors(obs.intensity, weight, g, obs.target_offsets, self._loss)
        return float(np.mean(np.abs(new - self.factor)[weight > 0])) < _SETTLED

    def sum_of_squares(self, obs: JobObservations, weight: FloatArray, g: FloatArray, cost: float) -> float:
        """Return what, over the degrees of freedom, is the variance of an observation of unit weight.

        That is the cost itself for least squares.
        """
        if self._loss is None:
            return cost
        weight = np.where(self.free, 0.0, weight)
        z, freedom = standardised_residuals(obs.intensity, weight, self.factor, g, obs.target_offsets)
        return self._loss.variance_factor(z, freedom) * float(freedom.sum())


def _free_rows(obs: JobObservations, options: ScalingOptions) -> BoolArray:
    job = options.scaling_options
    if not job.use_free_set:
        return np.zeros(len(obs), np.bool_)
    period = free_set_period(job.free_set_percentage)
    if job.free_set_offset >= period:
        raise UsageError(
            f"option scaling_options.free_set_offset={job.free_set_offset}: there are {period} free sets of "
            f"{job.free_set_percentage:g} %, 0 to {period - 1}"
        )
    free: BoolArray = obs.group % period == job.free_set_offset
    if free.all() or not free.any():
        raise DataError(
            f"{obs.offsets.size - 1} groups of equivalents are too few for free set {job.free_set_offset} of {period}: "
            "switch off scaling_options.use_free_set, or change its percentage"
        )
    return free
