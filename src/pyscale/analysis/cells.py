"""Cells in which deviations are averaged: of the detector, of rotation, of resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..typing import FloatArray, IndexArray, IntArray
from .places import block_places, panel_sizes, rows_of_blocks
from .scaled_data import ScaledData

__all__ = ["DetectorCells", "ImageCells", "Rings", "detector_cells", "image_cells", "resolution_rings"]

_ROWS_PER_CELL = 80
_ROWS_PER_RANGE = 100
_ROWS_PER_RING = 100
_CELLS = (16, 576)
_NARROWEST_RING = 0.003
_MOST_RINGS = 1000
MOST_APART = 64
"""Data sets up to which each has a map of the detector of its own."""


@dataclass(frozen=True)
class DetectorCells:
    """Blocks of the panels of detectors that are alike.

    Attributes
    ----------
    data_sets : (m,) int64
        Numbers of the data sets that were recorded with such a detector.
    shape : (int, int, int)
        Panels, and blocks of each along y and x.
    size : (int, int)
        Pixels of a panel along x and y.
    key : (n,) int32
        Map times number of blocks plus block of each observation, -1 elsewhere.
    n_maps : int
        One for each data set, or one for all.
    """

    data_sets: IndexArray
    shape: tuple[int, int, int]
    size: tuple[float, float]
    key: IntArray
    n_maps: int

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return math.prod(self.shape)

    def limits(self, rows: slice, columns: slice) -> tuple[int, int, int, int]:
        """Pixels of a rectangle of blocks: x_min, x_max, y_min, y_max."""
        _, ny, nx = self.shape
        w, h = self.size
        return (
            math.floor(columns.start * w / nx),
            math.ceil(columns.stop * w / nx),
            math.floor(rows.start * h / ny),
            math.ceil(rows.stop * h / ny),
        )


@dataclass(frozen=True)
class ImageCells:
    """Ranges of images of the sweeps, one sweep after the other.

    Attributes
    ----------
    data_sets : (m,) int64
    offsets : (m + 1,) int64
        First range of each.
    width : (m,) int64
        Images of a range.
    first, last : (m,) int64
        Image numbers of the scan.
    key : (n,) int32
    """

    data_sets: IndexArray
    offsets: IndexArray
    width: IndexArray
    first: IndexArray
    last: IndexArray
    key: IntArray

    def images(self, sweep: int, ranges: slice) -> tuple[int, int]:
        """First and last image of ranges of a sweep, inclusive."""
        first, width = int(self.first[sweep]), int(self.width[sweep])
        last = min(first + ranges.stop * width - 1, int(self.last[sweep]))
        return first + ranges.start * width, last


@dataclass(frozen=True)
class Rings:
    """Narrow rings of equal width in 1/d.

    Attributes
    ----------
    edges : (n_rings + 1,) float64
        1/d, rising, 1/Angstrom.
    key : (n,) int32
    """

    edges: FloatArray
    key: IntArray


def detector_cells(data: ScaledData, most_apart: int = MOST_APART) -> list[DetectorCells]:
    """Divide each kind of detector, of panels of one size, into blocks with enough observations.

    Each data set has a map of its own unless there are more than `most_apart`.
    """
    kinds: dict[tuple[tuple[float, float], ...], list[int]] = {}
    for k, p in enumerate(data.prepared):
        sizes = panel_sizes(p.data_set.experiment)
        if sizes and len(set(sizes)) == 1 and min(sizes[0]) > 0:
            kinds.setdefault(sizes, []).append(k)
    counts = np.bincount(data.observations.data_set, minlength=len(data.prepared))
    found = []
    for sizes, numbers in kinds.items():
        data_sets = np.array(numbers, np.int64)
        n_maps = len(numbers) if len(numbers) <= most_apart else 1
        per_map = counts[data_sets].sum() / n_maps
        shape = _blocks(len(sizes), sizes[0], float(np.clip(per_map / _ROWS_PER_CELL, *_CELLS)))
        key = _detector_key(data, data_sets, shape, sizes[0], n_maps)
        found.append(DetectorCells(data_sets, shape, sizes[0], key, n_maps))
    return found


def _blocks(n_panels: int, size: tuple[float, float], wanted: float) -> tuple[int, int, int]:
    edge = math.sqrt(size[0] * size[1] * n_panels / wanted)
    nx, ny = (max(round(length / edge), 1) for length in size)
    return n_panels, ny, nx


def _detector_key(
    data: ScaledData, data_sets: IndexArray, shape: tuple[int, int, int], size: tuple[float, float], n_maps: int
) -> IntArray:
    n_panels, ny, nx = shape
    number = np.full(len(data.prepared), -1, np.int32)
    number[data_sets] = np.arange(data_sets.size) if n_maps > 1 else 0
    of_data_set = number[data.observations.data_set]
    key = np.full(len(data), -1, np.int32)
    for block, here, row in rows_of_blocks(data):
        places = block_places(block)
        with np.errstate(invalid="ignore"):
            inside = (places.x >= 0) & (places.x <= size[0]) & (places.y >= 0) & (places.y <= size[1])
        inside &= (places.panel >= 0) & (places.panel < n_panels)
        column = np.minimum(np.where(inside, places.x, 0.0) * (nx / size[0]), nx - 1).astype(np.int32)
        line = np.minimum(np.where(inside, places.y, 0.0) * (ny / size[1]), ny - 1).astype(np.int32)
        cell = np.where(inside, (places.panel * ny + line) * nx + column, -1)[row]
        key[here] = np.where(
            (cell >= 0) & (of_data_set[here] >= 0), of_data_set[here] * (n_panels * ny * nx) + cell, -1
        )
    return key


def image_cells(data: ScaledData) -> ImageCells | None:
    """Divide the scan of each sweep into ranges with enough observations; None without a sweep."""
    obs = data.observations
    counts = np.bincount(obs.data_set, minlength=len(data.prepared))
    sweeps, first, last, width = [], [], [], []
    for k, p in enumerate(data.prepared):
        images = p.data_set.experiment.image_range
        if p.data_set.experiment.is_still or images is None or not counts[k]:
            continue
        n = images[1] - images[0] + 1
        sweeps.append(k)
        first.append(images[0])
        last.append(images[1])
        width.append(math.ceil(n / min(max(counts[k] // _ROWS_PER_RANGE, 1), n)))
    if not sweeps:
        return None
    starts, ends, widths = (np.array(v, np.int64) for v in (first, last, width))
    offsets = np.append(0, np.cumsum(-(-(ends - starts + 1) // widths)))
    number = np.full(len(data.prepared), -1, np.int64)
    number[sweeps] = np.arange(len(sweeps))
    sweep = number[obs.data_set]
    place = np.floor(np.clip(obs.image_z - (starts - 1)[sweep], 0.0, (ends - starts)[sweep]))
    cell = offsets[:-1][sweep] + (place / widths[sweep]).astype(np.int64)
    key = np.where(sweep >= 0, cell, -1).astype(np.int32)
    return ImageCells(np.array(sweeps, np.int64), offsets, widths, starts, ends, key)


def resolution_rings(data: ScaledData) -> Rings:
    """Divide resolution into narrow rings."""
    x = 1.0 / data.observations.d_spacing
    low, high = float(x.min()), float(x.max())
    n = min((high - low) / _NARROWEST_RING, len(data) / _ROWS_PER_RING, _MOST_RINGS)
    n_rings = max(int(n), 1)
    width = max(high - low, 1e-9) / n_rings
    key = np.minimum((x - low) / width, n_rings - 1).astype(np.int32)
    edges: FloatArray = low + width * np.arange(n_rings + 1, dtype=np.float64)
    return Rings(edges, key)
