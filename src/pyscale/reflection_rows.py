"""The rows of files that hold one reflection and its symmetry equivalents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .dataset import DataSet
from .integration import integrated
from .reflections import ReflectionTable
from .typing import FloatArray, IndexArray, IntArray

__all__ = ["EquivalentRows", "Observation", "first_rows"]

_LARGEST_INDEX = 9999


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One row of a file.

    Attributes
    ----------
    data_set, source : str
    row : int
        Of all rows of the source, from 0.
    miller_index : (h, k, l)
        As observed.
    is_minus : bool
        Whether it is one of I(-).
    position : (x, y, z)
        Pixels and image coordinate.
    n_records : int
        How many records of the integrated data it was summed from.
    profile, summation : (I, sigma) or None
        As integrated.
    intensity : float
        What was scaled: after Lorentz, polarisation, detector efficiency and partiality; not divided by g.
    g : float or None
    scaled, sigma : float or None
        I/g, and the sigma by which it is merged: statistical, without what the uncertainty of scales adds.
    deviation : float or None
        From the mean of the others, in units of the sigma of this difference.
    fate : str
        What became of it.
    """

    data_set: str
    source: str
    row: int
    miller_index: tuple[int, int, int]
    is_minus: bool
    position: tuple[float, float, float]
    n_records: int
    profile: tuple[float, float] | None
    summation: tuple[float, float] | None
    intensity: float
    g: float | None = None
    scaled: float | None = None
    sigma: float | None = None
    deviation: float | None = None
    fate: str = ""


def first_rows(data_sets: Sequence[DataSet]) -> dict[str, int]:
    """First row of each source among all rows that were read."""
    starts: dict[str, int] = {}
    for d in data_sets:
        rows = d.reflections.input_row
        if rows is not None and rows.size:
            first = int(rows.min())
            starts[d.reflections.source] = min(first, starts.get(d.reflections.source, first))
    return starts


@dataclass(frozen=True)
class EquivalentRows:
    """How to find and describe the rows of one reflection.

    Attributes
    ----------
    equivalents : (m, 3) int32
        Those of I(+).
    is_centric : bool
        Whether these are all.
    starts : dict of str to int
        First row of each source among all rows that were read.
    """

    equivalents: IntArray
    is_centric: bool
    starts: dict[str, int]

    def of(self, data_sets: Sequence[DataSet]) -> list[DataSet]:
        """Data sets that have rows of the reflection, with these rows only."""
        keys = _keys(np.concatenate([self.equivalents, -self.equivalents]))
        chosen = []
        for d in data_sets:
            rows = np.flatnonzero(np.isin(_keys(d.reflections["miller_index"]), keys))
            if rows.size:
                chosen.append(replace(d, reflections=d.reflections.select(rows)))
        return chosen

    def observations(self, d: DataSet, intensity: FloatArray) -> list[Observation]:
        """Describe the rows of such a data set, with the intensities (n,) that are scaled."""
        table = d.reflections
        position, index, rows = table.centroids(), table["miller_index"], table.input_row
        is_minus = np.zeros(len(table), np.bool_)
        if not self.is_centric:
            is_minus = ~np.isin(_keys(index), _keys(self.equivalents))
        records = table.get("n_records")
        numbers = np.arange(len(table)) if rows is None else rows - self.starts.get(table.source, 0)
        h, k, l = index.T.tolist()
        x, y, z = position.T.tolist()
        return [
            Observation(
                data_set=d.identifier,
                source=table.source,
                row=int(numbers[i]),
                miller_index=(h[i], k[i], l[i]),
                is_minus=bool(is_minus[i]),
                position=(x[i], y[i], z[i]),
                n_records=1 if records is None else int(records[i]),
                profile=_integrated(table, "prf", i),
                summation=_integrated(table, "sum", i),
                intensity=float(intensity[i]),
            )
            for i in range(len(table))
        ]


def _keys(index: IntArray) -> IndexArray:
    """A number for each Miller index (n, 3)."""
    wide = np.clip(np.asarray(index, np.int64), -_LARGEST_INDEX - 1, _LARGEST_INDEX + 1) + (1 << 20)
    return (wide[:, 0] << 42) + (wide[:, 1] << 21) + wide[:, 2]


def _integrated(table: ReflectionTable, which: str, row: int) -> tuple[float, float] | None:
    if f"intensity.{which}.value" not in table or not integrated(table["flags"][row : row + 1], which)[0]:
        return None
    value, variance = table[f"intensity.{which}.value"][row], table[f"intensity.{which}.variance"][row]
    return float(value), float(np.sqrt(max(variance, 0.0)))
