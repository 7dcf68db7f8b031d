"""Instructions for SHELX: what reflections alone do not tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gemmi

from ..symmetry import UnitCellLike, unit_cell_from

__all__ = ["write_ins"]

_LATTICES = {"P": 1, "I": 2, "R": 3, "F": 4, "A": 5, "B": 6, "C": 7}


def write_ins(path: Path, unit_cell: UnitCellLike, space_group: Any, wavelength: float) -> None:
    """Write TITL, CELL, ZERR, LATT, SYMM and HKLF 4; the contents of the cell (SFAC, UNIT) are for the user to add.

    Operators that lattice centring and, in groups with the centre at the origin, inversion generate are left out, as
    SHELX wants it.
    """
    cell = unit_cell_from(unit_cell).parameters
    operations = space_group.operations()
    number = _LATTICES[space_group.centring_type()]
    has_centre = any(op.triplet() == "-x,-y,-z" for op in operations)
    lines = [
        f"TITL {space_group.xhm()}",
        f"CELL {wavelength:.6f} " + " ".join(f"{x:.4f}" for x in cell),
        "ZERR 1 0 0 0 0 0 0",
        f"LATT {number if has_centre else -number}",
        *(f"SYMM {triplet.upper()}" for triplet in _generators(operations, has_centre)),
        "REM SFAC and UNIT: the contents of the cell",
        "HKLF 4",
        "END",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _generators(operations: Any, has_centre: bool) -> list[str]:
    """Operators beside the identity, one of each pair that inversion at the origin relates."""
    chosen: list[str] = []
    seen = {"x,y,z"}
    if has_centre:
        seen.add("-x,-y,-z")
    for op in operations.sym_ops:
        triplet = op.triplet()
        if triplet in seen:
            continue
        chosen.append(triplet)
        seen.add(triplet)
        if has_centre:
            seen.add(_inverted(op))
    return chosen


def _inverted(op: Any) -> str:
    """The operator after inversion at the origin: -x' for x'."""
    triplet: str = (gemmi.Op("-x,-y,-z") * op).wrap().triplet()
    return triplet
