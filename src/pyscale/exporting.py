"""Observations and merged intensities in the formats of other programs, without a fit."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .dataset import Job, load_job
from .errors import DataError, UsageError
from .export_mtz import MtzNames, merged_file, merged_file_of_wavelengths, unmerged_file
from .export_rows import ExportRows, all_reflections, integrated_rows, rows_of_result, scaled_rows
from .export_text import write_cif_file, write_ins_file, write_sca_file, write_shelx_file, write_xds_file
from .integration import integrated_intensities
from .io.atomic import OutputSet
from .io.columns_out import write_arrow, write_json_columns, write_parquet
from .io.mmcif_out import write_mmcif
from .io.mtz import write_mtz
from .options import AUTO
from .options.export import ExportOptions
from .preparation import UnitCell
from .threads import thread_count
from .typing import FloatArray

if TYPE_CHECKING:
    from .result import ScalingResult

__all__ = ["Exported", "cut_ellipsoid", "export_files", "export_job", "exported_result", "write_export"]

_ENDINGS = {
    "mtz": "_unmerged.mtz",
    "merged_mtz": "_merged.mtz",
    "xds_ascii": "_XDS_ASCII.HKL",
    "shelx": ".hkl",
    "sca": ".sca",
    "mmcif": ".mmcif",
    "cif": ".cif",
    "json": "_reflections.json",
    "parquet": ".parquet",
    "arrow": ".arrow",
}
_EITHER = ("shelx", "json", "parquet", "arrow")
_LEAST_PARTIALITY = 0.4


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What is to be written, and how.

    Attributes
    ----------
    rows : ExportRows
    options : ExportOptions
    profile : (value, sigma) or None
        Profile-fitted intensities of the same rows, NaN where there is none, beside the summed ones.
    ellipsoid : dict or None
        What `write_mmcif` takes of data that were cut by an ellipsoid.
    """

    rows: ExportRows
    options: ExportOptions
    profile: tuple[FloatArray, FloatArray] | None = None
    ellipsoid: dict[str, Any] | None = None

    @property
    def path(self) -> str:
        """The output file."""
        if self.options.hklout is not AUTO:
            return str(self.options.hklout)
        return ("scaled" if self.rows.is_scaled else "integrated") + _ENDINGS[self.options.format]

    def write(self, inputs: Sequence[str | os.PathLike[str]] = (), named_outputs: Collection[str] = ()) -> str:
        """Write all files, or none, and return what was written in one line for people.

        Parameters
        ----------
        inputs
            Files that must not be overwritten unless named as output.
        named_outputs
            Dotted names of the output options that the user has set.

        Raises
        ------
        UsageError
            If an output cannot be written or would overwrite an input.
        DataError
            If the format cannot hold the data.
        """
        with OutputSet(inputs) as outputs:
            staged = outputs.stage(self.path, named_as_output="hklout" in named_outputs)
            done = write_export(self, staged)
            if self.options.format == "shelx" and self.options.shelx.ins is not None:
                ins = outputs.stage(self.options.shelx.ins, named_as_output="shelx.ins" in named_outputs)
                write_ins_file(self.rows, ins)
        return f"{self.path}: {done}"


def export_files(files: Sequence[str | os.PathLike[str]], options: ExportOptions) -> Exported:
    """Read files and choose what of them is to be exported; errors as for `export_job`, and those of `load_job`."""
    _check(options)
    return export_job(load_job(files, options.input), options)


def export_job(job: Job, options: ExportOptions) -> Exported:
    """Choose what of a job is to be exported. Nothing is fitted.

    Raises
    ------
    UsageError
        If options contradict each other.
    DataError
        If the job lacks what is asked for, or nothing is left.
    """
    _check(options)
    n_threads = thread_count(options.nproc)
    cell = options.best_unit_cell
    if options.intensity == "scale" or (options.intensity == "auto" and _is_scaled(job)):
        rows = scaled_rows(job, all_reflections(job), cell, n_threads)
        return Exported(rows=_selected(rows, options), options=options)
    limit = _LEAST_PARTIALITY if options.partiality_threshold is AUTO else float(options.partiality_threshold)
    return _integrated(job, options, limit, cell, n_threads)


def exported_result(result: ScalingResult, options: ExportOptions) -> Exported:
    """Choose what of a job that has just been scaled is to be exported; errors as for `export_job`."""
    _check(options)
    if options.intensity not in ("auto", "scale"):
        return export_job(result.job, options)
    rows = _selected(rows_of_result(result), options)
    return Exported(rows=rows, options=options, ellipsoid=cut_ellipsoid(result))


def cut_ellipsoid(result: ScalingResult) -> dict[str, Any] | None:
    """The ellipsoid of `anisotropic_cut=True` at which merged data end, as `write_mmcif` takes it; None without."""
    anisotropy = result.analyses.anisotropy
    if anisotropy is None or anisotropy.inside is None:
        return None
    document = anisotropy.to_dict()
    ellipsoid: dict[str, Any] = document["ellipsoid"] | document["inside_ellipsoid"]
    return ellipsoid | {"threshold": anisotropy.threshold}


def _check(options: ExportOptions) -> None:
    """Refuse options that contradict each other."""
    if options.intensity == "profile+sum" and options.format != "mtz":
        raise UsageError("option intensity=profile+sum is for format=mtz only; give profile or sum")
    if options.merged is not AUTO and options.format not in _EITHER:
        raise UsageError(f"option merged is for formats {', '.join(_EITHER)}; format={options.format} has no choice")


def _is_scaled(job: Job) -> bool:
    return all("intensity.scale.value" in d.reflections for d in job.data_sets)


def _integrated(job: Job, options: ExportOptions, limit: float, cell: UnitCell | None, n_threads: int) -> Exported:
    has_profile = all("intensity.prf.value" in d.reflections for d in job.data_sets)
    has_sum = all("intensity.sum.value" in d.reflections for d in job.data_sets)
    both = options.format == "mtz" and options.intensity == "auto" and has_profile and has_sum
    if not both and options.intensity != "profile+sum":
        which = "sum" if options.intensity == "sum" else "profile"
        rows = integrated_rows(job, which, limit, cell, n_threads)
        return Exported(rows=_selected(rows, options), options=options)
    rows = _selected(integrated_rows(job, "sum", limit, cell, n_threads), options)
    found = integrated_intensities(rows.table)
    profile = found.profile * found.conversion, np.sqrt(found.profile_variance) * found.conversion
    return Exported(rows=rows, options=options, profile=profile)


def _selected(rows: ExportRows, options: ExportOptions) -> ExportRows:
    rows = rows.within(options.d_min, options.d_max)
    kept = np.ones(len(rows), np.bool_)
    partiality = rows.column("partiality")
    if options.partiality_threshold is not AUTO and partiality is not None:
        kept &= partiality >= options.partiality_threshold
    if options.min_isigi is not None:
        kept &= rows.intensities.value >= options.min_isigi * rows.intensities.sigma
    if not (kept & ~rows.is_outlier).any():
        raise DataError("no reflection passes min_isigi and partiality_threshold: there is nothing to export")
    return rows if kept.all() else rows.select(kept)


def write_export(what: Exported, path: Path) -> str:
    """Write one file in place, in the format of the options, and return what was written."""
    return _WRITERS[what.options.format](what, path)


def _names(options: ExportOptions) -> MtzNames:
    return MtzNames(project=options.mtz.project_name, crystal=options.mtz.crystal_name)


def _counted(rows: ExportRows) -> str:
    return f"{len(rows.accepted)} observations"


def _merged_count(rows: ExportRows) -> str:
    n = len(rows.wavelength_groups)
    together = f" of {n} wavelengths together" if n > 1 else ""
    return f"{len(rows.merged.intensity)} merged reflections{together}"


def _write_mtz(what: Exported, path: Path) -> str:
    write_mtz(path, unmerged_file(what.rows, _names(what.options), what.profile))
    return _counted(what.rows)


def _write_merged_mtz(what: Exported, path: Path) -> str:
    write_mtz(path, merged_file_of_wavelengths(what.rows, _names(what.options)))
    return f"{len(what.rows.merged.intensity)} merged reflections"


def _write_mmcif(what: Exported, path: Path) -> str:
    names, rows = _names(what.options), what.rows
    observations = unmerged_file(rows, names, in_asu=False)
    statistics = rows.statistics() if what.ellipsoid is None else rows.statistics(len(what.ellipsoid["shells"]))
    write_mmcif(
        path,
        merged_file(rows, names),
        observations,
        statistics,
        is_scaled=rows.is_scaled,
        ellipsoid=what.ellipsoid,
    )
    return f"{_merged_count(rows)}, {_counted(rows)}"


def _write_xds_ascii(what: Exported, path: Path) -> str:
    name = Path(what.path).name
    write_xds_file(what.rows, path, name=name, anomalous=what.options.anomalous)
    return f"{_counted(what.rows)}, {int(what.rows.is_outlier.sum())} misfits"


def _write_shelx(what: Exported, path: Path) -> str:
    is_merged = what.options.merged is True
    factor = write_shelx_file(
        what.rows, path, is_merged=is_merged, anomalous=what.options.anomalous, scale=what.options.shelx.scale
    )
    count = _merged_count(what.rows) if is_merged else _counted(what.rows)
    return f"{count}, multiplied by {factor:.6g}"


def _write_sca(what: Exported, path: Path) -> str:
    factor = write_sca_file(what.rows, path, anomalous=what.options.anomalous)
    return _merged_count(what.rows) + ("" if factor == 1.0 else f", multiplied by {factor:.6g}")


def _write_cif(what: Exported, path: Path) -> str:
    write_cif_file(what.rows, path, anomalous=what.options.anomalous, with_hkl=what.options.cif.shelx_hkl_file)
    return _merged_count(what.rows)


def _columns_writer(
    write: Callable[[Path, dict[str, NDArray[Any]], dict[str, Any]], None],
) -> Callable[[Exported, Path], str]:
    def writer(what: Exported, path: Path) -> str:
        is_merged = what.options.merged is True
        columns = _merged_columns(what) if is_merged else _unmerged_columns(what.rows.accepted)
        write(path, columns, _header(what.rows, is_merged))
        return _merged_count(what.rows) if is_merged else _counted(what.rows)

    return writer


def _header(rows: ExportRows, is_merged: bool) -> dict[str, Any]:
    return {
        "format": "pyscale reflections",
        "version": 1,
        "space_group": rows.space_group.xhm(),
        "unit_cell": [float(x) for x in rows.unit_cell],
        "is_scaled": rows.is_scaled,
        "is_merged": is_merged,
        "data_sets": rows.job.identifiers,
        "wavelengths": rows.wavelengths.tolist(),
    }


def _unmerged_columns(rows: ExportRows) -> dict[str, NDArray[Any]]:
    i = rows.intensities
    columns: dict[str, NDArray[Any]] = dict(zip("hkl", rows.miller_index.T, strict=True))
    x, y, z = rows.centroid.T
    columns |= {"data_set": rows.data_set.astype(np.int32), "image": rows.image.astype(np.int32)}
    columns |= {"intensity": i.value, "sigma": i.sigma, "scale": i.scale, "scale_sigma": i.scale_sigma}
    columns |= {"d": rows.d_spacing, "rotation_angle": rows.rotation_angle, "x": x, "y": y, "z": z}
    given: dict[str, FloatArray | None] = {name: rows.column(name) for name in ("partiality", "lp", "qe")}
    return columns | {name: values for name, values in given.items() if values is not None}


def _merged_columns(what: Exported) -> dict[str, NDArray[Any]]:
    merged = what.rows.merged
    columns: dict[str, NDArray[Any]] = dict(zip("hkl", merged.miller_index.T, strict=True))
    names = ["intensity", "sigma", "n_obs"]
    if what.options.anomalous:
        names += [f"{name}_{side}" for side in ("plus", "minus") for name in names[:3]]
    return columns | {name: getattr(merged, name) for name in names}


_WRITERS: dict[str, Callable[[Exported, Path], str]] = {
    "mtz": _write_mtz,
    "merged_mtz": _write_merged_mtz,
    "xds_ascii": _write_xds_ascii,
    "shelx": _write_shelx,
    "sca": _write_sca,
    "mmcif": _write_mmcif,
    "cif": _write_cif,
    "json": _columns_writer(write_json_columns),
    "parquet": _columns_writer(write_parquet),
    "arrow": _columns_writer(write_arrow),
}
