"""Observations as they are exported: one intensity each, with where and when they were measured."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .dataset import Job, combine_tables
from .errors import DataError
from .job_checks import common_space_group
from .merging import (
    MergedReflections,
    gathered_correlations,
    merge_sorted,
    sort_observations,
    with_common_scale_errors,
)
from .model_json import fitted_with_mates_apart, has_common_scale_errors
from .options import ScalingOptions, with_changes
from .output_table import CORRELATION_COLUMN
from .preparation import UnitCell, median_unit_cell, prepare_all
from .prepared import blocks_of
from .reflections import Flag, ReflectionTable
from .statistics import MergingStatistics, sorted_statistics
from .symmetry import d_spacing, systematic_absences, to_asu
from .typing import BoolArray, FloatArray, IndexArray, IntArray
from .unit_cells import group_wavelengths, wavelength_tolerance, wavelengths

if TYPE_CHECKING:
    from .experiment import Experiment
    from .result import ScalingResult

__all__ = ["ExportRows", "Intensities", "all_reflections", "integrated_rows", "rows_of_result", "scaled_rows"]

#: Relative tolerance of resolution limits: the extreme reflections lie inside.
_LIMIT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Intensities:
    """One intensity of each row, and what it was divided by.

    Attributes
    ----------
    value, sigma : (n,) float64
        I/g and its standard uncertainty by which it is weighed in merging.
    scale, scale_sigma : (n,) float64
        The inverse scale factor g and its uncertainty; 1 and 0 for data that were not scaled.
    scale_correlation : (n, 2) float64
        Mean correlation of its error with those of equivalents (`FitResult`); 1 where files do not tell.
    """

    value: FloatArray
    sigma: FloatArray
    scale: FloatArray
    scale_sigma: FloatArray
    scale_correlation: FloatArray

    def take(self, rows: IndexArray | BoolArray) -> Intensities:
        """Return some rows."""
        return Intensities(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True, kw_only=True)
class ExportRows:
    """Observations of a job in an order of their own, whatever the order of the input.

    Attributes
    ----------
    job : Job
    space_group : gemmi.SpaceGroup
    unit_cell : (a, b, c, alpha, beta, gamma)
        Å and degrees; of all data sets together.
    table : ReflectionTable
        All columns of the rows, n of them.
    data_set : (n,) int64
        Position in `job.data_sets`.
    intensities : Intensities
    is_outlier : (n,) bool
        Rejected in scaling.
    is_scaled : bool
        Whether the intensities have been scaled.
    n_threads : int
    has_common_scale_errors : bool
        Whether the sigmas are without the uncertainties of the scales, which join those of merged intensities.
    known_statistics : MergingStatistics or None
        Of the job that has just scaled them.
    """

    job: Job
    space_group: Any
    unit_cell: UnitCell
    table: ReflectionTable
    data_set: IndexArray
    intensities: Intensities
    is_outlier: BoolArray
    is_scaled: bool
    n_threads: int = 1
    has_common_scale_errors: bool = False
    known_statistics: MergingStatistics | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def experiments(self) -> list[Experiment]:
        """The experiment of each data set."""
        return [d.experiment for d in self.job.data_sets]

    @cached_property
    def wavelengths(self) -> FloatArray:
        """Wavelength of each data set, Å, (n_data_sets,)."""
        return np.array(wavelengths(self.experiments), dtype=np.float64)

    @cached_property
    def wavelength_groups(self) -> list[IndexArray]:
        """Positions of the data sets of each wavelength, by rising wavelength."""
        return group_wavelengths(self.wavelengths, wavelength_tolerance(self.experiments))

    @cached_property
    def miller_index(self) -> IntArray:
        """Indices as observed, (n, 3) int32."""
        return np.ascontiguousarray(self.table["miller_index"], dtype=np.int32)

    @cached_property
    def centroid(self) -> FloatArray:
        """Centroid in pixels and array coordinate, (n, 3) float64."""
        return self.table.centroids()

    @cached_property
    def d_spacing(self) -> FloatArray:
        """Resolution (Å) from the common cell, (n,) float64."""
        return d_spacing(self.unit_cell, self.miller_index)

    @cached_property
    def image(self) -> IndexArray:
        """Number of the image of each row, (n,) int64; centroids just outside the scan count to its ends."""
        ranges = np.array([e.image_range or (1, 1) for e in self.experiments], dtype=np.int64)[self.data_set]
        z = np.nan_to_num(self.centroid[:, 2])
        image: IndexArray = np.clip(np.floor(z).astype(np.int64) + 1, ranges[:, 0], ranges[:, 1])
        return image

    @cached_property
    def rotation_angle(self) -> FloatArray:
        """Rotation angle of each row, degrees, (n,) float64; 0 for stills."""
        scans = [
            (0.0, 0.0, 0)
            if e.is_still or e.oscillation is None or e.image_range is None
            else (*e.oscillation, e.image_range[0] - 1)
            for e in self.experiments
        ]
        start, width, before = np.array(scans, dtype=np.float64).T
        angle: FloatArray = start[self.data_set] + width[self.data_set] * (
            np.nan_to_num(self.centroid[:, 2]) - before[self.data_set]
        )
        return angle

    def column(self, *names: str) -> FloatArray | None:
        """The first column of these names that there is, (n,) float64."""
        found = next((name for name in names if name in self.table), None)
        return None if found is None else np.asarray(self.table[found], dtype=np.float64)

    def select(self, rows: IndexArray | BoolArray) -> ExportRows:
        """Return some rows."""
        return replace(
            self,
            table=self.table.select(rows),
            data_set=self.data_set[rows],
            intensities=self.intensities.take(rows),
            is_outlier=self.is_outlier[rows],
            known_statistics=None,
        )

    def within(self, d_min: float | None, d_max: float | None) -> ExportRows:
        """Return the rows between two resolution limits (Å).

        Raises
        ------
        DataError
            If there are none.
        """
        inside = np.ones(len(self), np.bool_)
        if d_min is not None:
            inside &= self.d_spacing >= d_min * (1 - _LIMIT_TOLERANCE)
        if d_max is not None:
            inside &= self.d_spacing <= d_max * (1 + _LIMIT_TOLERANCE)
        if not inside.any():
            raise DataError("no reflection lies between d_min and d_max: there is nothing to export")
        return self if inside.all() else self.select(inside)

    @cached_property
    def accepted(self) -> ExportRows:
        """The rows without outliers."""
        return self.select(~self.is_outlier) if self.is_outlier.any() else self

    @cached_property
    def merged(self) -> MergedReflections:
        """Accepted rows merged; weights are inverse variances, and errors of scales common to equivalents."""
        i = self.accepted.intensities
        index = self.accepted.miller_index
        obs = sort_observations(index, i.value, i.sigma**2, self.space_group, n_threads=self.n_threads)
        if self.has_common_scale_errors:
            relative = (i.scale_sigma / i.scale) ** 2
            correlation = gathered_correlations(obs, i.scale_correlation)
            obs = replace(obs, scale_variance=relative[obs.order], scale_correlation=correlation)
        return merge_sorted(obs, self.space_group, n_threads=self.n_threads)

    def statistics(self, n_shells: int = 20) -> MergingStatistics:
        """Those of the job that the rows come from, else of the accepted rows with the halves of `pyscale merge`."""
        if self.known_statistics is not None:
            return self.known_statistics
        rows, i = self.accepted, self.accepted.intensities
        place = (rows.data_set.astype(np.int32), rows.centroid[:, 2])
        obs = sort_observations(
            rows.miller_index, i.value, i.sigma**2, rows.space_group, place=place, n_threads=self.n_threads
        )
        return sorted_statistics(obs, rows.unit_cell, rows.space_group, True, n_shells, n_threads=self.n_threads)


def rows_of_result(result: ScalingResult) -> ExportRows:
    """Observations of a job that has just been scaled; its experiments have the models."""
    job = result.job.replaced(result.experiments, result.tables)
    rows = scaled_rows(job, result.table, result.unit_cell, result.n_threads)
    return replace(rows, known_statistics=result.statistics)


def scaled_rows(job: Job, table: ReflectionTable, unit_cell: UnitCell | None = None, n_threads: int = 1) -> ExportRows:
    """Observations of a table that has been scaled, by pyscale or dials.scale.

    All rows that got a scale, outliers and systematic absences among them, but none that scaling set aside.

    Parameters
    ----------
    job : Job
    table : ReflectionTable
        Reflections of all its data sets; the column `id` holds their positions.
    unit_cell
        For all of them; None: the median.

    Raises
    ------
    DataError
        If columns of scaling are missing, or no row was scaled.
    """
    for name in ("intensity.scale.value", "intensity.scale.variance", "inverse_scale_factor", "flags"):
        table.require(name)
    space_group = common_space_group(job)
    rows = np.flatnonzero(_was_scaled(table, space_group)).astype(np.int64)
    if rows.size == 0:
        raise DataError(f"{table.source or 'reflections'}: no reflection has been scaled; scale first")
    table = table.select(rows)
    if _has(table, Flag.outlier_in_scaling).all():
        raise DataError(f"{table.source or 'reflections'}: all {len(table)} scaled reflections are outliers")
    g, variance = table["inverse_scale_factor"], table["intensity.scale.variance"]
    g_variance, correlation = table.get("inverse_scale_factor_variance"), table.get(CORRELATION_COLUMN)
    intensities = Intensities(
        value=table["intensity.scale.value"] / g,
        sigma=np.sqrt(variance) / g,
        scale=np.asarray(g, dtype=np.float64),
        scale_sigma=np.zeros(len(table)) if g_variance is None else np.sqrt(np.maximum(g_variance, 0.0)),
        scale_correlation=np.ones((len(table), 2)) if correlation is None else np.asarray(correlation, np.float64),
    )
    exported = _ordered(
        job=job,
        space_group=space_group,
        unit_cell=unit_cell or median_unit_cell(d.experiment for d in job.data_sets),
        table=table,
        data_set=np.asarray(table["id"], dtype=np.int64),
        intensities=intensities,
        is_outlier=_has(table, Flag.outlier_in_scaling),
        is_scaled=True,
        n_threads=n_threads,
    )
    models = {id(model): model for model in (e.scaling_model for e in exported.experiments)}
    if not all(map(has_common_scale_errors, models.values())):
        return exported
    return _with_sigmas_of_merging(exported, any(map(fitted_with_mates_apart, models.values())))


def integrated_rows(
    job: Job, which: str, min_partiality: float, unit_cell: UnitCell | None = None, n_threads: int = 1
) -> ExportRows:
    """Observations with an intensity of integration, corrected for Lorentz, polarisation and efficiency, not scaled.

    Parameters
    ----------
    job : Job
    which : str
        `profile` or `sum`: where a row has only the other one, that is taken.
    min_partiality : float
        Rows recorded to a smaller part, after partials have been added up, are left out.

    Raises
    ------
    DataError
        If columns are missing, or no row is left.
    """
    cell = unit_cell or median_unit_cell(d.experiment for d in job.data_sets)
    options = with_changes(
        ScalingOptions(),
        {
            "reflection_selection.intensity_choice": which,
            "reflection_selection.best_unit_cell": cell,
            "cut_data.partiality_cutoff": min_partiality,
        },
    )
    blocks = blocks_of(prepare_all(job.data_sets, cell, options))
    tables, intensities, data_set = [], [], []
    first = 0
    for block in blocks:
        rows = block.suitable
        value, variance = (column[rows] for column in block.chosen)
        one = np.ones(value.size)
        intensities.append(Intensities(value, np.sqrt(variance), one, np.zeros(value.size), np.ones((value.size, 2))))
        tables.append(block.table.select(rows))
        data_set.append(block.numbers()[rows].astype(np.int64) + first)
        first += len(block.data_sets)
    for table in tables:
        table.identifiers = {}
    if not sum(len(table) for table in tables):
        raise DataError("no reflection has been integrated: there is nothing to export")
    joined = [np.concatenate([getattr(i, f.name) for i in intensities]) for f in fields(Intensities)]
    table = ReflectionTable.concatenate(tables)
    return _ordered(
        job=job,
        space_group=common_space_group(job),
        unit_cell=cell,
        table=table,
        data_set=np.concatenate(data_set),
        intensities=Intensities(*joined),
        is_outlier=np.zeros(len(table), np.bool_),
        is_scaled=False,
        n_threads=n_threads,
    )


def _with_sigmas_of_merging(rows: ExportRows, mates_apart: bool) -> ExportRows:
    """Leave the uncertainty of the scale, which equivalents share, out of the sigmas, as merging does.

    Programs that merge the rows take their errors for independent ones.
    """
    kept = np.flatnonzero(~rows.is_outlier)
    i = rows.intensities.take(kept)
    index = rows.miller_index[kept]
    obs = sort_observations(index, i.value, i.sigma**2, rows.space_group, n_threads=rows.n_threads)
    relative = (i.scale_sigma / i.scale) ** 2
    obs = with_common_scale_errors(obs, relative, n_threads=rows.n_threads, mates_apart=mates_apart)
    sigma = rows.intensities.sigma.copy()
    sigma[kept[obs.order]] = np.sqrt(obs.variance)
    intensities = replace(rows.intensities, sigma=sigma)
    return replace(rows, intensities=intensities, has_common_scale_errors=True)


def all_reflections(job: Job) -> ReflectionTable:
    """Reflections of all data sets of a job."""
    return combine_tables(job, [d.reflections for d in job.data_sets])


def _has(table: ReflectionTable, flag: Flag) -> BoolArray:
    found: BoolArray = (table["flags"].astype(np.uint64) & np.uint64(int(flag))) != 0
    return found


def _was_scaled(table: ReflectionTable, space_group: Any) -> BoolArray:
    """Rows that got a scale: flagged so, outliers, and absences, which are flagged as excluded but have a scale."""
    g = table["inverse_scale_factor"]
    with np.errstate(invalid="ignore"):
        sound = np.isfinite(g) & (g > 0) & (table["intensity.scale.variance"] > 0)
    sound &= np.isfinite(table["intensity.scale.value"]) & np.isfinite(table["intensity.scale.variance"])
    scaled = _has(table, Flag.scaled)
    if not scaled.any():  # DIALS of 2019 knew no such flag
        scaled = ~_has(table, Flag.bad_for_scaling) & _has(table, Flag.integrated)
    has_scale = g != 1.0
    g_variance = table.get("inverse_scale_factor_variance")
    if g_variance is not None:
        has_scale = has_scale | (g_variance > 0)
    left_out = _has(table, Flag.user_excluded_in_scaling)
    candidate = np.flatnonzero(_has(table, Flag.excluded_for_scaling) & has_scale & sound & ~left_out)
    absent = np.zeros(len(table), np.bool_)
    absent[candidate] = systematic_absences(space_group, table["miller_index"][candidate])
    chosen: BoolArray = sound & ~left_out & (scaled | _has(table, Flag.outlier_in_scaling) | absent)
    return chosen


def _ordered(**values: Any) -> ExportRows:
    """Rows sorted by index in the asymmetric unit, operator, data set, image, and intensity."""
    rows = ExportRows(**values)
    asu, isym = to_asu(rows.space_group, rows.miller_index)
    z, value = rows.centroid[:, 2], rows.intensities.value
    return rows.select(np.lexsort((value, z, rows.data_set, isym, asu[:, 2], asu[:, 1], asu[:, 0])))
