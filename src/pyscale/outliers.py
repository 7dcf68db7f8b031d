"""Rejection of outliers: within groups of symmetry equivalents, and against Wilson statistics."""

from __future__ import annotations

import numpy as np

from pyscale import _core
from pyscale.progress import checkpoint
from pyscale.typing import BoolArray, ByteArray, FloatArray, IndexArray

__all__ = [
    "compare_with_others",
    "find_disputed_pairs",
    "find_outliers",
    "leave_one_out_z",
    "wilson_expected",
    "wilson_outliers",
]

_MIN_ROWS_FOR_WILSON = 100


def leave_one_out_z(
    intensity: FloatArray,
    weight: FloatArray,
    inverse_scale_factor: FloatArray,
    offsets: IndexArray,
    *,
    excluded: BoolArray | None = None,
    n_threads: int = 1,
) -> FloatArray:
    """Deviation of each row from the weighted mean of the others in its group, in standard deviations.

    Parameters
    ----------
    intensity, weight, inverse_scale_factor : (n,) float64, sorted by group
        Unscaled intensity I, weight w = 1/sigma'^2 of I, and scale factor g (I/g is the scaled intensity).
        Weights are limited to ten times the median of their group.
    offsets : (n_groups + 1,) int64
        First row of each group.
    excluded : (n,) bool, optional
        Rows to leave out.

    Returns
    -------
    (n,) float64
        z; 1000 where the uncertainty vanishes; NaN for rows alone in their group, left out, or with g <= 0 or
        w <= 0.
    """
    mask = _bytes(excluded)
    return _core.leave_one_out_z(intensity, weight, inverse_scale_factor, offsets, mask, n_threads)


def find_outliers(
    intensity: FloatArray,
    weight: FloatArray,
    inverse_scale_factor: FloatArray,
    offsets: IndexArray,
    *,
    zmax: float = 6.0,
    excluded: BoolArray | None = None,
    reference: tuple[FloatArray, FloatArray] | None = None,
    at_once: bool = False,
    n_threads: int = 1,
) -> BoolArray:
    """Flag outliers within groups: the 'standard' test of dials.scale.

    The row of largest z (`leave_one_out_z`) in its group is rejected when z > `zmax`, and the rest tested
    again, down to groups of two. Every call starts from a clean slate.

    Parameters
    ----------
    intensity, weight, inverse_scale_factor, offsets, excluded
        As in `leave_one_out_z`. Excluded rows and rows with g <= 0 are neither used nor flagged.
    zmax : float
        Largest deviation to accept, in standard deviations.
    reference : two (n_groups,) float64, optional
        Scaled intensities that are known beforehand and their weights, 0 for none: one more row of each group, with
        g = 1. Where it is the worst of three or more it is set aside; single rows are judged by it.
    at_once : bool
        The 'simple' test: all rows of a group are compared with the mean of all of them, and those beyond `zmax`
        rejected at once: |I - g I_h| / sqrt(1/w + g^2 / sum w g^2), the variance of the mean taken for independent.

    Returns
    -------
    (n,) bool
    """
    mask = _bytes(excluded)
    args = (
        intensity,
        weight,
        inverse_scale_factor,
        offsets,
        zmax,
        mask,
        n_threads,
        *(reference or (None, None)),
        at_once,
    )
    return _core.find_outliers(*args).view(np.bool_)


def find_disputed_pairs(
    intensity: FloatArray,
    weight: FloatArray,
    inverse_scale_factor: FloatArray,
    offsets: IndexArray,
    *,
    zmax: float,
    excluded: BoolArray,
    reference: tuple[FloatArray, FloatArray] | None = None,
    n_threads: int = 1,
) -> IndexArray:
    """Groups that come down to two rows which deviate from each other by more than `zmax`, (m, 2) int64.

    Parameters are those of `find_outliers`, whose outliers should be among the excluded rows. Groups with a reference,
    which has judged them, are left alone.
    """
    args = (intensity, weight, inverse_scale_factor, offsets, zmax, _bytes(excluded), n_threads)
    return np.flatnonzero(_core.disputed_pairs(*args, *(reference or (None, None)))).reshape(-1, 2)


def compare_with_others(
    intensity: FloatArray,
    weight: FloatArray,
    inverse_scale_factor: FloatArray,
    offsets: IndexArray,
    merged: BoolArray,
    *,
    n_threads: int = 1,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compare each row, merged itself or not, with the weighted mean of the other merged rows of its group.

    Parameters
    ----------
    intensity, weight, inverse_scale_factor, offsets
        As in `leave_one_out_z`; weights are taken as they are.
    merged : (n,) bool
        Rows that count in means.

    Returns
    -------
    mean, sigma, z : (n,) float64
        Mean M of I/g of the others, the standard deviation of I/g - M, and (I/g - M) over it, with sign. NaN where
        there are no others or the row is unusable.
    """
    return _core.compare_with_others(intensity, weight, inverse_scale_factor, offsets, _bytes(merged), n_threads)


def wilson_outliers(
    intensity: FloatArray,
    inverse_scale_factor: FloatArray,
    d_spacing: FloatArray,
    epsilon: FloatArray,
    *,
    emax: float = 10.0,
) -> BoolArray:
    """Flag intensities too large for their resolution: E^2 = I / (g epsilon <I / (g epsilon)>) > emax^2.

    The mean is taken in shells of equal width in 1/d^2 (20 above 20 000 rows, 15 above 15 000, else 10),
    negative intensities counting as zero, and interpolated linearly in 1/d between the shells' centres;
    beyond the outermost centres it is extrapolated, but to no less than half the outermost shell's mean. This
    is the normalised-intensity analysis of dials.scale.

    Parameters
    ----------
    intensity, inverse_scale_factor, d_spacing, epsilon : (n,) float64, in any order
        Unscaled intensity, scale factor, resolution in Angstrom, and multiplicity factor of the reflection.
    emax : float
        Largest normalised amplitude to accept.

    Returns
    -------
    (n,) bool
        False for rows with g <= 0, and everywhere when there are too few rows for a normalisation.
    """
    outlier: BoolArray = intensity > emax**2 * wilson_expected(intensity, inverse_scale_factor, d_spacing, epsilon)
    return outlier


def wilson_expected(
    intensity: FloatArray, inverse_scale_factor: FloatArray, d_spacing: FloatArray, epsilon: FloatArray
) -> FloatArray:
    """Expected unscaled intensity g epsilon <I / (g epsilon)> of each row, (n,) float64; see `wilson_outliers`.

    Infinite for rows with g <= 0, and everywhere when there are too few rows for a normalisation.
    """
    result = np.full(intensity.size, np.inf)
    rows = np.flatnonzero(
        (inverse_scale_factor > 0) & (d_spacing > 0) & np.isfinite(d_spacing) & np.isfinite(intensity)
    )
    if rows.size < _MIN_ROWS_FOR_WILSON:
        return result
    checkpoint()
    factor = inverse_scale_factor[rows] * epsilon[rows]
    result[rows] = factor * wilson_mean(np.maximum(intensity[rows], 0.0) / factor, d_spacing[rows] ** -2.0)
    return result


def wilson_mean(normalised: FloatArray, d_star_sq: FloatArray) -> FloatArray:
    """Mean of intensities over epsilon as a function of resolution, at each of them; see `wilson_outliers`."""
    n_shells = 20 if normalised.size > 20_000 else 15 if normalised.size > 15_000 else 10
    edges = np.linspace(d_star_sq.min(), d_star_sq.max(), n_shells + 1)
    shell = np.clip(np.searchsorted(edges, d_star_sq, side="right") - 1, 0, n_shells - 1)
    count = np.bincount(shell, minlength=n_shells)
    total = np.bincount(shell, weights=normalised, minlength=n_shells)
    filled = np.flatnonzero(total > 0)
    if filled.size == 0:
        return np.full(normalised.size, np.inf)
    centre = np.sqrt(0.5 * (edges[1:] + edges[:-1]))[filled]
    mean = total[filled] / count[filled]
    checkpoint()
    d_star = np.sqrt(d_star_sq)
    expected: FloatArray = np.interp(d_star, centre, mean)
    if filled.size > 1:
        slopes = np.diff(mean) / np.diff(centre)
        for outside, k, slope in ((d_star < centre[0], 0, slopes[0]), (d_star > centre[-1], -1, slopes[-1])):
            line = mean[k] + slope * (d_star[outside] - centre[k])
            expected[outside] = np.maximum(line, 0.5 * mean[k])
    return expected


def _bytes(excluded: BoolArray | None) -> ByteArray:
    return np.zeros(0, np.uint8) if excluded is None else excluded.view(np.uint8)
