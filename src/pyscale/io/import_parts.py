"""What readers of other programs' files have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..flags import Flag
from ..options.importing import InputOptions
from ..typing import BoolArray, FloatArray, IntArray
from .imported import InputDecision

if TYPE_CHECKING:
    import gemmi

__all__ = [
    "checked_cell",
    "known_wavelength",
    "missing_symmetry",
    "observed_columns",
    "unknown_position",
    "wanted_space_group",
]

_WAVELENGTHS = (0.71073, 0.56086)
"""Of Mo and Ag K alpha (A)."""


def wanted_space_group(options: InputOptions, unit_cell: Sequence[float] | None) -> gemmi.SpaceGroup | None:
    """The space group of the options, of several settings of one name the one that goes with the cell; else None.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    from ..space_group import find_wanted_space_group, keeps_cell

    if options.space_group is None:
        return None
    candidates = find_wanted_space_group(options.space_group)
    fitting = (g for g in candidates if unit_cell is None or keeps_cell(g, tuple(unit_cell)))
    wanted: gemmi.SpaceGroup = next(fitting, candidates[0])
    return wanted


def checked_cell(unit_cell: Sequence[float], where: str) -> tuple[float, ...]:
    """The cell (A, degrees) if it has a volume.

    Raises
    ------
    DataError
        If it has none.
    """
    from ..symmetry import unit_cell_from

    try:
        unit_cell_from(unit_cell)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return tuple(float(x) for x in unit_cell)


def missing_symmetry(where: str, kind: str, options: InputOptions, *, has_cell: bool, has_group: bool) -> str:
    """What to tell the user where a file has no unit cell, or no space group, and no option gives it."""
    lacks_cell = not has_cell and options.unit_cell is None
    lacks_group = not has_group and options.space_group is None
    if not (lacks_cell or lacks_group):
        return ""
    names = [name for name, lacks in (("unit cell", lacks_cell), ("space group", lacks_group)) if lacks]
    advice = [
        text
        for text, lacks in (
            ("unit_cell=a,b,c,alpha,beta,gamma", lacks_cell),
            ("space_group=NAME", lacks_group),
        )
        if lacks
    ]
    return f"{where}: {kind} has no {' and no '.join(names)}: give {' and '.join(advice)}"


def observed_columns(
    miller_index: IntArray, intensity: FloatArray, sigma: FloatArray
) -> tuple[dict[str, NDArray[Any]], list[InputDecision]]:
    """Columns of summed intensities; a row without a positive sigma or a finite intensity is not integrated."""
    with np.errstate(invalid="ignore", over="ignore"):
        measured: BoolArray = np.isfinite(intensity) & (sigma > 0) & np.isfinite(sigma * sigma)
        variance = np.where(measured, sigma * sigma, 0.0)
    columns: dict[str, NDArray[Any]] = {
        "miller_index": np.ascontiguousarray(miller_index, dtype=np.int32),
        "intensity.sum.value": np.where(measured, intensity, 0.0),
        "intensity.sum.variance": variance,
        "flags": np.where(measured, np.uint64(int(Flag.integrated_sum)), np.uint64(0)),
    }
    n_without = int(measured.size - measured.sum())
    if not n_without:
        return columns, []
    reason = "rows without a positive sigma or with no finite intensity: left out as not integrated"
    return columns, [InputDecision("n_unmeasured", n_without, reason, is_warning=True)]


def unknown_position(n: int) -> FloatArray:
    """Centroids (n, 3) of reflections of which neither place nor image is known: NaN (pixels), the first image."""
    return np.tile([np.nan, np.nan, 0.5], (n, 1))


def known_wavelength(
    options: InputOptions, of_file: float | None, unit_cell: Sequence[float] | None, miller_index: IntArray
) -> tuple[float, list[InputDecision]]:
    """The wavelength (A): of the options, else of the file, else a usual one with which all indices can diffract."""
    from ..symmetry import d_spacing

    if options.wavelength is not None or of_file is not None:
        return options.wavelength or of_file or 0.0, []
    indexed = miller_index[(miller_index != 0).any(axis=1)]
    d_min = float(d_spacing(unit_cell, indexed).min()) if unit_cell is not None and len(indexed) else np.inf
    wavelength = next((w for w in _WAVELENGTHS if w < 2.0 * d_min), 1.9 * d_min)
    reason = "not in the file, assumed: scaling does not depend on it; wavelength= sets it for the files written"
    return wavelength, [InputDecision("wavelength", wavelength, reason)]
