"""`pyscale slice`: a part of a sweep as a data set of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyscale.io.journal import journal_in_use
from pyscale.options import OptionNames
from pyscale.options.option import option
from pyscale.options.tree import OptionScope

from .console import setup_logging
from .frame import CommandFrame
from .summary import files_line

__all__ = ["FRAME", "SliceOptions", "run"]


@dataclass(frozen=True, kw_only=True)
class SliceOutputOptions(OptionScope, scope="output"):
    """Output files."""

    experiments: str = option("sliced.expt", "experiments")
    reflections: str = option("sliced.refl", "reflections")


@dataclass(frozen=True, kw_only=True)
class SliceOptions(OptionScope):
    """Options of `pyscale slice`."""

    image_range: tuple[str, ...] = option(
        (),
        "images of a slice, data set:first:last, both inclusive, for example 0:1:450; *:first:last in all data sets, "
        "first:last if there is one only (repeatable). Data sets that are not named stay whole",
        repeatable=True,
        common=True,
    )
    output: SliceOutputOptions = SliceOutputOptions()


FRAME = CommandFrame(
    name="slice",
    arguments="FILE... image_range=id:first:last [name=value ...]",
    summary="Cut sweeps: each range of images becomes a data set of its own, in the place of the sweep.",
    names=OptionNames(SliceOptions),
)


def run(arguments: Sequence[str]) -> int:
    """Slice; returns the exit status."""
    line = FRAME.read(arguments)
    if line is None:
        return 0
    with setup_logging(None, line.verbose):
        from pyscale.slicing import slice_files

        result = slice_files(line.parsed.files, line.parsed.options.image_range)
        result.write_outputs(line.parsed.options.output, inputs=line.parsed.files, named_outputs=line.parsed.given)
    line.write(f"{result.summary()}\n{files_line(journal_in_use().written)}")
    return 0
