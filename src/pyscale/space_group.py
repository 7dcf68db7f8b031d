"""The space group that the user wants: data sets take another label, their indices stay."""

from __future__ import annotations

import logging
import re
from typing import Any

import gemmi
import numpy as np

from .dataset import Job
from .errors import UsageError
from .symmetry import rotation_matrices

__all__ = ["find_wanted_space_group", "keeps_cell", "relabelled"]

_logger = logging.getLogger(__name__)

_LARGEST_NUMBER = 230
_CELL_TOLERANCE = 0.03
"""Of squared lengths and of cosines: cells are often refined without the symmetry's constraints."""


def find_wanted_space_group(name: str) -> list[Any]:
    """Return the tabulated space groups (`gemmi.SpaceGroup`) of a Hermann-Mauguin name, number or Hall symbol.

    A name without axes (R3) or origin stands for all of these, a number for all settings; the usual one is first.

    Raises
    ------
    UsageError
        If there is none.
    """
    text = name.strip()
    number = int(text) if re.fullmatch(r"\d{1,3}", text, re.ASCII) else None
    if number is None:
        found = gemmi.find_spacegroup_by_name(text) or _by_hall_symbol(text)
    else:
        found = gemmi.find_spacegroup_by_number(number) if 1 <= number <= _LARGEST_NUMBER else None
    if found is None:
        raise UsageError(f"option space_group={text[:60]}: is no space group; give a name (P212121) or number (19)")
    others = [g for g in gemmi.spacegroup_table() if g.number == found.number and g.xhm() != found.xhm()]
    if number is None:
        others = [g for g in others if g.hm == found.hm and ":" not in text]
    return [found, *others]


def _by_hall_symbol(text: str) -> Any:
    try:
        return gemmi.find_spacegroup_by_ops(gemmi.symops_from_hall(text))
    except (RuntimeError, ValueError):
        return None


def relabelled(job: Job, name: str) -> Job:
    """Return the job with all crystals in another space group.

    Its point group must be that of the data or a subgroup of it, Friedel's law granted, in the same setting and with
    the same centring: indices stay as they are.

    Raises
    ------
    UsageError
        If there is no such space group, or it does not go with a data set; the message gives the reason.
    """
    candidates = find_wanted_space_group(name)
    reasons = [_first_obstacle(job, candidate) for candidate in candidates]
    if all(reasons):
        raise UsageError(f"option space_group={name.strip()[:60]}: {reasons[0]}")
    wanted = candidates[reasons.index("")]
    before = sorted({d.experiment.space_group.xhm() for d in job.data_sets})
    _logger.info("Space group changed from %s to %s", " and ".join(before), wanted.xhm())
    changed = job.select(range(len(job.data_sets)))
    # DIALS writes Hall symbols with a blank in front.
    changed.experiments.set_space_group(f" {wanted.hall}")
    return changed


def _first_obstacle(job: Job, wanted: Any) -> str:
    for data_set in job.data_sets:
        present = data_set.experiment.space_group
        if present is wanted or present.xhm() == wanted.xhm():
            continue
        reason = _obstacle(wanted, present, data_set.experiment.unit_cell)
        if reason:
            return f"data set {data_set.identifier} is in {present.xhm()}; {reason}"
    return ""


def _obstacle(wanted: Any, present: Any, cell: tuple[float, ...]) -> str:
    """Why data in one space group cannot be called another; empty if they can."""
    new, old = wanted.operations(), present.operations()
    if not keeps_cell(wanted, cell):
        shown = " ".join(f"{x:.2f}" for x in cell)
        return f"their cell {shown} is not {wanted.crystal_system_str()} in this setting"
    if sorted(map(tuple, new.cen_ops)) != sorted(map(tuple, old.cen_ops)):
        return f"the lattice is {present.centring_type()}, not {wanted.centring_type()}: index the data in it first"
    laue_new, laue_old = _laue_rotations(new), _laue_rotations(old)
    if laue_new <= laue_old:
        return ""
    if laue_old < laue_new:
        return (
            f"point group {wanted.point_group_hm()} has more symmetry than theirs: establish it first, for example "
            "with dials.symmetry"
        )
    if wanted.point_group_hm() == present.point_group_hm():
        return "the setting differs: reindex the data, for example with dials.reindex"
    return (
        f"point group {wanted.point_group_hm()} is no subgroup of theirs, {present.point_group_hm()}, in this setting"
    )


def keeps_cell(space_group: Any, cell: tuple[float, ...], tolerance: float = _CELL_TOLERANCE) -> bool:
    """Whether all rotations of a space group leave the metric tensor G of a cell alone: R^T G R = G.

    The tolerance is of squared lengths and of cosines.
    """
    axes = np.array(gemmi.UnitCell(*cell).orth.mat.tolist())
    metric = axes.T @ axes
    rotations = rotation_matrices(space_group)
    moved = np.swapaxes(rotations, 1, 2) @ metric @ rotations
    lengths = np.sqrt(np.diag(metric))
    return bool((np.abs(moved - metric) <= tolerance * np.outer(lengths, lengths)).all())


def _laue_rotations(operations: Any) -> set[tuple[int, ...]]:
    """Rotation parts of all operators and of their products with the inversion."""
    rotations = [[x for row in op.rot for x in row] for op in operations.sym_ops]
    return {tuple(sign * x for x in rotation) for rotation in rotations for sign in (1, -1)}
