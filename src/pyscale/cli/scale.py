"""`pyscale scale`: the main job."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence
from typing import Any

from pyscale.option_text import ParsedArguments, format_option
from pyscale.options import SCALING_NAMES, ScalingOptions
from pyscale.options.dials import DIALS_DEFAULTS

from .console import setup_logging, write
from .frame import CommandFrame
from .logs import check_log, log_start

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
    if options.output.plots is not None:
        from pyscale.report.paper import require_matplotlib

        require_matplotlib()
    check_log(parsed, _other_outputs(options))
    with setup_logging(options.output.log, verbose):
        log_start("scale", parsed)
        defaults = _own_defaults(parsed)
        _LOGGER.info("Defaults that differ from those of dials.scale: %s", defaults, extra={"console": False})
        # The numerical libraries are loaded only now, when the arguments are known to be right.
        scaler: Any = importlib.import_module("pyscale.scaler")
        cross_validated = options.cross_validation.cross_validation_mode is not None
        scale = scaler.cross_validate_files if cross_validated else scaler.scale_files
        result = scale(parsed.files, options, parsed.given)
        result.write_outputs(options.output, inputs=parsed.files, named_outputs=parsed.given)
        summary = result.summary()
        _LOGGER.info("%s", summary, extra={"console": False})
    write(summary)


def _other_outputs(options: ScalingOptions) -> dict[str, str | None]:
    """All outputs but the log, by the names of their options."""
    paths = {f"output.{name}": getattr(options.output, name) for name in _FILES}
    if options.filtering.method is not None:
        results = options.filtering.output.scale_and_filter_results
        paths["filtering.output.scale_and_filter_results"] = results
    return paths


def _own_defaults(parsed: ParsedArguments[ScalingOptions]) -> str:
    """Options left at a default that is not dials.scale's, with both."""
    options = [option for option in SCALING_NAMES.options if option.path in DIALS_DEFAULTS]
    return "; ".join(
        f"{format_option(option.path, option.default)} ({DIALS_DEFAULTS[option.path]})"
        for option in options
        if option.path not in parsed.given
    )
