"""INTEGRATE.HKL of XDS: intensities corrected for Lorentz factor and an unpolarised beam, not scaled."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from ..options.importing import InputOptions
from ..typing import FloatArray
from .imported import ImportedDataSet, InputDecision
from .polarization import UNPOLARISED, XDS_NORMAL, chosen_polarization, polarization_correction
from .xds_data_set import Sweep, common_columns, sweep_of
from .xds_geometry import geometry_of, space_group_of, unit_cell_of, wavelength_of
from .xds_records import read_xds_records

__all__ = ["read_integrate_hkl"]

_WANTED = ("H", "K", "L", "IOBS", "SIGMA", "XCAL", "YCAL", "ZCAL")
_OPTIONAL = ("RLP", "PEAK", "CORR", "PSI", "ISEG")
_MOST_SEGMENTS = 100_000


def read_integrate_hkl(path: Path, options: InputOptions) -> list[ImportedDataSet]:
    """Read the one data set of an INTEGRATE.HKL.

    Raises
    ------
    UsageError
        If an option is impossible for this file.
    DataError
        If the file is damaged or a part of it is missing.
    """
    records = read_xds_records(path, _WANTED, _OPTIONAL)
    header, columns = records.header, records.columns
    unit_cell, wavelength = unit_cell_of(header, options), wavelength_of(header, options)
    geometry = geometry_of(header, wavelength, unit_cell)
    decisions = _without_sigma(path, columns)
    index = records.miller_index(columns)
    segment = None
    if geometry.segments and "ISEG" in columns:
        segment = np.clip(columns["ISEG"], 0, _MOST_SEGMENTS).astype(np.int32) - 1
    position = (columns["XCAL"], columns["YCAL"], columns["ZCAL"])
    sweep = sweep_of(header, geometry, unit_cell, index, position, segment)
    fraction, normal, lp, said = _polarization(sweep, wavelength, options)
    found = common_columns(columns, index, sweep, is_profile_fitted=header.text("PROFILE_FITTING") != "FALSE")
    data_set = ImportedDataSet(
        source=str(path),
        columns=found | {"lp": lp},
        space_group=space_group_of(header, options),
        unit_cell=unit_cell,
        wavelength=wavelength,
        polarization_fraction=fraction,
        polarization_normal=normal,
        decisions=(*decisions, *sweep.decisions, said),
        **sweep.models,
    )
    return [data_set]


def _without_sigma(path: Path, columns: dict[str, FloatArray]) -> list[InputDecision]:
    """Set negative SIGMA, which INTEGRATE does not write, to zero, and say so."""
    n = int(np.count_nonzero(columns["SIGMA"] <= 0))
    if not n:
        return []
    if n == columns["SIGMA"].size:
        raise DataError(f"{path}: no reflection has a positive SIGMA")
    columns["SIGMA"] = np.maximum(columns["SIGMA"], 0.0)
    text = f"{n} reflections without a positive SIGMA are left out"
    return [InputDecision("without_sigma", n, text, is_warning=True)]


def _polarization(
    sweep: Sweep, wavelength: float, options: InputOptions
) -> tuple[float, FloatArray, FloatArray, InputDecision]:
    """Fraction and normal, the column `lp`, and what to say of it."""
    assert sweep.geometry is not None and sweep.s1 is not None
    incident = sweep.geometry.incident
    fraction, normal, reason = chosen_polarization(options, wavelength, incident, XDS_NORMAL)
    if fraction == UNPOLARISED:
        lp = np.ones(len(sweep.s1))
    else:
        lp = polarization_correction(sweep.s1, incident, fraction, normal)
    done = "which leaves nothing to correct"
    if fraction != UNPOLARISED:
        shown = ", ".join(f"{x:.3f}" for x in normal)
        done = f"so intensities are multiplied by {lp.min():.3f} to {lp.max():.3f} (normal {shown})"
    text = (
        f"{reason}; INTEGRATE corrects for an unpolarised beam, {done}; input.polarization_fraction and "
        "input.polarization_normal change it"
    )
    return fraction, normal, lp, InputDecision("polarization_fraction", fraction, text)
