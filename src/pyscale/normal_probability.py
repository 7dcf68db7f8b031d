"""Normal probability plots as a few points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .plain_numbers import plain_list
from .typing import FloatArray

__all__ = ["NormalProbability", "normal_probability"]

_STEP, _WIDEST = 0.2, 4.0
_FEWEST = 10


@dataclass(frozen=True)
class NormalProbability:
    """Quantiles of deviates against those of a normal distribution (Howell & Smith 1992).

    Attributes
    ----------
    expected : (n,) float64
        Normal deviates, evenly spaced and as far out as so many deviates reach.
    observed : dict of str to (n,) float64
        Quantiles of the deviates at the same probabilities, by what they are.
    """

    expected: FloatArray
    observed: dict[str, FloatArray]

    def to_dict(self) -> dict[str, Any]:
        """Columns for JSON."""
        return {"expected": plain_list(self.expected, 4)} | {k: plain_list(v, 4) for k, v in self.observed.items()}


def normal_probability(**deviates: FloatArray) -> NormalProbability | None:
    """Quantiles of deviates, each (m,) float64 and finite; None for fewer than ten.

    The k-th of m sorted deviates stands at the probability (k - 1/2)/m.
    """
    m = min(d.size for d in deviates.values())
    if m < _FEWEST:
        return None
    grid = np.arange(round(-_WIDEST / _STEP), round(_WIDEST / _STEP) + 1) * _STEP
    probability = np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in grid.tolist()])
    inside = (probability >= 0.5 / m) & (probability <= 1.0 - 0.5 / m)
    grid, probability = grid[inside], probability[inside]
    observed = {k: np.quantile(d, probability, method="hazen") for k, d in deviates.items()}
    return NormalProbability(np.asarray(grid, np.float64), observed)
