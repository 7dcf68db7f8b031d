"""The main figures for papers: SVG and PNG of one column's width, drawn by matplotlib from the report's figures."""

from __future__ import annotations

import html
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyscale.errors import UsageError
from pyscale.io.atomic import OutputSet

from .all_figures import page_figures
from .plots import Figure

__all__ = ["require_matplotlib", "write_plots"]

_MM = 1 / 25.4
#: Single column of most journals, and the height of a plot and of one of several in a column.
_WIDTH, _HEIGHT, _ROW_HEIGHT = 85 * _MM, 60 * _MM, 38 * _MM
_STYLE = {
    "font.size": 7,
    "font.family": "sans-serif",
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "axes.grid": True,
    "axes.axisbelow": True,
    "lines.linewidth": 0.9,
    "lines.markersize": 2.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 6.5,
    # Text stays text, which any program scales and edits.
    "svg.fonttype": "none",
    "svg.hashsalt": "pyscale",
}
_DASHES = {"dot": ":", "dash": "--", "dashdot": "-."}
_SKIPPED = ("multiples",)
#: Labels of ticks are this part of the axis from each other.
_LEAST_APART = 0.12
_LONG_LABEL = 16
_DPI = 300


def require_matplotlib() -> None:
    """Refuse `output.plots` where matplotlib is missing.

    Raises
    ------
    UsageError
        If it is.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("option output.plots: needs matplotlib: pip install 'pyscale-xtal[plots]'")


def write_plots(document: dict[str, Any], folder: str, outputs: OutputSet) -> None:
    """Write every figure of curves in a document's report as NAME.svg and NAME.png.

    Parameters
    ----------
    document : dict
        The public document.
    folder : str
        Made if it does not exist.
    outputs : OutputSet
        With which the files appear, or not at all.

    Raises
    ------
    UsageError
        If matplotlib is missing or the folder cannot be made or written to.
    """
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    try:
        Path(folder).mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"option output.plots={folder}: cannot be made a directory ({error.strerror})") from None
    with mpl.rc_context(_STYLE):
        for name, figure in _curves(page_figures(document)):
            rows = _rows(figure["layout"])
            height = _HEIGHT if len(rows) == 1 else _ROW_HEIGHT * len(rows)
            canvas = Canvas(figsize=(_WIDTH, height), layout="constrained")
            FigureCanvasAgg(canvas)
            _draw(canvas, figure, rows)
            for kind, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
                path = outputs.stage(Path(folder) / f"{name}.{kind}", named_as_output=True)
                canvas.savefig(path, format=kind, dpi=_DPI, metadata=metadata)


def _curves(figures: dict[str, Figure]) -> Iterator[tuple[str, Figure]]:
    """Figures of lines and points only."""
    for name, figure in figures.items():
        if figure["data"] and name not in _SKIPPED and all(t.get("type") == "scatter" for t in figure["data"]):
            yield name, figure


def _rows(layout: dict[str, Any]) -> list[str]:
    """Names of the vertical axes that have a row of their own, from top to bottom."""
    axes = [key for key in layout if re.fullmatch(r"yaxis\d*", key) and "overlaying" not in layout[key]]
    return sorted(axes, key=lambda key: -float(layout[key].get("domain", (0, 1))[0])) or ["yaxis"]


def _draw(canvas: Any, figure: Figure, rows: list[str]) -> None:
    layout = figure["layout"]
    places = canvas.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    axes = {"y" + key.removeprefix("yaxis"): place for key, place in zip(rows, places, strict=True)}
    for key in layout:
        if re.fullmatch(r"yaxis\d+", key) and "overlaying" in layout[key]:
            beside = axes[layout[key]["overlaying"]].twinx()
            beside.spines["right"].set_visible(True)
            beside.grid(visible=False)
            axes["y" + key.removeprefix("yaxis")] = beside
    for trace in figure["data"]:
        if trace.get("visible") != "legendonly" and not _is_band(trace):
            _line(axes[trace.get("yaxis", "y")], trace)
    for shape in layout.get("shapes", ()):
        _shape(axes.get(shape.get("yref", "paper"), places[0]), places, shape)
    for name, place in axes.items():
        _label(place, layout.get("yaxis" + name.removeprefix("y"), {}), "y")
    _label(places[-1], layout.get("xaxis", {}), "x")
    if len(rows) == 1:
        _legend(places[0], list(axes.values()))
    for place in places if len(rows) > 1 else ():
        if len(place.get_legend_handles_labels()[0]) > 1:
            place.legend(loc="best")


def _is_band(trace: dict[str, Any]) -> bool:
    """Whether a trace only bounds a band of uncertainty."""
    return bool(trace.get("fill")) or trace.get("line", {}).get("width") == 0


def _line(place: Any, trace: dict[str, Any]) -> None:
    y = [float("nan") if v is None else v for v in trace["y"]]
    x = trace.get("x") or [trace.get("x0", 0) + trace.get("dx", 1) * k for k in range(len(y))]
    mode, color = trace.get("mode", "lines+markers"), trace.get("line", {}).get("color")
    style = {"color": color or trace.get("marker", {}).get("color"), "label": _plain(trace.get("name", ""))}
    style["linestyle"] = _DASHES.get(trace.get("line", {}).get("dash", ""), "-") if "lines" in mode else "none"
    style["marker"] = "o" if "markers" in mode else "none"
    bars = trace.get("error_y", {}).get("array")
    if bars is None:
        place.plot(x, y, **style)
        return
    lower = trace["error_y"].get("arrayminus", bars)
    sizes = [[0.0 if v is None else v for v in values] for values in (lower, bars)]
    place.errorbar(x, y, yerr=sizes, elinewidth=0.5, **style)


def _shape(place: Any, places: Any, shape: dict[str, Any]) -> None:
    """Lines across one row, and bands and upright lines through all rows."""
    style = {"color": "#888888", "linestyle": ":", "linewidth": 0.7}
    if shape["type"] == "rect":
        for row in places:
            row.axvspan(shape["x0"], shape["x1"], color="#888888", alpha=0.25, linewidth=0)
    elif shape.get("xref") == "paper":
        place.axhline(shape["y0"], **style)
    elif shape["x0"] == shape["x1"]:
        for row in places:
            row.axvline(shape["x0"], **style)


def _label(place: Any, axis: dict[str, Any], which: str) -> None:
    """Title, scale and ticks of an axis, as the report has them."""
    getattr(place, f"set_{which}label")(_plain(axis.get("title", {}).get("text", "")))
    if axis.get("type") == "log":
        getattr(place, f"set_{which}scale")("log")
    elif axis.get("rangemode") == "tozero":
        lower, upper = getattr(place, f"get_{which}lim")()
        getattr(place, f"set_{which}lim")(min(lower, 0.0), upper)
    if axis.get("tickvals"):
        lower, upper = getattr(place, f"get_{which}lim")()
        ticks = [(v, t) for v, t in zip(axis["tickvals"], axis["ticktext"], strict=True) if lower <= v <= upper]
        kept = _apart([v for v, _ in ticks], _LEAST_APART * (upper - lower))
        getattr(place, f"set_{which}ticks")([ticks[k][0] for k in kept], [_plain(str(ticks[k][1])) for k in kept])
    elif axis.get("dtick"):
        getattr(place, f"{which}axis").get_major_locator().set_params(integer=True)
    elif axis.get("tickformat") == ".0%":
        getattr(place, f"{which}axis").set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def _apart(values: list[float], distance: float) -> list[int]:
    """Positions of values that are at least so far from each other."""
    kept: list[int] = []
    for k, value in enumerate(values):
        if not kept or abs(value - values[kept[-1]]) >= distance:
            kept.append(k)
    return kept


def _legend(place: Any, axes: list[Any]) -> None:
    """One legend above for all axes that lie over each other."""
    found = [one.get_legend_handles_labels() for one in axes]
    handles = [h for one, _ in found for h in one]
    labels = [label for _, one in found for label in one]
    if len(handles) > 1:
        columns = 3 if max(map(len, labels)) < _LONG_LABEL else 2
        place.legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2)


def _plain(text: str) -> str:
    """Text without the markup of plotly; $ would start a formula."""
    return html.unescape(re.sub(r"<[^>]*>", "", text)).replace("$", r"\$")
