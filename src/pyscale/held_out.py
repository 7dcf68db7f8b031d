"""The likelihood of groups that took no part in a fit (docs/theory/choices.md, "The choice of the model")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .fit_errors import FitState
from .fit_start import FitStart
from .fit_state import Fit
from .fitting import FitResult
from .joint_model import JointModel
from .options import ScalingOptions, with_changes
from .scaling_model import DataSetModel
from .typing import BoolArray, FloatArray, IndexArray
from .warm_start import warm_started

__all__ = ["HeldOut", "HeldOutScore", "group_log_likelihood", "paired_excess"]

_MAX_ROUNDS = 4
_SETTLED_RESTRAINT = 1.0
_FULL_STEPS, _FOLD_STEPS = 15, 2
_FOLD_DAMPING = 1e-6
_TOLERANCE = 0.05
"""Decrease of the cost of all observations at which a fit stops: far less than what one parameter is worth."""


@dataclass(frozen=True)
class HeldOutScore:
    """How well a model predicts what it has not seen.

    Attributes
    ----------
    models : list of DataSetModel
        Fitted to all groups, weights fixed.
    n_parameters : int
    log_likelihood : (n_groups,) float64
        Of each group, by the fit without its fold.
    fold : (n_groups,) int64
        Fold of each group.
    """

    models: list[DataSetModel]
    n_parameters: int
    log_likelihood: FloatArray
    fold: IndexArray

    @property
    def total(self) -> float:
        """Log-likelihood of all groups."""
        return float(self.log_likelihood.sum())

    def excess(self, other: HeldOutScore) -> tuple[float, float]:
        """Excess of the log-likelihood over another model's, and its standard error.

        The spread over the folds and that over the groups both estimate the error, the one from few numbers, the other
        without what fits to different folds differ by; it is the greater of the two.
        """
        return paired_excess(self.log_likelihood - other.log_likelihood, self.fold)


def paired_excess(difference: FloatArray, fold: IndexArray) -> tuple[float, float]:
    """Sum of differences of the log-likelihoods of groups, and its standard error (29); NaN for fewer than two.

    Parameters
    ----------
    difference : (n_groups,) float64
    fold : (n_groups,) int64
        Fold of each group.
    """
    by_fold = np.bincount(fold, difference)
    errors = [np.sqrt(a.size) * a.std(ddof=1) for a in (by_fold, difference) if a.size > 1]
    return float(difference.sum()), float(max(errors, default=np.nan))


def group_log_likelihood(
    intensity: FloatArray, weight: FloatArray, g: FloatArray, target_offsets: IndexArray
) -> FloatArray:
    """Log-likelihood of the intensities of each group given its scales, its true intensity being unknown.

    With a flat prior of I_h in units of its own uncertainty, (sum w g^2)^-1/2, it is -1/2 sum w (I - g I_h)^2 at the
    best I_h, apart from what depends on the weights only, and the same for g and c g.

    Parameters
    ----------
    intensity, weight, g : (n,) float64
        Unscaled intensities, their weights 1/sigma'^2 (0: left out), and inverse scale factors.
    target_offsets : (n_groups + 1,) int64

    Returns
    -------
    (n_groups,) float64
        0 for groups of fewer than two weighted observations.
    """
    starts = target_offsets[:-1]
    precision = np.add.reduceat(weight * g * g, starts)
    product = np.add.reduceat(weight * g * intensity, starts)
    best = np.divide(product, precision, out=np.zeros_like(product), where=precision > 0)
    residual = intensity - g * np.repeat(best, np.diff(target_offsets))
    result: FloatArray = -0.5 * np.add.reduceat(weight * residual**2, starts)
    result[np.add.reduceat((weight > 0).astype(np.int64), starts) < 2] = 0.0
    return result


class HeldOut:
    """Folds of groups of equivalents, and the weights with which all candidates are fitted and judged.

    Weights, outliers and intensities are those of one fit, so that candidates differ in nothing but their scales.
    """

    def __init__(
        self, reference: FitResult, space_group: Any, options: ScalingOptions, cutoff: float, n_threads: int
    ) -> None:
        self.observations = reference.observations
        known = {"scaling_options.use_free_set": False, "weighting.weighting_scheme": "invvar"}
        options = with_changes(options, {"scaling_refinery.full_matrix_max_iterations": _FULL_STEPS, **known})
        self._fit_arguments = (space_group, options, cutoff, n_threads, FitStart())
        self._n_threads = n_threads
        self._reference = reference
        obs = self.observations
        self._weight = self._weights(reference)
        self._fit_weight = self._weight * reference.robust_factor
        self.n_folds = options.model_choice.n_folds
        n_groups = obs.offsets.size - 1
        fold_of_group = np.random.default_rng(options.scaling_options.seed).permutation(n_groups) % self.n_folds
        self._fold = fold_of_group[obs.group]
        self._target_fold = self._fold[obs.target_offsets[:-1]]
        counted = np.add.reduceat((self._weight > 0).astype(np.int64), obs.target_offsets[:-1])
        self.n_observations = int(counted[counted > 1].sum())
        self._tolerance = _TOLERANCE / max(self.n_observations, 1)

    def _weights(self, reference: FitResult) -> FloatArray:
        obs = self.observations
        excluded: BoolArray = reference.outlier | reference.small_scale | reference.free | obs.absent
        if obs.not_fitted is not None:
            excluded = excluded | obs.not_fitted
        return np.where(excluded, 0.0, 1.0 / reference.sigma_squared)

    def score(self, models: Sequence[DataSetModel], start: Sequence[DataSetModel]) -> HeldOutScore:
        """Fit models to all groups but those of one fold, for each fold, and judge them by that one.

        Restraint weights come from all groups.

        Parameters
        ----------
        models, start : sequence of DataSetModel
            What to fit, and fitted models to start from.

        Raises
        ------
        DataError
            If a fit fails.
        """
        joint = JointModel(warm_started(models, start))
        fit = Fit(self.observations, joint, *self._fit_arguments)
        state = FitState(joint.parameters, np.ones(len(self.observations)), self._reference.error_models)
        state.weight = self._fit_weight
        if self._reference.reference[0].size:
            fit.problem.set_reference(*self._reference.reference)
        for _ in range(_MAX_ROUNDS):
            result = fit.minimise(state, 0, self._tolerance)
            if fit.update_restraints(state, result) < _SETTLED_RESTRAINT:
                break
        likelihood = np.zeros(self._target_fold.size)
        for k in range(self.n_folds):
            in_fold = self._target_fold == k
            likelihood[in_fold] = self._log_likelihood_without(k, fit, state.parameters)[in_fold]
        return HeldOutScore(
            fit.joint.with_parameters(state.parameters), state.parameters.size, likelihood, self._target_fold
        )

    def _log_likelihood_without(self, k: int, fit: Fit, parameters: FloatArray) -> FloatArray:
        """Log-likelihood of all groups by the fit without a fold, a step or two from the fit to all."""
        obs = self.observations
        fit.problem.set_weights(np.where(self._fold == k, 0.0, self._fit_weight))
        without = fit.minimiser.run(
            parameters, "LevMar", self._tolerance, _FOLD_STEPS, initial_damping=_FOLD_DAMPING
        ).parameters
        return group_log_likelihood(obs.intensity, self._weight, fit.evaluate(without), obs.target_offsets)
