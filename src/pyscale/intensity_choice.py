"""Which integrated intensity to scale: profile-fitted, summed, or a combination that depends on the intensity.

Weak reflections are better measured by profile fitting, strong ones often by summation. With the crossover I_mid,

    I = w I_prf + (1 - w) I_sum,  w = 1 / (1 + (I_sum / I_mid)^3),  w = 1 for I_sum <= 0,

and the same for the variances (Evans & Murshudov 2013, after Howard; dials.scale's `combine`). I_mid = 0 stands for
profile wherever there is one, I_mid = 1 for summation wherever there is one. The candidate of lowest R_meas over
reflections that have both intensities is taken, for all data sets together or for each.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise

import numpy as np

from . import _core
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = [
    "ImidCandidate",
    "IntegratedIntensities",
    "IntensityChoice",
    "candidate_imids",
    "choose_imids",
    "combined_intensities",
    "intensity_name",
    "log_choice",
]

_logger = logging.getLogger(__name__)

PROFILE, SUMMATION = 0.0, 1.0
_MIN_I_OVER_SIGMA = 1.0
_MOST_LISTED = 50
_LEAST_COMPARED = 100
"""Observations in groups of two or more of a data set by which its own crossover is judged."""


@dataclass(frozen=True)
class IntegratedIntensities:
    """Both integration results of some rows, before LP and detector efficiency; NaN where one is missing.

    Attributes
    ----------
    profile, profile_variance, summation, summation_variance : (n,) float64
        Summation is already divided by the partiality.
    conversion : (n,) float64
        LP / QE.
    """

    profile: FloatArray
    profile_variance: FloatArray
    summation: FloatArray
    summation_variance: FloatArray
    conversion: FloatArray

    def select(self, rows: IndexArray | BoolArray) -> IntegratedIntensities:
        """Return some rows."""
        return IntegratedIntensities(*(np.ascontiguousarray(getattr(self, f.name)[rows]) for f in fields(self)))

    def part(self, rows: slice) -> IntegratedIntensities:
        """Return consecutive rows, without a copy."""
        return IntegratedIntensities(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence[IntegratedIntensities]) -> IntegratedIntensities:
        """Join rows."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    @property
    def has_both(self) -> BoolArray:
        """Rows with both results, (n,) bool."""
        both: BoolArray = np.isfinite(self.profile) & np.isfinite(self.summation)
        return both


@dataclass(frozen=True)
class ImidCandidate:
    """A crossover and the R_meas that it gives."""

    imid: float
    r_meas: float


@dataclass(frozen=True)
class IntensityChoice:
    """The crossover of each data set, and what it was chosen from.

    Attributes
    ----------
    imids : (n_data_sets,) float64
    tried : list of ImidCandidate
        By R_meas of all data sets together; empty if nothing was to choose.
    of_data_set : dict of int to list of ImidCandidate
        By R_meas of a data set alone, for those that were judged so.
    """

    imids: FloatArray
    tried: list[ImidCandidate] = field(default_factory=list)
    of_data_set: dict[int, list[ImidCandidate]] = field(default_factory=dict)

    @property
    def common(self) -> float | None:
        """The crossover of all data sets; None if they differ."""
        return float(self.imids[0]) if (self.imids == self.imids[0]).all() else None

    def of_data_sets(self, chosen: BoolArray) -> IntensityChoice:
        """Return the choices of some data sets (n_data_sets,), renumbered."""
        number = (np.cumsum(chosen) - 1).tolist()
        own = {number[k]: tried for k, tried in self.of_data_set.items() if chosen[k]}
        return IntensityChoice(self.imids[chosen], self.tried, own)


def log_choice(choice: IntensityChoice) -> None:
    """Tell what was tried and chosen."""
    names = {PROFILE: "prf only", SUMMATION: "sum only"}
    lines = [f"{names.get(c.imid, f'Imid = {c.imid:.6g}'):<24}{c.r_meas:.4f}" for c in choice.tried]
    _logger.info("%-24s%s\n%s", "Combination", "Rmeas", "\n".join(lines))
    if choice.common is not None:
        what = {PROFILE: "Profile intensities", SUMMATION: "Summation intensities"}
        best = what.get(choice.common, f"Combined intensities with Imid = {choice.common:.6g}")
        _logger.info("%s determined to be best for scaling.", best)
        return
    shown = choice.imids[:_MOST_LISTED].tolist()
    own = [f"data set {k}: {intensity_name(imid)}" for k, imid in enumerate(shown)]
    more = f"\n... and {choice.imids.size - len(shown)} more" if choice.imids.size > len(shown) else ""
    _logger.info("Intensities of each data set:\n%s%s", "\n".join(own), more)


def intensity_name(imid: float) -> str:
    """What a crossover stands for, as the end of a sentence."""
    names = {PROFILE: "profile-fitted", SUMMATION: "summed"}
    return names.get(imid) or f"combined, crossover at {imid:.6g}"


def combined_intensities(both: IntegratedIntensities, imid: float | FloatArray) -> tuple[FloatArray, FloatArray]:
    """Intensity and variance of each row for a crossover, LP and efficiency applied; NaN without any result.

    The crossover is one for all rows, or one for each, (n,) float64.
    """
    has_profile, has_sum = np.isfinite(both.profile), np.isfinite(both.summation)
    crossover = np.asarray(imid, dtype=np.float64)
    if (crossover == PROFILE).all():
        weight = has_profile.astype(np.float64)
    elif (crossover == SUMMATION).all():
        weight = (~has_sum).astype(np.float64)
    else:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            smooth = 1.0 / (1.0 + (np.maximum(both.summation, 0.0) / crossover) ** 3)
        smooth = np.where(crossover == PROFILE, 1.0, np.where(crossover == SUMMATION, 0.0, smooth))
        weight = np.where(has_profile, np.where(has_sum, smooth, 1.0), 0.0)
    value = _blend(weight, both.profile, both.summation)
    variance = _blend(weight, both.profile_variance, both.summation_variance)
    with np.errstate(over="ignore", invalid="ignore"):
        return value * both.conversion, variance * both.conversion**2


def _blend(weight: FloatArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """weight * first + (1 - weight) * second, where a weight of exactly 0 or 1 ignores NaN in the other."""
    with np.errstate(invalid="ignore"):
        mixed = weight * first + (1.0 - weight) * second
    blended: FloatArray = np.where(weight == 1.0, first, np.where(weight == 0.0, second, mixed))
    return blended


def candidate_imids(summation: FloatArray, sigma: FloatArray, wanted: Sequence[float] | None = None) -> list[float]:
    """Crossovers to try: the user's, else profile, summation, the mean, and a tenth of the maximum downwards.

    The mean counts as the median sigma at least: below it, a crossover would follow the noise.

    Parameters
    ----------
    summation, sigma : (n,) float64
        Summed intensities of the rows that have both results, and their standard deviations.
    """
    if wanted:
        return [float(x) for x in wanted]
    if summation.size == 0:
        return [PROFILE]
    mean = max(float(np.median(sigma)), float(summation.mean()))
    candidates = [PROFILE, SUMMATION, mean, float(summation.max()) / 10.0]
    while candidates[-1] > mean:
        candidates.append(candidates[-1] / 10.0)
    return candidates


def choose_imids(
    both: IntegratedIntensities,
    inverse_scale_factor: FloatArray,
    offsets: IndexArray,
    use: BoolArray,
    data_set: IntArray,
    n_data_sets: int,
    wanted: Sequence[float] | None = None,
    *,
    joint: bool = True,
    n_threads: int = 1,
) -> IntensityChoice:
    """Find the crossover of lowest R_meas, for all data sets or for each.

    Parameters
    ----------
    both : IntegratedIntensities
        Of the observations, sorted by group.
    inverse_scale_factor : (n,) float64
    offsets : (n_groups + 1,) int64
    use : (n,) bool
        Observations to judge by, outliers left out; those without both results or with I/sigma of either
        below 1 are left out too, so that all candidates are judged by the same rows.
    data_set : (n,) int32
        Below `n_data_sets`.
    wanted : sequence of float, optional
        The candidates.
    joint : bool
        One crossover for all. Otherwise each data set is judged by its own equivalents, if at least 100 of its
        observations have any; those with fewer take the common one, those with one result only that one.

    Returns
    -------
    IntensityChoice
        R_meas is NaN when nothing could be compared; then the first candidate is taken.
    """
    with np.errstate(invalid="ignore"):
        strong = (both.profile > _MIN_I_OVER_SIGMA * np.sqrt(both.profile_variance)) & (
            both.summation > _MIN_I_OVER_SIGMA * np.sqrt(both.summation_variance)
        )
    rows = np.flatnonzero(use & strong & (inverse_scale_factor > 0))
    group = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))[rows]
    chosen = both.select(rows)
    scale = chosen.conversion / inverse_scale_factor[rows]
    tried = _tried(chosen, scale, group, np.zeros(rows.size, np.int64), 1, wanted, n_threads)[0]
    imids = np.full(n_data_sets, _best(tried))
    if joint:
        return IntensityChoice(imids, tried)
    order = np.argsort(data_set[rows], kind="stable")
    group, number = group[order], data_set[rows][order].astype(np.int64)
    compared = np.bincount(number[_is_repeated(group, number)], minlength=n_data_sets)
    judged = np.flatnonzero(compared >= _LEAST_COMPARED)
    own = compared[number] >= _LEAST_COMPARED
    order, group, number = order[own], group[own], np.searchsorted(judged, number[own])
    found = _tried(chosen.select(order), scale[order], group, number, judged.size, wanted, n_threads)
    imids[judged] = [_best(candidates) for candidates in found]
    has_profile, has_sum = (
        np.bincount(data_set[np.isfinite(value)], minlength=n_data_sets) > 0 for value in (both.profile, both.summation)
    )
    imids[~has_profile & has_sum] = SUMMATION
    imids[has_profile & ~has_sum] = PROFILE
    return IntensityChoice(imids, tried, dict(zip(judged.tolist(), found, strict=True)))


def _best(tried: Sequence[ImidCandidate]) -> float:
    comparable = [c for c in tried if np.isfinite(c.r_meas) and c.r_meas >= 0]
    return min(comparable, key=lambda c: c.r_meas).imid if comparable else tried[0].imid


def _is_repeated(group: IndexArray, number: IndexArray) -> BoolArray:
    """Whether a row has a neighbour of the same group and data set; these are together."""
    same = (group[1:] == group[:-1]) & (number[1:] == number[:-1])
    repeated: BoolArray = np.concatenate([same, [False]]) | np.concatenate([[False], same])
    return repeated[: group.size]


def _tried(
    both: IntegratedIntensities,
    scale: FloatArray,
    group: IndexArray,
    number: IndexArray,
    n_classes: int,
    wanted: Sequence[float] | None,
    n_threads: int,
) -> list[list[ImidCandidate]]:
    """Candidates of each class of rows with their R_meas; rows are sorted by the number of their class, then group."""
    new = (group[1:] != group[:-1]) | (number[1:] != number[:-1])
    starts = np.flatnonzero(np.concatenate([[True], new]))[: group.size]
    first = np.searchsorted(number, np.arange(n_classes + 1))
    sigma = np.sqrt(both.summation_variance)
    candidates = [candidate_imids(both.summation[i:j], sigma[i:j], wanted) for i, j in pairwise(first.tolist())]
    r_meas = _core.r_meas_of_crossovers(
        both.profile,
        both.profile_variance,
        both.summation,
        both.summation_variance,
        scale,
        np.append(starts, group.size).astype(np.int64),
        np.searchsorted(starts, first).astype(np.int64),
        np.array([imid for of_class in candidates for imid in of_class], np.float64),
        np.cumsum([0, *map(len, candidates)]).astype(np.int64),
        n_threads,
    )
    values = iter(r_meas.tolist())
    return [[ImidCandidate(imid, next(values)) for imid in of_class] for of_class in candidates]
