"""Merged reflections of everything that was scaled, whatever limits are applied to the data afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..half_sets import DEFAULT_SPLITS, Splits
from ..symmetry import UnitCellLike, inverse_d_squared, possible_reflections, unit_cell_from
from ..typing import FloatArray, IndexArray, IntArray

if TYPE_CHECKING:
    from ..observations import JobObservations
    from ..output_table import ScaledObservations

__all__ = ["MergedGroups", "merged_groups", "reciprocal_vectors"]


@dataclass(frozen=True, kw_only=True)
class MergedGroups:
    """One entry for each unique reflection that was measured, Friedel mates together.

    Attributes
    ----------
    statistics : _core.GroupStatistics
        Merged intensity, sigma and residuals of each, (m,).
    rows : (intensity, variance, offsets)
        Scaled observations, (n,) float64, and where those of each reflection begin, (m + 1,) int64.
    miller_index : (m, 3) int32
        Index of one of its observations.
    number : (m,) int64
        Group in the job's observations.
    scale_error : (m,) float64
        Root mean square of sigma(g)/g of its observations, each at most 1.
    unit_cell, space_group
        Of the job.
    splits : Splits
        Of random halves.
    n_threads : int
    """

    statistics: _core.GroupStatistics
    rows: tuple[FloatArray, FloatArray, IndexArray]
    miller_index: IntArray
    number: IndexArray
    scale_error: FloatArray
    unit_cell: UnitCellLike
    space_group: Any
    splits: Splits
    n_threads: int

    def half_set_correlations(self, shell: IndexArray, n_shells: int) -> list[_core.HalfSetCorrelation]:
        """CC1/2 of each shell, (m,) numbers."""
        splits = self.splits
        return _core.half_set_correlations(
            *self.rows, self.miller_index, splits.seed, splits.n, shell, n_shells, self.n_threads
        )[:-1]

    def __len__(self) -> int:
        return len(self.number)

    @cached_property
    def reciprocal(self) -> FloatArray:
        """Reciprocal vectors (1/A) in the crystal's Cartesian frame, (m, 3): see `reciprocal_vectors`."""
        return reciprocal_vectors(self.unit_cell, self.miller_index)

    @cached_property
    def d_star_sq(self) -> FloatArray:
        """1/d^2 (A^-2), (m,) float64."""
        return inverse_d_squared(self.unit_cell, self.miller_index)

    @cached_property
    def i_over_sigma(self) -> FloatArray:
        """I/sigma of the merged intensity, (m,) float64."""
        result: FloatArray = self.statistics.intensity / self.statistics.sigma
        return result

    @cached_property
    def possible(self) -> IntArray:
        """Unique reflections that symmetry allows to the resolution of the data, (k, 3) int32."""
        d_min, d_max = self.d_star_sq.max() ** -0.5, self.d_star_sq.min() ** -0.5
        return possible_reflections(self.unit_cell, self.space_group, d_min * (1 - 1e-6), d_max * (1 + 1e-6))


def reciprocal_vectors(unit_cell: UnitCellLike, miller_index: IntArray) -> FloatArray:
    """Reciprocal vectors (1/A) in the Cartesian frame of the Protein Data Bank: x along a, z along c*; (n, 3)."""
    vectors: FloatArray = miller_index @ np.array(unit_cell_from(unit_cell).frac.mat.tolist())
    return vectors


def merged_groups(
    observations: JobObservations,
    scaled: ScaledObservations,
    unit_cell: UnitCellLike,
    space_group: Any,
    *,
    splits: Splits = DEFAULT_SPLITS,
    n_threads: int = 1,
) -> MergedGroups | None:
    """Merge all observations but outliers, absences and those whose scale vanishes; None if nothing is left."""
    rows = ~(scaled.small_scale | observations.absent | scaled.outlier) & (scaled.variance > 0)
    starts = observations.offsets[:-1]
    sizes = np.add.reduceat(rows, starts, dtype=np.int64) if starts.size else np.zeros(0, np.int64)
    number = np.flatnonzero(sizes).astype(np.int64)
    if number.size == 0:
        return None
    g = scaled.g[rows]
    index = np.ascontiguousarray(observations.miller_index[starts[number]])
    offsets = np.concatenate([[0], np.cumsum(sizes[number])]).astype(np.int64)
    chosen = observations.intensity[rows] / g, scaled.variance[rows] / g**2, offsets
    with np.errstate(over="ignore", invalid="ignore"):
        relative = np.clip(scaled.g_variance[rows] / g**2, 0.0, 1.0)
    relative = np.add.reduceat(np.nan_to_num(relative, nan=1.0), offsets[:-1]) / sizes[number]
    return MergedGroups(
        statistics=_core.group_statistics(*chosen, n_threads),
        rows=chosen,
        miller_index=index,
        number=number,
        scale_error=np.sqrt(relative),
        unit_cell=unit_cell,
        space_group=space_group,
        splits=splits,
        n_threads=n_threads,
    )
