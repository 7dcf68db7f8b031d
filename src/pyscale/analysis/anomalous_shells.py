"""Differences of Friedel mates in resolution shells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import _core
from ..merging import SortedObservations
from ..statistics import ShellStatistics
from ..symmetry import UnitCellLike, inverse_d_squared
from ..typing import BoolArray, FloatArray

__all__ = ["AnomalousPairs", "AnomalousShell", "anomalous_pairs", "anomalous_shell"]

_FEWEST_IN_SHELL = 10
_LARGEST = 5.0
_NO_SIGNAL = math.sqrt(2 / math.pi)
_STRONG = 3.0
_RELIABLE_CHI = (0.3, 3.0)


@dataclass(frozen=True)
class AnomalousShell:
    """One resolution shell.

    Attributes
    ----------
    d_max, d_min : float
        A.
    n_pairs, n_half_pairs : int
        Acentric reflections with both mates; those with two or more observations of each.
    cc_anom, sigma_cc_anom : float or None
        Correlation of I(+) - I(-) between random halves and its standard error.
    cc_anom_significant : bool
        Above zero at p = 0.01.
    difference_over_sigma : float or None
        <|I(+) - I(-)| / sigma>.
    without_signal : float or None
        What that would be without a signal: (2/pi)^1/2 times the observed scatter of observations of one mate over
        their sigmas.
    measurability : float or None
        Part of the pairs whose difference and both of whose mates exceed 3 sigma (Zwart 2005).
    bijvoet_ratio : float or None
        <(I(+) - I(-))^2>^1/2 / <I> without the part of noise, about twice that of amplitudes; None where it is none.
    cc_normalised : float or None
        Correlation of (I(+) - I(-)) / sigma between random halves: strong reflections do not outweigh the others, so
        that its standard error without a signal is n_half_pairs^-1/2.
    cc_of_errors : float or None
        What the excess of ((I(+) - I(-)) / sigma)^2 over noise would give for that; it needs no halves.
    """

    d_max: float
    d_min: float
    n_pairs: int
    n_half_pairs: int
    cc_anom: float | None
    sigma_cc_anom: float | None
    cc_anom_significant: bool
    difference_over_sigma: float | None
    without_signal: float | None
    measurability: float | None
    bijvoet_ratio: float | None
    cc_normalised: float | None
    cc_of_errors: float | None


@dataclass(frozen=True)
class AnomalousPairs:
    """Mates of the acentric reflections that have both, (n,) float64 each; differences over sigma of halves, or NaN."""

    d: FloatArray
    plus: FloatArray
    minus: FloatArray
    sigma_plus: FloatArray
    sigma_minus: FloatArray
    half_1: FloatArray
    half_2: FloatArray

    @property
    def deviates(self) -> FloatArray:
        """(I(+) - I(-)) / sigma, (n,) float64."""
        deviates: FloatArray = (self.plus - self.minus) / np.hypot(self.sigma_plus, self.sigma_minus)
        return deviates

    def inside(self, shell: ShellStatistics) -> BoolArray:
        result: BoolArray = (self.d <= shell.d_max * (1 + 1e-6)) & (self.d >= shell.d_min * (1 - 1e-6))
        return result


def anomalous_pairs(obs: SortedObservations, unit_cell: UnitCellLike, seed: int, n_threads: int) -> AnomalousPairs:
    mates = _core.group_statistics(obs.intensity, obs.variance, obs.anomalous_offsets, n_threads)
    half_1, half_2, sigma_1, sigma_2, _, _ = _core.half_sets(
        obs.intensity, obs.variance, obs.anomalous_offsets, obs.anomalous_index, seed, n_threads
    )
    # I(-) follows I(+) in the canonical order.
    plus = np.flatnonzero(obs.anomalous_parent[1:] == obs.anomalous_parent[:-1])
    both = (mates.n_obs[plus] > 1) & (mates.n_obs[plus + 1] > 1)

    def normalised(intensity: FloatArray, sigma: FloatArray) -> FloatArray:
        difference, error = intensity[plus] - intensity[plus + 1], np.hypot(sigma[plus], sigma[plus + 1])
        result = np.full(len(plus), np.nan)
        result[both] = np.clip(difference[both] / error[both], -_LARGEST, _LARGEST)
        return result

    index = obs.asu_index[obs.anomalous_parent[plus]]
    return AnomalousPairs(
        1 / np.sqrt(inverse_d_squared(unit_cell, index)),
        mates.intensity[plus],
        mates.intensity[plus + 1],
        mates.sigma[plus],
        mates.sigma[plus + 1],
        normalised(half_1, sigma_1),
        normalised(half_2, sigma_2),
    )


def anomalous_shell(pairs: AnomalousPairs, shell: ShellStatistics, apart: ShellStatistics) -> AnomalousShell:
    """Judge the pairs of a shell; `apart` are its statistics with mates apart."""
    rows = pairs.inside(shell)
    # What observations of one mate scatter, relative to their errors.
    chi = apart.chi_square if math.isfinite(apart.chi_square) else 1.0
    chi = float(np.clip(chi, *_RELIABLE_CHI))
    half, cc = shell.n_anomalous_half_pairs, shell.cc_anom
    known = half > 3 and math.isfinite(cc)
    first, second = pairs.half_1[rows], pairs.half_2[rows]
    with_halves = np.isfinite(first)
    normalised = _correlation(first[with_halves], second[with_halves])
    return AnomalousShell(
        d_max=shell.d_max,
        d_min=shell.d_min,
        n_pairs=int(rows.sum()),
        n_half_pairs=half,
        cc_anom=float(cc) if known else None,
        sigma_cc_anom=(1 - min(cc * cc, 1.0)) / math.sqrt(half - 1) if known else None,
        cc_anom_significant=shell.cc_anom_significant,
        cc_normalised=normalised,
        **_differences(pairs, rows, chi),
    )


def _differences(pairs: AnomalousPairs, rows: BoolArray, chi: float) -> dict[str, float | None]:
    """What the differences of some pairs say beside their errors, chi times their variances."""
    if rows.sum() < _FEWEST_IN_SHELL:
        names = ("difference_over_sigma", "without_signal", "measurability", "bijvoet_ratio", "cc_of_errors")
        return dict.fromkeys(names)
    plus, minus = pairs.plus[rows], pairs.minus[rows]
    sigma_plus, sigma_minus = pairs.sigma_plus[rows], pairs.sigma_minus[rows]
    square, variance = (plus - minus) ** 2, sigma_plus**2 + sigma_minus**2
    over = np.sqrt(square / variance)
    strong = np.minimum(plus / sigma_plus, minus / sigma_minus) > _STRONG
    excess = float(square.mean()) - chi * float(variance.mean())
    mean, error = float((plus + minus).mean()) / 2, float(square.std()) / math.sqrt(len(square))
    relative = float(np.minimum(over**2 / chi, _LARGEST**2).mean())
    return {
        "difference_over_sigma": float(over.mean()),
        "without_signal": _NO_SIGNAL * math.sqrt(chi),
        "measurability": float((strong & (over > _STRONG)).mean()),
        "bijvoet_ratio": math.sqrt(excess) / mean if excess > 3 * error and mean > 0 else None,
        # Halves have twice the variance: signal / (signal + 2 noise).
        "cc_of_errors": (relative - 1) / (relative + 1),
    }


def _correlation(x: FloatArray, y: FloatArray) -> float | None:
    """Correlation about zero, where noise has its mean; None with few pairs."""
    square = float((x**2).sum() * (y**2).sum())
    return float(x @ y) / math.sqrt(square) if len(x) >= _FEWEST_IN_SHELL and square > 0 else None
