"""Many data sets at one glance: heat maps over data set and resolution or images, and small multiples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pyscale.typing import FloatArray

from .model_tables import summary_entries
from .palette import BLUE, GREEN, ORANGE, PURPLE
from .plots import Figure, axis, excluded_bands, figure, heat_map, line, rounded, row_domain, short_name
from .table import Document

__all__ = ["image_maps", "overview_figures", "shell_maps", "small_multiples", "summary_figure"]

_MAX_POINTS, _MAX_BARS = 2000, 500
_MAX_CELLS, _COLUMNS = 20_000, (8, 60)
_N_MULTIPLES, _PER_ROW = 20, 4

_SHELL_MAPS = (
    ("cc", "cc", "CC with the others", "Correlation of observations with the means of the others"),
    ("r", "r_merge", "R merge", "Deviations from the means of all data sets, limited to the colour scale"),
    ("signal", "i_over_sigma", "I/σ", "Mean I/σ of observations"),
    ("completeness", "completeness", "completeness", "Share of possible reflections in the data set alone"),
)
_FLOORS = (0.99, 0.9, 0.5, 0.0)


def overview_figures(document: Document) -> dict[str, Figure]:
    """All of them for a job of several data sets."""
    analyses = document["analyses"]
    entries = summary_entries(document["datasets"])
    positions = {d["identifier"]: k for k, d in enumerate(document["datasets"])}
    figures = {"summary": summary_figure(entries, analyses.get("by_data_set"))}
    figures |= shell_maps(analyses.get("by_shell"))
    figures |= image_maps(analyses.get("by_image"), positions)
    if (multiples := small_multiples(document)) is not None:
        figures["multiples"] = multiples
    return figures


def shell_maps(by_shell: Document | None) -> dict[str, Figure]:
    """Quantities over data set and resolution shell."""
    if by_shell is None:
        return {}
    names = [short_name(i) for i in by_shell["identifier"]]
    shells = [f"{a:.2f}–{b:.2f}" for a, b in zip(by_shell["d_max"], by_shell["d_min"], strict=True)]
    figures = {}
    for name, key, title, meaning in _SHELL_MAPS:
        z = by_shell[key]
        limits = (_correlation_floor(z), 1.0) if key == "cc" else (0.0, _high(z))
        trace = heat_map(range(len(shells)), range(len(names)), z, title, limits=limits)
        trace |= {"text": [[f"{n}, {s} Å" for s in shells] for n in names]} if len(names) <= 100 else {}
        place = "%{text}" if len(names) <= 100 else "data set %{y}, shell %{x}"
        trace["hovertemplate"] = f"{place}: {title} %{{z:.3g}}<extra></extra>"
        x_axis = axis("resolution d to (Å)", tickvals=list(range(len(shells))), showgrid=False)
        x_axis["ticktext"] = [f"{d:.2f}" for d in by_shell["d_min"]]
        caption = f"{meaning}: one row for each data set, high resolution at the right; rows unlike the rest stand out."
        figures[f"shells-{name}"] = figure([trace], caption, xaxis=x_axis, yaxis=_data_set_axis(len(names)))
    return figures


def image_maps(by_image: Document | None, positions: dict[str, int]) -> dict[str, Figure]:
    """Scale and R_merge over data set and images; `positions` are those of the data sets by identifier."""
    sweeps = [] if by_image is None else by_image["sweeps"]
    if len(sweeps) < 2:
        return {}
    longest = max(_last_used(s) - s["first_image"][0] + 1 for s in sweeps)
    n = int(np.clip(_MAX_CELLS // len(sweeps), *_COLUMNS))
    n = min(n, longest, max(len(s["first_image"]) for s in sweeps))
    x = rounded((np.arange(n) + 0.5) * (longest / n))
    y = [positions[s["identifier"]] for s in sweeps]
    x_axis, y_axis = axis("images from the first of the sweep", showgrid=False), _data_set_axis(len(positions))

    def plot(key: str, title: str, meaning: str, of: Callable[[FloatArray], FloatArray]) -> Figure:
        rows = [_resampled(s, of(_known(s[key])), n, longest / n) for s in sweeps]
        z = [rounded(row, 3) for row in rows]
        diverging = key == "scale"
        high = _high(z)
        trace = heat_map(x, y, z, title, limits=(-high, high) if diverging else (0.0, high), diverging=diverging)
        trace["hovertemplate"] = f"data set %{{y}}, image %{{x:.0f}} of the sweep: {title} %{{z:.3g}}<extra></extra>"
        return figure([trace], meaning, xaxis=x_axis, yaxis=y_axis)

    middle = float(np.nanmedian(np.concatenate([_known(s["scale"]) for s in sweeps])))
    return {
        "maps-scale": plot(
            "scale",
            "log₂ of scale",
            "Scale over the median of all, as powers of 2: red images are stronger, blue ones weaker.",
            lambda v: np.log2(v / middle),
        ),
        "maps-r": plot(
            "r_merge",
            "R merge",
            "Deviations from the means of all data sets: bright stretches agree least.",
            lambda v: v,
        ),
    }


def _last_used(sweep: Document) -> int:
    """Last image that has observations: what was excluded beyond needs no room."""
    ends = [last for last, n in zip(sweep["last_image"], sweep["n_obs"], strict=True) if n]
    return int(ends[-1] if ends else sweep["last_image"][-1])


def _known(values: Sequence[float | None]) -> FloatArray:
    found = np.array([math.nan if v is None else v for v in values], np.float64)
    return np.where(found > 0, found, np.nan)


def _resampled(sweep: Document, values: FloatArray, n: int, width: float) -> FloatArray:
    """Means of the bins whose middles fall into each of n columns; the nearest bin where none does."""
    first = np.array(sweep["first_image"], np.float64)
    last = np.array(sweep["last_image"], np.float64)
    middle = 0.5 * (first + last) - first[0] + 0.5
    column = np.minimum((middle / width).astype(np.int64), n - 1)
    known = np.isfinite(values)
    counts = np.bincount(column[known], minlength=n)
    sums = np.bincount(column[known], values[known], n)
    centres = (np.arange(n) + 0.5) * width
    nearest = np.abs(centres[:, None] - middle).argmin(axis=1)
    inside = centres < last[-1] - first[0] + 1.0
    empty = np.bincount(column, minlength=n) == 0
    filled = np.where(empty & inside, values[nearest], np.nan)
    return np.divide(sums, counts, out=filled, where=counts > 0)


def _high(z: Sequence[Sequence[float | None]]) -> float:
    """A limit of colours that some extreme values may exceed."""
    known = np.abs([v for row in z for v in row if v is not None])
    return float(f"{float(np.quantile(known, 0.98)):.3g}") if known.size and known.any() else 1.0


def _correlation_floor(z: Sequence[Sequence[float | None]]) -> float:
    """Where colours of correlations begin, so that good data are not all of one colour."""
    known = [v for row in z for v in row if v is not None]
    lowest = float(np.quantile(known, 0.02)) if known else 0.0
    return next((floor for floor in _FLOORS if lowest >= floor), 0.0)


def _data_set_axis(n: int) -> dict[str, Any]:
    return axis("data set, in the order of the input", autorange="reversed", showgrid=False, dtick=max(1, n // 10))


def small_multiples(document: Document) -> Figure | None:
    """R_merge along the images of the sweeps that agree least with all data; None with a few sweeps."""
    by_image, by_data_set = (document["analyses"].get(k) for k in ("by_image", "by_data_set"))
    if by_image is None or by_data_set is None or len(by_image["sweeps"]) <= _PER_ROW:
        return None
    r_merge = dict(zip(by_data_set["identifier"], by_data_set["r_merge"], strict=True))
    known = [s for s in by_image["sweeps"] if r_merge[s["identifier"]] is not None]
    worst = sorted(known, key=lambda s: -float(r_merge[s["identifier"]]))[:_N_MULTIPLES]
    if not worst:
        return None
    numbers = {d["identifier"]: k for k, d in enumerate(document["datasets"])}
    top = 1.05 * max((float(v) for s in worst for v in s["r_merge"] if v is not None), default=1.0)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"shapes": [], "annotations": [], "showlegend": False}
    for k, sweep in enumerate(worst):
        number = numbers[sweep["identifier"]]
        excluded = document["datasets"][number]["excluded_images"]
        data.append(_multiple(sweep, number, k, -(-len(worst) // _PER_ROW), top, excluded or (), layout))
    caption = (
        f"R merge against image of the {len(worst)} sweeps that agree least with all data, the worst first, on one "
        "scale, with their numbers in the order of the input; grey images are excluded."
    )
    return figure(data, caption, **layout)


def _multiple(
    sweep: Document,
    number: int,
    k: int,
    n_rows: int,
    top: float,
    excluded: Sequence[Sequence[int]],
    layout: dict[str, Any],
) -> dict[str, Any]:
    """The trace of small plot k; axes, title and bands are added to the layout."""
    row, column = divmod(k, _PER_ROW)
    suffix = "" if k == 0 else str(k + 1)
    low, high = row_domain(row, n_rows, 0.0)
    low, high = low + 0.22 / n_rows, high - 0.2 / n_rows
    across = [column / _PER_ROW, (column + 0.86) / _PER_ROW]
    small = {"tickfont": {"size": 9}, "nticks": 3}
    layout[f"xaxis{suffix}"] = axis("", domain=across, anchor=f"y{suffix}", **small)
    layout[f"yaxis{suffix}"] = axis("", range=[0, top], domain=[low, high], anchor=f"x{suffix}", **small)
    layout[f"yaxis{suffix}"]["showticklabels"] = column == 0
    place = {"xref": f"x{suffix}", "yref": f"y{suffix} domain"}
    layout["shapes"] += [band | place for band in excluded_bands(excluded)]
    note = {"text": f"#{number}", "showarrow": False, "xref": "paper", "yref": "paper", "font": {"size": 10}}
    layout["annotations"].append(note | {"x": across[0], "y": high, "xanchor": "left", "yanchor": "bottom"})
    x = rounded(0.5 * (a + b) for a, b in zip(sweep["first_image"], sweep["last_image"], strict=True))
    name = short_name(sweep["identifier"])
    hover = f"{name}, image %{{x:.0f}}: R merge %{{y:.3f}}<extra></extra>"
    trace = line(name, x, rounded(_known(sweep["r_merge"]), 3), BLUE, mode="lines", hovertemplate=hover)
    return trace | {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}


def summary_figure(entries: Sequence[Document], by_data_set: Document | None) -> Figure:
    """Quantities of every data set (of evenly spaced ones if there are very many), one above the other.

    Parameters
    ----------
    entries
        For each data set its identifier, and `scale` and `decay`: None, or (value, below, above).
    by_data_set
        Statistics of data sets in the document.
    """
    step = -(-len(entries) // _MAX_POINTS)
    x = list(range(0, len(entries), step))
    names = [short_name(e["identifier"]) for e in entries[::step]]
    rows: list[tuple[str, dict[str, Any]]] = []

    def add(title: str, name: str, values: list[float | None], color: str, **more: Any) -> None:
        if any(v is not None for v in values):
            hover = {"text": names, "hovertemplate": f"%{{text}}: {name} %{{y:.4g}}<extra></extra>"}
            rows.append((title, line(name, x, values, color, mode="markers", **hover, **more)))

    for title, key, color in (("mean scale", "scale", BLUE), ("mean B (Å²)", "decay", ORANGE)):
        values = [e[key] or (None, None, None) for e in entries[::step]]
        more: dict[str, Any] = {}
        if len(entries) <= _MAX_BARS:
            bars = {"type": "data", "symmetric": False, "color": color, "thickness": 1}
            more["error_y"] = bars | {"array": [v[2] for v in values], "arrayminus": [v[1] for v in values]}
        add(title, key, [v[0] for v in values], color, **more)
    if by_data_set is not None:
        for title, key, color in (("R merge", "r_merge", GREEN), ("CC with rest", "cc_rest", PURPLE)):
            add(title, title, by_data_set[key][::step], color)
    title = "data set, in the order of the input" + (f" (one in {step})" if step > 1 else "")
    layout: dict[str, Any] = {"xaxis": axis(title, anchor=f"y{len(rows)}" if len(rows) > 1 else "y")}
    layout["xaxis"]["dtick"] = max(1, len(entries) // 10)
    for k, (title, trace) in enumerate(rows):
        suffix = "" if k == 0 else str(k + 1)
        trace["yaxis"] = f"y{suffix}"
        layout[f"yaxis{suffix}"] = axis(title, domain=row_domain(k, len(rows), 0.06), nticks=4)
        layout[f"yaxis{suffix}"]["title"]["font"] = {"size": 11}
    caption = (
        "Each point is a data set: scale and B of its model (bars: range of several parameters, or standard "
        "uncertainty of one), its deviations from the means of all, and its correlation with the rest."
    )
    return figure([trace for _, trace in rows], caption, **layout)
