"""The plots of the whole job: merging statistics and error model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .numbers import significant
from .palette import BLUE, COLORS, GREEN, GREY, ORANGE
from .plots import Figure, axis, figure, level, line, log_axis, resolution_axis, rounded

__all__ = ["error_model_figures", "normal_probability_figure", "resolution_figures", "shell_value"]

_LEAST_IN_BIN, _LEAST_BINS = 10, 2
"""Observations whose variance is shown, and bins that make a plot."""

_SYMBOLS = ("circle", "diamond-open", "square-open", "cross", "triangle-up-open")


def resolution_figures(statistics: dict[str, Any]) -> dict[str, Figure]:
    """CC1/2, R values, I/sigma, completeness and multiplicity against resolution, linear in 1/d^2."""
    shells = statistics["shells"]
    x, x_axis = resolution_axis(shells)
    labels = [f"{s['d_max']:.2f}–{s['d_min']:.2f} Å" for s in shells]

    def curve(name: str, key: str, color: str, **more: Any) -> dict[str, Any]:
        hover = {"text": labels, "hovertemplate": f"{name}, %{{text}}: %{{y:.4g}}<extra></extra>"}
        return line(name, x, [shell_value(s, key) for s in shells], color, **hover, **more)

    def plot(traces: list[dict[str, Any]], caption: str, **axes: Any) -> Figure:
        return figure(traces, caption, xaxis=x_axis, **axes)

    dashed, dotted = ({"line": {"color": color, "dash": d}} for color, d in ((ORANGE, "dash"), (GREEN, "dot")))
    return {
        "cc-half": plot(
            [
                curve("CC½", "cc_half", BLUE),
                curve("CC½, σ–τ", "cc_half_sigma_tau", GREEN, visible="legendonly"),
                curve("CC anomalous", "cc_anom", ORANGE, **dashed),
            ],
            "CC½ near 1 is a strong shell, below about 0.3 hardly any signal is left; CC anomalous above 0 is an "
            "anomalous signal.",
            yaxis=axis("correlation", rangemode="tozero"),
        ),
        "r-values": plot(
            [
                curve("R meas", "r_meas", BLUE),
                curve("R merge", "r_merge", GREEN, **dotted),
                curve("R pim", "r_pim", ORANGE, **dashed),
            ],
            "Relative scatter of equivalents (R meas) and relative error of their mean (R pim); low is good, and both "
            "rise where the signal fades.",
            yaxis=axis("R (fraction)", rangemode="tozero"),
        ),
        "i-over-sigma": plot(
            [curve("I/σ", "i_over_sigma", BLUE)],
            "Mean signal over its error of merged intensities; below about 1 to 2 there is little signal.",
            yaxis=axis("mean I/σ", rangemode="tozero"),
        ),
        "completeness": plot(
            [
                curve("completeness", "completeness", BLUE),
                curve("multiplicity", "multiplicity", ORANGE, yaxis="y2", **dashed),
            ],
            "Share of the possible reflections that were measured (left), and how often each (right).",
            yaxis=axis("completeness", rangemode="tozero", tickformat=".0%"),
            yaxis2=axis(
                "multiplicity", rangemode="tozero", overlaying="y", side="right", showgrid=False, tickmode="auto"
            ),
        ),
    }


def shell_value(shell: dict[str, Any], key: str) -> float | None:
    """A statistic; not a correlation of too few pairs to have an interval, which says nothing."""
    found: float | None = shell[key] if shell.get(f"{key}_low", 0.0) is not None else None
    return found


def error_model_figures(model: dict[str, Any]) -> dict[str, Figure]:
    """Scatter by intensity and normal probability plot, as far as the error model has them."""
    figures = {}
    bins = [b for b in model.get("bins") or () if b["n"] >= _LEAST_IN_BIN]
    if len(bins) >= _LEAST_BINS:
        figures["error-model"] = _error_model_figure(bins)
    if plot := model.get("normal_probability"):
        series = [
            ("after the error model", plot["expected"], plot["corrected"]),
            ("as integrated", plot["expected"], plot["uncorrected"]),
        ]
        figures["error-normal"] = normal_probability_figure(
            series,
            "deviation / σ",
            "On the dotted line deviations are normal with the right σ; steeper, the scatter is larger than σ; ends "
            "that bend are more extreme deviations than σ explains.",
        )
    return figures


def _error_model_figure(bins: Sequence[dict[str, Any]]) -> Figure:
    """Variance of normalised deviations by intensity, before and after the error model."""
    ordered = sorted(bins, key=lambda b: float(b["intensity_min"]))
    x = list(range(1, len(ordered) + 1))
    labels = [f"I {b['intensity_min']:.3g} to {b['intensity_max']:.3g}, {b['n']} observations" for b in ordered]
    traces = [
        line(name, x, rounded(b[key] for b in ordered), color, line={"color": color, "dash": dash}, text=labels)
        | {"hovertemplate": "%{text}: %{y:.3f}"}
        for name, key, color, dash in (
            ("as integrated", "uncorrected_variance", ORANGE, "dash"),
            ("after the error model", "corrected_variance", BLUE, "solid"),
        )
    ]
    ticks = {"tickvals": x, "ticktext": [_magnitude(b["intensity_max"]) for b in ordered]}
    return figure(
        traces,
        "Scatter of equivalents over what their σ say: 1 (dotted) is right, above 1 the σ are too small.",
        xaxis=axis("expected intensity up to", **ticks),
        yaxis=log_axis("variance of deviations / σ²", [v for trace in traces for v in trace["y"]]),
        shapes=[level(1)],
    )


def normal_probability_figure(
    series: Sequence[tuple[str, Sequence[float], Sequence[float]]], quantity: str, caption: str
) -> Figure:
    """Quantiles of deviates against those of a normal distribution.

    Parameters
    ----------
    series : sequence of (str, list, list)
        Label, expected and observed quantiles; the first one is shown in full.
    quantity, caption : str
        What the deviates are, and how to read the plot.
    """
    data = []
    for k, (label, x, y) in enumerate(series):
        color, symbol = COLORS[k % len(COLORS)], _SYMBOLS[k % len(_SYMBOLS)]
        marker = {"color": color, "symbol": symbol, "size": 6}
        hover = f"{label}: %{{y:.2f}}, normal would be %{{x:.1f}}<extra></extra>"
        data.append(line(label, x, y, color, mode="markers", marker=marker, hovertemplate=hover))
    ends = [min(min(x) for _, x, _ in series), max(max(x) for _, x, _ in series)]
    data.append(line("normal", ends, ends, GREY, mode="lines", line={"color": GREY, "dash": "dot"}, hoverinfo="skip"))
    # The first series sets the range: the others may go far beyond it.
    widest = 1.3 * max(abs(v) for v in (*ends, *series[0][2]))
    return figure(data, caption, xaxis=axis("expected normal deviate"), yaxis=axis(quantity, range=[-widest, widest]))


def _magnitude(value: float) -> str:
    return f"{value:.0f}" if 100 <= abs(value) < 1e5 else significant(value, 3)
