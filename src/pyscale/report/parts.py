"""Statistics by data set and by image, and radiation damage: tables and plots, from the public document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .numbers import count, fixed, significant
from .palette import BLUE, GREEN, ORANGE, PURPLE
from .plots import Figure, axis, excluded_bands, figure, image_range, line, rounded, row_domain
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


_QUANTITIES = (
    ("scale", "scale", BLUE, 1.0),
    ("B (Å²)", "relative_b", ORANGE, 1.0),
    ("R merge", "r_merge", GREEN, 1.0),
    ("I/σ", "i_over_sigma", PURPLE, 1.0),
    ("deviation (σ)", "mean_deviation", BLUE, 1.0),
    ("rejected (%)", "rejected", ORANGE, 100.0),
    ("complete (%)", "completeness", GREEN, 100.0),
)
"""Label, key in the document, colour and factor; those that may be negative have no zero to begin at."""
_SIGNED = ("relative_b", "mean_deviation")
_ENOUGH, _FEWEST_POINTS = 40, 20
"""Observations that make a point, and points that a sweep is drawn with all the same."""


def image_figures(by_image: Document | None, excluded: dict[str, Sequence[Sequence[int]] | None]) -> dict[str, Figure]:
    """Statistics along the images of some data sets, by identifier; `excluded` are ranges of images left out."""
    sweeps = [] if by_image is None else by_image["sweeps"]
    return {
        s["identifier"]: _image_figure(s, excluded[s["identifier"]] or ())
        for s in sweeps
        if s["identifier"] in excluded
    }


def _joined(sweep: Document) -> Document:
    """The runs of images that have observations, neighbours together until most hold enough of them.

    Statistics become means with the numbers of observations as weights, completeness that of the last run.
    """
    rejected = np.array([v or 0.0 for v in sweep["rejected"]])
    used = np.flatnonzero((np.array(sweep["n_obs"]) > 0) | (rejected > 0))
    if not used.size:
        return sweep
    counts, rejected = np.array(sweep["n_obs"], np.float64)[used], rejected[used]
    with_outliers = np.where(rejected < 1.0, counts / np.maximum(1.0 - rejected, 1e-3), 1.0)
    wanted = math.ceil(_ENOUGH / max(float(np.median(counts)), 1.0))
    together = min(wanted, max(used.size // _FEWEST_POINTS, 1))
    begin = np.arange(0, used.size, together)
    last = np.minimum(begin + together, used.size) - 1
    found: Document = {"first_image": [sweep["first_image"][k] for k in used[begin].tolist()]}
    found |= {name: [sweep[name][k] for k in used[last].tolist()] for name in ("last_image", "completeness")}
    for name in ("scale", "relative_b", "r_merge", "i_over_sigma", "mean_deviation", "rejected"):
        values = np.array([np.nan if v is None else v for v in sweep[name]], np.float64)[used]
        weight = np.where(np.isfinite(values), with_outliers if name == "rejected" else counts, 0.0)
        total = np.add.reduceat(weight, begin)
        sums = np.add.reduceat(weight * np.nan_to_num(values), begin)
        found[name] = rounded(np.divide(sums, total, out=np.full(total.size, np.nan), where=total > 0))
    return found


def _image_figure(sweep: Document, excluded: Sequence[Sequence[int]]) -> Figure:
    sweep = _joined(sweep)
    x = rounded(0.5 * (a + b) for a, b in zip(sweep["first_image"], sweep["last_image"], strict=True))
    n = len(_QUANTITIES)
    mode = "lines" if len(x) > 20 else "lines+markers"
    data: list[dict[str, Any]] = []
    ends = image_range((sweep["first_image"][0], sweep["last_image"][-1]))
    layout: dict[str, Any] = {"xaxis": axis("image", anchor=f"y{n}", range=ends), "shapes": excluded_bands(excluded)}
    for row, (name, key, color, factor) in enumerate(_QUANTITIES):
        y = [None if v is None else round(factor * v, 6) for v in sweep[key]]
        hover = {"hovertemplate": f"image %{{x:.0f}}: {name} %{{y:.4g}}<extra></extra>"}
        suffix = "" if row == 0 else str(row + 1)
        data.append(line(name, x, y, color, mode=mode, yaxis=f"y{suffix}", **hover))
        data[-1]["marker"] |= {"size": 4}
        range_mode = "normal" if key in _SIGNED else "tozero"
        domain = row_domain(row, n, 0.03)
        layout[f"yaxis{suffix}"] = axis(name, domain=domain, rangemode=range_mode, nticks=4)
        layout[f"yaxis{suffix}"]["title"]["font"] = {"size": 11}
    width = max(b - a + 1 for a, b in zip(sweep["first_image"], sweep["last_image"], strict=True))
    each = "image by image" if width == 1 else f"up to {width} images a point"
    caption = (
        f"Along the sweep, {each}: scale and B of g, deviations from the means of all data sets (R merge, and signed "
        "in σ), signal, share of outliers, completeness up to here; jumps are events of the experiment, grey images "
        "are excluded."
    )
    return figure(data, caption, showlegend=False, **layout)


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
    caption = (
        "R d rising with the difference in dose means damage that no scale corrects; R cp and completeness tell how "
        "much of the data could be left out."
    )
    layout = {
        "xaxis": axis(f"dose, or difference in dose ({unit})", rangemode="tozero"),
        "yaxis": axis("R", rangemode="tozero"),
        "yaxis2": axis(
            "completeness",
            rangemode="tozero",
            overlaying="y",
            side="right",
            showgrid=False,
            tickformat=".0%",
            tickmode="auto",
        ),
    }
    return figure(data, caption, **layout)
