"""What a job must have so that it can be scaled at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .dataset import Job
from .errors import DataError
from .experiment import Experiment
from .options import ScalingOptions
from .prepared import PreparedDataSet, blocks_of
from .unit_cells import unit_cells

__all__ = ["common_space_group", "require_like_cells", "require_suitable"]

_LENGTH_TOLERANCE, _ANGLE_TOLERANCE_DEG = 0.1, 5.0
"""How much cells of one crystal form differ at most: relative, degrees."""


def common_space_group(job: Job) -> Any:
    """The space group of all data sets; DataError where they differ, in setting too."""
    groups = [d.experiment.space_group for d in job.data_sets]
    if all(g is groups[0] for g in groups):
        return groups[0]
    numbers = sorted({g.number for g in groups})
    if len(numbers) > 1:
        listed = ", ".join(f"{d.identifier}: {g.xhm()}" for d, g in zip(job.data_sets, groups, strict=True))
        raise DataError(
            f"the data sets have different space groups ({listed[:300]}); give all the same one, with "
            "space_group= if the point group is the same, or for example with dials.symmetry or dials.reindex"
        )
    settings = {g.xhm() for g in groups}
    if len(settings) > 1:
        raise DataError(f"the data sets are in different settings of one space group: {', '.join(sorted(settings))}")
    return groups[0]


def require_like_cells(job: Job, options: ScalingOptions) -> None:
    """Raise DataError where files of other programs have a cell that is clearly not that of the other files.

    Cells are the medians of the data sets of a file; a cell in the options overrides them all.
    """
    if not job.input_decisions or options.input.unit_cell or options.reflection_selection.best_unit_cell:
        return
    files: dict[str, list[Experiment]] = {}
    for d in job.data_sets:
        files.setdefault(d.reflections.source, []).append(d.experiment)
    if len(files) == 1:
        return
    cells = {source: np.median(unit_cells(experiments), axis=0) for source, experiments in files.items()}
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
    for block in blocks:
        n_suitable = np.diff(np.concatenate([[0], np.cumsum(block.suitable)])[block.offsets])
        if (n_suitable == 0).any():
            p = PreparedDataSet(block, int(np.argmin(n_suitable)))
            listed = ", ".join(f"{fate.reason}: {int(fate.rows.sum())}" for fate in p.fates)
            raise DataError(
                f"{p.table.source}: no reflection of data set {p.identifier} can be scaled "
                f"(rows read {p.n_read}; {listed})"
            )
    if not any((b.chosen[0][b.suitable] > 0).any() for b in blocks):
        sources = ", ".join(sorted({p.table.source for p in prepared}))
        raise DataError(f"{sources[:300]}: no intensity is positive: nothing determines the scales")
