"""Rogues and regions that deviate: tables and map of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .numbers import MISSING, count, fixed, significant
from .palette import DIVERGING, GREY, ORANGE, SEQUENTIAL
from .plots import Figure, axis, colour_bar, figure, heat_map, line, rounded, short_text
from .table import Document, Table

__all__ = ["detector_figures", "deviation_figure", "has_own_map", "region_table", "rogue_table"]

_LEAST, _WIDEST = 0.5, 4.0
_READ_DEVIATION = (
    "blue blocks measure less than equivalents elsewhere, red ones more; without structure, within ±0.5, all is well."
)


def rogue_table(rogues: Document) -> Table:
    """The worst observations."""
    columns = [
        "Data set",
        "h\u00a0k\u00a0l",
        "Image",
        "x, y",
        "d (Å)",
        "I/g",
        "σ",
        "Mean of others",
        "Their number",
        "z",
        "E",
        "Rule",
    ]
    rows = [
        [
            r["data_set"],
            " ".join(map(str, r["miller_index"])),
            fixed(r["image"], 1),
            f"{fixed(r['x'], 0)}, {fixed(r['y'], 0)}" + (f" ({r['panel']})" if r["panel"] else ""),
            fixed(r["d"], 2),
            significant(r["intensity"]),
            significant(r["sigma"], 2),
            significant(r["mean_of_others"]),
            count(r["n_others"]),
            fixed(r["deviation"], 1),
            fixed(r["e"], 2),
            r["rejected"] or ("undecided, kept" if r["disputed"] else "kept"),
        ]
        for r in rogues["worst"]
    ]
    rejected = rogues["n_rejected"]
    note = f"{count(rejected)} observation{' was' if rejected == 1 else 's were'} rejected."
    if rogues["n_disputed"]:
        note += f" {count(rogues['n_disputed'])} are in pairs that nothing decides: merged, but not used in the fit."
    return Table(columns, rows, note=note)


def region_table(regions: Document) -> Table:
    """Regions with what would leave them out."""
    columns = [
        "Region",
        "Intensities",
        "Relative",
        "Mean deviation (σ)",
        "Mean square",
        "Observations",
        "Rejected",
        "Option",
    ]
    rows = [
        [
            _place(r) + (" (may follow from others)" if r["secondary"] else ""),
            r["finding"],
            fixed(r["relative_intensity"], 2),
            fixed(r["mean_deviation"], 2),
            fixed(r["relative_mean_square"], 1),
            count(r["n_observations"]),
            count(r["n_rejected"]),
            " ".join(r["options"]),
        ]
        for r in regions["regions"]
    ]
    return Table(columns, rows)


def _place(region: Document) -> str:
    of = "" if region["data_set"] is None else f" of {region['data_set']}"
    if region["images"] is not None:
        return "images {}–{}".format(*region["images"]) + of
    if region["d_range"] is not None:
        ice = "" if region["ice"] is None else f", ice {region['ice']:.3f} Å"
        return "{:.3f}–{:.3f} Å".format(*region["d_range"]) + ice
    boxes = "; ".join("x {}–{}, y {}–{}".format(*box) for box in region["rectangles"])
    return f"panel {region['panel']}, {boxes}{of}" if boxes else MISSING


def deviation_figure(deviations: Document) -> Figure:
    """Mean deviation over a panel of the detector."""
    known = [abs(v) for row in deviations["mean_deviation"] for v in row if v is not None]
    widest = min(max([_LEAST, *known]), _WIDEST)
    trace = heat_map(
        deviations["x"],
        deviations["y"],
        deviations["mean_deviation"],
        "mean deviation (σ)",
        limits=(-widest, widest),
        diverging=True,
        hovertemplate="x %{x:.0f}, y %{y:.0f}: %{z:.2f} σ<extra></extra>",
    )
    of = "all data sets" if deviations["data_set"] is None else f"data set {short_text(deviations['data_set'])}"
    caption = f"The panel with most alarm, {deviations['panel']}, of {of}: " + _READ_DEVIATION
    return figure([trace], caption, **_pixel_axes())


def has_own_map(regions: Document, detector: Document | None) -> bool:
    """Whether the map of the panel with most alarm shows what those of whole detectors do not."""
    found = regions["map"]
    if found is None:
        return False
    return detector is None or found["data_set"] is not None or detector["maps"][0]["shape"][0] > 1


def detector_figures(maps: Sequence[Document], rogues: Document | None) -> dict[str, Figure]:
    """Mean deviations and share of outliers over each kind of detector, by name."""
    figures = {}
    for k, found in enumerate(maps):
        suffix = "" if k == 0 else f"-{k + 1}"
        deviation = [_LEAST, *(abs(v) for v in found["mean_deviation"] if v is not None)]
        widest = min(max(deviation), _WIDEST)
        share = [100.0 * r / n if n else None for r, n in zip(found["n_rejected"], found["n_obs"], strict=True)]
        worst = max([v for v in share if v is not None], default=0.0)
        several = f" of {found['n_data_sets']} data sets" if found["n_data_sets"] > 1 else ""
        figures[f"detector-deviation{suffix}"] = _detector_figure(
            found,
            found["mean_deviation"],
            "mean deviation (σ)",
            f"Mean deviation over the detector{several}: " + _READ_DEVIATION,
            limits=(-widest, widest),
            diverging=True,
        )
        if not any(found["n_rejected"]):
            continue
        overall = 100.0 * sum(found["n_rejected"]) / max(sum(found["n_obs"]), 1)
        plot = _detector_figure(
            found,
            rounded([math.nan if v is None else v for v in share], 3),
            "rejected (%)",
            f"Share of outliers over the detector{several}, {overall:.2f} % of all: bright blocks may be shadowed or "
            "faulty; crosses are the worst observations.",
            limits=(0.0, max(worst, 0.1)),
        )
        if k == 0 and rogues is not None and found["shape"][0] == 1:
            plot["data"].append(_rogue_points(rogues))
        figures[f"detector-outliers{suffix}"] = plot
    return figures


def _detector_figure(
    found: Document, values: Sequence[float | None], title: str, caption: str, **colours: Any
) -> Figure:
    n_panels, ny, nx = found["shape"]
    w, h = found["size"]
    if n_panels > 1:
        return _panels_figure(found, values, title, caption, **colours)
    x, y = (rounded(length / n * k for k in range(n + 1)) for length, n in ((w, nx), (h, ny)))
    counts = [found["n_obs"][k * nx : (k + 1) * nx] for k in range(ny)]
    trace = heat_map(x, y, [values[k * nx : (k + 1) * nx] for k in range(ny)], title, **colours)
    place = "x %{x:.0f}, y %{y:.0f}"
    trace |= {"customdata": counts, "hovertemplate": f"{place}: {title} %{{z:.3g}}, %{{customdata}} observations"}
    trace["hovertemplate"] += "<extra></extra>"
    axes = _pixel_axes()
    rows = [k for k in range(ny) if any(counts[k])]
    columns = [k for k in range(nx) if any(row[k] for row in counts)]
    axes["xaxis"]["range"] = [x[max(columns[0] - 1, 0)], x[min(columns[-1] + 2, nx)]]
    axes["yaxis"] |= {"range": [y[min(rows[-1] + 2, ny)], y[max(rows[0] - 1, 0)]], "autorange": False}
    return figure([trace], caption, **axes)


def _panels_figure(found: Document, values: Sequence[float | None], title: str, caption: str, **colours: Any) -> Figure:
    """Blocks of several panels as points where they lie on the plane of the first panel."""
    n_panels, ny, nx = found["shape"]
    w, h = found["size"]
    corner = found["placement"] or [[0.0, k * h * 1.05, 1.0, 0.0, 0.0, 1.0] for k in range(n_panels)]
    x, y, text = [], [], []
    for k, (ox, oy, ax, ay, bx, by) in enumerate(corner):
        for row in range(ny):
            for column in range(nx):
                across, down = (column + 0.5) * w / nx, (row + 0.5) * h / ny
                x.append(ox + across * ax + down * bx)
                y.append(oy + across * ay + down * by)
                text.append(f"panel {k}, x {across:.0f}, y {down:.0f}, {found['n_obs'][len(x) - 1]} observations")
    low, high = colours["limits"]
    marker = {"color": list(values), "cmin": low, "cmax": high, "symbol": "square", "size": 5, "showscale": True}
    marker |= {"colorscale": DIVERGING if colours.get("diverging") else SEQUENTIAL, "colorbar": colour_bar(title)}
    points = line(title, rounded(x), rounded(y), GREY, mode="markers", marker=marker, text=text)
    points["hovertemplate"] = f"%{{text}}: {title} %{{marker.color:.3g}}<extra></extra>"
    unit = "mm" if found["placement"] else "pixels, panels one below the other"
    axes = {
        "xaxis": axis(f"x ({unit})", constrain="domain"),
        "yaxis": axis(f"y ({unit})", autorange="reversed", scaleanchor="x", constrain="domain"),
    }
    return figure([points], caption, showlegend=False, **axes)


def _rogue_points(rogues: Document) -> dict[str, Any]:
    placed = [r for r in rogues["worst"] if r["x"] is not None and r["rejected"]]
    points = line("worst observations", rounded(r["x"] for r in placed), rounded(r["y"] for r in placed), ORANGE)
    points |= {"mode": "markers", "showlegend": False}
    points["marker"] = {"symbol": "x-thin", "size": 8, "line": {"width": 2, "color": ORANGE}}
    points["text"] = [
        f"h k l {' '.join(map(str, r['miller_index']))}, image {fixed(r['image'], 1)}, {fixed(r['deviation'], 1)} σ"
        for r in placed
    ]
    points["hovertemplate"] = "%{text}<extra></extra>"
    return points


def _pixel_axes() -> dict[str, Any]:
    return {
        "xaxis": axis("x (pixels)", constrain="domain", showgrid=False),
        "yaxis": axis("y (pixels)", autorange="reversed", scaleanchor="x", constrain="domain", showgrid=False),
    }
