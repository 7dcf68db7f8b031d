"""Scatter of symmetry equivalents about the means of their groups, packed for fits and tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pyscale import _core
from pyscale.typing import FloatArray, IndexArray

__all__ = [
    "NO_SCATTER",
    "BinsWhenWanted",
    "ErrorModelBin",
    "Repeated",
    "Residuals",
    "bin_deviations",
    "group_residuals",
    "rough_a",
]

# Scatter in standard uncertainties that is nothing but rounding.
NO_SCATTER = 1e-6
_MEDIAN_OF_NORMAL = 0.6744897501960817
_N_BINS = 10


@dataclass(frozen=True)
class ErrorModelBin:
    """Normalised deviations of the observations in a range of expected intensity.

    `uncorrected_variance` is for sigma of integration (a = 1, b = 0), `corrected_variance` for the model;
    1 is right.
    """

    intensity_min: float
    intensity_max: float
    n: int
    uncorrected_variance: float
    corrected_variance: float


class Repeated(NamedTuple):
    """Usable rows of groups with several, on the common scale: y = I/g, V/g^2, (I_e/g)^2.

    `row` is the position of each in the arrays of the job, `offsets` delimit the groups.
    """

    row: IndexArray
    intensity: FloatArray
    variance: FloatArray
    expected_squared: FloatArray
    offsets: IndexArray


class Residuals(NamedTuple):
    """Residuals y - ybar and the two parts of their variances, a^2 (variance + b^2 expected_squared).

    `weight` is one less the row's share in its mean, so that weights sum to the degrees of freedom.
    """

    residual: FloatArray
    variance: FloatArray
    expected_squared: FloatArray
    weight: FloatArray

    def scaled(self, a: float, b: float) -> FloatArray:
        """Residuals over their standard uncertainties under a model."""
        variance = a**2 * (self.variance + b**2 * self.expected_squared)
        # A row that outweighs all others of its group is their mean: nothing is left of it.
        sigma = np.sqrt(np.maximum(variance, 0.0))
        deviation: FloatArray = np.divide(self.residual, sigma, out=np.zeros_like(sigma), where=sigma > 0)
        return deviation


def group_residuals(repeated: Repeated, b: float, n_threads: int) -> Residuals:
    """Residuals from means with weights 1 / (V + b^2 I_e^2)."""
    return Residuals(*_core.group_residuals(*repeated[1:], b**2, n_threads))


def rough_a(residuals: Residuals, b: float, robust: bool) -> float:
    """a at the given b: from the mean square of the deviations, or robustly from their median."""
    deviation = residuals.scaled(1.0, b)
    if robust:
        median = float(np.median(np.abs(deviation)))
        if median > NO_SCATTER:
            return median / _MEDIAN_OF_NORMAL
    return math.sqrt(np.sum(residuals.weight * deviation**2) / np.sum(residuals.weight))


class BinsWhenWanted:
    """The bins of a fit, made when they are asked for.

    Parameters
    ----------
    repeated : Repeated
    expected : (n,) float64
        Expected intensity of each of its rows.
    a, b : float
    n_threads : int
    """

    def __init__(self, repeated: Repeated, expected: FloatArray, a: float, b: float, n_threads: int) -> None:
        self._arguments: tuple[Repeated, FloatArray, float, float, int] | None = repeated, expected, a, b, n_threads
        self._bins: tuple[ErrorModelBin, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BinsWhenWanted) and self.get() == other.get()

    def __hash__(self) -> int:
        return hash(self.get())

    def get(self) -> tuple[ErrorModelBin, ...]:
        """Return the bins, from strong to weak."""
        if self._arguments is not None:
            self._bins, self._arguments = bin_deviations(*self._arguments), None
        return self._bins


def bin_deviations(
    repeated: Repeated, expected: FloatArray, a: float, b: float, n_threads: int
) -> tuple[ErrorModelBin, ...]:
    """Bins of equal width in ln I_e, strongest first, widened to a third of the mean number of rows."""
    n = repeated.row.size
    if n == 0:
        return ()
    least = max(1, n // (3 * _N_BINS))
    residuals = group_residuals(repeated, b, n_threads)
    order = np.argsort(-expected, kind="stable")
    x = expected[order]
    before, after = (residuals.scaled(a, b)[order] for a, b in ((1.0, 0.0), (a, b)))
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
