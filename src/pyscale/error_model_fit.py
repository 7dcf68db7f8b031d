"""The error models of data sets found from the scatter of equivalents, robustly and with standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from pyscale import _core
from pyscale._equivalents import NO_SCATTER, BinsWhenWanted, ErrorModelBin, Repeated, group_residuals, rough_a
from pyscale._likelihood import Minimum, Shrunk, Terms, minimise, shrink
from pyscale.error_model import ErrorModel
from pyscale.error_model_data import Equivalents, needed_multiplicity
from pyscale.typing import BoolArray, FloatArray, IntArray

__all__ = ["Equivalents", "ErrorModelFit", "Fixed", "Stage", "as_given", "refine_error_model", "sigma_isa", "sigmas"]

Stage = Literal["first", "round", "last", "exact"]
Fixed: TypeAlias = tuple[float | None, float | None, float | None]

_MAX_CYCLES = 6
# In standard uncertainties: of a minimum with expected intensities held fixed, of the cycles that renew them, and of
# the models of groups.
# A model for the first weights need not be known better than one that counts, and expected intensities hardly change
# between the last model of the rounds and the last of all.
_PRECISION: dict[Stage, tuple[float, float, float]] = {
    "first": (0.1, 0.3, 0.3),
    "round": (0.05, 0.2, 0.2),
    "last": (0.05, 5.0, 0.1),
    "exact": (1e-4, 1e-3, 1e-3),
}
# Observations looked at, about; more tell a and b better than anyone needs to know them. Of the last models' groups,
# none is left with fewer than these.
_SAMPLE: dict[Stage, int] = {"first": 25_000, "round": 50_000, "last": 150_000}
_PER_GROUP = 5_000
_MIN_FOR_ANY, _MIN_FOR_B = 20, 100
# Observations up to which a's start is looked for anew, since an earlier one may be far off.
_SMALL = 10_000
# Standard uncertainties by which c must be positive to appear, and to stay.
_C_APPEARS, _C_STAYS = 3.5, 2.5
_MAX_GROUP_CYCLES = 4
_ALL_ONE: IntArray = np.zeros(0, np.int32)


@dataclass(frozen=True, eq=False)
class ErrorModelFit:
    """Refined error models.

    Attributes
    ----------
    model : ErrorModel
        The one that all observations have in common: of greatest likelihood if there were no other.
    covariance : (3, 3) float64
        Of its ln a, b^2, c: 0 for fixed parameters, NaN when they were kept because the data do not tell.
    shrunk : Shrunk or None
        Parameters of the groups of data sets and what they have in common; None where all have `model`.
    n_used : int
        Observations used: those in groups of two or more.
    cost : float
        Minimum of the cost.
    converged : bool
        False when parameters were kept for want of data, or the steps ran out.
    reason : str
        How it ended, and what was kept or fixed and why.
    bins_when_wanted : BinsWhenWanted
        Makes `bins`: only those of the last of many fits are looked at.
    n_outliers : int
        Observations that the first stage set aside on its own.
    reliable : bool
        False when groups are too small for their scatter to tell a and b apart.
    """

    model: ErrorModel
    covariance: FloatArray
    n_used: int
    cost: float
    converged: bool
    reason: str
    bins_when_wanted: BinsWhenWanted = field(repr=False)
    n_outliers: int = 0
    reliable: bool = True
    shrunk: Shrunk | None = field(default=None, repr=False)

    @property
    def bins(self) -> tuple[ErrorModelBin, ...]:
        """Normalised deviations by expected intensity, from strong to weak."""
        return self.bins_when_wanted.get()

    @property
    def sigma_a(self) -> float:
        """Standard uncertainty of a."""
        return sigmas(self.model, self.covariance)[0]

    @property
    def sigma_b(self) -> float:
        """Upper standard uncertainty of b, sqrt(b^2 + sigma(b^2)) - b, which stays meaningful at b = 0."""
        return sigmas(self.model, self.covariance)[1]

    @property
    def sigma_c(self) -> float:
        """Standard uncertainty of c."""
        return sigmas(self.model, self.covariance)[2]

    @property
    def sigma_isa(self) -> float:
        """Standard uncertainty of 1/(ab); NaN at b = 0."""
        return sigma_isa(self.model, self.covariance)


def sigmas(model: ErrorModel, covariance: FloatArray) -> tuple[float, float, float]:
    """Standard uncertainties of a, b (the upper one) and c."""
    of_log_a, of_d, of_c = np.sqrt(np.maximum(np.diag(covariance), 0.0)).tolist()
    return model.a * of_log_a, math.sqrt(model.b**2 + of_d) - model.b, of_c


def sigma_isa(model: ErrorModel, covariance: FloatArray) -> float:
    """Standard uncertainty of 1/(ab) by propagation from ln a and b^2; NaN at b = 0."""
    if model.b == 0:
        return math.nan
    slope = np.array([-1.0, -0.5 / model.b**2, 0.0])
    return model.isa * math.sqrt(max(float(slope @ covariance @ slope), 0.0))


def refine_error_model(
    observations: Equivalents,
    *,
    start: ErrorModel | None = None,
    fixed: Fixed = (None, None, None),
    groups: IntArray | None = None,
    before: Shrunk | None = None,
    stage: Stage = "last",
    zmax: float = 6.0,
) -> ErrorModelFit:
    """Refine a, b and c against the scatter of symmetry equivalents.

    Residuals from the means of their groups are taken as Student t of 4 degrees of freedom, with a scale that leaves
    Gaussian data unbiased (`pyscale::student_cost` of the core). Expected intensities are held fixed during a fit and
    renewed between cycles. Multiplying intensities and conversions by k and variances by k^2 changes nothing but c.

    Parameters
    ----------
    observations : Equivalents
    start : ErrorModel, optional
        Where to start, and what is kept when there is too little to refine from.
    fixed : three floats or None
        Values of a, b, c not to be refined. c is refined only if the data call for it.
    groups : (n,) int32, optional
        Number of the error model of each row; without it all have the same. Each parameter is shrunk towards a
        common value, as far as the groups are alike.
    before : Shrunk, optional
        Where the groups' parameters ended in an earlier call.
    stage : {"first", "round", "last", "exact"}
        The first looks at data whose outliers are not known yet: rows that fail the leave-one-out test under the
        model so far are set aside for the duration. All three look at a sample where rows are many; exact looks at
        all with little regard to time, and so does the last where they are few.
    zmax : float
        Limit of that test.

    Raises
    ------
    UsageError
        When a fixed a is not positive or a fixed b or c negative.
    """
    if stage == "last" and observations.intensity.size <= _SAMPLE["round"]:
        stage = "exact"
    if stage in _SAMPLE:
        observations, rows = observations.sample(_one_in(observations, groups, stage))
        groups = groups if groups is None or rows is None else groups[rows]
    start = start or ErrorModel()
    if groups is None or stage == "first" or not groups.any():
        return _refine_common(observations, start, fixed, stage, zmax).result()
    # Models that differ look like one with a third term: it is asked for when they have been told apart.
    had_c = before is not None and before.common.mean[2] > 0
    without_c = (fixed[0], fixed[1], 0.0) if fixed[2] is None else fixed
    found, calls_for_c = _refine_groups(observations, start, without_c, groups, None if had_c else before, stage)
    if calls_for_c and fixed[2] is None:
        found, _ = _refine_groups(observations, start, fixed, groups, before if had_c else None, stage)
    return found


def _one_in(observations: Equivalents, groups: IntArray | None, stage: Stage) -> int:
    """One in how many reflections a stage looks at."""
    one_in = observations.intensity.size // _SAMPLE[stage]
    if stage != "last" or groups is None:
        return one_in
    return min(one_in, int(np.bincount(groups).min()) // _PER_GROUP)


@dataclass(frozen=True)
class _CommonFit:
    """The model of all rows, and what it was found from."""

    observations: Equivalents
    model: ErrorModel
    minimum: Minimum
    repeated: Repeated
    expected: FloatArray
    excluded: BoolArray

    @property
    def caveat(self) -> str:
        """What is wrong where groups are too small."""
        needed = needed_multiplicity(self.model)
        least = int(np.diff(self.repeated.offsets).min(initial=needed))
        if least >= needed:
            return ""
        return (
            f"; a too large, b too small: strong intensities scatter by {100 * self.model.a * self.model.b:.0f} %, "
            f"groups of {least} do not average that out"
        )

    @property
    def calls_for_c(self) -> bool:
        """Whether c > 0 would describe the scatter better."""
        return self.minimum.converged and _call_for_c(self.minimum.terms, np.diag(self.minimum.covariance) > 0)

    def result(self) -> ErrorModelFit:
        theta, n_threads = self.model.theta[None], self.observations.n_threads
        return ErrorModelFit(
            model=self.model,
            covariance=self.minimum.covariance,
            n_used=self.repeated.row.size,
            cost=self.minimum.cost,
            converged=self.minimum.converged,
            reason=self.minimum.reason + self.caveat,
            reliable=not self.caveat,
            bins_when_wanted=BinsWhenWanted(
                self.repeated, self.expected[self.repeated.row], theta, _ALL_ONE, n_threads
            ),
            n_outliers=int(np.count_nonzero(self.excluded & ~self.observations.excluded)),
        )


def _refine_common(obs: Equivalents, start: ErrorModel, fixed: Fixed, stage: Stage, zmax: float) -> _CommonFit:
    values = (own if value is None else value for value, own in zip(fixed, (start.a, start.b, start.c), strict=True))
    model, free = ErrorModel(*values), np.array([value is None for value in fixed])
    mask = obs.excluded
    expected = obs.expected(obs.weight(model, np.zeros_like(obs.intensity)), mask)
    for _ in range(_MAX_CYCLES):
        expected = obs.expected(obs.weight(model, expected), mask)
        repeated = obs.repeated(expected, mask, needed_multiplicity(model))
        minimum = _fit(repeated, model, free, stage, obs.n_threads)
        settled = _settled(model.theta, minimum, _PRECISION[stage][1])
        model = model.at(minimum.theta)
        used = mask
        if stage == "first":
            mask = obs.excluded | obs.discordant(obs.weight(model, expected), zmax)
        if settled and np.array_equal(mask, used):
            break
    return _CommonFit(obs, model, minimum, repeated, expected, used)


def _refine_groups(
    obs: Equivalents, start: ErrorModel, fixed: Fixed, groups: IntArray, before: Shrunk | None, stage: Stage
) -> tuple[ErrorModelFit, bool]:
    """Models of groups of data sets, shrunk towards what they have in common, and whether these call for c > 0."""
    common = _refine_common(obs, start, fixed, stage, 0.0)
    if not common.minimum.converged or common.repeated.row.size < _MIN_FOR_B * 2 or common.caveat:
        return common.result(), common.calls_for_c
    n_models = int(groups.max()) + 1
    free = np.array([fixed[0] is None, fixed[1] is None, fixed[2] is None and common.model.c > 0])
    repeated, minimum = common.repeated, common.minimum
    for _ in range(_MAX_GROUP_CYCLES):
        theta = np.repeat(common.model.theta[None], n_models, axis=0) if before is None else before.theta
        model = np.ascontiguousarray(groups[repeated.row])
        residuals = group_residuals(repeated, theta, model, obs.n_threads)
        found = shrink(residuals.evaluator(), minimum, n_models, free, before, _PRECISION[stage][2])
        change = (found.theta - theta) / np.sqrt(np.maximum(np.einsum("kii->ki", found.covariance), 1e-300))
        before = found
        if not (np.abs(change) > _PRECISION[stage][2])[:, found.common.spread > 0].any():
            break
        variance = _core.error_model_variances(
            obs.variance, common.expected, obs.conversion, found.theta.ravel(), groups, obs.n_threads
        )
        weight = 1.0 / np.where(obs.variance > 0, variance, np.inf)
        expected = obs.expected(weight, obs.excluded)
        repeated = repeated.with_expected(expected, obs.inverse_scale_factor, obs.conversion)
    if not found.common.spread.any():
        return common.result(), _call_for_c(found.terms, free)
    fit = replace(
        common.result(),
        bins_when_wanted=BinsWhenWanted(repeated, common.expected[repeated.row], found.theta, model, obs.n_threads),
        shrunk=found,
    )
    return fit, _call_for_c(found.terms, free)


def as_given(
    observations: Equivalents, intensity: FloatArray, model: ErrorModel, *, n_used: int, converged: bool, reason: str
) -> ErrorModelFit:
    """What another program's way of finding a model came to, for an intensity (n,) in the place of the expected one."""
    repeated = observations.repeated(intensity, observations.excluded, 2)
    theta = model.theta[None]
    return ErrorModelFit(
        model=model,
        covariance=np.full((3, 3), math.nan),
        n_used=n_used,
        cost=math.nan,
        converged=converged,
        reason=reason,
        bins_when_wanted=BinsWhenWanted(repeated, intensity[repeated.row], theta, _ALL_ONE, observations.n_threads),
    )


def _settled(theta: FloatArray, minimum: Minimum, precision: float) -> bool:
    """Whether the last cycle moved the parameters by less than some of their uncertainties."""
    sigma = np.sqrt(np.diag(minimum.covariance))
    return not bool((np.abs(minimum.theta - theta) > precision * sigma).any())


def _fit(repeated: Repeated, model: ErrorModel, free: BoolArray, stage: Stage, n_threads: int) -> Minimum:
    """One fit with expected intensities, weights of the means, and outliers held fixed."""
    n, theta = repeated.row.size, model.theta
    if n < _MIN_FOR_ANY:
        return _kept(theta, free, f"only {n} observations in groups of two or more, {_MIN_FOR_ANY} needed")
    residuals = group_residuals(repeated, theta[None], _ALL_ONE, n_threads)
    if stage == "first" or n < _SMALL:
        scatter = rough_a(residuals, theta[None])
        if not scatter > NO_SCATTER:
            return _kept(theta, free, "equivalents do not scatter")
        if free[0]:
            theta = np.array([math.log(scatter), *theta[1:]])
    precision, evaluate = _PRECISION[stage][0], residuals.evaluator()
    enough = n >= _MIN_FOR_B
    two = free & np.array([True, enough, False])
    if theta[2] > 0 and free[2] and enough:
        three = minimise(evaluate, theta, free, precision)
        if three.theta[2] > _C_STAYS * math.sqrt(three.covariance[2, 2]):
            return three
        theta = np.array([*three.theta[:2], 0.0])
    minimum = minimise(evaluate, theta, two, precision)
    if free[2] and enough and stage != "first" and _call_for_c(minimum.terms, two):
        minimum = minimise(evaluate, minimum.theta, free, precision)
    if enough or not free[1]:
        return minimum
    covariance = minimum.covariance.copy()
    covariance[1, 1] = math.nan
    note = f"b kept: only {n} observations in groups of two or more, {_MIN_FOR_B} needed"
    return replace(minimum, covariance=covariance, reason=f"{minimum.reason}; {note}")


def _call_for_c(terms: Terms, refined: BoolArray) -> bool:
    """Efficient score test of c = 0 against c > 0 in all models together."""
    others = np.flatnonzero(refined & (np.arange(3) < 2))
    projection = np.zeros((len(terms.gradient), 3))
    projection[:, 2] = 1.0
    if others.size:
        block = terms.information[:, others][:, :, others]
        inverse = np.linalg.pinv(block, rcond=1e-12, hermitian=True)
        projection[:, others] = -np.einsum("kij,kj->ki", inverse, terms.information[:, others, 2])
    score = float(np.einsum("ki,ki->", projection, terms.gradient))
    variance = float(np.einsum("ki,kij,kj->", projection, terms.score_variance, projection))
    return variance > 0 and -score > _C_APPEARS * math.sqrt(variance)


def _kept(theta: FloatArray, free: BoolArray, why: str) -> Minimum:
    covariance = np.diag(np.where(free, np.nan, 0.0))
    return Minimum(theta, covariance, math.nan, converged=False, reason=f"kept: {why}", terms=Terms.none(1))
