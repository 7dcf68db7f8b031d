"""Rogues and regions that deviate: tables and map of the report."""

from __future__ import annotations

from .numbers import MISSING, count, fixed, significant
from .plots import DIVERGING, Figure, axis
from .table import Document, Table

__all__ = ["deviation_figure", "region_table", "rogue_table"]

_WIDEST = 4.0


def rogue_table(rogues: Document) -> Table:
    """The worst observations."""
    columns = [
        "Data set",
        "h k l",
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
    note = f"{count(rogues['n_rejected'])} observations were rejected."
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
    widest = min(max([0.5, *known]), _WIDEST)
    trace = {
        "type": "heatmap",
        "x": deviations["x"],
        "y": deviations["y"],
        "z": deviations["mean_deviation"],
        "zmin": -widest,
        "zmax": widest,
        "colorscale": DIVERGING,
        "colorbar": {"title": {"text": "mean deviation (σ)"}},
        "hovertemplate": "x %{x:.0f}, y %{y:.0f}: %{z:.2f} σ<extra></extra>",
    }
    layout = {
        "xaxis": axis("x (pixels)", constrain="domain"),
        "yaxis": axis("y (pixels)", autorange="reversed", scaleanchor="x", constrain="domain"),
    }
    return {"data": [trace], "layout": layout}
