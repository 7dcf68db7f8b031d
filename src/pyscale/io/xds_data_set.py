"""From headers and columns of XDS to data sets: images, directions, flags. For INTEGRATE, CORRECT and XSCALE alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..flags import Flag
from ..typing import BoolArray, FloatArray, IndexArray, IntArray
from .geometry import RotationGeometry
from .geometry_check import check_geometry
from .imported import INPUT_FATES, InputDecision
from .xds_geometry import HALF_PIXEL
from .xds_records import XdsHeader

__all__ = ["Images", "Sweep", "common_columns", "images_of", "rows_of", "sweep_of"]

_MOST_IMAGES = 1_000_000
_ROUNDING = 0.051
_INSIDE = 1e-3
_PASSED_ON = ("RLP", "PEAK", "CORR", "PSI")


@dataclass(frozen=True)
class Images:
    """Images of a sweep, counted from 1 or later.

    Attributes
    ----------
    z : (n,) float64
        Array coordinates of the reflections, all of them on an image.
    first, last : int
    shift : int
        What was added to the numbers in the file.
    decisions : tuple of InputDecision
    """

    z: FloatArray
    first: int
    last: int
    shift: int
    decisions: tuple[InputDecision, ...]


def images_of(header: XdsHeader, z: FloatArray) -> Images:
    """Which images a sweep has, from DATA_RANGE= where there is one and else from the reflections.

    Raises
    ------
    DataError
        If there are absurdly many.
    """
    low, high = float(z.min()), float(z.max())
    if not high - low < _MOST_IMAGES or max(abs(low), abs(high)) > 1e9:
        raise DataError(f"{header.source}: reflections on images {low:g} to {high:g}; the file is damaged")
    first, last = int(np.floor(low + _ROUNDING)) + 1, int(np.ceil(high - _ROUNDING))
    start = header.optional_numbers("STARTING_FRAME", 1)
    if first == 0 and start is not None and start[0] >= 1:
        first = 1
    decisions = []
    data_range = header.optional_numbers("DATA_RANGE", 2)
    if data_range is not None and 0 <= data_range[1] - data_range[0] < _MOST_IMAGES:
        given = (int(data_range[0]), int(data_range[1]))
        if first < given[0] - 1 or last > given[1] + 1:
            text = f"DATA_RANGE= {given[0]} {given[1]} does not hold all reflections, which lie on {low:g} to {high:g}"
            decisions.append(InputDecision("image_range", f"{first} to {last}", text, is_warning=True))
            given = (min(first, given[0]), max(last, given[1]))
        first, last = given
    last = max(first, last)
    shift = 1 - first if first < 1 else 0
    if shift:
        text = f"images count from 1, while the first one in the file is {first}"
        decisions.append(InputDecision("image_shift", shift, text))
    inside = np.clip(z, first - 1 + _INSIDE, last - _INSIDE)
    n_moved = int(np.count_nonzero(np.abs(inside - z) > 2 * _INSIDE))
    if n_moved:
        text = f"{n_moved} reflections beyond the first or last image were put on it"
        decisions.append(InputDecision("beyond_images", n_moved, text))
    return Images(inside + shift, first + shift, last + shift, shift, tuple(decisions))


@dataclass(frozen=True)
class Sweep:
    """Reflections of a sweep in the coordinates of DIALS.

    Attributes
    ----------
    xyz : (n, 3) float64
        Pixels and images, from 0.
    s1 : (n, 3) float64 or None
        In 1/A; None without a geometry.
    geometry : RotationGeometry or None
    images : Images
    oscillation : (float, float)
        Start of the first image and width of an image, degrees.
    decisions : tuple of InputDecision
    """

    xyz: FloatArray
    s1: FloatArray | None
    geometry: RotationGeometry | None
    images: Images
    oscillation: tuple[float, float]
    decisions: tuple[InputDecision, ...]

    @property
    def models(self) -> dict[str, Any]:
        """Arguments for an `ImportedDataSet`."""
        known: dict[str, Any] = {
            "image_range": (self.images.first, self.images.last),
            "oscillation": self.oscillation,
        }
        if self.geometry is not None:
            g = self.geometry
            known |= {"beam_direction": -g.incident, "rotation_axis": g.axis}
            known |= {"real_space": g.real_space, "detector": g.detector}
        return known


def sweep_of(
    header: XdsHeader,
    geometry: RotationGeometry | None,
    unit_cell: tuple[float, ...],
    miller_index: IntArray,
    position: tuple[FloatArray, FloatArray, FloatArray],
    segment: IntArray | None = None,
) -> Sweep:
    """Bring positions x, y, z of XDS to DIALS' coordinates, find s1 and check it against the indices.

    Parameters
    ----------
    geometry
        None: the file does not tell it; images are taken for one degree wide, and there is no `s1`.
    segment
        Number of the detector segment of each reflection, from 0.

    Raises
    ------
    DataError
        If positions are impossible.
    """
    x, y, z = position
    images = images_of(header, z)
    if not max(np.abs(x).max(), np.abs(y).max()) < 1e7:
        raise DataError(f"{header.source}: reflections beyond any detector; the file is damaged")
    xyz = np.stack([x - HALF_PIXEL, y - HALF_PIXEL, images.z], axis=1)
    if geometry is None:
        text = "the file does not tell it: an image is taken for 1 degree, and there is no absorption correction"
        unknown = InputDecision("geometry", "unknown", text, is_warning=True)
        return Sweep(xyz, None, None, images, (0.0, 1.0), (*images.decisions, unknown))
    s1 = geometry.beams_from_detector(xyz[:, :2], segment)
    checked = check_geometry(geometry, unit_cell, miller_index, z, s1)
    geometry = checked.geometry
    if checked.beams_from_indices and geometry.real_space is not None:
        s1 = geometry.beams_from_indices(miller_index, z, geometry.real_space)
        s1 /= geometry.wavelength * np.linalg.norm(s1, axis=1)[:, None]
    start = geometry.angle_at_zero + geometry.width * (images.first - images.shift - 1)
    decisions = (*images.decisions, *checked.decisions)
    return Sweep(xyz, s1, geometry, images, (start, geometry.width), decisions)


def rows_of(columns: Mapping[str, FloatArray], rows: BoolArray | IndexArray | slice) -> dict[str, FloatArray]:
    """Some rows of all columns."""
    return {name: values[rows] for name, values in columns.items()}


def common_columns(
    columns: Mapping[str, FloatArray],
    miller_index: IntArray,
    sweep: Sweep,
    *,
    is_profile_fitted: bool,
    is_flagged: BoolArray | None = None,
) -> dict[str, NDArray[Any]]:
    """Columns under DIALS' names; those of XDS that DIALS does not have (RLP, PEAK, CORR, PSI) under their own.

    Rows without a positive SIGMA, and those that are flagged and shall not be used, are not marked as integrated; the
    latter are told apart by the column `input_fate`. XDS tells the position that it calculated for every reflection;
    the observed centroid, which weak ones lack, is not used.
    """
    n, sigma = len(miller_index), columns["SIGMA"]
    usable = sigma != 0 if is_flagged is None else (sigma != 0) & ~is_flagged
    which, bit = ("prf", Flag.integrated_prf) if is_profile_fitted else ("sum", Flag.integrated_sum)
    result: dict[str, NDArray[Any]] = {
        "miller_index": miller_index,
        f"intensity.{which}.value": columns["IOBS"],
        f"intensity.{which}.variance": sigma**2,
        "flags": np.uint64(int(Flag.predicted | Flag.indexed)) | np.where(usable, np.uint64(int(bit)), np.uint64(0)),
        "panel": np.zeros(n, np.uint64),
        "partiality": np.ones(n),
        "xyzobs.px.value": sweep.xyz,
        "xyzcal.px": sweep.xyz,
    }
    if is_flagged is not None:
        result["input_fate"] = np.where(is_flagged, INPUT_FATES["flagged_by_integration"], 0).astype(np.int32)
    if sweep.s1 is not None:
        result["s1"] = sweep.s1
    if "CORR" in columns:
        result["profile.correlation"] = columns["CORR"] / 100.0
    return result | {name: columns[name] for name in _PASSED_ON if name in columns}
