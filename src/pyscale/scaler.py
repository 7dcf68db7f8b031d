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

from .dataset import Job, load_job
from .dataset_selection import DataSetNames, assign_identifiers, select_data_sets
from .errors import DataError
from .exclude_images import exclude_images, parse_image_commands
from .exclude_reflections import exclude_reflections, parse_regions, parse_shells
from .fit_start import fit_start
from .fitting import FitResult, fit_job
from .held_out import HeldOut
from .input_checks import without_beam_direction
from .joint_model import JointModel
from .ledger import LedgerEntry, ledger_table, make_ledger
from .model_choice import choose_plans, has_choice
from .model_variants import may_have_absorption
from .observations import JobObservations, collect
from .option_text import changed_options
from .options import ScalingOptions
from .output_table import ScaledObservations
from .planning import build_models, log_plans, plan_models
from .preparation import PreparedDataSet, UnitCell, best_unit_cell, prepare, small_scale_cutoff
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
_MOST_NAMED = 5
"""Undetermined parameters named in the warning."""


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


def _scale(job: Job, options: ScalingOptions, given: Collection[str] | None, clock: _Clock) -> ScalingResult:
    given = changed_options(options).keys() if given is None else given
    n_threads = thread_count(options.scaling_options.nproc)
    job, names = _selected(job, options)
    shells = parse_shells(options.cut_data.exclude_resolution)
    regions = parse_regions(options.cut_data.exclude_regions, names)
    space_group = _common_space_group(job)
    _logger.info("Space group being used during scaling is %s", space_group.xhm())
    with clock.stage("prepare"):
        cell = best_unit_cell(job.data_sets, options)
        prepared = [prepare(d, cell, options) for d in job.data_sets]
        exclude_reflections(prepared, [*shells, *regions])
        _require_suitable(prepared)
        stored = stored_models(prepared, options, given, n_threads)
        kept = [s.model if s else None for s in stored]
        plans = [s.plan if s else plan for s, plan in zip(stored, plan_models(prepared, options), strict=True)]
        models = build_models(prepared, plans, options, kept)
        log_plans(prepared, plans, models)
        start = fit_start(kept, all(s.exact for s in stored if s), options, given)
        _require_tractable(models)
        for p, model in zip(prepared, models, strict=True):
            if may_have_absorption(model, options):
                p.discard("filtered", "no_beam_direction", without_beam_direction(p.table))
            if model.analytical:
                p.use_analytical_correction()
        _require_suitable(prepared)
        observations = collect(
            prepared,
            [may_have_absorption(m, options) for m in models],
            space_group,
            anomalous=options.anomalous,
            min_partiality=options.reflection_selection.min_partiality,
            n_threads=n_threads,
        )
    _logger.info("%d of %d observations are suitable for scaling", len(observations), _n_read(prepared))

    def fitted(models: Sequence[DataSetModel]) -> FitResult:
        cutoff = small_scale_cutoff(options)
        with clock.stage("fit"):
            joint = JointModel(models)
            return fit_job(
                observations,
                joint,
                space_group,
                options,
                small_scale_cutoff=cutoff,
                n_threads=n_threads,
                fit_start=start,
            )

    fit = fitted(models)
    choice = None
    if options.model == "cross_validated" and any(kept):
        _logger.warning("Data sets with a stored model keep it: nothing is cross-validated (overwrite_existing_models)")
    elif options.model == "cross_validated" and has_choice(plans):
        with clock.stage("model_choice"):
            held_out = HeldOut(fit, space_group, options, small_scale_cutoff(options), n_threads)
            choice = choose_plans(held_out, plans, fit.models, options, lambda p: build_models(prepared, p, options))
        if choice.plans != plans:
            plans, models = choice.plans, build_models(prepared, choice.plans, options)
            log_plans(prepared, plans, models)
            fit = fitted(models)
    _log_fit(fit)
    observations = fit.observations
    for p in prepared:
        p.choose_intensities(fit.imid)
    scaled = _scaled(fit)
    with clock.stage("statistics"):
        statistics, with_outliers = _both_statistics(fit, scaled, cell, space_group, options, n_threads)
    ledger = _ledger(prepared, observations, fit)
    return ScalingResult(
        job=job,
        options=options,
        unit_cell=cell,
        space_group=space_group,
        prepared=prepared,
        plans=plans,
        models=fit.models,
        observations=observations,
        scaled=scaled,
        fit=fit,
        statistics=statistics,
        statistics_with_outliers=with_outliers,
        ledger=ledger,
        model_choice=choice,
        n_threads=n_threads,
        seconds=clock.seconds,
    )


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
    for p in prepared:
        if not p.suitable.any():
            reasons: dict[str, int] = {}
            for fate in p.fates:
                reasons[fate.reason] = reasons.get(fate.reason, 0) + int(fate.rows.sum())
            listed = ", ".join(f"{reason}: {n}" for reason, n in reasons.items())
            raise DataError(
                f"{p.table.source}: no reflection of data set {p.identifier} can be scaled "
                f"(rows read {p.n_read}; {listed})"
            )
    if not any((p.intensity[p.suitable] > 0).any() for p in prepared):
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
    return sum(p.n_read for p in prepared)


def _log_fit(fit: FitResult) -> None:
    c = fit.covariance
    _logger.info(
        "Fit %s (%s): cost %.6g over %d observations in %d groups, %.1f effective parameters, chi^2 %.3f",
        fit.termination,
        fit.message,
        fit.cost,
        fit.n_observations,
        fit.n_groups,
        c.effective_parameters,
        c.chi_squared,
    )
    if fit.termination not in ("converged", "no_further_decrease"):
        _logger.warning("The fit has not converged (%s): treat scales and uncertainties with care", fit.message)
    unknown = len(c.undetermined) + len(fit.gauge.directions)
    freedom = fit.n_observations - fit.n_groups - c.effective_parameters - unknown
    if freedom < 1.0:
        _logger.warning(
            "Only %d observations in %d groups have equivalents, which is too few for the model's %d parameters: the "
            "agreement of equivalents means nothing, and the scales are little more than a guess",
            fit.n_observations,
            fit.n_groups,
            fit.parameters.size,
        )
    for direction in fit.gauge.directions:
        _logger.info("Gauge direction, fixed by convention: %s", direction.name)
    for component, numbers in fit.without_data.items():
        _logger.info(
            "Parameters of %s that follow their neighbours for want of data: %s",
            component,
            ", ".join(map(str, numbers)),
        )
    _log_undetermined(c.undetermined)
    model = fit.error_model
    _logger.info(
        "Error model details:\n  Type: basic\n  Parameters: a = %.5f, b = %.5f\n"
        "  Error model formula: sigma'^2 = a^2 (sigma^2 + (b I)^2)\n  estimated I/sigma asymptotic limit: %.3f",
        model.a,
        model.b,
        model.isa,
    )


def _log_undetermined(names: Sequence[str]) -> None:
    if not names:
        return
    more = f"; ... ({len(names)} in all, see the log)" if len(names) > _MOST_NAMED else ""
    _logger.warning("The data leave undetermined: %s%s", "; ".join(names[:_MOST_NAMED]), more)
    if more:
        _logger.info("All that the data leave undetermined:\n  %s", "\n  ".join(names))


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
    fit: FitResult,
    scaled: ScaledObservations,
    cell: UnitCell,
    space_group: Any,
    options: ScalingOptions,
    n_threads: int,
) -> tuple[MergingStatistics, MergingStatistics]:
    """Statistics as merged, and with every rejected outlier put back."""
    complete = ~fit.small_scale & ~fit.observations.absent
    arguments = (cell, space_group, options, n_threads)
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
