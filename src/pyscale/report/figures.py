"""The plots of the whole job."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from .plots import BLUE, GREEN, ORANGE, Figure, axis, line

__all__ = ["error_model_figure", "resolution_figures", "summary_figure"]

_MAX_POINTS = 2000


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
        return line(name, x, [s[key] for s in shells], color, **hover, **more)

    def figure(traces: list[dict[str, Any]], **axes: Any) -> Figure:
        return {"data": traces, "layout": {"xaxis": axis("resolution d (Å)", **ticks), **axes}}

    return {
        "cc-half": figure(
            [
                curve("CC½", "cc_half", BLUE),
                curve("CC½, σ–τ", "cc_half_sigma_tau", GREEN, visible="legendonly"),
                curve("CC anomalous", "cc_anom", ORANGE),
            ],
            yaxis=axis("correlation", rangemode="tozero"),
        ),
        "r-values": figure(
            [
                curve("R merge", "r_merge", GREEN),
                curve("R meas", "r_meas", BLUE),
                curve("R pim", "r_pim", ORANGE),
            ],
            yaxis=axis("R", rangemode="tozero"),
        ),
        "i-over-sigma": figure([curve("I/σ", "i_over_sigma", BLUE)], yaxis=axis("mean I/σ", rangemode="tozero")),
        "completeness": figure(
            [
                curve("completeness", "completeness", BLUE),
                curve("multiplicity", "multiplicity", ORANGE, yaxis="y2"),
            ],
            yaxis=axis("completeness", rangemode="tozero", tickformat=".0%"),
            yaxis2=axis(
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
        line(name, x, [b[key] for b in ordered], color, text=labels, hovertemplate="%{text}: %{y:.3f}")
        for name, key, color in (
            ("as integrated", "uncorrected_variance", ORANGE),
            ("after the error model", "corrected_variance", BLUE),
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
        "xaxis": axis("expected intensity up to", **ticks),
        "yaxis": axis("variance of deviations / σ", type="log"),
        "shapes": [one],
    }
    return {"data": traces, "layout": layout}


def summary_figure(entries: Sequence[dict[str, Any]]) -> Figure:
    """Mean scale of every data set (of evenly spaced ones if there are very many), and B where there is any.

    Parameters
    ----------
    entries
        For each data set its identifier, and `scale` and `decay`: None, or (value, below, above).
    """
    data = []
    has_decay = any(e["decay"] for e in entries)
    step = -(-len(entries) // _MAX_POINTS)
    title = "data set, in the order of the input" + (f" (one in {step})" if step > 1 else "")
    layout: dict[str, Any] = {"xaxis": axis(title, anchor="y2" if has_decay else "y")}
    layout["xaxis"]["dtick"] = max(1, len(entries) // 10)
    x = list(range(0, len(entries), step))
    entries = entries[::step]
    names = [escape(str(e["identifier"]))[:80] for e in entries]
    for key, yaxis, color in (("scale", "y", BLUE), ("decay", "y2", ORANGE))[: 1 + has_decay]:
        values = [e[key] or (None, None, None) for e in entries]
        trace = line(key, x, [v[0] for v in values], color, mode="markers", yaxis=yaxis)
        trace |= {"text": names, "hovertemplate": "%{text}: %{y:.4g}"}
        if len(entries) <= 500:
            below, above = [v[1] for v in values], [v[2] for v in values]
            trace["error_y"] = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
            trace["error_y"] |= {"color": color, "thickness": 1}
        data.append(trace)
    layout["yaxis"] = axis("mean scale", domain=[0.53 if has_decay else 0, 1])
    if has_decay:
        layout["yaxis2"] = axis("mean relative B (Å²)", domain=[0, 0.47])
    return {"data": data, "layout": layout}


def _magnitude(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
