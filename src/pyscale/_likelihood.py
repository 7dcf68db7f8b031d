"""Minimisation of the error model's costs in two parameters, ln a >= -inf and b^2 >= 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

from pyscale.typing import BoolArray, FloatArray

__all__ = ["Minimum", "Terms", "minimise", "student_kappa"]

Terms: TypeAlias = tuple[float, list[float], list[float], list[float]]
Evaluate: TypeAlias = Callable[[float, float], Terms]

_MAX_STEPS = 60
_MAX_HALVINGS = 40
_LARGEST_STEP_LOG_A = 1.0
_COST_ROUNDING = 1e-11
# Share of b's information that is left when a is free; below it the two cannot be told apart.
_SEPARABLE = 1e-8


@dataclass(frozen=True)
class Minimum:
    """Where the cost is least; variances are 0 for fixed parameters and NaN for undetermined ones."""

    log_a: float
    b_squared: float
    cost: float
    variance_log_a: float
    variance_b_squared: float
    converged: bool
    reason: str


def minimise(
    evaluate: Evaluate, log_a: float, b_squared: float, free_a: bool, free_b: bool, precision: float = 1e-5
) -> Minimum:
    """Fisher scoring with step halving and a bound at b = 0.

    Parameters
    ----------
    evaluate : callable
        (ln a, b^2) to (cost, gradient, information, score variance), the matrices as (aa, ab, bb).
    log_a, b_squared : float
        Start.
    free_a, free_b : bool
        Which to refine. b is kept when the data cannot tell it from a.
    precision : float
        In standard uncertainties; the minimisation ends where the cost still to be gained is its square.
    """
    theta = np.array([log_a, b_squared])
    terms = evaluate(*theta)
    notes = []
    if free_b and not _separable(terms, free_a):
        free_b = False
        notes.append("b kept: the data do not determine it")
    free = np.array([free_a, free_b])
    converged, how = not free.any(), "nothing to refine"
    for _ in range(_MAX_STEPS if free.any() else 0):
        step = _scoring_step(theta, terms, free)
        decrement = -float(np.dot(step, terms[1]))
        if decrement < precision**2:
            converged, how = True, "converged"
            break
        better = _line_search(evaluate, theta, terms, step)
        if better is None:
            converged, how = False, "no step lowers the cost"
            break
        theta, terms = better
    else:
        if free.any():
            how = f"stopped after {_MAX_STEPS} steps"
    if free_b and theta[1] == 0:
        notes.append("b = 0: at its lower bound")
    variance = _variances(terms, free)
    if notes and not free_b:
        variance[1] = np.nan
    return Minimum(
        log_a=float(theta[0]),
        b_squared=float(theta[1]),
        cost=terms[0],
        variance_log_a=float(variance[0]),
        variance_b_squared=float(variance[1]),
        converged=converged,
        reason="; ".join([how, *notes]),
    )


def _matrix(elements: list[float]) -> FloatArray:
    aa, ab, bb = elements
    return np.array([[aa, ab], [ab, bb]])


def _separable(terms: Terms, free_a: bool) -> bool:
    aa, ab, bb = terms[2]
    own = bb - ab**2 / aa if free_a and aa > 0 else bb
    return own > _SEPARABLE * bb


def _scoring_step(theta: FloatArray, terms: Terms, free: BoolArray) -> FloatArray:
    gradient, information = np.array(terms[1]), _matrix(terms[2])
    active = free.copy()
    if theta[1] == 0 and gradient[1] >= 0:
        active[1] = False
    step = _solve(information, -gradient, active)
    if theta[1] + step[1] < 0:
        to_bound = np.array([0.0, -theta[1]])
        only_a = np.array([active[0], False])
        step = to_bound + _solve(information, -gradient - information @ to_bound, only_a)
    largest = abs(step[0]) / _LARGEST_STEP_LOG_A
    return step / largest if largest > 1 else step


def _solve(matrix: FloatArray, rhs: FloatArray, active: BoolArray) -> FloatArray:
    solution = np.zeros(2)
    k = np.flatnonzero(active)
    scale = np.sqrt(np.maximum(np.diag(matrix)[k], np.finfo(float).tiny))
    scaled = matrix[np.ix_(k, k)] / np.outer(scale, scale)
    solution[k] = np.linalg.lstsq(scaled, rhs[k] / scale, rcond=1e-12)[0] / scale
    return solution


def _line_search(
    evaluate: Evaluate, theta: FloatArray, terms: Terms, step: FloatArray
) -> tuple[FloatArray, Terms] | None:
    limit = terms[0] + _COST_ROUNDING * max(1.0, abs(terms[0]))
    for halving in range(_MAX_HALVINGS):
        trial = theta + step * 0.5**halving
        trial[1] = max(trial[1], 0.0)
        trial_terms = evaluate(*trial)
        if trial_terms[0] <= limit:
            return trial, trial_terms
    return None


def _variances(terms: Terms, free: BoolArray) -> FloatArray:
    """Diagonal of H^-1 K H^-1 over the free parameters, H the information and K the gradient's variance."""
    information, score = _matrix(terms[2]), _matrix(terms[3])
    columns = np.array([_solve(information, row, free) for row in np.eye(2)])
    columns[:, ~free] = 0.0
    columns[~free, :] = 0.0
    covariance: FloatArray = columns @ score @ columns.T
    return np.array(np.diag(covariance))


@cache
def student_kappa(nu: float) -> float:
    """Factor of r^2's scale in a Student t cost that makes it consistent for Gaussian residuals.

    Root of E[(nu + 1) q / (1 + q)] = 1 with q = z^2 / (nu kappa) and z standard normal.
    """
    z = np.linspace(-12.0, 12.0, 2401)
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    low, high = 1e-3, 10.0
    for _ in range(60):
        kappa = 0.5 * (low + high)
        q = z**2 / (nu * kappa)
        if np.sum(density * (nu + 1) * q / (1 + q)) > 1:
            low = kappa
        else:
            high = kappa
    return kappa
