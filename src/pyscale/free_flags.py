"""Free-R flags: which reflections refinement must not see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gemmi
import numpy as np

from . import _core
from .symmetry import (
    SpaceGroupLike,
    UnitCellLike,
    find_space_group,
    inverse_d_squared,
    rotation_matrices,
    unit_cell_from,
)
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["FreeFlagRules", "KnownFlags", "flag_rotations", "free_flags", "sets_of_two"]

#: Indices are packed into one number, each in so many bits.
_BITS = 20
_NO_FLAG = -1


@dataclass(frozen=True)
class FreeFlagRules:
    """How flags are drawn.

    Attributes
    ----------
    fraction : float
        Wanted part of the free set; it becomes 1/n, n a whole number, the number of sets.
    max_free : int or None
        Most free reflections.
    seed : int
    n_shells : int or None
        Thin shells of resolution that are free as a whole; None to draw reflections one by one.
    """

    fraction: float = 0.05
    max_free: int | None = 2000
    seed: int = 42
    n_shells: int | None = None


@dataclass(frozen=True)
class KnownFlags:
    """Flags of another file: 0 is free, and so is what is equivalent.

    Attributes
    ----------
    miller_index : (n, 3) int32
    flag : (n,) int64
        0 (free) to n_sets - 1.
    n_sets : int
    source : str
        File and column, for people.
    """

    miller_index: IntArray
    flag: IndexArray
    n_sets: int
    source: str


def flag_rotations(
    unit_cell: UnitCellLike, space_group: SpaceGroupLike, max_obliquity_deg: float | None = None
) -> IntArray:
    """Rotations whose reflections share a flag: of the space group, or of the lattice within an obliquity.

    Returns
    -------
    ndarray, shape (m, 3, 3), int32
        A group that holds the rotations of the space group.
    """
    own = rotation_matrices(space_group)
    if max_obliquity_deg is None:
        return own
    group = find_space_group(space_group)
    lattice = gemmi.find_lattice_symmetry(unit_cell_from(unit_cell), group.centring_type(), max_obliquity_deg)
    numerators = np.array([op.rot for op in lattice.sym_ops], dtype=np.int32)
    whole = numerators[(numerators % gemmi.Op.DEN == 0).all(axis=(1, 2))] // gemmi.Op.DEN
    found = {tuple(r.ravel()) for r in whole} | {tuple(-r.ravel()) for r in whole}
    if not {tuple(r.ravel()) for r in own} <= found:
        return own
    return np.ascontiguousarray(whole)


def free_flags(
    miller_index: IntArray,
    unit_cell: UnitCellLike,
    space_group: SpaceGroupLike,
    rotations: IntArray,
    rules: FreeFlagRules,
    known: KnownFlags | None = None,
    extend: bool = True,
) -> tuple[IndexArray, int]:
    """Flags of reflections: copied where known, else drawn.

    A flag that is drawn depends on the seed and the reflection alone (with thin shells also on the resolution limit),
    neither on the order of the rows nor on what else there is, so that data merged again keep theirs. Only
    `max_free`, where it limits the fraction, looks at the number of reflections; sets of smaller fractions lie
    inside those of larger ones.

    Parameters
    ----------
    miller_index : (n, 3) int32
    unit_cell, space_group
        Of the data.
    rotations : (m, 3, 3) int32
        Equivalents under them and their Friedel mates have one flag.
    rules : FreeFlagRules
    known : KnownFlags, optional
        Flags to copy.
    extend : bool
        Whether to draw flags for reflections that are not known.

    Returns
    -------
    flag : (n,) int64
        0 is free; -1 without a flag.
    n_sets : int
        Flags are less than this.
    """
    representative = _representatives(miller_index, rotations)
    if known is not None:
        n_sets = known.n_sets
    else:
        fraction = rules.fraction if rules.max_free is None else min(rules.fraction, rules.max_free / len(miller_index))
        n_sets = max(2, round(1 / fraction))
    if rules.n_shells is not None and known is None:
        return _by_shells(inverse_d_squared(unit_cell, representative), rules, n_sets), n_sets
    drawn = np.minimum((_uniform(_packed(representative), rules.seed) * n_sets).astype(np.int64), n_sets - 1)
    if known is None:
        return drawn, n_sets
    own = rotation_matrices(space_group)
    copied = _copied(_representatives(miller_index, own), known, own)
    related = _copied(representative, known, rotations)
    copied = np.where(copied == _NO_FLAG, related, copied)
    return np.where((copied == _NO_FLAG) & extend, drawn, copied), n_sets


def _representatives(miller_index: IntArray, rotations: IntArray) -> IntArray:
    """One index for all equivalents and their Friedel mates."""
    index = np.ascontiguousarray(miller_index, dtype=np.int32)
    groups: dict[str, Any] = _core.group_reflections(index, rotations, np.zeros(len(index), np.int64))
    result = np.empty_like(index)
    result[groups["order"]] = np.repeat(groups["asu_index"], np.diff(groups["offsets"]), axis=0)
    return result


def _packed(index: IntArray) -> IndexArray:
    shifted = index.astype(np.int64) + (1 << (_BITS - 1))
    result: IndexArray = (shifted[:, 0] << (2 * _BITS)) | (shifted[:, 1] << _BITS) | shifted[:, 2]
    return result


def _uniform(key: IndexArray, seed: int) -> FloatArray:
    """Random numbers from 0 to 1 that belong to keys (the finaliser of SplitMix64; Steele, Lea & Flood 2014)."""
    x = key.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15 * (seed + 1) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    result: FloatArray = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return result


def _by_shells(d_star_sq: FloatArray, rules: FreeFlagRules, n_sets: int) -> IndexArray:
    """Sets by thin shells of equal volume: in each of `n_shells` blocks of `n_sets` shells a random one is free."""
    assert rules.n_shells is not None
    n_thin = rules.n_shells * n_sets
    shell = np.minimum((d_star_sq / d_star_sq.max()) ** 1.5 * n_thin, n_thin - 1).astype(np.int64)
    offset = (_uniform(shell // n_sets, rules.seed) * n_sets).astype(np.int64)
    result: IndexArray = (shell + offset) % n_sets
    return result


def _copied(representative: IntArray, known: KnownFlags, rotations: IntArray) -> IndexArray:
    """The lowest known flag of any equivalent; -1 where none is known."""
    key = _packed(_representatives(known.miller_index, rotations))
    order = np.lexsort((known.flag, key))
    keys, first = np.unique(key[order], return_index=True)
    flags = known.flag[order][first]
    wanted = _packed(representative)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    result: IndexArray = np.where(keys[place] == wanted, flags[place], _NO_FLAG)
    return result


def sets_of_two(miller_index: IntArray, is_free: BoolArray) -> tuple[IndexArray, int]:
    """Sets 0, 1, ..., n - 1 of reflections of which only the free ones are known: the others are dealt at random.

    Returns
    -------
    flag : (n,) int64
    n_sets : int
        So many that all are of about the same size.
    """
    n_sets = max(2, round(len(is_free) / max(1, int(np.count_nonzero(is_free)))))
    dealt = 1 + np.minimum((_uniform(_packed(miller_index), 0) * (n_sets - 1)).astype(np.int64), n_sets - 2)
    result: IndexArray = np.where(is_free, 0, dealt)
    return result, n_sets
