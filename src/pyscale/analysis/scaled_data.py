"""The scaled observations as analyses look at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..merging import SortedObservations, sorted_rows
from ..outliers import compare_with_others
from ..typing import BoolArray, FloatArray, IndexArray, IntArray
from .normalised import NormalisedIntensities, normalise

if TYPE_CHECKING:
    from ..data_limits import DataLimits
    from ..fitting import FitResult
    from ..observations import JobObservations
    from ..options import ScalingOptions
    from ..output_table import ScaledObservations
    from ..prepared import PreparedDataSet
    from ..statistics import MergingStatistics
    from ..symmetry import UnitCellLike

__all__ = ["LARGEST_DEVIATION", "ScaledData"]

LARGEST_DEVIATION = 4.0
"""Standard deviations to which deviations are limited where they are averaged."""


@dataclass(frozen=True, kw_only=True)
class ScaledData:
    """All observations that were scaled, sorted by group (`observations.offsets`: Friedel mates together).

    Attributes
    ----------
    fit : FitResult
    scaled : ScaledObservations
        What the fit says of each.
    statistics : MergingStatistics
        Of those that are merged.
    limits : DataLimits
        Resolution limits that the data give, and those applied.
    prepared : sequence of PreparedDataSet
        Tables and experiments of the data sets, by the numbers in `observations.data_set`.
    unit_cell, space_group
        Of the job.
    options : ScalingOptions
    n_threads : int
    """

    fit: FitResult
    scaled: ScaledObservations
    statistics: MergingStatistics
    limits: DataLimits
    prepared: Sequence[PreparedDataSet]
    unit_cell: UnitCellLike
    space_group: Any
    options: ScalingOptions
    n_threads: int

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def observations(self) -> JobObservations:
        """Where each was made, its indices and groups."""
        return self.fit.observations

    @cached_property
    def merged(self) -> BoolArray:
        """Rows that are merged: no outliers, absences or vanishing scales, none beyond the data's limits, (n,) bool."""
        return self.scaled.merged(self.observations.absent)

    @cached_property
    def comparison(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean of the merged others of each row's group in the fit, sigma and deviation: `compare_with_others`."""
        return self.compare(self.merged)

    @cached_property
    def limited_deviation(self) -> FloatArray:
        """Deviations of `comparison`, limited, (n,) float64; NaN for rows without others."""
        return np.clip(self.comparison[2], -LARGEST_DEVIATION, LARGEST_DEVIATION)

    def compare(self, merged: BoolArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Compare with the means of other rows (n,) than those that are merged."""
        # Not the variances of `scaled`, which are enlarged where pairs disagree.
        variance = self.fit.sigma_squared
        weight = np.where(self.scaled.small_scale | self.observations.absent, 0.0, 1.0 / variance)
        return compare_with_others(
            self.observations.intensity,
            weight,
            self.scaled.g,
            self.observations.target_offsets,
            merged,
            n_threads=self.n_threads,
        )

    @cached_property
    def intensity(self) -> FloatArray:
        """I/g, (n,) float64; 0 where g vanishes."""
        return self._over_scale(self.observations.intensity, 1)

    @cached_property
    def variance(self) -> FloatArray:
        """sigma'^2/g^2, the statistical variance of I/g, (n,) float64; 0 where g vanishes."""
        return self._over_scale(self.scaled.variance, 2)

    @cached_property
    def expected(self) -> FloatArray:
        """I_h, the weighted mean of each row's group, (n,) float64; 0 where g vanishes."""
        return self._over_scale(self.fit.expected, 1)

    def _over_scale(self, values: FloatArray, power: int) -> FloatArray:
        usable = ~self.scaled.small_scale
        result: FloatArray = np.divide(values, self.scaled.g**power, out=np.zeros_like(values), where=usable)
        return result

    @property
    def miller_index(self) -> IntArray:
        """Index as observed, (n, 3) int32."""
        return self.observations.miller_index

    @property
    def offsets(self) -> IndexArray:
        """First row of each group, Friedel mates together, (n_groups + 1,) int64."""
        return self.observations.offsets

    def sorted_observations(self, rows: BoolArray) -> SortedObservations:
        """Scaled observations of some rows (n,) bool, as they are merged."""
        observations = self.observations
        return sorted_rows(
            rows & ~self.scaled.small_scale,
            self.miller_index,
            self.intensity,
            self.variance,
            observations.anomalous_offsets,
            self.space_group,
            self.n_threads,
        )

    @cached_property
    def merged_observations(self) -> SortedObservations:
        """The rows that are merged, sorted by group."""
        return self.sorted_observations(self.merged)

    @cached_property
    def normalised(self) -> NormalisedIntensities:
        """Merged intensities, Friedel mates together, relative to the mean at their resolution and direction."""
        return normalise(self.merged_observations, self.unit_cell, self.space_group, self.n_threads)
