"""`pyscale scale`: the main job."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyscale.errors import UsageError
from pyscale.option_text import ParsedArguments, changed_options, format_option
from pyscale.options import SCALING_NAMES, ScalingOptions
from pyscale.options.dials import DIALS_DEFAULTS

from .console import setup_logging, write
from .frame import CommandFrame

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
    scale_and_write(line.parsed, line.verbose)
    return 0


def scale_and_write(parsed: ParsedArguments[ScalingOptions], verbose: int) -> None:
    """Scale files, write all outputs and the log, and print the summary."""
    options = parsed.options
    _check_log(parsed)
    with setup_logging(options.output.log, verbose):
        _log_start(parsed)
        # The numerical libraries are loaded only now, when the arguments are known to be right.
        scaler: Any = importlib.import_module("pyscale.scaler")
        cross_validated = options.cross_validation.cross_validation_mode is not None
        scale = scaler.cross_validate_files if cross_validated else scaler.scale_files
        result = scale(parsed.files, options, parsed.given)
        result.write_outputs(options.output, inputs=parsed.files, named_outputs=parsed.given)
        summary = result.summary()
        _LOGGER.info("%s", summary, extra={"console": False})
    write(summary)


def _check_log(parsed: ParsedArguments[ScalingOptions]) -> None:
    """Refuse a log file that would replace another output, or an input that was not named as output."""
    output = parsed.options.output
    if output.log is None:
        return
    log = Path(output.log).resolve()
    paths = {f"output.{name}": getattr(output, name) for name in _FILES}
    if parsed.options.filtering.method is not None:
        results = parsed.options.filtering.output.scale_and_filter_results
        paths["filtering.output.scale_and_filter_results"] = results
    for name, path in paths.items():
        if path is not None and Path(path).resolve() == log:
            raise UsageError(f"{path}: is named for two outputs (output.log and {name}); name another file")
    if "output.log" not in parsed.given and log in {Path(path).resolve() for path in parsed.files}:
        raise UsageError(f"{output.log}: is an input file and is not overwritten; name another output.log")


def _log_start(parsed: ParsedArguments[ScalingOptions]) -> None:
    from pyscale import __version__

    _LOGGER.info("pyscale %s scale", __version__)
    for note in parsed.notes:
        _LOGGER.info("%s", note, extra={"notice": True})
    changed = changed_options(parsed.options)
    if changed:
        lines = "\n".join(f"  {format_option(path, value)}" for path, value in changed.items())
        _LOGGER.info("The following parameters have been modified:\n%s", lines)
    _LOGGER.info("Defaults that differ from those of dials.scale: %s", _own_defaults(parsed), extra={"console": False})
    _LOGGER.info("Input files: %s", " ".join(str(path) for path in parsed.files))


def _own_defaults(parsed: ParsedArguments[ScalingOptions]) -> str:
    """Options left at a default that is not dials.scale's, with both."""
    options = [option for option in SCALING_NAMES.options if option.path in DIALS_DEFAULTS]
    return "; ".join(
        f"{format_option(option.path, option.default)} ({DIALS_DEFAULTS[option.path]})"
        for option in options
        if option.path not in parsed.given
    )
