"""Files other than DIALS' own that a scaling job writes: JSON, the report, and those of other programs."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .export_mtz import MtzNames, history_line, merged_file_of_wavelengths, unmerged_file
from .export_rows import rows_of_result
from .exporting import Exported, cut_ellipsoid, write_export
from .io.merged_mtz import write_merged_mtz
from .io.mtz import MtzDataset, write_mtz
from .merging import merge_sorted, sort_observations, with_common_scale_errors
from .options import with_changes
from .options.export import ExportOptions
from .unit_cells import group_wavelengths, wavelength_tolerance, wavelengths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .cross_validation import CrossValidation
    from .filtering_record import FilteringRecord
    from .merge_result import MergeResult
    from .result import ScalingResult

__all__ = ["write_filtering", "write_json", "write_merged", "write_other_formats", "write_report", "write_unmerged"]

_logger = logging.getLogger(__name__)


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

    path.write_text(render_report(result, document), encoding="utf-8", errors="backslashreplace")


def _names(result: ScalingResult) -> MtzNames:
    return MtzNames(project=result.options.output.project_name, crystal=result.options.output.crystal_name)


def write_merged(result: ScalingResult, path: Path) -> None:
    """Write merged intensities, Friedel mates together and apart; each wavelength in columns of its own."""
    experiments = [d.experiment for d in result.job.data_sets]
    values = np.array(wavelengths(experiments))
    if len(group_wavelengths(values, wavelength_tolerance(experiments))) > 1:
        write_mtz(path, merged_file_of_wavelengths(rows_of_result(result), _names(result)))
        return
    observations, scaled = result.observations, result.scaled
    kept = scaled.merged(observations.absent)
    g = scaled.g[kept]
    grouped = sort_observations(
        observations.miller_index[kept],
        observations.intensity[kept] / g,
        (scaled.variance[kept] + scaled.scale_variance[kept]) / g**2,
        result.space_group,
        place=(observations.data_set[kept], observations.image_z[kept]),
        n_threads=result.n_threads,
    )
    if result.options.output.scale_errors == "quadrature":
        apart = observations.is_anomalous
        scale_variance = scaled.g_variance[kept] / g**2
        correlation = scaled.scale_correlation[kept]
        grouped = with_common_scale_errors(grouped, scale_variance, correlation, result.n_threads, mates_apart=apart)
    merged = merge_sorted(grouped, result.space_group, n_threads=result.n_threads)
    names = _names(result)
    dataset = MtzDataset(
        wavelength=float(np.median(values)),
        unit_cell=result.unit_cell,
        project=names.project,
        crystal=names.crystal,
        dataset=names.dataset,
    )
    write_merged_mtz(path, merged, dataset, result.space_group, history=[history_line()])


def write_unmerged(result: ScalingResult, path: Path) -> None:
    """Write all scaled observations, outliers left out."""
    write_mtz(path, unmerged_file(rows_of_result(result), _names(result)))


def write_other_formats(result: ScalingResult, stage: Callable[[str], Path | None]) -> None:
    """Write the files that options of `output` name; `stage` tells where each is written, or None."""
    options = {
        "xds_ascii": "xds_ascii",
        "shelx_hkl": "shelx",
        "scalepack": "sca",
        "mmcif": "mmcif",
        "cif": "cif",
    }
    rows = None
    for name, kind in options.items():
        path = stage(name)
        if path is None:
            continue
        rows = rows or rows_of_result(result)
        exported = Exported(rows=rows, options=_export_options(result, name, kind), ellipsoid=cut_ellipsoid(result))
        done = write_export(exported, path)
        _logger.info("Written to %s: %s", getattr(result.options.output, name), done)


def _export_options(result: ScalingResult, name: str, kind: str) -> ExportOptions:
    names = _names(result)
    return with_changes(
        ExportOptions(),
        {
            "format": kind,
            "hklout": getattr(result.options.output, name),
            "anomalous": result.options.anomalous,
            "mtz.crystal_name": names.crystal,
            "mtz.project_name": names.project,
        },
    )
