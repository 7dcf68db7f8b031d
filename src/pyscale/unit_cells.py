"""Unit cells and wavelengths of very many experiments at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .typing import BoolArray, FloatArray

if TYPE_CHECKING:
    from .experiment import Experiment

__all__ = ["cells_of_axes", "unit_cells", "wavelengths"]

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
