"""`pyscale merge`: merged intensities and amplitudes of scaled data."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from pyscale.io.journal import journal_in_use
from pyscale.options.merge import MERGE_NAMES

from .console import setup_logging
from .frame import CommandFrame
from .logs import check_log, log_start
from .summary import merging_summary

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
    output = parsed.options.output
    check_log(parsed, {f"output.{name}": getattr(output, name) for name in ("mtz", "json")})
    written, started = journal_in_use().written, time.monotonic()
    with setup_logging(output.log, line.verbose):
        log_start("merge", parsed)
        merge_job: Any = importlib.import_module("pyscale.merge_job")
        result = merge_job.merge_files(parsed.files, parsed.options)
        result.write_outputs(output, inputs=parsed.files, named_outputs=parsed.given)
        summary = result.summary()
        _LOGGER.info("%s", summary, extra={"console": False})
    shown = merging_summary(result, written, time.monotonic() - started)
    line.write(f"{summary}\n\n{shown}" if line.verbose > 0 else shown)
    return 0
