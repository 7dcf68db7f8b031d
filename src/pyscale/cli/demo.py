"""`pyscale demo`: simulate, scale and report in one go."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyscale.errors import UsageError
from pyscale.option_text import ParsedArguments
from pyscale.options import SCALING_NAMES, OptionNames, ScalingOptions, with_changes
from pyscale.options.option import option
from pyscale.options.tree import OptionScope
from pyscale.simulation.options import SimulationOptions

from .console import setup_logging
from .frame import CommandFrame
from .terminal import cells, painted, terminal_width, wrapped

if TYPE_CHECKING:
    from pyscale.simulation.recovery import Finding

__all__ = ["CRYSTAL", "FRAME", "DemoOptions", "run"]

CRYSTAL = SimulationOptions(
    unit_cell=(79.0, 79.0, 37.5, 90.0, 90.0, 90.0),
    space_group="P 43 21 2",
    d_min=2.2,
    sweep_width=180.0,
    oscillation_width=0.2,
    outlier_fraction=0.003,
)
"""What is simulated: like a crystal of hen egg-white lysozyme."""

_MOST_REMARKS = 4

_OUTPUTS = ("output.log", "output.experiments", "output.reflections", "output.html", "output.json")


@dataclass(frozen=True, kw_only=True)
class DemoOptions(OptionScope):
    """Where the demonstration goes."""

    folder: str = option("pyscale-demo", "folder of all files of the demonstration", common=True)
    seed: int = option(0, "random seed of the simulated data", range=(0, 2**32 - 1))


FRAME = CommandFrame(
    name="demo",
    arguments="[name=value ...]",
    summary="Simulate a small data set whose answer is known, scale it, write a report, and say what was found\n"
    "of what was planted. All files go into one folder.",
    names=OptionNames(DemoOptions),
    needs_files=False,
    takes_files=False,
)


def run(arguments: Sequence[str]) -> int:
    """Run the demonstration; returns the exit status."""
    line = FRAME.read(arguments)
    if line is None:
        return 0
    from .scale import scale_and_write
    from .simulate import SimulateOptions, simulate_and_write
    from .summary import verdict_lines

    started = time.monotonic()
    folder = Path(line.parsed.options.folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"option folder={folder}: cannot be made a directory ({error.strerror})") from None
    options = replace(CRYSTAL, seed=line.parsed.options.seed)
    simulation = with_changes(SimulateOptions(simulation=options), {"output.directory": folder})
    with setup_logging(None, line.verbose):
        data, files = simulate_and_write(simulation)
    inputs = tuple(path for path in files if path.suffix in {".expt", ".refl"})
    result, summary = scale_and_write(_scaling_arguments(folder, inputs), line.verbose)
    if line.verbose > 0:
        line.write(summary)
    from pyscale.simulation.recovery import recovery

    told = [
        *_subject(len(data)),
        "",
        *verdict_lines(result.document, terminal_width(), _MOST_REMARKS),
        "",
        *_table(recovery(data, result)),
        "",
        *_where_next(folder, inputs, time.monotonic() - started),
    ]
    line.write("\n".join(told))
    return 0


def _subject(n: int) -> list[str]:
    cell = " ".join(f"{edge:g}" for edge in CRYSTAL.unit_cell[:3])
    text = (
        f"Simulated {n} observations of a lysozyme-like crystal ({CRYSTAL.space_group}, {cell} Å): one sweep of "
        f"{CRYSTAL.sweep_width:g}° to {CRYSTAL.d_min:g} Å, with a beam that varies, absorption, radiation damage, "
        "noise and outliers; then scaled with default options."
    )
    return wrapped(text, terminal_width())


def _table(findings: Sequence[Finding]) -> list[str]:
    """What was planted and found, in columns where there is room for them."""
    rows = [("", "planted", "found", "right")]
    rows += [(f.quantity, f.planted, f.found, "yes" if f.is_right else "NO") for f in findings]
    widths = [max(cells(row[k]) for row in rows) + 2 for k in range(4)]
    if sum(widths) > terminal_width():
        texts = [f"{name}: planted {planted}, found {found}: {right}" for name, planted, found, right in rows[1:]]
        lines = [line for text in texts for line in wrapped(text, terminal_width(), later="  ")]
    else:
        lines = ["".join(part + " " * (w - cells(part)) for part, w in zip(row, widths, strict=True)) for row in rows]
        lines = [painted(lines[0].rstrip(), "bold", sys.stdout), *(line.rstrip() for line in lines[1:])]
    total = f"{sum(f.is_right for f in findings)} of {len(findings)} found as planted, within their errors"
    return [*lines, *wrapped(total, terminal_width())]


def _where_next(folder: Path, inputs: Sequence[Path], seconds: float) -> list[str]:
    commands = (
        (f"open {folder / 'pyscale.scale.html'}", "the report, in a browser"),
        (f"less {folder / 'pyscale.scale.log'}", "all that was decided, and why"),
        (f"pyscale scale {' '.join(map(str, inputs))} d_min=3", "the same by hand, with an option"),
        (f"pyscale merge {folder / 'scaled.expt'} {folder / 'scaled.refl'}", "amplitudes for the next program"),
    )
    lines = [f"Done in {seconds:.1f} s. Where to look next:"]
    return [*lines, *(line for command, what in commands for line in _command(command, what))]


def _command(command: str, what: str) -> list[str]:
    """A command, never broken, and what it is for."""
    line = f"  {command}"
    return [f"{line}  # {what}"] if cells(line) + cells(what) + 4 <= terminal_width() else [f"  # {what}", line]


def _scaling_arguments(folder: Path, files: tuple[Path, ...]) -> ParsedArguments[ScalingOptions]:
    defaults = {item.path: item.default for item in SCALING_NAMES.options}
    outputs = {path: folder / defaults[path] for path in _OUTPUTS}
    options = with_changes(ScalingOptions(), outputs)
    return ParsedArguments(options, files, (), frozenset(outputs))
