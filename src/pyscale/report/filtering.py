"""What filtering by ΔCC½ did: tables and plot of the report."""

from __future__ import annotations

from html import escape
from typing import Any

from .numbers import count, fixed
from .plots import BLUE, ORANGE, Figure, axis, line
from .table import Document, Table

__all__ = ["candidate_figure", "history_table", "removed_table"]

_MAX_ROWS = 200


def history_table(filtering: Document) -> Table:
    """Statistics before each removal and after the last."""
    columns = ["", "Observations", "Completeness (%)", "Multiplicity", "I/σ", "R meas", "R pim", "CC ½", "Removed"]
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
                f"{c['delta_cc_half']:.2e}",
            ]
            for c in sorted(removed, key=lambda c: float(c["delta_cc_half"]))
        ]
    left = len(rows) - _MAX_ROWS
    note = f"{left} more are in the JSON file." if left > 0 else ""
    return Table(["Cycle", "Data set", "Images", "Observations", "ΔCC½"], rows[:_MAX_ROWS], note=note)


def candidate_figure(filtering: Document) -> Figure:
    """ΔCC½ of all candidates, in the first cycle and in the last."""
    cycles = filtering["cycles"]
    chosen = [(cycles[0], ORANGE), (cycles[-1], BLUE)] if len(cycles) > 1 else [(cycles[0], BLUE)]
    traces: list[dict[str, Any]] = []
    for cycle, color in chosen:
        candidates = cycle["candidates"]
        trace = line(
            f"cycle {cycle['number']}",
            range(len(candidates)),
            [c["delta_cc_half"] for c in candidates],
            color,
            mode="markers",
        )
        trace |= {"text": [f"{escape(c['identifier'])[:80]}, {_images(c)}" for c in candidates]}
        trace |= {"hovertemplate": "%{text}: %{y:.2e}"}
        traces.append(trace)
    layout = {"xaxis": axis("data set or image group, in order"), "yaxis": axis("ΔCC½")}
    return {"data": traces, "layout": layout}


def _images(candidate: Document) -> str:
    return "all" if candidate["images"] is None else "{}–{}".format(*candidate["images"])
