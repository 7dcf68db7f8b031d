"""Numbers as text for people; what is undefined is an en dash."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["MISSING", "count", "fixed", "fixed_with_sigma", "intensity", "significant", "with_sigma"]

MISSING = "–"
_MINUS = "−"
_THIN = "\u202f"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def fixed(value: float | None, digits: int) -> str:
    """A number with so many decimals."""
    return MISSING if _undefined(value) else f"{value:.{digits}f}".replace("-", _MINUS)


def fixed_with_sigma(value: float | None, sigma: float | None, digits: int) -> str:
    """A number with so many decimals and its standard uncertainty, if it has one: at least 1 in the last decimal."""
    if _undefined(value) or sigma is None:
        return fixed(value, digits)
    return f"{fixed(value, digits)} ± {fixed(max(sigma, 10.0**-digits), digits)}"


def significant(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits."""
    if _undefined(value):
        return MISSING
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    power = "×10" + str(int(exponent)).translate(_RAISED) if exponent else ""
    return mantissa.replace("-", _MINUS) + power


def intensity(value: float | None) -> str:
    """A mean intensity, whatever its unit: with one decimal where that tells something."""
    if value is not None and (0 < abs(value) < 0.1 or abs(value) >= 1e9):
        return significant(value, 3)
    return fixed(value, 1 if value is None or abs(value) < 10_000 else 0)


def count(value: int | None) -> str:
    """A whole number, thousands apart."""
    return MISSING if value is None else f"{value:,}".replace(",", _THIN).replace("-", _MINUS)


def with_sigma(value: float | None, sigma: float | None, digits: int = 4) -> str:
    """A number and its standard uncertainty, if it has one."""
    if _undefined(value) or _undefined(sigma):
        return significant(value, digits)
    return f"{significant(value, digits)} ± {significant(sigma, 2)}"


def _undefined(value: Any) -> bool:
    return value is None or not math.isfinite(value)
