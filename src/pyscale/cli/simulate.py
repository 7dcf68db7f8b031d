"""`pyscale simulate`: a data set with a known answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyscale.options import OptionNames
from pyscale.options.option import option
from pyscale.options.tree import OptionScope
from pyscale.simulation import SimulationOptions

from .console import setup_logging
from .frame import CommandFrame

if TYPE_CHECKING:
    from pyscale.simulation import SimulatedData

__all__ = ["FRAME", "SimulateOptions", "SimulationOutputOptions", "run", "simulate_and_write"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SimulationOutputOptions(OptionScope, scope="output"):
    """Output files."""

    directory: str = option(".", "where simulated.expt, simulated.refl and truth.npz go")


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """What is simulated, and where it goes."""

    simulation: SimulationOptions = SimulationOptions()  # noqa: RUF009
    output: SimulationOutputOptions = SimulationOutputOptions()


FRAME = CommandFrame(
    name="simulate",
    arguments="[name=value ...]",
    summary="Simulate integrated data with a known answer.",
    names=OptionNames(SimulateOptions),
    needs_files=False,
    takes_files=False,
)


def run(arguments: Sequence[str]) -> int:
    """Simulate; returns the exit status."""
    line = FRAME.read(arguments)
    if line is None:
        return 0
    with setup_logging(None, line.verbose):
        data, files = simulate_and_write(line.parsed.options)
    line.write(f"{len(data)} reflections written to {' '.join(str(path) for path in files)}")
    return 0


def simulate_and_write(options: SimulateOptions) -> tuple[SimulatedData, list[Path]]:
    """Simulate and write; returns the data and the files."""
    from pyscale.simulation import simulate

    _LOGGER.info("simulating", extra={"fraction": 0.0})
    data = simulate(options.simulation)
    _LOGGER.info("writing %d simulated reflections", len(data), extra={"fraction": 0.9})
    return data, data.write(options.output.directory)
