"""A robust starting scale for each data set, and which data sets are connected at all."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from . import _core
from .observations import JobObservations
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["connected_components", "starting_scales"]

_STRONG = 2.0
_ROUNDS = 4
# Of ln K, in units of its uncertainty if all pairs weighed as they do; chains need as many steps as they have links.
_TOLERANCE, _MOST_STEPS = 1e-8, 2000


def _pairs(data_set: IntArray, offsets: IndexArray, use: BoolArray) -> tuple[IndexArray, IntArray]:
    """Group and data set of each combination of the two that occurs among some observations, in the groups' order."""
    group = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))[use]
    chosen = data_set[use]
    new = np.ones(group.size, np.bool_)
    new[1:] = (group[1:] != group[:-1]) | (chosen[1:] != chosen[:-1])
    return group[new], chosen[new]


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
    observations: JobObservations,
    use: BoolArray,
    n_data_sets: int,
    inverse_scale_factor: FloatArray | None = None,
    n_threads: int = 1,
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
    pairs = _log_means(observations, use, n_data_sets)
    label = _components(pairs, n_data_sets)
    scale = np.zeros(n_data_sets)
    robust = pairs.weight
    for _ in range(_ROUNDS):
        scale = _solve(pairs, robust, scale, label, n_threads)
        residual = _core.pair_residuals(pairs.offsets, pairs.data_set, pairs.value, robust, scale, n_threads)
        spread = 1.4826 * np.median(np.abs(residual)) if residual.size else 0.0
        robust = pairs.weight / (1.0 + (residual / (2.0 * spread + 1e-6)) ** 2)
    result: FloatArray = np.exp(scale)
    return result


class _Pairs(NamedTuple):
    """Logarithms of mean intensities of (group, data set) pairs, sorted by group; offsets (n_groups + 1,)."""

    offsets: IndexArray
    data_set: IntArray
    value: FloatArray
    weight: FloatArray


def _log_means(observations: JobObservations, use: BoolArray, n_data_sets: int) -> _Pairs:
    """Logarithm of the mean intensity per group and data set where it is significant, with its weight."""
    key = observations.group[use] * n_data_sets + observations.data_set[use]
    # Observations of a group are sorted by data set, I(+) and I(-) apart: two runs, which a stable sort merges.
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.concatenate([np.ones(min(key.size, 1), np.bool_), key[1:] != key[:-1]]))
    count = np.diff(np.append(starts, key.size))

    def sums(values: FloatArray) -> FloatArray:
        total: FloatArray = np.add.reduceat(values[use][order], starts) if starts.size else np.zeros(0)
        return total

    mean = sums(observations.intensity) / count
    sigma = np.sqrt(sums(observations.variance)) / count
    strong = mean > _STRONG * sigma
    group, data_set = np.divmod(key[starts][strong], n_data_sets)
    weight = 1.0 / ((sigma[strong] / mean[strong]) ** 2 + 0.1**2)
    offsets = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])) if group.size else np.zeros(0, np.int64)
    return _Pairs(np.append(offsets, group.size), data_set.astype(np.int32), np.log(mean[strong]), weight)


def _components(pairs: _Pairs, n_data_sets: int) -> IntArray:
    every = np.ones(pairs.data_set.size, np.bool_)
    return connected_components(pairs.data_set, pairs.offsets, every, n_data_sets)


def _solve(pairs: _Pairs, weight: FloatArray, start: FloatArray, label: IntArray, n_threads: int) -> FloatArray:
    """Least squares for ln K with the ln I_h eliminated: a weighted graph Laplacian, by conjugate gradients.

    It is singular for a common factor of each connected component, whose mean of ln K is set to zero.
    """
    nothing = np.zeros(0)

    def negative_product(x: FloatArray) -> FloatArray:
        return _core.pair_residual_sums(pairs.offsets, pairs.data_set, nothing, weight, x, n_threads)

    diagonal = np.bincount(pairs.data_set, weight, start.size)
    inverse = 1.0 / np.where(diagonal > 0, diagonal, 1.0)
    x = start.copy()
    residual = _core.pair_residual_sums(pairs.offsets, pairs.data_set, pairs.value, weight, x, n_threads)
    direction = inverse * residual
    norm = float(residual @ direction)
    enough = _TOLERANCE**2 * float(diagonal.sum())
    for _ in range(_MOST_STEPS):
        if norm <= enough:
            break
        product = -negative_product(direction)
        curvature = float(direction @ product)
        if curvature <= 0:
            break
        x += norm / curvature * direction
        residual -= norm / curvature * product
        preconditioned = inverse * residual
        new = float(residual @ preconditioned)
        direction = preconditioned + new / norm * direction
        norm = new
    means = np.bincount(label, x) / np.bincount(label)
    centred: FloatArray = x - means[label]
    return centred
