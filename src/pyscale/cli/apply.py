"""`pyscale apply`: evaluate a stored scaling model on reflections, without a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyscale.errors import UsageError
from pyscale.io.journal import journal_in_use
from pyscale.options import AUTO, Auto, OptionNames
from pyscale.options.option import option
from pyscale.options.tree import OptionScope

from .console import setup_logging
from .frame import CommandFrame
from .summary import files_line

__all__ = ["FRAME", "ApplyOptions", "run"]


@dataclass(frozen=True, kw_only=True)
class ApplyOutputOptions(OptionScope, scope="output"):
    """Output files."""

    experiments: str = option("applied.expt", "experiments with the model")
    reflections: str = option("applied.refl", "reflections with inverse_scale_factor")


@dataclass(frozen=True, kw_only=True)
class ApplyOptions(OptionScope):
    """Options of `pyscale apply`."""

    output: ApplyOutputOptions = ApplyOutputOptions()
    nproc: int | Auto = option(  # noqa: RUF009
        AUTO, "number of threads", range=(1, 1024), aliases=("n_threads",)
    )


FRAME = CommandFrame(
    name="apply",
    arguments="MODEL.expt FILE... [name=value ...]",
    summary="Evaluate the scaling models stored in MODEL.expt on reflections, without a fit.",
    names=OptionNames(ApplyOptions),
)


def run(arguments: Sequence[str]) -> int:
    """Apply; returns the exit status."""
    line = FRAME.read(arguments)
    if line is None:
        return 0
    model, *files = line.parsed.files
    if not files:
        raise UsageError(f"no reflections to apply {model} to: pyscale apply {FRAME.arguments}")
    with setup_logging(None, line.verbose):
        from pyscale.applied import apply_files

        result = apply_files(model, files, line.parsed.options)
        result.write_outputs(line.parsed.options.output, inputs=line.parsed.files, named_outputs=line.parsed.given)
    line.write(f"{result.summary()}\n{files_line(journal_in_use().written)}")
    return 0
