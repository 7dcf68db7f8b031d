"""Where the parameters of data sets are among those of a job."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .components import ComponentModel
from .joint_model import JointModel
from .local_covariance import BlockLayout
from .scaling_model import DataSetModel
from .typing import IndexArray

__all__ = ["parameter_numbers"]


def parameter_numbers(
    models: Sequence[DataSetModel], layout: BlockLayout
) -> list[list[tuple[ComponentModel, IndexArray]]]:
    """Components of the first data sets of a job, each with the numbers of its parameters among those of the job.

    Parameters
    ----------
    models : sequence of DataSetModel
        The first ones, or all, in the order of the fit.
    layout : BlockLayout
        Of the whole job.
    """
    found: list[list[tuple[ComponentModel, IndexArray]]] = [[] for _ in models]
    # Shared parameters follow those of all data sets, in the order of their first ones.
    moved = layout.shared[0] - (int(layout.own[len(models) - 1, 1]) if models else 0)
    for p in JointModel(models).placed():
        numbers = np.arange(p.place.start, p.place.stop, dtype=np.int64)
        found[p.data_set].append((p.component, numbers + moved if p.component.shared else numbers))
    return found
