"""The order of a scaling job, from files to result; `prepared_job` knows that before the first fit."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from . import targeting
from .after_fit import both_statistics, free_set_comparison, logged_ledger, scaled_observations
from .analysis import ScaledData, analyse
from .cross_validation import CrossValidation, Fold, cross_validate
from .data_limits import apply_limits
from .dataset import Job, load_job
from .dataset_selection import DataSetNames
from .filtering import Continuation, note_ignored_options, scale_and_filter
from .fit_log import log_fit
from .fitting import FitResult
from .free_set import FreeSetComparison
from .held_out import HeldOut
from .model_choice import ModelChoice, choose_plans, has_choice
from .model_plan import ModelPlan
from .option_text import changed_options
from .options import ScalingOptions, with_changes
from .options.importing import InputOptions
from .planning import build_models, log_plans
from .prepared import choose_intensities
from .prepared_job import PreparedJob, prepare_job, select_job
from .progress import part_of_job
from .result import ScalingResult
from .stage_clock import StageClock
from .statistics_text import statistics_report
from .threads import thread_count

__all__ = [
    "Fitted",
    "cross_validate_files",
    "cross_validate_job",
    "finish_job",
    "fit_prepared",
    "scale_files",
    "scale_job",
]

_logger = logging.getLogger(__name__)

_FIT = (0.12, 0.7)
_FIRST_FIT, _TARGET = 0.1, 0.5
"""Parts of the job, and of all its fits, for progress."""


@dataclass(frozen=True)
class Fitted:
    """The fit of a job, the plans of its models, and how these were chosen if held-out groups had a say."""

    plans: list[ModelPlan]
    fit: FitResult
    choice: ModelChoice | None = None


def scale_files(
    files: Sequence[str | os.PathLike[str]], options: ScalingOptions, given: Collection[str] | None = None
) -> ScalingResult:
    """Read files and scale them; see `scale_job`."""
    clock = StageClock()
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
    return _scale(job, options, given, StageClock())


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
        selected, names = select_job(job, options)
        before = prepare_job(selected, names, options, given, StageClock(), Continuation(is_final=True))

        def fold(offset: int, n_threads: int) -> FreeSetComparison:
            options = with_changes(before.options, {"scaling_options.free_set_offset": offset})
            here = replace(before, options=options, n_threads=n_threads, clock=StageClock())
            fit = fit_prepared(here, may_choose=True).fit
            return free_set_comparison(fit, scaled_observations(fit), here.merging)

        return fold

    given = changed_options(options).keys() if given is None else given
    return cross_validate(options, given, prepared, thread_count(options.scaling_options.nproc))


def _scale(job: Job, options: ScalingOptions, given: Collection[str] | None, clock: StageClock) -> ScalingResult:
    given = changed_options(options).keys() if given is None else given
    job, names = select_job(job, options)
    if options.filtering.method is None:
        note_ignored_options(given)
        return _scale_once(job, names, options, given, clock, Continuation(is_final=True))
    return scale_and_filter(job, options, lambda job, after: _scale_once(job, names, options, given, clock, after))


def _scale_once(
    job: Job,
    names: DataSetNames,
    options: ScalingOptions,
    given: Collection[str],
    clock: StageClock,
    after: Continuation,
) -> ScalingResult:
    """Scale a job whose data sets and images have been selected; `names` are those of the whole."""
    before = prepare_job(job, names, options, given, clock, after)
    with part_of_job(*_FIT):
        fitted = fit_prepared(before, may_choose=after.is_final)
    return finish_job(before, fitted, is_final=after.is_final)


def finish_job(before: PreparedJob, fitted: Fitted, *, is_final: bool = True) -> ScalingResult:
    """Limits, statistics, ledger and analyses of a job that has been fitted; `is_final` if the log is to show them."""
    options, clock, plans, fit = before.options, before.clock, fitted.plans, fitted.fit
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
    if is_final:
        n_rejected = int(np.count_nonzero(scaled.outlier))
        report = statistics_report(statistics, with_outliers.overall, n_rejected)
        _logger.info("%s", report, extra={"console": False})
    data = ScaledData(
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
    with clock.stage("analyses"):
        analyses = analyse(data)
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
        model_choice=fitted.choice,
        connectivity=before.connectivity,
        selection=before.selection,
        indexing=before.indexing,
        free_set=free_set_comparison(fit, scaled, before.merging) if options.scaling_options.use_free_set else None,
        reference=reference,
        n_threads=before.n_threads,
        seconds=clock.seconds,
    )


def fit_prepared(before: PreparedJob, *, may_choose: bool) -> Fitted:
    """Fit the planned models, or with `may_choose` those that held-out groups prefer where options ask for that."""
    chooses = before.options.model == "cross_validated" and may_choose and has_choice(before.plans)
    with part_of_job(0.0, _FIRST_FIT if chooses else 1.0):
        fitted = Fitted(before.plans, _fit_all(before))
    if chooses and any(before.kept):
        _logger.warning("Data sets with a stored model keep it: nothing is cross-validated (overwrite_existing_models)")
    elif chooses:
        with part_of_job(_FIRST_FIT, 1.0):
            fitted = _chosen(before, fitted)
    log_fit(fitted.fit)
    return fitted


def _chosen(before: PreparedJob, fitted: Fitted) -> Fitted:
    """What held-out groups prefer, fitted."""
    options, prepared, fit = before.options, before.data_sets, fitted.fit
    with before.clock.stage("model_choice"):
        held_out = HeldOut(fit, before.space_group, options, before.small_scale_cutoff, before.n_threads)
        choice = choose_plans(held_out, before.plans, fit.models, options, lambda p: build_models(prepared, p, options))
    if choice.plans == before.plans:
        return replace(fitted, choice=choice)
    models = build_models(prepared, choice.plans, options)
    log_plans(prepared, choice.plans, models)
    return Fitted(choice.plans, before.fit(models), choice)


def _fit_all(before: PreparedJob) -> FitResult:
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
