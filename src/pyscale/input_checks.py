"""What no sound input holds: columns of the wrong type, numbers beyond all bounds, rows outside their scan."""

from __future__ import annotations

import numpy as np

from .errors import DataError
from .experiment import Experiment
from .progress import checkpoint
from .reflections import ReflectionTable
from .typing import BoolArray, FloatArray

__all__ = [
    "LARGEST_INTENSITY",
    "check_columns",
    "scalable_intensity",
    "scalable_variance",
    "scan_limits",
    "smallest_resolution",
    "without_beam_direction",
]

LARGEST_INTENSITY = 1e60
"""Beyond it (and for variances beyond its square or below its inverse) squares and products would overflow."""

_SMALLEST_D = 0.1
_SCAN_SLACK_IMAGES = 10.0
_SCAN_SLACK_FRACTION = 0.1

_REQUIRED = ("flags", "miller_index")
_TYPES = {
    "flags": ("std::size_t", "int"),
    "miller_index": ("cctbx::miller::index<>",),
    "partial_id": ("std::size_t", "int"),
    "xyzobs.px.value": ("vec3<double>",),
    "xyzcal.px": ("vec3<double>",),
    "s1": ("vec3<double>",),
} | dict.fromkeys(
    (
        "intensity.prf.value",
        "intensity.prf.variance",
        "intensity.sum.value",
        "intensity.sum.variance",
        "lp",
        "qe",
        "dqe",
        "partiality",
        "partiality.inv.variance",
    ),
    ("double",),
)


def check_columns(table: ReflectionTable) -> None:
    """Refuse a table without a necessary column, or with one whose type is not that of DIALS.

    Raises
    ------
    DataError
        Naming file and column.
    """
    for name in _REQUIRED:
        table.require(name)
    for name, types in _TYPES.items():
        if name in table and table.dials_type(name) not in types:
            found = table.dials_type(name)
            raise DataError(f"{table.source}: column '{name}' has type {found}, not {' or '.join(types)}")


def scalable_intensity(intensity: FloatArray) -> BoolArray:
    """Intensities that are finite and of a size to calculate with, (n,) bool."""
    result: BoolArray = np.abs(intensity) <= LARGEST_INTENSITY
    return result


def scalable_variance(variance: FloatArray) -> BoolArray:
    """Variances that are positive, finite and of a size to calculate with, (n,) bool."""
    result: BoolArray = (variance >= 1 / LARGEST_INTENSITY) & (variance <= LARGEST_INTENSITY**2)
    return result


def smallest_resolution(wavelength: float) -> float:
    """Resolution d (Angstrom) clearly below half the wavelength (or 0.1 Angstrom): no index there can diffract."""
    return max(0.49 * wavelength, _SMALLEST_D)


def scan_limits(experiment: Experiment) -> tuple[float, float]:
    """Limits of a sweep's centroids; those far outside its images would stretch the model's time axis.

    A margin of 10 images or a tenth of the sweep, whichever is larger, is left for predicted centroids. A still has
    no limits.
    """
    images = None if experiment.is_still else experiment.image_range
    if images is None:
        return -np.inf, np.inf
    first, last = images[0] - 1.0, float(images[1])
    slack = max(_SCAN_SLACK_IMAGES, _SCAN_SLACK_FRACTION * (last - first))
    return first - slack, last + slack


def without_beam_direction(table: ReflectionTable) -> BoolArray:
    """Rows whose diffracted beam `s1` is no direction: not finite, or the zero vector; (n,) bool.

    Raises
    ------
    DataError
        If the table has no `s1`.
    """
    checkpoint()
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(table.require("s1"), axis=1)
    result: BoolArray = ~(np.isfinite(length) & (length > 0))
    return result
