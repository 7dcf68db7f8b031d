"""`pyscale report`: the HTML report of a job that has been done."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from pyscale.options.report import REPORT_NAMES

from .console import setup_logging
from .frame import CommandFrame

__all__ = ["FRAME", "run"]

FRAME = CommandFrame(
    name="report",
    arguments="pyscale.scale.json | scaled.expt scaled.refl | --compare A.json B.json [name=value ...]",
    summary="Write the HTML report again, from the JSON file of a job or from scaled files (which tell less), or lay\n"
    "two jobs side by side.",
    names=REPORT_NAMES,
)


def run(arguments: Sequence[str]) -> int:
    """Report; returns the exit status."""
    line = FRAME.read(["compare=True" if argument == "--compare" else argument for argument in arguments])
    if line is None:
        return 0
    parsed = line.parsed
    with setup_logging(None, line.verbose):
        report_job: Any = importlib.import_module("pyscale.report_job")
        told = report_job.report_files(parsed.files, parsed.options, parsed.given)
    line.write(told)
    if parsed.options.output.html is not None:
        line.write(f"The report is in {parsed.options.output.html}")
    return 0
