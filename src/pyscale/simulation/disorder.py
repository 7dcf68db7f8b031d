"""What is wrong with a crystal: a second domain (twin), and copies of a molecule that a translation nearly relates."""

from __future__ import annotations

from typing import Any

import gemmi
import numpy as np

from ..errors import UsageError
from ..indexing_operators import alternative_indexings
from ..symmetry import systematic_absences
from ..typing import FloatArray, IndexArray
from .options import SimulationOptions

__all__ = ["translation_modulation", "twin_partners", "twinned"]

_MAX_OBLIQUITY_DEG = 2.0


def twin_partners(options: SimulationOptions, index: IndexArray, space_group: Any) -> tuple[str, IndexArray | None]:
    """Name of the twin law, and the row of h T for each reflection (n, 3): -1 where it is absent; None without a twin.

    Raises
    ------
    UsageError
        The twin law cannot be read, or there is none.
    """
    if options.twin_fraction == 0.0:
        return "", None
    name, law = _twin_law(options, space_group)
    moved = np.rint(index @ law).astype(np.int64)
    whole = np.abs(index @ law - moved).max(axis=1) < 1e-6
    offset = int(max(np.abs(index).max(), np.abs(moved).max()))
    keys, wanted = _key(index, offset), _key(moved, offset)
    order = np.argsort(keys)
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    found = whole & (keys[order][place] == wanted)
    absent = ~whole | systematic_absences(space_group, moved.astype(np.int32))
    # A twin by pseudo-merohedry has partners beyond the sphere: such reflections stay as they are.
    own = np.arange(len(index))
    partner: IndexArray = np.where(found, order[place], np.where(absent, -1, own))
    return name, partner


def twinned(intensity: FloatArray, partner: IndexArray | None, fraction: float) -> FloatArray:
    """(1 - a) I(h) + a I(Th)."""
    if partner is None:
        return intensity
    other = np.where(partner >= 0, intensity[partner], 0.0)
    result: FloatArray = (1.0 - fraction) * intensity + fraction * other
    return result


def translation_modulation(options: SimulationOptions, unique: IndexArray, rotations: list[IndexArray]) -> FloatArray:
    """Relative expected intensity of reflections (n, 3): the mean of 1 + f cos(2 pi h R t) over all rotations."""
    if options.pseudo_translation_fraction == 0.0:
        return np.ones(len(unique))
    vector = np.array(options.pseudo_translation)
    waves = np.mean([np.cos(2.0 * np.pi * (unique @ r @ vector)) for r in rotations], axis=0)
    result: FloatArray = 1.0 + options.pseudo_translation_fraction * waves
    return result


def _key(index: IndexArray, offset: int) -> IndexArray:
    width = 2 * offset + 1
    result: IndexArray = ((index[:, 0] + offset) * width + index[:, 1] + offset) * width + index[:, 2] + offset
    return result


def _twin_law(options: SimulationOptions, space_group: Any) -> tuple[str, FloatArray]:
    """Triplet and matrix T of h' = h T."""
    if options.twin_law:
        return options.twin_law, _parsed(options.twin_law)
    operators = alternative_indexings(options.unit_cell, space_group, _MAX_OBLIQUITY_DEG)
    regular = [] if operators is None else [k for k in range(1, len(operators)) if operators.normal[k]]
    if operators is None or not regular:
        raise UsageError(
            f"twin_fraction={options.twin_fraction:g}: the lattice of unit_cell={options.unit_cell} has no symmetry "
            f"that space_group={options.space_group} lacks and that leaves its equivalents alike; give twin_law"
        )
    return operators.triplets[regular[0]], operators.matrix(regular[0])


def _parsed(text: str) -> FloatArray:
    try:
        operator = gemmi.Op(text.replace("h", "x").replace("k", "y").replace("l", "z"))
    except (RuntimeError, ValueError):
        raise UsageError(f"twin_law={text} is no twin law: give new h, k, l such as h,-h-k,-l") from None
    # Row i of the triplet makes the new index i: h' = h T has its transpose.
    law = np.array(operator.rot, np.float64).T / operator.DEN
    if abs(np.linalg.det(law) - 1.0) > 1e-6:
        raise UsageError(f"twin_law={text} is no rotation: its determinant is {np.linalg.det(law):.3g}")
    result: FloatArray = law
    return result
