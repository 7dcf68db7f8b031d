"""Merged and unmerged MTZ files of exported observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from ._core import __version__
from .export_rows import ExportRows
from .io.merged_mtz import merged_data_sets_mtz, merged_mtz
from .io.mtz import MtzDataset, MtzSweep, UnmergedReflections, unmerged_mtz
from .merged_data_set import MergedDataSet
from .mtz_origin import original_history, with_original_batches
from .typing import FloatArray, IndexArray

if TYPE_CHECKING:
    from .experiment import Experiment

__all__ = ["MtzNames", "history_line", "merged_file", "merged_file_of_wavelengths", "unmerged_file"]

#: What tells columns of MTZ files that were read and nothing else.
_ORIGINAL = "mtz."
#: Columns of MTZ files that are written anew, whatever the input had.
_OWN_LABELS = {
    *("H", "K", "L", "M/ISYM", "BATCH", "I", "SIGI", "IPR", "SIGIPR", "SCALEUSED", "SIGSCALEUSED"),
    *("FRACTIONCALC", "XDET", "YDET", "ROT", "LP", "QE"),
}


@dataclass(frozen=True)
class MtzNames:
    """Names in the header of an MTZ file."""

    project: str = "pyscale"
    crystal: str = "XTAL"
    dataset: str = "NATIVE"


def history_line(program: str = "pyscale") -> str:
    """The line of the history that programs know each other by."""
    now = datetime.now(timezone.utc)
    return f"From {program}, version {__version__}, run on {now:%d/%m/%Y at %H:%M:%S}"


def merged_file(rows: ExportRows, names: MtzNames) -> Any:
    """Merged intensities, Friedel mates together and apart: `gemmi.Mtz`."""
    dataset = MtzDataset(
        float(np.median(rows.wavelengths)), rows.unit_cell, names.project, names.crystal, names.dataset
    )
    return merged_mtz(rows.merged, dataset, rows.space_group, history=[history_line()])


def merged_file_of_wavelengths(rows: ExportRows, names: MtzNames) -> Any:
    """The same with columns of its own for each wavelength, which end in _WAVE1, _WAVE2, ...: `gemmi.Mtz`."""
    accepted = rows.accepted
    parts = [accepted.select(np.isin(accepted.data_set, members)) for members in rows.wavelength_groups]
    if len(parts) == 1:
        return merged_file(rows, names)
    data_sets = [
        MergedDataSet(
            wavelength=float(np.median(rows.wavelengths[members])),
            unit_cell=rows.unit_cell,
            merged=part.merged,
            statistics=part.statistics(),
            crystal=names.crystal,
            name=f"WAVE{k + 1}",
        )
        for k, (members, part) in enumerate(zip(rows.wavelength_groups, parts, strict=True))
        if len(part)
    ]
    return merged_data_sets_mtz(data_sets, rows.space_group, project=names.project, history=[history_line()])


def unmerged_file(
    rows: ExportRows, names: MtzNames, profile: tuple[FloatArray, FloatArray] | None = None, *, in_asu: bool = True
) -> Any:
    """Accepted observations with batch headers: `gemmi.Mtz`.

    Batches of MTZ files that were read (column `mtz.BATCH`) keep their numbers where these are unique, and further
    columns of such files are passed on. `profile` holds intensities and sigmas of the rows for the columns IPR and
    SIGIPR; `in_asu` as for `io.mtz.unmerged_mtz`.
    """
    rows = rows.accepted
    intensities, centroid = rows.intensities, rows.centroid
    others = _passed_on(rows) | _background(rows)
    wanted, image = _original_batches(rows)
    if profile is not None:
        others[("IPR", "J")], others[("SIGIPR", "Q")] = profile
    reflections = UnmergedReflections(
        miller_index=rows.miller_index,
        sweep=rows.data_set,
        image=image,
        intensity=intensities.value,
        sigma=intensities.sigma,
        scale=intensities.scale if rows.is_scaled else None,
        scale_sigma=intensities.scale_sigma if rows.is_scaled else None,
        fraction_calc=rows.column("partiality", _ORIGINAL + "FRACTIONCALC"),
        x_det=centroid[:, 0],
        y_det=centroid[:, 1],
        rot=rows.rotation_angle,
        lp=rows.column("lp", _ORIGINAL + "LP"),
        qe=rows.column("qe", "dqe", _ORIGINAL + "QE"),
        others=others,
    )
    sweeps = _sweeps(rows, names, wanted)
    title = "Scaled by pyscale" if rows.is_scaled else "Exported by pyscale"
    lines = [history_line(), *original_history(rows.experiments)]
    mtz, offsets = unmerged_mtz(reflections, sweeps, rows.space_group, title=title, history=lines, in_asu=in_asu)
    return with_original_batches(mtz, rows.experiments, offsets)


def _background(rows: ExportRows) -> dict[tuple[str, str], FloatArray]:
    value, variance = rows.column("background.sum.value"), rows.column("background.sum.variance")
    if value is None or variance is None:
        return {}
    with np.errstate(invalid="ignore"):
        return {("BG", "R"): value, ("SIGBG", "R"): np.sqrt(variance)}


def _passed_on(rows: ExportRows) -> dict[tuple[str, str], FloatArray]:
    """Further columns of MTZ files that were read: `mtz.LABEL`."""
    table = rows.table
    labels = [name.removeprefix(_ORIGINAL) for name in table.names() if name.startswith(_ORIGINAL)]
    columns = {label: table[_ORIGINAL + label] for label in labels if label not in _OWN_LABELS}
    return {
        (label, "R" if values.dtype.kind == "f" else "I"): np.asarray(values, dtype=np.float64)
        for label, values in columns.items()
    }


def _sweeps(rows: ExportRows, names: MtzNames, offsets: Sequence[int | None]) -> list[MtzSweep]:
    groups = rows.wavelength_groups
    wavelength = [float(np.median(rows.wavelengths[members])) for members in groups]
    group = np.empty(len(rows.experiments), np.int64)
    for k, members in enumerate(groups):
        group[members] = k
    single = len(groups) == 1
    datasets = [
        MtzDataset(w, rows.unit_cell, names.project, names.crystal, names.dataset if single else f"WAVE{k + 1}")
        for k, w in enumerate(wavelength)
    ]
    detectors = {id(e.detector): _detector(e) for e in {id(e.detector): e for e in rows.experiments}.values()}
    return [
        _sweep(experiment, datasets[k], offset, *detectors[id(experiment.detector)])
        for experiment, k, offset in zip(rows.experiments, group.tolist(), offsets, strict=True)
    ]


def _original_batches(rows: ExportRows) -> tuple[list[int | None], IndexArray]:
    """What batch numbers of the input exceed images by, for each data set (None: unknown), and the image of each row.

    The image is that of the batch which the row had, where there is one in the scan: partials may have been summed to
    a row whose centroid is on another image.
    """
    n = len(rows.job.data_sets)
    batch = rows.column(_ORIGINAL + "BATCH")
    if batch is None or not len(rows):
        return [None] * n, rows.image
    number = np.rint(batch).astype(np.int64)
    difference = number - rows.image
    order = np.lexsort((difference, rows.data_set))
    counts = np.bincount(rows.data_set, minlength=n)
    middle = np.cumsum(counts) - (counts + 1) // 2
    offset = difference[order][np.minimum(middle, len(rows) - 1)]
    image = number - offset[rows.data_set]
    ranges = np.array([e.image_range or (1, 1) for e in rows.experiments], dtype=np.int64)[rows.data_set]
    inside = (image >= ranges[:, 0]) & (image <= ranges[:, 1])
    offsets = [k if count else None for k, count in zip(offset.tolist(), counts.tolist(), strict=True)]
    return offsets, np.where(inside, image, rows.image)


def _sweep(
    experiment: Experiment,
    dataset: MtzDataset,
    batch_offset: int | None,
    distance: float,
    size: tuple[float, float],
) -> MtzSweep:
    crystal = experiment.crystal or {}
    real = np.array([crystal[f"real_space_{axis}"] for axis in "abc"], dtype=np.float64)
    reciprocal: FloatArray = np.asarray(np.linalg.inv(real), dtype=np.float64)
    images = experiment.image_range or (1, 1)
    if experiment.is_still or experiment.oscillation is None:
        return MtzSweep(
            dataset,
            images,
            s0=-experiment.beam_direction,
            setting_matrix=reciprocal,
            detector_distance=distance,
            detector_size=size,
            batch_offset=batch_offset,
        )
    axis, setting = experiment.rotation_axis, experiment.setting_rotation
    return MtzSweep(
        dataset,
        images,
        oscillation=experiment.oscillation,
        rotation_axis=None if axis is None else setting @ axis,
        s0=-experiment.beam_direction,
        setting_matrix=np.asarray(setting @ experiment.fixed_rotation @ reciprocal, dtype=np.float64),
        detector_distance=distance,
        detector_size=size,
        batch_offset=batch_offset,
    )


def _detector(experiment: Experiment) -> tuple[float, tuple[float, float]]:
    """Distance (mm) and size (pixels) of a detector of one panel; zeros for others."""
    if experiment.detector is None or len(experiment.panels) != 1:
        return 0.0, (0.0, 0.0)
    panel = experiment.panels[0]
    try:
        normal = np.cross(panel["fast_axis"], panel["slow_axis"])
        distance = float(abs(normal @ np.asarray(panel["origin"], np.float64)))
        fast, slow = (float(x) for x in panel["image_size"])
    except (KeyError, TypeError, ValueError):
        return 0.0, (0.0, 0.0)
    return distance, (fast, slow)
