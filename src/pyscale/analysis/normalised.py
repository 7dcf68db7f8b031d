"""Merged intensities relative to what their resolution and direction lead to expect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import _core
from ..errors import DataError
from ..french_wilson import wilson_prior
from ..merging import SortedObservations
from ..symmetry import (
    SpaceGroupLike,
    UnitCellLike,
    epsilon_and_centric,
    inverse_d_squared,
    rotation_matrices,
    systematic_absences,
    unit_cell_from,
)
from ..typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["NormalisedIntensities", "equal_shells", "normalise"]

_FEWEST = 60
_STEPS = 4
_MOST_NOISE = 3.0
_LARGEST_STEP = 1.0
#: Means over so many reflections that none of them matters to its own: their variance is looked at.
_BREADTH = 3
_PER_SHELL = 300
_MOST_SHELLS = 30


@dataclass(frozen=True)
class NormalisedIntensities:
    """z = I / (epsilon <I>), of mean 1 without noise; <I> depends on resolution, and on direction (anisotropy).

    Attributes
    ----------
    miller_index : (m, 3) int32
        Unique reflections, in lexicographical order.
    is_centric : (m,) bool
    epsilon, d_star_sq : (m,) float64
        Expected-intensity factor; 1/d^2 in A^-2.
    expected : (m,) float64
        epsilon <I>; positive.
    z, sigma : (m,) float64
        Normalised intensity and its standard error.
    noise : (m,) float64
        Mean of sigma^2 at about this resolution, the variance that noise adds to that of z.
    anisotropy : float
        Largest difference of the B factor between directions, A^2; 0 where symmetry or few data allow none.
    """

    miller_index: IntArray
    is_centric: BoolArray
    epsilon: FloatArray
    d_star_sq: FloatArray
    expected: FloatArray
    z: FloatArray
    sigma: FloatArray
    noise: FloatArray
    anisotropy: float

    def __len__(self) -> int:
        return len(self.z)


def normalise(
    obs: SortedObservations, unit_cell: UnitCellLike, space_group: SpaceGroupLike, n_threads: int = 1
) -> NormalisedIntensities:
    """Merge observations, Friedel mates together, and divide by the smooth mean; absent reflections are left out.

    The mean is that of `wilson_prior`, times exp(h^T b h), b symmetrical and invariant under the point group, fitted to
    all intensities by scoring for the variance of Wilson's distributions.

    Raises
    ------
    DataError
        If only systematic absences are there.
    """
    _, intensity, sigma = _core.merge(obs.intensity, obs.variance, obs.offsets, False, n_threads)
    present = ~systematic_absences(space_group, obs.asu_index)
    if not present.any():
        raise DataError("only systematic absences are left to merge; check the space group")
    index, centric = np.ascontiguousarray(obs.asu_index[present]), obs.is_centric[present]
    intensity, sigma = intensity[present], sigma[present]
    factor, _ = epsilon_and_centric(space_group, index)
    epsilon, d_star_sq = factor.astype(np.float64), inverse_d_squared(unit_cell, index)
    expected = wilson_prior(intensity, sigma, epsilon, centric, d_star_sq, _BREADTH)
    shell = equal_shells(d_star_sq)
    count = np.bincount(shell)
    anisotropy = 0.0
    tensor = _anisotropic_part(index, intensity / expected, sigma / expected, centric, space_group)
    if tensor is not None:
        shape = expected * np.exp(_quadratic(index) @ tensor)
        level = np.bincount(shell, intensity / shape) / count
        noise = np.sqrt(np.bincount(shell, (sigma / shape) ** 2)) / count
        # Where there is nothing but noise the mean stays what it was.
        level = np.where(level > 3 * noise, level, np.bincount(shell, expected / shape) / count)
        expected = shape * level[shell]
        anisotropy = _spread_of_b(tensor, unit_cell)
    error = sigma / expected
    noise = np.bincount(shell, error**2) / count
    return NormalisedIntensities(
        index, centric, epsilon, d_star_sq, expected, intensity / expected, error, noise[shell], anisotropy
    )


def equal_shells(d_star_sq: FloatArray, n: int | None = None) -> IndexArray:
    """Number of the shell of each reflection (m,) int64, all shells about equally full; at most `n` of them."""
    n = min(n or _MOST_SHELLS, max(1, len(d_star_sq) // _PER_SHELL))
    edges = np.quantile(d_star_sq, np.linspace(0, 1, n + 1)[1:-1])
    shell: IndexArray = np.searchsorted(edges, d_star_sq, side="right")
    _, shell = np.unique(shell, return_inverse=True)
    return np.asarray(shell, np.int64)


def _quadratic(index: IntArray | FloatArray) -> FloatArray:
    h, k, m = np.asarray(index, np.float64).T
    return np.stack([h * h, k * k, m * m, 2 * h * k, 2 * h * m, 2 * k * m], axis=1)


def _invariant_forms(space_group: SpaceGroupLike) -> FloatArray:
    """Quadratic forms that the point group leaves as they are, (6, n) float64, orthonormal columns."""
    sample = np.array([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)])
    rotations = rotation_matrices(space_group)
    images = np.mean([_quadratic(sample @ r) for r in rotations], axis=0)
    projector = np.linalg.solve(_quadratic(sample), images)
    left, size, _ = np.linalg.svd(projector)
    result: FloatArray = left[:, size > 1e-6 * size[0]]
    return result


def _anisotropic_part(
    index: IntArray, ratio: FloatArray, error: FloatArray, centric: BoolArray, space_group: SpaceGroupLike
) -> FloatArray | None:
    """Coefficients of the quadratic form in ln <I>, (6,) float64; None where symmetry leaves only the isotropic one."""
    forms = _invariant_forms(space_group)
    if forms.shape[1] < 2:
        return None
    design = _quadratic(index) @ forms
    scale = np.sqrt((design**2).mean(axis=0))
    design = np.column_stack([np.ones(len(design)), design / np.where(scale > 0, scale, 1)])
    spread = np.where(centric, 2.0, 1.0)
    usable = error < _MOST_NOISE
    design, ratio, error, spread = design[usable], ratio[usable], error[usable], spread[usable]
    if len(ratio) < _FEWEST:
        return None
    coefficients = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        model = np.exp(np.clip(design @ coefficients, -5, 5))
        weight = 1 / np.sqrt(spread * model**2 + error**2)
        step, *_ = np.linalg.lstsq(design * (model * weight)[:, None], (ratio - model) * weight, rcond=1e-8)
        coefficients += step * min(1.0, _LARGEST_STEP / max(1e-12, float(np.abs(design @ step).max())))
    result: FloatArray = forms @ (coefficients[1:] / np.where(scale > 0, scale, 1))
    return result


def _spread_of_b(tensor: FloatArray, unit_cell: UnitCellLike) -> float:
    """Difference of the extreme B factors of <I> = exp(h^T t h), A^2: ln <I> = -B / (2 d^2)."""
    a, b, c, d, e, f = tensor
    form = np.array([[a, d, e], [d, b, f], [e, f, c]])
    orthogonal = np.array(unit_cell_from(unit_cell).orth.mat.tolist())
    values = np.linalg.eigvalsh(orthogonal @ form @ orthogonal.T)
    return float(2 * np.ptp(values))
