"""Statistics by data set and by image, and radiation damage: tables and plots, from the public document."""

from __future__ import annotations

from typing import Any

from .numbers import count, fixed, significant
from .plots import BLUE, COLORS, GREEN, ORANGE, Figure, axis, line
from .table import Document, Table

__all__ = ["damage_figure", "data_set_table", "image_figures"]

_MAX_ROWS = 200


def data_set_table(found: Document) -> Table:
    """Statistics of each data set, of very many for the first ones."""
    columns = (
        ("Observations", "n_obs", count),
        ("Unique", "n_unique", count),
        ("Completeness (%)", "completeness", lambda v: fixed(None if v is None else 100 * v, 1)),
        ("Multiplicity", "multiplicity", lambda v: fixed(v, 2)),
        ("I/σ of observations", "i_over_sigma", lambda v: fixed(v, 1)),
        ("R merge, own", "r_merge_internal", lambda v: fixed(v, 3)),
        ("R merge, all", "r_merge", lambda v: fixed(v, 3)),
        ("CC with the rest", "cc_rest", lambda v: fixed(v, 3)),
        ("χ²", "chi_square", lambda v: fixed(v, 2)),
        ("Rejected (%)", "rejected", lambda v: fixed(None if v is None else 100 * v, 2)),
        ("Scale", "scale", significant),
        ("Relative B (Å²)", "relative_b", lambda v: fixed(v, 2)),
    )
    shown = range(min(len(found["identifier"]), _MAX_ROWS))
    rows = [[found["identifier"][k], *(text(found[key][k]) for _, key, text in columns)] for k in shown]
    left = len(found["identifier"]) - len(rows)
    note = f"{left} more data sets are in the JSON file." if left else ""
    return Table(["Data set", *(label for label, _, _ in columns)], rows, note=note)


def image_figures(by_image: Document | None, identifiers: set[str]) -> dict[str, Figure]:
    """R_merge, I/sigma and share of outliers along the images of some data sets, by identifier."""
    sweeps = [] if by_image is None else by_image["sweeps"]
    return {s["identifier"]: _image_figure(s) for s in sweeps if s["identifier"] in identifiers}


def _image_figure(sweep: Document) -> Figure:
    x = [0.5 * (a + b) for a, b in zip(sweep["first_image"], sweep["last_image"], strict=True)]
    quantities = (
        ("R merge", "r_merge", BLUE, 1.0),
        ("I/σ", "i_over_sigma", ORANGE, 1.0),
        ("rejected (%)", "rejected", GREEN, 100.0),
        ("completeness (%)", "completeness", COLORS[3], 100.0),
    )
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"xaxis": axis("image", anchor=f"y{len(quantities)}")}
    for row, (name, key, color, factor) in enumerate(quantities, 1):
        y = [None if v is None else round(factor * v, 6) for v in sweep[key]]
        data.append(line(name, x, y, color, mode="lines", yaxis="y" if row == 1 else f"y{row}"))
        top = 1 - (row - 1) / len(quantities)
        domain = [top - 1 / len(quantities) + (0.05 if row < len(quantities) else 0), top]
        layout[f"yaxis{'' if row == 1 else row}"] = axis(name, domain=domain, rangemode="tozero")
    return {"data": data, "layout": layout}


def damage_figure(damage: Document) -> Figure:
    """R_d by difference in dose and its line, R_cp and completeness by dose."""
    unit, x = damage["unit"], damage["difference"]
    dose = [d - damage["first_dose"] for d in damage["dose"]]
    data = [
        line("R d", x, damage["r_d"], BLUE),
        line("R cp", dose, damage["r_cp"], GREEN),
        line("completeness", dose, damage["completeness"], ORANGE, yaxis="y2"),
    ]
    if damage["r_d_start"] is not None:
        span = damage["bin_width"] * len(x)
        ends = [damage["r_d_start"], damage["r_d_start"] * (1 + damage["r_d_rise"])]
        data.append(line("line through R d", [0, span], ends, BLUE, mode="lines"))
        data[-1]["line"] = {"color": BLUE, "dash": "dot"}
    layout = {
        "xaxis": axis(f"dose, or difference in dose ({unit})", rangemode="tozero"),
        "yaxis": axis("R", rangemode="tozero"),
        "yaxis2": axis(
            "completeness", rangemode="tozero", overlaying="y", side="right", showgrid=False, tickformat=".0%"
        ),
    }
    return {"data": data, "layout": layout}
