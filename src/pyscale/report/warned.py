"""The warnings of the report, from the public document."""

from __future__ import annotations

from collections.abc import Sequence

from .numbers import count, fixed, significant
from .table import Document, is_known, listed

__all__ = ["n_rejected", "warnings"]

_CONVERGED = ("converged", "no_further_decrease")
_LARGE_FRACTION_REJECTED = 0.03
_CHI_SQUARED_RANGE = (0.5, 2.0)
_MAX_CHANGES = 20


def warnings(document: Document) -> list[str]:
    """What a user must know before using the numbers, the gravest first."""
    fit, model = document["fit"], document["error_model"]
    found = _of_fit(fit) if is_known(document) else []
    found += _separate_parts(document["datasets"])
    if weak := document["connectivity"]["weakly_linked"]:
        found.append(
            f"{count(len(weak))} data sets have hardly a significant reflection in common with others, so that how "
            f"their scales relate is little more than a guess: {listed(weak)}."
        )
    found += _other_indexings(document.get("indexing"))
    unused = [name for name, entry in document["ledger"].items() if entry["used_in_fit"] == 0]
    if unused:
        found.append(f"No observation of these data sets took part in the fit: {listed(unused)}.")
    if model.get("converged") is False:
        found.append(f"The error model has not converged: {model['reason']}.")
    low, high = _CHI_SQUARED_RANGE
    if fit.get("chi_squared") is not None and not low <= fit["chi_squared"] <= high:
        found.append(
            f"χ² of the fit is {significant(fit['chi_squared'])}, far from 1: the standard uncertainties are not those "
            "of the observed scatter."
        )
    rejected, seen = n_rejected(document), document["merging_statistics"]["with_outliers"]["overall"]["n_obs"]
    if seen and rejected > _LARGE_FRACTION_REJECTED * seen:
        found.append(
            f"{count(rejected)} outliers, {fixed(100 * rejected / seen, 1)} % of the observations, were rejected; "
            "compare the statistics with the outliers put back."
        )
    found += document["warnings"]
    for old, new in document["identifier_changes"][:_MAX_CHANGES]:
        found.append(f"The identifier {old or '(none)'} was changed to {new}.")
    return found


def _of_fit(fit: Document) -> list[str]:
    found = []
    if fit["termination"] not in _CONVERGED:
        found.append(
            f"The fit has not converged ({fit['termination']}: {fit['message']}): treat scales and uncertainties "
            "with care."
        )
    if fit["undetermined"]:
        found.append(f"The data leave undetermined: {listed(fit['undetermined'], '; ')}.")
    return found


def _separate_parts(datasets: Sequence[Document]) -> list[str]:
    parts: dict[int, list[str]] = {}
    for entry in datasets:
        parts.setdefault(entry["component"], []).append(entry["identifier"])
    if len(parts) < 2:
        return []
    shown = " | ".join(listed(names, limit=5) for names in list(parts.values())[:8])
    more = " | …" if len(parts) > 8 else ""
    return [
        f"The data sets fall into {len(parts)} parts without a common reflection: each part is on a scale of its own, "
        f"and merging them has no meaning. Parts: {shown}{more}."
    ]


def _other_indexings(indexing: Document | None) -> list[str]:
    """Data sets that are indexed unlike the others and were left so."""
    if indexing is None or indexing["reindexed"]:
        return []
    sets = [(d["identifier"], d["decision"]) for d in indexing["data_sets"]]
    other = [f"{name} ({decision})" for name, decision in sets if decision not in ("consistent", "undecided")]
    if not other:
        return []
    return [f"Indexed unlike the others: {listed(other)}. Scale again with check_consistent_indexing=True."]


def n_rejected(document: Document) -> int:
    """Outliers of all data sets."""
    return sum(sum(entry["rejected"].values()) for entry in document["ledger"].values())
