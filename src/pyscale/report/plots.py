"""What all plots are made of: plain dictionaries in plotly's JSON form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from .palette import DIVERGING, GREY, SEQUENTIAL

__all__ = [
    "Figure",
    "axis",
    "colour_bar",
    "excluded_bands",
    "figure",
    "heat_map",
    "image_range",
    "level",
    "line",
    "log_axis",
    "resolution_axis",
    "resolution_ticks",
    "rounded",
    "row_domain",
    "short_name",
    "short_text",
]

Figure = dict[str, Any]

_MAX_NAME = 40
_N_TICKS = 6
_STANDOFF = 8
"""Pixels between the labels of ticks and the title of an axis."""


def figure(data: Sequence[dict[str, Any]], caption: str, **layout: Any) -> Figure:
    """A figure with the sentence that says how to read it, which is plain text."""
    return {"data": list(data), "layout": layout, "caption": caption}


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title."""
    return {"title": {"text": title, "standoff": _STANDOFF}, **more}


def log_axis(title: str, values: Iterable[float | None], **more: Any) -> dict[str, Any]:
    """A logarithmic axis for some values, of which only those above zero count, with whole numbers at all its ticks."""
    powers = [math.log10(v) for v in values if v is not None and v > 0]
    low, high = min(powers, default=0.0), max(powers, default=0.0)
    span = high - low
    mantissas = (1.0,) if span > 4 else (1.0, 2.0, 5.0) if span > 0.7 else (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
    decades = range(math.floor(low) - 1, math.ceil(high) + 1)
    places = [float(f"{m:g}e{decade}") for decade in decades for m in mantissas]
    return axis(title, type="log", tickvals=places, ticktext=[f"{p:g}" for p in places], **more)


def line(name: str, x: Iterable[Any], y: Iterable[Any], color: str, **more: Any) -> dict[str, Any]:
    """A line with markers."""
    base = {"type": "scatter", "mode": "lines+markers", "name": name, "x": list(x), "y": list(y)}
    return base | {"line": {"color": color}, "marker": {"color": color}} | more


def rounded(values: Iterable[float], digits: int = 5) -> list[float | None]:
    """Numbers with as many significant digits as a plot can show; None for those that are not finite."""
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in map(float, values)]


def short_text(identifier: str) -> str:
    """An identifier for captions, the start of a long one."""
    text = str(identifier)
    return text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 1] + "…"


def short_name(identifier: str) -> str:
    """The same for what plotly draws, which takes text for markup."""
    return escape(short_text(identifier))


def resolution_axis(shells: Sequence[dict[str, Any]]) -> tuple[list[float | None], dict[str, Any]]:
    """Middles of shells in 1/d^2, and an axis that tells d."""
    x = [0.5 * (s["d_max"] ** -2 + s["d_min"] ** -2) for s in shells]
    return rounded(x), axis("resolution d (Å)", **resolution_ticks(shells[-1]["d_min"] ** -2))


def resolution_ticks(end: float) -> dict[str, Any]:
    """Evenly spaced ticks of an axis linear in 1/d^2, up to its end (1/Å^2), that tell d."""
    places = [end * k / _N_TICKS for k in range(1, _N_TICKS + 1)]
    return {"tickvals": rounded(places), "ticktext": [f"{p**-0.5:.2f}" for p in places]}


def row_domain(row: int, n_rows: int, gap: float = 0.05) -> list[float]:
    """Part of the height that one of several rows of plots takes, the first at the top."""
    top = 1 - row / n_rows
    return [max(top - 1 / n_rows + (gap if row < n_rows - 1 else 0), 0.0), top]


def level(y: float, **more: Any) -> dict[str, Any]:
    """A dotted line across the plot."""
    style = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y}
    return style | {"line": {"dash": "dot", "color": GREY, "width": 1}} | more


def excluded_bands(ranges: Iterable[Sequence[int]], scale: float = 1.0, offset: float = 0.0) -> list[dict[str, Any]]:
    """Grey bands over images that were left out, at image * scale + offset."""
    style = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "fillcolor": GREY, "opacity": 0.25}
    style |= {"layer": "below", "line": {"width": 0}}
    return [
        style | {"x0": (first - 0.5) * scale + offset, "x1": (last + 0.5) * scale + offset} for first, last in ranges
    ]


def image_range(images: Sequence[int]) -> list[float]:
    """Range of an axis over the first to last image in use, and a bit of what is excluded around them."""
    first, last = images
    beyond = max(0.04 * (last - first + 1), 1.0)
    return [first - beyond, last + beyond]


def colour_bar(title: str) -> dict[str, Any]:
    """A narrow colour bar."""
    return {"title": {"text": title, "side": "right"}, "thickness": 12, "outlinewidth": 0}


def heat_map(
    x: Sequence[Any],
    y: Sequence[Any],
    z: Sequence[Sequence[float | None]],
    title: str,
    *,
    limits: tuple[float, float] | None = None,
    diverging: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """Values over two coordinates; what is not known stays empty."""
    colours: dict[str, Any] = {"colorscale": DIVERGING if diverging else SEQUENTIAL, "colorbar": colour_bar(title)}
    if limits is not None:
        colours |= {"zmin": limits[0], "zmax": limits[1]}
    return {"type": "heatmap", "x": list(x), "y": list(y), "z": [list(row) for row in z], **colours, **more}
