"""The order of a scaling job, from files to result. Only this module knows it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .auto import ModelPlan
from .dataset import Job, load_job
from .dataset_selection import DataSetNames, assign_identifiers, select_data_sets
from .errors import DataError
from .exclude_images import exclude_images, parse_image_commands
from .exclude_reflections import exclude_reflections, parse_regions, parse_shells
from .fit_log import log_fit
from .fit_start import FitStart, fit_start
from .fitting import FitResult, fit_job
from .held_out import HeldOut
from .input_checks import without_beam_direction
from .io.refl import forget_pages
from .joint_model import JointModel
from .ledger import LedgerEntry, ledger_table, make_ledger
from .model_choice import ModelChoice, choose_plans, has_choice
from .model_variants import may_have_absorption
from .observations import JobObservations, collect
from .option_text import changed_options
from .options import ScalingOptions
from .output_table import ScaledObservations
from .planning import build_models, log_plans, plan_models
from .preparation import UnitCell, best_unit_cell, prepare_all, small_scale_cutoff
from .prepared import PreparedDataSet, blocks_of
from .result import ScalingResult
from .scaling_model import DataSetModel
from .space_group import relabelled
from .statistics import MergingStatistics, merging_statistics
from .stored_models import stored_models
from .threads import thread_count
from .typing import BoolArray

__all__ = ["scale_files", "scale_job"]

_logger = logging.getLogger(__name__)

_MAX_PARAMETERS = 5000
"""The dense matrix takes minutes and gigabytes beyond."""


@dataclass
class _Clock:
    """Wall seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def scale_files(
    files: Sequence[str | os.PathLike[str]], options: ScalingOptions, given: Collection[str] | None = None
) -> ScalingResult:
    """Read files and scale them; see `scale_job`."""
    clock = _Clock()
    with clock.stage("read"):
        job = load_job(files)
    return _scale(job, options, given, clock)


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

    def fit(self, models: Sequence[DataSetModel]) -> FitResult:
        """Fit models to all observations."""
        with self.clock.stage("fit"):
            return fit_job(
                self.observations,
                JointModel(models),
                self.space_group,
                self.options,
                small_scale_cutoff=small_scale_cutoff(self.options),
                n_threads=self.n_threads,
                fit_start=self.start,
            )


def _scale(job: Job, options: ScalingOptions, given: Collection[str] | None, clock: _Clock) -> ScalingResult:
    given = changed_options(options).keys() if given is None else given
    before = _prepare(job, options, given, clock)
    plans, fit, choice = _fit_and_choose(before)
    log_fit(fit)
    for block in blocks_of(before.data_sets):
        block.choose_intensities(fit.imid)
    scaled = _scaled(fit)
    with clock.stage("statistics"):
        statistics, with_outliers = _both_statistics(fit, scaled, before)
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
        ledger=_ledger(before.data_sets, fit.observations, fit),
        model_choice=choice,
        n_threads=before.n_threads,
        seconds=clock.seconds,
    )


def _prepare(job: Job, options: ScalingOptions, given: Collection[str], clock: _Clock) -> _Prepared:
    n_threads = thread_count(options.scaling_options.nproc)
    job, names = _selected(job, options)
    shells = parse_shells(options.cut_data.exclude_resolution)
    regions = parse_regions(options.cut_data.exclude_regions, names)
    space_group = _common_space_group(job)
    _logger.info("Space group being used during scaling is %s", space_group.xhm())
    with clock.stage("prepare"):
        cell = best_unit_cell(job.data_sets, options)
        prepared = prepare_all(job.data_sets, cell, options)
        exclude_reflections(prepared, [*shells, *regions])
        _require_suitable(prepared)
        stored = stored_models(prepared, options, given, n_threads)
        kept = [s.model if s else None for s in stored]
        plans = [s.plan if s else plan for s, plan in zip(stored, plan_models(prepared, options), strict=True)]
        models = build_models(prepared, plans, options, kept)
        log_plans(prepared, plans, models)
        start = fit_start(kept, all(s.exact for s in stored if s), options, given)
        _require_tractable(models)
        observations = _collected(prepared, models, space_group, options, n_threads)
    _logger.info("%d of %d observations are suitable for scaling", len(observations), _n_read(prepared))
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
    )


def _collected(
    prepared: Sequence[PreparedDataSet],
    models: Sequence[DataSetModel],
    space_group: Any,
    options: ScalingOptions,
    n_threads: int,
) -> JobObservations:
    """Observations that have all that their models look at."""
    with_absorption = [may_have_absorption(m, options) for m in models]
    for p, model, absorption in zip(prepared, models, with_absorption, strict=True):
        if absorption:
            p.discard("filtered", "no_beam_direction", without_beam_direction(p.table))
        if model.analytical:
            p.use_analytical_correction()
    _require_suitable(prepared)
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


def _fit_and_choose(before: _Prepared) -> tuple[list[ModelPlan], FitResult, ModelChoice | None]:
    """Fit the planned models, and those that held-out groups prefer where that was asked for."""
    options, prepared, plans = before.options, before.data_sets, before.plans
    fit = before.fit(before.models)
    if options.model != "cross_validated" or not has_choice(plans):
        return plans, fit, None
    if any(before.kept):
        _logger.warning("Data sets with a stored model keep it: nothing is cross-validated (overwrite_existing_models)")
        return plans, fit, None
    with before.clock.stage("model_choice"):
        held_out = HeldOut(fit, before.space_group, options, small_scale_cutoff(options), before.n_threads)
        choice = choose_plans(held_out, plans, fit.models, options, lambda p: build_models(prepared, p, options))
    if choice.plans != plans:
        models = build_models(prepared, choice.plans, options)
        log_plans(prepared, choice.plans, models)
        fit = before.fit(models)
    return choice.plans, fit, choice


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


def _common_space_group(job: Job) -> Any:
    groups = [d.experiment.space_group for d in job.data_sets]
    if all(g is groups[0] for g in groups):
        return groups[0]
    numbers = sorted({g.number for g in groups})
    if len(numbers) > 1:
        listed = ", ".join(f"{d.identifier}: {g.xhm()}" for d, g in zip(job.data_sets, groups, strict=True))
        raise DataError(
            f"the data sets have different space groups ({listed[:300]}); give all the same one, for example with "
            "dials.symmetry or dials.reindex"
        )
    settings = {g.xhm() for g in groups}
    if len(settings) > 1:
        raise DataError(f"the data sets are in different settings of one space group: {', '.join(sorted(settings))}")
    return groups[0]


def _require_suitable(prepared: Sequence[PreparedDataSet]) -> None:
    blocks = blocks_of(prepared)
    for block in blocks:
        n_suitable = np.diff(np.concatenate([[0], np.cumsum(block.suitable)])[block.offsets])
        if (n_suitable == 0).any():
            p = PreparedDataSet(block, int(np.argmin(n_suitable)))
            listed = ", ".join(f"{fate.reason}: {int(fate.rows.sum())}" for fate in p.fates)
            raise DataError(
                f"{p.table.source}: no reflection of data set {p.identifier} can be scaled "
                f"(rows read {p.n_read}; {listed})"
            )
    if not any((b.chosen[0][b.suitable] > 0).any() for b in blocks):
        sources = ", ".join(sorted({p.table.source for p in prepared}))
        raise DataError(f"{sources[:300]}: no intensity is positive: nothing determines the scales")


def _require_tractable(models: Sequence[DataSetModel]) -> None:
    n = sum(m.n_parameters for m in models)
    if n > _MAX_PARAMETERS:
        raise DataError(
            f"{n} parameters for {len(models)} data sets, more than {_MAX_PARAMETERS} cannot be fitted together: scale "
            "fewer data sets at a time, or give larger physical.scale_interval and decay_interval"
        )


def _n_read(prepared: Sequence[PreparedDataSet]) -> int:
    return sum(int(b.n_read.sum()) for b in blocks_of(prepared))


def _scaled(fit: FitResult) -> ScaledObservations:
    with np.errstate(divide="ignore", invalid="ignore"):
        merged = np.where(fit.g > 0, fit.expected / fit.g, 0.0)
    return ScaledObservations(
        g=fit.g,
        g_variance=fit.g_variance,
        variance=fit.error_model.sigma_squared(fit.variance, fit.expected),
        scale_variance=merged**2 * fit.g_variance,
        outlier=fit.outlier,
        small_scale=fit.small_scale,
    )


def _both_statistics(
    fit: FitResult, scaled: ScaledObservations, before: _Prepared
) -> tuple[MergingStatistics, MergingStatistics]:
    """Statistics as merged, and with every rejected outlier put back."""
    complete = ~fit.small_scale & ~fit.observations.absent
    arguments = (before.cell, before.space_group, before.options, before.n_threads)
    return (
        _statistics(fit.observations, scaled, complete & ~fit.outlier, *arguments),
        _statistics(fit.observations, scaled, complete, *arguments, anomalous=False),
    )


def _statistics(
    observations: JobObservations,
    scaled: ScaledObservations,
    rows: BoolArray,
    cell: UnitCell,
    space_group: Any,
    options: ScalingOptions,
    n_threads: int,
    *,
    anomalous: bool = True,
) -> MergingStatistics:
    if not rows.any():
        raise DataError("no observation is left to merge: see the ledger of reasons in the log")
    return merging_statistics(
        observations.miller_index[rows],
        observations.intensity[rows] / scaled.g[rows],
        scaled.variance[rows] / scaled.g[rows] ** 2,
        cell,
        space_group,
        anomalous=anomalous,
        n_shells=options.output.merging.nbins,
        seed=options.scaling_options.seed,
        rank=np.flatnonzero(rows).astype(np.int64),
        n_threads=n_threads,
    )


def _ledger(prepared: Sequence[PreparedDataSet], observations: JobObservations, fit: FitResult) -> list[LedgerEntry]:
    gone = {"small_scale": fit.small_scale, "systematic_absence": observations.absent & ~fit.small_scale}
    ledger = make_ledger(prepared, observations, gone, fit.rejected)
    _logger.info("What became of the observations:\n%s", ledger_table(ledger))
    return ledger
