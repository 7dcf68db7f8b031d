"""The basic error model, sigma'^2 = a^2 (V + (b I_e)^2), found from the scatter of equivalents."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from pyscale import _core
from pyscale._equivalents import NO_SCATTER, BinsWhenWanted, ErrorModelBin, Repeated, group_residuals, rough_a
from pyscale._likelihood import Minimum, Terms, minimise, student_kappa
from pyscale.errors import UsageError
from pyscale.outliers import find_outliers, leave_one_out_z
from pyscale.typing import BoolArray, ByteArray, FloatArray, IndexArray

__all__ = [
    "ErrorModel",
    "ErrorModelBin",
    "ErrorModelFit",
    "Method",
    "expected_intensity",
    "normalised_deviations",
    "refine_error_model",
]

Method = Literal["likelihood", "robust"]

_NU = 4.0
_MAX_CYCLES = 6
# In standard uncertainties: of a minimum with expected intensities held fixed, and of the cycles that renew them.
# A model for the first weights need not be known better than one that counts.
_PRECISION: dict[Method, tuple[float, float]] = {"likelihood": (1e-3, 0.01), "robust": (0.1, 0.3)}
_MIN_FOR_ANY, _MIN_FOR_B = 20, 100
# Relative uncertainty of a strong group's mean up to which it is taken for the expected intensity, and the
# number of rows for which less multiplicity will do.
_MEAN_PRECISION, _ENOUGH = 0.15, 2000
_NONE: ByteArray = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class ErrorModel:
    """Parameters of sigma'^2 = a^2 (V + (b I_e)^2); as yet unrefined, those at which dials.scale starts."""

    a: float = 1.0
    b: float = 0.02

    def __post_init__(self) -> None:
        if not (self.a > 0 and math.isfinite(self.a)):
            raise UsageError(f"error model: a must be positive, not {self.a:g}")
        if not (self.b >= 0 and math.isfinite(self.b)):
            raise UsageError(f"error model: b must not be negative, but is {self.b:g}")

    @property
    def isa(self) -> float:
        """Asymptotic I/sigma of strong reflections, 1/(ab) (Diederichs, 2010); infinite when b = 0."""
        return 1.0 / (self.a * self.b) if self.b > 0 else math.inf

    def sigma_squared(self, variance: FloatArray, expected: FloatArray) -> FloatArray:
        """Variance of the unscaled intensities.

        Parameters
        ----------
        variance : (n,) float64
            V = sigma^2 of integration, on the scale of the unscaled intensity.
        expected : (n,) float64
            Expected intensity g I_h (`expected_intensity`), not the observed one, whose use would give
            negative fluctuations the greater weight. Below zero it counts as zero.

        Returns
        -------
        (n,) float64
        """
        result: FloatArray = self.a**2 * (variance + (self.b * np.maximum(expected, 0.0)) ** 2)
        return result


@dataclass(frozen=True)
class ErrorModelFit:
    """A refined error model.

    Attributes
    ----------
    model : ErrorModel
    method : {"likelihood", "robust"}
    n_used : int
        Observations used: those in groups of two or more.
    cost : float
        Minimum of the cost of the method (-2 ln L for "likelihood").
    converged : bool
        False when parameters were kept for want of data, or the steps ran out.
    reason : str
        How it ended, and what was kept or fixed and why.
    sigma_a, sigma_b : float
        Standard uncertainties; 0 for a fixed parameter, NaN when it was kept because the data do not tell.
        `sigma_b` is the upper one, sqrt(b^2 + sigma(b^2)) - b, which stays meaningful at b = 0.
    bins_when_wanted : BinsWhenWanted
        Makes `bins`: only those of the last of many fits are looked at.
    n_outliers : int
        Observations that the robust method set aside on its own.
    reliable : bool
        False when groups are too small for their scatter to tell a and b apart.
    """

    model: ErrorModel
    method: Method
    n_used: int
    cost: float
    converged: bool
    reason: str
    sigma_a: float
    sigma_b: float
    bins_when_wanted: BinsWhenWanted = field(repr=False)
    n_outliers: int = 0
    reliable: bool = True

    @property
    def bins(self) -> tuple[ErrorModelBin, ...]:
        """Normalised deviations by expected intensity, from strong to weak."""
        return self.bins_when_wanted.get()


@dataclass(frozen=True)
class _Observations:
    intensity: FloatArray
    variance: FloatArray
    g: FloatArray
    offsets: IndexArray
    anomalous_offsets: IndexArray
    n_threads: int

    def weight(self, model: ErrorModel, expected: FloatArray) -> FloatArray:
        sigma_squared = model.sigma_squared(self.variance, expected)
        weight: FloatArray = 1.0 / np.where(self.variance > 0, sigma_squared, np.inf)
        return weight

    def expected(self, weight: FloatArray, excluded: BoolArray) -> FloatArray:
        args = (self.intensity, weight, self.g, self.offsets)
        return expected_intensity(*args, excluded=excluded, n_threads=self.n_threads)

    def repeated(self, expected: FloatArray, excluded: BoolArray, model: ErrorModel) -> Repeated:
        """Rows of groups whose mean is precise enough to serve as expected intensity, if there are enough.

        A noisy mean in the place of I_e makes b too small and a too large (regression dilution).
        """
        args = (
            self.intensity,
            self.variance,
            self.g,
            expected,
            self.anomalous_offsets,
            excluded.view(np.uint8),
        )
        largest = int(np.diff(self.anomalous_offsets).max(initial=2))
        multiplicity = min(_needed_multiplicity(model), largest)
        while multiplicity > 2:
            repeated = Repeated(*_core.repeated_observations(*args, multiplicity))
            if repeated.row.size >= _ENOUGH:
                return repeated
            multiplicity = max(2, multiplicity // 2)
        return Repeated(*_core.repeated_observations(*args))

    def discordant(self, weight: FloatArray, zmax: float, known: BoolArray) -> BoolArray:
        """Outliers, and pairs that disagree, of which one cannot tell which is wrong."""
        args = (self.intensity, weight, self.g, self.offsets)
        outlier = find_outliers(*args, zmax=zmax, excluded=known, n_threads=self.n_threads)
        z = leave_one_out_z(*args, excluded=known | outlier, n_threads=self.n_threads)
        return outlier | (z > zmax)


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
    variance: FloatArray,
    inverse_scale_factor: FloatArray,
    expected: FloatArray,
    offsets: IndexArray,
    model: ErrorModel,
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
    intensity, variance, inverse_scale_factor, expected : (n,) float64, sorted by group
    offsets : (n_groups + 1,) int64
    model : ErrorModel
    excluded : (n,) bool, optional

    Returns
    -------
    (n,) float64
        NaN for rows without a usable equivalent.
    """
    mask = _NONE if excluded is None else excluded.view(np.uint8)
    args = (intensity, variance, inverse_scale_factor, expected, offsets, mask)
    repeated = Repeated(*_core.repeated_observations(*args))
    deviations = np.full(intensity.size, np.nan)
    deviations[repeated.row] = group_residuals(repeated, model.b, n_threads).scaled(model.a, model.b)
    return deviations


def refine_error_model(
    intensity: FloatArray,
    variance: FloatArray,
    inverse_scale_factor: FloatArray,
    offsets: IndexArray,
    anomalous_offsets: IndexArray,
    *,
    excluded: BoolArray | None = None,
    start: ErrorModel | None = None,
    fixed_a: float | None = None,
    fixed_b: float | None = None,
    method: Method = "likelihood",
    zmax: float = 6.0,
    n_threads: int = 1,
) -> ErrorModelFit:
    """Refine a and b against the scatter of symmetry equivalents.

    "likelihood" maximises the restricted likelihood of Gaussian groups with their means eliminated
    (Patterson & Thompson, 1971), unbiased at any multiplicity; outliers must be in `excluded`. "robust" is
    for first rounds, before outliers are known and when sigmas may be wrong by large factors: residuals are
    taken as Student t of 4 degrees of freedom, with a scale that leaves Gaussian data unbiased, and rows that
    fail the leave-one-out test under the model so far are set aside for the duration. Expected intensities
    are held fixed during a fit and renewed between cycles. Multiplying intensities by k and variances by k^2
    changes nothing.

    Parameters
    ----------
    intensity, variance, inverse_scale_factor : (n,) float64, sorted by group
        I and V = sigma^2 before division by g. Rows with g <= 0, V <= 0 or no finite value are not used.
    offsets, anomalous_offsets : (n_groups + 1,) int64
        Groups for expected intensities (Friedel mates together) and for the scatter (apart).
    excluded : (n,) bool, optional
        Rows not to use, as outliers.
    start : ErrorModel, optional
        Where to start, and what is kept when there is too little to refine from.
    fixed_a, fixed_b : float, optional
        Values not to be refined.
    zmax : float
        Limit of the leave-one-out test of "robust".

    Raises
    ------
    UsageError
        When a fixed a is not positive or a fixed b negative.
    """
    start = start or ErrorModel()
    model = ErrorModel(start.a if fixed_a is None else fixed_a, start.b if fixed_b is None else fixed_b)
    free = (fixed_a is None, fixed_b is None)
    obs = _Observations(intensity, variance, inverse_scale_factor, offsets, anomalous_offsets, n_threads)
    known = np.zeros(intensity.size, np.bool_) if excluded is None else excluded
    mask = known
    expected = obs.expected(obs.weight(model, np.zeros_like(intensity)), mask)
    for _ in range(_MAX_CYCLES):
        expected = obs.expected(obs.weight(model, expected), mask)
        repeated = obs.repeated(expected, mask, model)
        minimum = _fit(repeated, model, free, method, n_threads)
        settled = _settled(model, minimum, _PRECISION[method][1])
        model = _moved(model, minimum)
        used_mask = mask
        if method == "robust":
            mask = known | obs.discordant(obs.weight(model, expected), zmax, known)
        if settled and np.array_equal(mask, used_mask):
            break
    return ErrorModelFit(
        model=model,
        method=method,
        n_used=repeated.row.size,
        cost=minimum.cost,
        converged=minimum.converged,
        reason=minimum.reason + _caveat(repeated, model),
        reliable=not _caveat(repeated, model),
        sigma_a=model.a * math.sqrt(minimum.variance_log_a),
        sigma_b=math.sqrt(minimum.b_squared + math.sqrt(minimum.variance_b_squared)) - model.b,
        bins_when_wanted=BinsWhenWanted(repeated, expected[repeated.row], model.a, model.b, n_threads),
        n_outliers=int(np.count_nonzero(used_mask & ~known)),
    )


def _moved(model: ErrorModel, minimum: Minimum) -> ErrorModel:
    """The model at the minimum; a parameter that was not refined keeps its bits."""
    a = model.a if minimum.log_a == math.log(model.a) else math.exp(minimum.log_a)
    b = model.b if minimum.b_squared == model.b**2 else math.sqrt(minimum.b_squared)
    return ErrorModel(a, b)


def _needed_multiplicity(model: ErrorModel) -> int:
    return max(2, math.ceil((model.a * model.b / _MEAN_PRECISION) ** 2))


def _caveat(repeated: Repeated, model: ErrorModel) -> str:
    least = int(np.diff(repeated.offsets).min(initial=_needed_multiplicity(model)))
    if least >= _needed_multiplicity(model):
        return ""
    return (
        f"; a too large, b too small: strong intensities scatter by {100 * model.a * model.b:.0f} %, "
        f"groups of {least} do not average that out"
    )


def _settled(model: ErrorModel, minimum: Minimum, precision: float) -> bool:
    """Whether the last cycle moved the parameters by less than some of their uncertainties."""
    moved_a = abs(minimum.log_a - math.log(model.a)) > precision * math.sqrt(minimum.variance_log_a)
    moved_b = abs(minimum.b_squared - model.b**2) > precision * math.sqrt(minimum.variance_b_squared)
    return not (moved_a or moved_b)


def _fit(repeated: Repeated, model: ErrorModel, free: tuple[bool, bool], method: Method, n_threads: int) -> Minimum:
    """One fit with expected intensities, weights of the robust means, and outliers held fixed."""
    n = repeated.row.size
    if n < _MIN_FOR_ANY:
        return _kept(model, free, f"only {n} observations in groups of two or more, {_MIN_FOR_ANY} needed")
    residuals = group_residuals(repeated, model.b, n_threads)
    scatter = rough_a(residuals, model.b, method == "robust")
    if not scatter > NO_SCATTER:
        return _kept(model, free, "equivalents do not scatter")

    def student(log_a: float, b_squared: float) -> Terms:
        return _core.student_likelihood(*residuals, log_a, b_squared, _NU, student_kappa(_NU), n_threads)

    def gaussian(log_a: float, b_squared: float) -> Terms:
        return _core.restricted_likelihood(*repeated[1:], log_a, b_squared, n_threads)

    enough_for_b = n >= _MIN_FOR_B
    start_log_a = math.log(scatter if free[0] else model.a)
    cost = student if method == "robust" else gaussian
    minimum = minimise(cost, start_log_a, model.b**2, free[0], free[1] and enough_for_b, _PRECISION[method][0])
    if enough_for_b or not free[1]:
        return minimum
    note = f"b kept: only {n} observations in groups of two or more, {_MIN_FOR_B} needed"
    return replace(minimum, variance_b_squared=math.nan, reason=f"{minimum.reason}; {note}")


def _kept(model: ErrorModel, free: tuple[bool, bool], why: str) -> Minimum:
    return Minimum(
        log_a=math.log(model.a),
        b_squared=model.b**2,
        cost=math.nan,
        variance_log_a=math.nan if free[0] else 0.0,
        variance_b_squared=math.nan if free[1] else 0.0,
        converged=False,
        reason=f"kept: {why}",
    )
