"""Statistics of each data set of a job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..dataset import data_set_label
from ..plain_numbers import plain_list
from ..typing import FloatArray, IndexArray
from .agreement import Agreement, Pairs, divided
from .scaled_data import ScaledData

__all__ = ["ByDataSet", "by_data_set"]

_MAX_LINES = 20
_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class ByDataSet:
    """Statistics of data sets, each array (n_data_sets,); NaN where a data set defines nothing.

    Attributes
    ----------
    identifier : sequence of str
    n_obs, n_unique : int64
        Merged observations and reflections, Friedel mates together.
    completeness, multiplicity : float64
        Of the data set alone; completeness within the resolution limits of the job.
    i_over_sigma : float64
        Mean of I/sigma of observations.
    r_merge_internal : float64
        R_merge of the data set alone.
    r_merge : float64
        sum |I - <I>| / sum I with the means of all data sets.
    cc_rest : float64
        Correlation of its merged intensities with those of all other data sets.
    n_common : int64
        Reflections in it.
    chi_square : float64
        Of its observations about the means of all.
    rejected : float64
        Share of outliers, 0 to 1.
    scale, relative_b : float64
        K and B (A^2) of ln g = ln K + B / (2 d^2).
    """

    identifier: Sequence[str]
    n_obs: IndexArray
    n_unique: IndexArray
    completeness: FloatArray
    multiplicity: FloatArray
    i_over_sigma: FloatArray
    r_merge_internal: FloatArray
    r_merge: FloatArray
    cc_rest: FloatArray
    n_common: IndexArray
    chi_square: FloatArray
    rejected: FloatArray
    scale: FloatArray
    relative_b: FloatArray

    def __len__(self) -> int:
        return len(self.identifier)

    def to_dict(self) -> dict[str, Any]:
        """Columns with a value for each data set."""
        columns = {f.name: plain_list(getattr(self, f.name), _DIGITS) for f in fields(self) if f.name != "identifier"}
        return {"identifier": list(self.identifier), **columns}

    def text(self) -> str:
        """A line for each data set, of very many for the first ones; nothing for a single one."""
        if len(self) < 2:
            return ""
        head = (
            f"{'data set':>12}{'#obs':>9}{'#uniq':>8}{'%comp':>7}{'mult.':>7}{'I/sI':>7}{'r_int':>7}{'r_all':>7}"
            f"{'cc_rest':>9}{'chi^2':>7}{'%rej':>6}{'scale':>9}{'B':>8}"
        )
        lines = ["Statistics by data set (r_int: R_merge of its own; r_all: against all data sets)", head]
        listed = np.arange(len(self))
        if len(self) > _MAX_LINES:
            listed = np.sort(np.argsort(self.cc_rest, kind="stable")[:_MAX_LINES])
            lines[0] += f": the {_MAX_LINES} that agree least with the rest; all {len(self)} are in the JSON file"
        lines += [self._line(k) for k in listed.tolist()]
        return "\n".join(lines)

    def _line(self, k: int) -> str:
        name = data_set_label(self.identifier[k], k)
        return (
            f"{name:>12}{self.n_obs[k]:>9}{self.n_unique[k]:>8}{_number(100 * self.completeness[k], 7, 1)}"
            f"{_number(self.multiplicity[k], 7, 2)}{_number(self.i_over_sigma[k], 7, 1)}"
            f"{_number(self.r_merge_internal[k], 7, 3)}{_number(self.r_merge[k], 7, 3)}{_number(self.cc_rest[k], 9, 3)}"
            f"{_number(self.chi_square[k], 7, 2)}{_number(100 * self.rejected[k], 6, 2)}{_number(self.scale[k], 9, 3)}"
            f"{_number(self.relative_b[k], 8, 2)}"
        )

    def warnings(self) -> list[str]:
        """Return nothing: filtering judges data sets."""
        return []


def _number(value: float, width: int, digits: int) -> str:
    return f"{'-':>{width}}" if math.isnan(value) else f"{value:{width}.{digits}f}"


def by_data_set(data: ScaledData, agreement: Agreement, pairs: Pairs) -> ByDataSet:
    """Compute the statistics of all data sets at once."""
    n = len(data.prepared)
    parts = agreement.over(data.observations.data_set.astype(np.int64), n)
    n_unique = np.bincount(pairs.data_set, minlength=n)
    scale, relative_b = parts.scale_and_b()
    cc_rest, n_common = _correlation_with_the_rest(agreement, pairs, n)
    return ByDataSet(
        identifier=[p.identifier for p in data.prepared],
        n_obs=parts.n_obs,
        n_unique=n_unique,
        completeness=n_unique / max(data.statistics.overall.n_possible, 1),
        multiplicity=divided(parts.n_obs, n_unique),
        i_over_sigma=parts.i_over_sigma(),
        r_merge_internal=_internal_r_merge(agreement, pairs, n),
        r_merge=parts.r_merge(),
        cc_rest=cc_rest,
        n_common=n_common,
        chi_square=parts.chi_square(),
        rejected=parts.rejected(),
        scale=scale,
        relative_b=relative_b,
    )


def _internal_r_merge(agreement: Agreement, pairs: Pairs, n_sets: int) -> FloatArray:
    """R_merge of each data set alone, over reflections that it has twice or more."""
    rows = np.flatnonzero(pairs.of_row >= 0)
    pair = pairs.of_row[rows]
    mean = pairs.sum(agreement.weight * agreement.intensity) / pairs.sum(agreement.weight)
    counted = (pairs.sum() > 1)[pair]
    pair, value = pair[counted], agreement.intensity[rows[counted]]
    data_set = pairs.data_set[pair]
    deviation = np.bincount(data_set, np.abs(value - mean[pair]), n_sets)
    return divided(deviation, np.bincount(data_set, value, n_sets))


def _correlation_with_the_rest(agreement: Agreement, pairs: Pairs, n_sets: int) -> tuple[FloatArray, IndexArray]:
    """Correlation of merged intensities of each data set with the means of all others, and how many they are."""
    weight, total = pairs.sum(agreement.weight), pairs.sum(agreement.weight * agreement.intensity)
    n_groups = int(pairs.group.max()) + 1 if len(pairs) else 0
    other = np.bincount(pairs.group, minlength=n_groups)[pairs.group] > 1
    rest_weight = np.bincount(pairs.group, weight, n_groups)[pairs.group] - weight
    rest = np.bincount(pairs.group, total, n_groups)[pairs.group] - total
    rows = np.flatnonzero(other & (rest_weight > 0))
    parts = agreement.over(pairs.data_set, n_sets)
    cc = parts.pearson(rows, (total / weight)[rows], (rest / np.where(rest_weight > 0, rest_weight, 1.0))[rows])
    return cc, np.bincount(pairs.data_set[rows], minlength=n_sets)
