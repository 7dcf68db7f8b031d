"""`pyscale merge`: merged intensities and amplitudes of scaled data."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyscale.errors import UsageError
from pyscale.option_text import ParsedArguments, changed_options, format_option
from pyscale.options.merge import MERGE_NAMES, MergeOptions

from .console import setup_logging, write
from .frame import CommandFrame

__all__ = ["FRAME", "run"]

FRAME = CommandFrame(
    name="merge",
    arguments="scaled.expt scaled.refl [name=value ...]",
    summary="Merge scaled data, without a fit: MTZ file with intensities, amplitudes, free-R flags; statistics.",
    names=MERGE_NAMES,
)

_LOGGER = logging.getLogger(__name__)


def run(arguments: Sequence[str]) -> int:
    """Merge; returns the exit status."""
    line = FRAME.read(arguments)
    if line is None:
        return 0
    parsed = line.parsed
    _check_log(parsed)
    with setup_logging(parsed.options.output.log, line.verbose):
        _log_start(parsed)
        merge_job: Any = importlib.import_module("pyscale.merge_job")
        result = merge_job.merge_files(parsed.files, parsed.options)
        result.write_outputs(parsed.options.output, inputs=parsed.files, named_outputs=parsed.given)
        summary = result.summary()
        _LOGGER.info("%s", summary, extra={"console": False})
    write(summary)
    return 0


def _check_log(parsed: ParsedArguments[MergeOptions]) -> None:
    """Refuse a log file that would replace another output, or an input that was not named as output."""
    output = parsed.options.output
    if output.log is None:
        return
    log = Path(output.log).resolve()
    for name in ("mtz", "json"):
        path = getattr(output, name)
        if path is not None and Path(path).resolve() == log:
            raise UsageError(f"{path}: is named for two outputs (output.log and output.{name}); name another file")
    if "output.log" not in parsed.given and log in {Path(path).resolve() for path in parsed.files}:
        raise UsageError(f"{output.log}: is an input file and is not overwritten; name another output.log")


def _log_start(parsed: ParsedArguments[MergeOptions]) -> None:
    from pyscale import __version__

    _LOGGER.info("pyscale %s merge", __version__)
    for note in parsed.notes:
        _LOGGER.info("%s", note, extra={"notice": True})
    changed = changed_options(parsed.options)
    if changed:
        lines = "\n".join(f"  {format_option(path, value)}" for path, value in changed.items())
        _LOGGER.info("The following parameters have been modified:\n%s", lines)
    _LOGGER.info("Input files: %s", " ".join(str(path) for path in parsed.files))
