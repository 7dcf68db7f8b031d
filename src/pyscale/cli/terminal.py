"""What a stream can show: characters, colours, width; lines that any stream can take."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import unicodedata
from typing import TextIO

__all__ = [
    "can_show",
    "cells",
    "close_output",
    "is_live",
    "last_words",
    "painted",
    "shown",
    "terminal_height",
    "terminal_width",
    "wrapped",
    "write",
    "write_error",
]

_NARROWEST, _WIDEST = 20, 110
_PLAIN = str.maketrans(
    {
        "Å": "A",
        "½": "1/2",
        "²": "^2",
        "³": "^3",
        "°": " deg",
        "±": "+-",
        "−": "-",
        "–": "-",
        "—": "-",
        "…": "...",
        "×": "x",
        "·": "-",
        "≤": "<=",
        "≥": ">=",
        "σ": "sigma",
        "Δ": "delta ",
        "χ": "chi",
        "κ": "kappa",
        "λ": "lambda",
        "φ": "phi",
        "μ": "mu",
        "→": "->",
        "“": '"',
        "”": '"',
        "’": "'",
        "‘": "'",
        "✓": "yes",
    }
)
_COLOURS = {"good": "32", "fair": "33", "poor": "31", "bold": "1", "dim": "2"}
_CLEAR_LINE_AND_SHOW_CURSOR = "\r\x1b[K\x1b[?25h"


def write(text: str) -> None:
    """Write lines to standard output; a reader who has gone (`| head`) does not end the job."""
    _write(sys.stdout, text)


def write_error(text: str, stream: TextIO | None = None) -> None:
    """Write one line to standard error, or another stream."""
    _write(stream or sys.stderr, f"pyscale: {' '.join(text.split())}")


def close_output() -> None:
    """Flush standard output; quiet if its reader has gone."""
    _write(sys.stdout, None)


def _write(stream: TextIO, text: str | None) -> None:
    try:
        if text is not None:
            stream.write(shown(text, stream) + "\n")
        stream.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would complain then.
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), stream.fileno())


def can_show(text: str, stream: TextIO) -> bool:
    """Whether the encoding of a stream has all characters of a text."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shown(text: str, stream: TextIO) -> str:
    """Return a text in characters that a stream has; `Å` is `A` and `½` is `1/2` where it lacks them."""
    if can_show(text, stream):
        return text
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)


def is_live(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose lines can be drawn anew."""
    return bool(stream.isatty()) and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def painted(text: str, colour: str, stream: TextIO) -> str:
    """Return a text in a colour (good, fair, poor) or style (bold, dim) where a terminal is to have these."""
    if not is_live(stream) or os.environ.get("NO_COLOR") or not text:
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def last_words(text: str) -> None:
    """Write one line to standard error from a process that ends at once, in the place of the line of progress."""
    stream = sys.__stderr__ or sys.stderr  # without what draws progress anew
    if is_live(stream):
        stream.write(_CLEAR_LINE_AND_SHOW_CURSOR)
    write_error(text, stream)


def terminal_width() -> int:
    """Columns for text on standard output: those of the terminal (or of COLUMNS) up to 110; 80 in a pipe."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, _NARROWEST), _WIDEST)


def terminal_height() -> int:
    """Lines that one screen of standard output has, less an empty one and the next prompt; 22 in a pipe."""
    return max(shutil.get_terminal_size((80, 24)).lines, 24) - 2


def cells(text: str) -> int:
    """Columns that a text takes; East Asian characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def wrapped(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    """Return lines of a paragraph; words are never broken, so that options and paths can be copied."""
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return lines or [first]
