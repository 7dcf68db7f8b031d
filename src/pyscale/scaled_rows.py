"""The rows of scaled tables that are merged, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dataset import DataSet
from .errors import DataError
from .image_ranges import on_excluded_images, valid_ranges
from .input_checks import check_columns, scalable_intensity, scalable_variance
from .options.merge import MergeOptions
from .output_table import CORRELATION_COLUMN
from .reflections import Flag, ReflectionTable
from .statistics import LIMIT_TOLERANCE
from .symmetry import UnitCellLike, inverse_d_squared, systematic_absences
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["ScaledRows", "is_scaled", "reasons_left_out", "select_scaled_rows"]

_COLUMNS = ("intensity.scale.value", "intensity.scale.variance", "inverse_scale_factor", "flags", "miller_index")
_ROWS_AT_ONCE = 32_768


@dataclass(frozen=True)
class ScaledRows:
    """Scaled observations. Systematic absences are among them if they have a scale; merging leaves them out.

    Attributes
    ----------
    miller_index : (n, 3) int32
    intensity, variance : (n,) float64
        I/g, and its variance as stored.
    scale_variance : (n,) float64
        var(g)/g^2; 0 where the file has none.
    scale_correlation : (n, 2) float64 or None
        Mean correlation of the errors of scales with those of equivalents (`FitResult`); None if the file has none.
    data_set : (n,) int32
        Position in the job.
    image_z : (n,) float64
    n_read : int
        Rows of the tables.
    left_out : dict of str to int
        How many rows were left out, by the first reason that applies.
    """

    miller_index: IntArray
    intensity: FloatArray
    variance: FloatArray
    scale_variance: FloatArray
    scale_correlation: FloatArray | None
    data_set: IntArray
    image_z: FloatArray
    n_read: int
    left_out: dict[str, int]


def select_scaled_rows(
    data_sets: Sequence[DataSet],
    cell: UnitCellLike,
    options: MergeOptions,
    least_partiality: float,
    n_threads: int = 1,
) -> ScaledRows:
    """Select the rows that scaling left, within the limits of the options, recorded to at least a part.

    Raises
    ------
    DataError
        If the tables have not been scaled, a value is impossible, or no row is left.
    """
    table = ReflectionTable.concatenate([d.reflections for d in data_sets])
    source = data_sets[0].reflections.source
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise DataError(f"{source}: column '{missing[0]}' is missing: not scaled; run pyscale scale first")
    check_columns(table)
    chooser = _Chooser(table, data_sets, cell, options, least_partiality)
    blocks = [slice(k, k + _ROWS_AT_ONCE) for k in range(0, len(table), _ROWS_AT_ONCE)]
    with ThreadPoolExecutor(n_threads) as pool:
        found = list(pool.map(chooser.choose, blocks))
        left_out = {reason: sum(counts[reason] for _, counts in found) for reason in found[0][1]}
        left_out = {reason: n for reason, n in left_out.items() if n}
        ends = np.cumsum([0, *(np.count_nonzero(kept) for kept, _ in found)]).tolist()
        if not ends[-1]:
            counts = ", ".join(f"{reason}: {n}" for reason, n in left_out.items())
            raise DataError(f"{source}: no scaled reflection is left to merge ({counts})")
        rows = _empty_rows(ends[-1], len(table), left_out, has_correlations=CORRELATION_COLUMN in table)
        places = [slice(first, last) for first, last in pairwise(ends)]
        list(pool.map(partial(_fill, rows, table, source), blocks, [kept for kept, _ in found], places))
    return rows


def is_scaled(table: ReflectionTable) -> bool:
    """Whether a table has the columns of scaling."""
    return all(name in table for name in _COLUMNS)


def reasons_left_out(
    data_sets: Sequence[DataSet], cell: UnitCellLike, options: MergeOptions, least_partiality: float
) -> list[str]:
    """Why each row of scaled data sets, one after the other, is not merged; empty for rows that are."""
    table = ReflectionTable.concatenate([d.reflections for d in data_sets])
    reasons = np.full(len(table), "", dtype=object)
    for reason, rows in _Chooser(table, data_sets, cell, options, least_partiality).reasons(slice(0, len(table))):
        reasons[rows & (reasons == "")] = reason
    return [str(reason) for reason in reasons]


class _Chooser:
    """Which rows of a table are merged: judged in blocks, whose columns stay in the processor's memory."""

    def __init__(
        self,
        table: ReflectionTable,
        data_sets: Sequence[DataSet],
        cell: UnitCellLike,
        options: MergeOptions,
        least_partiality: float,
    ) -> None:
        self._table, self._cell, self._options = table, cell, options
        self._least_partiality = least_partiality
        self._space_group = data_sets[0].experiment.space_group
        self._excluded = _excluded(table, data_sets)
        # DIALS before 2019 had no such flag.
        self._has_scaled = any(
            _has(table["flags"][k : k + _ROWS_AT_ONCE], Flag.scaled).any() for k in range(0, len(table), _ROWS_AT_ONCE)
        )

    def choose(self, block: slice) -> tuple[BoolArray, dict[str, int]]:
        """Return which rows of a block are kept, and how many are not, by the first reason that applies."""
        kept = np.ones(len(self._table["flags"][block]), dtype=np.bool_)
        left_out: dict[str, int] = {}
        for reason, rows in self.reasons(block):
            left_out[reason] = int(np.count_nonzero(kept & rows))
            kept &= ~rows
        return kept, left_out

    def reasons(self, block: slice) -> Iterator[tuple[str, BoolArray]]:
        """Why rows are left out, in the order in which reasons are asked for."""
        table, options, flags = self._table, self._options, self._table["flags"][block]
        g, index = table["inverse_scale_factor"][block], table["miller_index"][block]
        scaled = _has(flags, Flag.scaled) if self._has_scaled else ~_has(flags, Flag.bad_for_scaling)
        # An absence is excluded from scaling, but pyscale writes its scale; 1 is the scale of what has none.
        absence = ~scaled & (g != 1) & _has(flags, Flag.integrated)
        absence[absence] = systematic_absences(self._space_group, index[absence])
        yield "outlier", _has(flags, Flag.outlier_in_scaling)
        yield "user_excluded", _has(flags, Flag.user_excluded_in_scaling)
        yield "not_scaled", ~scaled & ~absence
        yield "excluded_for_scaling", _has(flags, Flag.excluded_for_scaling) & ~absence
        yield "no_scale", ~(g > 0) | ~(table["intensity.scale.variance"][block] > 0)
        partiality = table.get("partiality")
        if partiality is not None:
            yield "partiality_threshold", partiality[block] < self._least_partiality
        elif self._least_partiality > 1.0:
            yield "partiality_threshold", np.ones(len(g), np.bool_)
        if self._excluded is not None:
            yield "exclude_images", self._excluded[block]
        if options.d_min is None and options.d_max is None:
            return
        d_star_sq = inverse_d_squared(self._cell, index)
        if options.d_min is not None:
            yield "d_min", d_star_sq > (1 + LIMIT_TOLERANCE) / options.d_min**2
        if options.d_max is not None:
            yield "d_max", d_star_sq < (1 - LIMIT_TOLERANCE) / options.d_max**2


def _has(flags: NDArray[np.uint64], flag: Flag) -> BoolArray:
    result: BoolArray = (flags & np.uint64(int(flag))) != 0
    return result


def _excluded(table: ReflectionTable, data_sets: Sequence[DataSet]) -> BoolArray | None:
    """Rows on images that are not in use, (n,) bool; None where all images are."""
    excluded, stop = None, 0
    for d in data_sets:
        start, stop = stop, stop + len(d.reflections)
        if d.experiment.is_still or valid_ranges(d.experiment) == [d.experiment.image_range]:
            continue
        if excluded is None:
            excluded, z = np.zeros(len(table), np.bool_), table.centroid_column()[:, 2]
        excluded[start:stop] = on_excluded_images(d.experiment, z[start:stop])
    return excluded


def _empty_rows(n: int, n_read: int, left_out: dict[str, int], *, has_correlations: bool) -> ScaledRows:
    intensity, variance, scale_variance, image_z = (np.empty(n) for _ in range(4))
    return ScaledRows(
        miller_index=np.empty((n, 3), np.int32),
        intensity=intensity,
        variance=variance,
        scale_variance=scale_variance,
        scale_correlation=np.empty((n, 2)) if has_correlations else None,
        data_set=np.empty(n, np.int32),
        image_z=image_z,
        n_read=n_read,
        left_out=left_out,
    )


def _fill(rows: ScaledRows, table: ReflectionTable, source: str, block: slice, kept: BoolArray, place: slice) -> None:
    """Put the rows of a block that are kept in their place."""
    chosen: Any = slice(None) if kept.all() else np.flatnonzero(kept)
    names = ("intensity.scale.value", "intensity.scale.variance", "inverse_scale_factor")
    value, variance, g = (table[name][block][chosen] for name in names)
    sound = (scalable_intensity(value), scalable_variance(variance), np.isfinite(g))
    for name, values, good in zip(names, (value, variance, g), sound, strict=True):
        if not good.all():
            bad = int(np.argmin(good))
            row = block.start + int(np.flatnonzero(kept)[bad])
            raise DataError(f"{source}: column '{name}', row {row}: {values[bad]:g} cannot be merged")
    square = g * g
    np.divide(value, g, out=rows.intensity[place])
    np.divide(variance, square, out=rows.variance[place])
    of_scale = table.get("inverse_scale_factor_variance")
    rows.scale_variance[place] = 0.0 if of_scale is None else of_scale[block][chosen] / square
    if rows.scale_correlation is not None:
        rows.scale_correlation[place] = table[CORRELATION_COLUMN][block][chosen]
    rows.miller_index[place] = table["miller_index"][block][chosen]
    rows.data_set[place] = table["id"][block][chosen]
    rows.image_z[place] = table.centroid_column()[block, 2][chosen]
