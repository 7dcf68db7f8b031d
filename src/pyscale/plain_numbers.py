"""Long columns of numbers as JSON says them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["PlainList", "plain_list"]


class PlainList(list[Any]):
    """Values that JSON can say as they are."""


def plain_list(values: Any, digits: int = 6) -> PlainList:
    """Numbers of an array, floats with so many significant digits; None for what is not finite.

    Parameters
    ----------
    values : (n,) integers or float64
    digits : int
    """
    values = np.asarray(values)
    if values.dtype.kind in "iu":
        return PlainList(values.tolist())
    finite = np.isfinite(values)
    known = np.where(finite & (values != 0.0), values, 1.0)
    # Powers of ten up to 22 are exact, so that a quotient or product is the double nearest to the decimal number.
    power = digits - 1 - np.floor(np.log10(np.abs(known))).astype(int)
    up, down = 10.0 ** np.clip(power, 0, 22), 10.0 ** np.clip(-power, 0, 22)
    rounded = np.where(np.abs(power) <= 22, np.round(known / down * up) / up * down, known)
    plain: list[float | None] = np.where(finite & (values != 0.0), rounded, 0.0).tolist()
    for k in np.flatnonzero(~finite).tolist():
        plain[k] = None
    return PlainList(plain)
