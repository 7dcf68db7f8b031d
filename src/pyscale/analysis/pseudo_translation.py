"""Pseudo-translations (tNCS) by the Patterson map of merged intensities at low resolution."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import gemmi
import numpy as np

from ..symmetry import (
    SpaceGroupLike,
    UnitCellLike,
    group_operations,
    rotation_matrices,
    unit_cell_from,
)
from ..typing import FloatArray, IntArray
from .normalised import NormalisedIntensities

__all__ = ["PseudoTranslation", "pseudo_translation"]

#: Resolution limit (A), height relative to the origin, and distance from it (A) that count; as in common use.
_D_MIN, _HEIGHT, _DISTANCE = 5.0, 0.20, 15.0
_CHANCE = 4.5
_FEWEST, _MOST_POINTS = 120, 1_500_000
_SAMPLING = 3.0
_MOST_NOISE = 3.0
_LARGEST_Z = 6.0


@dataclass(frozen=True)
class PseudoTranslation:
    """The highest peak of the Patterson map far from the origin.

    Attributes
    ----------
    vector : tuple of float
        Fractional.
    distance : float
        From the nearest lattice point, A.
    height : float
        Relative to the origin peak.
    by_chance : float
        Height that chance does not exceed in a map of so few reflections.
    d_min : float
        Resolution limit of the map, A.
    n_reflections : int
    """

    vector: tuple[float, float, float]
    distance: float
    height: float
    by_chance: float
    d_min: float
    n_reflections: int

    @property
    def is_significant(self) -> bool:
        """Whether the peak is too high for chance and for parts of a molecule that happen to be parallel."""
        return self.height > max(_HEIGHT, self.by_chance)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"significant": self.is_significant}

    def text(self) -> str:
        """Line for the log."""
        place = " ".join(f"{x:.3f}" for x in self.vector)
        limit = 100 * max(_HEIGHT, self.by_chance)
        return (
            f"Patterson map to {self.d_min:.1f} A: highest peak far from the origin {100 * self.height:.1f} % of it, "
            f"at {place} ({self.distance:.0f} A); {limit:.0f} % counts as pseudo-translation"
        )

    def warnings(self) -> list[str]:
        """Warn of a pseudo-translation."""
        if not self.is_significant:
            return []
        place = ", ".join(f"{x:.3f}" for x in self.vector)
        return [
            f"A pseudo-translation of ({place}): a Patterson peak of {100 * self.height:.0f} % of the origin. Tell it "
            "to molecular replacement, do not trust tests for twinning that use moments of intensities, and check "
            "whether the true cell is smaller: reflections between those of it would be systematically weak."
        ]


def pseudo_translation(
    data: NormalisedIntensities, unit_cell: UnitCellLike, space_group: SpaceGroupLike
) -> PseudoTranslation | None:
    """Find the highest peak of the Patterson map of normalised intensities, without the origin's share.

    Returns
    -------
    PseudoTranslation or None
        None with fewer than 120 reflections to 5 A, as in small cells, or where no place is far from the origin.
    """
    cell = unit_cell_from(unit_cell)
    d_min = max(_D_MIN, _SAMPLING * (cell.volume / _MOST_POINTS) ** (1 / 3))
    rows = (data.d_star_sq <= d_min**-2) & (data.noise < _MOST_NOISE)
    if rows.sum() < _FEWEST:
        return None
    index, z = data.miller_index[rows], np.clip(data.z[rows], 0.0, _LARGEST_Z)
    size = [_good_size(length, d_min) for length in (cell.a, cell.b, cell.c)]
    patterson = _map(index, z - z.mean(), space_group, size)
    weight = _multiplicity(index, space_group)
    origin = float(weight @ z)
    best = _highest_far(patterson, cell, space_group)
    if best is None:
        return None
    vector, height = _interpolated(patterson, np.array(np.unravel_index(best[0], patterson.shape)))
    spread = float(np.sqrt((weight**2).sum())) / float(weight.sum()) * float(z.std() / z.mean())
    return PseudoTranslation(
        vector=(float(vector[0]), float(vector[1]), float(vector[2])),
        distance=best[1],
        height=height / origin,
        by_chance=_CHANCE * spread,
        d_min=d_min,
        n_reflections=int(rows.sum()),
    )


def _good_size(length: float, d_min: float) -> int:
    """Even number of grid points of small prime factors, three or more per d_min."""
    least = max(8, math.ceil(_SAMPLING * length / d_min))
    sizes: list[int] = [2 * 2**a * 3**b * 5**c for a, b, c in product(range(12), range(7), range(5))]
    return min(n for n in sizes if n >= least)


def _multiplicity(index: IntArray, space_group: SpaceGroupLike) -> FloatArray:
    """Number of different equivalents of each reflection, Friedel mates included."""
    rotations = rotation_matrices(space_group)
    fixed = sum(((index @ r) == sign * index).all(axis=1).astype(np.float64) for r in rotations for sign in (1, -1))
    result: FloatArray = 2 * len(rotations) / fixed
    return result


def _map(index: IntArray, coefficients: FloatArray, space_group: SpaceGroupLike, size: list[int]) -> FloatArray:
    """Sum of coefficients times cos(2 pi h u) over all equivalents."""
    proper = np.concatenate([index @ r for r in rotation_matrices(space_group)])
    images = np.concatenate([proper, -proper])
    grid = np.zeros(size, np.float64)
    values = np.tile(coefficients, len(images) // len(index))
    grid[tuple((images % size).T)] = values
    half = np.zeros((size[0], size[1], size[2] // 2 + 1), np.complex128)
    half[:] = grid[:, :, : size[2] // 2 + 1]
    result: FloatArray = np.fft.irfftn(half, s=size, axes=(0, 1, 2)) * math.prod(size)
    return result


def _highest_far(patterson: FloatArray, cell: Any, space_group: SpaceGroupLike) -> tuple[int, float] | None:
    """Highest point far from the lattice points, and its distance from the nearest, A; None where there is none."""
    flat = patterson.ravel()
    n = 2_000
    while True:
        n = min(n, flat.size)
        top = np.argpartition(flat, flat.size - n)[flat.size - n :]
        top = top[np.lexsort((top, -flat[top]))]
        points = np.stack(np.unravel_index(top, patterson.shape), axis=1) / np.array(patterson.shape)
        distance = _distance(points, cell, space_group)
        far = np.flatnonzero(distance > _DISTANCE)
        if far.size:
            best: int = top[far[0]].item()
            return best, float(distance[far[0]])
        if n == flat.size:
            return None
        n *= 16


def _distance(points: FloatArray, cell: Any, space_group: SpaceGroupLike) -> FloatArray:
    """Distance of points (n, 3), fractional, from the nearest lattice point, A, (n,) float64."""
    matrix = np.array(cell.orth.mat.tolist())
    shortest = np.full(len(points), np.inf)
    for centring in group_operations(space_group).cen_ops:
        u = points - np.array(centring) / gemmi.Op.DEN
        u -= np.rint(u)
        for shift in product((-1, 0, 1), repeat=3):
            x = (u + np.array(shift)) @ matrix.T
            shortest = np.minimum(shortest, np.einsum("ij,ij->i", x, x))
    result: FloatArray = np.sqrt(shortest)
    return result


def _interpolated(patterson: FloatArray, place: Any) -> tuple[FloatArray, float]:
    """Place (fractional, below 1) and height of a peak by parabolas through its neighbours."""
    size = np.array(patterson.shape)
    top = float(patterson[tuple(place)])
    shift, height = np.zeros(3), top
    for axis in range(3):
        step = np.eye(3, dtype=np.int64)[axis]
        before, after = (float(patterson[tuple((place + s * step) % size)]) for s in (-1, 1))
        curvature = before - 2 * top + after
        if curvature < 0 and top >= max(before, after):
            shift[axis] = 0.5 * (before - after) / curvature
            height -= 0.125 * (before - after) ** 2 / curvature
    vector: FloatArray = ((place + shift) / size) % 1.0
    return vector, height
