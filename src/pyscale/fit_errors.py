"""What a round of the fit leaves to the next, and the error models in it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from .basic_error_model import BasicLimits, refine_basic
from .error_model import ErrorModel
from .error_model_data import Equivalents
from .error_model_fit import ErrorModelFit, Fixed, Stage, as_given, refine_error_model
from .error_models import ErrorModels
from .fit_start import FitStart
from .observations import JobObservations
from .options import ScalingOptions
from .options.error_model import ErrorModelOptions
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["ErrorModelRefiner", "FitState"]

_logger = logging.getLogger(__name__)

_WEAK, _LARGEST_A = 3.0, 2.5


@dataclass
class FitState:
    """What a round leaves to the next.

    Attributes
    ----------
    standard, wilson, pair : (n,) bool
        Outliers by rule, disjoint.
    disputed : (n,) bool
        Pairs that disagree where nothing tells which one is wrong: merged, but not used in the fit.
    small : (n,) bool
        Rows whose g is too small.
    """

    parameters: FloatArray
    g: FloatArray
    error_models: ErrorModels
    error_model_fit: ErrorModelFit | None = None
    expected: FloatArray = field(default_factory=lambda: np.zeros(0))
    weight: FloatArray = field(default_factory=lambda: np.zeros(0))
    standard: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    wilson: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    pair: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    disputed: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    small: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))

    @property
    def rejected(self) -> dict[str, BoolArray]:
        """Outliers by rule, those of too small a scale left out."""
        rules = {"standard": self.standard, "wilson": self.wilson, "pair": self.pair}
        return {rule: outlier & ~self.small for rule, outlier in rules.items()}

    @property
    def outlier(self) -> BoolArray:
        """Outliers by any rule, (n,) bool."""
        result: BoolArray = self.standard | self.wilson | self.pair
        return result


class ErrorModelRefiner:
    """Refines the error models of a job as its options say.

    Attributes
    ----------
    fixed : ErrorModel or None
        What is kept because the data cannot tell it.
    """

    def __init__(self, options: ScalingOptions, group_of: IntArray, fixed: ErrorModel | None, n_threads: int) -> None:
        self._choice: ErrorModelOptions = options.weighting.error_model
        self._zmax = options.scaling_options.outlier_zmax
        self._group_of, self._n_threads = group_of, n_threads
        self.fixed = fixed

    def start(self, start: FitStart) -> ErrorModels:
        """Return the models before the first round, stored ones if there are."""
        kind = self._choice.error_model
        if kind is None:
            return ErrorModels(None, ErrorModel(1.0, 0.0))
        if self.fixed is not None:
            return ErrorModels(kind, self.fixed)
        common = start.error_model or ErrorModel()
        if start.error_models is None or self._group_of.size == 0:
            return ErrorModels(kind, common)
        return ErrorModels(kind, common, start.error_models, self._group_of)

    def refine(
        self, state: FitState, obs: JobObservations, variance: FloatArray, excluded: BoolArray, stage: Stage
    ) -> None:
        """Refine the error models of a state by observations of some variances (n,)."""
        kind = self._choice.error_model
        if kind is None or (kind == "basic" and stage == "first"):
            return
        if kind == "basic":
            self._refine_basic(state, obs, excluded)
            return
        before = state.error_models
        found = refine_error_model(
            self._equivalents(obs, variance, state.g, excluded),
            start=before.common,
            fixed=self._fixed(),
            groups=None if self._group_of.size == 0 or self.fixed else self._group_of[obs.data_set],
            before=before.shrunk,
            stage=stage,
            zmax=self._zmax,
        )
        state.error_model_fit = found
        group_of = self._group_of if found.shrunk is not None else np.zeros(0, np.int32)
        state.error_models = ErrorModels("likelihood", found.model, found.shrunk, group_of)

    def _fixed(self) -> Fixed:
        if self.fixed is not None:
            return self.fixed.a, self.fixed.b, self.fixed.c
        third = self._choice.likelihood.third_term
        return self._choice.basic.a, self._choice.basic.b, None if third else 0.0

    def _equivalents(
        self, obs: JobObservations, variance: FloatArray, g: FloatArray, excluded: BoolArray
    ) -> Equivalents:
        return Equivalents(
            intensity=obs.intensity,
            variance=variance,
            inverse_scale_factor=g,
            conversion=obs.integrated.conversion,
            offsets=obs.target_offsets,
            anomalous_offsets=obs.anomalous_offsets,
            excluded=excluded,
            n_threads=self._n_threads,
        )

    def _refine_basic(self, state: FitState, obs: JobObservations, excluded: BoolArray) -> None:
        options, models = self._choice.basic, state.error_models
        if options.minimisation is None:
            return
        nothing = np.zeros(0)
        found = refine_basic(
            obs.intensity,
            obs.variance,
            state.g,
            1.0 / models.sigma_squared(obs, nothing, nothing, self._n_threads),
            obs.anomalous_offsets,
            ~excluded,
            (models.common.a, models.common.b),
            fixed_a=options.a,
            fixed_b=options.b,
            method=options.minimisation,
            stills=obs.of_stills,
            limits=BasicLimits(
                options.min_Ih, options.n_bins, options.stills.min_Isigma, options.stills.min_multiplicity
            ),
        )
        state.error_model_fit = as_given(
            self._equivalents(obs, obs.variance, state.g, excluded),
            np.abs(obs.intensity),
            ErrorModel(found.a, found.b),
            n_used=found.n_used,
            converged=found.converged,
            reason=found.reason,
        )
        state.error_models = ErrorModels("basic", state.error_model_fit.model)

    def refine_for_output(
        self, state: FitState, obs: JobObservations, variance: FloatArray, excluded: BoolArray
    ) -> None:
        """Refine a model that was fixed for weights and rejection after all, for the sigmas that are written."""
        fixed, self.fixed = self.fixed, None
        self.refine(state, obs, variance, excluded, "last")
        self.fixed = fixed

    def settle(
        self, state: FitState, obs: JobObservations, variance: FloatArray, excluded: BoolArray
    ) -> ErrorModel | None:
        """Fix the model for good where groups are too small for their scatter to tell a and b apart; else None.

        b then stays at its start and a comes from the weak reflections, to which b matters little; a factor that
        is no plausible miscalibration is not applied: the excess is scatter that no sigma of integration describes.
        What the user has fixed stays.
        """
        basic, fit = self._choice.basic, state.error_model_fit
        if basic.a is not None or basic.b is not None or self.fixed or fit is None or fit.reliable:
            return None
        start = ErrorModel()
        strong = state.expected > _WEAK * np.sqrt(obs.variance)
        weak = refine_error_model(
            self._equivalents(obs, variance, state.g, excluded | strong), fixed=(None, start.b, 0.0), stage="first"
        ).model
        self.fixed = weak if weak.a < _LARGEST_A else start
        _logger.warning(
            "The error model cannot be determined (%s); weights and rejection are those of a = %.3f, b = %g, which may "
            "reject many outliers: compare the statistics with all of them put back",
            fit.reason,
            self.fixed.a,
            self.fixed.b,
        )
        return self.fixed
