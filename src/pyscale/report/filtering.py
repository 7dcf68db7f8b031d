"""What filtering by ΔCC½ did: tables and plot of the report."""

from __future__ import annotations

import math
from typing import Any

from .numbers import count, fixed, significant
from .palette import BLUE, GREEN, ORANGE
from .plots import Figure, axis, figure, level, line, rounded, short_name
from .table import Document, Table

__all__ = ["ENDED", "candidate_figure", "history_figure", "history_table", "removed_table"]

_MAX_ROWS = 200
ENDED = {
    "no_more_removed": "nothing more was to be removed",
    "max_percent_removed": "as much was removed as max_percent_removed allows",
    "below_completeness_limit": "more would have cost too much completeness",
    "max_cycles": "after as many cycles as max_cycles allows",
}
"""What a reason for the end means."""


def history_table(filtering: Document) -> Table:
    """Statistics before each removal and after the last."""
    columns = ["", "Observations", "Completeness (%)", "Multiplicity", "I/σ", "R meas", "R pim", "CC½", "Removed"]
    scalings = [(f"Cycle {c['number']}", c["statistics"], count(c["n_removed"])) for c in filtering["cycles"]]
    scalings.append(("Final", filtering["final"], ""))
    rows = [
        [
            label,
            count(s["n_obs"]),
            fixed(100.0 * s["completeness"], 1),
            fixed(s["multiplicity"], 2),
            fixed(s["i_over_sigma"], 1),
            fixed(s["r_meas"], 4),
            fixed(s["r_pim"], 4),
            fixed(s["cc_half"], 4),
            removed,
        ]
        for label, s, removed in scalings
    ]
    return Table(columns, rows)


def removed_table(filtering: Document) -> Table:
    """What was removed, one line per data set or image group, the worst of each cycle first."""
    rows = []
    for cycle in filtering["cycles"]:
        removed = [c for c in cycle["candidates"] if c["removed"]]
        rows += [
            [
                count(cycle["number"]),
                c["identifier"],
                _images(c),
                count(c["n_observations"]),
                significant(c["delta_cc_half"], 3),
            ]
            for c in sorted(removed, key=lambda c: float(c["delta_cc_half"]))
        ]
    left = len(rows) - _MAX_ROWS
    note = f"{left} more are in the JSON file." if left > 0 else "" if rows else "Nothing was removed."
    return Table(["Cycle", "Data set", "Images", "Observations", "ΔCC½"], rows[:_MAX_ROWS], note=note)


def candidate_figure(filtering: Document) -> Figure:
    """ΔCC½ of all candidates, in the first cycle and in the last, with the cut-offs."""
    cycles = filtering["cycles"]
    chosen = [(cycles[0], ORANGE), (cycles[-1], BLUE)] if len(cycles) > 1 else [(cycles[0], BLUE)]
    places = {_key(c): k for k, c in enumerate(cycles[0]["candidates"])}
    traces: list[dict[str, Any]] = []
    shapes = []
    for cycle, color in chosen:
        candidates = cycle["candidates"]
        x = [places.setdefault(_key(c), len(places)) for c in candidates]
        trace = line(f"cycle {cycle['number']}", x, _values(candidates), color, mode="markers")
        symbols = ["x" if c["removed"] else "circle-open" for c in candidates]
        trace["marker"] = {"color": color, "symbol": symbols, "size": 7}
        trace |= {"text": [f"{short_name(c['identifier'])}, {_images(c)}" for c in candidates]}
        trace |= {"hovertemplate": "%{text}: %{y:.2e}"}
        traces.append(trace)
        if cycle["cutoff"] is not None:
            shapes.append(level(cycle["cutoff"], line={"dash": "dash", "color": color, "width": 1}))
    caption = (
        "Points below the dashed cut-off of their cycle make the merged data worse: crosses were removed. Negative is "
        "a gain in CC½ without them."
    )
    x_axis = axis("data set or image group, in the order of the first cycle", tickformat="d")
    x_axis |= {"dtick": 1} if len(places) < 20 else {}
    return figure(
        traces, caption, xaxis=x_axis, yaxis=axis("ΔCC½", zeroline=True, exponentformat="power"), shapes=shapes
    )


def history_figure(filtering: Document) -> Figure:
    """CC½, R_pim and completeness before each removal and after the last."""
    cycles = filtering["cycles"]
    scalings = [*(c["statistics"] for c in cycles), filtering["final"]]
    labels = [*(f"cycle {c['number']}" for c in cycles), "final"]
    data = [
        line(name, labels, rounded(_nan(s[key]) for s in scalings), color, **more)
        for name, key, color, more in (
            ("CC½", "cc_half", BLUE, {}),
            ("completeness", "completeness", GREEN, {"line": {"color": GREEN, "dash": "dot"}}),
            ("R pim", "r_pim", ORANGE, {"yaxis": "y2", "line": {"color": ORANGE, "dash": "dash"}}),
        )
    ]
    caption = "What each removal gained (CC½ up, R pim down, right) and cost (completeness)."
    right = axis("R pim", overlaying="y", side="right", showgrid=False, rangemode="tozero", tickmode="auto")
    return figure(data, caption, xaxis=axis("", type="category"), yaxis=axis("CC½, completeness"), yaxis2=right)


def _key(candidate: Document) -> tuple[str, str]:
    return candidate["identifier"], _images(candidate)


def _values(candidates: list[Document]) -> list[float | None]:
    return rounded((_nan(c["delta_cc_half"]) for c in candidates), 4)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _images(candidate: Document) -> str:
    return "all" if candidate["images"] is None else "{}–{}".format(*candidate["images"])
