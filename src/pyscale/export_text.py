"""Exported observations in text formats: XDS_ASCII, SHELX, SCALEPACK, CIF of the core dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .export_rows import ExportRows
from .io.core_cif_out import CifReflections, write_core_cif
from .io.hklf4_out import hklf4_scale, write_hklf4
from .io.scalepack_out import write_scalepack
from .io.shelx_ins_out import write_ins
from .io.xds_ascii_out import XdsObservations, XdsSweep, write_xds_ascii
from .transmission import relative_transmission
from .typing import FloatArray

if TYPE_CHECKING:
    from .dataset import DataSet

__all__ = ["write_cif_file", "write_ins_file", "write_sca_file", "write_shelx_file", "write_xds_file"]


def write_xds_file(rows: ExportRows, path: Path, *, name: str = "", anomalous: bool = False) -> None:
    """Write XDS_ASCII.HKL, outliers as misfits."""
    one = np.ones(len(rows))
    lp, partiality = rows.column("lp"), rows.column("partiality")
    correlation = rows.column("profile.correlation")
    with np.errstate(divide="ignore", invalid="ignore"):
        reciprocal_lp = one if lp is None else np.where(lp > 0, 1.0 / lp, 1.0)
    observations = XdsObservations(
        miller_index=rows.miller_index,
        data_set=rows.data_set,
        intensity=rows.intensities.value,
        sigma=rows.intensities.sigma,
        is_misfit=rows.is_outlier,
        centroid=rows.centroid,
        reciprocal_lp=reciprocal_lp,
        peak=_percent(one if partiality is None else partiality),
        correlation=_percent(one if correlation is None else correlation),
    )
    d = rows.d_spacing
    write_xds_ascii(
        path,
        observations,
        [_xds_sweep(d) for d in rows.job.data_sets],
        rows.space_group.number,
        rows.unit_cell,
        name=name,
        anomalous=anomalous,
        limits=(float(d.max()), float(d.min())),
    )


def _percent(fraction: FloatArray) -> FloatArray:
    return np.clip(np.nan_to_num(100.0 * fraction, nan=100.0), -100.0, 100.0)


def _xds_sweep(data_set: DataSet) -> XdsSweep:
    e = data_set.experiment
    crystal = e.crystal or {}
    real = np.array([crystal[f"real_space_{axis}"] for axis in "abc"], dtype=np.float64)
    setting = e.setting_rotation
    axis = e.rotation_axis
    beam = e.beam or {}
    normal = beam.get("polarization_normal")
    return XdsSweep(
        name=data_set.identifier,
        wavelength=e.wavelength,
        unit_cell=e.unit_cell,
        real_space=real @ (setting @ e.fixed_rotation).T,
        beam_direction=-e.beam_direction,
        image_range=e.image_range or (1, 1),
        oscillation=None if e.is_still else e.oscillation,
        rotation_axis=None if axis is None else setting @ axis,
        detector=e.panels[0] if e.detector is not None and len(e.panels) == 1 else None,
        polarization=None if normal is None else (float(beam["polarization_fraction"]), np.asarray(normal, np.float64)),
    )


def _merged_reflections(rows: ExportRows, anomalous: bool) -> CifReflections:
    """Merged reflections as a list; I(+) and I(-) apart if `anomalous`."""
    merged = rows.merged
    if not anomalous:
        return CifReflections(miller_index=merged.miller_index, intensity=merged.intensity, sigma=merged.sigma)
    has_plus, has_minus = merged.n_obs_plus > 0, merged.n_obs_minus > 0
    index = np.concatenate([merged.miller_index[has_plus], -merged.miller_index[has_minus]])
    intensity = np.concatenate([merged.intensity_plus[has_plus], merged.intensity_minus[has_minus]])
    sigma = np.concatenate([merged.sigma_plus[has_plus], merged.sigma_minus[has_minus]])
    row = np.concatenate([2 * np.flatnonzero(has_plus), 2 * np.flatnonzero(has_minus) + 1])
    order = np.argsort(row)
    return CifReflections(miller_index=index[order], intensity=intensity[order], sigma=sigma[order])


def write_shelx_file(
    rows: ExportRows, path: Path, *, is_merged: bool = False, anomalous: bool = True, scale: bool = True
) -> float:
    """Write HKLF 4, each data set a batch of its own, and return the factor of all intensities."""
    factor = None if scale else 1.0
    if is_merged:
        merged = _merged_reflections(rows, anomalous)
        return write_hklf4(path, merged.miller_index, merged.intensity, merged.sigma, scale=factor)
    rows = rows.accepted
    i = rows.intensities
    return write_hklf4(path, rows.miller_index, i.value, i.sigma, rows.data_set + 1, scale=factor)


def write_ins_file(rows: ExportRows, path: Path) -> None:
    """Write the head of instructions for SHELX: cell, symmetry, wavelength."""
    write_ins(path, rows.unit_cell, rows.space_group, float(np.median(rows.wavelengths)))


def write_sca_file(rows: ExportRows, path: Path, *, anomalous: bool = True) -> float:
    """Write merged intensities for SCALEPACK's readers, and return the factor of all of them."""
    return write_scalepack(path, rows.merged, rows.unit_cell, rows.space_group, anomalous=anomalous)


def write_cif_file(rows: ExportRows, path: Path, *, anomalous: bool = True, with_hkl: bool = False) -> None:
    """Write merged reflections, and what is to be said of their measurement, as CIF of the core dictionary."""
    accepted = rows.accepted
    shelx = None
    if with_hkl:
        i = accepted.intensities
        factor = hklf4_scale(i.value, i.sigma)
        shelx = CifReflections(miller_index=accepted.miller_index, intensity=i.value * factor, sigma=i.sigma * factor)
    write_core_cif(
        path,
        _merged_reflections(rows, anomalous),
        accepted.miller_index,
        rows.unit_cell,
        rows.space_group,
        float(np.median(rows.wavelengths)),
        rows.statistics().overall,
        transmission=relative_transmission(rows) if rows.is_scaled else None,
        is_scaled=rows.is_scaled,
        shelx=shelx,
    )
