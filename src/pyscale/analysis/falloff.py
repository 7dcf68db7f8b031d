"""How intensities, and intensities over sigma, fall off with direction: quasi-likelihood fits of tensors.

Formulas: docs/reference/statistics.md, "Anisotropy".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..typing import BoolArray, FloatArray, IndexArray
from .tensors import quadratic_terms

__all__ = ["DiffractionSurface", "TensorFit", "fit_anisotropic_b", "fit_surface"]

_MAX_STEPS = 30
_MAX_WINDOWS = 12
#: The surface is fitted to reflections whose expected I/sigma is within this factor of its value there.
_WINDOW = 3.0
_PER_PARAMETER = 25
#: Most shells of the radial fall-off, and reflections that each must have.
_MOST_SHELLS, _PER_SHELL = 30, 25
#: Shells whose mean intensity is below so many of its standard errors tell nothing of B.
_LEAST_SIGNAL = 5.0
#: Square of the factor on errors of scales, as if all were of one sign: true scales need not have the model's shape.
_COHERENT = 4.0


@dataclass(frozen=True)
class TensorFit:
    """Coefficients of the allowed tensors.

    Attributes
    ----------
    coefficients : (k,) float64
        Of the tensors of the basis, A^2.
    covariance : (k, k) float64
    n : int
        Reflections that were used.
    """

    coefficients: FloatArray
    covariance: FloatArray
    n: int


@dataclass(frozen=True)
class DiffractionSurface:
    """s^T T s = 1: where the local mean I/sigma falls to a threshold.

    Attributes
    ----------
    fit : TensorFit
        T over the basis, A^2; its eigenvalues are the squares of the limits in A.
    basis : (k, 3, 3) float64
    """

    fit: TensorFit
    basis: FloatArray

    @property
    def tensor(self) -> FloatArray:
        """T, (3, 3)."""
        return np.asarray(np.tensordot(self.fit.coefficients, self.basis, axes=1))

    def inside(self, vectors: FloatArray) -> BoolArray:
        """Whether reciprocal vectors (n, 3) are inside."""
        inside: BoolArray = quadratic_terms(vectors, self.basis) @ self.fit.coefficients <= 1.0
        return inside

    def along(self, directions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Square of the limit along unit vectors (n, 3), A^2, and its standard error; not positive: no limit."""
        terms = quadratic_terms(directions, self.basis)
        variance = np.einsum("ij,jk,ik->i", terms, self.fit.covariance, terms)
        return terms @ self.fit.coefficients, np.sqrt(np.maximum(variance, 0.0))


def fit_anisotropic_b(
    intensity: FloatArray,
    sigma: FloatArray,
    dispersion: FloatArray,
    vectors: FloatArray,
    basis: FloatArray,
    scale_error: FloatArray | None = None,
) -> TensorFit | None:
    """Fit <I> = f(|s|) exp(-s^T B s / 2), with f constant in narrow shells, and return the part of B without trace.

    Shells without a significant mean intensity are left out.

    Parameters
    ----------
    intensity, sigma : (n,) float64
        Merged, over epsilon.
    dispersion : (n,) float64
        Variance of I over the square of its mean by Wilson statistics: 1 for acentric, 2 for centric reflections.
    vectors : (n, 3) float64
        Reciprocal vectors, 1/A.
    basis : (k, 3, 3) float64
        `tensor_basis`; the first element is the isotropic one.
    scale_error : (n,) float64, optional
        Relative errors of scales, which are common to many reflections.

    Returns
    -------
    TensorFit or None
        Of the k - 1 tensors without trace; None where symmetry leaves none or reflections are too few.
    """
    n, k = len(intensity), len(basis)
    n_shells = min(_MOST_SHELLS, n // _PER_SHELL)
    if k < 2 or n_shells < 3 or n < _PER_PARAMETER * k:
        return None
    d_star_sq = np.einsum("ij,ij->i", vectors, vectors)
    edges = np.quantile(d_star_sq, np.linspace(0.0, 1.0, n_shells + 1)[1:-1])
    shell = np.searchsorted(edges, d_star_sq, side="right")
    terms = -0.5 * quadratic_terms(vectors, basis)
    total = np.bincount(shell, intensity, n_shells)
    strong = total > _LEAST_SIGNAL * np.sqrt(np.bincount(shell, sigma**2, n_shells))
    keep = strong[shell]
    if np.count_nonzero(keep) < max(_PER_PARAMETER * k, 3 * _PER_SHELL):
        return None
    level = np.log((total / np.bincount(shell, minlength=n_shells))[strong])
    shell = (np.cumsum(strong) - 1)[shell[keep]]
    common = np.zeros(len(shell)) if scale_error is None else scale_error[keep]
    return _fit_within_shells(intensity[keep], sigma[keep], dispersion[keep], terms[keep], shell, level, common)


def _fit_within_shells(
    intensity: FloatArray,
    sigma: FloatArray,
    dispersion: FloatArray,
    terms: FloatArray,
    shell: IndexArray,
    level: FloatArray,
    scale_error: FloatArray,
) -> TensorFit:
    """Fisher scoring with a constant of each shell; those are eliminated."""
    n_shells, p = len(level), np.zeros(terms.shape[1])
    for _ in range(_MAX_STEPS):
        mean = np.exp(np.clip(level[shell] + terms @ p, -300.0, 300.0))
        weight = mean**2 / (dispersion * mean**2 + sigma**2)
        residual = intensity / mean - 1.0
        of_shells = _ShellMeans(shell, weight, n_shells)
        means = np.stack([of_shells(column) for column in terms.T], axis=1)
        centred = terms - means[shell]
        weighted = weight[:, None] * centred
        normal, gradient = centred.T @ weighted, weighted.T @ residual
        step = np.linalg.solve(normal + 1e-12 * np.trace(normal) * np.eye(len(p)), gradient)
        step *= min(1.0, 1.0 / max(float(np.abs(terms @ step).max()), 1e-12))
        p = p + step
        level = level + np.clip(of_shells(residual) - means @ step, -1.0, 1.0)
        if np.sqrt(step @ normal @ step) < 1e-3:
            break
    # Scores of reflections, not an assumed variance, tell the error: Wilson's statistics need not hold.
    scores, common = weighted * residual[:, None], weighted * scale_error[:, None]
    spread = scores.T @ scores + _COHERENT * len(intensity) * (common.T @ common)
    inverse = np.linalg.pinv(normal, hermitian=True)
    covariance = inverse @ spread @ inverse
    return TensorFit(p[1:], covariance[1:, 1:], len(intensity))


class _ShellMeans:
    """Weighted means over shells, none of which is empty."""

    def __init__(self, shell: IndexArray, weight: FloatArray, n_shells: int) -> None:
        self._shell, self._weight, self._n = shell, weight, n_shells
        self._total = np.maximum(np.bincount(shell, weight, n_shells), 1e-300)

    def __call__(self, values: FloatArray) -> FloatArray:
        means: FloatArray = np.bincount(self._shell, self._weight * values, self._n) / self._total
        return means


def fit_surface(
    i_over_sigma: FloatArray, vectors: FloatArray, basis: FloatArray, threshold: float
) -> DiffractionSurface | None:
    """Find where the local mean I/sigma falls to a threshold: <I/sigma> = threshold exp((1 - s^T T s) q / 2).

    Fitted by quasi-likelihood to measured reflections whose expected value is within a factor of three of the
    threshold; which these are follows from the fit before, and first from resolution alone. Directions without
    measured reflections have no part in it.

    Parameters
    ----------
    i_over_sigma : (n,) float64
        Of merged reflections.
    vectors : (n, 3) float64
    basis : (k, 3, 3) float64
    threshold : float

    Returns
    -------
    DiffractionSurface or None
        None where the data are stronger, or weaker, at all resolutions, or too few.
    """
    d_star_sq = np.einsum("ij,ij->i", vectors, vectors)
    expected = _radial_mean(i_over_sigma, d_star_sq)
    terms = -0.5 * quadratic_terms(vectors, basis)
    design = np.concatenate([np.ones((len(terms), 1)), terms], axis=1)
    p = np.array([math.log(threshold), *np.zeros(len(basis))])
    near = np.zeros(len(terms), np.bool_)
    for _ in range(_MAX_WINDOWS):
        before = near
        near = (expected > threshold / _WINDOW) & (expected < threshold * _WINDOW)
        if np.count_nonzero(near) < _PER_PARAMETER * design.shape[1] or np.array_equal(near, before):
            break
        found = _fit_exponential(i_over_sigma[near], design[near], p)
        if found is None:
            return None
        p, covariance = found
        expected = np.exp(np.clip(design @ p, -30.0, 30.0))
    if np.count_nonzero(near) < _PER_PARAMETER * design.shape[1] or not p[1:].any():
        return None
    height = 2.0 * (p[0] - math.log(threshold))
    if height <= 0 or p[1] <= 0:
        return None
    coefficients = p[1:] / height
    jacobian = np.concatenate([-2.0 * coefficients[:, None], np.eye(len(basis))], axis=1) / height
    return DiffractionSurface(
        TensorFit(coefficients, jacobian @ covariance @ jacobian.T, int(np.count_nonzero(near))), basis
    )


def _radial_mean(values: FloatArray, d_star_sq: FloatArray) -> FloatArray:
    """Mean of the shell of each reflection, at least a little above zero."""
    n = max(5, min(_MOST_SHELLS, len(values) // 50))
    edges = np.quantile(d_star_sq, np.linspace(0.0, 1.0, n + 1)[1:-1])
    shell = np.searchsorted(edges, d_star_sq, side="right")
    count = np.maximum(np.bincount(shell, minlength=n), 1)
    mean: FloatArray = np.maximum(np.bincount(shell, values, n) / count, 1e-3)[shell]
    return mean


def _fit_exponential(values: FloatArray, design: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """Fisher scoring of E[y] = exp(design p) with variance 1 + E[y]^2: parameters, and covariance from the scores."""
    for _ in range(_MAX_STEPS):
        mean = np.exp(np.clip(design @ p, -30.0, 30.0))
        weight = mean**2 / (1.0 + mean**2)
        weighted = weight[:, None] * design
        residual = values / mean - 1.0
        normal = design.T @ weighted
        try:
            step = np.linalg.solve(normal, weighted.T @ residual)
        except np.linalg.LinAlgError:
            return None
        step *= min(1.0, 1.0 / max(float(np.abs(design @ step).max()), 1e-12))
        p = p + step
        if np.sqrt(max(float(step @ normal @ step), 0.0)) < 1e-3:
            break
    scores = weighted * residual[:, None]
    inverse = np.linalg.pinv(normal, hermitian=True)
    return p, inverse @ (scores.T @ scores) @ inverse
