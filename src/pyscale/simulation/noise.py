"""Counting statistics, planted outliers and the intensities that an integrator would report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..typing import ByteArray, FloatArray, IndexArray
from .options import OUTLIER_KINDS, SimulationOptions

__all__ = ["Measurement", "background_level", "measure", "plant_outliers"]

N_FOREGROUND = 49
"""Pixels that summation adds up."""
N_PROFILE = 20
"""Pixels whose background counts in a profile-fitted intensity: the fit weighs the outer ones down."""
N_BACKGROUND = 200


@dataclass(frozen=True)
class Measurement:
    """What integration reports for each row (counts, before lp).

    Attributes
    ----------
    profile_value, profile_variance, sum_value, sum_variance : (n,) float64
        Profile-fitted intensities estimate the whole reflection, summed ones the recorded part.
    background_mean : (n,) float64
        Counts per pixel.
    expected_profile_variance, expected_sum_variance : (n,) float64
        True counting variances of the whole intensity by either method, without multiplicative error.
    """

    profile_value: FloatArray
    profile_variance: FloatArray
    sum_value: FloatArray
    sum_variance: FloatArray
    background_mean: FloatArray
    expected_profile_variance: FloatArray
    expected_sum_variance: FloatArray


def plant_outliers(
    options: SimulationOptions, counts: FloatArray, background: FloatArray, rng: np.random.Generator
) -> tuple[ByteArray, FloatArray, FloatArray]:
    """Choose outliers and spoil them.

    Only reflections well above the noise become too low or swapped, since otherwise nobody could tell; weak
    ones become zingers instead or, where these are not asked for, stay as they are.

    Parameters
    ----------
    counts, background : (n,) float64
        Expected counts of the reflection and of one background pixel.

    Returns
    -------
    kind : (n,) uint8
        0, or 1 + position in `OUTLIER_KINDS`.
    counts : (n,) float64
        Spoiled expected counts.
    sigma_factor : (n,) float64
        By which reported standard deviations are too small (1 for most).
    """
    n = len(counts)
    planted = (rng.uniform(size=n) < options.outlier_fraction) & (len(options.outlier_kinds) > 0)
    numbers = [1 + OUTLIER_KINDS.index(name) for name in options.outlier_kinds] or [0]
    kind = np.where(planted, rng.choice(numbers, n), 0).astype(np.uint8)
    noise = np.sqrt(counts + background * N_PROFILE + 1.0)
    weak = counts < 15.0 * noise
    faint = weak & np.isin(kind, [1 + OUTLIER_KINDS.index("shadowed"), 1 + OUTLIER_KINDS.index("swapped")])
    kind[faint] = 1 + OUTLIER_KINDS.index("zinger") if "zinger" in options.outlier_kinds else 0

    def rows(name: str) -> IndexArray:
        return np.flatnonzero(kind == 1 + OUTLIER_KINDS.index(name))

    spoiled = counts.copy()
    high, low, swapped, sigma = (rows(name) for name in OUTLIER_KINDS)
    spoiled[high] = counts[high] * rng.uniform(1.5, 8.0, len(high)) + 15.0 * noise[high]
    spoiled[low] = counts[low] * rng.uniform(0.0, 0.4, len(low))
    if len(swapped) > 1:
        # half the ranks apart: equal intensities swapped would be no outliers
        ranked = swapped[np.argsort(counts[swapped], kind="stable")]
        spoiled[ranked] = np.roll(counts[ranked], len(ranked) // 2)
    else:
        kind[swapped] = 0
    factor = np.ones(n)
    factor[sigma] = rng.uniform(6.0, 12.0, len(sigma))
    return kind, spoiled, factor


def measure(
    counts: FloatArray,
    blur: FloatArray,
    background: FloatArray,
    partiality: FloatArray,
    sigma_factor: FloatArray,
    rng: np.random.Generator,
) -> Measurement:
    """Poisson counts on and around each spot, and the estimates made from them.

    Parameters
    ----------
    counts, background : (n,) float64
        Expected counts of the whole reflection and of one background pixel.
    blur : (n,) float64
        Multiplicative error of each row, close to 1.
    partiality : (n,) float64
        Recorded fraction.
    sigma_factor : (n,) float64
        Spread the values by this factor without telling it in the variances.
    """
    blurred = np.maximum(counts * blur, 0.0)
    core = rng.poisson(blurred * partiality + background * N_PROFILE).astype(float)
    outer = rng.poisson(background * (N_FOREGROUND - N_PROFILE)).astype(float)
    around = rng.poisson(background * N_BACKGROUND) / N_BACKGROUND
    profile = (core - around * N_PROFILE) / partiality
    summed = core + outer - around * N_FOREGROUND
    profile = counts + sigma_factor * (profile - counts)
    summed = counts * partiality + sigma_factor * (summed - counts * partiality)
    # a variance of nothing is not an estimate: one count at least
    profile_variance = np.maximum(core + around * N_PROFILE**2 / N_BACKGROUND, 1.0) / partiality**2
    sum_variance = np.maximum(core + outer + around * N_FOREGROUND**2 / N_BACKGROUND, 1.0)
    signal = counts * partiality
    return Measurement(
        profile_value=profile,
        profile_variance=profile_variance,
        sum_value=summed,
        sum_variance=sum_variance,
        background_mean=around,
        expected_profile_variance=_counting_variance(signal, background, N_PROFILE) / partiality**2,
        expected_sum_variance=_counting_variance(signal, background, N_FOREGROUND) / partiality**2,
    )


def _counting_variance(signal: FloatArray, background: FloatArray, n_pixels: int) -> FloatArray:
    return signal + background * n_pixels * (1.0 + n_pixels / N_BACKGROUND)


def background_level(options: SimulationOptions, d: FloatArray) -> FloatArray:
    """Expected counts per pixel: flat, with a solvent ring at 3.3 Å."""
    ring = np.exp(-0.5 * ((1.0 / d - 0.3) / 0.05) ** 2)
    return np.asarray(options.background * (0.7 + 1.0 * ring))
