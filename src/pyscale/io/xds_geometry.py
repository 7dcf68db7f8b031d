"""What headers of XDS tell of space group, cell, beam, goniometer and detector.

Pixels and images: the centre of XDS' first pixel has the coordinate 1, that of DIALS 0.5. Image n lies between n - 1
and n in both. The beam through a pixel (x, y), with e_x, e_y the axes of the detector and F its distance:
QX (x - ORGX) e_x + QY (y - ORGY) e_y + F (e_x x e_y). On a segment, with axes in the frame of the detector,
QX (x - ORGXS) d_x + QY (y - ORGYS) d_y + FS (d_x x d_y) from the point -ORGX QX e_x - ORGY QY e_y + F (e_x x e_y).
"""

from __future__ import annotations

import re

import gemmi
import numpy as np

from ..errors import DataError, UsageError
from ..options.importing import InputOptions
from ..symmetry import find_space_group, group_operations, unit_cell_from
from ..typing import FloatArray
from .geometry import DetectorSegment, RotationGeometry, oriented_cell
from .imported import FlatDetector
from .xds_records import XdsHeader

__all__ = ["HALF_PIXEL", "geometry_of", "space_group_of", "unit_cell_of", "wavelength_of"]

HALF_PIXEL = 0.5
"""What XDS' coordinates of pixels have more than those of DIALS."""

_SHORTEST_EDGE, _LONGEST_EDGE = 0.1, 1e5
_SEGMENT = re.compile(r"^!\s*SEGMENT=", re.MULTILINE)


def space_group_of(header: XdsHeader, options: InputOptions) -> gemmi.SpaceGroup:
    """The space group of an option, else of the header.

    Raises
    ------
    UsageError, DataError
        If there is no such group.
    """
    if options.space_group is not None:
        name = options.space_group.strip()
        found = gemmi.find_spacegroup_by_number(int(name)) if name.isdigit() and int(name) <= 230 else None
        if found is not None:
            return found
        try:
            tabulated: gemmi.SpaceGroup = find_space_group(group_operations(name))
            return tabulated
        except DataError as error:
            raise UsageError(f"option space_group: {error}") from None
    number = int(header.number("SPACE_GROUP_NUMBER", 0, 230)) or 1
    return gemmi.find_spacegroup_by_number(number)


def unit_cell_of(header: XdsHeader, options: InputOptions) -> tuple[float, ...]:
    """The cell of an option, else of the header, A and degrees."""
    given = options.unit_cell
    cell = tuple(header.numbers("UNIT_CELL_CONSTANTS", 6).tolist()) if given is None else given
    try:
        unit_cell_from(cell)
        if not all(_SHORTEST_EDGE < x < _LONGEST_EDGE for x in cell[:3]):
            raise DataError("no cell of a crystal")
    except DataError:
        text = f"{' '.join(f'{x:g}' for x in cell)} is no cell of a crystal"
        if given is not None:
            raise UsageError(f"option input.unit_cell: {text}") from None
        raise DataError(f"{header.source}: UNIT_CELL_CONSTANTS= {text}") from None
    return cell


def wavelength_of(header: XdsHeader, options: InputOptions) -> float:
    """The wavelength of an option, else of the header, A."""
    return header.number("X-RAY_WAVELENGTH", 1e-3, 100.0) if options.wavelength is None else options.wavelength


def geometry_of(header: XdsHeader, wavelength: float, unit_cell: tuple[float, ...]) -> RotationGeometry:
    """The geometry that a header describes; `real_space` is None if it has no axes of the cell.

    Raises
    ------
    DataError
        If a part of it is missing or impossible.
    """
    fast, slow = (header.direction(f"DIRECTION_OF_DETECTOR_{c}-AXIS") for c in "XY")
    normal = np.cross(fast, slow)
    if np.linalg.norm(normal) < 0.1:
        raise DataError(f"{header.source}: the detector's X and Y axes are parallel")
    pixel = (header.number("QX", 1e-5, 1e3), header.number("QY", 1e-5, 1e3))
    size = (int(header.number("NX", 1, 1e6)), int(header.number("NY", 1, 1e6)))
    centre = [header.number(key, -1e6, 1e6) for key in ("ORGX", "ORGY")]
    distance = header.number("DETECTOR_DISTANCE", -1e6, 1e6)
    if distance == 0:
        raise DataError(f"{header.source}: DETECTOR_DISTANCE= is zero")
    corner = [(HALF_PIXEL - c) * q for c, q in zip(centre, pixel, strict=True)]
    origin = corner[0] * fast + corner[1] * slow + distance * normal
    width, start, frame = _rotation(header)
    axes = [header.optional_numbers(f"UNIT_CELL_{name}-AXIS", 3) for name in "ABC"]
    stacked = None if any(a is None for a in axes) else np.array(axes, np.float64)
    if stacked is not None and not (np.abs(np.linalg.det(stacked)) > 1e-3 and np.abs(stacked).max() < _LONGEST_EDGE):
        raise DataError(f"{header.source}: the axes of the cell (UNIT_CELL_A-AXIS= ...) span no volume")
    return RotationGeometry(
        wavelength=wavelength,
        incident=header.direction("INCIDENT_BEAM_DIRECTION"),
        axis=header.direction("ROTATION_AXIS"),
        detector=FlatDetector(fast, slow, origin, pixel, size),
        segments=_segments(header, np.stack([fast, slow, normal]), pixel, origin),
        angle_at_zero=start - width * (frame - 1),
        width=width,
        real_space=None if stacked is None else oriented_cell(unit_cell, stacked),
    )


def _rotation(header: XdsHeader) -> tuple[float, float, float]:
    """Width of an image, start angle (degrees), and the number of the image that starts there."""
    width = header.number("OSCILLATION_RANGE", -360.0, 360.0)
    if abs(width) < 1e-6:
        raise DataError(f"{header.source}: OSCILLATION_RANGE= is zero; stills are not read from XDS files")
    start = 0.0 if header.text("STARTING_ANGLE") is None else header.number("STARTING_ANGLE", -1e4, 1e4)
    frame = 1.0 if header.text("STARTING_FRAME") is None else header.number("STARTING_FRAME", -1e6, 1e6)
    return width, start, frame


def _segments(
    header: XdsHeader, frame: FloatArray, pixel: tuple[float, float], origin: FloatArray
) -> tuple[DetectorSegment, ...]:
    """Segments in the header; `frame` has the axes of the detector and its normal as rows."""
    text = "\n".join(header.lines)
    starts = [m.start() for m in _SEGMENT.finditer(text)]
    if len(starts) < 2:
        return ()
    base = origin - HALF_PIXEL * (pixel[0] * frame[0] + pixel[1] * frame[1])
    segments = []
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = XdsHeader.of(header.source, text[start:end])
        fast, slow = (part.direction(f"DIRECTION_OF_SEGMENT_{c}-AXIS") @ frame for c in "XY")
        x, y, d = (part.number(f"SEGMENT_{what}", -1e6, 1e6) for what in ("ORGX", "ORGY", "DISTANCE"))
        corner = (HALF_PIXEL - x) * pixel[0] * fast + (HALF_PIXEL - y) * pixel[1] * slow
        segments.append(DetectorSegment(fast, slow, base + corner + d * np.cross(fast, slow)))
    return tuple(segments)
