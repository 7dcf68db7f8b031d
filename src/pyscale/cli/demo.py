"""`pyscale demo`: simulate, scale and report in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pyscale.errors import UsageError
from pyscale.option_text import ParsedArguments
from pyscale.options import SCALING_NAMES, OptionNames, ScalingOptions, with_changes
from pyscale.options.option import option
from pyscale.options.tree import OptionScope

from .console import setup_logging, write
from .frame import CommandFrame

__all__ = ["FRAME", "DemoOptions", "run"]

_OUTPUTS = ("output.log", "output.experiments", "output.reflections", "output.html", "output.json")


@dataclass(frozen=True, kw_only=True)
class DemoOptions(OptionScope):
    """Where the demonstration goes."""

    folder: str = option("pyscale-demo", "folder of all files of the demonstration")
    seed: int = option(0, "random seed of the simulated data", range=(0, 2**32 - 1))


FRAME = CommandFrame(
    name="demo",
    arguments="[name=value ...]",
    summary="Simulate a small data set, scale it and write a report, all in one folder.",
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

    folder = Path(line.parsed.options.folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"option folder={folder}: cannot be made a directory ({error.strerror})") from None
    simulation = with_changes(
        SimulateOptions(),
        {"simulation.seed": line.parsed.options.seed, "output.directory": folder},
    )
    with setup_logging(None, line.verbose):
        n_reflections, files = simulate_and_write(simulation)
    inputs = tuple(path for path in files if path.suffix in {".expt", ".refl"})
    write(f"simulated {n_reflections} reflections; to scale them by hand:")
    write(f"  pyscale scale {' '.join(str(path) for path in inputs)}\n")
    scale_and_write(_scaling_arguments(folder, inputs), line.verbose)
    write(f"\nopen {folder / 'pyscale.scale.html'} in a browser for the report")
    return 0


def _scaling_arguments(folder: Path, files: tuple[Path, ...]) -> ParsedArguments[ScalingOptions]:
    defaults = {item.path: item.default for item in SCALING_NAMES.options}
    outputs = {path: folder / defaults[path] for path in _OUTPUTS}
    options = with_changes(ScalingOptions(), outputs)
    return ParsedArguments(options, files, (), frozenset(outputs))
