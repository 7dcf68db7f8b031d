"""The sentences of the verdict that say what is good, from the public document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .verdict import Problem
from .verdict_rules import too_few_to_judge

__all__ = ["evidence", "headline", "reach"]

Document = dict[str, Any]

_OPENING = {
    "good": "Good data",
    "fair": "Usable data, with a reservation",
    "poor": "Poor data",
    "unusable": "These data cannot be used as they are",
    "undecided": "Too few measurements to judge",
}


def headline(grade: str, problems: tuple[Problem, ...], d_min: float | None) -> str:
    """The answer in one sentence."""
    opening = _OPENING[grade]
    if grade == "unusable":
        return f"{opening}: {_first_clause(problems[0].text)}."
    if grade == "undecided":
        return f"{opening}."
    reaches = "" if d_min is None else f", useful to {d_min:.2f} Å"
    if grade == "good":
        return f"{opening}{reaches}."
    return f"{opening}{reaches}: {_first_clause(problems[0].text)}."


def _first_clause(text: str) -> str:
    clause = text.partition(": ")[0].rstrip(".")
    return clause[:1].lower() + clause[1:]


def reach(document: Document) -> float | None:
    """Resolution to which the data are of use: the criterion's limit, or where what is merged ends before."""
    overall = document["merging_statistics"]["overall"]
    merged_to: float | None = overall["d_min"]
    found = document["analyses"].get("resolution")
    if found is None or merged_to is None:
        return None
    chosen = next((x for x in found["limits"] if x["criterion"] == found["criterion"]), None)
    if chosen is None or chosen["state"] in ("nowhere", "undetermined") or chosen["d_min"] is None:
        return None
    return max(merged_to, float(found["suggested_d_min"] or merged_to))


def evidence(document: Document) -> Iterator[str]:
    """What the verdict rests on."""
    overall, low = document["merging_statistics"]["overall"], document["merging_statistics"]["shells"][0]
    yield (
        f"{_count(overall['n_obs'])} measurements of {_count(overall['n_unique'])} reflections were merged: each was "
        f"measured {overall['multiplicity']:.1f} times on average, and {100 * overall['completeness']:.0f} % of all "
        f"possible reflections to {overall['d_min']:.2f} Å were."
    )
    if overall["r_meas"] is not None and low["r_meas"] is not None and not too_few_to_judge(document):
        yield (
            f"Repeated measurements differ by {100 * overall['r_meas']:.1f} % (R_meas), by {100 * low['r_meas']:.1f} % "
            f"at low resolution, where they are strongest; their means are good to {100 * overall['r_pim']:.1f} % "
            "(R_pim)."
        )
    yield from _limit(document)
    yield from _anomalous(document["analyses"].get("anomalous_signal"))


def _count(value: int) -> str:
    return f"{value:,}".replace(",", " ")


def _limit(document: Document) -> Iterator[str]:
    found = document["analyses"].get("resolution")
    if found is None:
        yield "There are too few reflections to tell how far the data reach."
        return
    chosen = next((x for x in found["limits"] if x["criterion"] == found["criterion"]), None)
    if chosen is None:
        return
    what = f"{_CRITERIA.get(found['criterion'], found['criterion'])} {chosen['threshold']:g}"
    if chosen["state"] == "data_end":
        yield (
            f"There is signal to the last shell, {found['data_d_min']:.2f} Å (criterion {what}): the crystal may "
            "diffract further."
        )
    elif chosen["state"] == "reached":
        error = "" if chosen["sigma"] is None else f" ± {max(chosen['sigma'], 0.01):.2f}"
        yield f"The signal fades at {chosen['d_min']:.2f}{error} Å (criterion {what})."
    elif chosen["state"] == "undetermined":
        yield "How far the signal reaches cannot be told from so few data."


_CRITERIA = {
    "cc_half": "CC½ =",
    "i_over_sigma": "mean I/σ =",
    "r_meas": "R_meas =",
    "r_pim": "R_pim =",
    "shell_completeness": "completeness of the shell =",
}


def _anomalous(anomalous: Document | None) -> Iterator[str]:
    for w in () if anomalous is None else anomalous["wavelengths"]:
        if w["verdict"] == "clear":
            to = f" to {w['d_min']:.1f} Å" if w["d_min"] is not None else ""
            yield f"There is a clear anomalous signal{to} at {w['wavelength']:.4f} Å."
