"""What a job must have so that it can be scaled at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .dataset import Job
from .errors import DataError
from .prepared import PreparedDataSet, blocks_of

__all__ = ["common_space_group", "require_suitable"]


def common_space_group(job: Job) -> Any:
    """The space group of all data sets; DataError where they differ, in setting too."""
    groups = [d.experiment.space_group for d in job.data_sets]
    if all(g is groups[0] for g in groups):
        return groups[0]
    numbers = sorted({g.number for g in groups})
    if len(numbers) > 1:
        listed = ", ".join(f"{d.identifier}: {g.xhm()}" for d, g in zip(job.data_sets, groups, strict=True))
        raise DataError(
            f"the data sets have different space groups ({listed[:300]}); give all the same one, for example with "
            "dials.symmetry or dials.reindex"
        )
    settings = {g.xhm() for g in groups}
    if len(settings) > 1:
        raise DataError(f"the data sets are in different settings of one space group: {', '.join(sorted(settings))}")
    return groups[0]


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
