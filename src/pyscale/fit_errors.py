"""What a round of the fit leaves to the next, and the error model in it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from .error_model import ErrorModel, ErrorModelFit, Method, refine_error_model
from .observations import JobObservations
from .options import ScalingOptions
from .typing import BoolArray, FloatArray

__all__ = ["FitState", "refine", "settled_by_weak"]

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
    error_model: ErrorModel
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


def refine(
    state: FitState,
    observations: JobObservations,
    variance: FloatArray,
    excluded: BoolArray,
    options: ScalingOptions,
    fixed: ErrorModel | None,
    method: Method,
    n_threads: int,
) -> None:
    """Refine the error model of a state by observations of some variances (n,), unless it was switched off."""
    choice = options.weighting.error_model
    if choice.error_model is None:
        state.error_model, state.error_model_fit = ErrorModel(1.0, 0.0), None
        return
    state.error_model_fit = refine_error_model(
        observations.intensity,
        variance,
        state.g,
        observations.target_offsets,
        observations.anomalous_offsets,
        excluded=excluded,
        start=state.error_model,
        fixed_a=choice.basic.a if fixed is None else fixed.a,
        fixed_b=choice.basic.b if fixed is None else fixed.b,
        method=method,
        zmax=options.scaling_options.outlier_zmax,
        n_threads=n_threads,
    )
    state.error_model = state.error_model_fit.model


def settled_by_weak(
    state: FitState, observations: JobObservations, variance: FloatArray, excluded: BoolArray, n_threads: int
) -> ErrorModel | None:
    """The error model to be kept where groups are too small for their scatter to tell a and b apart; else None.

    b then stays at its start and a comes from the weak reflections, to which b matters little; a factor that
    is no plausible miscalibration is not applied: the excess is scatter that no sigma of integration describes.
    """
    fit = state.error_model_fit
    if fit is None or fit.reliable:
        return None
    start = ErrorModel()
    weak = refine_error_model(
        observations.intensity,
        variance,
        state.g,
        observations.target_offsets,
        observations.anomalous_offsets,
        excluded=excluded | (state.expected > _WEAK * np.sqrt(observations.variance)),
        fixed_b=start.b,
        method="robust",
        n_threads=n_threads,
    ).model
    settled = weak if weak.a < _LARGEST_A else start
    _logger.warning(
        "The error model cannot be determined (%s); a = %.3f, b = %g are used, and may reject many outliers: "
        "compare the statistics with all of them put back, and take sigmas for too small",
        fit.reason,
        settled.a,
        settled.b,
    )
    return settled
