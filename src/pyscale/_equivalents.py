"""Scatter of symmetry equivalents about the means of their groups, packed for fits and tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pyscale import _core
from pyscale._likelihood import Evaluate, Terms, student_kappa
from pyscale.normal_probability import NormalProbability, normal_probability
from pyscale.typing import FloatArray, IndexArray, IntArray

__all__ = ["NO_SCATTER", "BinsWhenWanted", "ErrorModelBin", "Repeated", "Residuals", "group_residuals", "rough_a"]

# Scatter in standard uncertainties that is nothing but rounding.
NO_SCATTER = 1e-6
_MEDIAN_OF_NORMAL = 0.6744897501960817
_N_BINS = 10
_NU = 4.0
_AS_INTEGRATED = np.zeros((1, 3))
_ONE_MODEL: IntArray = np.zeros(0, np.int32)


@dataclass(frozen=True)
class ErrorModelBin:
    """Normalised deviations of the observations in a range of expected intensity.

    `uncorrected_variance` is for sigma of integration, `corrected_variance` for the model; 1 is right.
    """

    intensity_min: float
    intensity_max: float
    n: int
    uncorrected_variance: float
    corrected_variance: float


class Repeated(NamedTuple):
    """Usable rows of groups with several, on the common scale: y = I/g, V/g^2, k I_e/g^2, (I_e/g)^2.

    `row` is the position of each in the arrays of the job, `offsets` delimit the groups.
    """

    row: IndexArray
    intensity: FloatArray
    variance: FloatArray
    linear: FloatArray
    quadratic: FloatArray
    offsets: IndexArray

    def with_expected(self, expected: FloatArray, g: FloatArray, conversion: FloatArray) -> Repeated:
        """Return the same rows with other expected intensities of the job's rows."""
        scale = g[self.row]
        mean = np.maximum(expected[self.row], 0.0) / scale
        linear = np.maximum(conversion[self.row], 0.0) * mean / scale
        return self._replace(linear=linear, quadratic=mean**2)


@dataclass(frozen=True)
class Residuals:
    """Residuals from means with the weights of some parameters, for costs and variances with others.

    Attributes
    ----------
    repeated : Repeated
    model : (m,) int32
        Number of the error model of each row; empty where all have the first.
    residual, share : (m,) float64
        y - ybar, and the share of the row in its mean.
    n_threads : int
    """

    repeated: Repeated
    model: IntArray
    residual: FloatArray
    share: FloatArray
    n_threads: int

    def evaluator(self) -> Evaluate:
        """Return the robust cost as a function of the parameters of all models."""
        kappa = student_kappa(_NU)

        def evaluate(theta: FloatArray) -> Terms:
            flat = np.ascontiguousarray(theta).ravel()
            arguments = (*self.repeated[1:], self.residual, self.share, flat, self.model, _NU, kappa, self.n_threads)
            return Terms.from_core(*_core.student_cost(*arguments))

        return evaluate

    def deviations(self, theta: FloatArray) -> FloatArray:
        """Residuals over their standard uncertainties under models of some parameters (k, 3), (m,) float64."""
        model = self.model if len(theta) > 1 else _ONE_MODEL
        flat = np.ascontiguousarray(theta).ravel()
        variance = _core.residual_variances(*self.repeated[1:], self.share, flat, model, self.n_threads)
        # A row that outweighs all others of its group is their mean: nothing is left of it.
        sigma = np.sqrt(np.maximum(variance, 0.0))
        deviation: FloatArray = np.divide(self.residual, sigma, out=np.zeros_like(sigma), where=sigma > 0)
        return deviation


def group_residuals(repeated: Repeated, theta: FloatArray, model: IntArray, n_threads: int) -> Residuals:
    """Residuals from means with weights 1/v for parameters (k, 3) of the models of the rows."""
    found = _core.group_residuals(*repeated[1:], np.ascontiguousarray(theta).ravel(), model, n_threads)
    return Residuals(repeated, model, *found, n_threads)


def rough_a(residuals: Residuals, theta: FloatArray) -> float:
    """a for the other parameters as given, (1, 3), robustly from the median of the deviations."""
    deviation = residuals.deviations(theta * np.array([0.0, 1.0, 1.0]))
    median = float(np.median(np.abs(deviation)))
    if median > NO_SCATTER:
        return median / _MEDIAN_OF_NORMAL
    weight = 1.0 - residuals.share
    return math.sqrt(np.sum(weight * deviation**2) / np.sum(weight))


class BinsWhenWanted:
    """The bins of a fit and its normal probability plot, made when they are asked for.

    Parameters
    ----------
    repeated : Repeated
    expected : (m,) float64
        Expected intensity of each of its rows.
    theta : (k, 3) float64
        Parameters of the models.
    model : (m,) int32
        Number of the model of each row; empty where all have the first.
    n_threads : int
    """

    def __init__(
        self, repeated: Repeated, expected: FloatArray, theta: FloatArray, model: IntArray, n_threads: int
    ) -> None:
        self._arguments: tuple[Repeated, FloatArray, FloatArray, IntArray, int] | None
        self._arguments = repeated, expected, theta, model, n_threads
        self._bins: tuple[ErrorModelBin, ...] = ()
        self._normal_probability: NormalProbability | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BinsWhenWanted) and self.get() == other.get()

    def __hash__(self) -> int:
        return hash(self.get())

    def get(self) -> tuple[ErrorModelBin, ...]:
        """Return the bins, from strong to weak."""
        self._make()
        return self._bins

    def normal_probability(self) -> NormalProbability | None:
        """Return the deviates with sigmas of integration (`uncorrected`) and of the model (`corrected`)."""
        self._make()
        return self._normal_probability

    def _make(self) -> None:
        if self._arguments is None:
            return
        repeated, expected, theta, model, n_threads = self._arguments
        residuals = group_residuals(repeated, theta, model, n_threads)
        before, after = (residuals.deviations(t) for t in (_AS_INTEGRATED, theta))
        self._bins, self._arguments = _bins(expected, before, after), None
        self._normal_probability = normal_probability(uncorrected=before, corrected=after)


def _bins(expected: FloatArray, before: FloatArray, after: FloatArray) -> tuple[ErrorModelBin, ...]:
    """Bins of equal width in ln I_e, strongest first, widened to a third of the mean number of rows."""
    n = expected.size
    if n == 0:
        return ()
    least = max(1, n // (3 * _N_BINS))
    order = np.argsort(-expected, kind="stable")
    x = expected[order]
    before, after = before[order], after[order]
    top = max(float(x[0]), 0.0)
    lowest = max(float(np.quantile(x, 0.1)), 1e-4 * top)
    edges = np.geomspace(top, lowest, _N_BINS + 1)[1:-1] if top > 0 else np.zeros(0)
    bins = []
    begin = 0
    for wanted in [*np.searchsorted(-x, -edges, side="right").tolist(), n]:
        end = max(wanted, begin + least)
        end = n if n - end < least else end
        if begin < end:
            variances = float(np.var(before[begin:end])), float(np.var(after[begin:end]))
            bins.append(ErrorModelBin(float(x[end - 1]), float(x[begin]), end - begin, *variances))
        begin = end
    return tuple(bins)
