"""Operators that lead from one indexing of a lattice to another that its cell allows as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import gemmi
import numpy as np

from .preparation import UnitCell
from .symmetry import group_operations, rotation_matrices, unit_cell_from
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["IndexingOperators", "alternative_indexings"]

_Matrix: TypeAlias = tuple[int, ...]
"""The nine elements, row by row, times `gemmi.Op.DEN`."""


@dataclass(frozen=True)
class IndexingOperators:
    """One operator T of each coset T P of the point group P in the symmetry of the lattice; the first is the identity.

    A data set in another indexing gets the indices h' = h T. Operators of one coset lead to equivalents.

    Attributes
    ----------
    numerators : (k, 3, 3) int32
        T times `gemmi.Op.DEN`; determinant of T +1.
    triplets : tuple of str
        The new h, k, l in terms of the old, "-h,-k,l".
    relative : (k, k) int32
        Number of the coset of T_i^-1 T_j.
    quotient : (k, k) int32
        Number of the coset of T_i T_j^-1.
    normal : (k,) bool
        Whether T P = P T: only then can all data sets be reindexed by T together.
    point_group : (m, 3, 3) int32
        Rotations of P.
    core : (n, 3, 3) int32
        Those that are in T P T^-1 for every T: equivalents under them are so in every indexing.
    """

    numerators: IntArray
    triplets: tuple[str, ...]
    relative: IntArray
    quotient: IntArray
    normal: BoolArray
    point_group: IntArray
    core: IntArray

    def __len__(self) -> int:
        return len(self.triplets)

    def apply(self, number: int, miller_index: IntArray) -> IntArray:
        """Return h T of reflections (n, 3) int32; 0 0 0 for what is no point of the lattice."""
        product = miller_index.astype(np.int64) @ self.numerators[number].astype(np.int64)
        whole = (product % gemmi.Op.DEN == 0).all(axis=1)
        product[~whole] = 0
        result: IntArray = (product // gemmi.Op.DEN).astype(np.int32)
        return result

    def matrix(self, number: int) -> FloatArray:
        """Return T, (3, 3) float64."""
        result: FloatArray = self.numerators[number] / gemmi.Op.DEN
        return result


def alternative_indexings(cell: UnitCell, space_group: Any, max_obliquity_deg: float) -> IndexingOperators | None:
    """Find the operators that the metric of a cell has beyond the point group (Le Page 1982, by gemmi).

    Parameters
    ----------
    cell : tuple of float
        Angstrom and degrees.
    space_group : gemmi.SpaceGroup
    max_obliquity_deg : float
        By how much a lattice row and the normal of its plane may differ in direction to count as a twofold axis.

    Returns
    -------
    IndexingOperators or None
        None where the lattice has no more symmetry than the point group.
    """
    lattice = gemmi.find_lattice_symmetry(unit_cell_from(cell), space_group.centring_type(), max_obliquity_deg)
    proper = [op for op in lattice.sym_ops if op.det_rot() > 0]
    elements = sorted({_flat(op.rot) for op in proper}, key=_complexity)
    identity = _flat(gemmi.Op("x,y,z").rot)
    rotations = {_flat(op.rot) for op in group_operations(space_group).sym_ops}
    point_group = sorted({_proper(r) for r in rotations}, key=_complexity)
    if not set(point_group) <= set(elements) or len(elements) == len(point_group):
        return None
    coset: dict[_Matrix, int] = {}
    chosen: list[_Matrix] = []
    for element in [identity, *elements]:
        if element not in coset:
            coset |= dict.fromkeys((_product(element, p) for p in point_group), len(chosen))
            chosen.append(element)
    inverse = [next(e for e in elements if _product(e, t) == identity) for t in chosen]
    conjugates = [{_product(_product(t, p), i) for p in point_group} for t, i in zip(chosen, inverse, strict=True)]
    core = set(point_group).intersection(*conjugates)
    return IndexingOperators(
        numerators=_array(chosen),
        triplets=tuple(_triplet(t) for t in chosen),
        relative=np.array([[coset[_product(i, t)] for t in chosen] for i in inverse], dtype=np.int32),
        quotient=np.array([[coset[_product(t, i)] for i in inverse] for t in chosen], dtype=np.int32),
        normal=np.array([c == set(point_group) for c in conjugates], dtype=np.bool_),
        point_group=np.ascontiguousarray(rotation_matrices(space_group)),
        core=_array(sorted(core, key=_complexity)) // gemmi.Op.DEN,
    )


def _flat(rotation: list[list[int]]) -> _Matrix:
    return tuple(x for row in rotation for x in row)


def _array(matrices: list[_Matrix]) -> IntArray:
    return np.array(matrices, dtype=np.int32).reshape(-1, 3, 3)


def _proper(rotation: _Matrix) -> _Matrix:
    """Return the rotation, or its negative: Friedel mates are equivalents here."""
    return rotation if np.linalg.det(_array([rotation])[0]) > 0 else tuple(-x for x in rotation)


def _product(first: _Matrix, second: _Matrix) -> _Matrix:
    product = _array([first])[0] @ _array([second])[0] // gemmi.Op.DEN
    return tuple(int(x) for x in product.ravel())


def _complexity(matrix: _Matrix) -> tuple[int, int, _Matrix]:
    """Order by which simple operators come first: permutations before sums, few minus signs."""
    return sum(x != 0 for x in matrix), sum(x < 0 for x in matrix), tuple(-x for x in matrix)


def _triplet(matrix: _Matrix) -> str:
    """Text of h T: the columns of T."""
    operator = gemmi.Op("x,y,z")
    operator.rot = _array([matrix])[0].tolist()
    return str(operator.as_hkl().triplet())
