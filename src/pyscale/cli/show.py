"""`pyscale show`: what is in these files."""

# Options and scopes are immutable, so they may be defaults of dataclass fields.
# ruff: noqa: RUF009

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyscale.errors import UsageError
from pyscale.options import OptionNames
from pyscale.options.importing import InputOptions
from pyscale.options.option import option
from pyscale.options.tree import OptionScope

from .console import setup_logging
from .frame import CommandFrame

__all__ = ["FRAME", "ShowOptions", "run"]


@dataclass(frozen=True, kw_only=True)
class ShowOptions(OptionScope):
    """Options of `pyscale show`: what is shown, and how files that are not DIALS' own are read."""

    reflection: tuple[str, ...] = option(
        (),
        'reflections to look up in place of all this, as h:k:l; --reflection "h k l" does the same (repeatable)',
        repeatable=True,
        own=True,
        common=True,
    )
    input: InputOptions = InputOptions()


FRAME = CommandFrame(
    name="show",
    arguments="FILE...",
    summary="Show data sets, columns, ranges, symmetry and stored scaling models of files, and what they lack;\n"
    'or what became of each observation of a reflection: pyscale show --reflection "1 2 3" scaled.expt scaled.refl',
    names=OptionNames(ShowOptions),
)


def run(arguments: Sequence[str]) -> int:
    """Show; returns the exit status."""
    line = FRAME.read(_as_options(arguments))
    if line is None:
        return 0
    with setup_logging(None, line.verbose):
        from pyscale.description import describe_files, describe_reflections

        options, files = line.parsed.options, line.parsed.files
        if options.reflection:
            text = describe_reflections(files, options.reflection, options.input)
        else:
            text = describe_files(files, options.input)
    line.write(text)
    return 0


def _as_options(arguments: Sequence[str]) -> list[str]:
    """Arguments with `--reflection "h k l"`, and the option that it stands for, as one word `reflection=h:k:l`."""
    result: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        name, equals, value = argument.partition("=")
        if name not in ("--reflection", "reflection") or (name == "reflection" and not equals):
            result.append(argument)
            continue
        if not equals and not waiting:
            raise UsageError('flag --reflection needs a value, for example --reflection "1 2 -3"')
        text = value if equals else waiting.pop(0)
        result.append(f"reflection={':'.join(text.replace(',', ' ').split())}")
    return result
