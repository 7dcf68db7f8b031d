"""Where a curve of shell values against 1/d^2 passes a threshold, with its standard error.

Formulas: docs/reference/statistics.md, "Resolution limits".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..typing import BoolArray, FloatArray, IndexArray

__all__ = ["Crossing", "LogisticCurve", "cc_half_curve", "correlation_variance", "curve_crossing", "decreasing"]

#: Fourth cumulant of the intensities of acentric reflections over the square of their variance (Wilson 1949).
_EXCESS = 6.0
#: What the logistic curve leaves unexplained of CC1/2.
_MISFIT = 0.02
#: Residuals beyond this many standard deviations count less (Huber 1964).
_HUBER = 2.0
#: The local fit takes shells within this factor of the threshold, and this many at least.
_WINDOW = 3.0
_LEAST_SHELLS = 5
_MAX_STEPS = 60
#: A limit whose standard error exceeds this part of it is none.
_LARGEST_ERROR = 0.1
_LEAST_PAIRS = 10


@dataclass(frozen=True)
class Crossing:
    """Where a curve passes its threshold.

    Attributes
    ----------
    state : str
        reached; data_end: the data end before; nowhere: beyond the threshold at all resolutions; undetermined.
    d_star_sq, sigma : float
        1/d^2 (A^-2) and its standard error; NaN unless the limit was reached.
    """

    state: str
    d_star_sq: float = math.nan
    sigma: float = math.nan

    @property
    def d(self) -> float:
        """The limit in Angstrom; NaN unless it was reached."""
        return self.d_star_sq**-0.5 if self.state == "reached" else math.nan

    @property
    def sigma_d(self) -> float:
        """Its standard error in Angstrom."""
        return 0.5 * self.d**3 * self.sigma


@dataclass(frozen=True)
class LogisticCurve:
    """1 / (1 + exp(offset + slope s^2)), which is (1 - tanh((s^2 - s0) / r)) / 2.

    Attributes
    ----------
    offset, slope : float
    covariance : (2, 2) float64
    """

    offset: float
    slope: float
    covariance: FloatArray

    @property
    def s0(self) -> float:
        """Where the curve is 1/2, A^-2."""
        return -self.offset / self.slope

    @property
    def r(self) -> float:
        """Its width, A^-2."""
        return 2.0 / self.slope

    def __call__(self, d_star_sq: FloatArray) -> FloatArray:
        return _logistic(self.offset + self.slope * d_star_sq)

    def crossing(self, threshold: float, edge: float) -> Crossing:
        """Where it falls to a threshold; `edge` is the 1/d^2 at which the data end."""
        if self.slope <= 0:
            return Crossing("data_end" if float(self(np.array([edge]))[0]) > threshold else "nowhere")
        place = (math.log(1.0 / threshold - 1.0) - self.offset) / self.slope
        gradient = np.array([-1.0, -place]) / self.slope
        return _placed(place, math.sqrt(gradient @ self.covariance @ gradient), edge)


def correlation_variance(correlation: FloatArray, n_pairs: FloatArray) -> FloatArray:
    """Variance of the correlation of two noisy measurements of Wilson-distributed intensities."""
    rho = correlation
    result: FloatArray = (1.0 - rho) ** 2 * ((1.0 + rho) ** 2 + _EXCESS * rho**2) / n_pairs
    return result


def cc_half_curve(d_star_sq: FloatArray, cc_half: FloatArray, n_pairs: IndexArray) -> LogisticCurve | None:
    """Fit CC1/2 of shells by a logistic curve in 1/d^2; None with fewer than four shells of ten pairs or more."""
    known = np.isfinite(cc_half) & (n_pairs >= _LEAST_PAIRS)
    if np.count_nonzero(known) < 4:
        return None
    x, y, n = d_star_sq[known], cc_half[known], n_pairs[known].astype(np.float64)
    centre, width = float(x.mean()), float(np.ptp(x))

    def curve(p: FloatArray) -> tuple[FloatArray, FloatArray]:
        u = (x - centre) / width
        f = _logistic(p[0] + p[1] * u)
        return f, -(f * (1.0 - f))[:, None] * np.stack([np.ones_like(u), u], axis=1)

    def variance(f: FloatArray) -> FloatArray:
        return correlation_variance(f, n) + _MISFIT**2

    middle = min(max(float(np.average(y, weights=n)), 0.05), 0.95)
    start = np.array([math.log(1.0 / middle - 1.0), 2.0])
    p, covariance = _robust_fit(y, curve, variance, start)
    to_x = np.array([[1.0, -centre / width], [0.0, 1.0 / width]])
    offset, slope = to_x @ p
    return LogisticCurve(float(offset), float(slope), to_x @ covariance @ to_x.T)


def curve_crossing(
    d_star_sq: FloatArray,
    values: FloatArray,
    variance: FloatArray,
    threshold: float,
    edge: float,
    *,
    rises: bool = False,
    link: str = "log",
) -> Crossing:
    """Where shell values that fall (or rise) with resolution pass a threshold.

    A monotone fit finds the place, a straight line through ln of the values (`link="identity"`: through the values)
    of the shells around it the limit.

    Parameters
    ----------
    d_star_sq, values, variance : (n,) float64
        Shells from low to high resolution; NaN where a value is not known.
    threshold : float
    edge : float
        1/d^2 at which the data end.
    """
    known = np.isfinite(values) & np.isfinite(variance) & (variance > 0)
    if np.count_nonzero(known) < _LEAST_SHELLS:
        return Crossing("undetermined")
    x, y, v = d_star_sq[known], values[known], variance[known]
    sign = -1.0 if rises else 1.0
    level = sign * decreasing(sign * y, 1.0 / v)
    beyond = sign * level < sign * threshold
    if not beyond.any():
        return Crossing("data_end")
    if beyond.all():
        return Crossing("nowhere")
    near = _window(level, beyond, threshold, link)
    centre, width = float(x[near].mean()), float(np.ptp(x[near]))
    u = (x[near] - centre) / width

    def curve(p: FloatArray) -> tuple[FloatArray, FloatArray]:
        eta = p[0] + p[1] * u
        f = eta if link == "identity" else np.exp(np.clip(eta, -30.0, 30.0))
        return f, (1.0 if link == "identity" else f[:, None]) * np.stack([np.ones_like(u), u], axis=1)

    target = threshold if link == "identity" else math.log(threshold)
    slope = -sign * (0.2 if link == "identity" else 1.0)
    p, covariance = _robust_fit(y[near], curve, lambda _: v[near], np.array([target, slope]))
    if -sign * p[1] <= 0:
        return Crossing("undetermined")
    place = (target - p[0]) / p[1]
    gradient = np.array([-1.0, -place]) / p[1]
    sigma = math.sqrt(gradient @ covariance @ gradient)
    return _placed(centre + width * place, width * sigma, edge)


def decreasing(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Weighted least-squares fit by a sequence that never rises, (n,): pool adjacent violators (Barlow et al. 1972)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        mean, total, n = value, weight, 1
        while blocks and blocks[-1][0] < mean:
            before, w, k = blocks.pop()
            mean, total, n = (before * w + mean * total) / (w + total), w + total, n + k
        blocks.append((mean, total, n))
    return np.repeat([b[0] for b in blocks], [b[2] for b in blocks])


def _placed(place: float, sigma: float, edge: float) -> Crossing:
    if place >= edge:
        return Crossing("data_end")
    if place <= 0:
        return Crossing("nowhere")
    if not sigma < 2.0 * _LARGEST_ERROR * place:
        return Crossing("undetermined")
    return Crossing("reached", place, sigma)


def _window(level: FloatArray, beyond: BoolArray, threshold: float, link: str) -> BoolArray:
    """Shells around the crossing that the straight line is fitted to."""
    if link == "identity":
        near = np.abs(level - threshold) < 0.3
    else:
        near = (level > threshold / _WINDOW) & (level < threshold * _WINDOW)
    first = int(np.argmax(beyond))
    start = min(max(0, first - _LEAST_SHELLS // 2 - 1), len(level) - _LEAST_SHELLS)
    near[start : start + _LEAST_SHELLS] = True
    return near


def _robust_fit(
    y: FloatArray,
    curve: Callable[[FloatArray], tuple[FloatArray, FloatArray]],
    variance: Callable[[FloatArray], FloatArray],
    start: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Parameters of a curve and their covariance, enlarged where the scatter exceeds the variances.

    Damped Gauss-Newton steps; variances belong to the curve, not to the values, which would bias it.
    """
    p, damping = start, 1e-3

    def weighed(p: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        f, jacobian = curve(p)
        v = variance(f)
        t = np.abs(y - f) / np.sqrt(v)
        factor = np.where(t <= _HUBER, 1.0, _HUBER / np.maximum(t, 1e-12))
        cost = float(np.sum(np.where(t <= _HUBER, 0.5 * t**2, _HUBER * (t - 0.5 * _HUBER)) + 0.5 * np.log(v)))
        return y - f, jacobian, factor / v, cost

    residual, jacobian, weight, cost = weighed(p)
    for _ in range(_MAX_STEPS):
        normal = jacobian.T @ (weight[:, None] * jacobian)
        scale = np.diag(np.maximum(np.diag(normal), 1e-12))
        step = np.linalg.solve(normal + damping * scale, jacobian.T @ (weight * residual))
        trial = weighed(p + step)
        if not trial[3] <= cost:
            damping *= 10.0
            if damping > 1e8:
                break
            continue
        p, damping = p + step, max(0.1 * damping, 1e-9)
        done = cost - trial[3] < 1e-9
        residual, jacobian, weight, cost = trial
        if done:
            break
    freedom = max(len(y) - len(p), 1)
    excess = max(1.0, float(np.sum(weight * residual**2)) / freedom)
    normal = jacobian.T @ (weight[:, None] * jacobian)
    return p, excess * np.linalg.pinv(normal, hermitian=True)


def _logistic(eta: FloatArray) -> FloatArray:
    result: FloatArray = 1.0 / (1.0 + np.exp(np.clip(eta, -500.0, 500.0)))
    return result
