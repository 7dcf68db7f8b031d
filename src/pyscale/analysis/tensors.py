"""Symmetric tensors in reciprocal space that a crystal's symmetry allows, and their principal axes."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import gemmi
import numpy as np

from ..symmetry import SpaceGroupLike, UnitCellLike, find_space_group, rotation_matrices, unit_cell_from
from ..typing import FloatArray

__all__ = ["direction_text", "principal_axes", "quadratic_terms", "reciprocal_basis", "tensor_basis", "unique_axis"]

_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def reciprocal_basis(unit_cell: UnitCellLike) -> FloatArray:
    """Unit vectors along a*, b*, c* in the crystal's Cartesian frame (x along a, z along c*), the rows of (3, 3)."""
    vectors = np.array(unit_cell_from(unit_cell).frac.mat.tolist())
    result: FloatArray = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    return result


def tensor_basis(unit_cell: UnitCellLike, space_group: SpaceGroupLike) -> FloatArray:
    """Orthonormal basis of the symmetric tensors that the point group leaves as they are, Cartesian, (k, 3, 3).

    k is 1 for cubic crystals, 2 for trigonal, tetragonal and hexagonal ones, then 3, 4, and 6 for triclinic ones;
    the first is the identity over sqrt(3), the others have no trace.
    """
    fractional = np.array(unit_cell_from(unit_cell).frac.mat.tolist())
    # s = h F; h' = h R makes s' = s (F^-1 R F).
    operations = np.linalg.inv(fractional) @ rotation_matrices(space_group) @ fractional
    elements = [_symmetric_unit(i, j) for i, j in _PAIRS]
    averages = np.array([np.mean(operations @ e @ operations.transpose(0, 2, 1), axis=0) for e in elements])
    without_trace = averages - np.trace(averages, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3.0
    # Their number is exact even where the cell's angles are not quite those of its symmetry.
    n_allowed = len(gemmi.adp_symmetry_constraints(find_space_group(space_group)))
    others = np.linalg.svd(without_trace.reshape(6, 9))[2][: n_allowed - 1].reshape(-1, 3, 3)
    others = np.where(np.abs(others) < 1e-9, 0.0, others)
    return np.concatenate([np.eye(3)[None] / np.sqrt(3.0), 0.5 * (others + others.transpose(0, 2, 1))])


def quadratic_terms(vectors: FloatArray, basis: FloatArray) -> FloatArray:
    """s^T E_k s for vectors (n, 3) and tensors (k, 3, 3): (n, k)."""
    products = np.stack([vectors[:, i] * vectors[:, j] * (1.0 if i == j else 2.0) for i, j in _PAIRS], axis=1)
    elements = np.array([[e[i, j] for e in basis] for i, j in _PAIRS])
    result: FloatArray = products @ elements
    return result


def principal_axes(tensor: FloatArray, basis: FloatArray, unit_cell: UnitCellLike) -> FloatArray:
    """Principal axes of an allowed tensor, unit vectors in the rows of a rotation matrix (3, 3).

    They are ordered and signed to lie as close to a*, b*, c* as they can. Where symmetry leaves a choice, the first is
    the projection of a* onto the plane normal to the unique axis (of a* itself in cubic crystals).
    """
    stars = reciprocal_basis(unit_cell)
    if len(basis) == 1:
        return np.eye(3)
    if len(basis) == 2:
        unique = unique_axis(basis)
        first = stars[0] - unique * (stars[0] @ unique)
        if first @ first < 1e-6:
            first = stars[1] - unique * (stars[1] @ unique)
        first /= np.linalg.norm(first)
        found = np.stack([first, np.cross(unique, first), unique])
    else:
        found = np.linalg.eigh(tensor)[1].T
    closeness = np.abs(found @ stars.T)
    best = max(permutations(range(3)), key=lambda order: sum(closeness[axis, k] for k, axis in enumerate(order)))
    ordered: FloatArray = found[list(best)]
    ordered = ordered * np.where(np.einsum("ij,ij->i", ordered, stars) < 0.0, -1.0, 1.0)[:, None]
    if np.linalg.det(ordered) < 0.0:
        ordered[2] *= -1.0
    return np.where(np.abs(ordered) < 1e-9, 0.0, ordered)


def unique_axis(basis: FloatArray) -> FloatArray:
    """The unique axis of a trigonal, tetragonal or hexagonal crystal, whose basis has two tensors; a unit vector."""
    values, vectors = np.linalg.eigh(basis[1])
    axis: FloatArray = vectors[:, int(np.argmax(np.abs(values)))]
    return axis


def direction_text(axis: FloatArray, unit_cell: UnitCellLike) -> str:
    """A direction as a sum of unit vectors along a*, b*, c*, for example `0.97 a* - 0.24 c*`."""
    parts = np.linalg.solve(reciprocal_basis(unit_cell).T, axis)
    parts /= np.linalg.norm(parts)
    terms: list[Any] = [(x, name) for x, name in zip(parts.tolist(), ("a*", "b*", "c*"), strict=True) if abs(x) >= 5e-3]
    if len(terms) == 1:
        return ("-" if terms[0][0] < 0 else "") + str(terms[0][1])
    text = " ".join(f"{'-' if x < 0 else '+'} {abs(x):.2f} {name}" for x, name in terms)
    return text.removeprefix("+ ")


def _symmetric_unit(i: int, j: int) -> FloatArray:
    element = np.zeros((3, 3))
    element[i, j] = element[j, i] = 1.0
    return element
