"""Files other than DIALS' own that a scaling job writes: JSON, MTZ, the report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .io.merged_mtz import write_merged_mtz
from .io.mtz import MtzDataset, MtzSweep, UnmergedReflections, write_unmerged_mtz
from .merging import merge_reflections
from .prepared import blocks_of
from .typing import FloatArray, IndexArray, IntArray
from .unit_cells import wavelengths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .cross_validation import CrossValidation
    from .dataset import DataSet
    from .filtering_record import FilteringRecord
    from .merge_result import MergeResult
    from .result import ScalingResult

__all__ = ["write_filtering", "write_json", "write_merged", "write_report", "write_unmerged"]


def write_json(
    result: ScalingResult | CrossValidation | MergeResult, path: Path, document: dict[str, Any] | None = None
) -> None:
    """Write the public document (`result.to_dict()` unless it is given), one top-level key per line."""
    document = document or result.to_dict()
    with path.open("w", encoding="utf-8") as file:
        file.write("{")
        for k, (key, value) in enumerate(document.items()):
            file.write(f"{',' if k else ''}\n{_encode(key)}: ")
            file.writelines(_encoded(value))
        file.write("\n}\n")


def _encode(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _encoded(value: Any) -> Iterator[str]:
    """JSON in pieces: those of a long list or object are its elements."""
    if isinstance(value, list) and value:
        yield "["
        yield from (f"{', ' if k else ''}{_encode(item)}" for k, item in enumerate(value))
        yield "]"
    elif isinstance(value, dict) and value:
        yield "{"
        yield from (f"{', ' if k else ''}{_encode(key)}: {_encode(v)}" for k, (key, v) in enumerate(value.items()))
        yield "}"
    else:
        yield _encode(value)


def write_filtering(record: FilteringRecord, path: Path) -> None:
    """Write what filtering did, under the names of DIALS' scale_and_filter_results.json."""
    path.write_text(json.dumps(record.to_dials(), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_report(result: ScalingResult, path: Path, document: dict[str, Any] | None = None) -> None:
    """Write the HTML report of a result and its public document (`result.to_dict()` unless it is given)."""
    from .report import render_report

    path.write_text(render_report(result, document), encoding="utf-8")


def _mtz_dataset(result: ScalingResult) -> MtzDataset:
    return MtzDataset(
        wavelength=float(np.median(wavelengths(d.experiment for d in result.job.data_sets))),
        unit_cell=result.unit_cell,
        project=result.options.output.project_name,
        crystal=result.options.output.crystal_name,
        dataset="NATIVE",
    )


def write_merged(result: ScalingResult, path: Path) -> None:
    """Write merged intensities, Friedel mates together and apart."""
    observations, scaled = result.observations, result.scaled
    kept = ~scaled.outlier & ~scaled.small_scale
    merged = merge_reflections(
        observations.miller_index[kept],
        observations.intensity[kept] / scaled.g[kept],
        scaled.variance[kept] / scaled.g[kept] ** 2,
        result.space_group,
        n_threads=result.n_threads,
    )
    write_merged_mtz(path, merged, _mtz_dataset(result), result.space_group)


def write_unmerged(result: ScalingResult, path: Path) -> None:
    """Write all scaled observations, outliers left out."""
    observations, scaled = result.observations, result.scaled
    kept = np.flatnonzero(~scaled.outlier & ~scaled.small_scale)
    g = scaled.g[kept]
    position = _gathered(result, "xyzobs.px.value", kept)
    image = np.floor(observations.image_z[kept]).astype(np.int64) + 1
    reflections = UnmergedReflections(
        miller_index=observations.miller_index[kept],
        sweep=observations.data_set[kept].astype(np.int64),
        image=_within_scans(result, observations.data_set[kept], image),
        intensity=observations.intensity[kept] / g,
        sigma=np.sqrt((scaled.variance + scaled.scale_variance)[kept]) / g,
        scale=g,
        scale_sigma=np.sqrt(scaled.g_variance[kept]),
        fraction_calc=_gathered(result, "partiality", kept),
        x_det=None if position is None else position[:, 0],
        y_det=None if position is None else position[:, 1],
        rot=_rotation_deg(result, kept),
        lp=_gathered(result, "lp", kept),
        qe=_gathered(result, "qe", kept),
    )
    common = _mtz_dataset(result)
    sweeps = [_mtz_sweep(d, common) for d in result.job.data_sets]
    write_unmerged_mtz(path, reflections, sweeps, result.space_group)


def _gathered(result: ScalingResult, name: str, kept: IndexArray) -> FloatArray | None:
    """A column of the input for some observations; None unless all data sets have it."""
    blocks = blocks_of(result.prepared)
    if any(name not in b.table for b in blocks):
        return None
    observations = result.observations
    first = np.cumsum([0, *(len(b.table) for b in blocks)])
    starts = np.concatenate([b.offsets[:-1] + k for b, k in zip(blocks, first, strict=False)])
    column = np.concatenate([b.table[name] for b in blocks]) if len(blocks) > 1 else blocks[0].table[name]
    gathered: FloatArray = column[starts[observations.data_set[kept]] + observations.row[kept]]
    return gathered


def _within_scans(result: ScalingResult, data_set: IntArray, image: IndexArray) -> IndexArray:
    """Image numbers; centroids just outside the scan count to its first or last image."""
    ranges = np.array([d.experiment.image_range or (1, 1) for d in result.job.data_sets])
    clipped: IndexArray = np.clip(image, ranges[data_set, 0], ranges[data_set, 1])
    return clipped


def _rotation_deg(result: ScalingResult, kept: IndexArray) -> FloatArray:
    """Rotation angle of some observations, degrees; 0 for stills."""
    scans = [
        (0.0, 0.0, 0)
        if d.experiment.is_still or d.experiment.oscillation is None or d.experiment.image_range is None
        else (*d.experiment.oscillation, d.experiment.image_range[0] - 1)
        for d in result.job.data_sets
    ]
    start, width, first = np.array(scans, dtype=np.float64).T
    data_set = result.observations.data_set[kept]
    angle: FloatArray = start[data_set] + width[data_set] * (result.observations.image_z[kept] - first[data_set])
    return angle


def _mtz_sweep(data_set: DataSet, common: MtzDataset) -> MtzSweep:
    experiment = data_set.experiment
    crystal = experiment.crystal or {}
    real = np.array([crystal[f"real_space_{axis}"] for axis in "abc"], dtype=np.float64)
    dataset = replace(common, wavelength=experiment.wavelength)
    images = experiment.image_range or (1, 1)
    if experiment.is_still or experiment.oscillation is None:
        return MtzSweep(dataset, images, setting_matrix=np.asarray(np.linalg.inv(real), dtype=np.float64))
    setting, fixed = experiment.setting_rotation, experiment.fixed_rotation
    axis = experiment.rotation_axis
    return MtzSweep(
        dataset,
        images,
        oscillation=experiment.oscillation,
        rotation_axis=None if axis is None else setting @ axis,
        s0=-experiment.beam_direction,
        setting_matrix=np.asarray(setting @ fixed @ np.linalg.inv(real), dtype=np.float64),
    )
