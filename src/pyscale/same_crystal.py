"""Which sweeps are of one crystal, so that model and absorption are decided for them together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from .experiment import Cell, Experiment
from .options import Auto

__all__ = ["CrystalGroup", "crystal_groups"]

_MOST_SWEEPS = 10
_CELL_TOLERANCE = 0.01


@dataclass(frozen=True)
class CrystalGroup:
    """Rotation sweeps of one crystal, by the number of their data set, and how that is known."""

    members: tuple[int, ...]
    reason: str


def crystal_groups(experiments: Sequence[Experiment], same_crystal: bool | Auto) -> list[CrystalGroup]:
    """Group the rotation sweeps of a job by crystal; stills are in no group.

    Parameters
    ----------
    experiments : sequence of Experiment
        In the order of the data sets.
    same_crystal : bool or Auto
        True: all sweeps are of one crystal; False: each is of its own. Auto: sweeps with the same crystal model are,
        and so are sweeps whose cell parameters all agree within 1 %, if the job has no more than 10 sweeps.

    Returns
    -------
    list of CrystalGroup
        In the order of their first members; each sweep is in exactly one.
    """
    sweeps = [k for k, e in enumerate(experiments) if not e.is_still]
    if same_crystal is True:
        return [CrystalGroup(tuple(sweeps), "same_crystal=True")] if sweeps else []
    if same_crystal is False:
        return [CrystalGroup((k,), "same_crystal=False") for k in sweeps]
    groups = _with_one_model(experiments, sweeps)
    return _with_one_cell(experiments, groups) if len(sweeps) <= _MOST_SWEEPS else groups


def _with_one_model(experiments: Sequence[Experiment], sweeps: Sequence[int]) -> list[CrystalGroup]:
    found: dict[str, list[int]] = {}
    crystals = {id(experiments[k].crystal): experiments[k].crystal for k in sweeps}
    text = {key: json.dumps(crystal, sort_keys=True) for key, crystal in crystals.items()}
    for k in sweeps:
        found.setdefault(text[id(experiments[k].crystal)], []).append(k)
    return [CrystalGroup(tuple(members), "they share a crystal model") for members in found.values()]


def _with_one_cell(experiments: Sequence[Experiment], groups: Sequence[CrystalGroup]) -> list[CrystalGroup]:
    """Join groups; each cell of a group agrees with every other one of it."""
    joined: list[tuple[list[Cell], list[CrystalGroup]]] = []
    for group in groups:
        experiment = experiments[group.members[0]]
        cell = experiment.recalculated_unit_cell or experiment.unit_cell
        for cells, parts in joined:
            if all(_agree(cell, other) for other in cells):
                cells.append(cell)
                parts.append(group)
                break
        else:
            joined.append(([cell], [group]))
    return [_join(parts) for _, parts in joined]


def _agree(cell: Cell, other: Cell) -> bool:
    return all(abs(x - y) <= _CELL_TOLERANCE * max(x, y) for x, y in zip(cell, other, strict=True))


def _join(parts: Sequence[CrystalGroup]) -> CrystalGroup:
    if len(parts) == 1:
        return parts[0]
    members = sorted(k for part in parts for k in part.members)
    return CrystalGroup(tuple(members), f"their cells agree within {100 * _CELL_TOLERANCE:g} %")
