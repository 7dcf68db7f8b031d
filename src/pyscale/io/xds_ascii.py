"""XDS_ASCII.HKL: unmerged intensities that CORRECT has scaled, and those of several data sets from XSCALE."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..options.importing import InputOptions
from ..typing import FloatArray
from .imported import ImportedDataSet, InputDecision
from .polarization import UNPOLARISED
from .xds_data_set import common_columns, rows_of, sweep_of
from .xds_geometry import geometry_of, space_group_of, unit_cell_of, wavelength_of
from .xds_records import XdsHeader, XdsRecords, read_xds_records

__all__ = ["read_xds_ascii"]

_WANTED = ("H", "K", "L", "IOBS", "SIGMA", "XD", "YD", "ZD")
_OPTIONAL = ("RLP", "PEAK", "CORR", "PSI", "ISET")
_ISET = re.compile(r"^!\s*ISET=\s*(\d+)\s*(.*)$")
_NORMAL = np.array([0.0, 1.0, 0.0])


def read_xds_ascii(path: Path, options: InputOptions) -> list[ImportedDataSet]:
    """Read the data sets of an unmerged XDS_ASCII.HKL: one of CORRECT, one or more of XSCALE (column ISET).

    Raises
    ------
    UsageError
        If an option is impossible for this file.
    DataError
        If the file is damaged, a part of it is missing, or its intensities are merged.
    """
    records = read_xds_records(path, _WANTED, _OPTIONAL)
    columns, said = _without_misfits(records, options)
    if "ISET" not in columns:
        return [_data_set(records, columns, records.header, options, said)]
    sets = dict(_sets(records.header))
    number = columns["ISET"].astype(np.int64)
    order = np.argsort(number, kind="stable")
    columns, number = rows_of(columns, order), number[order]
    found, starts = np.unique(number, return_index=True)
    data_sets = []
    for k, start, end in zip(found.tolist(), starts.tolist(), [*starts[1:].tolist(), len(number)], strict=True):
        header = sets.get(k, records.header)
        part = rows_of(columns, slice(start, end))
        name = header.text("INPUT_FILE") or "?"
        told = InputDecision("data_set", f"ISET {k}", f"of several that XSCALE put together; from {name}")
        data_sets.append(_data_set(records, part, header, options, (told, *said)))
    return data_sets


def _without_misfits(
    records: XdsRecords, options: InputOptions
) -> tuple[dict[str, FloatArray], tuple[InputDecision, ...]]:
    """Columns with positive SIGMA, without misfits (negative SIGMA) unless the option keeps them."""
    sigma = records.columns["SIGMA"]
    misfit, n_none = sigma < 0, int(np.count_nonzero(sigma == 0))
    n = int(np.count_nonzero(misfit))
    said = []
    if n_none:
        text = f"{n_none} reflections whose SIGMA is zero are left out"
        said.append(InputDecision("without_sigma", n_none, text, is_warning=True))
    keep = options.flagged == "keep"
    if n:
        text = f"{n} reflections that XDS marked as misfits (negative SIGMA) are {'kept' if keep else 'left out'}"
        said.append(InputDecision("flagged", options.flagged, f"{text}; option input.flagged"))
    good = sigma != 0 if keep else sigma > 0
    if not good.any():
        raise DataError(f"{records.source}: no reflection has a positive SIGMA")
    columns = records.columns if good.all() else rows_of(records.columns, good)
    return columns | {"SIGMA": np.abs(columns["SIGMA"])}, tuple(said)


def _sets(header: XdsHeader) -> Iterator[tuple[int, XdsHeader]]:
    """Headers of the data sets of XSCALE: the file's, with what its lines ISET= say of each."""
    entries: dict[int, dict[str, tuple[str, int]]] = {}
    for line_number, line in enumerate(header.lines, start=1):
        match = _ISET.match(line)
        if match is not None:
            key, _, value = match[2].partition("=")
            entries.setdefault(int(match[1]), {})[key.strip()] = (value.strip(), line_number)
    for number, own in entries.items():
        yield number, replace(header, entries=header.entries | own)


def _data_set(
    records: XdsRecords,
    columns: Mapping[str, FloatArray],
    header: XdsHeader,
    options: InputOptions,
    said: tuple[InputDecision, ...],
) -> ImportedDataSet:
    unit_cell, wavelength = unit_cell_of(header, options), wavelength_of(header, options)
    index = records.miller_index(columns)
    tells_geometry = "ORGX" in header.entries or "ROTATION_AXIS" in header.entries
    geometry = geometry_of(header, wavelength, unit_cell) if tells_geometry else None
    sweep = sweep_of(header, geometry, unit_cell, index, (columns["XD"], columns["YD"], columns["ZD"]))
    found = common_columns(columns, index, sweep, is_profile_fitted=header.text("PROFILE_FITTING") != "FALSE")
    fraction, normal = _polarization(header)
    return ImportedDataSet(
        source=records.source,
        columns=found,
        space_group=space_group_of(header, options),
        unit_cell=unit_cell,
        wavelength=wavelength,
        polarization_fraction=fraction,
        polarization_normal=normal,
        decisions=(*said, *sweep.decisions, _state(header, fraction)),
        **sweep.models,
    )


def _polarization(header: XdsHeader) -> tuple[float, FloatArray]:
    """Fraction and normal that the intensities were corrected for."""
    fraction = header.optional_numbers("FRACTION_OF_POLARIZATION", 1)
    normal = header.optional_numbers("POLARIZATION_PLANE_NORMAL", 3)
    length = 0.0 if normal is None else float(np.linalg.norm(normal))
    p = UNPOLARISED if fraction is None else float(np.clip(fraction[0], 0.0, 1.0))
    return p, _NORMAL if normal is None or not length > 0 else normal / length


def _state(header: XdsHeader, fraction: float) -> InputDecision:
    """What was done to the intensities before, and cannot be undone."""
    program = next((line.split()[2] for line in header.lines if line.startswith("!Generated by ")), "another program")
    text = (
        f"intensities are scaled by {program} and corrected for polarisation (fraction {fraction:g}), and their "
        "uncertainties are of its error model; neither can be undone"
    )
    return InputDecision("intensities", f"scaled by {program}", text)
