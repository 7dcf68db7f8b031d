"""What all plots are made of: plain dictionaries in plotly's JSON form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["BLUE", "COLORS", "DIVERGING", "GREEN", "ORANGE", "Figure", "axis", "line", "rounded"]

Figure = dict[str, Any]

BLUE, ORANGE, GREEN = "#3b8ed0", "#e0822d", "#2ca089"
COLORS = (BLUE, ORANGE, GREEN, "#b565c9")
DIVERGING = [[0, "#2166ac"], [0.5, "#f7f7f7"], [1, "#b2182b"]]


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title."""
    return {"title": {"text": title}, **more}


def line(name: str, x: Iterable[Any], y: Iterable[Any], color: str, **more: Any) -> dict[str, Any]:
    """A line with markers."""
    base = {"type": "scatter", "mode": "lines+markers", "name": name, "x": list(x), "y": list(y)}
    return base | {"line": {"color": color}, "marker": {"color": color}} | more


def rounded(values: Iterable[float], digits: int = 6) -> list[float]:
    """Numbers with as many significant digits as a plot can show."""
    return [float(f"{float(v):.{digits}g}") for v in values]
