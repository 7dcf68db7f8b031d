"""The columns that scaling adds to reflection tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .observations import JobObservations
from .preparation import PreparedDataSet
from .reflections import Flag, ReflectionTable
from .typing import BoolArray, FloatArray

__all__ = ["ScaledObservations", "scaled_tables"]

_WORKING_COLUMNS = (
    "Esq",
    "batch",
    "intensity",
    "original_index",
    "prescaling_correction",
    "s0",
    "s0c",
    "s1c",
    "shoebox",
    "variance",
)


@dataclass(frozen=True)
class ScaledObservations:
    """Results of the fit for every suitable observation, in canonical order.

    Attributes
    ----------
    g, g_variance : (n,) float64
        Inverse scale factor and its variance.
    variance : (n,) float64
        Statistical variance sigma'^2 of the unscaled intensity after the error model.
    scale_variance : (n,) float64
        I_h^2 var(g): what the uncertainty of the scale adds.
    outlier, small_scale : (n,) bool
    """

    g: FloatArray
    g_variance: FloatArray
    variance: FloatArray
    scale_variance: FloatArray
    outlier: BoolArray
    small_scale: BoolArray


def scaled_tables(
    prepared: Sequence[PreparedDataSet], observations: JobObservations, scaled: ScaledObservations
) -> list[ReflectionTable]:
    """Return the table of each data set with the columns of scaling, rows in the order of the input."""
    return [_scaled_table(k, p, observations, scaled) for k, p in enumerate(prepared)]


def _scaled_table(
    number: int, p: PreparedDataSet, observations: JobObservations, scaled: ScaledObservations
) -> ReflectionTable:
    here = np.flatnonzero(observations.data_set == number)
    rows = observations.row[here]
    n = len(p.table)

    def spread(values: FloatArray, default: float) -> FloatArray:
        column = np.full(n, default)
        column[rows] = values[here]
        return column

    table = p.table.copy()
    for name in _WORKING_COLUMNS:
        if name in table:
            del table[name]
    table["inverse_scale_factor"] = spread(scaled.g, 1.0)
    table["inverse_scale_factor_variance"] = spread(scaled.g_variance, 0.0)
    table["intensity.scale.value"] = np.where(np.isfinite(p.intensity), p.intensity, 0.0)
    variance = np.where(np.isfinite(p.variance), p.variance, 0.0)
    variance[rows] = (scaled.variance + scaled.scale_variance)[here]
    table["intensity.scale.variance"] = variance
    table["d"] = np.where(np.isfinite(p.d_spacing), p.d_spacing, 0.0)
    table["flags"] = _flags(p, rows, scaled.outlier[here], scaled.small_scale[here])
    return table


def _flags(p: PreparedDataSet, rows: np.ndarray, outlier: BoolArray, small_scale: BoolArray) -> np.ndarray:
    flags: np.ndarray = p.table["flags"].copy()

    def mark(chosen: np.ndarray, flag: Flag) -> None:
        flags[chosen] |= np.uint64(int(flag))

    for fate in p.fates:
        user = fate.kind == "user_excluded"
        mark(fate.rows, Flag.user_excluded_in_scaling if user else Flag.excluded_for_scaling)
    mark(rows[outlier], Flag.outlier_in_scaling)
    mark(rows[small_scale], Flag.excluded_for_scaling)
    mark(p.absent & p.suitable, Flag.excluded_for_scaling)
    mark(rows[~outlier & ~small_scale & ~p.absent[rows]], Flag.scaled)
    return flags
