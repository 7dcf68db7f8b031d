"""How observations agree with the merged means of their groups, and sums of that over parts of the data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..progress import checkpoint
from ..typing import BoolArray, FloatArray, IndexArray
from .scaled_data import ScaledData

__all__ = ["Agreement", "Pairs", "divided"]


def divided(a: FloatArray | IndexArray, b: FloatArray | IndexArray) -> FloatArray:
    """Quotient, NaN where the divisor is not positive."""
    result: FloatArray = np.divide(a, b, out=np.full(np.shape(a), np.nan), where=np.asarray(b) > 0)
    return result


class Agreement:
    """Merged observations against the weighted means of the groups that the fit used; n rows, k parts."""

    def __init__(self, data: ScaledData) -> None:
        self.data = data
        self.offsets = data.observations.target_offsets
        self.merged = data.merged
        self.weight = np.where(self.merged, 1.0 / np.where(data.variance > 0, data.variance, np.inf), 0.0)
        self.intensity = np.where(self.merged, data.intensity, 0.0)
        self._group = np.repeat(np.arange(self.offsets.size - 1), np.diff(self.offsets))

    def _of_group(self, values: FloatArray) -> FloatArray:
        """Sum over each row's group."""
        checkpoint()
        total: FloatArray = np.add.reduceat(values, self.offsets[:-1])[self._group]
        return total

    @cached_property
    def group_weight(self) -> FloatArray:
        """Sum of the weights of the row's group, (n,) float64."""
        return self._of_group(self.weight)

    @cached_property
    def group_sum(self) -> FloatArray:
        """Sum of weight * intensity of the row's group, (n,) float64."""
        return self._of_group(self.weight * self.intensity)

    @cached_property
    def rows(self) -> IndexArray:
        """Merged observations whose group has another one, (m,) int64."""
        has_other = self.group_weight > self.weight * (1 + 1e-12)
        return np.flatnonzero(self.merged & has_other)

    @cached_property
    def deviation(self) -> FloatArray:
        """|I - <I>| of `rows`, (m,) float64."""
        rows = self.rows
        deviation: FloatArray = np.abs(self.intensity[rows] - self.group_sum[rows] / self.group_weight[rows])
        return deviation

    def over(self, part: IndexArray, n_parts: int) -> Parts:
        """Agreement by part, (n,) int64; negative: left out."""
        return Parts(self, part, n_parts)


@dataclass(frozen=True)
class Parts:
    """Sums over parts of the data; all results are (k,) arrays, NaN where a part defines nothing."""

    agreement: Agreement
    part: IndexArray
    n: int

    def _sum(self, rows: IndexArray | BoolArray, values: FloatArray | None = None) -> FloatArray:
        checkpoint()
        part = self.part[rows]
        inside = part >= 0
        if not inside.all():
            part, values = part[inside], None if values is None else values[inside]
        return np.bincount(part, values, self.n).astype(np.float64)

    @cached_property
    def n_obs(self) -> IndexArray:
        """Merged observations."""
        return self._sum(self.agreement.merged).astype(np.int64)

    def rejected(self) -> FloatArray:
        """Share of outliers, 0 to 1."""
        n = self._sum(self.agreement.data.scaled.outlier & ~self.agreement.data.observations.absent)
        return divided(n, n + self.n_obs)

    def mean_deviation(self) -> FloatArray:
        """Mean of (I - mean of the others of the group) / sigma of that, limited to +-4, outliers included."""
        deviation = self.agreement.data.limited_deviation
        rows = np.flatnonzero(np.isfinite(deviation))
        return divided(self._sum(rows, deviation[rows]), self._sum(rows))

    def i_over_sigma(self) -> FloatArray:
        """Mean of I/sigma of merged observations."""
        a = self.agreement
        return divided(self._sum(a.merged, (a.intensity * np.sqrt(a.weight))[a.merged]), self.n_obs)

    def r_merge(self) -> FloatArray:
        """sum |I - <I>| / sum I over observations whose group has another one, <I> over all data sets."""
        a = self.agreement
        return divided(self._sum(a.rows, a.deviation), self._sum(a.rows, a.intensity[a.rows]))

    def chi_square(self) -> FloatArray:
        """sum w (I - <I>)^2 / sum (1 - w / W): its expectation is 1, since an observation is in its own mean."""
        a = self.agreement
        w = a.weight[a.rows]
        return divided(self._sum(a.rows, w * a.deviation**2), self._sum(a.rows, 1.0 - w / a.group_weight[a.rows]))

    def correlation(self) -> FloatArray:
        """Pearson correlation of observations with the weighted mean of the others of their group."""
        a = self.agreement
        rows = a.rows
        w = a.weight[rows]
        x = a.intensity[rows]
        return self.pearson(rows, x, (a.group_sum[rows] - w * x) / (a.group_weight[rows] - w))

    def pearson(self, rows: IndexArray, x: FloatArray, y: FloatArray) -> FloatArray:
        """Correlation by part of values that belong to rows."""
        n = self._sum(rows)
        mean = x.mean() if x.size else 0.0
        x, y = x - mean, y - mean
        sx, sy = self._sum(rows, x), self._sum(rows, y)
        xx, yy, xy = (self._sum(rows, v) for v in (x * x, y * y, x * y))
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.sqrt((xx - sx**2 / n) * (yy - sy**2 / n))
            result = divided(xy - sx * sy / n, spread)
        return np.where(n > 2, np.clip(result, -1.0, 1.0), np.nan)

    def scale_and_b(self) -> tuple[FloatArray, FloatArray]:
        """K and B of the least-squares fit ln g = ln K + B / (2 d^2) over the part's observations."""
        data = self.agreement.data
        rows = np.flatnonzero(~data.scaled.small_scale)
        x = 0.5 / data.observations.d_spacing[rows] ** 2
        y = np.log(data.scaled.g[rows])
        n = np.maximum(self._sum(rows), 1.0)
        mean_x, mean_y = self._sum(rows, x) / n, self._sum(rows, y) / n
        part = np.maximum(self.part[rows], 0)
        x, y = x - mean_x[part], y - mean_y[part]
        xx = self._sum(rows, x * x)
        b = np.divide(self._sum(rows, x * y), xx, out=np.full(self.n, np.nan), where=xx > 1e-12 * n * mean_x**2)
        counted = self._sum(rows) > 0
        return np.where(counted, np.exp(mean_y - np.nan_to_num(b) * mean_x), np.nan), b


@dataclass(frozen=True)
class Pairs:
    """Reflections of each data set: (group, data set) pairs that have merged observations, p of them.

    Attributes
    ----------
    data_set : (p,) int64
    group : (p,) int64
    of_row : (n,) int64
        Pair of each row; rows that are not merged may be of no listed pair: -1.
    """

    data_set: IndexArray
    group: IndexArray
    of_row: IndexArray

    @classmethod
    def of(cls, data: ScaledData) -> Pairs:
        """Find the pairs, groups with Friedel mates together."""
        rows = np.flatnonzero(data.merged)
        n_sets = len(data.prepared)
        key = data.observations.group[rows] * n_sets + data.observations.data_set[rows]
        # Each half of a group is in order already, which a stable sort makes use of.
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.ones(key.size, np.bool_)
        first[1:] = key[1:] != key[:-1]
        of_row = np.full(len(data), -1, np.int64)
        of_row[rows[order]] = np.cumsum(first) - 1
        group, data_set = np.divmod(key[first], n_sets)
        return cls(data_set, group, of_row)

    def __len__(self) -> int:
        return int(self.data_set.size)

    def sum(self, values: FloatArray | None = None) -> FloatArray:
        """Sum of values of rows, or number of rows, by pair, (p,) float64."""
        inside = self.of_row >= 0
        return np.bincount(self.of_row[inside], None if values is None else values[inside], len(self)).astype(float)

    def first(self, values: FloatArray) -> FloatArray:
        """Least value of the rows of each pair, (p,) float64."""
        inside = self.of_row >= 0
        least = np.full(len(self), np.inf)
        np.minimum.at(least, self.of_row[inside], values[inside])
        return least
