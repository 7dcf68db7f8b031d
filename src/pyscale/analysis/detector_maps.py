"""Outliers and mean deviations over the detectors of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..experiment import Experiment
from ..plain_numbers import plain_list
from ..typing import FloatArray, IndexArray
from .cells import DetectorCells, detector_cells
from .detection import RowTerms, cell_sums
from .scaled_data import ScaledData

__all__ = ["DetectorMap", "DetectorMaps", "detector_maps"]

_MOST_DETECTORS, _MOST_PANELS = 4, 256
_FEWEST = 5


@dataclass(frozen=True, kw_only=True)
class DetectorMap:
    """One kind of detector, divided into equal blocks.

    Attributes
    ----------
    n_data_sets : int
        Data sets that were recorded with it.
    size : (float, float)
        Pixels of a panel along x and y.
    placement : (n_panels, 6) float64
        Of a detector of several panels: corner, steps of one pixel along x and along y on the plane of the first
        panel, mm; empty for a single one.
    n_obs, n_rejected : (n_panels, ny, nx) int64
        Observations that have equivalents, and how many of them were rejected.
    mean_deviation : (n_panels, ny, nx) float64
        As in `Parts.mean_deviation`; NaN with fewer than five observations.
    """

    n_data_sets: int
    size: tuple[float, float]
    placement: FloatArray
    n_obs: IndexArray
    n_rejected: IndexArray
    mean_deviation: FloatArray

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the maps one after the other, rows along x."""
        return {
            "n_data_sets": self.n_data_sets,
            "shape": list(self.n_obs.shape),
            "size": list(self.size),
            "placement": [plain_list(p) for p in self.placement],
            "n_obs": plain_list(self.n_obs.ravel()),
            "n_rejected": plain_list(self.n_rejected.ravel()),
            "mean_deviation": plain_list(self.mean_deviation.ravel(), 3),
        }


@dataclass(frozen=True)
class DetectorMaps:
    """Maps of the kinds of detectors of a job, that of most data sets first."""

    maps: tuple[DetectorMap, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"maps": [m.to_dict() for m in self.maps]}

    def text(self) -> str:
        """Return nothing: the report draws it."""
        return ""

    def warnings(self) -> list[str]:
        """Return nothing: the search for regions warns."""
        return []


def detector_maps(data: ScaledData) -> DetectorMaps | None:
    """Sum over the blocks of each kind of detector; None where it is not known where observations were made."""
    terms = RowTerms(data.limited_deviation, np.zeros(len(data)), np.zeros(len(data)), data.scaled.outlier)
    cells = sorted(detector_cells(data, most_apart=0), key=lambda c: -c.data_sets.size)
    maps = [_map(data, c, terms) for c in cells if c.shape[0] <= _MOST_PANELS][:_MOST_DETECTORS]
    maps = [m for m in maps if m.n_obs.any()]
    return DetectorMaps(tuple(maps)) if maps else None


def _map(data: ScaledData, cells: DetectorCells, terms: RowTerms) -> DetectorMap:
    sums = cell_sums(cells.key, terms, cells.n_blocks).map(lambda a: a.reshape(cells.shape))
    return DetectorMap(
        n_data_sets=cells.data_sets.size,
        size=cells.size,
        placement=_placement(data.prepared[int(cells.data_sets[0])].data_set.experiment),
        n_obs=sums.n.astype(np.int64),
        n_rejected=sums.rejected.astype(np.int64),
        mean_deviation=np.where(sums.n >= _FEWEST, sums.mean, np.nan),
    )


def _placement(experiment: Experiment) -> FloatArray:
    panels = experiment.panels
    if len(panels) < 2:
        return np.zeros((0, 6))
    plane = np.array([panels[0]["fast_axis"], panels[0]["slow_axis"]], np.float64)
    found = np.empty((len(panels), 6))
    for k, panel in enumerate(panels):
        steps = [
            np.array(panel[axis], np.float64) * float(pixel)
            for axis, pixel in zip(("fast_axis", "slow_axis"), panel["pixel_size"], strict=True)
        ]
        found[k] = np.concatenate([plane @ v for v in (np.array(panel["origin"], np.float64), *steps)])
    return found
