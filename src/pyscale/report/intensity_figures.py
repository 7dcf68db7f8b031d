"""Plots and table of how merged intensities are distributed: Wilson plot, moments, L test, anomalous signal."""

from __future__ import annotations

from collections.abc import Sequence
from math import asin, pi
from typing import Any

from .figures import normal_probability_figure
from .numbers import count, fixed, with_sigma
from .palette import BLUE, COLORS, GREEN, GREY, ORANGE
from .plots import Figure, axis, figure, level, line, resolution_axis
from .table import Table

__all__ = ["intensity_figures", "intensity_statistics_table"]


def intensity_figures(analyses: dict[str, Any]) -> dict[str, Figure]:
    """Return those plots that the analyses of a document allow."""
    figures: dict[str, Figure] = {}
    if wilson := analyses.get("wilson"):
        figures["wilson"] = _wilson(wilson)
    if twinning := analyses.get("twinning"):
        figures["moments"] = _moments(twinning)
        if twinning["l_test"] is not None:
            figures["l-test"] = _l_test(twinning)
    anomalous = analyses.get("anomalous_signal")
    if anomalous and anomalous["wavelengths"]:
        figures |= _anomalous_figures(anomalous["wavelengths"])
    return figures


def _wilson(wilson: dict[str, Any]) -> Figure:
    shells = [s for s in wilson["shells"] if s["log_ratio"] is not None]
    _, x_axis = resolution_axis(shells)
    x = [4 * s["s_squared"] for s in shells]
    fitted = [k for k, s in enumerate(shells) if s["fitted"]]
    others = [k for k, s in enumerate(shells) if not s["fitted"]]

    def points(name: str, chosen: list[int], color: str) -> dict[str, Any]:
        y = [shells[k]["log_ratio"] for k in chosen]
        errors = {"type": "data", "array": [shells[k]["sigma"] for k in chosen], "thickness": 1, "color": color}
        return line(name, [x[k] for k in chosen], y, color, mode="markers", error_y=errors)

    ends = [x[fitted[0]], x[fitted[-1]]]
    values = [wilson["log_scale"] - 0.5 * wilson["b"] * e for e in ends]
    data = [points("fitted", fitted, BLUE), points("not fitted", others, GREY)]
    data.append(line(f"B = {wilson['b']:.1f} Å²", ends, values, ORANGE, mode="lines"))
    caption = (
        "Ordinary data fall on the straight line from about 4 Å on; bumps are ice or loops, an upturn at the end is "
        "overestimated weak data."
    )
    return figure(data, caption, xaxis=x_axis, yaxis=axis("ln(⟨I/ε⟩ / Σf²)", **_telling_range(shells, values)))


def _telling_range(shells: Sequence[dict[str, Any]], others: Sequence[float]) -> dict[str, Any]:
    """Range of an axis that holds all that is known to better than a factor of e, if not all is."""
    known = [s for s in shells if s["sigma"] < 1.0]
    if len(known) in (0, len(shells)):
        return {}
    low = min(*others, *(s["log_ratio"] - s["sigma"] for s in known))
    high = max(*others, *(s["log_ratio"] + s["sigma"] for s in known))
    beyond = 0.05 * (high - low)
    return {"range": [low - beyond, high + beyond]}


def _moments(twinning: dict[str, Any]) -> Figure:
    shells = twinning["shells"]
    x, x_axis = resolution_axis(shells)
    ends = [shells[0]["d_max"] ** -2, shells[-1]["d_min"] ** -2]
    data = []
    for kind, color, expected in (("acentric", BLUE, (2.0, 1.5)), ("centric", GREEN, (3.0, 2.0))):
        known = [(at, s[kind]) for at, s in zip(x, shells, strict=True) if s[kind] is not None]
        if not known:
            continue
        errors = {"type": "data", "array": [m["sigma"] for _, m in known], "thickness": 1, "color": color}
        data.append(line(kind, [at for at, _ in known], [m["value"] for _, m in known], color, error_y=errors))
        for name, value, dash in zip(("untwinned", "perfect twin"), expected, ("dash", "dot"), strict=True):
            dashed = {"mode": "lines", "line": {"color": color, "dash": dash, "width": 1}}
            data.append(line(f"{kind}, {name}", ends, [value, value], color, **dashed))
    caption = "Untwinned data lie at the dashed lines at all resolutions, twins towards the dotted ones."
    return figure(data, caption, xaxis=x_axis, yaxis=axis("⟨I²⟩/⟨I⟩²"))


def _l_test(twinning: dict[str, Any]) -> Figure:
    observed = [0.0, *twinning["l_test"]["cumulative"]]
    x = [k / (len(observed) - 1) for k in range(len(observed))]
    data = [line("observed", x, observed, BLUE)]
    for name, values, dash in (
        ("acentric, untwinned", x, "dash"),
        ("acentric, perfect twin", [0.5 * v * (3 - v * v) for v in x], "dot"),
        ("centric, untwinned", [2 / pi * asin(v) for v in x], "dashdot"),
    ):
        data.append(line(name, x, values, GREY, mode="lines", line={"color": GREY, "dash": dash, "width": 1}))
    caption = "Untwinned acentric data follow the dashed line, twins bend towards the dotted one."
    return figure(data, caption, xaxis=axis("|L|"), yaxis=axis("share of pairs below"))


def _anomalous_figures(signals: Sequence[dict[str, Any]]) -> dict[str, Figure]:
    """Those plots of anomalous differences that have any points."""
    figures = {}
    if _has_curve(signals, "cc_anom"):
        figures["anomalous-cc"] = _anomalous(
            signals,
            "cc_anom",
            "CC anomalous",
            "Correlation of anomalous differences between random halves, with standard errors: above 0 (dotted) is a "
            "signal, above about 0.3 a strong one.",
            level_at=0.0,
        )
    if _has_curve(signals, "difference_over_sigma"):
        figures["anomalous-differences"] = _anomalous(
            signals,
            "difference_over_sigma",
            "mean |I(+) − I(−)|/σ",
            "Differences of Friedel mates over their errors: above the dashed line they exceed what noise alone makes.",
        )
    series = [
        (_wavelength(s, signals), s["normal_probability"]["expected"], s["normal_probability"]["observed"])
        for s in signals
        if s.get("normal_probability")
    ]
    if series:
        figures["anomalous-normal"] = normal_probability_figure(
            series,
            "(I(+) − I(−))/σ",
            "Steeper than the dotted line means differences beyond their errors: an anomalous signal if σ are right.",
        )
    return figures


def _has_curve(signals: Sequence[dict[str, Any]], key: str) -> bool:
    """Whether a quantity is known of two shells, which is what a plot is for."""
    return any(sum(s[key] is not None for s in signal["shells"]) > 1 for signal in signals)


def _wavelength(signal: dict[str, Any], signals: Sequence[dict[str, Any]]) -> str:
    return f"{signal['wavelength']:.4f} Å" if len(signals) > 1 else "observed"


def _anomalous(
    signals: Sequence[dict[str, Any]], key: str, title: str, caption: str, level_at: float | None = None
) -> Figure:
    data = []
    x_axis: dict[str, Any] = {}
    for k, signal in enumerate(signals[: len(COLORS)]):
        x, x_axis = resolution_axis(signal["shells"])
        name = _wavelength(signal, signals)
        data.append(line(name, x, [s[key] for s in signal["shells"]], COLORS[k]))
        if level_at is None:
            noise = {"mode": "lines", "line": {"color": COLORS[k], "dash": "dash", "width": 1}}
            label = f"{name}, without signal" if len(signals) > 1 else "without signal"
            data.append(line(label, x, [s["without_signal"] for s in signal["shells"]], COLORS[k], **noise))
        else:
            errors = [s["sigma_cc_anom"] for s in signal["shells"]]
            data[-1]["error_y"] = {"type": "data", "array": errors, "thickness": 1, "color": COLORS[k]}
    shapes = [] if level_at is None else [level(level_at)]
    return figure(data, caption, xaxis=x_axis, yaxis=axis(title), shapes=shapes)


def intensity_statistics_table(analyses: dict[str, Any]) -> Table:
    """What these analyses found, one line each."""
    rows = []
    if wilson := analyses.get("wilson"):
        text = f"B = {with_sigma(wilson['b'], wilson['sigma_b'])} Å²"
        between = f"{fixed(wilson['d_max'], 2)}–{fixed(wilson['d_min'], 2)} Å, {wilson['composition']} assumed"
        rows.append(["Wilson plot", text, between if wilson["is_good"] else f"{between}; no straight line"])
    if wilson and wilson["anisotropy"]:
        rows.append(
            ["Anisotropy", f"ΔB = {fixed(wilson['anisotropy'], 1)} Å²", "largest difference between directions"]
        )
    if translation := analyses.get("pseudo_translation"):
        text = "pseudo-translation" if translation["significant"] else "none"
        place = ", ".join(fixed(v, 3) for v in translation["vector"])
        peak = f"highest Patterson peak {fixed(100 * translation['height'], 1)} % of the origin at ({place})"
        rows.append(["Pseudo-translation", text, peak])
    if twinning := analyses.get("twinning"):
        rows.append(["Twinning", twinning["verdict"], twinning["reason"]])
        for law in twinning["laws"]:
            fraction = f"twin fraction {with_sigma(law['fraction'], law['sigma'])}"
            rows.append([f"Twin law {law['operator']}", fraction, f"H test, {count(law['n_pairs'])} pairs"])
    if absences := analyses.get("absences"):
        rows.append(["Systematic absences", *_absences(absences)])
    if anomalous := analyses.get("anomalous_signal"):
        if not anomalous["applicable"]:
            rows.append(["Anomalous signal", "not applicable", anomalous["reason"]])
        for signal in anomalous["wavelengths"]:
            reach = f" to {fixed(signal['d_min'], 2)} Å" if signal["d_min"] is not None else ""
            overall = signal["overall"]
            numbers = f"CC {fixed(overall['cc_anom'], 2)}, |ΔI|/σ {fixed(overall['difference_over_sigma'], 2)}"
            numbers += f" ({fixed(overall['without_signal'], 2)} without)"
            rows.append([f"Anomalous signal, {signal['wavelength']:.4f} Å", signal["verdict"] + reach, numbers])
    return Table(["Intensities", "Verdict", "Reason"], rows)


def _absences(absences: dict[str, Any]) -> tuple[str, str]:
    name = absences["space_group"]
    forbidden = f"{count(absences['n_present'])} of {count(absences['n_forbidden'])} forbidden reflections above 4σ"
    if absences["contradicted"]:
        return f"not those of {name}", forbidden
    if absences["suggestions"]:
        return f"more than {name} has", "they agree with " + ", ".join(absences["suggestions"])
    return f"nothing against {name}", forbidden
