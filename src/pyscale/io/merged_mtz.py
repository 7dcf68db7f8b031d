"""Merged MTZ files, through gemmi."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..merged_data_set import MergedDataSet
from ..merging import MergedReflections
from ..symmetry import SpaceGroupLike, to_asu
from ..typing import BoolArray, FloatArray, IndexArray, IntArray
from .mtz import MtzDataset, fill_mtz, new_mtz, write_mtz

__all__ = ["merged_data_sets_mtz", "merged_mtz", "write_merged_mtz"]

_Column = tuple[str, str, ArrayLike]
_BITS = 20


def write_merged_mtz(
    path: str | Path,
    merged: MergedReflections,
    dataset: MtzDataset,
    space_group: SpaceGroupLike,
    *,
    title: str = "Merged by pyscale",
    history: Sequence[str] = (),
) -> None:
    """Write `merged_mtz`. The file is written in place: give a temporary path and rename."""
    write_mtz(path, merged_mtz(merged, dataset, space_group, title=title, history=history))


def merged_mtz(
    merged: MergedReflections,
    dataset: MtzDataset,
    space_group: SpaceGroupLike,
    *,
    title: str = "Merged by pyscale",
    history: Sequence[str] = (),
) -> Any:
    """IMEAN, I(+), I(-), their uncertainties and numbers of observations in the CCP4 asymmetric unit: `gemmi.Mtz`.

    Centric reflections have I(+) alone.

    Raises
    ------
    DataError
        When gemmi does not know the setting of the space group.
    """
    mtz = new_mtz(space_group, [dataset], title, history)
    rows = _AsuRows.of(merged, space_group)
    fill_mtz(mtz, rows.index, _intensity_columns(merged, rows, "", True))
    mtz.sort(3)
    return mtz


def merged_data_sets_mtz(
    data_sets: Sequence[MergedDataSet],
    space_group: SpaceGroupLike,
    *,
    project: str = "AUTOMATIC",
    anomalous: bool = True,
    free_flags: tuple[IntArray, IndexArray] | None = None,
    title: str = "Merged by pyscale",
    history: Sequence[str] = (),
) -> Any:
    """Intensities, amplitudes, halves and free-R flags with the labels of dials.merge: `gemmi.Mtz`.

    Each data set has its own columns, which end in _WAVE1, _WAVE2, ... if there are several. Centric reflections
    have (+) alone.

    Parameters
    ----------
    data_sets : sequence of MergedDataSet
    anomalous : bool
        Whether to have (+), (-) and DANO.
    free_flags : ((n, 3) int32, (n,) int64), optional
        Miller indices, one of all equivalents and mates as in `MergedReflections`, and their flags; negative: none.

    Raises
    ------
    DataError
        When gemmi does not know the setting of the space group.
    """
    entries = [
        MtzDataset(d.wavelength, d.unit_cell, project=project, crystal=d.crystal, dataset=d.name) for d in data_sets
    ]
    mtz = new_mtz(space_group, entries, title, history)
    parts = [_AsuRows.of(d.merged, space_group) for d in data_sets]
    unique, first = np.unique(np.concatenate([p.key for p in parts]), return_index=True)
    index = np.concatenate([p.index for p in parts])[first]
    columns: list[_Column] = []
    numbers: list[int] = []
    for k, (data_set, rows) in enumerate(zip(data_sets, parts, strict=True)):
        suffix = f"_WAVE{k + 1}" if len(data_sets) > 1 else ""
        place = np.searchsorted(unique, rows.key)
        own = [
            (label, kind, _spread(values, place, len(unique)))
            for label, kind, values in _columns(data_set, rows, suffix, anomalous)
        ]
        columns += own
        numbers += [k + 1] * len(own)
    if free_flags is not None:
        columns.append(("FreeR_flag", "I", _flag_column(free_flags, unique, space_group)))
        numbers.append(1)
    fill_mtz(mtz, index, columns, numbers)
    mtz.sort(3)
    return mtz


@dataclass(frozen=True)
class _AsuRows:
    """Indices in the CCP4 asymmetric unit, and where this exchanges the mates."""

    index: IntArray
    swapped: BoolArray
    key: IndexArray

    @classmethod
    def of(cls, merged: MergedReflections, space_group: SpaceGroupLike) -> _AsuRows:
        index, isym = to_asu(space_group, merged.miller_index)
        return cls(index, (isym % 2 == 0) & ~merged.is_centric, _packed(index))

    def mates(self, plus: ArrayLike, minus: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The values of (+) and (-) in the asymmetric unit."""
        return np.where(self.swapped, minus, plus), np.where(self.swapped, plus, minus)


def _packed(index: IntArray) -> IndexArray:
    """Indices as one number each."""
    shifted = index.astype(np.int64) + (1 << (_BITS - 1))
    result: IndexArray = (shifted[:, 0] << (2 * _BITS)) | (shifted[:, 1] << _BITS) | shifted[:, 2]
    return result


def _spread(values: ArrayLike, place: IndexArray, n: int) -> FloatArray:
    column = np.full(n, np.nan)
    column[place] = values
    return column


def _columns(data_set: MergedDataSet, rows: _AsuRows, suffix: str, anomalous: bool) -> list[_Column]:
    columns = _intensity_columns(data_set.merged, rows, suffix, anomalous)
    if data_set.amplitudes is not None:
        columns += _amplitude_columns(data_set, rows, suffix, anomalous)
    if data_set.halves is not None:
        for k in (0, 1):
            columns += [
                (f"IHALF{k + 1}{suffix}", "J", data_set.halves.intensity[k]),
                (f"SIGIHALF{k + 1}{suffix}", "Q", data_set.halves.sigma[k]),
                (f"NHALF{k + 1}{suffix}", "R", data_set.halves.n_obs[k]),
            ]
    return columns


def _intensity_columns(m: MergedReflections, rows: _AsuRows, suffix: str, anomalous: bool) -> list[_Column]:
    columns: list[_Column] = [("IMEAN", "J", m.intensity), ("SIGIMEAN", "Q", m.sigma)]
    if anomalous:
        intensity = rows.mates(m.intensity_plus, m.intensity_minus)
        columns += _mates("I", "KM", suffix, intensity, rows.mates(m.sigma_plus, m.sigma_minus))
    columns.append(("N", "I", m.n_obs))
    columns = [(label if "(" in label else label + suffix, kind, values) for label, kind, values in columns]
    if anomalous:
        n_obs = rows.mates(m.n_obs_plus, m.n_obs_minus)
        columns += [(f"N{suffix}({sign})", "I", n) for sign, n in zip("+-", n_obs, strict=True)]
    return columns


def _amplitude_columns(data_set: MergedDataSet, rows: _AsuRows, suffix: str, anomalous: bool) -> list[_Column]:
    a = data_set.amplitudes
    assert a is not None
    columns: list[_Column] = [(f"F{suffix}", "F", a.amplitude), (f"SIGF{suffix}", "Q", a.sigma)]
    if anomalous:
        amplitude = rows.mates(a.amplitude_plus, a.amplitude_minus)
        columns += _mates("F", "GL", suffix, amplitude, rows.mates(a.sigma_plus, a.sigma_minus))
        columns.append((f"DANO{suffix}", "D", np.where(rows.swapped, -a.difference, a.difference)))
        columns.append((f"SIGDANO{suffix}", "Q", a.difference_sigma))
    return columns


def _mates(
    letter: str, kinds: str, suffix: str, values: tuple[FloatArray, FloatArray], sigmas: tuple[FloatArray, FloatArray]
) -> list[_Column]:
    return [
        column
        for sign, value, sigma in zip("+-", values, sigmas, strict=True)
        for column in (
            (f"{letter}{suffix}({sign})", kinds[0], value),
            (f"SIG{letter}{suffix}({sign})", kinds[1], sigma),
        )
    ]


def _flag_column(
    free_flags: tuple[IntArray, IndexArray], unique: IndexArray, space_group: SpaceGroupLike
) -> FloatArray:
    index, flag = free_flags
    key = _packed(to_asu(space_group, index)[0])
    return _spread(np.where(flag < 0, np.nan, flag), np.searchsorted(unique, key), len(unique))
