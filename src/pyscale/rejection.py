"""The outliers of a job with given scales: by Wilson statistics, within groups, and in groups of two."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .fit_errors import FitState
from .observations import JobObservations
from .options import ScalingOptions
from .outliers import find_disputed_pairs, find_outliers, wilson_expected
from .pairs import BIJVOET, CERTAIN, DisputedPairs, posterior_odds, tail_of_intensities, undisputed_mates
from .symmetry import epsilon_and_centric
from .typing import BoolArray, FloatArray

__all__ = ["OutlierRules"]

_LARGEST_BIJVOET = 3.0
"""Largest difference of mates in units of the usual one."""


class OutlierRules:
    """The rules that the options ask for.

    Parameters
    ----------
    observations : JobObservations
    options : ScalingOptions
    space_group
    n_threads : int
    """

    def __init__(
        self, observations: JobObservations, options: ScalingOptions, space_group: Any, n_threads: int
    ) -> None:
        self.options, self.n_threads = options.scaling_options, n_threads
        offsets = observations.offsets
        epsilon, _ = epsilon_and_centric(space_group, observations.miller_index[offsets[:-1]])
        self.epsilon = np.repeat(epsilon.astype(np.float64), np.diff(offsets))

    def apply(
        self,
        state: FitState,
        obs: JobObservations,
        reference: tuple[FloatArray, FloatArray],
        weights: Callable[[BoolArray], FloatArray],
    ) -> None:
        """Find outliers with the scales of a state, which is changed.

        Parameters
        ----------
        state : FitState
        obs : JobObservations
            With the intensities in use.
        reference : two (n_groups,) float64
        weights : callable
            1/sigma'^2 from the expected intensities without some rows.
        """

        @cache
        def mean() -> FloatArray:
            return wilson_expected(obs.intensity, state.g, obs.d_spacing, self.epsilon)

        unusable = state.small | obs.absent
        if self.options.emax:
            state.wilson = (obs.intensity > float(self.options.emax) ** 2 * mean()) & ~unusable
        if self.options.outlier_rejection is None:
            return
        unusable = unusable | state.wilson
        judging = reference if obs.reference is not None and obs.reference.judges else None
        weight = state.weight
        for _ in range(2):
            # Expected intensities, and with them the sigmas, must not contain the outliers looked for.
            weight = weights(unusable | state.standard | state.pair)
            state.standard = self._in_groups(state, obs, weight, judging, unusable, mean)
        if self.options.outlier_pairs == "judge":
            self._judge_pairs(state, obs, weight, judging, unusable | state.standard, mean)

    def _in_groups(
        self,
        state: FitState,
        obs: JobObservations,
        weight: FloatArray,
        judging: tuple[FloatArray, FloatArray] | None,
        excluded: BoolArray,
        mean: Callable[[], FloatArray],
    ) -> BoolArray:
        """Outliers within groups; not those that agree with others of their own hand where mates are together."""
        values = (obs.intensity, weight, state.g)
        zmax, n_threads = self.options.outlier_zmax, self.n_threads
        if self.options.outlier_rejection == "simple":
            return find_outliers(
                *values,
                obs.target_offsets,
                zmax=zmax,
                excluded=excluded,
                reference=judging,
                at_once=True,
                n_threads=n_threads,
            )
        found = find_outliers(
            *values, obs.target_offsets, zmax=zmax, excluded=excluded, reference=judging, n_threads=n_threads
        )
        together = obs.is_anomalous or not obs.has_bijvoet or self.options.outlier_mates == "reject"
        if together or judging is not None or not found.any():
            return found
        apart = find_outliers(*values, obs.anomalous_offsets, zmax=zmax, excluded=excluded, n_threads=n_threads)
        left = excluded | apart
        disputed = find_disputed_pairs(*values, obs.anomalous_offsets, zmax=zmax, excluded=left, n_threads=n_threads)
        alone = np.repeat(
            np.add.reduceat(~left, obs.anomalous_offsets[:-1], dtype=np.int64) < 2, np.diff(obs.anomalous_offsets)
        )
        wrong = apart | alone
        wrong[disputed.ravel()] = True
        doubtful = np.flatnonzero(found & ~wrong)
        if doubtful.size:
            wrong[doubtful] = ~_may_be_bijvoet(state, obs, mean())[doubtful]
        return found & wrong

    def _judge_pairs(
        self,
        state: FitState,
        obs: JobObservations,
        weight: FloatArray,
        judging: tuple[FloatArray, FloatArray] | None,
        excluded: BoolArray,
        mean: Callable[[], FloatArray],
    ) -> None:
        """Reject the one of two that is wrong by all that is known; undecided pairs are left out of the fit."""
        state.pair, state.disputed = np.zeros((2, len(obs)), np.bool_)
        zmax = self.options.outlier_zmax
        rows = find_disputed_pairs(
            obs.intensity,
            weight,
            state.g,
            obs.target_offsets,
            zmax=zmax,
            excluded=excluded,
            reference=judging,
            n_threads=self.n_threads,
        )
        if not rows.size:
            return
        value, variance = obs.intensity[rows] / state.g[rows], 1.0 / (weight[rows] * state.g[rows] ** 2)
        if obs.has_bijvoet and not obs.is_anomalous:
            rows, value, variance = _without_bijvoet_pairs(obs, rows, value, variance, zmax)
        expected = mean()
        usable = ~excluded & (state.g > 0) & np.isfinite(expected) & (expected > 0)
        undisputed = usable.copy()
        undisputed[rows] = False
        mates = _mates(obs, state, weight, rows, undisputed)
        first = rows[:, 0]
        known = usable[first]
        pairs = DisputedPairs(
            rows[known], value[known], variance[known], (expected[first] / state.g[first])[known], *mates[:, known]
        )
        odds = posterior_odds(pairs, tail_of_intensities(obs.intensity[usable] / expected[usable]))
        state.disputed[rows] = True
        for k, wrong in ((0, odds < -CERTAIN), (1, odds > CERTAIN)):
            state.pair[pairs.rows[wrong, k]] = True
            state.disputed[pairs.rows[wrong]] = False


def _may_be_bijvoet(state: FitState, obs: JobObservations, mean: FloatArray) -> BoolArray:
    """Whether a row differs from its group by no more than Friedel mates may, (n,) bool; `mean` is that of Wilson.

    Structure factors of mates differ by much the same whatever their size, intensities by the root of theirs
    and of the mean intensity.
    """
    expected = np.maximum(state.expected, 0.0)
    known = np.where(np.isfinite(mean), np.maximum(mean, 0.0), expected)
    possible: BoolArray = np.abs(obs.intensity - state.expected) <= _LARGEST_BIJVOET * BIJVOET * np.sqrt(
        expected * known
    )
    return possible


def _without_bijvoet_pairs(
    obs: JobObservations, rows: Any, value: FloatArray, variance: FloatArray, zmax: float
) -> tuple[Any, FloatArray, FloatArray]:
    """Leave out pairs of Friedel mates that may differ by as much."""
    hand = np.searchsorted(obs.anomalous_offsets, rows, side="right")
    kept = (hand[:, 0] == hand[:, 1]) | ~undisputed_mates(value, variance, zmax)
    return rows[kept], value[kept], variance[kept]


def _mates(obs: JobObservations, state: FitState, weight: FloatArray, rows: Any, usable: BoolArray) -> FloatArray:
    """Mean and variance of the Friedel mates of pairs (m, 2) where they are groups of their own, (2, m) float64."""
    result = np.full((2, len(rows)), np.inf)
    if not obs.is_anomalous or not rows.size:
        return result
    group = obs.group[rows[:, 0]]
    begin, end = obs.offsets[group], obs.offsets[group + 1]
    every = np.repeat(begin - np.cumsum(np.append(0, end - begin))[:-1], end - begin) + np.arange((end - begin).sum())
    pair = np.repeat(np.arange(len(rows)), end - begin)
    every, pair = every[usable[every]], pair[usable[every]]
    w = weight[every] * state.g[every]
    total = np.bincount(pair, w * state.g[every], len(rows))
    found = total > 0
    result[0, found] = np.bincount(pair, w * obs.intensity[every], len(rows))[found] / total[found]
    result[1, found] = 1.0 / total[found]
    return result
