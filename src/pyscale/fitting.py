"""The joint fit of all data sets: rounds of scaling, outlier rejection and error model, until they agree."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import _core
from .error_model import ErrorModel
from .error_model_fit import ErrorModelFit
from .error_models import ErrorModels
from .fates import observation_fates
from .fit_errors import FitState
from .fit_start import FitStart
from .fit_state import Fit
from .gauge import (
    Gauge,
    ParameterCovariance,
    UnitCovariance,
    dense_covariance,
    find_gauge,
    fix_gauge,
    parameter_covariance,
)
from .intensity_choice import IntensityChoice
from .joint_model import JointModel, RestraintRows
from .large_covariance import large_covariance
from .minimiser import Engine, Minimisation
from .normal import DenseNormal, Normal
from .notebook import fit_line
from .observations import JobObservations
from .options import ScalingOptions
from .pairs import merging_variance
from .progress import report_progress
from .reference_fit import NO_REFERENCE
from .scale_correlations import scale_correlations
from .scaling_model import DataSetModel
from .smoothness import weakly_determined
from .typing import BoolArray, ByteArray, FloatArray, IntArray

__all__ = ["FitResult", "FitRound", "fit_job"]

_logger = logging.getLogger(__name__)

_MAX_ROUNDS = 12
_SETTLED_ROWS = 1e-4
_EARLY_TOLERANCE = (1e-6, 1e-4)
_SETTLED_RESTRAINT = (1.0, 0.005)
_REMAINDER = 0.8
"""Of the way to the end after one more round, for progress."""


@dataclass(frozen=True, kw_only=True)
class FitRound:
    """One round: a minimisation, then outliers and error model with its scales."""

    number: int
    engine: Engine
    n_iterations: int
    termination: str
    initial_cost: float
    cost: float
    n_observations: int
    n_outliers: int
    a: float
    b: float


@dataclass(kw_only=True, repr=False)
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
    sigma_squared : (n,) float64
        That after the error model.
    error_models : ErrorModels
    error_model_fit : ErrorModelFit or None
        None when the error model was switched off.
    rejected : dict of (n,) bool
        Outliers by rule; disjoint.
    disputed : (n,) bool
        Pairs that disagree where nothing tells which one is wrong: merged, but not used in the fit.
    small_scale : (n,) bool
        Rows whose g is too small to be trusted.
    fate : (n,) uint8
        What became of the rows (`fates`).
    scale_correlation : (n, 2) float64
        Mean correlation of the errors of scales in the row's group as merged, mates apart and together; 1 where
        fewer than two are merged, or uncertainties were not asked for.
    component : (n_data_sets,) int32
        Connected component of each data set.
    weakest : str
        The parameter that the data determine worst, as part of a sentence.
    observations : JobObservations
        With the intensities that were scaled.
    options : ScalingOptions
    intensity_choice : IntensityChoice
        Crossovers from profile-fitted to summed intensities, and the candidates, none if they were known.
    rejection_model : ErrorModel or None
        That of weights and rejection where the data could not tell it; None: that of the sigmas.
    without_data : dict of str to list of int
        Parameters of each component that follow their neighbours rather than the data.
    free : (n,) bool
        Rows of the free set, which took no part in the fit.
    robust_factor : (n,) float64
        Of the weights of the fit under `weighting_scheme`; 1 for invvar.
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
    sigma_squared: FloatArray
    error_models: ErrorModels
    error_model_fit: ErrorModelFit | None
    rejected: dict[str, BoolArray]
    disputed: BoolArray
    small_scale: BoolArray
    fate: ByteArray
    scale_correlation: FloatArray
    component: IntArray
    rounds: list[FitRound]
    termination: str
    message: str
    options: ScalingOptions
    weakest: str
    cost: float
    n_observations: int
    n_groups: int
    observations: JobObservations
    intensity_choice: IntensityChoice
    rejection_model: ErrorModel | None
    without_data: dict[str, list[int]]
    free: BoolArray
    robust_factor: FloatArray
    reference: tuple[FloatArray, FloatArray] = NO_REFERENCE
    reference_error: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __repr__(self) -> str:
        return fit_line(self)

    @property
    def outlier(self) -> BoolArray:
        """Rows rejected by any rule, (n,) bool."""
        result: BoolArray = np.logical_or.reduce(list(self.rejected.values()))
        return result

    def of_data_sets(self, chosen: BoolArray) -> FitResult:
        """Return what the fit says of some data sets (n_data_sets,); parameters and covariance stay those of all."""
        observations, rows = self.observations.of_data_sets(chosen)
        names = ("g", "g_variance", "expected", "variance", "sigma_squared", "disputed", "small_scale", "fate")
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in (*names, "scale_correlation")},
            models=[m for m, is_chosen in zip(self.models, chosen.tolist(), strict=True) if is_chosen],
            rejected={rule: outlier[rows] for rule, outlier in self.rejected.items()},
            component=self.component[chosen],
            error_models=self.error_models.of_data_sets(chosen),
            intensity_choice=self.intensity_choice.of_data_sets(chosen),
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
    rounds: list[FitRound] = []
    first_settled = 1 if start.is_solution and start.imids is not None else 2
    settled = _SETTLED_RESTRAINT[0] + _SETTLED_RESTRAINT[1] * joint.n_parameters
    # A decrease of the cost by 1 is insignificant, and the next round changes the weights.
    early = float(np.clip(1.0 / max(len(observations), 1), *_EARLY_TOLERANCE))
    for number in range(1, _MAX_ROUNDS + 1):
        report_progress("fit", 1.0 - _REMAINDER**number, f"round {number} of the fit")
        result = fit.minimise(state, number, early)
        if number == 1:
            if not start.is_solution:
                fit.update_error_model(state, "first")
                if fit.settle_error_model(state):
                    state = fit.start()
                    result = fit.minimise(state, number, early)
            if start.imids is None:
                fit.choose_intensities(state)
        before = fit.uninformative(state)
        change = fit.update_restraints(state, result, settled if number == 1 and start.is_solution else 0.0)
        fit.update_errors(state, "round")
        rounds.append(_round(number, result, fit, state))
        changed = int(np.count_nonzero(fit.uninformative(state) != before))
        _logger.info(
            "round %d: %d outliers (%d changed), error model a = %.4f, b = %.4f",
            number,
            rounds[-1].n_outliers,
            changed,
            state.error_models.common.a,
            state.error_models.common.b,
        )
        # A single outlier may matter to a small data set, but one at the limit may come and go.
        few = changed <= max(int(number > _MAX_ROUNDS // 2), _SETTLED_ROWS * len(observations))
        few &= fit.fit_weights.settled(fit.obs, state.weight, state.g)
        if number >= first_settled and few and change < settled:
            break
    else:
        _logger.info("The last round still changed outliers or restraint weights: %d rounds are made at most", number)
    report_progress("fit", 0.8, "last minimisation of the fit")
    fit.update_errors(state, "last")
    result = fit.minimise(state, len(rounds) + 1, options_tolerance(options), is_last=True)
    rounds.append(_round(len(rounds) + 1, result, fit, state))
    return _finish(fit, state, result, rounds)


def options_tolerance(options: ScalingOptions) -> float:
    """Relative decrease of the cost at which the last minimisation stops: rmsd_tolerance squared."""
    return min(float(options.scaling_refinery.rmsd_tolerance) ** 2, 1e-6)


def _round(number: int, result: Minimisation, fit: Fit, state: FitState) -> FitRound:
    return FitRound(
        number=number,
        engine=result.engine,
        n_iterations=result.n_iterations,
        termination=result.termination,
        initial_cost=result.initial_cost,
        cost=result.cost,
        n_observations=int(fit.problem.n_observations),
        n_outliers=int(np.count_nonzero(state.outlier)),
        a=state.error_models.common.a,
        b=state.error_models.common.b,
    )


def _set_final_restraints(fit: Fit, parameters: FloatArray, move: FloatArray | None = None) -> RestraintRows:
    """Leave out the restraint that kept the overall scale; return the others, which follow a move of B's (p,)."""
    rows = RestraintRows.join([fit.joint.restraint_rows(parameters), *fit.smooth_rows(parameters)])
    if move is not None:
        rows = rows.following(np.where(fit.joint.decay_like(), move, 0.0))
    fit.problem.set_restraints(*rows.arrays)
    return rows


def _find_gauge(fit: Fit, parameters: FloatArray, restraints: RestraintRows) -> tuple[Gauge, dict[str, FloatArray]]:
    sums = fit.problem.gauge_sums(parameters, fit.label, int(fit.label.max()) + 1)
    normal = _core.NormalOperator(fit.problem, parameters)

    def data_forms(directions: FloatArray) -> FloatArray:
        products = normal.product(np.ascontiguousarray(directions.T))
        result: FloatArray = np.einsum("kp,pk->k", directions, products) - restraints.forms(directions)
        return result

    return find_gauge(fit.joint, sums, data_forms, parameters, fit.label), sums


def _parameters_in_gauge(fit: Fit, state: FitState) -> FloatArray:
    joint = fit.joint
    gauge, sums = _find_gauge(fit, state.parameters, _set_final_restraints(fit, state.parameters))
    parameters = fix_gauge(gauge, sums, state.parameters, joint, trusts_surfaces=fit.errors.fixed is None)
    if fit.information is not None:
        # What the data say of scales k times as large is 1 / k^2 of it.
        same = (parameters == 0.0) | ~joint.scale_like()
        fit.information = fit.information * np.where(same, 1.0, state.parameters / np.where(same, 1.0, parameters)) ** 2
    return parameters


def _unit_covariance(
    fit: Fit, parameters: FloatArray, restraints: RestraintRows, gauge: Gauge, normal: Normal
) -> UnitCovariance | None:
    if fit.options.scaling_options.full_matrix is False:
        return None
    if fit.minimiser.has_exact_covariance:
        matrix = normal.matrix if isinstance(normal, DenseNormal) else fit.problem.normal_equations(parameters)[2]
        return dense_covariance(fit.joint, gauge, matrix, fit.n_threads)
    seed = fit.options.scaling_options.seed
    return large_covariance(
        fit.problem, fit.joint, restraints, parameters, gauge, seed, is_loose=fit.minimiser.is_loose
    )


def _finish(fit: Fit, state: FitState, result: Minimisation, rounds: list[FitRound]) -> FitResult:
    """Gauge, covariance, and the quantities of every observation with the final scales."""
    problem, joint = fit.problem, fit.joint
    parameters = _parameters_in_gauge(fit, state)
    restraints = _set_final_restraints(fit, parameters, parameters - state.parameters)
    gauge, _ = _find_gauge(fit, parameters, restraints)
    cost = problem.cost(parameters)
    normal = fit.minimiser.normal(parameters)
    information = normal.diagonal() - restraints.diagonal(joint.n_parameters)
    unit = _unit_covariance(fit, parameters, restraints, gauge, normal)
    covariance = parameter_covariance(
        joint,
        gauge,
        unit,
        restraints,
        fit.sum_of_squares(state, cost),
        problem.n_observations,
        problem.n_groups,
    )
    state.parameters, state.g = parameters, fit.evaluate(parameters)
    state.small = state.g < fit.small_scale_cutoff
    state.expected = fit.expected(state, fit.excluded(state))
    fit.refine_errors_for_output(state)
    g_variance = np.zeros(len(fit.obs))
    if covariance.local is not None:
        g_variance = _core.local_scale_factor_variances(
            joint.core, fit.core, parameters, covariance.local.values, fit.n_threads
        )
    rejected, disputed = state.rejected, state.disputed & ~state.small
    sigma_squared = fit.sigma_squared(state)
    correlation = scale_correlations(
        problem,
        fit.obs,
        parameters,
        unit,
        covariance.chi_squared,
        (state.g, g_variance),
        merging_variance(fit.obs.intensity, state.g, sigma_squared, disputed),
        ~(state.outlier | state.small | fit.obs.absent) & (state.g > 0),
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
        error_models=state.error_models,
        rejection_model=fit.errors.fixed,
        sigma_squared=sigma_squared,
        error_model_fit=state.error_model_fit,
        rejected=rejected,
        disputed=disputed,
        small_scale=state.small,
        fate=observation_fates(
            fit.obs,
            filtered={"small_scale": state.small, "systematic_absence": fit.obs.absent},
            rejected=rejected,
            not_used={"free_set": fit.fit_weights.free, "disputed": disputed},
        ),
        component=fit.label,
        rounds=rounds,
        termination=result.termination,
        message=result.message,
        options=fit.options,
        weakest=fit.weakest(result),
        cost=cost,
        n_observations=int(problem.n_observations),
        n_groups=int(problem.n_groups),
        observations=fit.obs,
        intensity_choice=fit.intensity_choice,
        scale_correlation=correlation,
        without_data=weakly_determined(joint, information, fit.options.scaling_options.smoothness),
        free=fit.fit_weights.free,
        robust_factor=fit.fit_weights.factor,
        reference=fit.reference,
        reference_error=fit.reference_error,
    )
