"""Which observations the model is fitted to: all, or a subset (`reflection_selection.method`).

Outliers, the error model and all statistics use every observation all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import _core
from .connectivity import Connectivity
from .observations import JobObservations
from .options import AUTO, ScalingOptions
from .preparation import UnitCell
from .selection_rules import METHODS, Candidates, make_candidates
from .typing import BoolArray, IndexArray

__all__ = ["ReflectionSelection", "select_reflections"]

_logger = logging.getLogger(__name__)

_PER_PARAMETER = 10
"""Observations that a data set keeps for each parameter of its model."""
_MOST_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class ReflectionSelection:
    """What was chosen for the minimisation, and why.

    Attributes
    ----------
    method : str
        use_all, quasi_random, intensity_ranges or random: what was done.
    reason : str
    usable, selected : (n_data_sets,) int64
        Observations that might be used, and those that are.
    per_area : (n_data_sets, 12) int64 or None
        Selected observations in each segment of the directions; None unless quasi_random.
    completed : list of int
        Data sets of which all observations are used since few were chosen.
    """

    method: str
    reason: str
    usable: IndexArray
    selected: IndexArray
    per_area: IndexArray | None = None
    completed: list[int] = field(default_factory=list)

    def to_dict(self, identifiers: Sequence[str]) -> dict[str, Any]:
        """Plain values for JSON."""
        areas = self.per_area
        return {
            "method": self.method,
            "reason": self.reason,
            "n_usable": int(self.usable.sum()),
            "n_selected": int(self.selected.sum()),
            "datasets": {
                name: {
                    "n_usable": int(self.usable[k]),
                    "n_selected": int(self.selected[k]),
                    "per_area": None if areas is None else areas[k].tolist(),
                }
                for k, name in enumerate(identifiers)
            },
        }


def select_reflections(
    observations: JobObservations,
    connectivity: Connectivity,
    n_parameters: Sequence[int],
    options: ScalingOptions,
    unit_cell: UnitCell,
    space_group: Any,
    n_threads: int = 1,
) -> tuple[JobObservations, ReflectionSelection]:
    """Choose the observations that the models are fitted to.

    The choice depends on unscaled intensities and variances only, is made once, and is the same for any order of rows.

    Parameters
    ----------
    observations : JobObservations
    connectivity : Connectivity
        Of all data sets; a subset that links them less is not taken.
    n_parameters : sequence of int
        Parameters of the model of each data set: those with less than ten observations each keep all.
    options : ScalingOptions
    unit_cell : UnitCell
    space_group : gemmi.SpaceGroup
    n_threads : int

    Returns
    -------
    observations : JobObservations
        With `selected` set.
    selection : ReflectionSelection

    Raises
    ------
    UsageError
        If the options do not fit the number of data sets.
    """
    n_data_sets, usable = len(n_parameters), observations.usable
    counts = np.bincount(observations.data_set[usable], minlength=n_data_sets)
    method = options.reflection_selection.method
    if method is AUTO or method == "use_all":
        reason = "the option" if method == "use_all" else "all observations give the best scales and cost little time"
        selection = ReflectionSelection(method="use_all", reason=reason, usable=counts, selected=counts)
        _logger.info("Using all %d observations for minimisation (%s)", counts.sum(), reason)
        return replace(observations, selected=None), selection
    candidates = make_candidates(observations, options, unit_cell, space_group, n_data_sets, n_threads)
    rows, reason = METHODS[method](candidates)
    rows, completed = _completed(candidates, rows, np.asarray(n_parameters))
    if _is_less_connected(candidates, rows, connectivity):
        _logger.warning("The choice by %s would cut links between data sets: all observations are used", method)
        reason = f"{method} would cut links between data sets"
        selection = ReflectionSelection(method="use_all", reason=reason, usable=counts, selected=counts)
        return replace(observations, selected=None), selection
    selection = ReflectionSelection(
        method=method,
        reason=reason,
        usable=counts,
        selected=np.bincount(observations.data_set[rows], minlength=n_data_sets),
        per_area=_per_area(candidates, rows) if method == "quasi_random" else None,
        completed=completed,
    )
    _log(selection, connectivity)
    return replace(observations, selected=rows), selection


def _completed(candidates: Candidates, rows: BoolArray, n_parameters: IndexArray) -> tuple[BoolArray, list[int]]:
    """Add all groups of data sets of which few observations for each parameter have been chosen."""
    obs = candidates.observations
    n = candidates.n_data_sets
    together = np.bincount(candidates.group[rows], minlength=candidates.size.size) > 1
    counted = np.bincount(obs.data_set[rows & together[candidates.group]], minlength=n)
    few = counted < _PER_PARAMETER * n_parameters
    usable = obs.usable
    wanted = np.zeros(candidates.size.size, np.bool_)
    wanted[candidates.group[usable & few[obs.data_set]]] = True
    rows = rows | (usable & wanted[candidates.group])
    return rows, np.flatnonzero(few).tolist()


def _is_less_connected(candidates: Candidates, rows: BoolArray, connectivity: Connectivity) -> bool:
    obs, n = candidates.observations, candidates.n_data_sets
    shell = np.zeros(candidates.size.size, np.int32)
    found = _core.connectivity(obs.data_set, obs.target_offsets, rows.view(np.uint8), shell, n, 1)
    return int(found["component"].max()) + 1 > connectivity.n_components


def _per_area(candidates: Candidates, rows: BoolArray) -> IndexArray:
    area = candidates.area[rows]
    key = candidates.observations.data_set[rows].astype(np.int64) * _core.N_SEGMENTS + area
    counts = np.bincount(key[area >= 0], minlength=candidates.n_data_sets * _core.N_SEGMENTS)
    return counts.reshape(candidates.n_data_sets, _core.N_SEGMENTS)


def _log(selection: ReflectionSelection, connectivity: Connectivity) -> None:
    _logger.info(
        "Using %d of %d observations for minimisation (%s: %s)",
        selection.selected.sum(),
        selection.usable.sum(),
        selection.method,
        selection.reason,
    )
    areas = selection.per_area
    lines = [f"{'data set':<10}{'usable':>10}{'selected':>10}" + ("" if areas is None else "  per area")]
    for k in range(min(selection.usable.size, _MOST_ROWS)):
        per_area = "" if areas is None else "  " + " ".join(map(str, areas[k].tolist()))
        lines.append(f"{connectivity.label(k):<10}{selection.usable[k]:>10}{selection.selected[k]:>10}{per_area}")
    if selection.usable.size > _MOST_ROWS:
        lines.append(f"... {selection.usable.size - _MOST_ROWS} more")
    _logger.info("Observations that the models are fitted to:\n%s", "\n".join(lines))
    if selection.completed:
        names = ", ".join(connectivity.label(k) for k in selection.completed[:_MOST_ROWS])
        _logger.info(
            "All observations of %d data sets are used, since fewer than %d for each parameter were chosen: %s%s",
            len(selection.completed),
            _PER_PARAMETER,
            names,
            ", ..." if len(selection.completed) > _MOST_ROWS else "",
        )
