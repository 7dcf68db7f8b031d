"""Minimisation of the robust cost in the parameters of one or many error models, and shrinkage among the many.

Each model has (ln a, d, c) with d = b^2 >= 0 and c >= 0. Steps are those of Fisher scoring with an information that
bounds the second derivatives from above, so that they hardly ever overshoot, whatever the number of models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np

from pyscale.typing import BoolArray, FloatArray

__all__ = ["Common", "Evaluate", "Minimum", "Shrunk", "Terms", "minimise", "shrink", "student_kappa"]

_MAX_STEPS = 60
_MAX_HALVINGS = 20
_MAX_SHRINKING_STEPS = 15
_MAX_PRIOR_STEPS = 100
# Spread among models, in posterior standard uncertainties, that is none.
_NO_SPREAD = 0.02
_LARGEST_STEP_LOG_A = 1.0
_COST_ROUNDING = 1e-11
# Share of a parameter's information that is left when the others are free; below it they cannot be told apart.
_SEPARABLE = 1e-8
_UPPER = np.triu_indices(3)


class Terms(NamedTuple):
    """Cost, and by model gradient (k, 3), information and variance of the gradient (k, 3, 3)."""

    cost: float
    gradient: FloatArray
    information: FloatArray
    score_variance: FloatArray

    @classmethod
    def none(cls, n_models: int) -> Terms:
        """Of a cost that has not been evaluated."""
        matrices = np.zeros((n_models, 3, 3))
        return cls(np.nan, np.zeros((n_models, 3)), matrices, matrices)

    @classmethod
    def from_core(cls, cost: float, gradient: FloatArray, information: FloatArray, score: FloatArray) -> Terms:
        """From flat arrays with the elements of symmetric matrices."""
        return cls(cost, gradient.reshape(-1, 3), _matrices(information), _matrices(score))


Evaluate: TypeAlias = Callable[[FloatArray], Terms]
"""From the parameters (k, 3) of all models."""


def _matrices(elements: FloatArray) -> FloatArray:
    full = np.zeros((elements.size // 6, 3, 3))
    full[:, _UPPER[0], _UPPER[1]] = full[:, _UPPER[1], _UPPER[0]] = elements.reshape(-1, 6)
    return full


@dataclass(frozen=True)
class Minimum:
    """Where the cost is least.

    Attributes
    ----------
    theta : (3,) float64
        ln a, d, c.
    covariance : (3, 3) float64
        Zero for parameters that were not refined; NaN for those that the data do not determine.
    cost : float
    converged : bool
    reason : str
        How it ended.
    terms : Terms
    """

    theta: FloatArray
    covariance: FloatArray
    cost: float
    converged: bool
    reason: str
    terms: Terms


def minimise(evaluate: Evaluate, theta: FloatArray, free: BoolArray, precision: float = 1e-5) -> Minimum:
    """Minimise the cost of one model.

    Parameters
    ----------
    evaluate : callable
    theta : (3,) float64
        Start.
    free : (3,) bool
        Which parameters to refine. d and c are kept when the data cannot tell them from the others.
    precision : float
        In standard uncertainties; the minimisation ends where the cost still to be gained is its square.
    """
    terms = evaluate(theta[None])
    told = free & (~free | _separable(terms.information[0], free))
    notes = [f"{'abc'[k]} kept: the data do not determine it" for k in np.flatnonzero(free & ~told)]
    converged, how = not told.any(), "nothing to refine"
    for _ in range(_MAX_STEPS if told.any() else 0):
        step = _limited(_bounded_steps(terms.information, -terms.gradient, theta[None], told))[0]
        if -float(step @ terms.gradient[0]) < precision**2:
            converged, how = True, "converged"
            break
        better = _line_search(evaluate, theta[None], terms.cost, step[None])
        if better is None:
            converged, how = False, "no step lowers the cost"
            break
        theta, terms = better[0][0], better[1]
    else:
        if told.any():
            how = f"stopped after {_MAX_STEPS} steps"
    notes += [f"{name} = 0: at its lower bound" for k, name in ((1, "b"), (2, "c")) if told[k] and theta[k] == 0]
    return Minimum(
        theta=theta,
        covariance=_covariance(terms, free, told),
        cost=terms.cost,
        converged=converged,
        reason="; ".join([how, *notes]),
        terms=terms,
    )


def _separable(information: FloatArray, free: BoolArray) -> BoolArray:
    """Whether each parameter has information of its own besides the other free ones; that of a is never doubted."""
    result = np.ones(3, np.bool_)
    for k in (1, 2):
        others = np.flatnonzero(free & (np.arange(3) != k) & (np.arange(3) <= k))
        own, cross = information[k, k], information[k, others]
        if others.size:
            own = own - cross @ np.linalg.pinv(information[np.ix_(others, others)]) @ cross
        result[k] = own > _SEPARABLE * information[k, k]
    return result


def _limited(steps: FloatArray) -> FloatArray:
    largest = np.abs(steps[:, 0]) / _LARGEST_STEP_LOG_A
    limited: FloatArray = steps / np.maximum(largest, 1.0)[:, None]
    return limited


def _bounded_steps(matrices: FloatArray, rhs: FloatArray, theta: FloatArray, free: BoolArray) -> FloatArray:
    """Steps x to the minimum of x M x / 2 - rhs x for each model, with d and c staying at 0 or above.

    Parameters
    ----------
    matrices : (k, 3, 3) float64
    rhs, theta : (k, 3) float64
    free : (3,) bool
    """
    best = np.zeros_like(theta)
    value = np.full(len(theta), np.inf)
    for at_bound in ((), (1,), (2,), (1, 2)):
        if any(not free[k] for k in at_bound):
            continue
        step = np.zeros_like(theta)
        step[:, at_bound] = -theta[:, at_bound]
        moving = [k for k in np.flatnonzero(free).tolist() if k not in at_bound]
        step[:, moving] = _solved(matrices, rhs - np.einsum("kij,kj->ki", matrices, step), moving)
        feasible = ((theta[:, 1:] + step[:, 1:]) >= 0).all(axis=1)
        found = 0.5 * np.einsum("ki,kij,kj->k", step, matrices, step) - np.einsum("ki,ki->k", rhs, step)
        better = feasible & (found < value)
        best[better], value[better] = step[better], found[better]
    return best


def _solved(matrices: FloatArray, rhs: FloatArray, chosen: list[int]) -> FloatArray:
    """Solutions for some parameters (k, n), where these are undetermined those of least norm."""
    part = matrices[:, chosen][:, :, chosen]
    scale = np.sqrt(np.maximum(np.einsum("kii->ki", part), np.finfo(float).tiny))
    scaled = part / (scale[:, :, None] * scale[:, None, :])
    inverse = np.linalg.pinv(scaled, rcond=1e-12, hermitian=True)
    solution: FloatArray = np.einsum("kij,kj->ki", inverse, rhs[:, chosen] / scale) / scale
    return solution


def _line_search(
    evaluate: Evaluate,
    theta: FloatArray,
    cost: float,
    step: FloatArray,
    penalty: Callable[[FloatArray], float] = lambda _: 0.0,
) -> tuple[FloatArray, Terms] | None:
    limit = cost + _COST_ROUNDING * max(1.0, abs(cost))
    for halving in range(_MAX_HALVINGS):
        trial = theta + step * 0.5**halving
        trial[:, 1:] = np.maximum(trial[:, 1:], 0.0)
        terms = evaluate(trial)
        if terms.cost + penalty(trial) <= limit:
            return trial, terms
    return None


def _covariance(terms: Terms, free: BoolArray, told: BoolArray) -> FloatArray:
    """H^-1 S H^-1 over the refined parameters, H the information and S the gradient's variance."""
    chosen = np.flatnonzero(told)
    covariance = np.zeros((3, 3))
    if chosen.size:
        identity = np.zeros((1, 3, chosen.size))
        identity[0, chosen, np.arange(chosen.size)] = 1.0
        columns = [_solved(terms.information, identity[:, :, k], chosen.tolist())[0] for k in range(chosen.size)]
        inverse = np.array(columns)
        score = terms.score_variance[0][np.ix_(chosen, chosen)]
        covariance[np.ix_(chosen, chosen)] = inverse @ score @ inverse.T
    lost = free & ~told
    covariance[lost, lost] = np.nan
    return covariance


def _rho(terms: Terms) -> float:
    """Variance of the gradient in units of the information: 2 for a likelihood, more for a robust cost."""
    information = float(terms.information[:, 0, 0].sum())
    return float(terms.score_variance[:, 0, 0].sum()) / information if information > 0 else 2.0


@dataclass(frozen=True)
class Common:
    """What many models have in common: each parameter is normally distributed among them.

    Attributes
    ----------
    mean, spread : (3,) float64
        Mean and standard deviation; spread 0: the same for all.
    """

    mean: FloatArray
    spread: FloatArray


@dataclass(frozen=True)
class Shrunk:
    """Many models.

    Attributes
    ----------
    theta : (k, 3) float64
    covariance : (k, 3, 3) float64
        Given mean and spread.
    common : Common
    terms : Terms
        At these parameters.
    """

    theta: FloatArray
    covariance: FloatArray
    common: Common
    terms: Terms


def shrink(
    evaluate: Evaluate,
    start: Minimum,
    n_models: int,
    free: BoolArray,
    before: Shrunk | None = None,
    tolerance: float = 0.05,
) -> Shrunk:
    """Parameters of many models, shrunk towards a common mean as far as the data tell (empirical Bayes).

    Mean and spread of each parameter among the models are those of greatest evidence, by the iteration of MacKay
    (1992); spread and parameters follow each other until both settle.

    Parameters
    ----------
    evaluate : callable
        Of the parameters of all models.
    start : Minimum
        That of one model for all.
    n_models : int
    free : (3,) bool
        Parameters in which the models may differ.
    before : Shrunk, optional
        Where an earlier call has ended.
    tolerance : float
        Last step in standard uncertainties, and relative change of the spreads, at which all has settled.
    """
    factor = _rho(start.terms)
    if before is None:
        theta = np.repeat(start.theta[None], n_models, axis=0)
        common = Common(start.theta, np.where(free, [0.2, max(start.theta[1], 1e-4), start.theta[2]], 0.0))
    else:
        theta, common = before.theta, before.common
    terms = evaluate(theta)
    for _ in range(_MAX_SHRINKING_STEPS):
        precision = terms.information / factor
        common, target, covariance = _prior(theta, -terms.gradient / factor, precision, common, free, tolerance)
        step = _limited(target - theta)
        gain = np.einsum("ki,kij,kj->k", step, precision, step)
        if float(np.sqrt(gain.max(initial=0.0))) < tolerance:
            break
        penalty = _penalty(common, factor)
        better = _line_search(evaluate, theta, terms.cost + penalty(theta), step, penalty)
        if better is None:
            break
        theta, terms = better
    return Shrunk(theta, covariance, common, terms)


def _penalty(common: Common, factor: float) -> Callable[[FloatArray], float]:
    varying = common.spread > 0
    spread = np.where(varying, common.spread, 1.0)

    def penalty(theta: FloatArray) -> float:
        deviation = np.where(varying, (theta - common.mean) / spread, 0.0)
        return 0.5 * factor * float(np.sum(deviation**2))

    return penalty


def _prior(
    theta: FloatArray, gradient: FloatArray, precision: FloatArray, common: Common, free: BoolArray, tolerance: float
) -> tuple[Common, FloatArray, FloatArray]:
    """Most probable distribution of the parameters by the quadratic model of the cost, and the parameters with it.

    Parameters that do not vary are moved together.
    """
    mean, spread = common.mean.copy(), common.spread.copy()
    n, varying = len(theta), free & (common.spread > 0)
    for _ in range(_MAX_PRIOR_STEPS):
        target, posterior = _posterior(theta, gradient, precision, mean, spread, varying)
        variance = np.einsum("kii->ki", posterior)
        safe = np.where(varying, spread, 1.0)
        determined = np.clip(n - (variance / safe**2).sum(axis=0), 1e-3, max(n - 1, 1))
        new_mean = np.where(varying, target.mean(axis=0), mean)
        new_spread = np.where(varying, np.sqrt(((target - new_mean) ** 2).sum(axis=0) / determined), 0.0)
        moved = varying & (np.abs(new_spread - spread) > tolerance * spread)
        moved |= varying & (np.abs(new_mean - mean) > tolerance * np.sqrt(variance.mean(axis=0) / n))
        mean = new_mean
        varying = varying & (new_spread > _NO_SPREAD * np.sqrt(np.median(variance, axis=0)))
        spread = np.where(varying, new_spread, 0.0)
        if not moved.any():
            break
    inverse = np.diag(np.where(varying, 1.0 / np.where(varying, spread, 1.0) ** 2, 0.0))
    step = _bounded_steps(precision + inverse, gradient + (mean - theta) @ inverse, theta, varying)
    target = np.where(varying, theta + step, mean)
    return replace(common, mean=mean, spread=spread), target, posterior


def _posterior(
    theta: FloatArray,
    gradient: FloatArray,
    precision: FloatArray,
    mean: FloatArray,
    spread: FloatArray,
    varying: BoolArray,
) -> tuple[FloatArray, FloatArray]:
    """Most probable parameters (k, 3), bounds aside, and their covariance (k, 3, 3), 0 for what does not vary."""
    chosen = np.flatnonzero(varying)
    target = np.where(varying, theta, mean)
    covariance = np.zeros_like(precision)
    if chosen.size:
        inverse = 1.0 / spread[chosen] ** 2
        inside = np.linalg.inv(precision[:, chosen][:, :, chosen] + np.diag(inverse))
        rhs = gradient[:, chosen] + (mean[chosen] - theta[:, chosen]) * inverse
        target[:, chosen] += np.einsum("kij,kj->ki", inside, rhs)
        covariance[np.ix_(np.arange(len(theta)), chosen, chosen)] = inside
    return target, covariance


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
