"""Reflections for SHELX: format HKLF 4."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np

from ..errors import DataError
from ..typing import FloatArray, IndexArray, IntArray
from .text_rows import decimals_that_fit, require_short_indices, write_rows

__all__ = ["LARGEST", "hklf4_scale", "write_hklf4", "write_hklf4_rows"]

#: Largest number that is written: it fits F8.2 with a blank before it.
LARGEST = 9999.0
_WIDTH, _MOST_DECIMALS = 7, 5
_MOST_BATCHES = 9999
_END = 3 * "   0" + 2 * "    0.00"


def hklf4_scale(intensity: FloatArray, sigma: FloatArray) -> float:
    """Factor of all intensities and sigmas (n,) that makes the largest of them `LARGEST`."""
    largest = max(float(np.abs(intensity).max()), float(sigma.max()))
    return LARGEST / largest if largest > 0 else 1.0


def write_hklf4(
    path: Path,
    miller_index: IntArray,
    intensity: FloatArray,
    sigma: FloatArray,
    batch: IndexArray | None = None,
    *,
    scale: float | None = None,
) -> float:
    """Write reflections for `HKLF 4` and return the factor that they were multiplied by.

    A record is 3I4, 2F8, I4: indices, F², its sigma, batch number. Numbers have as many decimals, up to five, as fit
    seven characters: readers in fixed columns take the decimal point as it stands, and a blank is left for those that
    split at blanks. The record 0 0 0 ends the list.

    Parameters
    ----------
    path
    miller_index : (n, 3) int32
    intensity, sigma : (n,) float64
    batch : (n,) int64, optional
        From 1; left out where there are more than 9999.
    scale
        The factor; None: `hklf4_scale`.

    Raises
    ------
    DataError
        If a number or an index needs more characters than there are.
    """
    factor = hklf4_scale(intensity, sigma) if scale is None else scale
    with path.open("w", encoding="ascii", newline="\n") as file:
        write_hklf4_rows(file, miller_index, intensity * factor, sigma * factor, batch)
    return factor


def write_hklf4_rows(
    file: TextIO, miller_index: IntArray, intensity: FloatArray, sigma: FloatArray, batch: IndexArray | None = None
) -> None:
    """Write records and their end into an open file; parameters and errors as for `write_hklf4`."""
    require_short_indices(miller_index, "HKLF 4")
    try:
        decimals = [decimals_that_fit(values, _WIDTH, _MOST_DECIMALS) for values in (intensity, sigma)]
    except ValueError as error:
        raise DataError(f"HKLF 4 has eight characters for a number, and {error}; give shelx.scale=True") from None
    columns = [*miller_index.T, decimals[0], intensity, decimals[1], sigma]
    if batch is None or batch.max(initial=1) > _MOST_BATCHES:
        write_rows(file, "%4d%4d%4d%8.*f%8.*f\n", columns)
        file.write(_END + "\n")
    else:
        write_rows(file, "%4d%4d%4d%8.*f%8.*f%4d\n", [*columns, batch])
        file.write(_END + "   0\n")
