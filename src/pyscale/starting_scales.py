"""A robust starting scale for each data set, and which data sets are connected at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import _core
from .observations import JobObservations
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["connected_components", "starting_scales"]

_STRONG = 2.0
_ROUNDS = 4


def connected_components(data_set: IntArray, offsets: IndexArray, use: BoolArray, n_data_sets: int) -> IntArray:
    """Label data sets that are linked by common reflections.

    Parameters
    ----------
    data_set : (n,) int32
    offsets : (n_groups + 1,) int64
    use : (n,) bool
        Observations that link.
    n_data_sets : int

    Returns
    -------
    (n_data_sets,) int32
        Labels from 0 in the order of the first data set of each component.
    """
    shell = np.zeros(offsets.size - 1, np.int32)
    component: IntArray = _core.connectivity(data_set, offsets, use.view(np.uint8), shell, n_data_sets, 1)["component"]
    return component


def starting_scales(
    observations: JobObservations, use: BoolArray, n_data_sets: int, inverse_scale_factor: FloatArray | None = None
) -> FloatArray:
    """Overall scale of each data set from the logarithms of its strong mean intensities.

    With inverse scale factors (n,) that are already known, the overall scale that remains beside these.

    ln m_hs = ln I_h + ln K_s is solved by least squares with the I_h eliminated, reweighted against outliers;
    the mean of ln K is zero in each connected component. One data set has scale 1.

    Returns
    -------
    (n_data_sets,) float64
    """
    if n_data_sets == 1:
        return np.ones(1)
    if inverse_scale_factor is not None:
        g = np.where(inverse_scale_factor > 0, inverse_scale_factor, np.inf)
        observations = replace(
            observations, intensity=observations.intensity / g, variance=observations.variance / g**2
        )
        use = use & np.isfinite(g)
    group, member, y, weight = _log_means(observations, use, n_data_sets)
    scale = np.zeros(n_data_sets)
    robust = weight
    for _ in range(_ROUNDS):
        scale = _solve(group, member, y, robust, n_data_sets)
        residual = _residuals(group, y - scale[member], robust)
        spread = 1.4826 * np.median(np.abs(residual)) if residual.size else 0.0
        robust = weight / (1.0 + (residual / (2.0 * spread + 1e-6)) ** 2)
    result: FloatArray = np.exp(scale)
    return result


def _log_means(
    observations: JobObservations, use: BoolArray, n_data_sets: int
) -> tuple[IndexArray, IntArray, FloatArray, FloatArray]:
    """Logarithm of the mean intensity per group and data set where it is significant, with its weight."""
    key = observations.group[use] * n_data_sets + observations.data_set[use]
    unique, position = np.unique(key, return_inverse=True)
    count = np.bincount(position)
    mean = np.bincount(position, observations.intensity[use]) / count
    sigma = np.sqrt(np.bincount(position, observations.variance[use])) / count
    strong = mean > _STRONG * sigma
    relative = sigma[strong] / mean[strong]
    weight = 1.0 / (relative**2 + 0.1**2)
    group, member = unique // n_data_sets, (unique % n_data_sets).astype(np.int32)
    return group[strong], member[strong], np.log(mean[strong]), weight


def _residuals(group: IndexArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    _, number = np.unique(group, return_inverse=True)
    mean = np.bincount(number, weight * y) / np.bincount(number, weight) if group.size else np.zeros(0)
    result: FloatArray = y - mean[number]
    return result


def _solve(group: IndexArray, member: IntArray, y: FloatArray, weight: FloatArray, n: int) -> FloatArray:
    """Least squares for ln K with ln I_h eliminated: a weighted graph Laplacian, solved by its pseudo-inverse."""
    _, number = np.unique(group, return_inverse=True)
    total = np.bincount(number, weight) if group.size else np.ones(0)
    centred = weight * _residuals(group, y, weight)
    rhs = np.bincount(member, centred, n)
    matrix = np.diag(np.bincount(member, weight, n)).astype(np.float64)
    for shift in range(group.size):
        same = group[shift:] == group[: group.size - shift]
        if not same.any():
            break
        first, second = np.flatnonzero(same), np.flatnonzero(same) + shift
        product = weight[first] * weight[second] / total[number[first]]
        cell = member[first].astype(np.int64) * n + member[second]
        block = np.bincount(cell, product, n * n).reshape(n, n)
        matrix -= block if shift == 0 else block + block.T
    solution: FloatArray = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True) @ rhs
    return solution
