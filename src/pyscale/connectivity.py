"""Which data sets have reflections in common, and what it means for the user when they have not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _core
from .dataset import data_set_label
from .errors import DataError
from .observations import JobObservations
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["Connectivity", "find_connectivity", "group_mean_i_over_sigma", "report_connectivity"]

_logger = logging.getLogger(__name__)

_N_SHELLS = 10
_SIGNIFICANT = 1.0
"""Mean I/sigma of a group that tells something of scales."""
_FEW_LINKS = 20
"""Common reflections that an overall scale and B need, ten each."""
_MOST_NAMED, _MOST_COLUMNS = 8, 14


@dataclass(frozen=True, kw_only=True)
class Connectivity:
    """How the data sets of a job are linked by groups of equivalents.

    Attributes
    ----------
    identifiers : tuple of str
    component : (n_data_sets,) int32
        Parts that are linked among themselves, numbered by their first data set.
    limits : (n_shells + 1,) float64
        Resolution limits in Angstrom, low to high resolution, of shells of equal volume.
    unique, linking : (n_shells,) int64
        Groups, and those that more than one data set has.
    shared : (n_data_sets, n_shells) int64
        Groups that a data set has in common with another.
    significant : (n_data_sets,) int64
        Those of them whose mean I/sigma is above 1.
    repeated : (n_data_sets,) int64
        Observations of each data set in groups of two or more.
    """

    identifiers: tuple[str, ...]
    component: IntArray
    limits: FloatArray
    unique: IndexArray
    linking: IndexArray
    shared: IndexArray
    significant: IndexArray
    repeated: IndexArray

    @property
    def n_components(self) -> int:
        """Number of parts."""
        return int(self.component.max()) + 1

    @property
    def weakly_linked(self) -> IndexArray:
        """Data sets with a link, but fewer than 20 significant reflections in common with others, (m,) int64."""
        return np.flatnonzero((self.significant < _FEW_LINKS) & (self.shared.sum(axis=1) > 0))

    def label(self, number: int) -> str:
        """Short name of a data set: its identifier, or where that is long its position as options take it."""
        return data_set_label(self.identifiers[number], number)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "n_components": self.n_components,
            "shells": [
                {"d_max": high, "d_min": low, "n_unique": n, "n_linking": m}
                for high, low, n, m in zip(
                    self.limits[:-1].tolist(),
                    self.limits[1:].tolist(),
                    self.unique.tolist(),
                    self.linking.tolist(),
                    strict=True,
                )
            ],
            "shared": dict(zip(self.identifiers, self.shared.tolist(), strict=True)),
            "weakly_linked": [self.identifiers[k] for k in self.weakly_linked],
            "significant": dict(zip(self.identifiers, self.significant.tolist(), strict=True)),
        }


def group_mean_i_over_sigma(observations: JobObservations, use: BoolArray) -> FloatArray:
    """Mean I/sigma of the unscaled intensities of each group of the fit; 0 without observations.

    Parameters
    ----------
    observations : JobObservations
    use : (n,) bool

    Returns
    -------
    (n_groups,) float64
    """
    starts = observations.target_offsets[:-1]
    ratio = np.where(use, observations.intensity / np.sqrt(observations.variance), 0.0)
    count = np.add.reduceat(use.astype(np.int64), starts)
    mean: FloatArray = np.add.reduceat(ratio, starts) / np.maximum(count, 1)
    return mean


def find_connectivity(observations: JobObservations, identifiers: Sequence[str]) -> Connectivity:
    """Find what links the data sets of a job, among the observations that a fit may use.

    Raises
    ------
    DataError
        If no reflection is measured twice, and there is no reference.
    """
    n_data_sets, offsets = len(identifiers), observations.target_offsets
    use = observations.usable
    size = np.add.reduceat(use.astype(np.int64), offsets[:-1])
    if size.max(initial=0) < 2 and observations.reference is None:
        raise DataError(_nothing_repeated(n_data_sets, int(use.sum())))
    d = observations.d_spacing[offsets[:-1]]
    limits, shell = _shells(d)
    shell[size == 0] = -1
    mask = use.view(np.uint8)
    links = _core.connectivity(observations.data_set, offsets, mask, shell, n_data_sets, _N_SHELLS)
    weak = np.where(group_mean_i_over_sigma(observations, use) > _SIGNIFICANT, shell, -1).astype(np.int32)
    significant = _core.connectivity(observations.data_set, offsets, mask, weak, n_data_sets, _N_SHELLS)
    repeated = use & np.repeat(size > 1, np.diff(offsets))
    return Connectivity(
        identifiers=tuple(identifiers),
        component=links["component"],
        limits=limits,
        unique=np.bincount(shell[shell >= 0], minlength=_N_SHELLS),
        linking=links["linking"],
        shared=links["shared"],
        significant=significant["shared"].sum(axis=1),
        repeated=np.bincount(observations.data_set[repeated], minlength=n_data_sets),
    )


def _shells(d: FloatArray) -> tuple[FloatArray, IntArray]:
    """Limits of shells of equal volume, low to high resolution, and the shell of each resolution."""
    volume = d**-3.0
    edges = np.linspace(volume.min(), volume.max(), _N_SHELLS + 1)
    shell = np.clip(np.searchsorted(edges, volume, side="right") - 1, 0, _N_SHELLS - 1)
    return edges ** (-1.0 / 3.0), shell.astype(np.int32)


def _nothing_repeated(n_data_sets: int, n: int) -> str:
    what = "within the data set" if n_data_sets == 1 else f"within or between the {n_data_sets} data sets"
    return (
        f"no reflection is measured more than once {what} ({n} observations): nothing connects them, and without "
        "symmetry equivalents or common reflections nothing can be scaled: check the space group, or add data that "
        "overlap"
    )


def report_connectivity(found: Connectivity) -> None:
    """Log how the data sets are linked, and warn of parts and of data sets whose scale hangs on little."""
    if len(found.identifiers) == 1:
        return
    _logger.info("Reflections that each data set has in common with others:\n%s", _table(found))
    if found.n_components > 1:
        _warn_of_parts(found)
    alone = np.flatnonzero(found.repeated == 0)
    if alone.size:
        _logger.warning(
            "No reflection of %s is measured twice: nothing determines the scale of %s, so leave %s out "
            "(exclude_datasets), or add data that overlap",
            _named(found, alone),
            *(("it", "it") if alone.size == 1 else ("these data sets", "them")),
        )
    _warn_of_few_links(found)


def _warn_of_parts(found: Connectivity) -> None:
    sizes = np.bincount(found.component)
    order = np.argsort(-sizes, kind="stable")
    shown = "; ".join(
        f"{sizes[k]} data set{'s' if sizes[k] > 1 else ''} ({_list(found, np.flatnonzero(found.component == k))})"
        for k in order[:_MOST_NAMED]
    )
    more = (
        f"; ... {sizes.size - _MOST_NAMED} more of at most {sizes[order[_MOST_NAMED]]}"
        if sizes.size > _MOST_NAMED
        else ""
    )
    _logger.warning(
        "The data sets fall into %d parts without a common reflection: %s%s. Each part is on a scale of its own, so "
        "that intensities of different parts cannot be compared, and merging mixes them: scale the parts in separate "
        "jobs (use_datasets), or add data that overlap with several",
        sizes.size,
        shown,
        more,
    )


def _warn_of_few_links(found: Connectivity) -> None:
    few = found.weakly_linked
    if few.size == 0:
        return
    fewest = few[np.argsort(found.significant[few], kind="stable")][:_MOST_NAMED]
    numbers = ", ".join(f"{found.label(k)}: {found.significant[k]}" for k in fewest.tolist())
    _logger.warning(
        "%s hardly connected: %d of %d unique reflections are in more than one data set, and %d of %d data sets have "
        "fewer than %d reflections with a mean I/sigma above 1 in common with others (%s%s). How their scales relate "
        "to the others' is little more than a guess: add data that overlap, leave them out (exclude_datasets), or fit "
        "less (KB.decay_correction=False)",
        "The data sets are" if 2 * few.size > len(found.identifiers) else "Some data sets are",
        found.linking.sum(),
        found.unique.sum(),
        few.size,
        len(found.identifiers),
        _FEW_LINKS,
        numbers,
        ", ..." if few.size > fewest.size else "",
    )


def _named(found: Connectivity, numbers: IndexArray) -> str:
    return f"data set{'s' if numbers.size > 1 else ''} {_list(found, numbers)}"


def _list(found: Connectivity, numbers: IndexArray) -> str:
    shown = ", ".join(found.label(k) for k in numbers[:_MOST_NAMED].tolist())
    return shown + (", ..." if numbers.size > _MOST_NAMED else "")


def _table(found: Connectivity) -> str:
    """Data sets across and shells down; the least, median and greatest number where data sets are many."""
    n = len(found.identifiers)
    if n <= _MOST_COLUMNS:
        names, columns = [found.label(k) for k in range(n)], found.shared.T
    else:
        names = ["fewest", "median", "most"]
        columns = np.quantile(found.shared, [0.0, 0.5, 1.0], axis=0, method="lower").T
    total = found.shared.sum(axis=1)
    totals = total if n <= _MOST_COLUMNS else np.quantile(total, [0.0, 0.5, 1.0], method="lower")
    head = f"{'d_max':>7}{'d_min':>7}{'unique':>9}{'linking':>9}" + "".join(f"{name:>9}" for name in names)
    rows = [
        (found.limits[k], found.limits[k + 1], found.unique[k], found.linking[k], columns[k]) for k in range(_N_SHELLS)
    ]
    rows.append((found.limits[0], found.limits[-1], found.unique.sum(), found.linking.sum(), totals))
    return "\n".join(
        [head]
        + [f"{a:7.2f}{b:7.2f}{u:9d}{m:9d}" + "".join(f"{int(c):9d}" for c in counts) for a, b, u, m, counts in rows]
    )
