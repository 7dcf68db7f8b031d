"""The order of a scaling job, from files to result. Only this module knows it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from . import targeting
from .after_fit import Merging, both_statistics, free_set_comparison, logged_ledger, scaled_observations
from .analysis import ScaledData, analyse
from .auto import ModelPlan
from .connectivity import Connectivity, find_connectivity, report_connectivity
from .cross_validation import CrossValidation, Fold, cross_validate
from .data_limits import apply_limits
from .dataset import Job, load_job
from .dataset_selection import DataSetNames, assign_identifiers, select_data_sets
from .exclude_images import exclude_images, parse_image_commands
from .exclude_reflections import DetectorRegion, ResolutionShell, exclude_reflections, parse_regions, parse_shells
from .filtering import Continuation, attribute_removed_rows, note_ignored_options, scale_and_filter
from .fit_log import log_fit
from .fit_start import FitStart, fit_start
from .fitting import FitResult, fit_job
from .free_set import FreeSetComparison
from .held_out import HeldOut
from .indexing_ambiguity import IndexingAnalysis
from .input_checks import without_beam_direction
from .io.refl import forget_pages
from .job_checks import checked_space_group, require_suitable
from .joint_model import JointModel
from .model_choice import ModelChoice, choose_plans, has_choice
from .model_variants import may_have_absorption
from .observations import JobObservations, collect
from .option_text import changed_options
from .options import ScalingOptions, with_changes
from .options.importing import InputOptions
from .planning import build_models, log_plans, plan_models
from .preparation import UnitCell, best_unit_cell, prepare_all
from .prepared import PreparedDataSet, blocks_of, choose_intensities
from .progress import part_of_job, report_progress
from .reflection_selection import ReflectionSelection, select_reflections
from .reindexing import consistently_indexed
from .result import ScalingResult
from .scaling_model import DataSetModel
from .space_group import relabelled
from .stored_models import stored_models
from .threads import thread_count
from .typing import BoolArray
from .warm_start import warm_started

__all__ = ["cross_validate_files", "cross_validate_job", "scale_files", "scale_job"]

_logger = logging.getLogger(__name__)


_STAGES = {
    "read": (0.0, "reading files"),
    "prepare": (0.02, "preparing observations"),
    "select": (0.1, "finding reflections in common"),
    "fit": (0.0, "fitting scales"),
    "model_choice": (0.0, "comparing models"),
    "limits": (0.7, "finding resolution limits"),
    "statistics": (0.75, "merging statistics"),
    "analyses": (0.8, "analyses of the scaled data"),
}
_FIT = (0.12, 0.7)
_FIRST_FIT, _TARGET = 0.1, 0.5
"""Parts of the job, or of all fits, at which stages begin: where a bar stands meanwhile."""


@dataclass
class _Clock:
    """Wall seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, shown: str | None = None) -> Iterator[None]:
        report_progress(shown or name, *_STAGES[shown or name])
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def scale_files(
    files: Sequence[str | os.PathLike[str]], options: ScalingOptions, given: Collection[str] | None = None
) -> ScalingResult:
    """Read files and scale them; see `scale_job`."""
    clock = _Clock()
    with clock.stage("read"):
        job = load_job(files, _input_options(options))
    return _scale(job, options, given, clock)


def _input_options(options: ScalingOptions) -> InputOptions:
    """How files of other programs are read: a space group of the job is theirs too."""
    if options.input.space_group is None and options.space_group is not None:
        return replace(options.input, space_group=options.space_group)
    return options.input


def scale_job(job: Job, options: ScalingOptions, given: Collection[str] | None = None) -> ScalingResult:
    """Scale all data sets of a job together.

    Parameters
    ----------
    job : Job
    options : ScalingOptions
    given : collection of str, optional
        Dotted names of the options that the user has set, which change stored models even if the values are the
        defaults; without it, those that differ from the defaults.

    Raises
    ------
    DataError
        If the data cannot be scaled; the message says what and where.
    """
    return _scale(job, options, given, _Clock())


def cross_validate_files(
    files: Sequence[str | os.PathLike[str]], options: ScalingOptions, given: Collection[str] | None = None
) -> CrossValidation:
    """Read files and cross-validate them; see `cross_validate_job`."""
    return cross_validate_job(load_job(files, _input_options(options)), options, given)


def cross_validate_job(job: Job, options: ScalingOptions, given: Collection[str] | None = None) -> CrossValidation:
    """Scale a job several times, each without another free set, as `cross_validation` says.

    Parameters
    ----------
    job, options, given
        As for `scale_job`.

    Raises
    ------
    UsageError
        If the options of the cross validation make no sense.
    DataError
        If no setting can be scaled.
    """

    def prepared(options: ScalingOptions, given: Collection[str]) -> Fold:
        selected, names = _selected(job, options)
        before = _prepare(selected, names, options, given, _Clock(), Continuation(is_final=True))

        def fold(offset: int, n_threads: int) -> FreeSetComparison:
            options = with_changes(before.options, {"scaling_options.free_set_offset": offset})
            here = replace(before, options=options, n_threads=n_threads, clock=_Clock())
            _, fit, _ = _fit_and_choose(here, may_choose=True)
            log_fit(fit)
            return free_set_comparison(fit, scaled_observations(fit), here.merging)

        return fold

    given = changed_options(options).keys() if given is None else given
    return cross_validate(options, given, prepared, thread_count(options.scaling_options.nproc))


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """What is known before the first fit."""

    job: Job
    options: ScalingOptions
    clock: _Clock
    n_threads: int
    space_group: Any
    cell: UnitCell
    data_sets: list[PreparedDataSet]
    kept: list[DataSetModel | None]
    plans: list[ModelPlan]
    models: list[DataSetModel]
    start: FitStart
    observations: JobObservations
    connectivity: Connectivity
    selection: ReflectionSelection
    indexing: IndexingAnalysis | None
    scaled: BoolArray
    small_scale_cutoff: float

    @property
    def merging(self) -> Merging:
        """How observations are merged."""
        return Merging(cell=self.cell, space_group=self.space_group, options=self.options, n_threads=self.n_threads)

    def fit(
        self,
        models: Sequence[DataSetModel],
        start: FitStart | None = None,
        observations: JobObservations | None = None,
    ) -> FitResult:
        """Fit models to all observations."""
        with self.clock.stage("fit"):
            return fit_job(
                observations or self.observations,
                JointModel(models),
                self.space_group,
                self.options,
                small_scale_cutoff=self.small_scale_cutoff,
                n_threads=self.n_threads,
                fit_start=start or self.start,
            )

    def of_data_sets(self, chosen: BoolArray) -> _Prepared:
        """Return what is known of some data sets, (n_data_sets,) bool."""
        numbers = np.flatnonzero(chosen).tolist()
        return replace(
            self,
            job=self.job.select(numbers),
            data_sets=[self.data_sets[k] for k in numbers],
            kept=[self.kept[k] for k in numbers],
            plans=[self.plans[k] for k in numbers],
            models=[self.models[k] for k in numbers],
            scaled=self.scaled[chosen],
        )


def _scale(job: Job, options: ScalingOptions, given: Collection[str] | None, clock: _Clock) -> ScalingResult:
    given = changed_options(options).keys() if given is None else given
    job, names = _selected(job, options)
    if options.filtering.method is None:
        note_ignored_options(given)
        return _scale_once(job, names, options, given, clock, Continuation(is_final=True))
    return scale_and_filter(job, options, lambda job, after: _scale_once(job, names, options, given, clock, after))


def _scale_once(
    job: Job,
    names: DataSetNames,
    options: ScalingOptions,
    given: Collection[str],
    clock: _Clock,
    after: Continuation,
) -> ScalingResult:
    """Scale a job whose data sets and images have been selected; `names` are those of the whole."""
    before = _prepare(job, names, options, given, clock, after)
    with part_of_job(*_FIT):
        plans, fit, choice = _fit_and_choose(before, may_choose=after.is_final)
    log_fit(fit)
    reference = targeting.report_reference(fit, before.scaled, before.job.identifiers)
    if before.scaled.any() and options.scaling_options.only_target and options.scaling_options.only_save_targeted:
        _logger.info("Only the new data sets are merged and written (only_save_targeted)")
        plans = [plan for plan, is_scaled in zip(plans, before.scaled.tolist(), strict=True) if not is_scaled]
        before, fit = before.of_data_sets(~before.scaled), fit.of_data_sets(~before.scaled)
    choose_intensities(before.data_sets, fit.intensity_choice.imids)
    with clock.stage("analyses", shown="limits"):
        scaled, limits = apply_limits(fit.observations, scaled_observations(fit), before.merging)
    with clock.stage("statistics"):
        statistics, with_outliers = both_statistics(fit, scaled, before.merging)
    ledger = logged_ledger(before.data_sets, fit, scaled)
    with clock.stage("analyses"):
        analyses = analyse(
            ScaledData(
                observations=fit.observations,
                fit=fit,
                scaled=scaled,
                statistics=statistics,
                limits=limits,
                prepared=before.data_sets,
                unit_cell=before.cell,
                space_group=before.space_group,
                options=options,
                n_threads=before.n_threads,
            )
        )
    return ScalingResult(
        job=before.job,
        options=options,
        unit_cell=before.cell,
        space_group=before.space_group,
        prepared=before.data_sets,
        plans=plans,
        models=fit.models,
        observations=fit.observations,
        scaled=scaled,
        fit=fit,
        statistics=statistics,
        statistics_with_outliers=with_outliers,
        ledger=ledger,
        limits=limits,
        analyses=analyses,
        model_choice=choice,
        connectivity=before.connectivity,
        selection=before.selection,
        indexing=before.indexing,
        free_set=free_set_comparison(fit, scaled, before.merging) if options.scaling_options.use_free_set else None,
        reference=reference,
        n_threads=before.n_threads,
        seconds=clock.seconds,
    )


def _prepare(
    job: Job,
    names: DataSetNames,
    options: ScalingOptions,
    given: Collection[str],
    clock: _Clock,
    after: Continuation,
) -> _Prepared:
    n_threads = thread_count(options.scaling_options.nproc)
    path = targeting.reference_path(options)
    shells = parse_shells(options.cut_data.exclude_resolution)
    regions = parse_regions(options.cut_data.exclude_regions, names)
    space_group = checked_space_group(job, options)
    _logger.info("Space group being used during scaling is %s", space_group.xhm())
    with clock.stage("prepare"):
        cell, prepared = _prepared_data_sets(job, options, [*shells, *regions], after)
        job, indexing = consistently_indexed(job, prepared, cell, space_group, options, n_threads)
        if indexing is not None and indexing.reindexed:
            cell, prepared = _prepared_data_sets(job, options, [*shells, *regions], after)
        stored = stored_models(prepared, options, given, n_threads)
        kept = [s.model if s else None for s in stored]
        plans = [s.plan if s else plan for s, plan in zip(stored, plan_models(prepared, options), strict=True)]
        models = build_models(prepared, plans, options, kept)
        if after.models:
            models = warm_started(models, [after.models[p.identifier] for p in prepared])
        log_plans(prepared, plans, models)
        start = fit_start(kept, all(s.exact for s in stored if s), options, given)
        observations = _collected(prepared, models, plans, space_group, options, n_threads)
        observations = targeting.with_reference(observations, path, options, space_group, cell, job, n_threads)
        targeted = targeting.is_targeted(stored, path, options)
    _logger.info("%d of %d observations are suitable for scaling", len(observations), _n_read(prepared))
    with clock.stage("select"):
        connectivity = find_connectivity(observations, [p.identifier for p in prepared])
        report_connectivity(connectivity)
        sizes = [m.n_parameters for m in models]
        observations, selection = select_reflections(
            observations, connectivity, sizes, options, cell, space_group, n_threads
        )
    return _Prepared(
        job=job,
        options=options,
        clock=clock,
        n_threads=n_threads,
        space_group=space_group,
        cell=cell,
        data_sets=prepared,
        kept=kept,
        plans=plans,
        models=models,
        start=start,
        observations=observations,
        connectivity=connectivity,
        selection=selection,
        indexing=indexing,
        scaled=np.array([targeted and s is not None for s in stored], np.bool_),
        small_scale_cutoff=targeting.cutoff_against(observations, options),
    )


def _prepared_data_sets(
    job: Job, options: ScalingOptions, exclusions: Sequence[ResolutionShell | DetectorRegion], after: Continuation
) -> tuple[UnitCell, list[PreparedDataSet]]:
    """Best cell and prepared data sets of a job, with what is excluded by resolution or detector region set aside."""
    cell = best_unit_cell(job.data_sets, options)
    prepared = prepare_all(job.data_sets, cell, options)
    attribute_removed_rows(prepared, after.removed_images)
    exclude_reflections(prepared, exclusions)
    require_suitable(prepared)
    return cell, prepared


def _collected(
    prepared: Sequence[PreparedDataSet],
    models: Sequence[DataSetModel],
    plans: Sequence[ModelPlan],
    space_group: Any,
    options: ScalingOptions,
    n_threads: int,
) -> JobObservations:
    """Observations that have all that their models look at."""
    with_absorption = [may_have_absorption(m, p, options) for m, p in zip(models, plans, strict=True)]
    for p, model, absorption in zip(prepared, models, with_absorption, strict=True):
        if absorption:
            p.discard("filtered", "no_beam_direction", without_beam_direction(p.table))
        if model.analytical:
            p.use_analytical_correction()
    require_suitable(prepared)
    observations = collect(
        prepared,
        with_absorption,
        space_group,
        anomalous=options.anomalous,
        min_partiality=options.reflection_selection.min_partiality,
        needs_place=options.model == "cross_validated" or any(m.has_grid for m in models),
        n_threads=n_threads,
    )
    for block in blocks_of(prepared):
        block.forget_intensities()
    forget_pages()
    return observations


def _fit_and_choose(before: _Prepared, *, may_choose: bool) -> tuple[list[ModelPlan], FitResult, ModelChoice | None]:
    """Fit the planned models, and those that held-out groups prefer where that was asked for."""
    options, prepared, plans = before.options, before.data_sets, before.plans
    chooses = options.model == "cross_validated" and may_choose and has_choice(plans)
    with part_of_job(0.0, _FIRST_FIT if chooses else 1.0):
        fit = _fit_all(before)
    if not chooses:
        return plans, fit, None
    if any(before.kept):
        _logger.warning("Data sets with a stored model keep it: nothing is cross-validated (overwrite_existing_models)")
        return plans, fit, None
    with part_of_job(_FIRST_FIT, 1.0), before.clock.stage("model_choice"):
        held_out = HeldOut(fit, before.space_group, options, before.small_scale_cutoff, before.n_threads)
        choice = choose_plans(held_out, plans, fit.models, options, lambda p: build_models(prepared, p, options))
    if choice.plans != plans:
        models = build_models(prepared, choice.plans, options)
        log_plans(prepared, choice.plans, models)
        fit = before.fit(models)
    return choice.plans, fit, choice


def _fit_all(before: _Prepared) -> FitResult:
    """Fit all data sets, where some have been scaled before the new ones against these first."""
    scaled, options = before.scaled, before.options
    if not scaled.any() or not targeting.have_common_reflections(before.observations, scaled, options):
        return before.fit(before.models)
    n = int(scaled.sum())
    _logger.info("Target cycle: %d new data sets are scaled against %d scaled ones", scaled.size - n, n)
    with part_of_job(0.0, _TARGET):
        target = before.fit(targeting.held_models(before.models, scaled))
    only = options.scaling_options.only_target
    models = targeting.released_models(target.models, before.models, held=only)
    if only:
        return replace(target, models=models)
    _logger.info("Now all data sets are scaled together")
    observations = replace(before.observations, was_outlier=target.outlier)
    with part_of_job(_TARGET, 1.0):
        return before.fit(models, targeting.start_after_target(target), observations)


def _selected(job: Job, options: ScalingOptions) -> tuple[Job, DataSetNames]:
    """Return what is to be scaled of a job, and the names of data sets in options, which are those of the whole."""
    if options.identifiers is not None:
        job = assign_identifiers(job, options.identifiers)
    names = DataSetNames(tuple(job.identifiers))
    commands = parse_image_commands(options.exclude_images, names, "exclude_images")
    job = select_data_sets(job, options.dataset_selection.use_datasets, options.dataset_selection.exclude_datasets)
    if options.space_group is not None:
        job = relabelled(job, options.space_group)
    return exclude_images(job, names, commands, options.exclude_images_multiple), names


def _n_read(prepared: Sequence[PreparedDataSet]) -> int:
    return sum(int(b.n_read.sum()) for b in blocks_of(prepared))
