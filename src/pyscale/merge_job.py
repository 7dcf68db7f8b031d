"""Merging of scaled data: the order of its stages."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from time import perf_counter
from typing import Any

import numpy as np

from .dataset import Job, load_job
from .dataset_selection import DataSetNames, select_data_sets
from .errors import DataError, UsageError
from .exclude_images import exclude_images, parse_image_commands
from .free_flags import FreeFlagRules, KnownFlags, flag_rotations, free_flags
from .french_wilson import Amplitudes, merged_amplitudes
from .half_sets import Splits
from .io.free_flags import read_free_flags
from .job_checks import common_space_group
from .merge_result import FreeFlags, MergeResult
from .merged_data_set import MergedDataSet
from .merging import (
    MergedReflections,
    SortedObservations,
    half_data_sets,
    merge_sorted,
    sort_observations,
    with_common_scale_errors,
)
from .model_json import fitted_with_mates_apart, has_common_scale_errors, is_own_model
from .options import AUTO
from .options.merge import MergeOptions
from .preparation import UnitCell, median_unit_cell
from .progress import report_progress
from .scaled_rows import ScaledRows, select_scaled_rows
from .screw_axes import assess_screw_axes
from .space_group import relabelled
from .statistics import sorted_statistics
from .symmetry import unit_cell_from
from .threads import thread_count
from .typing import BoolArray
from .unit_cells import group_wavelengths, wavelength_tolerance, wavelengths

__all__ = ["MergingRules", "merge_files", "merge_job"]

#: Of files that other programs have scaled, as in dials.merge.
_LEAST_PARTIALITY = 0.4

_DONE = {
    "select": 0.3,
    "sort": 0.5,
    "merge": 0.6,
    "statistics": 0.7,
    "halves": 0.75,
    "amplitudes": 0.8,
    "screw_axes": 0.9,
    "free_flags": 1.0,
}
"""How much of the job is done after each stage, about."""

_logger = logging.getLogger(__name__)


def merge_files(files: Sequence[str | os.PathLike[str]], options: MergeOptions) -> MergeResult:
    """Read scaled experiments and reflections, and merge them; see `merge_job`."""
    start = perf_counter()
    job = load_job(files)
    seconds = perf_counter() - start
    result = merge_job(job, options)
    result.seconds = {"read": seconds} | result.seconds
    return result


def merge_job(job: Job, options: MergeOptions) -> MergeResult:
    """Merge scaled data sets without any fit.

    Raises
    ------
    UsageError
        If options do not go with the data.
    DataError
        If the data have not been scaled, or nothing is left to merge.
    """
    clock = _Clock()
    by = MergingRules(_selected(job, options), options, clock)
    known = _known_flags(by)
    rows = select_scaled_rows(by.job.data_sets, by.cell, options, by.least_partiality, by.n_threads)
    clock.stop("select")
    whole = by.sorted(rows)
    merged = _merge_wavelengths(by, rows, whole)
    axes = assess_screw_axes(whole, by.cell, by.space_group, by.n_threads) if options.assess_space_group else None
    clock.stop("screw_axes")
    flags = _free_flags(by, merged, known) if options.r_free_flags.generate else None
    clock.stop("free_flags")
    _logger.info(
        "Merged %d of %d rows; wavelengths: %s",
        sum(int(d.merged.n_obs.sum()) for d in merged),
        rows.n_read,
        ", ".join(f"{d.wavelength:.5f} A, {len(d.merged.n_obs)} reflections" for d in merged),
    )
    return MergeResult(
        options=options,
        unit_cell=by.cell,
        space_group=by.space_group,
        rows=rows,
        data_sets=merged,
        scale_errors="common" if by.common_scale_errors else "independent",
        free_flags=flags,
        screw_axes=axes,
        seconds=clock.seconds,
    )


class _Clock:
    """Wall seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def stop(self, stage: str) -> None:
        """Count the time since the last stop for a stage."""
        now = perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
        report_progress(stage, _DONE[stage], f"{stage.replace('_', ' ')}: done")


class MergingRules:
    """How a job is merged."""

    def __init__(self, job: Job, options: MergeOptions, clock: _Clock | None = None) -> None:
        self.job, self.options, self.clock = job, options, clock or _Clock()
        self.n_threads = thread_count(options.nproc)
        self.cell = _unit_cell(job, options)
        self.space_group: Any = common_space_group(job)
        models = _own_models(job)
        is_own = bool(models)
        self.mates_apart = any(map(fitted_with_mates_apart, models))
        choice = options.merging.scale_errors
        told_apart = is_own and all(map(has_common_scale_errors, models))
        self.common_scale_errors = told_apart if choice is AUTO else choice == "common"
        limit = options.partiality_threshold
        self.least_partiality = (0.0 if is_own else _LEAST_PARTIALITY) if limit is AUTO else float(limit)

    def sorted(self, rows: ScaledRows, chosen: BoolArray | None = None) -> SortedObservations:
        """Sort observations by group, all or some of them; the uncertainty of scales goes where it belongs."""

        def of(values: Any) -> Any:
            return values if chosen is None else values[chosen]

        columns = (of(rows.miller_index), of(rows.intensity), of(rows.variance))
        place = (of(rows.data_set), of(rows.image_z))
        obs = sort_observations(*columns, self.space_group, place=place, n_threads=self.n_threads)
        if self.common_scale_errors:
            correlation = None if rows.scale_correlation is None else of(rows.scale_correlation)
            obs = with_common_scale_errors(
                obs, of(rows.scale_variance), correlation, self.n_threads, mates_apart=self.mates_apart
            )
        self.clock.stop("sort")
        return obs


def _selected(job: Job, options: MergeOptions) -> Job:
    names = DataSetNames(tuple(job.identifiers))
    commands = parse_image_commands(options.exclude_images, names, "exclude_images")
    job = select_data_sets(job, options.dataset_selection.use_datasets, options.dataset_selection.exclude_datasets)
    if options.space_group is not None:
        job = relabelled(job, options.space_group)
    return exclude_images(job, names, commands)


def _unit_cell(job: Job, options: MergeOptions) -> UnitCell:
    if options.best_unit_cell is None:
        return median_unit_cell(d.experiment for d in job.data_sets)
    try:
        unit_cell_from(options.best_unit_cell)
    except DataError as error:
        raise UsageError(f"option best_unit_cell: {error}") from None
    return options.best_unit_cell


def _own_models(job: Job) -> list[Any]:
    """The models of all data sets, each once, if pyscale has fitted them all; their variances are then its own."""
    models = {id(model): model for model in (d.experiment.scaling_model for d in job.data_sets)}
    return list(models.values()) if all(map(is_own_model, models.values())) else []


def _merge_wavelengths(by: MergingRules, rows: ScaledRows, whole: SortedObservations) -> list[MergedDataSet]:
    experiments = [d.experiment for d in by.job.data_sets]
    values = np.array(wavelengths(experiments))
    choice = by.options.wavelength_tolerance
    groups = group_wavelengths(values, wavelength_tolerance(experiments) if choice is AUTO else float(choice))
    crystals, names = _names(by.options, len(groups))
    merged = []
    for k, members in enumerate(groups):
        obs = whole
        if len(groups) > 1:
            member = np.zeros(len(values), np.bool_)
            member[members] = True
            obs = by.sorted(rows, member[rows.data_set])
        found = _merge_one(by, obs)
        merged.append(
            MergedDataSet(
                **found,
                wavelength=float(values[members].mean()),
                unit_cell=by.cell,
                data_sets=tuple(by.job.identifiers[i] for i in members),
                crystal=crystals[k],
                name=names[k],
            )
        )
    return merged


def _merge_one(by: MergingRules, obs: SortedObservations) -> dict[str, Any]:
    """Merged reflections of one wavelength with what belongs to them."""
    options, group, n_threads = by.options, by.space_group, by.n_threads
    merged = merge_sorted(obs, group, use_internal_variance=options.merging.use_internal_variance, n_threads=n_threads)
    if len(merged.intensity) == 0:
        raise DataError("only systematic absences are left to merge; check the space group")
    by.clock.stop("merge")
    seed = options.merging.seed
    splits = Splits(seed, options.merging.n_splits)
    n_bins = options.merging.n_bins
    statistics = sorted_statistics(obs, by.cell, group, True, n_bins, splits=splits, n_threads=n_threads)
    by.clock.stop("statistics")
    halves = half_data_sets(obs, group, seed, n_threads) if options.output.additional_stats else None
    by.clock.stop("halves")
    amplitudes = _amplitudes(by, merged) if options.truncate else None
    by.clock.stop("amplitudes")
    return {"merged": merged, "statistics": statistics, "halves": halves, "amplitudes": amplitudes}


def _amplitudes(by: MergingRules, merged: MergedReflections) -> Amplitudes | None:
    choice = by.options.french_wilson
    few = len(merged.intensity) < choice.min_reflections
    if few and not choice.fallback_to_flat_prior:
        _logger.warning(
            "No amplitudes: %d reflections, fewer than french_wilson.min_reflections=%d",
            len(merged.intensity),
            choice.min_reflections,
        )
        return None
    return merged_amplitudes(merged, by.cell, by.space_group, flat_prior=few, n_threads=by.n_threads)


def _names(options: MergeOptions, n: int) -> tuple[list[str], list[str]]:
    """Names of crystals and data sets for the wavelengths."""
    crystals, names = list(options.output.crystal_names), list(options.output.dataset_names)
    if len(crystals) == 1:
        crystals *= n
    if n > 1 and names == ["NATIVE"]:
        names = [f"WAVE{k + 1}" for k in range(n)]
    for option, given in (("crystal_names", crystals), ("dataset_names", names)):
        if len(given) != n:
            raise UsageError(f"option output.{option}: {len(given)} names for {n} wavelengths")
    return crystals, names


def _known_flags(by: MergingRules) -> KnownFlags | None:
    choice = by.options.r_free_flags
    if choice.reference is None or not choice.generate:
        return None
    tolerances = (choice.relative_length_tolerance, choice.absolute_angle_tolerance)
    return read_free_flags(choice.reference, by.cell, by.space_group, *tolerances)


def _free_flags(by: MergingRules, merged: Sequence[MergedDataSet], known: KnownFlags | None) -> FreeFlags:
    choice = by.options.r_free_flags
    index = np.concatenate([d.merged.miller_index for d in merged])
    if len(merged) > 1:
        index = np.unique(index, axis=0)
    obliquity = choice.lattice_symmetry_max_delta if choice.use_lattice_symmetry else None
    rules = FreeFlagRules(
        fraction=choice.fraction,
        max_free=choice.max_free,
        seed=choice.seed,
        n_shells=choice.n_shells if choice.use_dataman_shells else None,
    )
    rotations = flag_rotations(by.cell, by.space_group, obliquity)
    flag, n_sets = free_flags(index, by.cell, by.space_group, rotations, rules, known, choice.extend)
    if known is None:
        source = f"new, seed {choice.seed}" + (", in thin shells" if choice.use_dataman_shells else "")
    else:
        source = f"from {known.source}" + (", extended" if choice.extend else "")
    return FreeFlags(index, flag, n_sets, source)
