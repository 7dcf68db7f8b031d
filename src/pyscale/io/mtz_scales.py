"""Scales that another program has put on the intensities of an unmerged MTZ file."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from ..typing import FloatArray, IntArray

__all__ = ["stored_factor"]

_LEAST_INTENSITY = 3.0
"""In units of sigma: observations that agreement is judged by."""


def stored_factor(
    intensity: FloatArray, sigma: FloatArray, scale: FloatArray, miller_index: IntArray, history: Sequence[str]
) -> tuple[FloatArray | None, str]:
    """Find the factor that was put on the intensities.

    Whether there is one follows from the agreement of equivalents: it was put on when they agree better as they stand
    than after multiplying by SCALEUSED and after dividing by it. Which way follows from the program: AIMLESS and SCALA
    multiply by SCALEUSED, DIALS and pyscale divide by it.

    Parameters
    ----------
    intensity, sigma, scale : (n,) float64
        I, SIGI and SCALEUSED.
    miller_index : (n, 3) int32
        In the asymmetric unit.
    history
        Lines of the file's history, newest first, and its title.

    Returns
    -------
    (n,) float64 or None
        Intensities were multiplied by it; None: they were not scaled.
    str
        Why, for people.
    """
    sound = np.isfinite(scale) & (scale > 0) & np.isfinite(intensity)
    if not sound.any() or (scale[sound] == scale[sound][0]).all():
        return None, "SCALEUSED is the same for all observations"
    divides = _divides(history)
    strong = sound & (intensity > _LEAST_INTENSITY * sigma)
    group = _groups(miller_index[strong])
    value, factor = intensity[strong], scale[strong]
    stands, times, over = (_disagreement(v, group) for v in (value, value * factor, value / factor))
    if np.isfinite(stands) and stands > min(times, over):
        return None, (
            f"equivalents disagree by {stands:.4f} as they stand, and by {min(times, over):.4f} with SCALEUSED put on: "
            "the file holds unscaled intensities"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        put_on = 1.0 / scale if divides else scale
    words = "divided by" if divides else "multiplied by"
    return np.where(sound, put_on, np.nan), (
        f"intensities were {words} SCALEUSED (equivalents disagree by {stands:.4f}; with the scale taken off by "
        f"{times if divides else over:.4f})"
    )


def _divides(history: Sequence[str]) -> bool:
    for line in history:
        found = re.search(r"dials|pyscale|aimless|scala\b", line, re.IGNORECASE)
        if found:
            return found[0].lower() in ("dials", "pyscale")
    return False


def _groups(miller_index: IntArray) -> IntArray:
    """Number of the group of equal indices of each row, (n,) int32."""
    if not len(miller_index):
        return np.zeros(0, np.int32)
    lowest = miller_index.min(axis=0).astype(np.int64)
    span = miller_index.max(axis=0).astype(np.int64) - lowest + 1
    shifted = miller_index.astype(np.int64) - lowest
    key = (shifted[:, 0] * span[1] + shifted[:, 1]) * span[2] + shifted[:, 2]
    return np.unique(key, return_inverse=True)[1].astype(np.int32)


def _disagreement(value: FloatArray, group: IntArray) -> float:
    """Sum of |I - <I>| over that of <I>, of groups of two or more; NaN without any."""
    count = np.bincount(group)
    mean = np.bincount(group, value) / np.maximum(count, 1)
    several = count[group] > 1
    total = float(mean[group][several].sum())
    return float(np.abs(value - mean[group])[several].sum()) / total if total > 0 else np.nan
