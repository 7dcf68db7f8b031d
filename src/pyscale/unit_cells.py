"""Unit cells and wavelengths of very many experiments at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .typing import BoolArray, FloatArray, IndexArray

if TYPE_CHECKING:
    from .experiment import Experiment

__all__ = ["cells_of_axes", "group_wavelengths", "unit_cells", "wavelength_tolerance", "wavelengths"]

#: Wavelengths of one beam differ by less: of sweeps in Å; of stills, which each have that of their pulse, relative.
_TOLERANCE, _TOLERANCE_OF_STILLS = 1e-4, 0.01
#: Wavelengths in MTZ files are numbers of single precision.
_ROUNDING = 2.0**-22

_ANGLES = ((1, 2), (0, 2), (0, 1))


def cells_of_axes(axes: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Cells (n, 6), Å and degrees, of axes (n, 3, 3), rows a, b and c; and whether each has a volume, (n,) bool."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        lengths = np.linalg.norm(axes, axis=2)
        has_volume: BoolArray = ((lengths > 1e-3) & (lengths < 1e6)).all(axis=1)
        has_volume &= np.abs(np.linalg.det(axes / lengths[:, :, None])) >= 1e-6
        pairs = np.stack([(axes[:, i] * axes[:, j]).sum(axis=1) / (lengths[:, i] * lengths[:, j]) for i, j in _ANGLES])
        return np.column_stack([lengths, np.degrees(np.arccos(pairs)).T]), has_volume


def unit_cells(experiments: Iterable[Experiment]) -> FloatArray:
    """Return the cell of each experiment, the recalculated one where stored: (n, 6) float64, Å and degrees."""
    found = list(experiments)
    quick = _plain_cells([e.crystal for e in found])
    return np.array([e.recalculated_unit_cell or e.unit_cell for e in found]) if quick is None else quick


def _plain_cells(crystals: Sequence[dict[str, Any] | None]) -> FloatArray | None:
    """The same for crystals with sound axes and without recalculated cells; None if they are not all such."""
    found = [crystal for crystal in crystals if crystal is not None and crystal.get("recalculated_unit_cell") is None]
    rows: list[Any] = [crystal.get(f"real_space_{name}") for crystal in found for name in "abc"]
    if len(found) < len(crystals) or not all(type(row) is list and len(row) == 3 for row in rows):
        return None
    numbers = [x for row in rows for x in row]
    if not set(map(type, numbers)) <= {int, float} or max(map(abs, numbers), default=0) > 1e9:
        return None
    cells, has_volume = cells_of_axes(np.array(numbers, np.float64).reshape(-1, 3, 3))
    return cells if has_volume.all() else None


def wavelengths(experiments: Iterable[Experiment]) -> list[float]:
    """Return the wavelength of each experiment, Å; of a beam that many share it is looked up once."""
    found = list(experiments)
    known = {key: e.wavelength for key, e in {id(e.beam): e for e in found}.items()}
    return [known[id(e.beam)] for e in found]


def wavelength_tolerance(experiments: Iterable[Experiment]) -> float:
    """By how much (Å) wavelengths of one beam differ: 1e-4, and 1 % if all data are stills."""
    found = list(experiments)
    if any(not e.is_still for e in found):
        return _TOLERANCE
    return _TOLERANCE_OF_STILLS * float(np.median(wavelengths(found)))


def group_wavelengths(values: FloatArray, tolerance: float) -> list[IndexArray]:
    """Group wavelengths (n,) that differ by less than the tolerance.

    Peak and inflection point are often as far apart as the usual tolerance, so that rounding must not join them.

    Returns
    -------
    list of (k,) int64
        Positions, ascending; groups by rising wavelength.
    """
    order = np.argsort(values, kind="stable")
    groups: list[list[int]] = []
    lowest = 0.0
    for k in order.tolist():
        if groups and values[k] - lowest <= max(0.0, tolerance - _ROUNDING * values[k]):
            groups[-1].append(k)
        else:
            groups.append([k])
            lowest = float(values[k])
    return [np.array(sorted(g), dtype=np.int64) for g in groups]
