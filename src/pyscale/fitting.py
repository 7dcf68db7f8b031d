"""The joint fit of all data sets: rounds of scaling, outlier rejection and error model, until they agree."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import _core
from .error_model import ErrorModel, ErrorModelFit
from .fit_start import FitStart
from .fit_state import Fit, FitState
from .gauge import Gauge, ParameterCovariance, find_gauge, fix_gauge, parameter_covariance
from .intensity_choice import ImidCandidate
from .joint_model import JointModel, RestraintRows
from .observations import JobObservations
from .options import ScalingOptions
from .reference_fit import NO_REFERENCE
from .scaling_model import DataSetModel
from .smoothness import weakly_determined
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["FitResult", "FitRound", "fit_job"]

_logger = logging.getLogger(__name__)

_MAX_ROUNDS = 12
_SETTLED_ROWS = 1e-4
_EARLY_TOLERANCE = (1e-6, 1e-4)
_SETTLED_RESTRAINT = (1.0, 0.005)


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
        Crossover from profile-fitted to summed intensities, and the candidates, none if it was known.
    error_model_given_up : bool
        Whether it was fixed since the data cannot tell it.
    without_data : dict of str to list of int
        Parameters of each component that follow their neighbours rather than the data.
    reference : two (n_groups,) float64
        What the reference observes of the groups' intensities, and the weights in the fit; empty without one.
    reference_error : (n_shells,) float64
        Error u of the reference by resolution shell.
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
    error_model_given_up: bool
    without_data: dict[str, list[int]]
    reference: tuple[FloatArray, FloatArray] = NO_REFERENCE
    reference_error: FloatArray = field(default_factory=lambda: np.zeros(0))

    @property
    def outlier(self) -> BoolArray:
        """Rows rejected by any rule, (n,) bool."""
        result: BoolArray = np.logical_or.reduce(list(self.rejected.values()))
        return result

    def of_data_sets(self, chosen: BoolArray) -> FitResult:
        """Return what the fit says of some data sets (n_data_sets,); parameters and covariance stay those of all."""
        observations, rows = self.observations.of_data_sets(chosen)
        names = ("g", "g_variance", "expected", "variance", "small_scale")
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in names},
            models=[m for m, is_chosen in zip(self.models, chosen.tolist(), strict=True) if is_chosen],
            rejected={rule: outlier[rows] for rule, outlier in self.rejected.items()},
            component=self.component[chosen],
            observations=observations,
        )


def fit_job(
    observations: JobObservations,
    joint: JointModel,
    space_group: Any,
    options: ScalingOptions,
    *,
    small_scale_cutoff: float,
    n_threads: int,
    fit_start: FitStart | None = None,
) -> FitResult:
    """Fit the models of all data sets to all suitable observations, from scratch or from an earlier fit.

    Raises
    ------
    DataError
        If no reflection is measured twice, or the minimiser finds no usable answer.
    """
    start = fit_start or FitStart()
    fit = Fit(observations, joint, space_group, options, small_scale_cutoff, n_threads, start)
    state = fit.start()
    label = fit.label
    _report_components(label)
    rounds: list[FitRound] = []
    first_settled = 1 if start.is_solution and start.imid is not None else 2
    settled = _SETTLED_RESTRAINT[0] + _SETTLED_RESTRAINT[1] * joint.n_parameters
    # A decrease of the cost by 1 is insignificant, and the next round changes the weights.
    early = float(np.clip(1.0 / max(len(observations), 1), *_EARLY_TOLERANCE))
    for number in range(1, _MAX_ROUNDS + 1):
        result = fit.minimise(state, number, early)
        if number == 1:
            if not start.is_solution:
                fit.update_error_model(state, "robust")
                if fit.settle_error_model(state):
                    state = fit.start()
                    result = fit.minimise(state, number, early)
            if start.imid is None:
                fit.choose_intensities(state)
        before = fit.excluded(state)
        change = fit.update_restraints(result, settled if number == 1 and start.is_solution else 0.0)
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
        few = changed <= max(1, _SETTLED_ROWS * len(observations))
        if number >= first_settled and few and change < settled:
            break
    else:
        _logger.info("The last round still changed outliers or restraint weights: %d rounds are made at most", number)
    result = fit.minimise(state, len(rounds) + 1, options_tolerance(options))
    rounds.append(_round(len(rounds) + 1, result, fit, state))
    return _finish(fit, state, result, label, rounds)


def options_tolerance(options: ScalingOptions) -> float:
    """Relative decrease of the cost at which the last minimisation stops: rmsd_tolerance squared."""
    return min(float(options.scaling_refinery.rmsd_tolerance) ** 2, 1e-6)


def _report_components(label: IntArray) -> None:
    n = int(label.max()) + 1
    if n > 1:
        groups = [np.flatnonzero(label == k).tolist() for k in range(n)]
        shown = "; ".join(", ".join(map(str, g)) for g in groups[:8]) + (" ..." if n > 8 else "")
        _logger.warning(
            "The data sets fall into %d parts without a common reflection (%s): each part is on a scale of its own",
            n,
            shown,
        )


def _round(number: int, result: dict[str, Any], fit: Fit, state: FitState) -> FitRound:
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


def _set_final_restraints(fit: Fit, parameters: FloatArray) -> FloatArray:
    """Leave out the restraint that kept the overall scale; return the matrix of the others, (p, p) float64."""
    rows = RestraintRows.join([fit.joint.restraint_rows(parameters), *fit.smooth_rows(parameters)])
    fit.problem.set_restraints(*rows.arrays)
    return rows.matrix(fit.joint.n_parameters)


def _finish(fit: Fit, state: FitState, result: dict[str, Any], label: IntArray, rounds: list[FitRound]) -> FitResult:
    """Gauge, covariance, and the quantities of every observation with the final scales."""
    problem, joint = fit.problem, fit.joint
    n_labels = int(label.max()) + 1
    sums = problem.gauge_sums(state.parameters, label, n_labels)
    restraints = _set_final_restraints(fit, state.parameters)
    data_matrix = problem.normal_equations(state.parameters)[2] - restraints
    gauge = find_gauge(joint, sums, data_matrix, state.parameters, label)
    restrained = joint.restraint_rows().diagonal(joint.n_parameters) > 0
    parameters = fix_gauge(gauge, sums, state.parameters, restrained)
    if fit.information is not None:
        # What the data say of scales k times as large is 1 / k^2 of it.
        same = (parameters == 0.0) | ~joint.scale_like()
        fit.information = fit.information * np.where(same, 1.0, state.parameters / np.where(same, 1.0, parameters)) ** 2
    restraints = _set_final_restraints(fit, parameters)
    sums = problem.gauge_sums(parameters, label, n_labels)
    cost, _, matrix = problem.normal_equations(parameters)
    gauge = find_gauge(joint, sums, matrix - restraints, parameters, label)
    covariance = parameter_covariance(
        joint, gauge, matrix, restraints, cost, problem.n_observations, problem.n_groups, fit.n_threads
    )
    state.parameters, state.g = parameters, fit.evaluate(parameters)
    state.small = state.g < fit.small_scale_cutoff
    excluded = fit.excluded(state)
    state.expected = fit.expected(state, excluded)
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
        error_model_given_up=fit.fixed_error_model is not None,
        without_data=weakly_determined(joint, np.diag(matrix - restraints), fit.options.scaling_options.smoothness),
        reference=fit.reference,
        reference_error=fit.reference_error,
    )
