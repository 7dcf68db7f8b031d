"""The columns that scaling adds to reflection tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from .fates import FATE_COLUMN, fate_number
from .observations import JobObservations
from .prepared import PreparedDataSet, PreparedRows, blocks_of
from .reflections import Flag, ReflectionTable
from .typing import BoolArray, ByteArray, FloatArray, IndexArray, IntArray

__all__ = ["CORRELATION_COLUMN", "ScaledObservations", "scaled_tables"]

CORRELATION_COLUMN = "pyscale_scale_correlation"

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
        What the uncertainty of the scale adds on file: I_h^2 var(g), or as `output.scale_errors` says.
    scale_correlation : (n, 2) float64
        As in `FitResult`.
    outlier, small_scale : (n,) bool
    fate : (n,) uint8
        What became of them (`fates`).
    beyond_limits : (n,) bool
        Beyond limits that the scaled data gave (d_min=auto, anisotropic_cut), so not merged; no outliers.
    """

    g: FloatArray
    g_variance: FloatArray
    variance: FloatArray
    scale_variance: FloatArray
    scale_correlation: FloatArray
    outlier: BoolArray
    small_scale: BoolArray
    fate: ByteArray
    beyond_limits: BoolArray

    def merged(self, absent: BoolArray) -> BoolArray:
        """Observations that are merged, (n,) bool; `absent` are systematic absences."""
        merged: BoolArray = ~(self.small_scale | absent | self.outlier | self.beyond_limits)
        return merged

    def of(self, rows: slice | IndexArray) -> ScaledObservations:
        """Return some observations."""
        return ScaledObservations(*(getattr(self, f.name)[rows] for f in fields(self)))


def scaled_tables(
    prepared: Sequence[PreparedDataSet], observations: JobObservations, scaled: ScaledObservations
) -> list[ReflectionTable]:
    """Return the table of each data set with the columns of scaling, rows in the order of the input."""
    tables: list[ReflectionTable] = []
    first = 0
    for block in blocks_of(prepared):
        numbers = np.array([p.number for p in prepared if p.block is block], dtype=np.int64)
        here = (observations.data_set >= first) & (observations.data_set < first + numbers.size)
        chosen = slice(None) if here.all() else np.flatnonzero(here)
        row = block.offsets[numbers[observations.data_set[chosen] - first]] + observations.row[chosen]
        table = _scaled_table(block, row, scaled.of(chosen))
        parts = np.stack([block.offsets[numbers], block.offsets[numbers + 1]], axis=1)
        tables += [table.select(slice(*part)) for part in parts.tolist()]
        first += numbers.size
    _count_records(tables)
    for p, table in zip(prepared, tables, strict=True):
        table.source = p.data_set.reflections.source
        table.identifiers = dict(p.data_set.reflections.identifiers)
    return tables


def _count_records(tables: Sequence[ReflectionTable]) -> None:
    """Where some tables have the number of rows that each row was, all have it, so that it can be written."""
    lacking = [table for table in tables if "n_records" not in table]
    for table in lacking if len(lacking) < len(tables) else []:
        table["n_records"] = np.ones(len(table), np.int32)


def _scaled_table(block: PreparedRows, rows: IndexArray, scaled: ScaledObservations) -> ReflectionTable:
    """The block's table with the columns of scaling; `rows` are those of the observations."""
    n = len(block.table)

    def spread(values: FloatArray, default: float) -> FloatArray:
        column = np.full(n, default)
        column[rows] = values
        return column

    table = block.table.copy()
    for name in _WORKING_COLUMNS:
        if name in table:
            del table[name]
    table["inverse_scale_factor"] = spread(scaled.g, 1.0)
    table["inverse_scale_factor_variance"] = spread(scaled.g_variance, 0.0)
    correlation = np.ones((n, 2))
    correlation[rows] = scaled.scale_correlation
    table[CORRELATION_COLUMN] = correlation
    intensity, variance = block.chosen
    table["intensity.scale.value"] = np.where(np.isfinite(intensity), intensity, 0.0)
    variance = np.where(np.isfinite(variance), variance, 0.0)
    variance[rows] = scaled.variance + scaled.scale_variance
    table["intensity.scale.variance"] = variance
    block.forget_intensities()
    table["d"] = np.where(np.isfinite(block.d_spacing), block.d_spacing, 0.0)
    table["flags"] = _flags(block, rows, scaled)
    table[FATE_COLUMN] = _fates(block, rows, scaled.fate)
    return table


def _fates(block: PreparedRows, rows: IndexArray, fate: ByteArray) -> IntArray:
    """Numbers of `fates`: of the rows that left before the fit by their reasons, of the others by `fate`."""
    fates = np.array([0, *(fate_number(*of_reason) for of_reason in block.reasons)], np.int32)[block.fate]
    fates[rows] = fate
    return fates


def _flags(block: PreparedRows, rows: IndexArray, scaled: ScaledObservations) -> np.ndarray:
    flags: np.ndarray = block.table["flags"].copy()

    def mark(chosen: np.ndarray, flag: Flag) -> None:
        flags[chosen] |= np.uint64(int(flag))

    of_reason = [
        Flag.user_excluded_in_scaling if kind == "user_excluded" else Flag.excluded_for_scaling
        for kind, _ in block.reasons
    ]
    flags |= np.array([0, *map(int, of_reason)], np.uint64)[block.fate]
    mark(rows[scaled.outlier], Flag.outlier_in_scaling)
    mark(rows[scaled.beyond_limits], Flag.user_excluded_in_scaling)
    mark(rows[scaled.small_scale], Flag.excluded_for_scaling)
    mark(block.absent & block.suitable, Flag.excluded_for_scaling)
    mark(rows[scaled.merged(block.absent[rows])], Flag.scaled)
    return flags
