"""A job before its first fit: which data are scaled, by which models, and from where these start."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import targeting
from .after_fit import Merging
from .connectivity import Connectivity, find_connectivity, report_connectivity
from .dataset import Job
from .dataset_selection import DataSetNames, assign_identifiers, select_data_sets
from .exclude_images import exclude_images, parse_image_commands
from .exclude_reflections import DetectorRegion, ResolutionShell, exclude_reflections, parse_regions, parse_shells
from .filtering import Continuation, attribute_removed_rows
from .fit_start import FitStart, fit_start
from .fitting import FitResult, fit_job
from .indexing_ambiguity import IndexingAnalysis
from .input_checks import without_beam_direction
from .io.refl import forget_pages
from .job_checks import checked_space_group, require_suitable
from .joint_model import JointModel
from .model_plan import ModelPlan
from .model_variants import may_have_absorption
from .observations import JobObservations, collect
from .options import ScalingOptions
from .planning import build_models, log_data_sets, log_plans, plan_models
from .preparation import UnitCell, best_unit_cell, prepare_all
from .prepared import PreparedDataSet, blocks_of
from .reflection_selection import ReflectionSelection, select_reflections
from .reindexing import consistently_indexed
from .scaling_model import DataSetModel
from .space_group import relabelled
from .stage_clock import StageClock
from .stored_models import stored_models
from .threads import thread_count
from .typing import BoolArray
from .warm_start import warm_started

__all__ = ["PreparedJob", "prepare_job", "select_job"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PreparedJob:
    """A job before the first fit.

    Attributes
    ----------
    job : Job
        The data sets in use.
    options : ScalingOptions
    clock : StageClock
    n_threads : int
    space_group : gemmi.SpaceGroup
    cell : UnitCell
        Of all data sets together (Å, degrees).
    data_sets : list of PreparedDataSet
        Intensities that can be scaled, and the fate of every row.
    kept : list of DataSetModel or None
        Stored models, by data set.
    plans, models : list
        Auto decisions, and the models that the fit starts from, by data set.
    start : FitStart
        What an earlier fit knows.
    observations : JobObservations
        Suitable rows of all data sets, sorted by group.
    connectivity : Connectivity
    selection : ReflectionSelection
    indexing : IndexingAnalysis or None
    scaled : (n_data_sets,) bool
        Those that new data sets are scaled against.
    small_scale_cutoff : float
        Rows of a smaller g are not trusted.
    """

    job: Job
    options: ScalingOptions
    clock: StageClock
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

    def of_data_sets(self, chosen: BoolArray) -> PreparedJob:
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


def prepare_job(
    job: Job,
    names: DataSetNames,
    options: ScalingOptions,
    given: Collection[str],
    clock: StageClock,
    after: Continuation,
) -> PreparedJob:
    """Prepare a job whose data sets and images have been selected (`select_job`): all that comes before the first fit.

    Parameters
    ----------
    job : Job
    names : DataSetNames
        Those of the whole job, in options.
    options : ScalingOptions
    given : collection of str
        Dotted names of the options that the user has set.
    clock : StageClock
    after : Continuation
        What earlier cycles of filtering leave.

    Raises
    ------
    DataError
        If nothing can be scaled.
    """
    n_threads = thread_count(options.scaling_options.nproc)
    path = targeting.reference_path(options)
    shells = parse_shells(options.cut_data.exclude_resolution)
    regions = parse_regions(options.cut_data.exclude_regions, names)
    with clock.stage("prepare"):
        space_group = checked_space_group(job, options)
        _logger.info("Space group being used during scaling is %s", space_group.xhm())
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
        _logger.info("Unit cell, the best of all data sets: %.3f %.3f %.3f %.2f %.2f %.2f", *cell)
        log_data_sets(prepared)
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
    return PreparedJob(
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


def select_job(job: Job, options: ScalingOptions) -> tuple[Job, DataSetNames]:
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
