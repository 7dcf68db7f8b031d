"""Space groups as plain arrays: operators, absences, asymmetric units, possible reflections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import gemmi
import numpy as np
from numpy.typing import ArrayLike

from .errors import DataError
from .typing import BoolArray, FloatArray, IntArray

__all__ = [
    "SpaceGroupLike",
    "UnitCellLike",
    "d_spacing",
    "epsilon_and_centric",
    "find_space_group",
    "group_operations",
    "inverse_d_squared",
    "possible_reflections",
    "rotation_matrices",
    "systematic_absences",
    "to_asu",
    "unit_cell_from",
]

SpaceGroupLike: TypeAlias = "gemmi.SpaceGroup | gemmi.GroupOps | str"
UnitCellLike: TypeAlias = "gemmi.UnitCell | Sequence[float] | FloatArray"

#: More lattice points than any crystal gives; a cell or a limit beyond is an error, not a huge allocation.
MAX_LATTICE_POINTS = 5e8


def find_space_group(space_group: SpaceGroupLike) -> Any:
    """Tabulated space group (`gemmi.SpaceGroup`) of a name, Hall symbol or set of operators.

    Raises
    ------
    DataError
        When the name is unknown or the setting is not tabulated.
    """
    if isinstance(space_group, gemmi.SpaceGroup):
        return space_group
    if isinstance(space_group, str):
        found = gemmi.find_spacegroup_by_name(space_group.strip())
        if found is not None:
            return found
    found = gemmi.find_spacegroup_by_ops(group_operations(space_group))
    if found is None:
        raise DataError(f"space group {space_group!r} is in a setting without a name; reindex it")
    return found


def group_operations(space_group: SpaceGroupLike) -> Any:
    """Operators (`gemmi.GroupOps`) of a space group, a name ("P 21 21 21", "R3:H") or a Hall symbol.

    Raises
    ------
    DataError
        When the name is unknown.
    """
    if isinstance(space_group, gemmi.GroupOps):
        return space_group
    if isinstance(space_group, gemmi.SpaceGroup):
        return space_group.operations()
    found = gemmi.find_spacegroup_by_name(space_group.strip())
    if found is not None:
        return found.operations()
    try:
        return gemmi.symops_from_hall(space_group.strip())
    except (RuntimeError, ValueError):
        raise DataError(f"unknown space group {space_group!r}; give a name such as 'P 21 21 21'") from None


def unit_cell_from(unit_cell: UnitCellLike) -> Any:
    """Unit cell (`gemmi.UnitCell`) of a, b, c (A) and alpha, beta, gamma (degrees).

    Raises
    ------
    DataError
        When the six numbers are not a cell of positive volume.
    """
    if isinstance(unit_cell, gemmi.UnitCell):
        return unit_cell
    parameters = np.asarray(unit_cell, dtype=np.float64)
    if parameters.shape == (6,) and np.all(np.isfinite(parameters)) and np.all(parameters > 0):
        cell = gemmi.UnitCell(*parameters.tolist())
        if np.isfinite(cell.volume) and cell.volume > 0:
            return cell
    text = np.array2string(parameters, separator=", ", threshold=6)
    raise DataError(f"unit cell {text} is not a cell of positive volume")


def rotation_matrices(space_group: SpaceGroupLike) -> IntArray:
    """Rotation parts R of all operators, h' = h R; centring translations left out.

    Returns
    -------
    ndarray, shape (m, 3, 3), int32
    """
    operators = group_operations(space_group).sym_ops
    return np.array([op.rot for op in operators], dtype=np.int32) // gemmi.Op.DEN


def systematic_absences(space_group: SpaceGroupLike, miller_index: IntArray) -> BoolArray:
    """Whether each reflection (n, 3) is absent because of centring, screw axes or glide planes.

    Returns
    -------
    ndarray, shape (n,), bool
    """
    absent = group_operations(space_group).systematic_absences(_miller(miller_index))
    return np.asarray(absent, dtype=np.bool_)


def epsilon_and_centric(space_group: SpaceGroupLike, miller_index: IntArray) -> tuple[IntArray, BoolArray]:
    """Expected-intensity factors epsilon, without centring, and centric flags of reflections (n, 3).

    Returns
    -------
    epsilon : ndarray, shape (n,), int32
    is_centric : ndarray, shape (n,), bool
    """
    operations, index = group_operations(space_group), _miller(miller_index)
    epsilon = operations.epsilon_factor_without_centering_array(index)
    is_centric = operations.centric_flag_array(index)
    return np.asarray(epsilon, dtype=np.int32), np.asarray(is_centric, dtype=np.bool_)


def inverse_d_squared(unit_cell: UnitCellLike, miller_index: IntArray) -> FloatArray:
    """1/d^2 (A^-2) of reflections (n, 3).

    Returns
    -------
    ndarray, shape (n,), float64
    """
    return np.asarray(unit_cell_from(unit_cell).calculate_1_d2_array(_miller(miller_index)), dtype=np.float64)


def d_spacing(unit_cell: UnitCellLike, miller_index: IntArray) -> FloatArray:
    """Resolution d (A) of reflections (n, 3); infinite for (0, 0, 0).

    Returns
    -------
    ndarray, shape (n,), float64
    """
    with np.errstate(divide="ignore"):
        d: FloatArray = 1.0 / np.sqrt(inverse_d_squared(unit_cell, miller_index))
    return d


def possible_reflections(
    unit_cell: UnitCellLike, space_group: SpaceGroupLike, d_min: float, d_max: float = np.inf
) -> IntArray:
    """Unique reflections between two resolution limits (A), systematic absences and Friedel mates left out.

    Returns
    -------
    ndarray, shape (n, 3), int32
        In the asymmetric unit of the CCP4 convention.

    Raises
    ------
    DataError
        When cell and `d_min` allow an absurd number of reflections, or the setting is not tabulated.
    """
    cell = unit_cell_from(unit_cell)
    n_points = 4.0 / 3.0 * np.pi * cell.volume / d_min**3 if d_min > 0 else np.inf
    if not n_points <= MAX_LATTICE_POINTS:
        raise DataError(
            f"unit cell {cell.parameters} and d_min {d_min:g} A allow {n_points:.1e} reflections; check them"
        )
    upper = float(d_max) if np.isfinite(d_max) else 0.0
    index = gemmi.make_miller_array(cell, find_space_group(space_group), float(d_min), upper, True)
    return np.asarray(index, dtype=np.int32).reshape(-1, 3)


def to_asu(space_group: SpaceGroupLike, miller_index: IntArray) -> tuple[IntArray, IntArray]:
    """Equivalents of reflections (n, 3) in the asymmetric unit of the CCP4 convention, for MTZ files.

    Returns
    -------
    asu_miller_index : ndarray, shape (n, 3), int32
    isym : ndarray, shape (n,), int32
        2 k + 1 when operator k leads to the asymmetric unit, 2 k + 2 when its negative does (column M/ISYM).

    Raises
    ------
    DataError
        When the setting is not tabulated.
    """
    group, index = find_space_group(space_group), _miller(miller_index)
    n = len(index)
    # Sorting by gemmi is undone through the row number, which travels as the value.
    rows = gemmi.Intensities()
    any_cell = gemmi.UnitCell(1, 1, 1, 90, 90, 90)
    rows.set_data(any_cell, group, index, np.arange(n, dtype=np.float64), np.ones(n))
    rows.prepare_for_merging(gemmi.DataType.Mean)
    asu = np.empty_like(index)
    asu[np.asarray(rows.value_array).astype(np.int64)] = rows.miller_array
    isym = np.zeros(n, dtype=np.int32)
    for k, rotation in enumerate(rotation_matrices(group)):
        equivalent = index @ rotation
        for code, candidate in ((2 * k + 1, equivalent), (2 * k + 2, -equivalent)):
            isym[(isym == 0) & np.all(candidate == asu, axis=1)] = code
    return asu, isym


def _miller(miller_index: ArrayLike) -> IntArray:
    # Writable, since gemmi before 0.7.5 takes no views of files.
    index: IntArray = np.require(miller_index, np.int32, ("C", "W"))
    if index.ndim != 2 or index.shape[1] != 3:
        raise ValueError(f"miller_index must have shape (n, 3), got {index.shape}")
    return index
