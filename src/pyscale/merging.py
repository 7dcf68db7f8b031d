"""Merging of scaled observations: one intensity per unique reflection, and per Friedel mate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .data_frames import ColumnSource, flat_columns
from .errors import DataError
from .symmetry import SpaceGroupLike, rotation_matrices, systematic_absences
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = [
    "HalfDataSets",
    "MergedReflections",
    "SortedObservations",
    "gathered_correlations",
    "half_data_sets",
    "merge_reflections",
    "merge_sorted",
    "sort_observations",
    "sorted_rows",
    "with_common_scale_errors",
]


@dataclass(frozen=True)
class SortedObservations:
    """Observations of positive variance, sorted by group (see `pyscale::ReflectionGroups` of the C++ core).

    Attributes
    ----------
    intensity, variance : (n,) float64
    order : (n,) int64
        Input row of each observation.
    offsets, anomalous_offsets : (n_groups + 1,), (n_anomalous_groups + 1,) int64
        First observation of each group, Friedel mates together and apart.
    asu_index : (n_groups, 3) int32
    is_centric : (n_groups,) bool
    anomalous_parent : (n_anomalous_groups,) int64
        Group that each anomalous group belongs to.
    anomalous_is_minus : (n_anomalous_groups,) bool
    scale_variance : (n,) float64, optional
        var(g)/g^2, where the errors of scales are common to a group and no part of `variance`.
    scale_correlation : two (n,) float64, optional
        Mean correlation of the errors of scales in each observation's group, mates apart and together; None: 1.
    """

    intensity: FloatArray
    variance: FloatArray
    order: IndexArray
    offsets: IndexArray
    anomalous_offsets: IndexArray
    asu_index: IntArray
    is_centric: BoolArray
    anomalous_parent: IndexArray
    anomalous_is_minus: BoolArray
    scale_variance: FloatArray | None = None
    scale_correlation: tuple[FloatArray, FloatArray] | None = None

    @property
    def anomalous_index(self) -> IntArray:
        """Miller index (n_anomalous_groups, 3) of each anomalous group: its parent's, negated for I(-)."""
        sign = np.where(self.anomalous_is_minus, -1, 1).astype(np.int32)
        index: IntArray = self.asu_index[self.anomalous_parent] * sign[:, None]
        return index


@dataclass(frozen=True)
class HalfDataSets:
    """Merged intensities of two random halves of the observations; NaN and n = 0 for single observations.

    Attributes
    ----------
    intensity, sigma : two of (m,) float64
    n_obs : two of (m,) int64
    """

    intensity: tuple[FloatArray, FloatArray]
    sigma: tuple[FloatArray, FloatArray]
    n_obs: tuple[IndexArray, IndexArray]


@dataclass(frozen=True, repr=False)
class MergedReflections(ColumnSource):
    """Merged intensities; a mate that was not observed has n = 0 and NaN. Absent reflections are left out.

    Attributes
    ----------
    miller_index : (m, 3) int32
        Lexicographically largest equivalent; I(+) are its equivalents by rotation.
    is_centric : (m,) bool
        Centric reflections have I(+) alone.
    intensity, sigma : (m,) float64
    n_obs : (m,) int64
    intensity_plus, sigma_plus, intensity_minus, sigma_minus : (m,) float64
    n_obs_plus, n_obs_minus : (m,) int64
    """

    miller_index: IntArray
    is_centric: BoolArray
    intensity: FloatArray
    sigma: FloatArray
    n_obs: IndexArray
    intensity_plus: FloatArray
    sigma_plus: FloatArray
    n_obs_plus: IndexArray
    intensity_minus: FloatArray
    sigma_minus: FloatArray
    n_obs_minus: IndexArray

    def __len__(self) -> int:
        return len(self.intensity)

    def __repr__(self) -> str:
        return f"<MergedReflections: {len(self)} reflections, {int(self.n_obs.sum())} observations>"

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Return `h`, `k`, `l` and every other array under its own name, each (m,)."""
        return flat_columns(vars(self))


def sort_observations(
    miller_index: IntArray,
    intensity: FloatArray,
    variance: FloatArray,
    space_group: SpaceGroupLike,
    *,
    rank: IndexArray | None = None,
    place: tuple[IntArray, FloatArray] | None = None,
    n_threads: int = 1,
) -> SortedObservations:
    """Leave out observations whose variance is not positive and sort the others by group.

    Parameters
    ----------
    miller_index : (n, 3) int32
    intensity, variance : (n,) float64
        Scaled: I/g and its variance.
    rank : (n,) int64, optional
        Order inside a group (data set, image, ...). Without it and `place` intensity and variance themselves give
        the order, so that no result depends on the order of the rows.
    place : ((n,) int32, (n,) float64), optional
        Data set and image coordinate of each row, by which to order in place of `rank`.

    Raises
    ------
    DataError
        When an intensity or variance is not finite, or no observation has a positive variance.
    """
    _require_sound(miller_index, intensity, variance)
    positive = variance > 0
    if not positive.any():
        raise DataError("no observation with a positive variance is left to merge")
    rows = None if positive.all() else np.flatnonzero(positive)
    value, spread = (np.ascontiguousarray(_taken(v, rows), dtype=np.float64) for v in (intensity, variance))
    index = np.ascontiguousarray(_taken(miller_index, rows), dtype=np.int32)
    if place is not None:
        key = np.zeros(0, dtype=np.int64)
    else:
        key = _value_rank(value, spread) if rank is None else np.asarray(_taken(rank, rows), dtype=np.int64)
    groups = _core.group_reflections(index, rotation_matrices(space_group), key, n_threads)
    order, offsets, anomalous = groups["order"], groups["offsets"], groups["anomalous_offsets"]
    if place is not None:
        data_set, image_z = (np.ascontiguousarray(_taken(p, rows)) for p in place)
        order = _core.canonical_order(order, anomalous, data_set, image_z, value, n_threads)
    return SortedObservations(
        intensity=_core.gathered(value, order, n_threads),
        variance=_core.gathered(spread, order, n_threads),
        order=order if rows is None else rows[order],
        offsets=offsets,
        anomalous_offsets=anomalous,
        asu_index=np.asarray(groups["asu_index"], dtype=np.int32),
        is_centric=groups["is_centric"].astype(np.bool_),
        anomalous_parent=np.searchsorted(offsets, anomalous[:-1], side="right").astype(np.int64) - 1,
        anomalous_is_minus=groups["is_minus"][anomalous[:-1]].astype(np.bool_),
    )


def sorted_rows(
    chosen: BoolArray,
    miller_index: IntArray,
    intensity: FloatArray,
    variance: FloatArray,
    anomalous_offsets: IndexArray,
    space_group: SpaceGroupLike,
    n_threads: int = 1,
) -> SortedObservations:
    """Take some of the observations that are in canonical order already; nothing is sorted again.

    Parameters
    ----------
    chosen : (n,) bool
        Those to take; whose variance is not positive are left out too.
    miller_index : (n, 3) int32
    intensity, variance : (n,) float64
    anomalous_offsets : (n_anomalous_groups + 1,) int64
        First observation of each group, Friedel mates apart.
    """
    chosen = chosen & (variance > 0)
    if not chosen.any():
        raise DataError("no observation with a positive variance is left to merge")
    size = np.add.reduceat(chosen.astype(np.int64), anomalous_offsets[:-1])
    first = anomalous_offsets[:-1][size > 0]
    anomalous = np.concatenate([[0], np.cumsum(size[size > 0])]).astype(np.int64)
    # One observation of each group tells what the group is.
    index = np.ascontiguousarray(miller_index[first], dtype=np.int32)
    groups = _core.group_reflections(
        index, rotation_matrices(space_group), np.zeros(len(index), dtype=np.int64), n_threads
    )
    offsets = groups["offsets"]
    return SortedObservations(
        intensity=np.ascontiguousarray(intensity[chosen]),
        variance=np.ascontiguousarray(variance[chosen]),
        order=np.flatnonzero(chosen),
        offsets=anomalous[offsets],
        anomalous_offsets=anomalous,
        asu_index=np.asarray(groups["asu_index"], dtype=np.int32),
        is_centric=groups["is_centric"].astype(np.bool_),
        anomalous_parent=np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)),
        anomalous_is_minus=groups["is_minus"].astype(np.bool_),
    )


def _require_sound(miller_index: IntArray, intensity: FloatArray, variance: FloatArray) -> None:
    if not len(miller_index) == len(intensity) == len(variance):
        raise ValueError(
            f"miller_index, intensity and variance differ in length: {len(miller_index)}, {len(intensity)}, "
            f"{len(variance)}"
        )
    for name, values in (("intensity", intensity), ("variance", variance)):
        finite = np.isfinite(values)
        if not np.all(finite):
            row = int(np.argmin(finite))
            raise DataError(f"scaled {name} of row {row} is {values[row]}; leave such rows out")


def merge_reflections(
    miller_index: IntArray,
    intensity: FloatArray,
    variance: FloatArray,
    space_group: SpaceGroupLike,
    *,
    use_internal_variance: bool = False,
    rank: IndexArray | None = None,
    n_threads: int = 1,
) -> MergedReflections:
    """Merge scaled observations, Friedel mates together and apart.

    The mean is weighted by 1/variance; sigma = (sum w)^-1/2 or, with `use_internal_variance`, the square root
    of the larger of 1/sum w and the internal variance of the mean. Parameters and errors as for
    `sort_observations`.
    """
    obs = sort_observations(miller_index, intensity, variance, space_group, rank=rank, n_threads=n_threads)
    return merge_sorted(obs, space_group, use_internal_variance=use_internal_variance, n_threads=n_threads)


def merge_sorted(
    obs: SortedObservations,
    space_group: SpaceGroupLike,
    *,
    use_internal_variance: bool = False,
    n_threads: int = 1,
) -> MergedReflections:
    """Merge sorted observations, as `merge_reflections` does; common errors of scales join the sigmas."""
    present = ~systematic_absences(space_group, obs.asu_index)
    apart, together = obs.scale_correlation or (None, None)
    n_obs, merged, sigma = _merge(obs, obs.offsets, together, use_internal_variance, n_threads)
    mates = _merge(obs, obs.anomalous_offsets, apart, use_internal_variance, n_threads)
    plus, minus = (_side(obs, mates, side, present) for side in (False, True))
    return MergedReflections(
        miller_index=obs.asu_index[present],
        is_centric=obs.is_centric[present],
        intensity=merged[present],
        sigma=sigma[present],
        n_obs=n_obs[present],
        intensity_plus=plus[1],
        sigma_plus=plus[2],
        n_obs_plus=plus[0],
        intensity_minus=minus[1],
        sigma_minus=minus[2],
        n_obs_minus=minus[0],
    )


def _merge(
    obs: SortedObservations, offsets: IndexArray, correlation: FloatArray | None, internal: bool, n_threads: int
) -> tuple[IndexArray, FloatArray, FloatArray]:
    n_obs, merged, sigma = _core.merge(obs.intensity, obs.variance, offsets, internal, n_threads)
    if obs.scale_variance is None:
        return n_obs, merged, sigma
    common = _core.common_scale_error(obs.intensity, obs.variance, offsets, obs.scale_variance, correlation, n_threads)
    return n_obs, merged, np.hypot(sigma, merged * common)


def with_common_scale_errors(
    obs: SortedObservations,
    scale_variance: FloatArray,
    scale_correlation: FloatArray | None = None,
    n_threads: int = 1,
    *,
    mates_apart: bool = False,
) -> SortedObservations:
    """Take the uncertainty of the scales out of the variances: it is common to the observations of a reflection.

    Parameters
    ----------
    obs : SortedObservations
        Variances sigma'^2/g^2 + I_h^2 var(g)/g^2.
    scale_variance : (n,) float64
        var(g)/g^2 of each observation, in the order of the input of `sort_observations`.
    scale_correlation : (n, 2) float64, optional
        Mean correlation of the errors of scales in its group, mates apart and together (`FitResult`); without it
        all are 1, and what scales add to merged sigmas is an upper bound.
    mates_apart : bool
        Whether I_h is the mean of I(+) or I(-) alone, as it is after scaling with `anomalous=True`.
    """
    q = _core.gathered(np.ascontiguousarray(scale_variance, dtype=np.float64), obs.order, n_threads)
    variance = _core.statistical_variance(
        obs.intensity, obs.variance, obs.anomalous_offsets if mates_apart else obs.offsets, q, n_threads
    )
    return replace(
        obs, variance=variance, scale_variance=q, scale_correlation=gathered_correlations(obs, scale_correlation)
    )


def gathered_correlations(
    obs: SortedObservations, scale_correlation: FloatArray | None
) -> tuple[FloatArray, FloatArray] | None:
    """Correlations (n, 2) of input rows in the order of sorted observations, mates apart and together."""
    if scale_correlation is None:
        return None
    apart, together = np.ascontiguousarray(scale_correlation.T, dtype=np.float64)
    return _core.gathered(apart, obs.order), _core.gathered(together, obs.order)


def half_data_sets(obs: SortedObservations, space_group: SpaceGroupLike, seed: int, n_threads: int = 1) -> HalfDataSets:
    """Merge two random halves of each group: the first of the splits of CC1/2 in `merging_statistics`, same seed.

    Returns
    -------
    HalfDataSets
        For the reflections of `merge_sorted`, in their order.
    """
    *values, n_1, n_2 = _core.half_sets(obs.intensity, obs.variance, obs.offsets, obs.asu_index, seed, n_threads)
    present = ~systematic_absences(space_group, obs.asu_index)
    a, b, c, d = (np.where(n_1[present] > 0, v[present], np.nan) for v in values)
    return HalfDataSets((a, b), (c, d), (n_1[present], n_2[present]))


def _side(
    obs: SortedObservations, mates: tuple[IndexArray, FloatArray, FloatArray], minus: bool, present: BoolArray
) -> tuple[IndexArray, FloatArray, FloatArray]:
    """Merged I(+) or I(-) of each group that is present: n, intensity, sigma."""
    chosen = obs.anomalous_is_minus == minus
    parent = obs.anomalous_parent[chosen]
    n_obs = np.zeros(len(obs.asu_index), dtype=np.int64)
    intensity, sigma = np.full((2, len(obs.asu_index)), np.nan)
    n_obs[parent], intensity[parent], sigma[parent] = (column[chosen] for column in mates)
    return n_obs[present], intensity[present], sigma[present]


def _taken(values: Any, rows: IndexArray | None) -> Any:
    return values if rows is None else values[rows]


def _value_rank(intensity: FloatArray, variance: FloatArray) -> IndexArray:
    """Sort key made of the bits of both values: a fixed order without meaning."""
    mixed = intensity.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ variance.view(np.uint64)
    return mixed.view(np.int64)
