"""Groups that took no part in the fit, compared with those that did (docs/theory/choices.md, "Free set")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from . import _core
from .fitting import FitResult
from .held_out import group_log_likelihood
from .observations import JobObservations
from .options import ScalingOptions
from .statistics import MergingStatistics
from .symmetry import rotation_matrices
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["Agreement", "FreeSetComparison", "HeldOutGroups", "compare_free_set"]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well equivalents agree in a part of the groups, outliers left out.

    Attributes
    ----------
    n_observations, n_groups : int
        Merged, and the reflections they make.
    r_meas, cc_half : float
    chi_squared : float
        Squared deviations from the group's mean in sigmas, per degree of freedom that the means leave.
    """

    n_observations: int
    n_groups: int
    r_meas: float
    cc_half: float
    chi_squared: float


@dataclass(frozen=True, kw_only=True)
class HeldOutGroups:
    """Likelihood of each group of the free set.

    Attributes
    ----------
    miller_index : (n, 3) int32
        Of each group in the asymmetric unit; negated for I(-) where mates are apart.
    n_observations : (n,) int64
        Weighted ones; groups have two or more.
    log_likelihood : (n,) float64
        Of the observations in units of integration's sigmas.
    """

    miller_index: IntArray
    n_observations: IndexArray
    log_likelihood: FloatArray

    @property
    def per_observation(self) -> float:
        """Mean log-likelihood; NaN without groups."""
        n = int(self.n_observations.sum())
        return float(self.log_likelihood.sum()) / n if n else float("nan")


@dataclass(frozen=True, kw_only=True)
class FreeSetComparison:
    """Work and free groups of a fit.

    Attributes
    ----------
    percentage, offset : float, int
        Which free set.
    work, free : Agreement
    held_out : HeldOutGroups
    """

    percentage: float
    offset: int
    work: Agreement
    free: Agreement
    held_out: HeldOutGroups

    @property
    def r_meas_gap(self) -> float:
        """Free less work."""
        return self.free.r_meas - self.work.r_meas

    @property
    def cc_half_gap(self) -> float:
        """Work less free."""
        return self.work.cc_half - self.free.cc_half

    @property
    def log_likelihood(self) -> float:
        """Of the free set, per observation."""
        return self.held_out.per_observation

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for reports."""
        return {
            "percentage": self.percentage,
            "offset": self.offset,
            "work": asdict(self.work),
            "free": asdict(self.free),
            "r_meas_gap": self.r_meas_gap,
            "cc_half_gap": self.cc_half_gap,
            "log_likelihood": self.log_likelihood,
        }

    def table(self) -> str:
        """Return the comparison as text."""
        work, free = self.work, self.free
        rows = (
            ("Rmeas", work.r_meas, free.r_meas, self.r_meas_gap),
            ("CC1/2", work.cc_half, free.cc_half, self.cc_half_gap),
            ("chi^2", work.chi_squared, free.chi_squared, free.chi_squared - work.chi_squared),
        )
        lines = [f"{'':12}{'work':>10}{'free':>10}{'gap':>10}"]
        lines += [f"{name:12}{a:>10.5f}{b:>10.5f}{gap:>10.5f}" for name, a, b, gap in rows]
        lines.append(f"{'observations':12}{work.n_observations:>10}{free.n_observations:>10}")
        lines.append(f"Log-likelihood of the free set per observation: {self.log_likelihood:.5f}")
        return "\n".join(lines)


def compare_free_set(
    fit: FitResult,
    sigma_squared: FloatArray,
    space_group: Any,
    options: ScalingOptions,
    statistics: Callable[[BoolArray], MergingStatistics],
) -> FreeSetComparison:
    """Compare the free set of a fit with the other groups.

    Parameters
    ----------
    fit : FitResult
    sigma_squared : (n,) float64
        sigma'^2 of the unscaled intensities.
    space_group : gemmi.SpaceGroup
    options : ScalingOptions
        With the free set.
    statistics : callable
        Merging statistics of some rows, (n,) bool.
    """
    obs = fit.observations
    merged = ~(fit.outlier | fit.small_scale | obs.absent)
    weight = np.where(merged, 1.0 / sigma_squared, 0.0)
    likelihood = group_log_likelihood(obs.intensity, weight, fit.g, obs.target_offsets)
    free = fit.free[obs.target_offsets[:-1]]
    counted = np.add.reduceat(merged.astype(np.int64), obs.target_offsets[:-1])

    def agreement(groups: BoolArray, rows: BoolArray) -> Agreement:
        overall = statistics(rows & merged).overall
        freedom = int(np.maximum(counted - 1, 0)[groups].sum())
        chi_squared = -2.0 * float(likelihood[groups].sum()) / freedom if freedom else float("nan")
        return Agreement(
            n_observations=overall.n_obs,
            n_groups=overall.n_unique,
            r_meas=overall.r_meas,
            cc_half=overall.cc_half,
            chi_squared=chi_squared,
        )

    groups = free & (counted > 1)
    normalised = likelihood + _normalisation(weight, fit)
    return FreeSetComparison(
        percentage=options.scaling_options.free_set_percentage,
        offset=options.scaling_options.free_set_offset,
        work=agreement(~free, ~fit.free),
        free=agreement(free, fit.free),
        held_out=HeldOutGroups(
            miller_index=_group_index(obs, space_group)[groups],
            n_observations=counted[groups],
            log_likelihood=normalised[groups],
        ),
    )


def _group_index(obs: JobObservations, space_group: Any) -> IntArray:
    """Index of each group that does not depend on which of its observations there are, (n_groups, 3) int32."""
    first = np.ascontiguousarray(obs.miller_index[obs.target_offsets[:-1]])
    groups = _core.group_reflections(first, rotation_matrices(space_group), np.arange(len(first)))
    index = np.empty_like(first)
    index[groups["order"]] = np.repeat(groups["asu_index"], np.diff(groups["offsets"]), axis=0)
    if obs.target_offsets is obs.anomalous_offsets:
        index[groups["order"]] *= np.where(groups["is_minus"], -1, 1).astype(np.int32)[:, None]
    return index


def _normalisation(weight: FloatArray, fit: FitResult) -> FloatArray:
    """What the weights contribute to the log-likelihood of each group in units of integration's sigmas."""
    obs, used = fit.observations, weight > 0
    starts = obs.target_offsets[:-1]
    variance = np.where(used & (obs.variance > 0), obs.variance, 1.0)
    ratio = np.where(used, weight * variance, 1.0)
    precision = np.add.reduceat(weight * fit.g**2, starts)
    by_integration = np.add.reduceat(np.where(used, fit.g**2 / variance, 0.0), starts)
    mean = np.divide(precision, by_integration, out=np.ones_like(precision), where=by_integration > 0)
    result: FloatArray = 0.5 * (np.add.reduceat(np.log(ratio), starts) - np.log(mean))
    return result
