"""The plots, as plain dictionaries in plotly's JSON form."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from pyscale.components import ComponentModel
from pyscale.observations import JobObservations
from pyscale.scaling_model import DataSetModel
from pyscale.typing import FloatArray

from .curves import absorption_surface, smooth_curve, unmeasured_directions

__all__ = [
    "Figure",
    "absorption_figure",
    "error_model_figure",
    "model_figure",
    "resolution_figures",
    "summary_figure",
]

Figure = dict[str, Any]

_BLUE, _ORANGE, _GREEN, _PURPLE = "#3b8ed0", "#e0822d", "#2ca089", "#b565c9"
_DIVERGING = [[0, "#2166ac"], [0.5, "#f7f7f7"], [1, "#b2182b"]]
_Y_LABELS = {"smooth_scale": "scale", "smooth_decay": "relative B (Å²)"}


def _axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title}, **more}


def _line(name: str, x: Sequence[Any], y: Sequence[Any], color: str, **more: Any) -> dict[str, Any]:
    base = {"type": "scatter", "mode": "lines+markers", "name": name, "x": list(x), "y": list(y)}
    return base | {"line": {"color": color}, "marker": {"color": color}} | more


def resolution_figures(statistics: dict[str, Any]) -> dict[str, Figure]:
    """CC1/2, R values, I/sigma, completeness and multiplicity against resolution, linear in 1/d^2."""
    shells = statistics["shells"]
    x = [0.5 * (s["d_max"] ** -2 + s["d_min"] ** -2) for s in shells]
    labels = [f"{s['d_max']:.2f}–{s['d_min']:.2f} Å" for s in shells]
    stride = max(1, len(shells) // 7)
    ticks = {"tickvals": [s["d_min"] ** -2 for s in shells[::stride]]}
    ticks["ticktext"] = [f"{s['d_min']:.2f}" for s in shells[::stride]]

    def curve(name: str, key: str, color: str, **more: Any) -> dict[str, Any]:
        hover = {"text": labels, "hovertemplate": "%{text}: %{y:.4g}"}
        return _line(name, x, [s[key] for s in shells], color, **hover, **more)

    def figure(traces: list[dict[str, Any]], **axes: Any) -> Figure:
        return {"data": traces, "layout": {"xaxis": _axis("resolution d (Å)", **ticks), **axes}}

    return {
        "cc-half": figure(
            [
                curve("CC½", "cc_half", _BLUE),
                curve("CC½, σ–τ", "cc_half_sigma_tau", _GREEN, visible="legendonly"),
                curve("CC anomalous", "cc_anom", _ORANGE),
            ],
            yaxis=_axis("correlation", rangemode="tozero"),
        ),
        "r-values": figure(
            [
                curve("R merge", "r_merge", _GREEN),
                curve("R meas", "r_meas", _BLUE),
                curve("R pim", "r_pim", _ORANGE),
            ],
            yaxis=_axis("R", rangemode="tozero"),
        ),
        "i-over-sigma": figure([curve("I/σ", "i_over_sigma", _BLUE)], yaxis=_axis("mean I/σ", rangemode="tozero")),
        "completeness": figure(
            [
                curve("completeness", "completeness", _BLUE),
                curve("multiplicity", "multiplicity", _ORANGE, yaxis="y2"),
            ],
            yaxis=_axis("completeness", rangemode="tozero", tickformat=".0%"),
            yaxis2=_axis(
                "multiplicity", rangemode="tozero", overlaying="y", side="right", showgrid=False, tickmode="auto"
            ),
        ),
    }


def error_model_figure(bins: Sequence[dict[str, Any]]) -> Figure:
    """Variance of normalised deviations by intensity, before and after the error model."""
    ordered = sorted(bins, key=lambda b: float(b["intensity_min"]))
    x = list(range(1, len(ordered) + 1))
    labels = [f"{b['intensity_min']:.3g} to {b['intensity_max']:.3g}, {b['n']} observations" for b in ordered]
    traces = [
        _line(name, x, [b[key] for b in ordered], color, text=labels, hovertemplate="%{text}: %{y:.3f}")
        for name, key, color in (
            ("as integrated", "uncorrected_variance", _ORANGE),
            ("after the error model", "corrected_variance", _BLUE),
        )
    ]
    ticks = {"tickvals": x, "ticktext": [_magnitude(b["intensity_max"]) for b in ordered]}
    one = {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": 1,
        "y1": 1,
        "line": {"dash": "dot", "color": "#888"},
    }
    layout = {
        "xaxis": _axis("expected intensity up to", **ticks),
        "yaxis": _axis("variance of deviations / σ", type="log"),
        "shapes": [one],
    }
    return {"data": traces, "layout": layout}


def model_figure(model: DataSetModel, document: dict[str, Any]) -> Figure | None:
    """Smooth scale and relative B along a scan, with nodes and their uncertainties; None without either.

    Parameters
    ----------
    model : DataSetModel
    document : dict
        Entry of this data set in the document.
    """
    images = document["images"]
    pairs = zip(model.components, document["model"]["components"], strict=True)
    smooth = [(c, entry) for c, entry in pairs if c.kind in _Y_LABELS]
    if not smooth or images is None:
        return None
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"xaxis": _axis("image", anchor="y" if len(smooth) == 1 else f"y{len(smooth)}")}
    for row, (component, entry) in enumerate(smooth, 1):
        axis = "y" if row == 1 else f"y{row}"
        data += _curve_traces(component, entry, (images[0], images[1]), axis, (_BLUE, _ORANGE)[(row - 1) % 2])
        top = 1 - (row - 1) / len(smooth)
        domain = [top - 1 / len(smooth) + (0.06 if row < len(smooth) else 0), top]
        layout[f"yaxis{'' if row == 1 else row}"] = _axis(_Y_LABELS[component.kind], domain=domain)
    return {"data": data, "layout": layout}


def _curve_traces(
    component: ComponentModel, entry: dict[str, Any], images: tuple[int, int], yaxis: str, color: str
) -> list[dict[str, Any]]:
    curve = smooth_curve(component, images)
    # Array coordinate z = n - 1/2 is the middle of image n.
    line = _line(entry["name"], _rounded(curve.z + 0.5), _rounded(curve.value), color, mode="lines", yaxis=yaxis)
    nodes = _line(f"{entry['name']} nodes", _rounded(curve.node_z + 0.5), entry["parameters"], color)
    nodes |= {"mode": "markers", "yaxis": yaxis}
    if entry["sigmas"] is not None:
        nodes["error_y"] = {"type": "data", "array": entry["sigmas"], "color": color, "thickness": 1}
    return [line, nodes]


def absorption_figure(component: ComponentModel, observations: JobObservations, number: int) -> Figure:
    """Absorption surface over direction; directions that no beam took are greyed."""
    surface = absorption_surface(component)
    unmeasured = unmeasured_directions(observations, number)
    x, y = _rounded(surface.azimuth_deg), _rounded(surface.polar_deg)
    span = float(abs(surface.value - 1.0).max()) or 1e-3
    heat = {
        "type": "heatmap",
        "x": x,
        "y": y,
        "z": [_rounded(row) for row in surface.value],
        "zmin": 1 - span,
        "zmax": 1 + span,
        "colorscale": _DIVERGING,
        "colorbar": {"title": {"text": "factor"}},
        "hovertemplate": "azimuth %{x}°, polar angle %{y}°: %{z:.4f}<extra></extra>",
    }
    grey = {
        "type": "heatmap",
        "x": x,
        "y": y,
        "z": [[1 if cell else None for cell in row] for row in unmeasured.tolist()],
        "colorscale": [[0, "#777"], [1, "#777"]],
        "opacity": 0.75,
        "showscale": False,
        "hovertemplate": "not measured<extra></extra>",
    }
    layout = {
        "xaxis": _axis("azimuth (°)", range=[-180, 180], dtick=60, constrain="domain"),
        "yaxis": _axis("polar angle (°)", range=[180, 0], dtick=45),
    }
    return {"data": [heat, grey], "layout": layout}


def summary_figure(entries: Sequence[dict[str, Any]]) -> Figure:
    """Mean scale and B of every data set.

    Parameters
    ----------
    entries
        For each data set its identifier, and `scale` and `decay`: None, or (value, below, above).
    """
    data = []
    layout: dict[str, Any] = {"xaxis": _axis("data set, in the order of the input", anchor="y2")}
    layout["xaxis"]["dtick"] = max(1, len(entries) // 10)
    x = list(range(len(entries)))
    names = [escape(str(e["identifier"]))[:80] for e in entries]
    for key, yaxis, color in (("scale", "y", _BLUE), ("decay", "y2", _ORANGE)):
        values = [e[key] or (None, None, None) for e in entries]
        trace = _line(key, x, [v[0] for v in values], color, mode="markers", yaxis=yaxis)
        trace |= {"text": names, "hovertemplate": "%{text}: %{y:.4g}"}
        if len(entries) <= 500:
            below, above = [v[1] for v in values], [v[2] for v in values]
            trace["error_y"] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
            trace["error_y"] |= {"color": color, "thickness": 1}
        data.append(trace)
    layout["yaxis"] = _axis("mean scale", domain=[0.53, 1])
    layout["yaxis2"] = _axis("mean relative B (Å²)", domain=[0, 0.47])
    return {"data": data, "layout": layout}


def _magnitude(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rounded(values: FloatArray) -> list[float]:
    return [float(f"{v:.6g}") for v in values.tolist()]
