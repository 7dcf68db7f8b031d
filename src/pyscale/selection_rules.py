"""The rules that choose groups of equivalents for the minimisation.

Formulas: docs/theory/fitting.md, "The choice of reflections".

Whole groups are chosen: one that lacks some of its observations says less, and one chosen for the values of single
observations says something wrong.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from . import _core
from .connectivity import group_mean_i_over_sigma
from .errors import UsageError
from .observations import JobObservations
from .options import ScalingOptions
from .options.selection import ReflectionSelectionOptions
from .outliers import wilson_mean
from .preparation import UnitCell
from .symmetry import epsilon_and_centric, unit_cell_from
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["METHODS", "Candidates", "make_candidates"]

_logger = logging.getLogger(__name__)

_MORE_THAN_MINIMUM = 1.5
"""Observations of all areas of a shell, relative to the sum of their minima (2018-19)."""
_LEAST_FOR_E2 = 10_000


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Observations and groups that may be chosen.

    Attributes
    ----------
    use : (n,) bool
        Observations of the wanted resolution that a fit may use.
    group : (n,) int64
        Group of the fit that each observation belongs to.
    size, mean_i_over_sigma, d_spacing : (n_groups,)
        Observations in use, their mean I/sigma, and the resolution of each group.
    """

    observations: JobObservations
    options: ScalingOptions
    unit_cell: UnitCell
    space_group: Any
    n_data_sets: int
    n_threads: int
    use: BoolArray
    group: IndexArray
    size: IndexArray
    mean_i_over_sigma: FloatArray
    d_spacing: FloatArray

    @property
    def choice(self) -> ReflectionSelectionOptions:
        """The options of the selection."""
        return self.options.reflection_selection

    @cached_property
    def area(self) -> IntArray:
        """Segment of the direction of each candidate, -1 for others, (n,) int32.

        The direction is that of the diffracted beam in the crystal's frame, which absorption depends on, or that of the
        reciprocal-lattice vector where the model of the data set looks at no beams.
        """
        obs = self.observations
        if obs.s1_crystal.size:
            area = _core.equal_area_segments(np.ascontiguousarray(obs.s1_crystal))
        else:
            area = np.full(len(obs), -1, np.int32)
        missing = np.flatnonzero(area < 0)
        if missing.size:
            to_fractional = np.array(unit_cell_from(self.unit_cell).frac.mat.tolist())
            vectors = obs.miller_index[missing].astype(np.float64) @ to_fractional
            area[missing] = _core.equal_area_segments(np.ascontiguousarray(vectors))
        area[~self.use] = -1
        return area

    def rows_of(self, groups: BoolArray) -> BoolArray:
        """Candidates in some groups, (n,) bool."""
        rows: BoolArray = self.use & groups[self.group]
        return rows


def make_candidates(
    observations: JobObservations,
    options: ScalingOptions,
    unit_cell: UnitCell,
    space_group: Any,
    n_data_sets: int,
    n_threads: int,
) -> Candidates:
    """Collect what may be chosen: usable observations within `reflection_selection.d_range`."""
    offsets = observations.target_offsets
    group = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    d = observations.d_spacing[offsets[:-1]]
    use = observations.usable
    if options.reflection_selection.d_range is not None:
        low, high = sorted(options.reflection_selection.d_range)
        use = use & ((d > low) & (d < high))[group]
    return Candidates(
        observations=observations,
        options=options,
        unit_cell=unit_cell,
        space_group=space_group,
        n_data_sets=n_data_sets,
        n_threads=n_threads,
        use=use,
        group=group,
        size=np.add.reduceat(use.astype(np.int64), offsets[:-1]),
        mean_i_over_sigma=group_mean_i_over_sigma(observations, use),
        d_spacing=d,
    )


def _above(candidates: Candidates, groups: BoolArray, cutoff: float) -> BoolArray:
    """Groups of sufficient mean I/sigma; all of them, with a warning, if none is."""
    strong: BoolArray = groups & (candidates.mean_i_over_sigma > cutoff)
    if strong.any() or not groups.any():
        return strong
    _logger.warning("No group of reflections has a mean I/sigma above %g: the cutoff is ignored", cutoff)
    return groups


def _in_window(values: FloatArray, window: tuple[float, float]) -> BoolArray:
    """Values above the first number and, unless that is 0, below the second."""
    low, high = window
    inside: BoolArray = (values > low) & ((values < high) if high > 0 else True)
    return inside


def _random(candidates: Candidates) -> tuple[BoolArray, str]:
    """Groups drawn by the job's seed until both minima are met."""
    choice = candidates.choice.random
    repeated = candidates.size > 1
    if candidates.n_data_sets > 1:
        groups = np.flatnonzero(_above(candidates, repeated, choice.multi_dataset.Isigma_cutoff))
    else:
        groups = np.flatnonzero(repeated & _in_window(candidates.mean_i_over_sigma, candidates.choice.Isigma_range))
    mean_size = float(candidates.size[groups].mean()) if groups.size else 1.0
    wanted = max(math.ceil(choice.min_reflections / mean_size), choice.min_groups)
    order = np.random.default_rng(candidates.options.scaling_options.seed).permutation(groups.size)
    chosen = np.zeros(candidates.size.size, np.bool_)
    chosen[groups[order[:wanted]]] = True
    reason = f"{min(wanted, groups.size)} of {groups.size} groups of sufficient I/sigma, drawn at random"
    return candidates.rows_of(chosen), reason


def _intensity_ranges(candidates: Candidates) -> tuple[BoolArray, str]:
    """Groups whose mean I/sigma and mean normalised intensity lie in their windows."""
    choice = candidates.choice
    chosen = (candidates.size > 1) & _in_window(candidates.mean_i_over_sigma, choice.Isigma_range)
    reason = f"groups of mean I/sigma {_window(choice.Isigma_range)}"
    if candidates.use.sum() > _LEAST_FOR_E2:
        chosen &= _in_window(_group_mean_e2(candidates), choice.E2_range)
        reason += f" and normalised intensity {_window(choice.E2_range)}"
    else:
        reason += f"; no test of normalised intensities with {_LEAST_FOR_E2} observations or less"
    return candidates.rows_of(chosen), reason


def _window(window: tuple[float, float]) -> str:
    low, high = window
    return f"above {low:g}" if high <= 0 else f"{low:g} to {high:g}"


def _group_mean_e2(candidates: Candidates) -> FloatArray:
    """Mean of I / (epsilon <I / epsilon>) of each group, each data set brought to the mean of its resolutions first."""
    obs, use = candidates.observations, candidates.use
    epsilon, _ = epsilon_and_centric(candidates.space_group, obs.miller_index[use])
    intensity = np.maximum(obs.intensity[use], 0.0) / epsilon
    data_set, n = obs.data_set[use], candidates.n_data_sets
    expected = wilson_mean(intensity, obs.d_spacing[use] ** -2.0)
    scale = np.bincount(data_set, intensity, n) / np.maximum(np.bincount(data_set, expected, n), 1e-300)
    e2 = np.divide(intensity, expected * scale[data_set], out=np.zeros_like(intensity), where=scale[data_set] > 0)
    total = np.bincount(candidates.group[use], e2, candidates.size.size)
    mean: FloatArray = total / np.maximum(candidates.size, 1)
    return mean


def _quasi_random(candidates: Candidates) -> tuple[BoolArray, str]:
    """Groups that cover the directions of each data set evenly in each shell, and groups that link data sets."""
    rows = _within_data_sets(candidates)
    reason = f"equal areas of {_direction_name(candidates)} in resolution shells of each data set"
    if candidates.n_data_sets > 1:
        rows |= candidates.rows_of(_linking_groups(candidates))
        reason += ", and groups that link data sets"
    return rows, reason


def _direction_name(candidates: Candidates) -> str:
    has_beams = candidates.observations.s1_crystal.size > 0
    return (
        "diffracted beams in the crystal's frame" if has_beams else "reciprocal-lattice vectors (no model needs beams)"
    )


def _per_data_set(name: str, values: Sequence[int], n_data_sets: int) -> IndexArray:
    if len(values) not in (1, n_data_sets):
        raise UsageError(
            f"option reflection_selection.quasi_random.{name}: give one number, or one for each of the {n_data_sets} "
            f"data sets, not {len(values)}"
        )
    return np.broadcast_to(np.asarray(values, np.int64), n_data_sets)


def _bins(d_spacing: FloatArray, part: IndexArray, n_bins: IndexArray) -> IndexArray:
    """Shell of equal width in 1/d^2 of each group, from the resolution range and number of shells of its part."""
    x = d_spacing**-2.0
    low, high = np.full(n_bins.size, np.inf), np.full(n_bins.size, -np.inf)
    np.minimum.at(low, part, x)
    np.maximum.at(high, part, x)
    width = np.maximum(high[part] - low[part], 1e-300)
    shell: IndexArray = np.minimum(((x - low[part]) / width * n_bins[part]).astype(np.int64), n_bins[part] - 1)
    return shell


def _within_data_sets(candidates: Candidates) -> BoolArray:
    """Observations of groups with two or more in one data set, chosen to cover areas in shells, (n,) bool."""
    choice, n_data_sets = candidates.choice.quasi_random, candidates.n_data_sets
    min_per_area = _per_data_set("min_per_area", choice.min_per_area, n_data_sets)
    n_bins = _per_data_set("n_resolution_bins", choice.n_resolution_bins, n_data_sets)
    used = np.flatnonzero(candidates.use)
    data_set = candidates.observations.data_set[used].astype(np.int64)
    order = np.argsort(data_set, kind="stable")
    rows, data_set = used[order], data_set[order]
    key = data_set * candidates.size.size + candidates.group[rows]
    first = np.flatnonzero(np.diff(key, prepend=-1) != 0)
    offsets = np.append(first, key.size)
    part = data_set[first]
    repeated = np.diff(offsets) > 1
    stratum = np.full(first.size, -1, np.int32)
    first_bin = np.concatenate([[0], np.cumsum(n_bins)])
    d = candidates.observations.d_spacing[rows[first]]
    stratum[repeated] = first_bin[part[repeated]] + _bins(d[repeated], part[repeated], n_bins)
    minima = np.repeat(min_per_area, n_bins)
    chosen = _core.select_groups(
        np.ascontiguousarray(candidates.area[rows]),
        offsets,
        stratum,
        minima,
        np.ceil(minima * _core.N_SEGMENTS * _MORE_THAN_MINIMUM).astype(np.int64),
        np.zeros(0, np.uint8),
        candidates.n_threads,
    ).view(np.bool_)
    mask = np.zeros(candidates.use.size, np.bool_)
    mask[rows[np.repeat(chosen, np.diff(offsets))]] = True
    return mask


def _linking_groups(candidates: Candidates) -> BoolArray:
    """Groups that link each data set with others, spread over resolution shells, (n_groups,) bool."""
    choice = candidates.choice.quasi_random
    obs, multi = candidates.observations, choice.multi_dataset
    key = np.sort(candidates.group[candidates.use] * candidates.n_data_sets + obs.data_set[candidates.use])
    distinct = key[np.diff(key, prepend=-1) != 0]
    members = np.bincount(distinct // candidates.n_data_sets, minlength=candidates.size.size)
    linking = _above(candidates, members >= multi.min_multiplicity, multi.Isigma_cutoff)
    n_bins = np.array([max(choice.n_resolution_bins)])
    shell = np.full(linking.size, -1, np.int32)
    part = np.zeros(int(linking.sum()), np.int64)
    shell[linking] = _bins(candidates.d_spacing[linking], part, n_bins)
    class_of_row = np.where(candidates.use, obs.data_set, -1).astype(np.int32)
    chosen = np.zeros(0, np.uint8)
    # First in each shell, then what a data set still lacks, from any shell.
    for stratum, minimum in (
        (shell, -(-multi.min_per_dataset // n_bins[0])),
        (np.minimum(shell, 0), multi.min_per_dataset),
    ):
        minima = np.full(int(stratum.max(initial=0)) + 1, minimum, np.int64)
        chosen = _core.select_groups(
            class_of_row, obs.target_offsets, stratum, minima, np.zeros_like(minima), chosen, candidates.n_threads
        )
    return chosen.view(np.bool_)


METHODS: Mapping[str, Callable[[Candidates], tuple[BoolArray, str]]] = {
    "quasi_random": _quasi_random,
    "intensity_ranges": _intensity_ranges,
    "random": _random,
}
"""Rule of each method: from candidates to the chosen observations, (n,) bool, and the reason for the log."""
