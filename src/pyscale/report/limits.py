"""Resolution limits and anisotropy: tables and plots of the report."""

from __future__ import annotations

import math
from typing import Any

from .numbers import MISSING, count, fixed, fixed_with_sigma
from .palette import BLUE, COLORS, GREY, ORANGE
from .plots import Figure, axis, figure, line, log_axis, resolution_ticks, rounded
from .table import Document, Table

__all__ = ["anisotropy_figure", "anisotropy_table", "ellipsoid_table", "limit_figures", "limit_table"]

_STATES = {
    "reached": "reached",
    "data_end": "the data end before",
    "nowhere": "met at no resolution",
    "undetermined": "not determined",
    "unmeasured": "no reflections measured",
}
_DIRECTION_STATES = _STATES | {"undetermined": "not reached"}
_NAMES = {
    "cc_half": "CC½",
    "i_over_sigma": "mean I/σ",
    "shell_completeness": "completeness of a shell",
    "r_meas": "R meas",
    "r_pim": "R pim",
}
_N_CURVE = 61


def limit_table(resolution: Document) -> Table:
    """One line for each limit."""
    rows = [
        [
            f"{_NAMES[limit['criterion']]} = {limit['threshold']:g}",
            fixed_with_sigma(limit["d_min"], limit["sigma"], 2),
            _STATES[limit["state"]],
        ]
        for limit in resolution["limits"]
    ]
    suggested = resolution["suggested_d_min"]
    note = f"The data go to {fixed(resolution['data_d_min'], 2)} Å."
    if suggested is not None:
        note += f" Suggested: {fixed(suggested, 2)} Å by {_NAMES[resolution['criterion']]}; d_min=auto applies it."
    return Table(["Criterion", "Limit (Å)", ""], rows, note=note)


def limit_figures(resolution: Document) -> dict[str, Figure]:
    """CC½ with the fitted curve, and I/σ, in narrow shells, with the limits that were reached."""
    shells = resolution["shells"]
    x = [0.5 * (s["d_max"] ** -2 + s["d_min"] ** -2) for s in shells]
    ticks = resolution_ticks(x[-1])

    def plot(key: str, traces: list[Figure], caption: str, **yaxis: Any) -> Figure:
        reached = [v for v in resolution["limits"] if v["criterion"] == key and v["state"] == "reached"]
        shapes = [_mark(limit["d_min"] ** -2) for limit in reached]
        return figure(traces, caption, xaxis=axis("resolution d (Å)", **ticks), shapes=shapes, **yaxis)

    halves = [line("CC½", x, [s["cc_half"] for s in shells], BLUE, mode="markers")]
    if (curve := resolution["cc_half_curve"]) is not None:
        grid = [x[-1] * k / (_N_CURVE - 1) for k in range(_N_CURVE)]
        values = rounded(0.5 * (1.0 - math.tanh((s - curve["s0"]) / curve["r"])) for s in grid)
        halves.append(line("fit", rounded(grid), values, ORANGE, mode="lines"))
    signal = [line("I/σ", x, [s["i_over_sigma"] for s in shells], BLUE)]
    return {
        "limit-cc": plot(
            "cc_half",
            halves,
            "CC½ of narrow shells and the curve fitted to them; dotted lines are limits where it passes a threshold.",
            yaxis=axis("CC½ in narrow shells"),
        ),
        "limit-signal": plot(
            "i_over_sigma",
            signal,
            "Mean I/σ of narrow shells; dotted lines are limits where it passes a threshold.",
            yaxis=log_axis("mean I/σ in narrow shells", [s["i_over_sigma"] for s in shells]),
        ),
    }


def anisotropy_table(anisotropy: Document) -> Table:
    """Fall-off and limit along each principal direction."""
    rows = []
    for d in anisotropy["directions"]:
        delta_b = fixed_with_sigma(d["delta_b"], d["delta_b_sigma"], 2)
        limit = fixed_with_sigma(d["d_min"], d["sigma"], 2)
        rows.append([d["direction"], delta_b, limit, _DIRECTION_STATES[d["state"]]])
    note = ""
    if anisotropy["fraction_unmeasured"] is not None:
        share = fixed(100.0 * anisotropy["fraction_unmeasured"], 1)
        note = f"{share} % of the reflections inside the ellipsoid are unmeasured."
    threshold = f"Limit (Å), local I/σ = {anisotropy['threshold']:g}"
    return Table(["Direction", "ΔB (Å²)", threshold, ""], rows, note=note)


def anisotropy_figure(anisotropy: Document) -> Figure:
    """Mean I/σ of measured reflections near each principal direction against resolution."""
    profiles = [(d["direction"], d["profile"]) for d in anisotropy["directions"] if d["profile"]]
    ends = [p[-1]["d_star_sq"] for _, p in profiles]
    traces = [
        line(
            name,
            rounded(s["d_star_sq"] for s in profile),
            rounded(s["i_over_sigma"] for s in profile),
            color,
            text=[f"{s['n_unique']} reflections" for s in profile],
            hovertemplate="%{y:.3g}, %{text}",
        )
        for (name, profile), color in zip(profiles, COLORS, strict=False)
    ]
    ticks = resolution_ticks(max(ends, default=1.0))
    y_axis = log_axis("mean I/σ within 30°", [s["i_over_sigma"] for _, profile in profiles for s in profile])
    caption = "Signal along the three principal directions of diffraction: curves apart from each other are anisotropy."
    return figure(traces, caption, xaxis=axis("resolution d (Å)", **ticks), yaxis=y_axis)


def ellipsoid_table(inside: Document) -> Table:
    """Completeness of sphere and ellipsoid, all data and by shell."""
    columns = ["d max (Å)", "d min (Å)", "Unique", "Possible", "Possible in the ellipsoid"]
    columns += ["Completeness, sphere (%)", "Completeness, ellipsoid (%)"]

    def percent(value: float | None) -> str:
        return MISSING if value is None else fixed(100.0 * value, 1)

    rows = [
        [
            fixed(s["d_max"], 2),
            fixed(s["d_min"], 2),
            count(s["n_unique"]),
            count(s["n_possible"]),
            count(s["n_possible_ellipsoidal"]),
            percent(s["completeness"]),
            percent(s["completeness_ellipsoidal"]),
        ]
        for s in (inside["overall"], *inside["shells"])
    ]
    return Table(columns, rows, emphasised=1)


def _mark(place: float) -> Figure:
    dashed = {"dash": "dot", "color": GREY}
    return {"type": "line", "x0": place, "x1": place, "yref": "paper", "y0": 0, "y1": 1, "line": dashed}
