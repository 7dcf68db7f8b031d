"""Two jobs side by side, from their public documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyscale.option_text import format_value

from .assets import render
from .figures import error_model_figures, shell_value
from .numbers import MISSING, count, fixed, significant, with_sigma
from .option_tables import flat_options
from .palette import BLUE, ORANGE
from .plots import Figure, axis, line, resolution_ticks
from .table import Document, Table, listed
from .tables import headline_quantities

__all__ = ["render_two"]

_CURVES = (
    ("cc-half", "CC½", "cc_half"),
    ("r-meas", "R meas", "r_meas"),
    ("r-pim", "R pim", "r_pim"),
    ("i-over-sigma", "mean I/σ", "i_over_sigma"),
    ("completeness", "completeness", "completeness"),
    ("multiplicity", "multiplicity", "multiplicity"),
    ("cc-anom", "CC anomalous", "cc_anom"),
)


def render_two(documents: Sequence[Document], names: Sequence[str]) -> str:
    """Render the page of two documents, called by the paths of their files."""
    names = _short_names(names)
    figures = {name: _curves(label, key, documents, names) for name, label, key in _CURVES}
    scatter = [error_model_figures(d["error_model"]).get("error-model") for d in documents]
    figures |= {f"error-model-{k}": found for k, found in enumerate(scatter) if found is not None and all(scatter)}
    return render(
        "comparison.html",
        figures,
        documents=documents,
        names=names,
        only=[_only_in(documents[k], documents[1 - k]) for k in range(2)],
        tables={
            "statistics": _statistics(documents, names),
            "options": _options(documents, names),
            "ledger": _ledger(documents, names),
            "errors": _error_models(documents, names),
            "runs": _runs(documents, names),
        },
    )


def _short_names(names: Sequence[str]) -> list[str]:
    """The parts of two paths in which they differ, marked A and B."""
    parts = [list(Path(name).parts) for name in names]
    while all(len(p) > 1 for p in parts) and parts[0][0] == parts[1][0]:
        parts = [p[1:] for p in parts]
    while all(len(p) > 1 for p in parts) and parts[0][-1] == parts[1][-1]:
        parts = [p[:-1] for p in parts]
    return [f"{letter}: {'/'.join(p)}" for letter, p in zip("AB", parts, strict=True)]


def _curves(label: str, key: str, documents: Sequence[Document], names: Sequence[str]) -> Figure:
    data: list[dict[str, Any]] = []
    for d, name, color, dash in zip(documents, names, (BLUE, ORANGE), ("solid", "dash"), strict=True):
        shells = d["merging_statistics"]["shells"]
        x = [0.5 * (s["d_max"] ** -2 + s["d_min"] ** -2) for s in shells]
        text = [f"{s['d_max']:.2f}–{s['d_min']:.2f} Å" for s in shells]
        curve = line(name.partition(":")[0], x, [shell_value(s, key) for s in shells], color)
        hover = {"text": text, "hovertemplate": "%{text}: %{y:.4g}"}
        data.append(curve | {"line": {"color": color, "dash": dash}} | hover)
    end = max(d["merging_statistics"]["shells"][-1]["d_min"] ** -2 for d in documents)
    across = axis("resolution d (Å)", **resolution_ticks(end))
    caption = f"{label} of A (solid) and B (dashed) by resolution."
    return {"data": data, "layout": {"xaxis": across, "yaxis": axis(label, rangemode="tozero")}, "caption": caption}


def _statistics(documents: Sequence[Document], names: Sequence[str]) -> Table:
    """Overall statistics, then those with the outliers put back, where rejecting more is no advantage."""
    rows = []
    for quantity in headline_quantities():
        entries = [_source(d, quantity.mates_apart) for d in documents]
        put_back = (quantity.text(e) for e in _put_back(documents, quantity))
        rows.append([quantity.label, *map(quantity.text, entries), *put_back])
    columns = ["", *names, *(f"{name[0]}, outliers put back" for name in names)]
    return Table(columns, rows)


def _source(document: Document, mates_apart: bool) -> Document:
    statistics = document["merging_statistics"]
    found: Document = (statistics["anomalous"] if mates_apart else statistics)["overall"]
    return found


def _put_back(documents: Sequence[Document], quantity: Any) -> list[Document | None]:
    return [None if quantity.mates_apart else d["merging_statistics"]["with_outliers"]["overall"] for d in documents]


def _options(documents: Sequence[Document], names: Sequence[str]) -> Table:
    first, second = (flat_options(d["options"] or {}) for d in documents)
    rows = [
        [path, *(format_value(found[path]) if path in found else "no such option" for found in (first, second))]
        for path in dict.fromkeys([*first, *second])
        if first.get(path, MISSING) != second.get(path, MISSING)
    ]
    return Table(["Option", *names], rows)


def _ledger(documents: Sequence[Document], names: Sequence[str]) -> Table:
    sums = [_sums(d["ledger"]) for d in documents]
    last = ("merged", "of these in the fit")
    labels = [*(k for k in dict.fromkeys([*sums[0], *sums[1]]) if k not in last), *last]
    rows = [
        [label, *(count(s.get(label, 0)) for s in sums), count(sums[1][label] - sums[0][label])] for label in labels
    ]
    return Table(["Observations", *names, "B − A"], rows)


def _sums(ledger: Document) -> Counter[str]:
    """What became of the observations of all data sets, by label."""
    found: Counter[str] = Counter()
    for entry in ledger.values():
        found["read"] += entry["read"]
        found["joined with another partial"] += entry["partials_merged"]
        for kind, label in (("filtered", "filtered"), ("user_excluded", "excluded"), ("rejected", "rejected")):
            for reason, number in entry[kind].items():
                found[f"{label}: {reason}"] += number
        found["merged"] += entry["merged"]
        found["of these in the fit"] += entry["used_in_fit"]
    return found


def _error_models(documents: Sequence[Document], names: Sequence[str]) -> Table:
    models = [d["error_model"] for d in documents]
    rows = [["Type", *(m["type"] or "none" for m in models)]]
    for label, key in (("a", "a"), ("b", "b"), ("c", "c"), ("ISa", "isa")):
        rows.append([label, *(with_sigma(m[key], m.get(f"sigma_{key}")) for m in models)])
    rows.append(["Outcome", *(m.get("reason", MISSING) for m in models)])
    return Table(["Error model", *names], rows)


def _runs(documents: Sequence[Document], names: Sequence[str]) -> Table:
    fits = [d["fit"] for d in documents]
    rows = [
        ["Program", *(d["program_version"] for d in documents)],
        ["Data sets", *(count(len(d["datasets"])) for d in documents)],
        ["Space group", *(d["space_group"] for d in documents)],
        ["Models", *(listed(sorted({e["model"]["type"] for e in d["datasets"]})) for d in documents)],
        ["Parameters", *(count(f["n_parameters"]) for f in fits)],
        ["Effective parameters", *(fixed(f["effective_parameters"], 1) for f in fits)],
        ["Observations in the fit", *(count(f["n_observations"]) for f in fits)],
        ["χ² of the fit", *(significant(f["chi_squared"]) for f in fits)],
        ["Termination", *(f["termination"] for f in fits)],
        ["Wall time (s)", *(fixed(f["wall_seconds"]["total"], 2) for f in fits)],
        ["Largest memory (MiB)", *(fixed(f["peak_memory_mib"], 0) for f in fits)],
    ]
    return Table(["", *names], rows)


def _only_in(one: Document, other: Document) -> str:
    """Data sets of one that the other lacks, as text."""
    known = {e["identifier"] for e in other["datasets"]}
    return listed([e["identifier"] for e in one["datasets"] if e["identifier"] not in known])
