"""`pyscale show`: what is in these files."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyscale.options import OptionNames
from pyscale.options.tree import OptionScope

from .console import setup_logging, write
from .frame import CommandFrame

__all__ = ["FRAME", "ShowOptions", "run"]


@dataclass(frozen=True, kw_only=True)
class ShowOptions(OptionScope):
    """Options of `pyscale show`: none."""


FRAME = CommandFrame(
    name="show",
    arguments="FILE...",
    summary="Show data sets, columns, symmetry and stored scaling models of files.",
    names=OptionNames(ShowOptions),
)


def run(arguments: Sequence[str]) -> int:
    """Show; returns the exit status."""
    line = FRAME.read(arguments)
    if line is None:
        return 0
    with setup_logging(None, line.verbose):
        description: Any = importlib.import_module("pyscale.description")
        text = description.describe_files(line.parsed.files)
    write(text)
    return 0
