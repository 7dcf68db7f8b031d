"""Correlations of parameters: heat maps and table."""

from __future__ import annotations

from typing import Any

from .numbers import fixed
from .palette import GREY
from .plots import Figure, axis, figure, heat_map, short_text
from .table import Document, Table

__all__ = ["correlation_figure", "correlation_table"]


def correlation_figure(matrix: Document) -> Figure:
    """The correlation matrix of one data set's parameters, those of a component side by side."""
    names = [f"{c['name']}[{k}]" for c in matrix["components"] for k in range(c["n_parameters"])]
    n = len(names)
    z: list[list[float | None]] = [[None] * n for _ in range(n)]
    for i, row in enumerate(matrix["lower"]):
        for j, value in enumerate(row):
            z[i][j] = z[j][i] = value
    trace = heat_map(range(n), range(n), z, "correlation", limits=(-1, 1), diverging=True)
    trace |= {"text": [[f"{names[i]}, {names[j]}" for j in range(n)] for i in range(n)]} if n <= 30 else {}
    trace["hovertemplate"] = ("%{text}" if n <= 30 else "parameters %{x} and %{y}") + ": %{z:.2f}<extra></extra>"
    edges, ticks = [], []
    begin = 0
    for c in matrix["components"]:
        ticks.append(begin + 0.5 * (c["n_parameters"] - 1))
        begin += c["n_parameters"]
        edges.append(begin - 0.5)
    labels = {"tickvals": ticks, "ticktext": [c["name"] for c in matrix["components"]], "showgrid": False}
    labels |= {"zeroline": False, "constrain": "domain"}
    shapes = [_line(e, n, vertical=v) for e in edges[:-1] for v in (True, False)]
    caption = (
        f"Correlations of the fitted parameters of data set {short_text(matrix['data_set'])}: strong colours off the "
        "diagonal mean that the data tell hardly more than a combination; empty ones are held or undetermined."
    )
    x_axis, y_axis = axis("", **labels), axis("", autorange="reversed", scaleanchor="x", **labels)
    return figure([trace], caption, xaxis=x_axis, yaxis=y_axis, shapes=shapes)


def _line(place: float, n: int, *, vertical: bool) -> dict[str, Any]:
    along, across = ("x", "y") if vertical else ("y", "x")
    ends = {f"{along}0": place, f"{along}1": place, f"{across}0": -0.5, f"{across}1": n - 0.5}
    return {"type": "line", "line": {"color": GREY, "width": 1}, **ends}


def correlation_table(correlations: Document) -> Table:
    """The strongest pairs."""
    rows = [[p["data_set"], p["first"], p["second"], fixed(p["correlation"], 3)] for p in correlations["strongest"]]
    note = "" if rows else "No two parameters of different components have a correlation above 0.5."
    return Table(["Data set", "Parameter", "Parameter", "Correlation"], rows, note=note)
