"""The moving parts of the joint fit: what a round leaves to the next, and the steps of a round."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from . import _core
from .counting import background_variance, count_variance_slope, expected_count_variance, slope_below_zero
from .error_groups import error_model_groups
from .error_model import expected_intensity
from .error_model_fit import Stage
from .errors import DataError
from .evidence import Steps, settle_restraints
from .fit_errors import ErrorModelRefiner, FitState
from .fit_start import FitStart
from .fit_weights import FitWeights
from .intensity_choice import IntensityChoice, choose_imids, log_choice
from .joint_model import JointModel, RestraintRows
from .minimiser import Engine, Minimisation, Minimiser, engine_of_rounds, weakest_parameter
from .observations import JobObservations
from .options import ScalingOptions
from .preparation import initial_imid
from .reference_fit import NO_REFERENCE, centred_decay, moved_to_reference, reference_components, weighted_reference
from .rejection import OutlierRules
from .smoothness import has_smooth_restraint, smooth_rows, stabilising_rows
from .starting_scales import connected_components, starting_scales
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["Fit"]

_logger = logging.getLogger(__name__)

_ROUNDING = 1e-6
_ROUNDS_OF_EXPECTATION = 2
_SETTLED_WEIGHTS = 0.1
"""Change of the number of parameters that the data determine at which restraint weights have settled in a round."""
_EARLY_SOLVER, _LAST_SOLVER = 1e-2, 1e-6


def data_set_components(observations: JobObservations, rows: BoolArray, n_data_sets: int) -> IntArray:
    """Number of the component of each data set, connected by groups of some rows, (n_data_sets,) int32."""
    return connected_components(observations.data_set, observations.target_offsets, rows, n_data_sets)


class Fit:
    """A job while it is fitted: its observations, models and the minimiser's problem."""

    def __init__(
        self,
        observations: JobObservations,
        joint: JointModel,
        space_group: Any,
        options: ScalingOptions,
        small_scale_cutoff: float,
        n_threads: int,
        fit_start: FitStart,
        is_iterative: bool | None = None,
    ) -> None:
        self.fit_weights = FitWeights(observations, options)
        self.in_fit = observations.usable & ~self.fit_weights.free
        label = data_set_components(observations, self.in_fit, len(joint.models))
        self.label, self.tied = reference_components(observations, label)
        kept = fit_start.kept_data_sets(len(joint.models))
        if kept.any():
            joint = centred_decay(joint, joint.parameters, np.isin(self.label, self.label[kept]), kept)
        self.information: FloatArray | None = None
        self.steps: Steps = {}
        imids = np.full(len(joint.models), initial_imid(options)) if fit_start.imids is None else fit_start.imids
        self.intensity_choice = IntensityChoice(imids)
        if fit_start.imids is not None:
            observations = observations.with_imids(imids)
        self.obs, self.joint, self.options, self.n_threads = observations, joint, options, n_threads
        self.fit_start = fit_start
        self.small_scale_cutoff = small_scale_cutoff
        self.core = observations.core()
        self.problem = _core.FitProblem(
            joint.core, self.core, observations.intensity, observations.target_offsets, n_threads
        )
        self.problem.set_held(joint.held.astype(np.uint8))
        self.minimiser = Minimiser(
            self.problem,
            joint,
            observations.data_set,
            observations.target_offsets,
            n_threads,
            is_iterative,
            0.5 / float(observations.d_spacing.min()) ** 2,
        )
        self.reference, self.reference_error = NO_REFERENCE, np.zeros(0)
        self.rows, self.around = joint.restraint_rows(), joint.parameters
        self.background, self.count_slope = self._count()
        self.errors = ErrorModelRefiner(
            options,
            error_model_groups(options.weighting.error_model, len(joint.models)),
            fit_start.error_model if fit_start.error_model_determined is False else None,
            n_threads,
        )
        self.outlier_rules = OutlierRules(observations, options, space_group, n_threads)

    def evaluate(self, parameters: FloatArray) -> FloatArray:
        """Inverse scale factors of all observations, (n,) float64."""
        return _core.inverse_scale_factors(self.joint.core, self.core, parameters, self.n_threads)

    def start(self) -> FitState:
        """State before the first round, from robust overall scales, or the solution of an earlier fit."""
        parameters = self._starting_parameters()
        nothing = np.zeros(len(self.obs), np.bool_)
        state = FitState(parameters, self.evaluate(parameters), self.errors.start(self.fit_start))
        state.standard = state.wilson = state.pair = state.disputed = state.small = nothing
        state.expected = np.maximum(self.obs.intensity, 0.0)
        if not self.fit_start.is_solution:
            self.update_errors(state, "first")
            return state
        if self.fit_start.error_model_determined is None and self.errors.fixed is None:
            self.update_error_model(state, "first")
            self.settle_error_model(state)
        state.error_models = self.errors.start(self.fit_start)
        if self.obs.was_outlier is not None:
            state.standard = self.obs.was_outlier
        for _ in range(_ROUNDS_OF_EXPECTATION):
            state.expected = self.expected(state, self.excluded(state))
        self.update_errors(state, None)
        return state

    def _starting_parameters(self) -> FloatArray:
        """Stored parameters as they are, and the others with overall scales that go with them."""
        n_data_sets = len(self.joint.models)
        parameters = self.joint.parameters
        kept = self.fit_start.kept_data_sets(n_data_sets)
        if not kept.all():
            parameters = self._on_one_scale(parameters, kept)
        if self.obs.reference is None:
            return parameters
        label = data_set_components(self.obs, self.in_fit, n_data_sets)
        return moved_to_reference(self.obs, self.joint, parameters, self.evaluate(parameters), label)

    def _on_one_scale(self, parameters: FloatArray, kept: BoolArray) -> FloatArray:
        n_data_sets = len(self.joint.models)
        g = self.problem.inverse_scale_factors(parameters)
        scales = starting_scales(self.obs, self.in_fit, n_data_sets, g, self.n_threads)
        for k in np.unique(self.label[kept]):
            here = self.label == k
            scales[here] /= np.exp(np.log(scales[here & kept]).mean())
        factors = np.where(kept, 1.0, scales)[self.joint.data_set_of_parameters()]
        return np.where(self.joint.scale_like(), parameters * factors, parameters)

    def excluded(self, state: FitState) -> BoolArray:
        """Observations that take no part in means of groups, (n,) bool."""
        result: BoolArray = state.outlier | state.small | self.obs.absent
        return result if self.obs.not_fitted is None else result | self.obs.not_fitted

    def uninformative(self, state: FitState) -> BoolArray:
        """Those that take no part in fit, error model and choice of intensities, (n,) bool: the free set too."""
        result: BoolArray = self.excluded(state) | state.disputed | self.fit_weights.free
        return result

    def update_errors(self, state: FitState, stage: Stage | None) -> None:
        """Error models (None: as they are), outliers and weights with the scales of the state."""
        state.small = state.g < self.small_scale_cutoff
        if stage is not None:
            state.expected = self.expected(state, self.excluded(state))
            self.update_error_model(state, stage)
        self.outlier_rules.apply(
            state, self.obs, self.reference, lambda without: self._statistical_weights(state, without)
        )
        excluded = self.excluded(state)
        state.weight = self._weights(state, excluded)
        self._weigh_reference(state)
        state.expected = self.expected(state, excluded)
        state.weight = self._weights(state, excluded)

    def _weigh_reference(self, state: FitState) -> None:
        """Weigh the reference by how it agrees with the scales of the state."""
        if self.obs.reference is None:
            return
        self.reference, self.reference_error = weighted_reference(self.obs, state.g, state.weight)
        self.problem.set_reference(*self.reference)
        self.joint = centred_decay(self.joint, state.parameters, self.tied)

    def variance(self, state: FitState) -> FloatArray:
        """Variances of the unscaled intensities, of expected counts."""
        return expected_count_variance(self.background, state.expected, self.count_slope)

    def _count(self) -> tuple[FloatArray, FloatArray]:
        """Variance of the background and per unit of intensity of each observation, two (n,) float64."""
        obs, n_data_sets, free = self.obs, len(self.joint.models), self.fit_weights.free
        slope = count_variance_slope(
            obs.intensity, obs.variance, obs.integrated.conversion, obs.data_set, n_data_sets, free, self.n_threads
        )
        known = np.where(free, 0.0, slope)
        below = slope_below_zero(obs.intensity, obs.variance, known, obs.data_set, n_data_sets)
        return background_variance(obs.variance, obs.intensity, slope, below[obs.data_set]), slope

    def _weights(self, state: FitState, excluded: BoolArray) -> FloatArray:
        """Weights in the minimisation, which may be limited to some observations, (n,) float64."""
        sigma_squared = self.sigma_squared(state)
        unused = excluded | state.disputed
        if self.obs.selected is not None:
            unused |= ~self.obs.selected
        return np.where(unused, 0.0, 1.0 / sigma_squared)

    def _statistical_weights(self, state: FitState, without: BoolArray) -> FloatArray:
        """1/sigma'^2 of all observations by expected intensities without some of them, which the state keeps, (n,)."""
        state.expected = self.expected(state, without)
        return 1.0 / self.sigma_squared(state)

    def expected(self, state: FitState, excluded: BoolArray) -> FloatArray:
        """Expected intensities g I_h of all observations, (n,) float64."""
        return expected_intensity(
            self.obs.intensity,
            1.0 / self.sigma_squared(state),
            state.g,
            self.obs.target_offsets,
            excluded=excluded,
            reference=self.reference,
            n_threads=self.n_threads,
        )

    def sigma_squared(self, state: FitState) -> FloatArray:
        """Variances sigma'^2 of the unscaled intensities, (n,) float64."""
        return state.error_models.sigma_squared(self.obs, self.variance(state), state.expected, self.n_threads)

    def update_error_model(self, state: FitState, stage: Stage) -> None:
        """Refine the error models, unless they were switched off."""
        self.errors.refine(state, self.obs, self.variance(state), self.uninformative(state), stage)

    def refine_errors_for_output(self, state: FitState) -> None:
        """Find honest sigmas where the error model of weights and rejection was fixed."""
        if self.errors.fixed is not None:
            self.errors.refine_for_output(state, self.obs, self.variance(state), self.uninformative(state))
            state.expected = self.expected(state, self.excluded(state))

    def settle_error_model(self, state: FitState) -> bool:
        """Where groups are too small for their scatter to tell a and b apart, fix the error model for good.

        Returns whether it was fixed; the fit must then start again. What the user has fixed stays.
        """
        excluded = self.uninformative(state)
        return self.errors.settle(state, self.obs, self.variance(state), excluded) is not None

    def choose_intensities(self, state: FitState) -> None:
        """Take the crossover between profile fitting and summation that the scaled data agree with best."""
        selection = self.options.reflection_selection
        if selection.intensity_choice != "combine" or not self.obs.integrated.has_both.any():
            return
        self.intensity_choice = choose_imids(
            self.obs.integrated,
            state.g,
            self.obs.target_offsets,
            ~self.uninformative(state),
            self.obs.data_set,
            len(self.joint.models),
            selection.combine.Imid,
            joint=selection.combine.joint_analysis,
            n_threads=self.n_threads,
        )
        log_choice(self.intensity_choice)
        self.obs = self.obs.with_imids(self.intensity_choice.imids)
        self.background, self.count_slope = self._count()
        self.problem.set_intensity(self.obs.intensity)

    def update_restraints(self, state: FitState, result: Minimisation, least: float = 0.0) -> float:
        """Step towards the most probable restraint weights; return the largest change, which counts above `least`."""
        freedom = max(self.problem.n_observations - self.problem.n_groups, 1)
        chi_squared = self.sum_of_squares(state, result.cost) / freedom
        models, change = settle_restraints(
            self.joint, result.parameters, result.normal, chi_squared, self.steps, self.around, _SETTLED_WEIGHTS
        )
        if change > least:
            self.joint = JointModel(models)
        return change

    def minimise(self, state: FitState, number: int, tolerance: float, *, is_last: bool = False) -> Minimisation:
        """Minimise the cost with the weights of the state, which moves to the minimum; DataError when it fails."""
        # The first scales are too rough to tell which observations deviate.
        robust = number > 1 or self.fit_start.is_solution
        self.problem.set_weights(self.fit_weights.update(self.obs, state.weight, state.g, robust=robust))
        self._restrain(state)
        self._require_groups(state)
        refinery = self.options.scaling_refinery
        with_full_matrix = is_last and self.options.scaling_options.full_matrix is not False
        engine = refinery.full_matrix_engine if with_full_matrix else engine_of_rounds(self.options)
        limit = refinery.max_iterations if engine == "SimpleLBFGS" else refinery.full_matrix_max_iterations
        start = state.parameters
        if refinery.refinement_order == "consecutive" and not is_last:
            start = self._one_after_the_other(start, engine, tolerance, limit)
        result = self.minimiser.run(
            start,
            engine,
            tolerance,
            limit,
            on_iteration=lambda it: self._progress(number, it),
            solver_tolerance=_LAST_SOLVER if is_last else _EARLY_SOLVER,
        )
        self.information = result.normal.diagonal() - self.rows.diagonal(self.joint.n_parameters)
        if result.termination == "failed":
            raise DataError(f"the fit failed: {result.message}; {self.weakest(result)}")
        state.parameters = result.parameters
        state.g = self.problem.inverse_scale_factors(state.parameters)
        return result

    def _one_after_the_other(
        self, start: FloatArray, engine: Engine, tolerance: float, limit: int | None
    ) -> FloatArray:
        """Minimise by scales and B's, then by surfaces, then by modulations, the others held meanwhile."""
        held, stage = self.joint.held, self.joint.refinement_stage()
        try:
            for k in np.unique(stage).tolist():
                self.problem.set_held((held | (stage != k)).astype(np.uint8))
                start = self.minimiser.run(start, engine, tolerance, limit).parameters
        finally:
            self.problem.set_held(held.astype(np.uint8))
        return start

    def weakest(self, result: Minimisation) -> str:
        """The parameter that the data determine worst, as part of a sentence."""
        restraints = self.rows.diagonal(self.joint.n_parameters)
        name = weakest_parameter(result.normal, restraints, self.joint.held, self.joint.names)
        return f"the parameter that the data determine worst is {name}"

    def _require_groups(self, state: FitState) -> None:
        if self.problem.n_groups > 0:
            return
        if self.excluded(state).sum() > self.obs.absent.sum():
            beyond = int((state.standard | state.pair).sum())
            raise DataError(
                f"every group of equivalents has lost its observations ({int(state.wilson.sum())} by emax, "
                f"{beyond} by outlier_zmax, {int(state.small.sum())} by small_scale_cutoff): relax "
                "these options, or give a simpler model"
            )
        raise DataError(
            "no reflection is measured more than once: without symmetry equivalents nothing can be scaled "
            "(check the space group; data in P1 need repeated measurements)"
        )

    def sum_of_squares(self, state: FitState, cost: float) -> float:
        """Return what, over the degrees of freedom, is the variance of an observation of unit weight."""
        return self.fit_weights.sum_of_squares(self.obs, state.weight, state.g, cost)

    def smooth_rows(self, parameters: FloatArray) -> list[RestraintRows]:
        """The weak restraints between neighbours, with what the last minimisation knew of the parameters."""
        smoothness = self.options.scaling_options.smoothness
        if self.information is None:
            return []
        return smooth_rows(self.joint, parameters, self.information, smoothness)

    def _restrain(self, state: FitState) -> None:
        """Restraints of the components, weak ones between neighbours, and one that keeps the overall scale."""
        self.around = state.parameters
        rows = self.joint.restraint_rows(self.around)
        smoothness = self.options.scaling_options.smoothness
        if smoothness > 0 or has_smooth_restraint(self.joint):
            if self.information is None:
                self.problem.set_restraints(*RestraintRows.join([]).arrays)
                self.information = self.minimiser.normal(state.parameters).diagonal()
            # Information below this is rounding: what intensities known beforehand would give, times a small number.
            known = float(np.sum(state.weight * self.obs.intensity**2))
            self.information = np.maximum(self.information, _ROUNDING * known / max(self.joint.n_parameters, 1))
            stabilising = stabilising_rows(
                self.joint, state.parameters, self.information, smoothness, self.label, self.tied
            )
            rows = RestraintRows.join([rows, *stabilising])
        self.rows = rows
        self.problem.set_restraints(*rows.arrays)

    @staticmethod
    def _progress(number: int, it: Any) -> bool:
        _logger.log(
            logging.INFO if number else logging.DEBUG,
            "round %d, step %d: cost %.6e, decrease %.2e, damping %.1e%s",
            number,
            it.index + 1,
            it.cost,
            it.decrease,
            it.damping,
            "" if it.accepted else " (rejected)",
            extra={"step": it.index + 1, "cost": it.cost},
        )
        return True
