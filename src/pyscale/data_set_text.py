"""Names and positions of data sets as text, short ones of many."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["data_set_label", "identifiers_text", "positions_text"]

_MOST_LISTED, _FIRST_LISTED, _LONGEST_LABEL = 12, 3, 8


def identifiers_text(identifiers: Sequence[str]) -> str:
    """Return identifiers as a list in brackets for people; of very many the first ones."""
    if len(identifiers) <= _MOST_LISTED:
        return str(list(identifiers))
    return f"{str(list(identifiers[:_FIRST_LISTED]))[:-1]}, ...] ({len(identifiers)} in all)"


def data_set_label(identifier: str, position: int) -> str:
    """Short name of a data set for tables: its identifier, or where that is long its position as options take it."""
    return identifier if len(identifier) <= _LONGEST_LABEL else f"#{position}"


def positions_text(positions: Sequence[int]) -> str:
    """Return positions of data sets with commas between; of very many the first ones."""
    shown = positions if len(positions) <= _MOST_LISTED else positions[:_FIRST_LISTED]
    more = "" if len(shown) == len(positions) else f",... ({len(positions)} in all)"
    return ",".join(map(str, shown)) + more
