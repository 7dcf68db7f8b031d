"""Unit cell, wavelength and space group in instructions of SHELX, or in lines of a CIF, within any text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gemmi

__all__ = ["NUMBER", "TextSymmetry", "shelx_space_group", "symmetry_in_text"]

# Each of these patterns matches any text in one way only, within one line: no text makes them slow.
NUMBER = r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[Ee][-+]?\d+)?)"
_CELL = re.compile(r"^CELL" + rf"[ \t]+{NUMBER}" * 7 + r"[ \t\r]*$", re.MULTILINE | re.IGNORECASE)
_LATTICE = re.compile(r"^LATT[ \t]+([-+]?[1-7])[ \t\r]*$", re.MULTILINE | re.IGNORECASE)
_OPERATOR = re.compile(r"^SYMM[ \t]+([^ \t\r\n].{0,100})$", re.MULTILINE | re.IGNORECASE)
_CIF_CELL = tuple(
    re.compile(rf"^[ \t]*_cell[_.]{name}[ \t]+{NUMBER}", re.MULTILINE | re.IGNORECASE)
    for name in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
)
_CIF_WAVELENGTH = re.compile(rf"^[ \t]*_diffrn_radiation_wavelength[ \t]+{NUMBER}", re.MULTILINE | re.IGNORECASE)
_CIF_GROUP = tuple(
    re.compile(
        rf"^[ \t]*{name}[ \t]+(?:'([^'\n]{{1,40}})'|\"([^\"\n]{{1,40}})\"|(\S{{1,40}}))", re.MULTILINE | re.IGNORECASE
    )
    for name in (
        r"_space_group_name_Hall",
        r"_symmetry_space_group_name_Hall",
        r"_space_group_name_H-M_alt",
        r"_symmetry_space_group_name_H-M",
    )
)
_CENTRINGS = {
    1: ("x,y,z",),
    2: ("x,y,z", "x+1/2,y+1/2,z+1/2"),
    3: ("x,y,z", "x+2/3,y+1/3,z+1/3", "x+1/3,y+2/3,z+2/3"),
    4: ("x,y,z", "x,y+1/2,z+1/2", "x+1/2,y,z+1/2", "x+1/2,y+1/2,z"),
    5: ("x,y,z", "x,y+1/2,z+1/2"),
    6: ("x,y,z", "x+1/2,y,z+1/2"),
    7: ("x,y,z", "x+1/2,y+1/2,z"),
}
"""By the number of the instruction LATT; negative numbers have no centre of symmetry."""
_MOST_OPERATORS = 192


@dataclass(frozen=True)
class TextSymmetry:
    """What was found: cell (A, degrees), wavelength (A), space group; None where there was none."""

    unit_cell: tuple[float, ...] | None = None
    wavelength: float | None = None
    space_group: gemmi.SpaceGroup | None = None


def symmetry_in_text(text: str) -> TextSymmetry:
    """Return what instructions of SHELX (CELL, LATT, SYMM) or else lines of a CIF in a text say."""
    found = _CELL.search(text)
    if found is not None:
        wavelength, *cell = (float(x) for x in found.groups())
        lattice = _LATTICE.search(text)
        group = shelx_space_group(int(lattice.group(1)), _OPERATOR.findall(text)) if lattice else _named_group(text)
        return TextSymmetry(tuple(cell), wavelength if wavelength > 0 else None, group)
    lengths = [pattern.search(text) for pattern in _CIF_CELL]
    given = [float(m.group(1)) for m in lengths if m is not None]
    wave = _CIF_WAVELENGTH.search(text)
    return TextSymmetry(
        tuple(given) if len(given) == len(_CIF_CELL) else None,
        float(wave.group(1)) if wave is not None and float(wave.group(1)) > 0 else None,
        _named_group(text),
    )


def _named_group(text: str) -> gemmi.SpaceGroup | None:
    from ..errors import DataError
    from ..symmetry import find_space_group

    for pattern in _CIF_GROUP:
        found = pattern.search(text)
        if found is not None:
            try:
                group: gemmi.SpaceGroup = find_space_group(next(x for x in found.groups() if x))
                return group
            except DataError:
                continue
    return None


def shelx_space_group(lattice: int, operators: Sequence[str]) -> gemmi.SpaceGroup | None:
    """The space group of the instructions LATT (its number) and SYMM; None if they make none that is tabulated."""
    import gemmi

    generators = ["x,y,z", *operators, *(["-x,-y,-z"] if lattice > 0 else [])]
    try:
        group = gemmi.GroupOps([])
        group.sym_ops = [gemmi.Op(text.strip().lower()) for text in generators[: _MOST_OPERATORS + 1]]
        group.cen_ops = [list(gemmi.Op(text).tran) for text in _CENTRINGS[abs(lattice)]]
        group.add_missing_elements()
        found: gemmi.SpaceGroup | None = gemmi.find_spacegroup_by_ops(group)
    except (RuntimeError, ValueError):
        return None
    return found
