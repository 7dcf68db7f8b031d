"""Options of a job as the public document has them: those that were changed, and all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyscale.errors import UsageError
from pyscale.option_text import format_value
from pyscale.options import ScalingOptions, options_of

from .table import Document, Table

__all__ = ["changed_in_document", "flat_options", "option_table"]


def flat_options(options: Document) -> dict[str, Any]:
    """Values by dotted name, in the types that options have; those of another version's options as they are."""
    known = {option.path: option for option in options_of(ScalingOptions)}
    found = {}
    for path, value in _flattened(options, ""):
        try:
            found[path] = known[path].check(tuple(value) if isinstance(value, list) else value)
        except (KeyError, UsageError):
            found[path] = value
    return found


def _flattened(options: Document, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def changed_in_document(options: Document) -> dict[str, Any]:
    """Values that differ from this version's defaults, by dotted name."""
    defaults = {option.path: option.default for option in options_of(ScalingOptions)}
    return {
        path: value for path, value in flat_options(options).items() if path not in defaults or value != defaults[path]
    }


def option_table(options: Document) -> Table:
    """Every option with its value, marked where that is not the default, and its meaning."""
    known = {option.path: option for option in options_of(ScalingOptions)}
    changed = changed_in_document(options)
    rows = [
        [
            path + (" (changed)" if path in changed else ""),
            format_value(value),
            known[path].help if path in known else "an option of another version",
        ]
        for path, value in flat_options(options).items()
    ]
    return Table(["Option", "Value", "Meaning"], rows)
