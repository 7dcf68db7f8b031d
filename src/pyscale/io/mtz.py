"""Unmerged MTZ files, through gemmi; and what all MTZ files have."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import ArrayLike

from ..errors import DataError
from ..symmetry import SpaceGroupLike, UnitCellLike, find_space_group, to_asu, unit_cell_from
from ..typing import FloatArray, IndexArray, IntArray
from .batch_numbers import batch_offsets

__all__ = [
    "MtzDataset",
    "MtzSweep",
    "UnmergedReflections",
    "fill_mtz",
    "new_mtz",
    "unmerged_mtz",
    "write_mtz",
    "write_unmerged_mtz",
]

#: Optional columns of unmerged files, in their order: attribute, label, type.
_UNMERGED_COLUMNS = (
    ("scale", "SCALEUSED", "R"),
    ("scale_sigma", "SIGSCALEUSED", "R"),
    ("fraction_calc", "FRACTIONCALC", "R"),
    ("x_det", "XDET", "R"),
    ("y_det", "YDET", "R"),
    ("rot", "ROT", "R"),
    ("lp", "LP", "R"),
    ("qe", "QE", "R"),
)


@dataclass(frozen=True)
class MtzDataset:
    """Names, wavelength (A) and cell of a data set of an MTZ file."""

    wavelength: float
    unit_cell: UnitCellLike
    project: str = "pyscale"
    crystal: str = "XTAL"
    dataset: str = "NATIVE"


@dataclass(frozen=True)
class MtzSweep:
    """What batch headers tell of a sweep, or of one still.

    Attributes
    ----------
    dataset : MtzDataset
    image_range : (int, int)
        First and last image.
    oscillation : (float, float)
        Start of the first image and width of an image (degrees); width 0 for stills.
    rotation_axis : (3,) or None
        In the laboratory; None for stills.
    s0 : (3,)
        Direction of the beam, from the source to the crystal, in the same frame.
    setting_matrix : (3, 3) or (n_images, 3, 3) or None
        UB at rotation angle 0, goniometer included (A^-1): r = R(axis, phi) UB h.
    detector_distance : float
        In mm, 0 when unknown.
    detector_size : (float, float)
        Pixels along fast and slow.
    mosaicity : float
        Degrees.
    batch_offset : int or None
        What the batch numbers exceed those of images by, if no earlier sweep has these numbers.
    """

    dataset: MtzDataset
    image_range: tuple[int, int]
    oscillation: tuple[float, float] = (0.0, 0.0)
    rotation_axis: Sequence[float] | FloatArray | None = None
    s0: Sequence[float] | FloatArray = (0.0, 0.0, -1.0)
    setting_matrix: FloatArray | None = None
    detector_distance: float = 0.0
    detector_size: tuple[float, float] = (0.0, 0.0)
    mosaicity: float = 0.0
    batch_offset: int | None = None


@dataclass(frozen=True)
class UnmergedReflections:
    """Scaled observations for an unmerged file, divided by the scale. Columns that are None are left out.

    Attributes
    ----------
    miller_index : (n, 3) int32
        As observed.
    sweep : (n,) int64
        Position in the list of sweeps.
    image : (n,) int64
        Image number within the sweep's image range: floor(z) + 1.
    intensity, sigma : (n,) float64
        I/g and its standard uncertainty.
    scale, scale_sigma : (n,) float64, optional
        The inverse scale factor g that the intensity was divided by, as DIALS has it, and its uncertainty.
    fraction_calc, x_det, y_det, rot, lp, qe : (n,) float64, optional
        Partiality, detector position (pixels), rotation angle (degrees), Lorentz-polarisation factor,
        quantum efficiency.
    others : mapping of (str, str) to (n,) float64
        Further columns, by label and type.
    """

    miller_index: IntArray
    sweep: IndexArray
    image: IndexArray
    intensity: FloatArray
    sigma: FloatArray
    scale: FloatArray | None = None
    scale_sigma: FloatArray | None = None
    fraction_calc: FloatArray | None = None
    x_det: FloatArray | None = None
    y_det: FloatArray | None = None
    rot: FloatArray | None = None
    lp: FloatArray | None = None
    qe: FloatArray | None = None
    others: Mapping[tuple[str, str], FloatArray] = field(default_factory=dict)


def write_mtz(path: str | Path, mtz: Any) -> None:
    """Write a `gemmi.Mtz`; OSError if the disk will not have it."""
    try:
        mtz.write_to_file(str(path))
    except RuntimeError:
        raise OSError(errno.EIO, "the MTZ file is not complete; is the disk full?") from None


def write_unmerged_mtz(
    path: str | Path,
    reflections: UnmergedReflections,
    sweeps: Sequence[MtzSweep],
    space_group: SpaceGroupLike,
    *,
    title: str = "Scaled by pyscale",
    history: Sequence[str] = (),
) -> list[int]:
    """Write `unmerged_mtz`; returns each sweep's batch offset.

    The file is written in place: give a temporary path and rename.
    """
    mtz, offsets = unmerged_mtz(reflections, sweeps, space_group, title=title, history=history)
    write_mtz(path, mtz)
    return offsets


def unmerged_mtz(
    reflections: UnmergedReflections,
    sweeps: Sequence[MtzSweep],
    space_group: SpaceGroupLike,
    *,
    title: str = "Scaled by pyscale",
    history: Sequence[str] = (),
    in_asu: bool = True,
) -> tuple[Any, list[int]]:
    """Scaled observations with batch headers in the Cambridge frame: `gemmi.Mtz`, and each sweep's batch offset.

    Indices are in the CCP4 asymmetric unit, and M/ISYM leads back to those observed; without `in_asu`, which is not for
    files, they are those observed.

    Raises
    ------
    DataError
        When gemmi does not know the setting, or an observation lies on no image of its sweep.
    """
    datasets = list({_dataset_key(s.dataset): s.dataset for s in sweeps}.values())
    numbers = {_dataset_key(d): k + 1 for k, d in enumerate(datasets)}
    offsets = batch_offsets([s.image_range for s in sweeps], [s.batch_offset for s in sweeps])
    mtz = new_mtz(space_group, datasets, title, history)
    for sweep, offset in zip(sweeps, offsets, strict=True):
        for batch in _batches(sweep, offset, numbers[_dataset_key(sweep.dataset)]):
            mtz.batches.append(batch)
    index, isym = to_asu(space_group, reflections.miller_index)
    if not in_asu:
        index, isym = reflections.miller_index, np.ones_like(isym)
    columns: list[tuple[str, str, ArrayLike]] = [
        ("M/ISYM", "Y", isym),
        ("BATCH", "B", _batch_numbers(reflections, sweeps, offsets)),
        ("I", "J", reflections.intensity),
        ("SIGI", "Q", reflections.sigma),
    ]
    for name, label, kind in _UNMERGED_COLUMNS:
        values = getattr(reflections, name)
        if values is not None:
            columns.append((label, kind, values))
    columns += [(label, kind, values) for (label, kind), values in reflections.others.items()]
    fill_mtz(mtz, index, columns)
    mtz.sort(5)
    return mtz, offsets


def _dataset_key(d: MtzDataset) -> tuple[Any, ...]:
    return (d.project, d.crystal, d.dataset, d.wavelength, unit_cell_from(d.unit_cell).parameters)


def new_mtz(space_group: SpaceGroupLike, datasets: Sequence[MtzDataset], title: str, history: Sequence[str]) -> Any:
    """An MTZ file (`gemmi.Mtz`) with its data sets, without reflections."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.title = title
    mtz.history = list(history)
    mtz.spacegroup = find_space_group(space_group)
    mtz.set_cell_for_all(unit_cell_from(datasets[0].unit_cell))
    for d in datasets:
        entry = mtz.add_dataset(d.dataset)
        entry.project_name, entry.crystal_name = d.project, d.crystal
        entry.cell, entry.wavelength = unit_cell_from(d.unit_cell), d.wavelength
    return mtz


def fill_mtz(
    mtz: Any,
    miller_index: IntArray,
    columns: Sequence[tuple[str, str, ArrayLike]],
    data_set: Sequence[int] | None = None,
) -> None:
    """Give a file its reflections: columns of label, type and values, and the number of the data set of each."""
    for k, (label, kind, _) in enumerate(columns):
        mtz.add_column(label, kind, dataset_id=1 if data_set is None else data_set[k], expand_data=False)
    table = np.empty((len(miller_index), 3 + len(columns)), dtype=np.float32)
    table[:, :3] = miller_index
    for k, (_, _, values) in enumerate(columns):
        table[:, 3 + k] = values
    mtz.set_data(table)


def _batch_numbers(reflections: UnmergedReflections, sweeps: Sequence[MtzSweep], offsets: Sequence[int]) -> IndexArray:
    first, last = np.array([s.image_range for s in sweeps], dtype=np.int64).T
    outside = (reflections.image < first[reflections.sweep]) | (reflections.image > last[reflections.sweep])
    if np.any(outside):
        row = int(np.argmax(outside))
        k = int(reflections.sweep[row])
        raise DataError(
            f"observation {row} lies on image {reflections.image[row]}, "
            f"outside the images {first[k]} to {last[k]} of sweep {k}"
        )
    batch: IndexArray = reflections.image + np.array(offsets, dtype=np.int64)[reflections.sweep]
    return batch


_Vector = tuple[float, ...]


@lru_cache(maxsize=16)
def _cambridge_frame(s0: _Vector, rotation_axis: _Vector | None) -> FloatArray:
    """Rotation from the laboratory to the Cambridge frame: z along the axis, x nearly along the beam."""
    beam = np.asarray(s0, dtype=np.float64)
    across = np.cross(beam, np.eye(3)[np.argmin(np.abs(beam))])
    axis = across if rotation_axis is None else np.asarray(rotation_axis, dtype=np.float64)
    z = axis / np.linalg.norm(axis)
    y = np.cross(z, beam)
    if np.linalg.norm(y) < 1e-6 * np.linalg.norm(beam):
        y = across
    y /= np.linalg.norm(y)
    return np.array([np.cross(y, z), y, z])


@lru_cache(maxsize=16)
def _inverse_busing_levy(parameters: _Vector) -> FloatArray:
    """Inverse of the orthogonal reciprocal basis, x along a*, z along c (Busing & Levy 1967), as MTZ headers do."""
    cell = unit_cell_from(parameters)
    r = cell.reciprocal()
    cos_alpha = np.cos(np.radians(cell.alpha))
    cos_gamma, cos_beta = np.cos(np.radians([r.gamma, r.beta]))
    sin_gamma, sin_beta = np.sin(np.radians([r.gamma, r.beta]))
    basis = [
        [r.a, r.b * cos_gamma, r.c * cos_beta],
        [0.0, r.b * sin_gamma, -r.c * sin_beta * cos_alpha],
        [0.0, 0.0, 1.0 / cell.c],
    ]
    return np.asarray(np.linalg.inv(basis), dtype=np.float64)


def _orientations(sweep: MtzSweep, frame: FloatArray) -> FloatArray | None:
    """Orientation matrix U of each image in the Cambridge frame, (1 or n_images, 3, 3), orthogonalised."""
    if sweep.setting_matrix is None:
        return None
    setting = np.asarray(sweep.setting_matrix, dtype=np.float64).reshape(-1, 3, 3)
    u = frame @ setting @ _inverse_busing_levy(tuple(unit_cell_from(sweep.dataset.unit_cell).parameters))
    left, _, right = np.linalg.svd(u)
    orthogonal: FloatArray = left @ right
    return orthogonal


def _batches(sweep: MtzSweep, offset: int, dataset_id: int) -> list[Any]:
    """One header per image. Positions in `ints` and `floats` are those of the CCP4 library's batch header."""
    axis = None if sweep.rotation_axis is None else tuple(float(x) for x in sweep.rotation_axis)
    frame = _cambridge_frame(tuple(float(x) for x in sweep.s0), axis)
    orientations = _orientations(sweep, frame)
    beam = np.asarray(sweep.s0, dtype=np.float64)
    first, last = sweep.image_range
    start, width = sweep.oscillation
    template = _batch_template(sweep, frame @ (-beam / np.linalg.norm(beam)), dataset_id)
    batches = []
    for k in range(last - first + 1):
        batch = template.clone()
        batch.number = first + k + offset
        _set_floats(batch, 36, [start + k * width, start + (k + 1) * width])
        if orientations is not None:
            _set_floats(batch, 6, orientations[min(k, len(orientations) - 1)].T.ravel())
        batches.append(batch)
    return batches


def _batch_template(sweep: MtzSweep, source: FloatArray, dataset_id: int) -> Any:
    batch = gemmi.Mtz.Batch()
    batch.title = "pyscale"
    batch.dataset_id = dataset_id
    batch.cell = unit_cell_from(sweep.dataset.unit_cell)
    batch.wavelength = sweep.dataset.wavelength
    batch.axes = ["PHI"]
    # crystals, type of data (2: three-dimensional), scan axis, goniostat axes, detectors
    for position, value in ((12, 1), (14, 2), (15, 1), (17, 1), (19, 1)):
        batch.ints[position] = value
    _set_floats(batch, 21, [sweep.mosaicity])
    _set_floats(batch, 38, [0.0, 0.0, 1.0])  # scan axis
    _set_floats(batch, 43, [1.0])  # batch scale
    _set_floats(batch, 47, [sweep.oscillation[1]])
    _set_floats(batch, 59, [0.0, 0.0, 1.0])  # goniostat axis
    _set_floats(batch, 80, [-1.0, 0.0, 0.0])  # idealised source, antiparallel to the beam
    _set_floats(batch, 83, source)
    _set_floats(batch, 111, [sweep.detector_distance])
    fast, slow = sweep.detector_size
    _set_floats(batch, 113, [0.0, fast, 0.0, slow])
    return batch


def _set_floats(batch: Any, position: int, values: Iterable[float]) -> None:
    for k, value in enumerate(values):
        batch.floats[position + k] = float(value)
