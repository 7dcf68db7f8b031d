"""The rows of scaled tables that are merged, and why the others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .dataset import DataSet
from .errors import DataError
from .image_ranges import on_excluded_images, valid_ranges
from .input_checks import check_columns, scalable_intensity, scalable_variance
from .integration import column_or
from .options.merge import MergeOptions
from .reflections import Flag, ReflectionTable
from .statistics import LIMIT_TOLERANCE
from .symmetry import UnitCellLike, inverse_d_squared, systematic_absences
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["ScaledRows", "select_scaled_rows"]

_COLUMNS = ("intensity.scale.value", "intensity.scale.variance", "inverse_scale_factor", "flags", "miller_index")


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
    data_set: IntArray
    image_z: FloatArray
    n_read: int
    left_out: dict[str, int]


def select_scaled_rows(
    data_sets: Sequence[DataSet], cell: UnitCellLike, options: MergeOptions, least_partiality: float
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
    kept = np.ones(len(table), dtype=np.bool_)
    left_out: dict[str, int] = {}
    for reason, rows in _reasons(table, data_sets, cell, options, least_partiality):
        left_out[reason] = int(np.count_nonzero(kept & rows))
        kept &= ~rows
    left_out = {reason: n for reason, n in left_out.items() if n}
    if not kept.any():
        counts = ", ".join(f"{reason}: {n}" for reason, n in left_out.items())
        raise DataError(f"{source}: no scaled reflection is left to merge ({counts})")
    _require_sound(table, kept, source)
    chosen: Any = slice(None) if kept.all() else np.flatnonzero(kept)
    g = table["inverse_scale_factor"][chosen]
    square = g * g
    return ScaledRows(
        miller_index=np.ascontiguousarray(table["miller_index"][chosen], dtype=np.int32),
        intensity=table["intensity.scale.value"][chosen] / g,
        variance=table["intensity.scale.variance"][chosen] / square,
        scale_variance=column_or(table, "inverse_scale_factor_variance", 0.0)[chosen] / square,
        data_set=np.ascontiguousarray(table["id"][chosen], dtype=np.int32),
        image_z=np.ascontiguousarray(table.centroids()[chosen, 2]),
        n_read=len(table),
        left_out=left_out,
    )


def _reasons(
    table: ReflectionTable,
    data_sets: Sequence[DataSet],
    cell: UnitCellLike,
    options: MergeOptions,
    least_partiality: float,
) -> list[tuple[str, BoolArray]]:
    """Why rows are left out, in the order in which reasons are asked for."""
    flags = table["flags"]

    def has(flag: Flag) -> BoolArray:
        result: BoolArray = (flags & np.uint64(int(flag))) != 0
        return result

    g = table["inverse_scale_factor"]
    scaled = has(Flag.scaled)
    if not scaled.any():
        # DIALS before 2019 had no such flag.
        scaled = ~has(Flag.bad_for_scaling)
    # An absence is excluded from scaling, but pyscale writes its scale; 1 is the scale of what has none.
    absence = ~scaled & (g != 1) & has(Flag.integrated)
    absence[absence] = systematic_absences(data_sets[0].experiment.space_group, table["miller_index"][absence])
    reasons = [
        ("outlier", has(Flag.outlier_in_scaling)),
        ("user_excluded", has(Flag.user_excluded_in_scaling)),
        ("not_scaled", ~scaled & ~absence),
        ("excluded_for_scaling", has(Flag.excluded_for_scaling) & ~absence),
        ("no_scale", ~(g > 0) | ~(table["intensity.scale.variance"] > 0)),
        ("partiality_threshold", column_or(table, "partiality", 1.0) < least_partiality),
        ("exclude_images", _excluded(table, data_sets)),
    ]
    if options.d_min is None and options.d_max is None:
        return reasons
    d_star_sq = inverse_d_squared(cell, table["miller_index"])
    if options.d_min is not None:
        reasons.append(("d_min", d_star_sq > (1 + LIMIT_TOLERANCE) / options.d_min**2))
    if options.d_max is not None:
        reasons.append(("d_max", d_star_sq < (1 - LIMIT_TOLERANCE) / options.d_max**2))
    return reasons


def _excluded(table: ReflectionTable, data_sets: Sequence[DataSet]) -> BoolArray:
    excluded = np.zeros(len(table), dtype=np.bool_)
    stop = 0
    z = None
    for d in data_sets:
        start, stop = stop, stop + len(d.reflections)
        if d.experiment.is_still or valid_ranges(d.experiment) == [d.experiment.image_range]:
            continue
        z = table.centroids()[:, 2] if z is None else z
        excluded[start:stop] = on_excluded_images(d.experiment, z[start:stop])
    return excluded


def _require_sound(table: ReflectionTable, kept: BoolArray, source: str) -> None:
    checks = (
        ("intensity.scale.value", scalable_intensity(table["intensity.scale.value"])),
        ("intensity.scale.variance", scalable_variance(table["intensity.scale.variance"])),
        ("inverse_scale_factor", np.isfinite(table["inverse_scale_factor"])),
    )
    for name, sound in checks:
        bad = kept & ~sound
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(f"{source}: column '{name}', row {row}: {table[name][row]:g} cannot be merged")
