"""What a job must have so that it can be scaled at all."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from .dataset import Job
from .errors import DataError
from .experiment import Experiment
from .options import ScalingOptions
from .prepared import PreparedDataSet, blocks_of
from .reflections import ReflectionTable
from .space_group import keeps_cell
from .typing import FloatArray
from .unit_cells import unit_cells

__all__ = ["checked_space_group", "common_space_group", "require_like_cells", "require_suitable"]

_logger = logging.getLogger(__name__)

_SYMMETRY_TOLERANCE = 0.1
"""How far a cell may be from the symmetry of a space group: of squared lengths, and of cosines."""
_MOST_NAMED = 10
_LENGTH_TOLERANCE, _ANGLE_TOLERANCE_DEG = 0.1, 5.0
"""How much cells of one crystal form differ at most: relative, degrees."""


def common_space_group(job: Job) -> Any:
    """The space group of all data sets; DataError where they differ, in setting too."""
    groups = [d.experiment.space_group for d in job.data_sets]
    if all(g is groups[0] for g in groups):
        return groups[0]
    numbers = sorted({g.number for g in groups})
    if len(numbers) > 1:
        raise DataError(
            f"the data sets have different space groups ({_listed_groups(job)}); give all the same one, with "
            "space_group= if the point group is the same, or for example with dials.symmetry or dials.reindex"
        )
    settings = {g.xhm() for g in groups}
    if len(settings) > 1:
        raise DataError(f"the data sets are in different settings of one space group: {', '.join(sorted(settings))}")
    return groups[0]


def _listed_groups(job: Job) -> str:
    """Space groups, each with the first data set that has it, and how many more do."""
    members: dict[str, list[str]] = {}
    for d in job.data_sets:
        members.setdefault(d.experiment.space_group.xhm(), []).append(d.identifier)
    others = {group: f" and {len(names) - 1} more" if len(names) > 1 else "" for group, names in members.items()}
    return ", ".join(f"{names[0]}{others[group]}: {group}" for group, names in members.items())[:300]


def checked_space_group(job: Job, options: ScalingOptions) -> Any:
    """The space group of all data sets, if their cells go together and with it; copies of data sets are told.

    Raises
    ------
    DataError
        If space groups or cells differ, or a cell of another program's file does not go with the space group.
    """
    space_group = common_space_group(job)
    require_like_cells(job, options)
    _require_fitting_cells(job, space_group)
    _warn_of_copies(job)
    return space_group


def _require_fitting_cells(job: Job, space_group: Any) -> None:
    """Raise DataError where a file of another program has a cell that the space group does not allow."""
    if not job.input_decisions:
        return
    for source, cell in _cells_of_files(job).items():
        if not keeps_cell(space_group, tuple(cell.tolist()), _SYMMETRY_TOLERANCE):
            raise DataError(
                f"{source}: the unit cell {' '.join(f'{x:.2f}' for x in cell)} does not go with space group "
                f"{space_group.xhm()} ({space_group.crystal_system_str()}): give another space_group=, or unit_cell="
            )


def _warn_of_copies(job: Job) -> None:
    """Warn of data sets that hold what an earlier one of the same identifier holds."""
    first = {d.identifier: d.reflections for d in job.data_sets}
    copies = [
        (old, new)
        for old, new in job.identifier_changes
        if old in first and new in first and _same_reflections(first[old], first[new])
    ]
    if copies:
        old, new = copies[0]
        others = f", and {len(copies) - 1} more are copies of others" if len(copies) > 1 else ""
        _logger.warning(
            "Data set %s is a copy of %s%s: the same data twice make statistics look better and sigmas smaller than "
            "they are; give each file once",
            new,
            old,
            others,
        )


def _same_reflections(a: ReflectionTable, b: ReflectionTable) -> bool:
    names = [n for n in ("miller_index", "intensity.sum.value", "intensity.prf.value") if n in a or n in b]
    return len(a) == len(b) and all(n in a and n in b and np.array_equal(a[n], b[n], equal_nan=True) for n in names)


def _cells_of_files(job: Job) -> dict[str, FloatArray]:
    """Median cell (Å, degrees) of the data sets of each file."""
    files: dict[str, list[Experiment]] = {}
    for d in job.data_sets:
        files.setdefault(d.reflections.source, []).append(d.experiment)
    return {source: np.median(unit_cells(experiments), axis=0) for source, experiments in files.items()}


def require_like_cells(job: Job, options: ScalingOptions) -> None:
    """Raise DataError where files of other programs have a cell that is clearly not that of the other files.

    Cells are the medians of the data sets of a file; a cell in the options overrides them all.
    """
    if not job.input_decisions or options.input.unit_cell or options.reflection_selection.best_unit_cell:
        return
    cells = _cells_of_files(job)
    first, reference = next(iter(cells.items()))
    for source, cell in cells.items():
        lengths, angles = np.abs(cell[:3] / reference[:3] - 1.0), np.abs(cell[3:] - reference[3:])
        if (lengths > _LENGTH_TOLERANCE).any() or (angles > _ANGLE_TOLERANCE_DEG).any():
            shown = [" ".join(f"{x:.2f}" for x in values) for values in (cell, reference)]
            raise DataError(
                f"{source}: the unit cell {shown[0]} is not that of {first} ({shown[1]}): scale them apart, index them "
                "alike, or give unit_cell= for all"
            )


def require_suitable(prepared: Sequence[PreparedDataSet]) -> None:
    """Raise DataError for data sets without a reflection to scale, with the reasons why they went."""
    blocks = blocks_of(prepared)
    empty: list[PreparedDataSet] = []
    for block in blocks:
        n_suitable = np.diff(np.concatenate([[0], np.cumsum(block.suitable)])[block.offsets])
        empty += [PreparedDataSet(block, k) for k in np.flatnonzero(n_suitable == 0).tolist()]
    if empty:
        p = empty[0]
        more = f", nor of {len(empty) - 1} more" if len(empty) > 1 else ""
        listed = ", ".join(f"{fate.reason}: {int(fate.rows.sum())}" for fate in p.fates)
        names = ",".join(e.identifier for e in empty[:_MOST_NAMED]) + (",..." if len(empty) > _MOST_NAMED else "")
        leave_out = f"; leave out with exclude_datasets={names}" if len(empty) < len(prepared) else ""
        raise DataError(
            f"{p.table.source}: no reflection of data set {p.identifier} can be scaled (rows read {p.n_read}; "
            f"{listed}){more}{leave_out}"
        )
    if not any((b.chosen[0][b.suitable] > 0).any() for b in blocks):
        sources = ", ".join(sorted({p.table.source for p in prepared}))
        raise DataError(f"{sources[:300]}: no intensity is positive: nothing determines the scales")
