"""The fate of every observation, counted per data set and reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .dataset import data_set_label
from .fates import FATES
from .observations import JobObservations
from .prepared import PreparedDataSet, blocks_of
from .typing import ByteArray

__all__ = ["LedgerEntry", "ledger_table", "make_ledger"]

_MOST_DETAILED, _MOST_LISTED = 4, 20
_HEADER = "data set      reason                                    observations"


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One data set: read = partials_merged + filtered + user_excluded + rejected + merged, and
    merged = used_in_fit + not_used_in_fit.

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
        Of these, observations that the models were fitted to, in groups of two or more, a reference counted.
    not_used_in_fit : dict of str to int
        Of these, the others, by reason.
    """

    identifier: str
    read: int
    partials_merged: int
    filtered: dict[str, int]
    user_excluded: dict[str, int]
    rejected: dict[str, int]
    merged: int
    used_in_fit: int
    not_used_in_fit: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the identifier."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "identifier"}


def make_ledger(
    prepared: Sequence[PreparedDataSet], observations: JobObservations, fate: ByteArray, rules: Collection[str]
) -> list[LedgerEntry]:
    """Count.

    Parameters
    ----------
    prepared, observations
        The data sets, and their rows that were scaled.
    fate : (n,) uint8
        What became of each observation (`fates`).
    rules : collection of str
        Outlier rules, which are listed even if they rejected nothing.
    """
    n = max(FATES) + 1
    late = np.bincount(observations.data_set.astype(np.int64) * n + fate, minlength=n * len(prepared)).reshape(-1, n)
    early = {id(block): (block.reasons, block.counts()) for block in blocks_of(prepared)}
    entries = []
    for p, counts in zip(prepared, late.tolist(), strict=True):
        by_kind: dict[str, dict[str, int]] = {kind: {} for kind in ("filtered", "user_excluded", "rejected")}
        by_kind |= {"used_in_fit": {}, "not_used_in_fit": {}}
        by_kind["rejected"] = dict.fromkeys(rules, 0)
        reasons, of_block = early[id(p.block)]
        found = [*zip(reasons, of_block[p.number].tolist(), strict=True)]
        found += [((FATES[k].kind, FATES[k].reason), counts[k]) for k in FATES]
        for (kind, reason), number in found:
            if number:
                by_kind[kind][reason] = by_kind[kind].get(reason, 0) + number
        used, not_used = sum(by_kind.pop("used_in_fit").values()), by_kind.pop("not_used_in_fit")
        entries.append(
            LedgerEntry(
                identifier=p.identifier,
                read=p.n_read,
                partials_merged=p.n_partials_merged,
                **by_kind,
                merged=used + sum(not_used.values()),
                used_in_fit=used,
                not_used_in_fit=not_used,
            )
        )
    return entries


def total_entry(ledger: Sequence[LedgerEntry]) -> LedgerEntry:
    """All data sets together."""
    kinds = ("filtered", "user_excluded", "rejected", "not_used_in_fit")
    by_reason: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
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
        not_used_in_fit=dict(by_reason["not_used_in_fit"]),
    )


def ledger_table(ledger: Sequence[LedgerEntry]) -> str:
    """Render the ledger for people: one line per data set and reason.

    Of more than a few data sets the reasons are those of all together, and a line tells what each has lost.
    """
    if len(ledger) <= _MOST_DETAILED:
        return "\n".join([_HEADER, *(line for entry in ledger for line in _detailed(entry, entry.identifier))])
    lines = [_HEADER, *_detailed(total_entry(ledger), "all together")]
    columns = ("partials", "filtered", "excluded", "rejected", "merged")
    lines.append(f"{'data set':<12}{'read':>9}" + "".join(f"{name:>10}" for name in columns))
    listed = list(range(len(ledger)))
    if len(ledger) > _MOST_LISTED:
        listed = sorted(sorted(listed, key=lambda k: -_lost(ledger[k]))[:_MOST_LISTED])
    lines += [_short(ledger[k], data_set_label(ledger[k].identifier, k)) for k in listed]
    if len(ledger) > _MOST_LISTED:
        lines.append(f"These {_MOST_LISTED} have lost the largest part; all {len(ledger)} are in the JSON file")
    return "\n".join(lines)


def _detailed(entry: LedgerEntry, name: str) -> Iterator[str]:
    rows = [("read", entry.read), ("  merged into another row (partials)", -entry.partials_merged)]
    for kind, reasons in (
        ("filtered", entry.filtered),
        ("excluded by the user", entry.user_excluded),
        ("rejected", entry.rejected),
    ):
        rows += [(f"  {kind}: {reason}", -n) for reason, n in reasons.items()]
    rows += [("merged", entry.merged), ("  of these used in the fit", entry.used_in_fit)]
    rows += [(f"  of these not in the fit: {reason}", n) for reason, n in entry.not_used_in_fit.items()]
    label = name if len(name) <= 12 else name[:9] + "..."
    for text, number in rows:
        if number or not text.startswith(" "):
            yield f"{label:<12}  {text:<42}{number:>12}"
            label = ""


def _lost(entry: LedgerEntry) -> float:
    """Part of the rows that is not merged, partials aside."""
    whole = entry.read - entry.partials_merged
    return 1.0 - entry.merged / whole if whole else 1.0


def _short(entry: LedgerEntry, label: str) -> str:
    lost = (-sum(reasons.values()) for reasons in (entry.filtered, entry.user_excluded, entry.rejected))
    numbers = (-entry.partials_merged, *lost, entry.merged)
    return f"{label:<12}{entry.read:>9}" + "".join(f"{number:>10}" for number in numbers)
