"""Statistics of each data set in resolution shells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..plain_numbers import plain_list
from ..typing import FloatArray, IndexArray
from .agreement import Agreement, Pairs, divided
from .scaled_data import ScaledData

__all__ = ["ByShell", "by_shell"]

_MOST_SHELLS, _MOST_DATA_SETS = 10, 1000
_DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class ByShell:
    """Statistics by data set and shell, each array (n_data_sets, n_shells); NaN where nothing is defined.

    Attributes
    ----------
    identifier : sequence of str
    d_max, d_min : (n_shells,) float64
        Angstrom, from low to high resolution: the shells of the merging statistics, neighbours joined if these are
        many.
    n_obs : int64
        Merged observations.
    completeness : float64
        Of the data set alone, 0 to 1.
    i_over_sigma : float64
        Mean of I/sigma of observations.
    r_merge : float64
        sum |I - <I>| / sum I with the means of all data sets.
    cc : float64
        Correlation of observations with the mean of the others of their group.
    """

    identifier: Sequence[str]
    d_max: FloatArray
    d_min: FloatArray
    n_obs: IndexArray
    completeness: FloatArray
    i_over_sigma: FloatArray
    r_merge: FloatArray
    cc: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Shells, and for each quantity a row for each data set."""
        names = [f.name for f in fields(self) if f.name not in ("identifier", "d_max", "d_min")]
        return {
            "identifier": list(self.identifier),
            "d_max": plain_list(self.d_max),
            "d_min": plain_list(self.d_min),
            **{name: [plain_list(row, _DIGITS) for row in getattr(self, name)] for name in names},
        }

    def text(self) -> str:
        """Return nothing: the report draws it."""
        return ""

    def warnings(self) -> list[str]:
        """Return nothing: filtering judges data sets."""
        return []


def by_shell(data: ScaledData, agreement: Agreement, pairs: Pairs) -> ByShell | None:
    """Compute the statistics of all data sets and shells at once; None for one data set, or more than 1000."""
    n_sets = len(data.prepared)
    if not 1 < n_sets <= _MOST_DATA_SETS:
        return None
    shells = data.statistics.shells
    first = np.unique(np.linspace(0, len(shells), min(len(shells), _MOST_SHELLS) + 1).astype(np.int64))
    n_shells = first.size - 1
    d_max = np.array([shells[k].d_max for k in first[:-1].tolist()])
    d_min = np.array([shells[k - 1].d_min for k in first[1:].tolist()])
    possible = np.add.reduceat([s.n_possible for s in shells], first[:-1])
    shell = np.clip(np.searchsorted(-d_min, -data.observations.d_spacing), 0, n_shells - 1)
    part = data.observations.data_set.astype(np.int64) * n_shells + shell
    parts = agreement.over(part, n_sets * n_shells)
    # Equivalents have one resolution: any row of a pair tells its part.
    of_pair = np.zeros(len(pairs), np.int64)
    inside = pairs.of_row >= 0
    of_pair[pairs.of_row[inside]] = part[inside]
    n_unique = np.bincount(of_pair, minlength=n_sets * n_shells).reshape(n_sets, n_shells)

    def table(values: FloatArray) -> FloatArray:
        return values.reshape(n_sets, n_shells)

    return ByShell(
        identifier=[p.identifier for p in data.prepared],
        d_max=d_max,
        d_min=d_min,
        n_obs=parts.n_obs.reshape(n_sets, n_shells),
        completeness=divided(n_unique, np.broadcast_to(possible, n_unique.shape)),
        i_over_sigma=table(parts.i_over_sigma()),
        r_merge=table(parts.r_merge()),
        cc=table(parts.correlation()),
    )
