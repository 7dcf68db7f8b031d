"""Where observations were recorded on the detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..experiment import Experiment
from ..prepared import PreparedRows, blocks_of
from ..typing import FloatArray, IndexArray, IntArray
from .scaled_data import ScaledData

__all__ = ["Places", "block_places", "detector_places", "panel_sizes", "rows_of_blocks"]

_ALL = slice(None)


@dataclass(frozen=True)
class Places:
    """Centroids on the detector.

    Attributes
    ----------
    panel : (n,) int32
        -1 without one.
    x, y : (n,) float64
        Pixels along the panel's fast and slow axis; NaN without them.
    """

    panel: IntArray
    x: FloatArray
    y: FloatArray


def panel_sizes(experiment: Experiment) -> tuple[tuple[float, float], ...]:
    """Pixels of each panel along x and y, 0 where the file does not tell; nothing without a detector."""
    if experiment.detector is None:
        return ()
    sizes = [panel.get("image_size") for panel in experiment.panels]
    return tuple(
        (float(size[0]), float(size[1])) if isinstance(size, (list, tuple)) and len(size) == 2 else (0.0, 0.0)
        for size in sizes
    )


def block_places(block: PreparedRows, rows: slice | IndexArray = _ALL) -> Places:
    """Places of rows of a block; nowhere if there is no detector."""
    centroid = block.table.centroid_column()
    x, y = np.array(centroid[rows, 0]), np.array(centroid[rows, 1])
    column = block.table.get("panel")
    panel = np.zeros(x.size, np.int32) if column is None else np.asarray(column[rows]).astype(np.int32)
    n_panels = np.array([len(panel_sizes(d.experiment)) for d in block.data_sets], np.float64)
    limit = block.spread(n_panels)
    known = np.isfinite(x) & np.isfinite(y) & (panel < (limit[rows] if limit.ndim else limit))
    return Places(np.where(known, panel, -1).astype(np.int32), np.where(known, x, np.nan), np.where(known, y, np.nan))


def rows_of_blocks(
    data: ScaledData, rows: IndexArray | None = None
) -> list[tuple[PreparedRows, IndexArray, IndexArray]]:
    """For each block which of some observations (all: None) are its, as positions in `rows`, and their rows in it."""
    obs = data.observations
    data_set = obs.data_set if rows is None else obs.data_set[rows]
    row = obs.row if rows is None else obs.row[rows]
    blocks = blocks_of(data.prepared)
    start = np.array([p.part.start for p in data.prepared], np.int64)
    number = {id(block): k for k, block in enumerate(blocks)}
    of_data_set = np.array([number[id(p.block)] for p in data.prepared])
    result = []
    for k, block in enumerate(blocks):
        here = np.arange(data_set.size) if len(blocks) == 1 else np.flatnonzero(of_data_set[data_set] == k)
        result.append((block, here, start[data_set[here]] + row[here]))
    return result


def detector_places(data: ScaledData, rows: IndexArray) -> Places:
    """Places of some observations."""
    panel = np.full(rows.size, -1, np.int32)
    x, y = np.full((2, rows.size), np.nan)
    for block, here, row in rows_of_blocks(data, rows):
        places = block_places(block, row)
        panel[here], x[here], y[here] = places.panel, places.x, places.y
    return Places(panel, x, y)
