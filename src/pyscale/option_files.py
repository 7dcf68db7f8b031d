"""Files of options: TOML, and the PHIL text of DIALS and cctbx."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyscale.errors import UsageError

from .phil import parse_phil

__all__ = ["GivenOption", "is_option_file", "read_option_file"]

_LARGEST_FILE = 1_000_000
_SUFFIXES = {".toml", ".phil", ".eff"}


@dataclass(frozen=True)
class GivenOption:
    """A name and its value as they were given, and where if that was a file."""

    name: str
    value: Any
    place: str = ""


def is_option_file(name: str) -> bool:
    """Whether a file is one of options, by its name."""
    return Path(name).suffix.lower() in _SUFFIXES


def read_option_file(name: str) -> list[GivenOption]:
    """Return the options that a file gives, in its order.

    Parameters
    ----------
    name
        The file, TOML if its name ends with `.toml`, else PHIL; `-` is PHIL text from standard input.

    Raises
    ------
    UsageError
        If the file cannot be read; the message names it and, if it is PHIL, the line.
    """
    path = Path(name)
    try:
        text = _text(path)
    except OSError as error:
        raise UsageError(f"cannot read options from {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"cannot read options from {path}: it is not text") from None
    if len(text) > _LARGEST_FILE:
        raise UsageError(f"{path} is too large for a file of options")
    if path.suffix.lower() == ".toml":
        return [GivenOption(option, value, name) for option, value in _toml_values(_load_toml(text, path))]
    return [GivenOption(item.name, item.value, f"{name} line {item.line}") for item in parse_phil(text, name)]


def _text(path: Path) -> str:
    if str(path) == "-":
        return sys.stdin.read(_LARGEST_FILE + 1)
    with path.open(encoding="utf-8") as file:
        return file.read(_LARGEST_FILE + 1)


def _load_toml(text: str, path: Path) -> dict[str, Any]:
    try:
        toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    except ImportError:
        raise UsageError(f"cannot read options from {path}: TOML needs Python 3.11, or `pip install tomli`") from None
    try:
        table: dict[str, Any] = toml.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"cannot read options from {path}: {error}") from None
    return table


def _toml_values(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _toml_values(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
