"""The log file of a command: that it replaces nothing, and how it begins."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyscale.errors import UsageError
from pyscale.option_text import ParsedArguments, changed_options, format_option

__all__ = ["check_log", "log_start"]

_LOGGER = logging.getLogger(__name__)


def check_log(parsed: ParsedArguments[Any], outputs: Mapping[str, str | None]) -> None:
    """Refuse a log file that would replace another output, or an input that was not named as output.

    Parameters
    ----------
    parsed
        Its options have `output.log`.
    outputs
        Paths of the other outputs by the names of their options.

    Raises
    ------
    UsageError
        If it would.
    """
    name = parsed.options.output.log
    if name is None:
        return
    log = Path(name).resolve()
    for option, path in outputs.items():
        if path is not None and Path(path).resolve() == log:
            raise UsageError(f"{path}: is named for two outputs (output.log and {option}); name another file")
    if "output.log" not in parsed.given and log in {Path(path).resolve() for path in parsed.files}:
        raise UsageError(f"{name}: is an input file and is not overwritten; name another output.log")


def log_start(command: str, parsed: ParsedArguments[Any]) -> None:
    """Log the program, notes on the arguments, changed options and input files."""
    from pyscale import __version__

    _LOGGER.info("pyscale %s %s", __version__, command)
    for note in parsed.notes:
        _LOGGER.info("%s", note, extra={"notice": True})
    changed = changed_options(parsed.options)
    if changed:
        lines = "\n".join(f"  {format_option(path, value)}" for path, value in changed.items())
        _LOGGER.info("The following parameters have been modified:\n%s", lines)
    _LOGGER.info("Input files: %s", " ".join(str(path) for path in parsed.files))
