"""The tables of the models, from the public document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .numbers import MISSING, count, fixed, significant, with_sigma
from .table import Document, Table

__all__ = [
    "component_table",
    "decision_table",
    "grouped_decision_table",
    "marks",
    "model_choice_table",
    "summary_entries",
    "without_data",
]

_MAX_CHOICES = 50
_RELATIVE_B = {"physical": "decay", "KB": "decay", "dose_decay": "relative_B"}
"""The component that is a B factor, by type of model."""


def marks(shared: bool, held: bool) -> str:
    """What is special about the parameters of a component."""
    return ", ".join(word for word, applies in (("shared", shared), ("held", held)) if applies)


def without_data(fit: Document, name: str, shared: bool, number: int) -> list[int]:
    """Parameters of a component of a data set that follow their neighbours for want of data."""
    of = "all data sets" if shared else f"data set {number}"
    found: Mapping[str, list[int]] = fit["without_data"]
    return list(found.get(f"{name} of {of}", ()))


def component_table(entry: Document, fit: Document, number: int) -> Table:
    """Components of the model of one data set; the value only of those with a single parameter, no empty columns."""
    rows = []
    for c in entry["model"]["components"]:
        single = c["n_parameters"] == 1
        sigma = c["sigmas"][0] if c["sigmas"] else None
        weak = without_data(fit, c["name"], c["shared"], number)
        rows.append(
            [
                c["name"],
                count(c["n_parameters"]),
                MISSING if c["interval_deg"] is None else f"{significant(c['interval_deg'])}°",
                significant(c["restraint"]) if c["restraint"] else MISSING,
                ", ".join(map(significant, c["smoothness"])) if any(c["smoothness"]) else MISSING,
                marks(c["shared"], c["held"]) or MISSING,
                count(len(weak)) if weak else MISSING,
                with_sigma(c["parameters"][0], sigma) if single else MISSING,
            ]
        )
    columns = ["Component", "Parameters", "Interval of nodes", "Restraint to null", "Restraint of neighbours"]
    columns += ["Marks", "Without data", "Value"]
    told = [k for k in range(len(columns)) if any(row[k] != MISSING for row in rows)]
    return Table([columns[k] for k in told], [[row[k] for k in told] for row in rows])


def decision_table(decisions: Document) -> Table:
    """Choices for the model of one data set, with their reasons."""
    rows = [[name, _value(d["value"]), d["reason"]] for name, d in decisions.items()]
    return Table(["Choice", "Value", "Reason"], rows)


def grouped_decision_table(decisions: Document) -> Table:
    """The same for many data sets: equal choices counted."""
    counts = Counter(
        (name, _value(d["value"]), d["reason"]) for choices in decisions.values() for name, d in choices.items()
    )
    common = counts.most_common(_MAX_CHOICES)
    note = f"{len(counts) - _MAX_CHOICES} rarer choices are left out." if len(counts) > _MAX_CHOICES else ""
    return Table(["Choice", "Value", "Reason", "Data sets"], [[*key, count(n)] for key, n in common], note=note)


def model_choice_table(choice: Document) -> Table:
    """The models that were compared by held-out groups, that of the rules first."""
    rows = [
        [
            t["name"] + (" (chosen)" if t["chosen"] else ""),
            count(t["n_parameters"]),
            fixed(t["log_likelihood"], 5),
            with_sigma(t["difference"], t["standard_error"], 3),
        ]
        for t in choice["tried"]
    ]
    return Table(["Model", "Parameters", "Log-likelihood per observation", "Excess over the rules' model"], rows)


def free_set_table(free_set: Document) -> Table:
    """Groups in the fit and those that took no part in it."""
    rows = [
        [name, *(fixed(free_set[part][key], 4) for part in ("work", "free"))]
        for name, key in (("R_meas", "r_meas"), ("CC½", "cc_half"), ("χ²", "chi_squared"))
    ]
    rows.append(["Observations", *(count(free_set[part]["n_observations"]) for part in ("work", "free"))])
    return Table(["", "In the fit", "Free set"], rows)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return significant(value, 6) if isinstance(value, float) else str(value)


def summary_entries(datasets: Sequence[Document]) -> list[Document]:
    """Mean scale and relative B of each data set: (value, distance to lower end, to upper end of the bar), or None.

    The scale is the first component of all models, for an array model the grid that carries it. The bar of one
    parameter is its standard uncertainty, that of several their range.
    """
    entries = []
    for d in datasets:
        components = d["model"]["components"]
        b_name = _RELATIVE_B.get(d["model"]["type"])
        decay = next((c for c in components if c["name"] == b_name), None)
        scale = components[0] if components else None
        entries.append({"identifier": d["identifier"], "scale": _mean_with_bar(scale), "decay": _mean_with_bar(decay)})
    return entries


def _mean_with_bar(component: Document | None) -> tuple[float, float | None, float | None] | None:
    if component is None:
        return None
    p = component["parameters"]
    if len(p) == 1:
        sigma = component["sigmas"][0] if component["sigmas"] else None
        return p[0], sigma, sigma
    mean = sum(p) / len(p)
    return mean, mean - min(p), max(p) - mean
