"""Relative transmission: the range of the absorption that scaling models correct for, over the observations."""

from __future__ import annotations

import numpy as np

from .dataset import DataSet
from .evaluation import ModelOnRows, read_model
from .export_rows import ExportRows
from .model_frame import surface_frame
from .typing import BoolArray, FloatArray

__all__ = ["relative_transmission"]


def relative_transmission(rows: ExportRows) -> tuple[float, float] | None:
    """Least and largest transmission of the accepted observations, relative to the largest, which is 1.

    The absorption factor of g is what the crystal, and all that turns with it, lets through of an observation, up to a
    constant factor of each surface; data sets are compared with themselves only, and the widest range is that of
    the job.

    Returns
    -------
    (T_min, T_max) or None
        None where no model has an absorption surface.

    Raises
    ------
    DataError
        If a stored model cannot be evaluated.
    """
    ranges = [
        _range(data_set, rows, k) for k, data_set in enumerate(rows.job.data_sets) if data_set.experiment.scaling_model
    ]
    known = [r for r in ranges if r is not None]
    return (min(known), 1.0) if known else None


def _range(data_set: DataSet, rows: ExportRows, number: int) -> float | None:
    """Smallest over largest absorption factor of the observations of a data set; None without a surface."""
    where = f"data set {data_set.identifier}"
    model = read_model(data_set.experiment, where)
    if not model.has_absorption:
        return None
    table = rows.accepted.table.select(rows.accepted.data_set == number)
    if len(table) == 0:
        return None
    frame = surface_frame(data_set.experiment)
    whole = ModelOnRows(data_set, model, rows.unit_cell, rows.n_threads)
    frame = whole.checked_frame(frame)
    surface = model.with_components([c for c in model.components if c.kind == "absorption"])
    here = DataSet(data_set.identifier, data_set.experiment, data_set.experiment_index, table)
    factors = _factors(ModelOnRows(here, surface, rows.unit_cell, rows.n_threads), frame.legacy)
    return float(factors.min() / factors.max()) if factors.size else None


def _factors(surface: ModelOnRows, legacy: bool) -> FloatArray:
    evaluated: BoolArray = surface.rows
    factors = surface.scales(evaluated, legacy) if evaluated.any() else np.zeros(0)
    return factors[np.isfinite(factors) & (factors > 0)]
