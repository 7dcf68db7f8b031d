"""The joint fit of all data sets: rounds of scaling, outlier rejection and error model, until they agree."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _core
from .counting import count_variance_slope, expected_count_variance
from .error_model import ErrorModel, ErrorModelFit, expected_intensity, refine_error_model
from .errors import DataError
from .evidence import update_restraints
from .gauge import Gauge, ParameterCovariance, find_gauge, fix_gauge, parameter_covariance
from .intensity_choice import PROFILE, SUMMATION, ImidCandidate, choose_imid
from .observations import JobObservations
from .options import ScalingOptions
from .outliers import find_outliers, wilson_outliers
from .preparation import initial_imid
from .scaling_model import DataSetModel, JointModel
from .starting_scales import connected_components, starting_scales
from .symmetry import epsilon_and_centric
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["FitResult", "FitRound", "fit_job"]

_logger = logging.getLogger(__name__)

_MAX_ROUNDS = 12
_SETTLED_ROWS = 1e-4
_EARLY_TOLERANCE = 1e-5
_SETTLED_RESTRAINT = 0.2
_WEAK, _LARGEST_A = 3.0, 2.5


@dataclass(frozen=True, kw_only=True)
class FitRound:
    """One round: a minimisation, then outliers and error model with its scales."""

    number: int
    n_iterations: int
    termination: str
    initial_cost: float
    cost: float
    n_observations: int
    n_outliers: int
    a: float
    b: float


@dataclass(kw_only=True)
class FitResult:
    """The fit, over the observations in canonical order.

    Attributes
    ----------
    models : list of DataSetModel
        With parameters, uncertainties and the restraints that were used.
    parameters : (p,) float64
    covariance : ParameterCovariance
    gauge : Gauge
    g, g_variance, expected : (n,) float64
        Inverse scale factor, its variance, and g I_h.
    variance : (n,) float64
        Integration's variance of the unscaled intensity, of expected counts (`counting`).
    error_model : ErrorModel
    error_model_fit : ErrorModelFit or None
        None when the error model was switched off.
    rejected : dict of (n,) bool
        Outliers by rule; disjoint.
    small_scale : (n,) bool
        Rows whose g is too small to be trusted.
    component : (n_data_sets,) int32
        Connected component of each data set.
    observations : JobObservations
        With the intensities that were scaled.
    imid, tried_imids : float, list of ImidCandidate
        Crossover from profile-fitted to summed intensities, and the candidates.
    """

    models: list[DataSetModel]
    parameters: FloatArray
    covariance: ParameterCovariance
    gauge: Gauge
    g: FloatArray
    g_variance: FloatArray
    expected: FloatArray
    variance: FloatArray
    error_model: ErrorModel
    error_model_fit: ErrorModelFit | None
    rejected: dict[str, BoolArray]
    small_scale: BoolArray
    component: IntArray
    rounds: list[FitRound]
    termination: str
    message: str
    cost: float
    n_observations: int
    n_groups: int
    observations: JobObservations
    imid: float
    tried_imids: list[ImidCandidate]

    @property
    def outlier(self) -> BoolArray:
        """Rows rejected by any rule, (n,) bool."""
        result: BoolArray = np.logical_or.reduce(list(self.rejected.values()))
        return result


@dataclass
class _State:
    """What a round leaves to the next."""

    parameters: FloatArray
    g: FloatArray
    error_model: ErrorModel
    error_model_fit: ErrorModelFit | None = None
    expected: FloatArray = field(default_factory=lambda: np.zeros(0))
    weight: FloatArray = field(default_factory=lambda: np.zeros(0))
    standard: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    wilson: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    small: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))


class _Fit:
    def __init__(
        self,
        observations: JobObservations,
        joint: JointModel,
        space_group: Any,
        options: ScalingOptions,
        small_scale_cutoff: float,
        n_threads: int,
    ) -> None:
        self.obs, self.joint, self.options, self.n_threads = observations, joint, options, n_threads
        self.small_scale_cutoff = small_scale_cutoff
        self.core = observations.core()
        self.problem = _core.FitProblem(
            joint.core, self.core, observations.intensity, observations.target_offsets, n_threads
        )
        self.problem.set_restraints(joint.restraints)
        self.imid = initial_imid(options)
        self.tried_imids: list[ImidCandidate] = []
        self.count_slope = self._count_slope()
        self.fixed_error_model: ErrorModel | None = None
        epsilon, _ = epsilon_and_centric(space_group, observations.miller_index)
        self.epsilon = epsilon.astype(np.float64)

    def evaluate(self, parameters: FloatArray) -> FloatArray:
        return _core.inverse_scale_factors(self.joint.core, self.core, parameters, self.n_threads)

    def start(self) -> _State:
        n_data_sets = len(self.joint.models)
        scales = starting_scales(self.obs, ~self.obs.absent, n_data_sets)
        parameters = self.joint.parameters
        of = self.joint.data_set_of_parameters()
        parameters = np.where(self.joint.mask("scale"), parameters * scales[of], parameters)
        nothing = np.zeros(len(self.obs), np.bool_)
        state = _State(parameters, self.evaluate(parameters), ErrorModel())
        state.standard, state.wilson, state.small = nothing, nothing, nothing
        state.expected = np.maximum(self.obs.intensity, 0.0)
        self.update_errors(state, "robust")
        return state

    def excluded(self, state: _State) -> BoolArray:
        result: BoolArray = state.standard | state.wilson | state.small | self.obs.absent
        return result

    def update_errors(self, state: _State, method: str) -> None:
        """Error model, outliers and weights with the scales of the state."""
        state.small = state.g < self.small_scale_cutoff
        self.update_error_model(state, method)
        self._find_outliers(state)
        excluded = self.excluded(state)
        state.weight = self._weights(state, excluded)
        state.expected = self._expected(state, excluded)
        state.weight = self._weights(state, excluded)

    def variance(self, state: _State) -> FloatArray:
        """Variances of the unscaled intensities, of expected counts."""
        return expected_count_variance(self.obs.variance, self.obs.intensity, state.expected, self.count_slope)

    def _count_slope(self) -> FloatArray:
        return count_variance_slope(
            self.obs.intensity,
            self.obs.variance,
            self.obs.integrated.conversion,
            self.obs.data_set,
            len(self.joint.models),
        )

    def _weights(self, state: _State, excluded: BoolArray) -> FloatArray:
        sigma_squared = state.error_model.sigma_squared(self.variance(state), state.expected)
        return np.where(excluded, 0.0, 1.0 / sigma_squared)

    def _expected(self, state: _State, excluded: BoolArray) -> FloatArray:
        weight = 1.0 / state.error_model.sigma_squared(self.variance(state), state.expected)
        return expected_intensity(
            self.obs.intensity,
            weight,
            state.g,
            self.obs.target_offsets,
            excluded=excluded,
            n_threads=self.n_threads,
        )

    def update_error_model(self, state: _State, method: str) -> None:
        choice = self.options.weighting.error_model
        if choice.error_model is None:
            state.error_model, state.error_model_fit = ErrorModel(1.0, 0.0), None
            return
        state.error_model_fit = refine_error_model(
            self.obs.intensity,
            self.variance(state),
            state.g,
            self.obs.target_offsets,
            self.obs.anomalous_offsets,
            excluded=self.excluded(state),
            start=state.error_model,
            fixed_a=choice.basic.a if self.fixed_error_model is None else self.fixed_error_model.a,
            fixed_b=choice.basic.b if self.fixed_error_model is None else self.fixed_error_model.b,
            method="robust" if method == "robust" else "likelihood",
            zmax=self.options.scaling_options.outlier_zmax,
            n_threads=self.n_threads,
        )
        state.error_model = state.error_model_fit.model

    def settle_error_model(self, state: _State) -> bool:
        """Where groups are too small for their scatter to tell a and b apart, fix the error model for good.

        Returns whether it was fixed; the fit must then start again. What the user has fixed stays.

        b then stays at its start and a comes from the weak reflections, to which b matters little; a factor that
        is no plausible miscalibration is not applied: the excess is scatter that no sigma of integration describes.
        """
        fit, basic = state.error_model_fit, self.options.weighting.error_model.basic
        if fit is None or fit.reliable or basic.a is not None or basic.b is not None:
            return False
        start = ErrorModel()
        strong = state.expected > _WEAK * np.sqrt(self.obs.variance)
        weak = refine_error_model(
            self.obs.intensity,
            self.variance(state),
            state.g,
            self.obs.target_offsets,
            self.obs.anomalous_offsets,
            excluded=self.excluded(state) | strong,
            fixed_b=start.b,
            method="robust",
            n_threads=self.n_threads,
        ).model
        self.fixed_error_model = weak if weak.a < _LARGEST_A else start
        _logger.warning(
            "The error model cannot be determined (%s); a = %.3f, b = %g are used, and may reject many outliers: "
            "compare the statistics with all of them put back, and take sigmas for too small",
            fit.reason,
            self.fixed_error_model.a,
            self.fixed_error_model.b,
        )
        return True

    def _find_outliers(self, state: _State) -> None:
        job = self.options.scaling_options
        unusable = state.small | self.obs.absent
        if job.emax:
            wilson = wilson_outliers(
                self.obs.intensity, state.g, self.obs.d_spacing, self.epsilon, emax=float(job.emax)
            )
            state.wilson = wilson & ~unusable
        if job.outlier_rejection is None:
            return
        unusable = unusable | state.wilson
        for _ in range(2):
            # Expected intensities, and with them the sigmas, must not contain the outliers looked for.
            state.expected = self._expected(state, unusable | state.standard)
            weight = 1.0 / state.error_model.sigma_squared(self.variance(state), state.expected)
            state.standard = find_outliers(
                self.obs.intensity,
                weight,
                state.g,
                self.obs.target_offsets,
                zmax=job.outlier_zmax,
                excluded=unusable,
                n_threads=self.n_threads,
            )

    def choose_intensities(self, state: _State) -> None:
        """Take the crossover between profile fitting and summation that the scaled data agree with best."""
        selection = self.options.reflection_selection
        if selection.intensity_choice != "combine" or not self.obs.integrated.has_both.any():
            return
        self.imid, tried = choose_imid(
            self.obs.integrated,
            state.g,
            self.obs.offsets,
            ~self.excluded(state),
            selection.combine.Imid,
        )
        self.tried_imids = tried
        _log_imids(self.imid, tried)
        self.obs = self.obs.with_imid(self.imid)
        self.count_slope = self._count_slope()
        self.problem.set_intensity(self.obs.intensity)

    def update_restraints(self, result: dict[str, Any]) -> float:
        """Step towards the most probable restraint weights; return the largest change of a logarithm."""
        freedom = max(self.problem.n_observations - self.problem.n_groups, 1)
        chi_squared = float(result["final_cost"]) / freedom
        models, change = update_restraints(self.joint, result["parameters"], result["matrix"], chi_squared)
        if change > 0:
            self.joint = JointModel(models)
            self.problem.set_restraints(self.joint.restraints)
        return change

    def minimise(self, state: _State, number: int, tolerance: float) -> dict[str, Any]:
        self.problem.set_weights(state.weight)
        if self.problem.n_groups == 0:
            raise DataError(
                "no reflection is measured more than once: without symmetry equivalents nothing can be scaled "
                "(check the space group; data in P1 need repeated measurements)"
            )
        limit = self.options.scaling_refinery.full_matrix_max_iterations
        result: dict[str, Any] = _core.minimise(
            self.problem,
            state.parameters,
            max_iterations=100 if limit is None else int(limit),
            cost_tolerance=tolerance,
            on_iteration=lambda it: self._progress(number, it),
        )
        if result["termination"] == "failed":
            raise DataError(f"the fit failed: {result['message']}")
        state.parameters = result["parameters"]
        state.g = self.evaluate(state.parameters)
        return result

    @staticmethod
    def _progress(number: int, it: Any) -> bool:
        _logger.info(
            "round %d, step %d: cost %.6e, decrease %.2e, damping %.1e%s",
            number,
            it.index + 1,
            it.cost,
            it.decrease,
            it.damping,
            "" if it.accepted else " (rejected)",
        )
        return True


def fit_job(
    observations: JobObservations,
    joint: JointModel,
    space_group: Any,
    options: ScalingOptions,
    *,
    small_scale_cutoff: float,
    n_threads: int,
) -> FitResult:
    """Fit the models of all data sets to all suitable observations.

    Raises
    ------
    DataError
        If no reflection is measured twice, or the minimiser finds no usable answer.
    """
    fit = _Fit(observations, joint, space_group, options, small_scale_cutoff, n_threads)
    state = fit.start()
    label = _components(observations, len(joint.models))
    rounds: list[FitRound] = []
    for number in range(1, _MAX_ROUNDS + 1):
        result = fit.minimise(state, number, _EARLY_TOLERANCE)
        if number == 1:
            fit.update_error_model(state, "robust")
            if fit.settle_error_model(state):
                state = fit.start()
                result = fit.minimise(state, number, _EARLY_TOLERANCE)
            fit.choose_intensities(state)
        before = fit.excluded(state)
        change = fit.update_restraints(result)
        fit.update_errors(state, "likelihood")
        rounds.append(_round(number, result, fit, state))
        changed = int(np.count_nonzero(fit.excluded(state) != before))
        _logger.info(
            "round %d: %d outliers (%d changed), error model a = %.4f, b = %.4f",
            number,
            rounds[-1].n_outliers,
            changed,
            state.error_model.a,
            state.error_model.b,
        )
        if number > 1 and changed <= max(1, _SETTLED_ROWS * len(observations)) and change < _SETTLED_RESTRAINT:
            break
    result = fit.minimise(state, len(rounds) + 1, options_tolerance(options))
    rounds.append(_round(len(rounds) + 1, result, fit, state))
    return _finish(fit, state, result, label, rounds)


def _log_imids(chosen: float, tried: list[ImidCandidate]) -> None:
    names = {PROFILE: "prf only", SUMMATION: "sum only"}
    lines = [f"{names.get(c.imid, f'Imid = {c.imid:.2f}'):<24}{c.r_meas:.4f}" for c in tried]
    _logger.info("%-24s%s\n%s", "Combination", "Rmeas", "\n".join(lines))
    what = {PROFILE: "Profile intensities", SUMMATION: "Summation intensities"}
    best = what.get(chosen, f"Combined intensities with Imid = {chosen:.2f}")
    _logger.info("%s determined to be best for scaling.", best)


def options_tolerance(options: ScalingOptions) -> float:
    """Relative decrease of the cost at which the last minimisation stops: rmsd_tolerance squared."""
    return min(float(options.scaling_refinery.rmsd_tolerance) ** 2, 1e-6)


def _components(observations: JobObservations, n_data_sets: int) -> IntArray:
    label = connected_components(observations.data_set, observations.target_offsets, ~observations.absent, n_data_sets)
    n = int(label.max()) + 1
    if n > 1:
        groups = [np.flatnonzero(label == k).tolist() for k in range(n)]
        shown = "; ".join(", ".join(map(str, g)) for g in groups[:8]) + (" ..." if n > 8 else "")
        _logger.warning(
            "The data sets fall into %d parts without a common reflection (%s): each part is on a scale of its own",
            n,
            shown,
        )
    return label


def _round(number: int, result: dict[str, Any], fit: _Fit, state: _State) -> FitRound:
    return FitRound(
        number=number,
        n_iterations=int(result["n_iterations"]),
        termination=str(result["termination"]),
        initial_cost=float(result["initial_cost"]),
        cost=float(result["final_cost"]),
        n_observations=int(fit.problem.n_observations),
        n_outliers=int(np.count_nonzero(state.standard | state.wilson)),
        a=state.error_model.a,
        b=state.error_model.b,
    )


def _finish(fit: _Fit, state: _State, result: dict[str, Any], label: IntArray, rounds: list[FitRound]) -> FitResult:
    """Gauge, covariance, and the quantities of every observation with the final scales."""
    problem, joint = fit.problem, fit.joint
    n_labels = int(label.max()) + 1
    sums = problem.gauge_sums(state.parameters, label, n_labels)
    data_matrix = result["matrix"] - np.diag(joint.restraints)
    gauge = find_gauge(joint, sums, data_matrix, state.parameters, label)
    parameters = fix_gauge(gauge, sums, state.parameters, joint.restraints)
    sums = problem.gauge_sums(parameters, label, n_labels)
    cost, _, matrix = problem.normal_equations(parameters)
    gauge = find_gauge(joint, sums, matrix - np.diag(joint.restraints), parameters, label)
    covariance = parameter_covariance(joint, gauge, matrix, cost, problem.n_observations, problem.n_groups)
    state.parameters, state.g = parameters, fit.evaluate(parameters)
    state.small = state.g < fit.small_scale_cutoff
    excluded = fit.excluded(state)
    state.expected = fit._expected(state, excluded)
    g_variance = _core.inverse_scale_factor_variances(
        joint.core, fit.core, parameters, covariance.covariance, fit.n_threads
    )
    return FitResult(
        models=joint.with_parameters(parameters, covariance.sigmas),
        parameters=parameters,
        covariance=covariance,
        gauge=gauge,
        g=state.g,
        g_variance=g_variance,
        expected=state.expected,
        variance=fit.variance(state),
        error_model=state.error_model,
        error_model_fit=state.error_model_fit,
        rejected={"standard": state.standard & ~state.small, "wilson": state.wilson & ~state.small},
        small_scale=state.small,
        component=label,
        rounds=rounds,
        termination=str(result["termination"]),
        message=str(result["message"]),
        cost=cost,
        n_observations=int(problem.n_observations),
        n_groups=int(problem.n_groups),
        observations=fit.obs,
        imid=fit.imid,
        tried_imids=fit.tried_imids,
    )
