"""The minimisation of the error model's robust cost, as the C++ job does it, from the calls of the core."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyscale import _core
from pyscale.typing import FloatArray

NO_MODEL = np.zeros(0, np.int32)
_KAPPA = 0.6905668066708721


def minimum(repeated: Any, theta: tuple[float, float], *, both: bool) -> tuple[tuple[float, float], FloatArray]:
    """Minimum of the robust cost in ln a and d, and the information there."""
    residual, share = _core.group_residuals(*repeated, np.array([*theta, 0.0]), NO_MODEL)

    def evaluate(t: tuple[float, float]) -> Any:
        args = (*repeated, residual, share, np.array([*t, 0.0]), NO_MODEL)
        return _core.student_cost(*args, 4.0, _KAPPA)

    cost, gradient, information, _ = evaluate(theta)
    for _ in range(60):
        step = _scoring_step(gradient.tolist(), information.tolist(), theta, both)
        if -(step[0] * gradient[0] + step[1] * gradient[1]) < 0.01 * 0.01:
            break
        limit = cost + 1e-11 * max(1.0, abs(cost))
        for halving in range(20):
            factor = 0.5**halving
            trial = theta[0] + factor * step[0], max(theta[1] + factor * step[1], 0.0)
            found = evaluate(trial)
            if found[0] <= limit:
                theta, (cost, gradient, information, _) = trial, found
                break
        else:
            break
    return theta, information


def _scoring_step(
    gradient: list[float], information: list[float], theta: tuple[float, float], both: bool
) -> tuple[float, float]:
    (ga, gd), (i_aa, i_ad, i_dd) = gradient[:2], (information[0], information[1], information[3])
    determinant = i_aa * i_dd - i_ad * i_ad
    step = -ga / i_aa, 0.0
    if both and determinant > 1e-8 * i_aa * i_dd:
        step = (i_ad * gd - i_dd * ga) / determinant, (i_ad * ga - i_aa * gd) / determinant
        if theta[1] + step[1] < 0:
            step = -(ga + i_ad * -theta[1]) / i_aa, -theta[1]
    excess = max(abs(step[0]), 1.0)
    return step[0] / excess, step[1] / excess
