"""From integrated reflections to intensities that can be scaled, with the fate of every row on record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .dataset import DataSet
from .errors import DataError, UsageError
from .experiment import Experiment
from .image_ranges import on_excluded_images
from .input_checks import (
    LARGEST_INTENSITY,
    check_columns,
    impossible_resolution,
    outside_scan,
    scalable_intensity,
    scalable_variance,
)
from .intensity_choice import PROFILE, SUMMATION, IntegratedIntensities, combined_intensities
from .options import AUTO, ScalingOptions
from .partials import merge_partials
from .reflections import Flag, ReflectionTable
from .symmetry import d_spacing, systematic_absences, unit_cell_from
from .typing import BoolArray, FloatArray

__all__ = [
    "Fate",
    "PreparedDataSet",
    "UnitCell",
    "best_unit_cell",
    "clear_scaling_flags",
    "median_unit_cell",
    "prepare",
]

UnitCell = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Fate:
    """What became of some rows: `kind` is filtered, user_excluded or rejected."""

    kind: str
    reason: str
    rows: BoolArray


@dataclass
class PreparedDataSet:
    """A data set ready for scaling; all arrays have one element per row of `table`.

    Attributes
    ----------
    integrated : IntegratedIntensities
        Both integration results.
    intensity, variance : (n,) float64
        The chosen ones after Lorentz-polarisation, detector efficiency and partiality, before division by g.
    d_spacing : (n,) float64, Angstrom
        From the best unit cell of the job.
    image_z, x_px, y_px : (n,) float64
        Array coordinate of the centroid, where image k covers [k - 1, k], and its place on the detector, pixels.
    given_factor : (n,) float64
        Factor of g that is known beforehand: the column `analytical_correction`, 1 without it.
    suitable : (n,) bool
        Rows that may take part in the fit and get a scale.
    absent : (n,) bool
        Systematic absences: they get a scale, but are neither fitted nor merged, and flagged as excluded.
    n_read, n_partials_merged : int
        Rows read, and how many of them went into other rows.
    fates : list of Fate
        Disjoint sets of rows that left, in the order in which they did.
    was_outlier : (n,) bool
        Rows that an earlier job rejected; they are judged anew.
    """

    data_set: DataSet
    table: ReflectionTable
    integrated: IntegratedIntensities
    intensity: FloatArray
    variance: FloatArray
    d_spacing: FloatArray
    image_z: FloatArray
    x_px: FloatArray
    y_px: FloatArray
    given_factor: FloatArray
    suitable: BoolArray
    absent: BoolArray
    n_read: int
    n_partials_merged: int
    fates: list[Fate] = field(default_factory=list)
    was_outlier: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))

    @property
    def identifier(self) -> str:
        """Identifier of the data set."""
        return self.data_set.identifier

    def coordinates(self, rows: BoolArray) -> dict[str, FloatArray]:
        """Coordinates along which corrections may vary, of some rows."""
        return {
            "image_z": self.image_z[rows],
            "inv_d2": 1.0 / self.d_spacing[rows] ** 2,
            "x_px": self.x_px[rows],
            "y_px": self.y_px[rows],
        }

    def use_analytical_correction(self) -> None:
        """Take the column `analytical_correction` as a factor of g; rows without a positive one leave.

        Raises
        ------
        DataError
            If there is no such column.
        """
        factor = np.asarray(self.table.require("analytical_correction"), dtype=np.float64)
        with np.errstate(invalid="ignore"):
            sound = np.isfinite(factor) & (factor > 0)
        self.given_factor = np.where(sound, factor, 1.0)
        self.discard("filtered", "no_analytical_correction", ~sound)

    def choose_intensities(self, imid: float) -> None:
        """Take the intensities of another crossover between profile fitting and summation."""
        self.intensity, self.variance = combined_intensities(self.integrated, imid)

    def discard(self, kind: str, reason: str, rows: BoolArray) -> None:
        """Take rows out for a reason; those already gone keep their first one."""
        rows = rows & self.suitable
        self.suitable = self.suitable & ~rows
        if rows.any():
            self.fates.append(Fate(kind, reason, rows))


def best_unit_cell(data_sets: list[DataSet], options: ScalingOptions) -> UnitCell:
    """Return the cell for all resolutions: the option's, else the median of each parameter over the crystals."""
    chosen = options.reflection_selection.best_unit_cell
    if chosen is not None:
        try:
            unit_cell_from(chosen)
        except DataError as error:
            raise UsageError(f"option reflection_selection.best_unit_cell: {error}") from None
        return chosen
    return median_unit_cell(d.experiment for d in data_sets)


def median_unit_cell(experiments: Iterable[Experiment]) -> UnitCell:
    """Return the median of each parameter of the experiments' cells, recalculated ones where stored."""
    cells = [e.recalculated_unit_cell or e.unit_cell for e in experiments]
    median = np.median(np.asarray(cells, dtype=np.float64), axis=0)
    a, b, c, alpha, beta, gamma = (float(x) for x in median)
    return a, b, c, alpha, beta, gamma


def clear_scaling_flags(flags: np.ndarray) -> np.ndarray:
    """Return flags without the marks of an earlier scaling job."""
    marks = int(Flag.bad_for_scaling | Flag.scaled)
    cleared: np.ndarray = flags & ~np.uint64(marks)
    return cleared


def prepare(data_set: DataSet, cell: UnitCell, options: ScalingOptions) -> PreparedDataSet:
    """Choose intensities, correct them, merge partials and set aside what cannot be scaled.

    Raises
    ------
    DataError
        If a column is missing or of a wrong type, or an integrated value is not finite or its variance not positive.
    """
    table = data_set.reflections.copy()
    if len(table) == 0:
        raise DataError(f"{table.source}: data set {data_set.identifier} has no reflections")
    n_read = len(table)
    check_columns(table)
    outlier = np.uint64(int(Flag.outlier_in_scaling))
    flags = table.require("flags").astype(np.uint64)
    flags = clear_scaling_flags(flags) | (flags & outlier)
    table["flags"] = flags
    _check_values(table, flags, data_set, options)
    table, n_merged = merge_partials(table)
    was_outlier = (table["flags"] & outlier) != 0
    table["flags"] = clear_scaling_flags(table["flags"])
    prepared = _with_intensities(data_set, table, cell, options, n_read, n_merged)
    prepared.was_outlier = was_outlier
    prepared.discard("user_excluded", "exclude_images", on_excluded_images(data_set.experiment, prepared.image_z))
    _apply_filters(prepared, options)
    return prepared


def initial_imid(options: ScalingOptions) -> float:
    """Crossover to start from: summation if the user wants it, else profile."""
    return SUMMATION if options.reflection_selection.intensity_choice == "sum" else PROFILE


def integrated(flags: np.ndarray, which: str) -> BoolArray:
    """Rows whose summed ("sum") or profile-fitted ("prf") intensity is valid, (n,) bool."""
    bit = Flag.integrated_prf if which == "prf" else Flag.integrated_sum
    result: BoolArray = (flags & np.uint64(int(bit))) != 0
    return result


def _check_values(table: ReflectionTable, flags: np.ndarray, data_set: DataSet, options: ScalingOptions) -> None:
    """Refuse values that no integrator writes, naming the first; the option lets them be left out instead."""
    if "intensity.prf.value" not in table and "intensity.sum.value" not in table:
        raise DataError(f"{table.source}: columns intensity.prf.value and intensity.sum.value are missing")
    exclude = options.cut_data.invalid_rows == "exclude"
    for which in ("prf", "sum"):
        value, variance = table.get(f"intensity.{which}.value"), table.get(f"intensity.{which}.variance")
        if value is None:
            continue
        if variance is None:
            raise DataError(f"{table.source}: column 'intensity.{which}.variance' is missing")
        valid = integrated(flags, which)
        with np.errstate(invalid="ignore"):
            bad_value, bad_variance = ~scalable_intensity(value), ~scalable_variance(variance)
        for column, array, bad in (
            (f"intensity.{which}.value", value, valid & bad_value),
            (f"intensity.{which}.variance", variance, valid & bad_variance),
        ):
            if not bad.any():
                continue
            if exclude:
                bit = Flag.integrated_prf if which == "prf" else Flag.integrated_sum
                flags[bad] &= ~np.uint64(int(bit))
                continue
            row = int(np.flatnonzero(bad)[0])
            wanted = "finite" if column.endswith("value") else "finite and positive"
            wanted += f" within {LARGEST_INTENSITY:g}" if np.isfinite(array[row]) and array[row] > 0 else ""
            raise DataError(
                f"{table.source}: data set {data_set.identifier}, column '{column}', row {row}: {array[row]:g} is not "
                f"{wanted} ({int(bad.sum())} such rows); mend the file, or leave them out by invalid_rows=exclude"
            )


def _column(table: ReflectionTable, name: str, default: float) -> FloatArray:
    values = table.get(name)
    if values is None:
        return np.full(len(table), default)
    return np.asarray(values, dtype=np.float64)


def detector_efficiency(table: ReflectionTable) -> FloatArray:
    """Quantum efficiency of the detector, from `qe` or the older `dqe`; 1 without either. (n,) float64."""
    return _column(table, "qe" if "qe" in table else "dqe", 1.0)


def integrated_intensities(table: ReflectionTable) -> IntegratedIntensities:
    """Profile-fitted and summed intensities of each row, NaN where flags say that there is none.

    The summed intensity is divided by the partiality; where the table has `partiality.inv.variance`, that of 1/p
    is propagated.
    """
    flags = table["flags"]
    nothing = np.full(len(table), np.nan)
    values = dict.fromkeys(("prf", "sum"), (nothing, nothing))
    for which in values:
        if f"intensity.{which}.value" in table:
            use = integrated(flags, which)
            columns = (table[f"intensity.{which}.value"], table[f"intensity.{which}.variance"])
            values[which] = (np.where(use, columns[0], np.nan), np.where(use, columns[1], np.nan))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        partiality = _column(table, "partiality", 1.0)
        total, variance = values["sum"]
        spread = total**2 * _column(table, "partiality.inv.variance", 0.0)
        summation, summation_variance = total / partiality, variance / partiality**2 + spread
        sound = scalable_intensity(summation) & scalable_variance(summation_variance)
        return IntegratedIntensities(
            profile=values["prf"][0],
            profile_variance=values["prf"][1],
            summation=np.where(sound, summation, np.nan),
            summation_variance=np.where(sound, summation_variance, np.nan),
            conversion=_column(table, "lp", 1.0) / detector_efficiency(table),
        )


def _with_intensities(
    data_set: DataSet,
    table: ReflectionTable,
    cell: UnitCell,
    options: ScalingOptions,
    n_read: int,
    n_merged: int,
) -> PreparedDataSet:
    both = integrated_intensities(table)
    intensity, variance = combined_intensities(both, initial_imid(options))
    miller_index = table.require("miller_index")
    centroid = table.centroids()
    d = np.full(len(table), np.nan)
    indexed = (miller_index != 0).any(axis=1)
    d[indexed] = d_spacing(cell, np.ascontiguousarray(miller_index[indexed]))
    absent = np.zeros(len(table), dtype=np.bool_)
    absent[indexed] = systematic_absences(data_set.experiment.space_group, np.ascontiguousarray(miller_index[indexed]))
    return PreparedDataSet(
        data_set=data_set,
        table=table,
        integrated=both,
        intensity=intensity,
        variance=variance,
        d_spacing=d,
        image_z=np.ascontiguousarray(centroid[:, 2]),
        x_px=np.ascontiguousarray(centroid[:, 0]),
        y_px=np.ascontiguousarray(centroid[:, 1]),
        given_factor=np.ones(len(table)),
        suitable=np.ones(len(table), dtype=np.bool_),
        absent=absent,
        n_read=n_read,
        n_partials_merged=n_merged,
    )


def _apply_filters(p: PreparedDataSet, options: ScalingOptions) -> None:
    table, cut = p.table, options.cut_data
    flags = table["flags"]
    either = integrated(flags, "prf") | integrated(flags, "sum")
    p.discard("filtered", "not_integrated", ~either | (np.isnan(p.intensity) & np.isnan(p.variance)))
    p.discard("filtered", "not_indexed", np.isnan(p.d_spacing))
    partiality = _column(table, "partiality", 1.0)
    with np.errstate(invalid="ignore"):
        p.discard("filtered", "no_detector_efficiency", ~(detector_efficiency(table) > 0))
        p.discard("filtered", "no_lorentz_polarisation", ~(_column(table, "lp", 1.0) > 0))
        p.discard("filtered", "no_partiality", ~(partiality > 0))
        finite = scalable_intensity(p.intensity) & scalable_variance(p.variance) & np.isfinite(p.image_z)
        p.discard("filtered", "not_finite", ~finite)
        experiment = p.data_set.experiment
        p.discard("filtered", "outside_scan", outside_scan(experiment, p.image_z))
        p.discard("filtered", "impossible_resolution", impossible_resolution(p.d_spacing, experiment.wavelength))
        if cut.d_min is not None:
            p.discard("user_excluded", "d_min", p.d_spacing < cut.d_min)
        if cut.d_max is not None:
            p.discard("user_excluded", "d_max", p.d_spacing > cut.d_max)
        p.discard("user_excluded", "partiality_cutoff", partiality < cut.partiality_cutoff)
        for which in ("prf", "sum"):
            if f"intensity.{which}.value" in table:
                value, variance = table[f"intensity.{which}.value"], table[f"intensity.{which}.variance"]
                low = integrated(flags, which) & (value < cut.min_isigi * np.sqrt(np.abs(variance)))
                p.discard("filtered", "min_isigi", low)


def small_scale_cutoff(options: ScalingOptions) -> float:
    """Smallest inverse scale factor that is trusted."""
    cutoff = options.cut_data.small_scale_cutoff
    return 1e-3 if cutoff is AUTO else float(cutoff)
