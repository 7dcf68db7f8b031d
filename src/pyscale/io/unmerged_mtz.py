"""Unmerged MTZ files of Mosflm, AIMLESS, POINTLESS, DIALS and their like."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from ..options.importing import InputOptions
from ..symmetry import find_space_group, unit_cell_from
from ..typing import IndexArray, IntArray
from .imported import ImportedDataSet
from .mtz_batches import pack_batches
from .mtz_header import read_mtz_header
from .mtz_placement import Placement, place_spots
from .mtz_records import Observations, Records, observations_of, records_of
from .mtz_sweeps import Sweep, read_batch_headers, sweeps_of_headers, sweeps_of_records

__all__ = ["read_unmerged_mtz"]

_WAVELENGTH = 86


@dataclass(frozen=True)
class _File:
    """An MTZ file as gemmi reads it: its texts, and its batch headers by their numbers."""

    path: Path
    mtz: Any
    title: str
    history: list[str]
    batches: list[Any]

    def batches_of(self, sweep: Sweep) -> list[Any]:
        """Batch headers of a sweep."""
        first, last = int(sweep.number[0]), int(sweep.number[-1])
        begin = bisect_left(self.batches, first, key=lambda b: int(b.number))
        return self.batches[begin : bisect_right(self.batches, last, key=lambda b: int(b.number))]


@dataclass(frozen=True)
class _Crystal:
    """What a file says of its crystals, or options in its place."""

    space_group: Any
    unit_cell: tuple[float, ...]
    wavelength: float | None


def read_unmerged_mtz(path: Path, options: InputOptions) -> list[ImportedDataSet]:
    """Read an unmerged MTZ file: one data set for each sweep, or for each still.

    Raises
    ------
    DataError
        If the file is corrupt or merged, or lacks cell, space group or wavelength.
    """
    header = read_mtz_header(path)
    file = _read(path)
    records = records_of(file.mtz, str(path))
    sweeps, run = _sweeps(file, records)
    observed = observations_of(records, run, options, [*file.history, file.title])
    imported: list[ImportedDataSet] = []
    for number, rows in _rows_of_sweeps(sweeps, observed.batch):
        sweep, mine = sweeps[number], _part(observed, rows)
        crystal = _crystal(file, sweep, options)
        placement = place_spots(mine, sweep, header.rotations, np.array(crystal.unit_cell), crystal.wavelength)
        if placement.wavelength is None:
            raise DataError(f"{path}: no wavelength in the file, nor can it be told from the angles; give wavelength=")
        decisions = observed.decisions * (not imported) + list(placement.decisions)
        imported.append(_data_set(file, crystal, sweep, mine, replace(placement, decisions=tuple(decisions))))
    return imported


def _read(path: Path) -> _File:
    """Read a file; text that is no UTF-8 is left out of title and history, and damage elsewhere."""
    try:
        mtz = gemmi.read_mtz_file(str(path))
        batches = sorted(mtz.batches, key=lambda b: int(b.number))
        _ = [(d.project_name, d.crystal_name, d.dataset_name) for d in mtz.datasets]
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        text = "text that is no text" if isinstance(error, UnicodeDecodeError) else str(error)
        reason = " ".join(text.replace(str(path), "").split()).strip(" :")
        raise DataError(f"{path}: the MTZ file is truncated or corrupt ({reason or type(error).__name__})") from None
    try:
        return _File(path, mtz, mtz.title, [str(line) for line in mtz.history], batches)
    except UnicodeDecodeError:
        return _File(path, mtz, "", [], batches)


def _sweeps(file: _File, records: Records) -> tuple[list[Sweep], IntArray]:
    """The sweeps by their first batches, and the number of the sweep of each record."""
    headers = read_batch_headers(file.batches)
    sweeps = [] if headers is None else sweeps_of_headers(headers)
    known = np.zeros(len(records.batch), np.bool_)
    for sweep in sweeps:
        known |= (records.batch >= sweep.number[0]) & (records.batch <= sweep.number[-1])
    if not known.all():
        angle = records.get("ROT")
        left = ~known if angle is None else ~known & np.isfinite(angle)
        sweeps += sweeps_of_records(records.batch[left], None if angle is None else angle[left]) if left.any() else []
        sweeps.sort(key=lambda s: int(s.number[0]))
    return sweeps, _numbers(sweeps, records.batch)


def _numbers(sweeps: list[Sweep], batch: IntArray) -> IntArray:
    if len(sweeps) == 1:
        return np.zeros(len(batch), np.int32)
    first = np.array([s.number[0] for s in sweeps])
    return np.maximum(np.searchsorted(first, batch, side="right") - 1, 0).astype(np.int32)


def _rows_of_sweeps(sweeps: list[Sweep], batch: IntArray) -> list[tuple[int, IndexArray | slice]]:
    """Sweeps that have observations, and their rows in the order of the file."""
    number = _numbers(sweeps, batch)
    if (number == number[0]).all():
        return [(int(number[0]), slice(None))]
    order = np.argsort(number, kind="stable").astype(np.int64)
    found, starts = np.unique(number[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, starts[1:]), strict=True))


def _part(observed: Observations, rows: IndexArray | slice) -> Observations:
    return replace(
        observed,
        miller_index=observed.miller_index[rows],
        isym=observed.isym[rows],
        batch=observed.batch[rows],
        complete=observed.complete[rows],
        place=observed.place[rows],
        angle=None if observed.angle is None else observed.angle[rows],
        columns={name: values[rows] for name, values in observed.columns.items()},
    )


def _crystal(file: _File, sweep: Sweep, options: InputOptions) -> _Crystal:
    path, mtz = file.path, file.mtz
    dataset = next((d for d in mtz.datasets if d.id == sweep.dataset_id), None)
    if dataset is None and sweep.dataset_id < 0 and len(mtz.datasets):
        dataset = mtz.datasets[len(mtz.datasets) - 1]
    # Mosflm refines the cell image by image, and the data set has that of the first one.
    cells = [] if sweep.headers is None else [tuple(sweep.headers[:, :6].mean(axis=0).tolist())]
    cells += [c.parameters for c in (dataset.cell if dataset else mtz.cell, mtz.cell)]
    cell = options.unit_cell or next((c for c in cells if _is_cell(c)), None)
    if cell is None:
        raise DataError(f"{path}: no unit cell in the file; give input.unit_cell=")
    try:
        unit_cell_from(cell)
    except DataError as error:
        raise UsageError(f"option input.unit_cell: {error}") from None
    in_header = [] if sweep.headers is None else [float(sweep.headers[0, _WAVELENGTH])]
    known = [w for w in (*in_header, float(dataset.wavelength) if dataset else 0.0) if 1e-3 < w < 50.0]
    wavelength = options.wavelength or (known[0] if known else None)
    return _Crystal(_space_group(mtz, path, options, tuple(cell)), tuple(cell), wavelength)


def _is_cell(cell: tuple[float, ...]) -> bool:
    # gemmi's default cell has edges of 1 A.
    try:
        return bool(unit_cell_from(cell).volume > 8.0)
    except DataError:
        return False


def _space_group(mtz: Any, path: Path, options: InputOptions, cell: tuple[float, ...]) -> Any:
    if options.space_group is not None:
        try:
            return find_space_group(options.space_group)
        except DataError as error:
            raise UsageError(f"option space_group: {error}") from None
    group = mtz.spacegroup
    if group is None:
        raise DataError(f"{path}: the file names no space group that is known; give space_group=")
    if group.hm.startswith("R") and abs(cell[5] - 120.0) < 1.0 and group.ext == "R":
        return find_space_group(f"{group.hm}:H")
    return group


def _data_set(
    file: _File, crystal: _Crystal, sweep: Sweep, observed: Observations, placement: Placement
) -> ImportedDataSet:
    columns: dict[str, NDArray[Any]] = {
        "miller_index": placement.miller_index,
        **observed.columns,
        "xyzobs.px.value": placement.centroid,
        "panel": np.zeros(len(observed.isym), np.uint64),
    }
    if placement.s1 is not None:
        columns["s1"] = placement.s1
    assert placement.wavelength is not None
    return ImportedDataSet(
        source=str(file.path),
        columns=columns,
        space_group=crystal.space_group,
        unit_cell=crystal.unit_cell,
        wavelength=placement.wavelength,
        image_range=placement.image_range,
        oscillation=placement.oscillation,
        beam_direction=placement.beam_direction,
        real_space=placement.real_space,
        detector=placement.detector,
        decisions=placement.decisions,
        origin=_origin(file, sweep),
    )


def _origin(file: _File, sweep: Sweep) -> dict[str, Any]:
    """What a writer of MTZ files needs to give the file back: see `ImportedDataSet.origin`."""
    dataset = next((d for d in file.mtz.datasets if d.id == sweep.dataset_id), None)
    origin: dict[str, Any] = {"format": "mtz", "title": file.title, "history": file.history}
    if dataset is not None:
        origin["dataset"] = {
            "project": dataset.project_name,
            "crystal": dataset.crystal_name,
            "dataset": dataset.dataset_name,
            "wavelength": dataset.wavelength,
            "unit_cell": list(dataset.cell.parameters),
        }
    if sweep.headers is not None:
        origin["batches"] = pack_batches(file.batches_of(sweep))
    return origin
