"""Absorption surfaces as maps of the sphere of directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyscale.analysis.beams import N_AZIMUTH, N_POLAR
from pyscale.components import ComponentModel
from pyscale.typing import BoolArray, FloatArray

from .curves import absorption_factor
from .palette import GREY
from .plots import Figure, axis, figure, heat_map, rounded

__all__ = ["mollweide", "surface_figure", "visited_cells"]

_NX, _NY = 120, 60
_NO_COLOR = "rgba(0,0,0,0)"


def visited_cells(runs: Sequence[Sequence[Sequence[int]]]) -> BoolArray:
    """Cells of directions that beams ran through, (45, 90) bool, from their runs in the document."""
    cells = np.zeros((N_POLAR, N_AZIMUTH), np.bool_)
    for row, of_row in zip(cells, runs, strict=True):
        for first, last in of_row:
            row[first : last + 1] = True
    return cells


def mollweide(longitude: FloatArray, latitude: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Equal-area projection of the sphere (radians) on an ellipse, -2 <= x <= 2 and -1 <= y <= 1.

    The angle t of 2 t + sin 2 t = pi sin(latitude) is found by Newton's steps, which need no more than these few for
    a drawing.
    """
    latitude = np.clip(latitude, -0.5 * np.pi, 0.5 * np.pi)
    t = latitude.copy()
    for _ in range(30):
        slope = np.maximum(2.0 + 2.0 * np.cos(2.0 * t), 1e-6)
        t = np.clip(t - (2.0 * t + np.sin(2.0 * t) - np.pi * np.sin(latitude)) / slope, -0.5 * np.pi, 0.5 * np.pi)
    return 2.0 * longitude / np.pi * np.cos(t), np.sin(t)


def _directions(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Longitude and latitude of points of the map, and which of them lie in the ellipse."""
    inside = 0.25 * x**2 + y**2 < 1.0
    t = np.arcsin(np.clip(y, -1.0, 1.0))
    latitude = np.arcsin(np.clip((2.0 * t + np.sin(2.0 * t)) / np.pi, -1.0, 1.0))
    longitude = np.pi * x / (2.0 * np.maximum(np.cos(t), 1e-9))
    return np.clip(longitude, -np.pi, np.pi), latitude, inside


def surface_figure(component: ComponentModel, title: str, visited: BoolArray | None) -> Figure:
    """The factor of g over direction; directions that no beam took are greyed.

    Parameters
    ----------
    component : ComponentModel
        Of kind absorption.
    title : str
    visited : (45, 90) bool or None
        Cells that beams ran through; None where that is not known.
    """
    visited = None if visited is None else _closed(visited)
    x = (np.arange(_NX) + 0.5) * (4.0 / _NX) - 2.0
    y = (np.arange(_NY) + 0.5) * (2.0 / _NY) - 1.0
    across, up = (v.ravel() for v in np.meshgrid(x, y))
    longitude, latitude, inside = _directions(across, up)
    flat = np.cos(latitude)
    directions = np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=1)
    value = np.full(inside.size, np.nan)
    value[inside] = absorption_factor(component, np.ascontiguousarray(directions[inside]))
    seen = inside & _looked_up(visited, longitude, latitude)
    # What lies where no beam ran is an extrapolation, which must not set the range of colours.
    known = value[seen] if seen.any() else value[inside]
    span = max(float(abs(known - 1.0).max()), 1e-3)
    z = [rounded(row, 4) for row in value.reshape(_NY, _NX)]
    data: list[dict[str, Any]] = [
        heat_map(rounded(x), rounded(y), z, "factor of g", limits=(1 - span, 1 + span), diverging=True)
        | {"hovertemplate": "factor of g if both beams ran along this direction: %{z:.3f}<extra></extra>"}
    ]
    if visited is not None:
        hidden = (inside & ~seen).astype(int).reshape(_NY, _NX)
        data.append(_shade(rounded(x), rounded(y), hidden.tolist()))
    data += _graticule()
    notes = [_label("+z", 0.0, 1.07), _label("−z", 0.0, -1.07), _label("+x", 0.0, 0.0)]
    notes += [_label("+y", 1.0, 0.0), _label("−y", -1.0, 0.0), _label("−x", 2.07, 0.0), _label("−x", -2.07, 0.0)]
    layout: dict[str, Any] = {"showlegend": False, "annotations": notes, "margin": {"l": 16, "r": 16, "t": 44, "b": 16}}
    layout["xaxis"] = axis("", visible=False, range=[-2.2, 2.2], constrain="domain")
    layout["yaxis"] = axis("", visible=False, range=[-1.18, 1.18], scaleanchor="x", constrain="domain")
    share = "" if visited is None else f" Beams ran through {100 * _share(visited):.0f} % of all directions."
    return figure(
        data,
        f"Equal-area map of directions in the crystal: red lets more through than blue. Where beams ran the factor is "
        f"{known.min():.3f} to {known.max():.3f}; grey directions no beam took.{share}",
        title={"text": title, "font": {"size": 13}, "y": 0.98},
        **layout,
    )


def _closed(cells: BoolArray) -> BoolArray:
    """Cells, and holes between them that are one or two cells wide: sparse beams leave such holes."""

    def grown(mask: BoolArray) -> BoolArray:
        wide = mask | np.roll(mask, 1, axis=1) | np.roll(mask, -1, axis=1)
        high = wide.copy()
        high[1:] |= wide[:-1]
        high[:-1] |= wide[1:]
        result: BoolArray = high
        return result

    closed: BoolArray = cells | ~grown(~grown(cells))
    return closed


def _looked_up(visited: BoolArray | None, longitude: FloatArray, latitude: FloatArray) -> BoolArray:
    """Whether the cells of directions have been visited."""
    if visited is None:
        return np.ones(longitude.shape, np.bool_)
    row = np.minimum(((0.5 * np.pi - latitude) * (N_POLAR / np.pi)).astype(np.int64), N_POLAR - 1)
    column = np.minimum(((longitude + np.pi) * (N_AZIMUTH / (2 * np.pi))).astype(np.int64), N_AZIMUTH - 1)
    found: BoolArray = visited[row, column]
    return found


def _share(visited: BoolArray) -> float:
    """Share of the sphere's area."""
    edges = np.cos(np.arange(N_POLAR + 1) * np.pi / N_POLAR)
    area = edges[:-1] - edges[1:]
    return float(area @ visited.mean(axis=1)) / float(area.sum())


def _shade(x: Sequence[Any], y: Sequence[Any], hidden: list[list[int]]) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "x": x,
        "y": y,
        "z": hidden,
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, _NO_COLOR], [1, GREY]],
        "opacity": 0.8,
        "showscale": False,
        "hoverinfo": "skip",
    }


def _graticule() -> list[dict[str, Any]]:
    """Meridians every 60 degrees, the outermost being the edge, and parallels every 30 degrees."""
    fine = np.radians(np.linspace(-90.0, 90.0, 37))
    lines = [mollweide(np.full(fine.size, np.radians(m)), fine) for m in range(-180, 181, 60)]
    ends = np.radians([-180.0, 180.0])
    lines += [mollweide(ends, np.radians([p, p]).astype(np.float64)) for p in range(-60, 61, 30)]
    x: list[float | None] = []
    y: list[float | None] = []
    for across, up in lines:
        x += [*rounded(across, 3), None]
        y += [*rounded(up, 3), None]
    style = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "line": {"color": GREY, "width": 0.7}}
    return [style | {"x": x, "y": y}]


def _label(text: str, x: float, y: float) -> dict[str, Any]:
    note = {"text": text, "x": x, "y": y, "showarrow": False, "font": {"size": 11}}
    return note if abs(y) > 1 or abs(x) > 2 else note | {"font": {"size": 11, "color": "#222222"}}
