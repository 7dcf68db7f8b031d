"""Merged intensities in the format of SCALEPACK."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..merging import MergedReflections
from ..symmetry import UnitCellLike, unit_cell_from
from ..typing import BoolArray
from .text_rows import decimals_that_fit, require_short_indices, write_rows

__all__ = ["write_scalepack"]

#: Largest numbers that are written, positive and negative: they fit F8.1 with a blank before them.
_LARGEST, _LARGEST_NEGATIVE = 99999.0, 9999.0
_WIDTH, _MOST_DECIMALS = 7, 4
#: Intensities are enlarged where half of the sigmas are smaller than this: too few digits would be left.
_SMALL_SIGMA = 0.01


def write_scalepack(
    path: Path, merged: MergedReflections, unit_cell: UnitCellLike, space_group: Any, *, anomalous: bool = True
) -> float:
    """Write merged intensities, I(+) and I(-) apart if `anomalous`, and return the factor of all numbers.

    A record is 3I4, 4F8: indices, I(+), sigma, I(-), sigma. Where only I(-) was observed, I(+) is 0 with sigma -1;
    where only I(+) was, the record ends after it. Intensities are reduced if the largest does not fit, and enlarged to
    the largest that do if sigmas have no digits otherwise; numbers have as many decimals, up to four, as fit.

    Raises
    ------
    DataError
        If an index needs more than four characters.
    """
    require_short_indices(merged.miller_index, "SCALEPACK")
    pairs = [(merged.intensity, merged.sigma)]
    if anomalous:
        pairs = [
            (merged.intensity_plus, merged.sigma_plus),
            (merged.intensity_minus, merged.sigma_minus),
        ]
    factor = _factor(pairs)
    with path.open("w", encoding="ascii", newline="\n") as file:
        cell = unit_cell_from(unit_cell).parameters
        file.write("    1\n -987\n")
        file.write(
            "{:10.3f}{:10.3f}{:10.3f}{:10.3f}{:10.3f}{:10.3f} {}\n".format(*cell, space_group.short_name().lower())
        )
        if not anomalous:
            _write(file, merged, [(i * factor, s * factor) for i, s in pairs], np.ones(len(merged.intensity), np.bool_))
            return factor
        plus, minus = ((i * factor, s * factor) for i, s in pairs)
        has_plus, has_minus = (np.isfinite(i) for i, _ in (plus, minus))
        plus = np.where(has_plus, plus[0], 0.0), np.where(has_plus, plus[1], -1.0)
        _write(file, merged, [plus], ~has_minus)
        _write(file, merged, [plus, minus], has_minus)
    return factor


def _factor(pairs: list[tuple[Any, Any]]) -> float:
    intensity, sigma = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    intensity, sigma = intensity[np.isfinite(intensity)], sigma[np.isfinite(sigma)]
    used = max(
        float(intensity.max(initial=0.0)) / _LARGEST,
        float(sigma.max(initial=0.0)) / _LARGEST,
        -float(intensity.min(initial=0.0)) / _LARGEST_NEGATIVE,
    )
    if used <= 0 or (used <= 1.0 and np.median(sigma) >= _SMALL_SIGMA):
        return 1.0
    return 1.0 / used


def _write(file: TextIO, merged: MergedReflections, pairs: list[tuple[Any, Any]], rows: BoolArray) -> None:
    columns = list(merged.miller_index[rows].T)
    for pair in pairs:
        for values in pair:
            columns += [decimals_that_fit(values[rows], _WIDTH, _MOST_DECIMALS), values[rows]]
    write_rows(file, "%4d%4d%4d" + "%8.*f%8.*f" * len(pairs) + "\n", columns)
