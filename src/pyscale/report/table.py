"""What all tables are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Document", "Table", "is_known", "listed"]

Document = dict[str, Any]

_MAX_LISTED = 20


@dataclass(frozen=True)
class Table:
    """Cells as text; `head` rows are emphasised, `note` says what was left out."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    emphasised: int = 0
    note: str = ""


def listed(names: Sequence[str], separator: str = ", ", limit: int = _MAX_LISTED) -> str:
    """Names in one line, the first ones of many."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return separator.join(map(str, names[:limit])) + more


def is_known(document: Document) -> bool:
    """Whether a document is a job's own; one that was made from scaled files lacks what only the job knew."""
    return not document.get("not_known")
