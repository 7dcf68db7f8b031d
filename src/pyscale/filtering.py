"""`filtering.method=deltacchalf`: scale, remove what lowers CC½, scale again, until nothing stands out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .dataset import Job
from .dataset_selection import DataSetNames
from .delta_cc_half import (
    Cutoff,
    DeltaCCHalf,
    data_set_candidates,
    delta_cc_half,
    find_cutoff,
    from_the_ends,
    image_group_candidates,
)
from .errors import UsageError
from .exclude_images import ImageCommand, exclude_images
from .experiment import Experiment
from .filtering_record import (
    FilterCycle,
    FilteringRecord,
    RemovedDataSet,
    candidate_table,
)
from .image_ranges import ImageRange, common_ranges, in_ranges, normalised, valid_ranges
from .options import ScalingOptions
from .options.selection import DeltaCCHalfOptions
from .prepared import PreparedDataSet
from .progress import part_of_job
from .scaling_model import DataSetModel
from .typing import BoolArray, IndexArray

if TYPE_CHECKING:
    from .result import ScalingResult

__all__ = ["Continuation", "attribute_removed_rows", "note_ignored_options", "scale_and_filter"]

_logger = logging.getLogger(__name__)

_FEW_CANDIDATES = 20
_FEW_OBSERVATIONS = 50
_OPTION = "filtering.deltacchalf"


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """What one scaling of the loop takes over from those before it.

    Attributes
    ----------
    models : mapping of str to DataSetModel
        Fitted models by identifier, to start from; empty in the first cycle.
    removed_images : mapping of str to ranges
        Images that filtering has removed, by identifier.
    is_final : bool
        Whether the result is that of the job, and no more is removed.
    """

    models: Mapping[str, DataSetModel] = field(default_factory=dict)
    removed_images: Mapping[str, Sequence[ImageRange]] = field(default_factory=dict)
    is_final: bool = False


Scale = Callable[[Job, Continuation], "ScalingResult"]


def scale_and_filter(job: Job, options: ScalingOptions, scale: Scale) -> ScalingResult:
    """Scale a job and remove data sets or image groups by ΔCC½ (docs/theory/choices.md), in cycles.

    Parameters
    ----------
    job : Job
    options : ScalingOptions
    scale : callable
        Scales all data sets of a job once.

    Returns
    -------
    ScalingResult
        Of what is left, with the record of the cycles as `filtering`.

    Raises
    ------
    UsageError
        If data sets are to be removed, but there is one only.
    """
    chosen = options.filtering.deltacchalf
    if chosen.mode == "dataset" and len(job.data_sets) < 2:
        raise UsageError(
            f"option {_OPTION}.mode=dataset: removes whole data sets, and there is one only; mode=image_group removes "
            "parts of it"
        )
    record = FilteringRecord(options=chosen, initial_images=_images_in_use(job))
    models: Mapping[str, DataSetModel] = {}
    while not record.termination_reason:
        _logger.info("Scaling and filtering, cycle %d", len(record.cycles) + 1)
        with part_of_job(*_part_of_cycle(len(record.cycles))):
            result = scale(job, Continuation(models=models, removed_images=record.removed_images))
        models = dict(zip(result.job.identifiers, result.models, strict=True))
        job = _filter(result, record)
    if record.termination_reason != "no_more_removed" or options.model == "cross_validated":
        _logger.info("Scaling what is left")
        with part_of_job(_part_of_cycle(len(record.cycles))[0], 1.0):
            result = scale(job, Continuation(models=models, removed_images=record.removed_images, is_final=True))
    record.final_images = _images_in_use(result.job)
    record.final = result.statistics
    result.filtering = record
    return result


def _part_of_cycle(number: int) -> tuple[float, float]:
    """Where a cycle begins and ends, for progress: each is half of what is left, as there may be any number."""
    return 1.0 - 0.5**number, 1.0 - 0.5 ** (number + 1)


def note_ignored_options(given: Collection[str]) -> None:
    """Say which options of filtering the user has set in vain, without a method."""
    ignored = sorted(name for name in given if name.startswith("filtering."))
    if ignored:
        _logger.info(
            "Without filtering.method=deltacchalf these have no effect: %s", ", ".join(ignored), extra={"notice": True}
        )


def attribute_removed_rows(
    prepared: Sequence[PreparedDataSet], removed_images: Mapping[str, Sequence[ImageRange]]
) -> None:
    """Tell, among the rows on excluded images, those on images that filtering has removed from the user's."""
    for p in prepared:
        ranges = normalised(removed_images.get(p.identifier, ()))
        if ranges:
            inside = in_ranges(ranges, p.image_z)
            p.block.attribute("user_excluded", "exclude_images", "delta_cc_half", inside, p.part)


def _images_in_use(job: Job) -> list[tuple[str, list[ImageRange] | None]]:
    return [
        (d.identifier, None if d.experiment.image_range is None else valid_ranges(d.experiment)) for d in job.data_sets
    ]


def _filter(result: ScalingResult, record: FilteringRecord) -> Job:
    """Judge one scaling; add its cycle to the record, and return the job of what is left."""
    options, job, fit = record.options, result.job, result.fit
    by_images = options.mode == "image_group"
    merged = result.scaled.merged(result.observations.absent)
    experiments = [d.experiment for d in job.data_sets]
    candidates = (
        image_group_candidates(experiments, options.group_size) if by_images else data_set_candidates(len(experiments))
    )
    delta = delta_cc_half(result.observations, fit.g, merged, candidates)
    cutoff = find_cutoff(delta.delta[delta.judged], options.rule, options.stdcutoff)
    if not record.cycles:
        _warn_of_few(delta, cutoff, options)
    with np.errstate(invalid="ignore"):
        below: BoolArray = delta.delta < cutoff.value
    left = _Left(result, delta, merged, record)
    everywhere = options.interior or not by_images
    removed = left.remove(below if everywhere else from_the_ends(candidates, below), up_to_limit=everywhere)
    outlier_ranges = _outlier_ranges(delta, experiments) if by_images else []
    data_sets = _emptied(delta, removed, [k for k, _ in outlier_ranges])
    cycle = FilterCycle(
        number=len(record.cycles) + 1,
        identifiers=tuple(job.identifiers),
        statistics=result.statistics,
        delta=delta,
        cutoff=cutoff,
        removed=removed,
        removed_data_sets=tuple(job.identifiers[k] for k in data_sets),
        outlier_ranges=tuple((job.identifiers[k], images) for k, images in outlier_ranges),
        n_removed=int(delta.n_merged[removed].sum()),
        percent_removed=left.percent,
        completeness=left.completeness,
    )
    record.cycles.append(cycle)
    _log_cycle(cycle, below)
    record.termination_reason = left.reason or _termination(cycle, options)
    return _without(job, cycle, data_sets, record)


class _Left:
    """What is left of the merged observations while candidates are removed, the worst first, up to a limit."""

    def __init__(self, result: ScalingResult, delta: DeltaCCHalf, merged: BoolArray, record: FilteringRecord) -> None:
        self._delta, self._options = delta, record.options
        owner = delta.candidate_of[merged]
        order = np.argsort(owner, kind="stable")
        self._group = result.observations.group[merged][order]
        self._edges = np.searchsorted(owner[order], np.arange(len(delta.candidates) + 1))
        self._count: IndexArray = np.bincount(self._group, minlength=result.observations.offsets.size - 1)
        self._n_unique = int(np.count_nonzero(self._count))
        self._n_possible = result.statistics.overall.n_possible
        self._initial = record.initial_n_observations or result.statistics.overall.n_obs
        self._n_removed = sum(c.n_removed for c in record.cycles)
        self.reason = ""

    @property
    def percent(self) -> float:
        """Observations removed in all, percent of those merged in the first cycle."""
        return 100.0 * self._n_removed / self._initial

    @property
    def completeness(self) -> float:
        """Of what is left, 0 to 1; NaN if symmetry allows none."""
        return min(1.0, self._n_unique / self._n_possible) if self._n_possible else math.nan

    def remove(self, wanted: BoolArray, *, up_to_limit: bool) -> BoolArray:
        """Return which of the wanted candidates (n,) are removed: all, or those up to that which passes a limit."""
        removed = np.zeros_like(wanted)
        chosen = np.flatnonzero(wanted)
        for c in chosen[np.argsort(self._delta.delta[chosen], kind="stable")]:
            groups = self._group[self._edges[c] : self._edges[c + 1]]
            np.subtract.at(self._count, groups, 1)
            self._n_unique -= int(np.count_nonzero(self._count[np.unique(groups)] == 0))
            self._n_removed += groups.size
            removed[c] = True
            self.reason = self._limit()
            if self.reason and up_to_limit:
                break
        return removed

    def _limit(self) -> str:
        least = self._options.min_completeness
        if self.percent > self._options.max_percent_removed:
            return "max_percent_removed"
        if least is not None and 100.0 * self.completeness < least:
            return "below_completeness_limit"
        return ""


def _termination(cycle: FilterCycle, options: DeltaCCHalfOptions) -> str:
    if not cycle.removed.any() and not cycle.outlier_ranges:
        return "no_more_removed"
    return "max_cycles" if cycle.number >= options.max_cycles else ""


def _outlier_ranges(delta: DeltaCCHalf, experiments: Sequence[Experiment]) -> list[tuple[int, ImageRange]]:
    """Ranges of images in use, by data set, on which there are outliers only."""
    n_all = np.bincount(delta.candidate_of, minlength=len(delta.candidates))
    sound: dict[int, list[ImageRange]] = {}
    rejected: dict[int, list[ImageRange]] = {}
    for candidate, n, n_merged in zip(delta.candidates, n_all, delta.n_merged, strict=True):
        if candidate.images is not None and n:
            (sound if n_merged else rejected).setdefault(candidate.data_set, []).append(candidate.images)
    return [
        (k, images)
        for k, ranges in rejected.items()
        for images in valid_ranges(experiments[k])
        if common_ranges([images], ranges) and not common_ranges([images], sound.get(k, []))
    ]


def _emptied(delta: DeltaCCHalf, removed: BoolArray, others: Sequence[int]) -> list[int]:
    """Data sets that lose something, and keep no observation that was merged."""
    owner = np.array([c.data_set for c in delta.candidates])
    kept = np.bincount(owner[~removed], weights=delta.n_merged[~removed], minlength=int(owner[-1]) + 1)
    return [int(k) for k in np.union1d(owner[removed], np.array(others, owner.dtype)) if kept[k] == 0]


def _without(job: Job, cycle: FilterCycle, data_sets: Sequence[int], record: FilteringRecord) -> Job:
    """Return the job without what a cycle removes, and add that to the record."""
    n_merged = np.zeros(len(job.data_sets), np.int64)
    images: dict[str, list[ImageRange]] = {}
    for candidate, n, is_removed in zip(cycle.delta.candidates, cycle.delta.n_merged, cycle.removed, strict=True):
        n_merged[candidate.data_set] += n
        if is_removed and candidate.images is not None:
            images.setdefault(job.identifiers[candidate.data_set], []).append(candidate.images)
    for identifier, outliers in cycle.outlier_ranges:
        images.setdefault(identifier, []).append(outliers)
    for k in data_sets:
        entry = job.data_sets[k]
        images.pop(entry.identifier, None)
        record.removed_data_sets.append(
            RemovedDataSet(
                identifier=entry.identifier,
                cycle=cycle.number,
                n_reflections=len(entry.reflections),
                n_observations=int(n_merged[k]),
            )
        )
    left = job.select(k for k in range(len(job.data_sets)) if k not in set(data_sets))
    names = DataSetNames(tuple(left.identifiers))
    commands = []
    for identifier, ranges in images.items():
        record.removed_images[identifier] = normalised([*record.removed_images.get(identifier, ()), *ranges])
        position = names.identifiers.index(identifier)
        commands += [ImageCommand(_OPTION, position, joined) for joined in normalised(ranges)]
    return exclude_images(left, names, commands)


def _warn_of_few(delta: DeltaCCHalf, cutoff: Cutoff, options: DeltaCCHalfOptions) -> None:
    """Say so where there are too few candidates, or observations of each, for a firm judgement."""
    what = "image groups" if options.mode == "image_group" else "data sets"
    n_judged, typical = int(np.count_nonzero(delta.judged)), float(np.median(delta.n_merged))
    if n_judged < 2:
        _logger.warning("Filtering can judge %d %s only, too few to compare: nothing is removed", n_judged, what)
    elif options.rule == "sd" and n_judged <= options.stdcutoff**2 + 1:
        _logger.warning(
            "Filtering removes nothing: of %d %s none can lie %g standard deviations below the mean (%s.rule=robust, "
            "or a lower stdcutoff)",
            n_judged,
            what,
            options.stdcutoff,
            _OPTION,
        )
    elif options.rule == "robust" and n_judged < _FEW_CANDIDATES:
        _logger.warning(
            "Filtering has %d %s only to compare: one must lie %.1f times their spread below the median to be removed",
            n_judged,
            what,
            cutoff.factor,
        )
    if options.mode == "image_group" and typical < _FEW_OBSERVATIONS:
        _logger.warning(
            "Half of the image groups hold fewer than %d observations: what stands out among so few may be chance; a "
            "%s.group_size above %d makes the judgement firmer",
            math.ceil(typical + 1),
            _OPTION,
            options.group_size,
        )


def _log_cycle(cycle: FilterCycle, below: BoolArray) -> None:
    delta, cutoff = cycle.delta, cycle.cutoff
    _logger.info(
        "CC1/2 %.5f (mean over resolution bins); ΔCC1/2 of %d of %d candidates: centre %.2e, spread %.2e, cut-off %.2e "
        "(at least %.2f spreads below)\n%s",
        delta.cc_half,
        np.count_nonzero(delta.judged),
        len(delta.candidates),
        cutoff.centre,
        cutoff.spread,
        cutoff.value,
        cutoff.factor,
        candidate_table(cycle, below),
    )
    with np.errstate(invalid="ignore"):
        beyond = int(np.count_nonzero(delta.delta < cutoff.centre - cutoff.factor * cutoff.spread))
    n_below = int(np.count_nonzero(below))
    if beyond > n_below:
        _logger.info(
            "%d more lie so many spreads below, but about as many lie as far above: that is chance", beyond - n_below
        )
    for identifier, images in cycle.outlier_ranges:
        _logger.info("Images %d to %d of data set %s hold outliers only and are removed", *images, identifier)
    _logger.info(
        "Cycle %d removes %d of %d candidates, %d observations (%.2f %% in all); completeness of what is left %.1f %%",
        cycle.number,
        np.count_nonzero(cycle.removed),
        len(delta.candidates),
        cycle.n_removed,
        cycle.percent_removed,
        100.0 * cycle.completeness,
    )
