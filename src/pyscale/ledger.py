"""The fate of every observation, counted per data set and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .observations import JobObservations
from .prepared import PreparedDataSet
from .typing import BoolArray

__all__ = ["LedgerEntry", "ledger_table", "make_ledger"]

_MOST_LISTED = 200


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One data set: read = partials_merged + filtered + user_excluded + rejected + merged.

    Attributes
    ----------
    identifier : str
    read : int
        Rows of the input.
    partials_merged : int
        Rows that went into another row of the same reflection.
    filtered, user_excluded, rejected : dict of str to int
        Rows by reason: unsuitable, cut by an option, outlier rule.
    merged : int
        Observations in the merging statistics.
    used_in_fit : int
        Of these, observations in groups of two or more, a reference counted.
    """

    identifier: str
    read: int
    partials_merged: int
    filtered: dict[str, int]
    user_excluded: dict[str, int]
    rejected: dict[str, int]
    merged: int
    used_in_fit: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the identifier."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "identifier"}


def make_ledger(
    prepared: Sequence[PreparedDataSet],
    observations: JobObservations,
    gone: dict[str, BoolArray],
    rejected: dict[str, BoolArray],
    disputed: BoolArray | None = None,
) -> list[LedgerEntry]:
    """Count. `gone` are observations filtered after the fit, `rejected` outliers, both by reason and disjoint.

    `disputed` ones are merged, but were not used in the fit.
    """
    n = len(prepared)
    out = np.logical_or.reduce([*gone.values(), *rejected.values(), np.zeros(len(observations), np.bool_)])
    merged = ~out
    fitted = merged if observations.not_fitted is None else merged & ~observations.not_fitted
    if disputed is not None:
        fitted = fitted & ~disputed
    if observations.selected is not None:
        fitted = fitted & observations.selected
    in_group = np.add.reduceat(fitted.astype(np.int64), observations.target_offsets[:-1])
    if observations.reference is not None:
        in_group += observations.reference.known
    used = fitted & np.repeat(in_group > 1, np.diff(observations.target_offsets))

    def per_data_set(mask: BoolArray) -> list[int]:
        counts: list[int] = np.bincount(observations.data_set[mask], minlength=n).tolist()
        return counts

    counted_gone = {reason: per_data_set(mask) for reason, mask in gone.items()}
    counted_rejected = {rule: per_data_set(mask) for rule, mask in rejected.items()}
    counted_merged, counted_used = per_data_set(merged), per_data_set(used)
    entries = []
    for k, p in enumerate(prepared):
        early: dict[str, dict[str, int]] = {"filtered": {}, "user_excluded": {}}
        for fate in p.fates:
            reasons = early[fate.kind]
            reasons[fate.reason] = reasons.get(fate.reason, 0) + int(fate.rows.sum())
        late = {reason: c[k] for reason, c in counted_gone.items() if c[k]}
        entries.append(
            LedgerEntry(
                identifier=p.identifier,
                read=p.n_read,
                partials_merged=p.n_partials_merged,
                filtered=early["filtered"] | late,
                user_excluded=early["user_excluded"],
                rejected={rule: c[k] for rule, c in counted_rejected.items()},
                merged=counted_merged[k],
                used_in_fit=counted_used[k],
            )
        )
    return entries


def total_entry(ledger: Sequence[LedgerEntry]) -> LedgerEntry:
    """All data sets together."""
    by_reason: dict[str, Counter[str]] = {"filtered": Counter(), "user_excluded": Counter(), "rejected": Counter()}
    for entry in ledger:
        for kind, counter in by_reason.items():
            counter.update(getattr(entry, kind))
    return LedgerEntry(
        identifier="all together",
        read=sum(e.read for e in ledger),
        partials_merged=sum(e.partials_merged for e in ledger),
        filtered=dict(by_reason["filtered"]),
        user_excluded=dict(by_reason["user_excluded"]),
        rejected=dict(by_reason["rejected"]),
        merged=sum(e.merged for e in ledger),
        used_in_fit=sum(e.used_in_fit for e in ledger),
    )


def ledger_table(ledger: Sequence[LedgerEntry]) -> str:
    """Render the ledger for people: one line per data set and reason; only sums for very many data sets."""
    lines = ["data set      reason                                    observations"]
    for entry in ledger if len(ledger) <= _MOST_LISTED else [total_entry(ledger)]:
        rows = [("read", entry.read), ("  merged into another row (partials)", -entry.partials_merged)]
        for kind, reasons in (
            ("filtered", entry.filtered),
            ("excluded by the user", entry.user_excluded),
            ("rejected", entry.rejected),
        ):
            rows += [(f"  {kind}: {reason}", -n) for reason, n in reasons.items()]
        rows += [("merged", entry.merged), ("  of these used in the fit", entry.used_in_fit)]
        label = entry.identifier if len(entry.identifier) <= 12 else entry.identifier[:9] + "..."
        for text, number in rows:
            if number or not text.startswith(" "):
                lines.append(f"{label:<12}  {text:<42}{number:>12}")
                label = ""
    return "\n".join(lines)
