"""What became of the observations, as a flow from read to merged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .numbers import count
from .palette import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, faint
from .plots import Figure, figure
from .table import Document

__all__ = ["ledger_figure"]

_KINDS = (("filtered", "unsuitable", PURPLE), ("user_excluded", "excluded", GREY), ("rejected", "outliers", ORANGE))

_BREAK = "<br>"
"""Between name and number of nodes that stand side by side, so that they do on a phone too."""


class _Flow:
    """Nodes and links of a diagram; what is zero is left out."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.colors: list[str] = []
        self.links: dict[str, list[Any]] = {"source": [], "target": [], "value": [], "color": []}

    def node(self, label: str, n: int, color: str, between: str = " ") -> int:
        self.labels.append(f"{label}{between}{count(n)}")
        self.colors.append(color)
        return len(self.labels) - 1

    def to(self, source: int, label: str, n: int, color: str, between: str = " ") -> int:
        """Add a node and the link to it."""
        target = self.node(label, n, color, between)
        for name, value in (("source", source), ("target", target), ("value", n), ("color", faint(color, 0.45))):
            self.links[name].append(value)
        return target


def ledger_figure(ledger: Document) -> Figure:
    """Observations of all data sets from the files to the merged data and the fit."""
    entries = list(ledger.values())
    flow = _Flow()
    read = flow.node("read", sum(e["read"] for e in entries), BLUE, _BREAK)
    if n := sum(e["merged"] for e in entries):
        merged = flow.to(read, "merged", n, GREEN, _BREAK)
        if used := sum(e["used_in_fit"] for e in entries):
            flow.to(merged, "in the fit", used, GREEN, _BREAK)
        for reason, n in _sums(e["not_used_in_fit"] for e in entries).items():
            flow.to(merged, f"not in the fit, {_words(reason)}", n, GREY)
    if joined := sum(e["partials_merged"] for e in entries):
        flow.to(read, "joined with another partial", joined, SKY)
    for kind, label, color in _KINDS:
        for reason, n in _sums(e[kind] for e in entries).items():
            flow.to(read, f"{label}: {_words(reason)}", n, color)
    trace = {
        "type": "sankey",
        "valueformat": ",d",
        "textfont": {"size": 11},
        "node": {"label": flow.labels, "color": flow.colors, "pad": 16, "thickness": 12, "line": {"width": 0}},
        "link": flow.links,
    }
    caption = (
        "Widths are numbers of observations: from the files at the left to what was merged, and why the rest was not."
    )
    return figure([trace], caption, margin={"l": 8, "r": 34, "t": 12, "b": 12})


def _sums(entries: Iterable[Document]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for entry in entries:
        for reason, n in entry.items():
            if n:
                totals[reason] = totals.get(reason, 0) + n
    return totals


def _words(reason: str) -> str:
    return reason.replace("_", " ")
