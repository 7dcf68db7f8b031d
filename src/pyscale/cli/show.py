"""`pyscale show`: what is in these files."""

# Options and scopes are immutable, so they may be defaults of dataclass fields.
# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyscale.options import OptionNames
from pyscale.options.importing import InputOptions
from pyscale.options.tree import OptionScope

from .console import setup_logging, write
from .frame import CommandFrame

__all__ = ["FRAME", "ShowOptions", "run"]


@dataclass(frozen=True, kw_only=True)
class ShowOptions(OptionScope):
    """Options of `pyscale show`: how files that are not DIALS' own are read."""

    input: InputOptions = InputOptions()


FRAME = CommandFrame(
    name="show",
    arguments="FILE...",
    summary="Show data sets, columns, ranges, symmetry and stored scaling models of files, and what they lack.",
    names=OptionNames(ShowOptions),
)


def run(arguments: Sequence[str]) -> int:
    """Show; returns the exit status."""
    line = FRAME.read(arguments)
    if line is None:
        return 0
    with setup_logging(None, line.verbose):
        from pyscale.description import describe_files

        text = describe_files(line.parsed.files, line.parsed.options.input)
    write(text)
    return 0
