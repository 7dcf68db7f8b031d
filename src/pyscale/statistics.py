"""Merging statistics by resolution shell. `docs/reference/statistics.md` holds every definition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import _core
from .errors import DataError
from .half_sets import DEFAULT_SPLITS, HalfSets, Splits
from .merging import SortedObservations, sort_observations
from .quantiles import central_normal_quantile, correlation_interval, correlation_p_value
from .statistics_data import MergingStatistics, ShellStatistics
from .symmetry import (
    SpaceGroupLike,
    UnitCellLike,
    epsilon_and_centric,
    inverse_d_squared,
    possible_reflections,
    systematic_absences,
)
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["MergingStatistics", "ShellStatistics", "merging_statistics", "sorted_statistics"]

#: Relative tolerance of resolution limits in 1/d^2: the extreme reflections lie inside.
LIMIT_TOLERANCE = 1e-6
#: One-sided level of Student's t test of correlation coefficients.
SIGNIFICANCE_LEVEL = 0.01
#: Expected normal deviates that the anomalous slope is fitted to.
SLOPE_RANGE = 0.9


@dataclass(frozen=True)
class _Shells:
    """Resolution shells: edges in 1/d^2 (ascending) and how many reflections each could hold."""

    edges: FloatArray
    limits: tuple[float, float]
    n_possible: IndexArray
    n_possible_acentric: IndexArray

    def __len__(self) -> int:
        return len(self.edges) - 1

    def d_range(self, k: int) -> tuple[float, float]:
        low, high = self.limits if k == len(self) else (self.edges[k], self.edges[k + 1])
        return 1.0 / math.sqrt(low), 1.0 / math.sqrt(high)


def merging_statistics(
    miller_index: IntArray,
    intensity: FloatArray,
    variance: FloatArray,
    unit_cell: UnitCellLike,
    space_group: SpaceGroupLike,
    *,
    anomalous: bool = False,
    n_shells: int = 20,
    d_min: float | None = None,
    d_max: float | None = None,
    seed: int = 42,
    n_splits: int = DEFAULT_SPLITS.n,
    rank: IndexArray | None = None,
    n_threads: int = 1,
) -> MergingStatistics:
    """Statistics of how well symmetry equivalents agree, in shells of equal volume of reciprocal space.

    Observations of variance 0 or less and systematic absences are left out. There are at most as many
    shells as unique reflections. The result does not depend on the order of the rows or on `n_threads`.

    Parameters
    ----------
    miller_index : (n, 3) int32
    intensity, variance : (n,) float64
        Scaled: I/g and its variance.
    unit_cell : six numbers (A, degrees) or gemmi.UnitCell
    space_group : gemmi.SpaceGroup, gemmi.GroupOps or str
    anomalous : bool
        Also compute the statistics with Friedel mates apart. (R_anom and CC_anom are always there.)
    n_shells : int
    d_min, d_max : float, optional
        Leave out what lies beyond (A).
    seed, n_splits : int
        Key of the random half sets, and how often they are drawn (1 to 32).
    rank : (n,) int64, optional
        Order inside a group that the half sets follow; see `pyscale.merging.sort_observations`.

    Raises
    ------
    DataError
        When nothing is left, an intensity is not finite, or cell and symmetry are unusable.
    """
    obs = sort_observations(miller_index, intensity, variance, space_group, rank=rank, n_threads=n_threads)
    limits, splits = (d_min, d_max), Splits(seed, n_splits)
    return sorted_statistics(obs, unit_cell, space_group, anomalous, n_shells, limits, splits, n_threads)


def sorted_statistics(
    obs: SortedObservations,
    unit_cell: UnitCellLike,
    space_group: SpaceGroupLike,
    anomalous: bool,
    n_shells: int,
    limits: tuple[float | None, float | None] = (None, None),
    splits: Splits = DEFAULT_SPLITS,
    n_threads: int = 1,
) -> MergingStatistics:
    """Statistics of sorted observations, as `merging_statistics` gives them; `limits` are d_min and d_max."""
    d_star_sq = inverse_d_squared(unit_cell, obs.asu_index)
    inside = _inside(d_star_sq, *limits) & ~systematic_absences(space_group, obs.asu_index)
    if not np.any(inside):
        raise DataError("no observation lies inside the resolution limits; check d_min, d_max and the unit cell")
    shells = _make_shells(d_star_sq[inside], n_shells, unit_cell, space_group)
    number = np.searchsorted(shells.edges, d_star_sq, side="right") - 1
    number = np.where(inside, np.clip(number, 0, len(shells) - 1), -1)

    halves = HalfSets(obs, splits, n_threads)
    mates = _core.group_statistics(obs.intensity, obs.variance, obs.anomalous_offsets, n_threads)
    pairs = _pair_statistics(obs, mates, halves, number, len(shells))
    merged = _core.group_statistics(obs.intensity, obs.variance, obs.offsets, n_threads)
    of_shells = _core.shell_statistics(merged, number, len(shells))
    correlations = halves.correlations(obs.offsets, obs.asu_index, number, len(shells))
    result = _assemble(of_shells, correlations, pairs, shells, shells.n_possible)
    if not anomalous:
        return result
    number = number[obs.anomalous_parent]
    of_shells = _core.shell_statistics(mates, number, len(shells))
    correlations = halves.correlations(obs.anomalous_offsets, obs.anomalous_index, number, len(shells))
    n_possible = shells.n_possible + shells.n_possible_acentric
    apart = _assemble(of_shells, correlations, pairs, shells, n_possible)
    return MergingStatistics(result.overall, result.shells, apart)


def _inside(d_star_sq: FloatArray, d_min: float | None, d_max: float | None) -> BoolArray:
    inside = d_star_sq > 0
    if d_min is not None:
        inside &= d_star_sq <= (1 + LIMIT_TOLERANCE) / d_min**2
    if d_max is not None:
        inside &= d_star_sq >= (1 - LIMIT_TOLERANCE) / d_max**2
    return inside


def _make_shells(d_star_sq: FloatArray, n_shells: int, unit_cell: UnitCellLike, space_group: SpaceGroupLike) -> _Shells:
    """Shells of equal volume over the range of the unique reflections."""
    low, high = float(d_star_sq.min()), float(d_star_sq.max())
    wide_low, wide_high = low * (1 - LIMIT_TOLERANCE), high * (1 + LIMIT_TOLERANCE)
    n = 1 if high - low <= LIMIT_TOLERANCE * high else max(1, min(n_shells, len(d_star_sq)))
    edges = np.linspace(wide_low**1.5, wide_high**1.5, n + 1) ** (2 / 3)
    edges[0], edges[-1] = wide_low, wide_high
    possible = possible_reflections(unit_cell, space_group, wide_high**-0.5, wide_low**-0.5)
    _, is_centric = epsilon_and_centric(space_group, possible)
    where = np.clip(np.searchsorted(edges, inverse_d_squared(unit_cell, possible), side="right") - 1, 0, n - 1)
    counts = [np.bincount(w, minlength=n).astype(np.int64) for w in (where, where[~is_centric])]
    total, acentric = (np.append(c, c.sum()) for c in counts)
    return _Shells(edges, (low, high), total, acentric)


@dataclass(frozen=True)
class _Pairs:
    shells: list[_core.AnomalousStatistics]
    correlations: list[_core.HalfSetCorrelation]
    slope: float


def _pair_statistics(
    obs: SortedObservations, mates: _core.GroupStatistics, halves: HalfSets, number: IndexArray, n_shells: int
) -> _Pairs:
    """Statistics of the acentric reflections with both mates; I(-) follows I(+) in the canonical order."""
    parent = obs.anomalous_parent
    plus = np.flatnonzero(parent[1:] == parent[:-1])
    minus, shell = plus + 1, number[parent[plus]]
    used = shell >= 0
    difference = (mates.intensity[plus] - mates.intensity[minus])[used]
    sigma = np.hypot(mates.sigma[plus], mates.sigma[minus])[used]
    slope = _normal_probability_slope(difference / sigma)
    return _Pairs(
        _core.anomalous_statistics(mates, plus, minus, shell, n_shells),
        halves.of_differences(plus, minus, shell, n_shells),
        slope,
    )


def _normal_probability_slope(deviates: FloatArray) -> float:
    """Least-squares slope of sorted deviates against expected normal ones (Howell & Smith 1992)."""
    n = len(deviates)
    if n == 0:
        return math.nan
    expected = central_normal_quantile((np.arange(n) + 0.5) / n)
    central = np.abs(expected) < SLOPE_RANGE
    x, y = expected[central], np.sort(deviates)[central]
    if len(x) < 2:
        return math.nan
    x = x - x.mean()
    return float(x @ (y - y.mean()) / (x @ x))


def _assemble(
    statistics: Sequence[_core.ShellStatistics],
    halves: Sequence[_core.HalfSetCorrelation],
    pairs: _Pairs,
    shells: _Shells,
    n_possible: IndexArray,
) -> MergingStatistics:
    entries = [
        _entry(s, a, h, c, shells, k, int(n_possible[k]), pairs.slope if k == len(shells) else math.nan)
        for k, (s, a, h, c) in enumerate(zip(statistics, pairs.shells, halves, pairs.correlations, strict=True))
    ]
    return MergingStatistics(overall=entries[-1], shells=tuple(entries[:-1]))


def _entry(
    s: _core.ShellStatistics,
    a: _core.AnomalousStatistics,
    halves: _core.HalfSetCorrelation,
    differences: _core.HalfSetCorrelation,
    shells: _Shells,
    k: int,
    n_possible: int,
    slope: float,
) -> ShellStatistics:
    d_max, d_min = shells.d_range(k)
    acentric = int(shells.n_possible_acentric[k])
    cc_half, cc_anom = halves.correlation, differences.correlation
    cc_half_low, cc_half_high = correlation_interval(cc_half, halves.standard_error, halves.n_pairs)
    cc_anom_low, cc_anom_high = correlation_interval(cc_anom, differences.standard_error, differences.n_pairs)
    return ShellStatistics(
        d_max=d_max,
        d_min=d_min,
        n_obs=s.n_obs,
        n_unique=s.n_unique,
        n_possible=n_possible,
        multiplicity=_ratio(s.n_obs, s.n_unique),
        completeness=_share(s.n_unique, n_possible),
        mean_intensity=s.mean_intensity,
        i_over_sigma=s.i_over_sigma,
        unmerged_i_over_sigma=s.unmerged_i_over_sigma,
        r_merge=s.r_merge,
        r_meas=s.r_meas,
        r_pim=s.r_pim,
        chi_square=s.chi_square,
        r_split=halves.r_split,
        cc_half=cc_half,
        cc_half_low=cc_half_low,
        cc_half_high=cc_half_high,
        cc_half_sigma_tau=s.cc_half_sigma_tau,
        n_half_pairs=halves.n_pairs,
        cc_half_significant=_is_significant(cc_half, halves.n_pairs),
        r_anom=a.r_anom,
        n_anomalous_pairs=a.n_pairs,
        anomalous_completeness=_share(a.n_pairs, acentric),
        cc_anom=cc_anom,
        cc_anom_low=cc_anom_low,
        cc_anom_high=cc_anom_high,
        n_anomalous_half_pairs=differences.n_pairs,
        cc_anom_significant=_is_significant(cc_anom, differences.n_pairs),
        anomalous_signal=a.signal,
        anomalous_difference_over_sigma=a.difference_over_sigma,
        anomalous_slope=slope,
    )


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def _share(part: int, whole: int) -> float:
    # min() does not keep NaN.
    return min(part, whole) / whole if whole > 0 else math.nan


def _is_significant(correlation: float, n: int) -> bool:
    """Student's t test of a correlation of n pairs against zero, one-sided, at p = 0.01."""
    if n <= 2 or math.isnan(correlation):
        return False
    return correlation > 0 and correlation_p_value(min(correlation, 1.0), n) < SIGNIFICANCE_LEVEL
