"""`pyscale scale`: the main job."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from pyscale.io.journal import journal_in_use
from pyscale.option_text import ParsedArguments
from pyscale.options import SCALING_NAMES, ScalingOptions

from .console import setup_logging
from .frame import CommandFrame
from .logs import check_log, log_defaults, log_end, log_start
from .summary import screen_summary

__all__ = ["FRAME", "run", "scale_and_write"]

FRAME = CommandFrame(
    name="scale",
    arguments="FILE... [name=value ...]",
    summary="Put integrated data on one scale: experiments (.expt) and reflections (.refl) in and out.",
    names=SCALING_NAMES,
)

_FILES = (
    "experiments",
    "reflections",
    "html",
    "json",
    "unmerged_mtz",
    "merged_mtz",
    "xds_ascii",
    "shelx_hkl",
    "scalepack",
    "mmcif",
    "cif",
)
_LOGGER = logging.getLogger(__name__)


def run(arguments: Sequence[str]) -> int:
    """Scale; returns the exit status."""
    line = FRAME.read(arguments)
    if line is None:
        return 0
    _, summary = scale_and_write(line.parsed, line.verbose)
    line.write(summary)
    return 0


def scale_and_write(parsed: ParsedArguments[ScalingOptions], verbose: int) -> tuple[Any, str]:
    """Scale files, write all outputs and the log; return the result, and what a screen shows of it."""
    options, started = parsed.options, time.monotonic()
    if options.output.plots is not None:
        from pyscale.report.paper import require_matplotlib

        require_matplotlib()
    check_log(parsed, _other_outputs(options))
    written = journal_in_use().written
    n_before = len(written)
    is_cross_validated = options.cross_validation.cross_validation_mode is not None
    with setup_logging(options.output.log, verbose) as on_progress:
        log_start("scale", parsed)
        log_defaults(parsed)
        # The numerical libraries are loaded only now, when the arguments are known to be right.
        scaler: Any = importlib.import_module("pyscale.scaler")
        progress: Any = importlib.import_module("pyscale.progress")
        scale = scaler.cross_validate_files if is_cross_validated else scaler.scale_files
        with progress.following(on_progress, None):
            result = scale(parsed.files, options, parsed.given)
            result.write_outputs(options.output, inputs=parsed.files, named_outputs=parsed.given)
        if is_cross_validated:
            _LOGGER.info("%s", result.summary(), extra={"console": False})
        else:
            log_end(result, written[n_before:], time.monotonic() - started)
    if is_cross_validated:
        return result, result.summary()
    shown = screen_summary(result.document, written[n_before:], time.monotonic() - started)
    return result, f"{result.summary()}\n\n{shown}" if verbose > 0 else shown


def _other_outputs(options: ScalingOptions) -> dict[str, str | None]:
    """All outputs but the log, by the names of their options."""
    paths = {f"output.{name}": getattr(options.output, name) for name in _FILES}
    if options.filtering.method is not None:
        results = options.filtering.output.scale_and_filter_results
        paths["filtering.output.scale_and_filter_results"] = results
    return paths
