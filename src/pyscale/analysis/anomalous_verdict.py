"""Whether differences of Friedel mates are a signal, by their correlations from low resolution to high."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..typing import FloatArray
from .anomalous_shells import AnomalousShell

__all__ = ["judge_signal"]

#: Correlation that counts as clear, and where the signal ends.
_CLEAR = 0.30
#: Deviates above zero that count for a signal, and for a clear one: systematic errors alone reach the former.
_DEVIATES, _CLEAR_DEVIATES = 4.0, 6.0
_WEAKEST = 0.05
#: By how much differences must exceed their errors in a clear signal, as `cc_of_errors`.
_EXCESS = 0.10
_FEWEST_PAIRS, _FEWEST_IN_SHELL = 50, 10
_WITH_HALVES = 0.3


@dataclass(frozen=True)
class _Evidence:
    """CC_anom of shells, from low resolution to high, as one of both kinds tells; those without pairs left out."""

    cc: FloatArray
    sigma: FloatArray
    d_min: FloatArray
    weakest: float

    def pooled(self, window: int | None = None) -> tuple[FloatArray, FloatArray]:
        """Weighted means over each shell and those before it, all or `window` of them, with standard errors."""
        weight = 1 / self.sigma**2
        sums = np.cumsum([weight * self.cc, weight], axis=1)
        if window is not None:
            sums[:, window:] -= sums[:, :-window].copy()
        return sums[0] / sums[1], 1 / np.sqrt(sums[1])


def _evidence(shells: tuple[AnomalousShell, ...], by: str) -> _Evidence:
    rows = []
    for s in shells:
        cc, n = (s.cc_normalised, s.n_half_pairs) if by == "halves" else (s.cc_of_errors, s.n_pairs)
        if cc is not None and n >= _FEWEST_IN_SHELL:
            # Errors of variances do not average out.
            rows.append((cc, 1 / math.sqrt(n) if by == "halves" else math.hypot(1.5 / math.sqrt(n), 0.1), s.d_min))
    cc, sigma, d_min = np.array(rows, np.float64).reshape(-1, 3).T
    return _Evidence(cc, sigma, d_min, _WEAKEST if by == "halves" else 2 * _WEAKEST)


def judge_signal(whole: AnomalousShell, shells: tuple[AnomalousShell, ...]) -> tuple[str, float | None, str]:
    """What CC_anom by resolution says: verdict, limit of a clear signal, and which kind of CC_anom told."""
    by = "halves" if whole.n_half_pairs >= max(_FEWEST_PAIRS, _WITH_HALVES * whole.n_pairs) else "errors"
    e = _evidence(shells, by)
    if whole.n_pairs < _FEWEST_PAIRS or not e.cc.size:
        return "cannot tell", None, by
    mean, sigma = e.pooled()
    significant = (mean > _DEVIATES * sigma) & (mean > e.weakest)
    if not significant.any():
        return "none", None, by
    # A clear signal is one of low resolution: it reaches to where the mean of three shells falls.
    first = int(np.flatnonzero(significant)[0])
    running, _ = e.pooled(3)
    excess, _ = _evidence(shells, "errors").pooled()
    if (mean[first] < _CLEAR and running[: first + 3].max() < _CLEAR) or excess[min(first, len(excess) - 1)] < _EXCESS:
        return "weak", None, by
    start = first if mean[first] >= _CLEAR else int(np.argmax(running[: first + 3] >= _CLEAR))
    below = np.flatnonzero(running[start:] < _CLEAR)
    last = len(running) - 1 if not below.size else max(start, start + int(below[0]) - 1)
    in_range = slice(0, last + 1)
    weight = 1 / e.sigma[in_range] ** 2
    if float(weight @ e.cc[in_range]) < _CLEAR_DEVIATES * math.sqrt(float(weight.sum())):
        return "weak", None, by
    return "clear", float(e.d_min[last]), by
