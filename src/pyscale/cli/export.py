"""`pyscale export`: reflections in the formats of other programs."""

from __future__ import annotations

from collections.abc import Sequence

from pyscale.options.export import EXPORT_NAMES

from .console import setup_logging
from .frame import CommandFrame

__all__ = ["FRAME", "run"]

FRAME = CommandFrame(
    name="export",
    arguments="scaled.expt scaled.refl [format=mtz] [name=value ...]",
    summary="Write observations or merged intensities in the formats of other programs. Nothing is fitted.",
    names=EXPORT_NAMES,
)


def run(arguments: Sequence[str]) -> int:
    """Export; returns the exit status."""
    line = FRAME.read(arguments)
    if line is None:
        return 0
    parsed = line.parsed
    with setup_logging(None, line.verbose):
        from pyscale.exporting import export_files

        done = export_files(parsed.files, parsed.options).write(parsed.files, parsed.given)
    line.write("\n".join([*parsed.notes, done]))
    return 0
