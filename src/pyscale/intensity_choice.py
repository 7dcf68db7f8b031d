"""Which integrated intensity to scale: profile-fitted, summed, or a combination that depends on the intensity.

Weak reflections are better measured by profile fitting, strong ones often by summation. With the crossover I_mid,

    I = w I_prf + (1 - w) I_sum,  w = 1 / (1 + (I_sum / I_mid)^3),  w = 1 for I_sum <= 0,

and the same for the variances (Evans & Murshudov 2013, after Howard; dials.scale's `combine`). I_mid = 0 stands for
profile wherever there is one, I_mid = 1 for summation wherever there is one. The candidate of lowest R_meas over
reflections that have both intensities is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from .typing import BoolArray, FloatArray, IndexArray

__all__ = ["ImidCandidate", "IntegratedIntensities", "candidate_imids", "choose_imid", "combined_intensities"]

PROFILE, SUMMATION = 0.0, 1.0
_LEAST_MEAN = 10.0
_MIN_I_OVER_SIGMA = 1.0


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


def combined_intensities(both: IntegratedIntensities, imid: float) -> tuple[FloatArray, FloatArray]:
    """Intensity and variance of each row for a crossover, LP and efficiency applied; NaN without any result."""
    has_profile, has_sum = np.isfinite(both.profile), np.isfinite(both.summation)
    if imid == PROFILE:
        weight = has_profile.astype(np.float64)
    elif imid == SUMMATION:
        weight = (~has_sum).astype(np.float64)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            smooth = 1.0 / (1.0 + (np.maximum(both.summation, 0.0) / imid) ** 3)
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


def candidate_imids(both: IntegratedIntensities, wanted: Sequence[float] | None = None) -> list[float]:
    """Crossovers to try: the user's, else profile, summation, the mean, and a tenth of the maximum downwards."""
    if wanted:
        return [float(x) for x in wanted]
    summed = both.summation[both.has_both]
    if summed.size == 0:
        return [PROFILE]
    mean = max(_LEAST_MEAN, float(summed.mean()))
    candidates = [PROFILE, SUMMATION, mean, float(summed.max()) / 10.0]
    while candidates[-1] > mean:
        candidates.append(candidates[-1] / 10.0)
    return candidates


def choose_imid(
    both: IntegratedIntensities,
    inverse_scale_factor: FloatArray,
    offsets: IndexArray,
    use: BoolArray,
    wanted: Sequence[float] | None = None,
) -> tuple[float, list[ImidCandidate]]:
    """Find the crossover of lowest R_meas.

    Parameters
    ----------
    both : IntegratedIntensities
        Of the observations, sorted by group.
    inverse_scale_factor : (n,) float64
    offsets : (n_groups + 1,) int64
    use : (n,) bool
        Observations to judge by, outliers left out; those without both results or with I/sigma of either
        below 1 are left out too, so that all candidates are judged by the same rows.

    Returns
    -------
    imid : float
    candidates : list of ImidCandidate
        All that were tried; R_meas is NaN when nothing could be compared.
    """
    with np.errstate(invalid="ignore"):
        strong = (both.profile > _MIN_I_OVER_SIGMA * np.sqrt(both.profile_variance)) & (
            both.summation > _MIN_I_OVER_SIGMA * np.sqrt(both.summation_variance)
        )
    rows = np.flatnonzero(use & strong & (inverse_scale_factor > 0))
    group = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))[rows]
    chosen, g = both.select(rows), inverse_scale_factor[rows]
    tried = []
    for imid in candidate_imids(both, wanted):
        value, variance = combined_intensities(chosen, imid)
        tried.append(ImidCandidate(imid, _r_meas(value / g, variance / g**2, group)))
    comparable = [c for c in tried if np.isfinite(c.r_meas) and c.r_meas >= 0]
    best = min(comparable, key=lambda c: c.r_meas).imid if comparable else tried[0].imid
    return best, tried


def _r_meas(intensity: FloatArray, variance: FloatArray, group: IndexArray) -> float:
    if intensity.size == 0:
        return float("nan")
    n_groups = int(group[-1]) + 1
    n = np.bincount(group, minlength=n_groups)
    weight = 1.0 / variance
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(group, weight * intensity, n_groups) / np.bincount(group, weight, n_groups)
        factor = np.sqrt(n / (n - 1.0))
    repeated = n[group] > 1
    total = float(intensity[repeated].sum())
    deviation = factor[group[repeated]] * np.abs(intensity[repeated] - mean[group[repeated]])
    return float(deviation.sum()) / total if total > 0 else float("nan")
