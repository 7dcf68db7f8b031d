"""From integrated reflections to intensities that can be scaled, with the fate of every row on record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .dataset import DataSet
from .errors import DataError, UsageError
from .experiment import Experiment
from .image_ranges import on_excluded_images
from .input_checks import (
    LARGEST_INTENSITY,
    check_columns,
    scalable_intensity,
    scalable_variance,
    scan_limits,
    smallest_resolution,
)
from .integration import column_or, detector_efficiency, has_any, integrated
from .intensity_choice import PROFILE, SUMMATION
from .io.imported import INPUT_FATES
from .options import AUTO, ScalingOptions
from .partials import merge_partials
from .prepared import PreparedDataSet, PreparedRows
from .progress import checkpoint
from .reflections import Flag, ReflectionTable
from .symmetry import d_spacing, systematic_absences, unit_cell_from
from .typing import BoolArray, FloatArray, IndexArray
from .unit_cells import unit_cells, wavelengths

__all__ = [
    "UnitCell",
    "best_unit_cell",
    "clear_scaling_flags",
    "median_unit_cell",
    "prepare",
    "prepare_all",
]

_MOST_BLOCKS = 64

UnitCell = tuple[float, float, float, float, float, float]


def best_unit_cell(data_sets: list[DataSet], options: ScalingOptions) -> UnitCell:
    """Return the cell for all resolutions: that of an option, else the median of each parameter over the crystals."""
    chosen = options.reflection_selection.best_unit_cell or options.input.unit_cell
    if chosen is not None:
        try:
            unit_cell_from(chosen)
        except DataError as error:
            raise UsageError(f"option reflection_selection.best_unit_cell: {error}") from None
        return chosen
    return median_unit_cell(d.experiment for d in data_sets)


def median_unit_cell(experiments: Iterable[Experiment]) -> UnitCell:
    """Return the median of each parameter of the experiments' cells, recalculated ones where stored."""
    median = np.median(unit_cells(experiments), axis=0)
    a, b, c, alpha, beta, gamma = (float(x) for x in median)
    return a, b, c, alpha, beta, gamma


def clear_scaling_flags(flags: np.ndarray) -> np.ndarray:
    """Return flags without the marks of an earlier scaling job."""
    marks = int(Flag.bad_for_scaling | Flag.scaled)
    cleared: np.ndarray = flags & ~np.uint64(marks)
    return cleared


def prepare(data_set: DataSet, cell: UnitCell, options: ScalingOptions) -> PreparedDataSet:
    """Prepare a single data set; see `prepare_all`."""
    return prepare_all([data_set], cell, options)[0]


def prepare_all(data_sets: Sequence[DataSet], cell: UnitCell, options: ScalingOptions) -> list[PreparedDataSet]:
    """Choose intensities, correct them, merge partials and set aside what cannot be scaled.

    Data sets whose rows follow each other in one table are prepared together.

    Raises
    ------
    DataError
        If a column is missing or of a wrong type, or an integrated value is not finite or its variance not positive.
    """
    prepared: list[PreparedDataSet] = []
    for together in _runs(data_sets):
        block = _prepare_rows(together, cell, options)
        prepared += [PreparedDataSet(block, k) for k in range(len(together))]
    return prepared


def _runs(data_sets: Sequence[DataSet]) -> list[list[DataSet]]:
    """Data sets that are prepared together: those whose rows follow each other, or if these are many, all alike."""
    runs: list[list[DataSet]] = []
    for data_set in data_sets:
        if runs and data_set.reflections.follows(runs[-1][-1].reflections):
            runs[-1].append(data_set)
        else:
            runs.append([data_set])
    if len(runs) <= _MOST_BLOCKS:
        return runs
    alike: list[list[DataSet]] = []
    last: dict[str, str] = {}
    for run in runs:
        types = run[0].reflections.types()
        if alike and types == last:
            alike[-1] += run
        else:
            alike.append(run)
        last = types
    return alike


def _prepare_rows(data_sets: Sequence[DataSet], cell: UnitCell, options: ScalingOptions) -> PreparedRows:
    checkpoint()
    table = _joined(data_sets)
    check_columns(table)
    n_rows = np.array([len(d.reflections) for d in data_sets], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(n_rows)])
    n_read = _n_records(table, offsets)
    outlier = np.uint64(int(Flag.outlier_in_scaling))
    flags = table.require("flags").astype(np.uint64)
    flags = clear_scaling_flags(flags) | (flags & outlier)
    table["flags"] = flags
    _check_values(table, flags, data_sets, offsets, options)
    checkpoint()
    table, n_merged = merge_partials(table)
    if n_merged:
        numbers = np.array([d.experiment_index for d in data_sets])
        offsets = np.append(np.searchsorted(table["id"], numbers), len(table))
    was_outlier = (table["flags"] & outlier) != 0
    table["flags"] = clear_scaling_flags(table["flags"])
    block = PreparedRows(
        data_sets=data_sets,
        table=table,
        offsets=offsets,
        n_read=n_read,
        d_spacing=np.full(len(table), np.nan),
        image_z=np.ascontiguousarray(table.centroids()[:, 2]),
        absent=np.zeros(len(table), np.bool_),
        was_outlier=was_outlier,
        imids=np.full(len(data_sets), initial_imid(options)),
        with_saturated_sums=options.reflection_selection.overloaded == "keep",
        suitable=np.ones(len(table), np.bool_),
        fate=np.zeros(len(table), np.uint8),
    )
    checkpoint()
    _look_at_indices(block, cell)
    checkpoint()
    _leave_images_out(block)
    _apply_filters(block, options)
    return block


def _n_records(table: ReflectionTable, offsets: IndexArray) -> IndexArray:
    """How many records of the input there were for the rows of each data set."""
    if "n_records" not in table:
        return np.diff(offsets)
    return np.asarray(np.add.reduceat(table["n_records"], offsets[:-1], dtype=np.int64))


def _joined(data_sets: Sequence[DataSet]) -> ReflectionTable:
    for d in data_sets:
        if len(d.reflections) == 0:
            raise DataError(f"{d.reflections.source}: data set {d.identifier} has no reflections")
    table = ReflectionTable.concatenate([d.reflections for d in data_sets])
    table.source = data_sets[0].reflections.source
    table.identifiers = {}
    if "shoebox" in table:
        del table["shoebox"]
    return table


def initial_imid(options: ScalingOptions) -> float:
    """Crossover to start from: summation if the user wants it, else profile."""
    return SUMMATION if options.reflection_selection.intensity_choice == "sum" else PROFILE


def _check_values(
    table: ReflectionTable,
    flags: np.ndarray,
    data_sets: Sequence[DataSet],
    offsets: IndexArray,
    options: ScalingOptions,
) -> None:
    """Refuse values that no integrator writes, naming the first; the option lets them be left out instead."""
    if "intensity.prf.value" not in table and "intensity.sum.value" not in table:
        raise DataError(f"{table.source}: columns intensity.prf.value and intensity.sum.value are missing")
    exclude = options.cut_data.invalid_rows == "exclude"
    found: dict[str, BoolArray] = {}
    for which in ("prf", "sum"):
        value, variance = table.get(f"intensity.{which}.value"), table.get(f"intensity.{which}.variance")
        if value is None:
            continue
        if variance is None:
            raise DataError(f"{table.source}: column 'intensity.{which}.variance' is missing")
        with np.errstate(invalid="ignore"):
            bad = {"value": ~scalable_intensity(value), "variance": ~scalable_variance(variance)}
        for what, wrong in bad.items():
            rows = wrong & integrated(flags, which)
            if rows.any() and exclude:
                bit = Flag.integrated_prf if which == "prf" else Flag.integrated_sum
                flags[rows] &= ~np.uint64(int(bit))
            elif rows.any():
                found[f"intensity.{which}.{what}"] = rows
    if found:
        first = min(int(np.argmax(rows)) for rows in found.values())
        k = int(np.searchsorted(offsets, first, side="right")) - 1
        part = slice(int(offsets[k]), int(offsets[k + 1]))
        column = next(name for name, rows in found.items() if rows[part].any())
        raise _impossible_value(data_sets[k], column, table[column][part], found[column][part])


def _impossible_value(data_set: DataSet, column: str, values: FloatArray, bad: BoolArray) -> DataError:
    row = int(np.argmax(bad))
    wanted = "finite" if column.endswith("value") else "finite and positive"
    wanted += f" within {LARGEST_INTENSITY:g}" if np.isfinite(values[row]) and values[row] > 0 else ""
    return DataError(
        f"{data_set.reflections.source}: data set {data_set.identifier}, column '{column}', row {row}: "
        f"{values[row]:g} is not {wanted} ({int(bad.sum())} such rows); mend the file, or leave them out by "
        "invalid_rows=exclude"
    )


def _look_at_indices(block: PreparedRows, cell: UnitCell) -> None:
    """Resolution and absence of the rows that are indexed."""
    index = block.table.require("miller_index")
    indexed = (index != 0).any(axis=1)
    rows: BoolArray | slice = slice(None) if indexed.all() else indexed
    block.d_spacing[rows] = d_spacing(cell, np.ascontiguousarray(index[rows]))
    groups = [d.experiment.space_group for d in block.data_sets]
    if all(g is groups[0] for g in groups):
        block.absent[rows] = systematic_absences(groups[0], np.ascontiguousarray(index[rows]))
        return
    for group, start, stop in zip(groups, block.offsets, block.offsets[1:], strict=False):
        own = np.flatnonzero(indexed[start:stop]) + start
        block.absent[own] = systematic_absences(group, np.ascontiguousarray(index[own]))


def _leave_images_out(block: PreparedRows) -> None:
    for d, start, stop in zip(block.data_sets, block.offsets.tolist(), block.offsets[1:].tolist(), strict=False):
        if d.experiment.is_still:
            continue
        excluded = on_excluded_images(d.experiment, block.image_z[start:stop])
        block.discard("user_excluded", "exclude_images", excluded, slice(start, stop))


def _apply_filters(p: PreparedRows, options: ScalingOptions) -> None:
    table, cut = p.table, options.cut_data
    flags, (intensity, variance) = table["flags"], p.chosen
    checkpoint()
    if "input_fate" in table:
        for reason, number in INPUT_FATES.items():
            p.discard("filtered", reason, table["input_fate"] == number)
    _drop_flagged(p, flags, options)
    either = integrated(flags, "prf") | integrated(flags, "sum")
    p.discard("filtered", "not_integrated", ~either | (np.isnan(intensity) & np.isnan(variance)))
    p.discard("filtered", "not_indexed", np.isnan(p.d_spacing))
    partiality = column_or(table, "partiality", 1.0)
    with np.errstate(invalid="ignore"):
        p.discard("filtered", "no_detector_efficiency", ~(detector_efficiency(table) > 0))
        p.discard("filtered", "no_lorentz_polarisation", ~(column_or(table, "lp", 1.0) > 0))
        p.discard("filtered", "no_partiality", ~(partiality > 0))
        finite = scalable_intensity(intensity) & scalable_variance(variance) & np.isfinite(p.image_z)
        p.discard("filtered", "not_finite", ~finite)
        low, high = np.array([scan_limits(d.experiment) for d in p.data_sets]).T
        p.discard("filtered", "outside_scan", (p.image_z < p.spread(low)) | (p.image_z > p.spread(high)))
        smallest = [smallest_resolution(w) for w in wavelengths(d.experiment for d in p.data_sets)]
        p.discard("filtered", "impossible_resolution", p.d_spacing < p.spread(np.array(smallest)))
        if isinstance(cut.d_min, float):
            p.discard("user_excluded", "d_min", p.d_spacing < cut.d_min)
        if cut.d_max is not None:
            p.discard("user_excluded", "d_max", p.d_spacing > cut.d_max)
        p.discard("user_excluded", "partiality_cutoff", partiality < cut.partiality_cutoff)
        for which in ("prf", "sum"):
            if f"intensity.{which}.value" in table:
                value, variance = table[f"intensity.{which}.value"], table[f"intensity.{which}.variance"]
                weak = integrated(flags, which) & (value < cut.min_isigi * np.sqrt(np.abs(variance)))
                p.discard("filtered", "min_isigi", weak)


def _drop_flagged(p: PreparedRows, flags: np.ndarray, options: ScalingOptions) -> None:
    """Set aside what integration has marked as overloaded or overlapped, as the options say."""
    selection, valid = options.reflection_selection, integrated(flags, "prf") | integrated(flags, "sum")
    overloaded = valid & has_any(flags, Flag.overloaded)
    if selection.overloaded == "profile":
        overloaded &= ~integrated(flags, "prf")
    if selection.overloaded != "keep":
        p.discard("filtered", "overloaded", overloaded)
    bits = {
        "keep": Flag(0),
        "drop_foreground": Flag.overlapped_fg,
        "drop": Flag.overlapped_fg | Flag.overlapped_bg,
    }[selection.overlapped]
    p.discard("filtered", "overlapped", valid & has_any(flags, bits))


def small_scale_cutoff(options: ScalingOptions) -> float:
    """Smallest inverse scale factor that is trusted."""
    cutoff = options.cut_data.small_scale_cutoff
    return 1e-3 if cutoff is AUTO else float(cutoff)
