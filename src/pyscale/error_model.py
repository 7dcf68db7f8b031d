"""The error model sigma'^2 = a^2 (V + c k I_e + (b I_e)^2), and the expected intensities in it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pyscale import _core
from pyscale._equivalents import Repeated, group_residuals
from pyscale.errors import UsageError
from pyscale.typing import BoolArray, ByteArray, FloatArray, IndexArray, IntArray

__all__ = ["ErrorModel", "expected_intensity", "normalised_deviations"]

_NONE: ByteArray = np.zeros(0, np.uint8)
_ONE_MODEL: IntArray = np.zeros(0, np.int32)


@dataclass(frozen=True)
class ErrorModel:
    """Parameters of sigma'^2 = a^2 (V + c k I_e + (b I_e)^2); as yet unrefined, those at which dials.scale starts.

    c multiplies the expected intensity, k the intensity per count: an error of the counts beyond that of V.
    """

    a: float = 1.0
    b: float = 0.02
    c: float = 0.0

    def __post_init__(self) -> None:
        if not (self.a > 0 and math.isfinite(self.a)):
            raise UsageError(f"error model: a must be positive, not {self.a:g}")
        for name in "bc":
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"error model: {name} must not be negative, but is {value:g}")

    @property
    def isa(self) -> float:
        """Asymptotic I/sigma of strong reflections, 1/(ab) (Diederichs, 2010); infinite when b = 0."""
        return 1.0 / (self.a * self.b) if self.b > 0 else math.inf

    @property
    def theta(self) -> FloatArray:
        """ln a, b^2, c: (3,) float64."""
        return np.array([math.log(self.a), self.b**2, self.c])

    def at(self, theta: FloatArray) -> ErrorModel:
        """Return the model of ln a, b^2, c; parameters that are this one's keep their bits."""
        same = (theta == self.theta).tolist()
        log_a, d, c = theta.tolist()
        return ErrorModel(self.a if same[0] else math.exp(log_a), self.b if same[1] else math.sqrt(d), c)

    def sigma_squared(
        self, variance: FloatArray, expected: FloatArray, conversion: FloatArray, n_threads: int = 1
    ) -> FloatArray:
        """Variance of the unscaled intensities.

        Parameters
        ----------
        variance : (n,) float64
            V = sigma^2 of integration, on the scale of the unscaled intensity.
        expected : (n,) float64
            Expected intensity g I_h (`expected_intensity`), not the observed one, whose use would give
            negative fluctuations the greater weight. Below zero it counts as zero.
        conversion : (n,) float64
            Intensity per count, LP / QE; matters where c is not 0.

        Returns
        -------
        (n,) float64
        """
        return _core.error_model_variances(variance, expected, conversion, self.theta, _ONE_MODEL, n_threads)


def expected_intensity(
    intensity: FloatArray,
    weight: FloatArray,
    inverse_scale_factor: FloatArray,
    offsets: IndexArray,
    *,
    excluded: BoolArray | None = None,
    reference: tuple[FloatArray, FloatArray] | None = None,
    n_threads: int = 1,
) -> FloatArray:
    """Expected unscaled intensity of each row, g I_h with I_h = sum w g I / sum w g^2 over its group.

    Parameters
    ----------
    intensity, weight, inverse_scale_factor : (n,) float64, sorted by group
    offsets : (n_groups + 1,) int64
    excluded : (n,) bool, optional
        Rows to keep out of the means; they get an expected intensity all the same.
    reference : two (n_groups,) float64, optional
        Scaled intensities known beforehand and their weights, 0 for none: one more row of each group, with g = 1.

    Returns
    -------
    (n,) float64
        Rows with g <= 0, and groups without a usable row, keep their own intensity.
    """
    mask = _NONE if excluded is None else excluded.view(np.uint8)
    return _core.expected_intensity(
        intensity, weight, inverse_scale_factor, offsets, mask, n_threads, *(reference or ())
    )


def normalised_deviations(
    intensity: FloatArray,
    sigma_squared: FloatArray,
    inverse_scale_factor: FloatArray,
    offsets: IndexArray,
    *,
    excluded: BoolArray | None = None,
    n_threads: int = 1,
) -> FloatArray:
    """Deviations from the group mean over their standard uncertainty, (y - ybar) / sqrt(v - 1/S).

    y = I/g, v = sigma'^2/g^2, ybar the mean of the group with weights 1/v and S = sum 1/v: the mean contains
    the observation itself, hence the reduced variance. They have variance 1 at any multiplicity when the
    model is right.

    Parameters
    ----------
    intensity, sigma_squared, inverse_scale_factor : (n,) float64, sorted by group
        I and sigma'^2 before division by g.
    offsets : (n_groups + 1,) int64
    excluded : (n,) bool, optional

    Returns
    -------
    (n,) float64
        NaN for rows without a usable equivalent.
    """
    mask = _NONE if excluded is None else excluded.view(np.uint8)
    nothing = np.zeros_like(intensity)
    args = (intensity, sigma_squared, inverse_scale_factor, nothing, nothing, offsets, mask)
    repeated = Repeated(*_core.repeated_observations(*args))
    as_given = np.zeros((1, 3))
    deviations = np.full(intensity.size, np.nan)
    deviations[repeated.row] = group_residuals(repeated, as_given, _ONE_MODEL, n_threads).deviations(as_given)
    return deviations
