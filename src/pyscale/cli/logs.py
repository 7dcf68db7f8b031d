"""The log file of a command: that it replaces nothing, how it begins, and how it ends."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyscale.errors import UsageError
from pyscale.option_text import ParsedArguments, changed_options, format_option
from pyscale.options import SCALING_NAMES, ScalingOptions
from pyscale.options.dials import DIALS_DEFAULTS

from .summary import verdict_text
from .terminal import wrapped

__all__ = ["check_log", "log_defaults", "log_end", "log_start"]

_LOGGER = logging.getLogger(__name__)
_WIDTH = 100
_MOST_FILES = 12


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

    _LOGGER.info("pyscale %s %s, %s", __version__, command, time.strftime("%Y-%m-%d"))
    for note in parsed.notes:
        _LOGGER.info("%s", note, extra={"notice": True})
    changed = changed_options(parsed.options)
    if changed:
        lines = "\n".join(f"  {format_option(path, value)}" for path, value in changed.items())
        _LOGGER.info("The following parameters have been modified:\n%s", lines)
    named = [str(path) for path in parsed.files[:_MOST_FILES]]
    more = f" ... ({len(parsed.files)} in all)" if len(parsed.files) > _MOST_FILES else ""
    _LOGGER.info("Input files: %s%s", " ".join(named), more)


def log_defaults(parsed: ParsedArguments[ScalingOptions]) -> None:
    """Log the options left at a default that is not dials.scale's, with both."""
    options = [option for option in SCALING_NAMES.options if option.path in DIALS_DEFAULTS]
    text = "; ".join(
        f"{format_option(option.path, option.default)} ({DIALS_DEFAULTS[option.path]})"
        for option in options
        if option.path not in parsed.given
    )
    lines = wrapped(f"Defaults that differ from those of dials.scale: {text}", _WIDTH, later="  ")
    _LOGGER.info("%s", "\n".join(lines), extra={"console": False})


def log_end(result: Any, written: Sequence[Path], seconds: float) -> None:
    """Log the verdict on a scaling job, the files that it wrote, and where the time (s) went."""
    _LOGGER.info("Result", extra={"stage": "end"})
    told = [
        *([] if result.filtering is None else [result.filtering.summary()]),
        *([] if result.free_set is None else [f"Groups in the fit and free set\n{result.free_set.table()}"]),
        verdict_text(result.document, _WIDTH),
        f"Written: {', '.join(os.path.relpath(path) for path in written)}",
        _time_text(result.document["fit"], seconds),
    ]
    for text in told:
        _LOGGER.info("%s", text, extra={"console": False})


def _time_text(fit: Mapping[str, Any], seconds: float) -> str:
    parts = {name: value for name, value in fit["wall_seconds"].items() if name != "total"}
    rest = max(seconds - sum(parts.values()), 0.0)
    text = ", ".join(f"{name} {value:.1f} s" for name, value in parts.items())
    threads = "1 thread" if fit["n_threads"] == 1 else f"{fit['n_threads']} threads"
    return (
        f"Time: {seconds:.1f} s ({text}, writing and else {rest:.1f} s) on {threads}, "
        f"at most {fit['peak_memory_mib']:.0f} MiB of memory"
    )
