"""ΔCC½: how CC½ changes without a data set or a group of images, and which of them are below the cut-off."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from . import _core
from .experiment import Experiment
from .image_ranges import ImageRange, valid_ranges
from .observations import JobObservations
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = [
    "Candidate",
    "Cutoff",
    "DeltaCCHalf",
    "data_set_candidates",
    "delta_cc_half",
    "find_cutoff",
    "from_the_ends",
    "image_group_candidates",
    "image_groups",
    "student_factor",
]

N_BINS = 10
_NORMAL_MAD = 1.482602218505602
"""Standard deviation of a normal distribution in units of its median absolute deviation."""
_LARGEST_NORMAL = 30.0
"""Normal deviates beyond this are too improbable for the numbers of a computer."""
_MIRROR_FRACTION = 0.2
"""At most so many of those that the robust rule removes may be there by chance, judged by those as far above."""


class Candidate(NamedTuple):
    """What may be left out as one: a data set by its position in the job, or some of its images."""

    data_set: int
    images: ImageRange | None = None


@dataclass(frozen=True)
class DeltaCCHalf:
    """CC½ of merged observations less CC½ without each candidate: negative where leaving it out is a gain.

    Attributes
    ----------
    cc_half : float
        Of all observations, the mean over bins.
    candidates : sequence of Candidate
    delta : (n,) float64
        ΔCC½; NaN where it cannot be judged: no observation has an equivalent, or nothing would be left to correlate.
    n_merged : (n,) int64
        Merged observations of each candidate.
    candidate_of : (n_observations,) int32
        Candidate of each observation of the job, merged or not.
    """

    cc_half: float
    candidates: Sequence[Candidate]
    delta: FloatArray
    n_merged: IndexArray
    candidate_of: IntArray

    @property
    def judged(self) -> BoolArray:
        """Candidates with a value, (n,) bool."""
        finite: BoolArray = np.isfinite(self.delta)
        return finite


@dataclass(frozen=True)
class Cutoff:
    """Candidates below `value`, at most centre - factor * spread, are to be removed; NaN: none can be judged."""

    centre: float
    spread: float
    factor: float
    value: float


def data_set_candidates(n_data_sets: int) -> list[Candidate]:
    """Every data set of a job."""
    return [Candidate(k) for k in range(n_data_sets)]


def image_groups(ranges: Iterable[ImageRange], size: int) -> list[ImageRange]:
    """Split ranges into groups of `size` images from the start of each.

    A last group of fewer than `size` - 1 images joins the one before.
    """
    groups: list[ImageRange] = []
    for first, last in ranges:
        starts = list(range(first, last + 1, size))
        if len(starts) > 1 and last - starts[-1] + 1 < size - 1:
            starts.pop()
        groups += [(a, b - 1) for a, b in zip(starts, [*starts[1:], last + 1], strict=True)]
    return groups


def image_group_candidates(experiments: Iterable[Experiment], size: int) -> list[Candidate]:
    """Groups of the images in use of every data set, in order; a still is one candidate as a whole."""
    candidates = []
    for k, experiment in enumerate(experiments):
        groups = [] if experiment.is_still else image_groups(valid_ranges(experiment), size)
        candidates += [Candidate(k, images) for images in groups] or [Candidate(k)]
    return candidates


def delta_cc_half(
    observations: JobObservations, g: FloatArray, merged: BoolArray, candidates: Sequence[Candidate]
) -> DeltaCCHalf:
    """Compute ΔCC½ of all candidates at once (docs/theory/choices.md).

    Parameters
    ----------
    observations : JobObservations
    g : (n,) float64
        Inverse scale factors.
    merged : (n,) bool
        Observations that take part.
    candidates : sequence of Candidate
        In the order of data sets and images; each data set has one at least.
    """
    candidate_of = _candidate_of(observations, candidates)
    counts = np.add.reduceat(merged.astype(np.int64), observations.offsets[:-1])
    d_star_sq = 1.0 / observations.d_spacing[observations.offsets[:-1]] ** 2
    cc_half, _, _, without, n_observations = _core.delta_cc_half(
        observations.intensity[merged] / g[merged],
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        _bins(d_star_sq, counts > 0),
        candidate_of[merged],
        N_BINS,
        len(candidates),
    )
    return DeltaCCHalf(
        cc_half=cc_half,
        candidates=candidates,
        delta=np.where(n_observations > 0, cc_half - without, np.nan),
        n_merged=np.bincount(candidate_of[merged], minlength=len(candidates)).astype(np.int64),
        candidate_of=candidate_of,
    )


def _bins(d_star_sq: FloatArray, used: BoolArray) -> IntArray:
    """Bin of each group: equal widths of 1/d² between the extremes of those in use."""
    if not used.any():
        return np.full(d_star_sq.shape, -1, np.int32)
    low, high = d_star_sq[used].min(), d_star_sq[used].max()
    width = (high - low) / N_BINS
    number = (d_star_sq - low) / width if width > 0 else np.zeros_like(d_star_sq)
    return np.clip(number, 0, N_BINS - 1).astype(np.int32)


def _candidate_of(observations: JobObservations, candidates: Sequence[Candidate]) -> IntArray:
    owner = np.array([c.data_set for c in candidates])
    n_data_sets = int(owner[-1]) + 1
    if len(candidates) == n_data_sets:
        return observations.data_set.astype(np.int32)
    starts = np.array([math.inf if c.images is None else c.images[0] - 1.0 for c in candidates])
    order = np.argsort(observations.data_set, kind="stable")
    ends = np.searchsorted(observations.data_set[order], np.arange(n_data_sets + 1))
    first = np.searchsorted(owner, np.arange(n_data_sets + 1))
    candidate_of = np.empty(len(observations), np.int32)
    for k in range(n_data_sets):
        rows = order[ends[k] : ends[k + 1]]
        later = starts[first[k] + 1 : first[k + 1]]
        candidate_of[rows] = first[k] + np.searchsorted(later, observations.image_z[rows], side="right")
    return candidate_of


def from_the_ends(candidates: Sequence[Candidate], chosen: BoolArray) -> BoolArray:
    """Keep of some chosen candidates (n,) those that form runs from the first or the last one of a data set."""
    owner = np.array([c.data_set for c in candidates])
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    result = np.zeros_like(chosen)
    for first, end in zip(starts, [*starts[1:], owner.size], strict=True):
        here = chosen[first:end]
        result[first:end] = np.logical_and.accumulate(here) | np.logical_and.accumulate(here[::-1])[::-1]
    return result


def find_cutoff(delta: FloatArray, rule: str, k: float) -> Cutoff:
    """Find the cut-off of some ΔCC½, (n,) float64 without NaN (docs/theory/choices.md).

    Parameters
    ----------
    delta
        Values of the candidates that can be judged.
    rule
        `robust`: median less t scaled median absolute deviations, t as improbable for Student's distribution of n / 2
        degrees of freedom as k for the normal one; lower where as many values lie as far above the median.
        `sd`: mean less k population standard deviations.
    k
        How far below the centre, in standard deviations of a normal distribution.

    Returns
    -------
    Cutoff
        NaN for fewer than two values, or without any spread.
    """
    if delta.size < 2:
        return Cutoff(math.nan, math.nan, math.nan, math.nan)
    if rule == "sd":
        centre, spread, factor = float(delta.mean()), float(delta.std()), k
    else:
        centre, factor = float(np.median(delta)), student_factor(k, delta.size // 2)
        spread = _NORMAL_MAD * float(np.median(np.abs(delta - centre)))
    if not spread > 0:
        return Cutoff(centre, spread, factor, math.nan)
    value = centre - factor * spread
    return Cutoff(
        centre, spread, factor, value if rule == "sd" else _beyond_the_mirror(delta - centre, value - centre) + centre
    )


def _beyond_the_mirror(deviation: FloatArray, limit: float) -> float:
    """Lower a limit of deviations from the median until few lie as far above: what chance puts on both sides."""
    ordered = np.sort(deviation)
    below = ordered[ordered < limit]
    above = ordered.size - np.searchsorted(ordered, -below, side="left")
    clear = np.flatnonzero(above <= _MIRROR_FRACTION * np.arange(1, below.size + 1))
    n_removed = int(clear[-1]) + 1 if clear.size else 0
    return limit if n_removed == below.size else float(below[n_removed])


def student_factor(k: float, freedom: int) -> float:
    """Return what is as improbable for Student's t of some degrees of freedom as k for a normal deviate."""
    from scipy.special import ndtr, stdtrit

    if k > _LARGEST_NORMAL:
        return math.inf
    return -float(stdtrit(freedom, ndtr(-k)))
