"""Directions in the crystal along which beams ran: where absorption surfaces have data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..observations import JobObservations
from ..progress import checkpoint
from ..scaling_model import DataSetModel
from ..typing import BoolArray, IndexArray
from .scaled_data import ScaledData

__all__ = ["N_AZIMUTH", "N_POLAR", "Beams", "beam_directions", "visited_directions"]

N_POLAR, N_AZIMUTH = 45, 90
_MOST_SURFACES = 12


@dataclass(frozen=True)
class Beams:
    """Directions of the incident and diffracted beams for each absorption surface, those of the first data sets.

    Attributes
    ----------
    data_sets : tuple of tuple of int
        Numbers of the data sets that have the surface.
    visited : tuple of (45, 90) bool
        Cells of 4 degrees of polar angle and azimuth, the latter from -180 degrees, that beams ran through.
    """

    data_sets: tuple[tuple[int, ...], ...]
    visited: tuple[BoolArray, ...]

    def to_dict(self) -> dict[str, Any]:
        """Runs of cells for each row."""
        return {
            "surfaces": [
                {"data_sets": list(numbers), "visited": [_runs(row) for row in visited]}
                for numbers, visited in zip(self.data_sets, self.visited, strict=True)
            ]
        }

    def text(self) -> str:
        """Return nothing: the report draws it."""
        return ""

    def warnings(self) -> list[str]:
        """Return nothing."""
        return []


def _runs(row: BoolArray) -> list[list[int]]:
    """First and last cell of each run."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
    return [[begin, end - 1] for begin, end in edges.reshape(-1, 2).tolist()]


def beam_directions(data: ScaledData) -> Beams | None:
    """Find the directions for the surfaces of a fit; None without any."""
    surfaces = _surfaces(data.fit.models)[:_MOST_SURFACES]
    if not surfaces:
        return None
    visited = tuple(visited_directions(data.observations, numbers) for numbers in surfaces)
    return Beams(tuple(map(tuple, surfaces)), visited)


def _surfaces(models: Sequence[DataSetModel]) -> list[list[int]]:
    """Data sets of each absorption surface, in the order of the first ones; of one size, shared ones are the same."""
    found: list[list[int]] = []
    shared: dict[int, list[int]] = {}
    for k, model in enumerate(models):
        for c in model.components:
            if c.kind != "absorption":
                continue
            if c.shared and c.n_parameters in shared:
                shared[c.n_parameters].append(k)
                continue
            found.append([k])
            if c.shared:
                shared[c.n_parameters] = found[-1]
    return found


def visited_directions(observations: JobObservations, data_sets: Sequence[int]) -> BoolArray:
    """Cells of directions that a beam of some data sets crosses, (45, 90) bool."""
    checkpoint()
    wanted = np.zeros(int(observations.data_set.max(initial=0)) + 1, np.bool_)
    wanted[[k for k in data_sets if k < wanted.size]] = True
    rows: IndexArray | slice = slice(None) if wanted.all() else np.flatnonzero(wanted[observations.data_set])
    counts = np.zeros(N_POLAR * N_AZIMUTH, np.int64)
    for beams in (observations.s0_crystal[rows], observations.s1_crystal[rows]):
        polar = np.arccos(np.clip(beams[:, 2], -1.0, 1.0)) * (N_POLAR / np.pi)
        azimuth = (np.arctan2(beams[:, 1], beams[:, 0]) + np.pi) * (N_AZIMUTH / (2 * np.pi))
        cell = np.minimum(polar.astype(np.int64), N_POLAR - 1) * N_AZIMUTH
        cell += np.minimum(azimuth.astype(np.int64), N_AZIMUTH - 1)
        counts += np.bincount(cell, minlength=counts.size)
    visited: BoolArray = (counts > 0).reshape(N_POLAR, N_AZIMUTH)
    return visited
