"""Unit cell, wavelength and space group of a block of a CIF."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .shelx_symmetry import TextSymmetry

if TYPE_CHECKING:
    import gemmi

__all__ = ["symmetry_of_block"]

_CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
_WAVELENGTHS = (
    "_diffrn_radiation_wavelength",
    "_diffrn_radiation_wavelength.wavelength",
    "_diffrn_radiation.pdbx_wavelength",
    "_pdbx_diffrn_unmerged_cell.wavelength",
)
_GROUPS = (
    "_space_group_name_Hall",
    "_symmetry_space_group_name_Hall",
    "_symmetry.space_group_name_Hall",
    "_space_group.name_Hall",
    "_space_group_name_H-M_alt",
    "_symmetry_space_group_name_H-M",
    "_symmetry.space_group_name_H-M",
    "_space_group.name_H-M_alt",
)
_OPERATORS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz", "_space_group_symop.operation_xyz")


def symmetry_of_block(block: Any, first: Any) -> TextSymmetry:
    """What a block says, or else the first one of the file (`gemmi.cif.Block`)."""
    own, other = _symmetry(block), _symmetry(first)
    return TextSymmetry(
        own.unit_cell or other.unit_cell, own.wavelength or other.wavelength, own.space_group or other.space_group
    )


def _symmetry(block: Any) -> TextSymmetry:
    cells = [[_number(block, f"{prefix}{name}") for name in _CELL] for prefix in ("_cell_", "_cell.")]
    cells.append([_number(block, f"_pdbx_diffrn_unmerged_cell.cell_{name}") for name in _CELL])
    cell = next(([x for x in c if x is not None] for c in cells if None not in c), None)
    wavelength = next((w for tag in _WAVELENGTHS if (w := _number(block, tag)) is not None and w > 0), None)
    return TextSymmetry(None if cell is None else tuple(cell), wavelength, _group(block))


def _number(block: Any, tag: str) -> float | None:
    """The first value of an item that is a finite number; standard uncertainties in brackets are left out."""
    import gemmi

    for value in block.find_values(tag):
        number = gemmi.cif.as_number(value)
        return float(number) if abs(number) < 1e9 else None
    return None


def _group(block: Any) -> gemmi.SpaceGroup | None:
    """By operators first, which leave no doubt about the setting."""
    import gemmi

    from ..errors import DataError
    from ..symmetry import find_space_group

    for tag in _OPERATORS:
        operators = [gemmi.cif.as_string(x) for x in block.find_values(tag)]
        if 0 < len(operators) <= 192:
            try:
                found = gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(x) for x in operators]))
            except (RuntimeError, ValueError):
                continue
            if found is not None:
                return found
    for tag in _GROUPS:
        name = block.find_value(tag)
        if name is not None and not gemmi.cif.is_null(name):
            try:
                group: gemmi.SpaceGroup = find_space_group(gemmi.cif.as_string(name))
                return group
            except DataError:
                continue
    return None
