"""`pyscale simulate`: a data set with a known answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyscale.options import OptionNames
from pyscale.options.option import option
from pyscale.options.tree import OptionScope
from pyscale.simulation import SimulationOptions, simulate

from .console import setup_logging, write
from .frame import CommandFrame

__all__ = ["FRAME", "SimulateOptions", "SimulationOutputOptions", "run", "simulate_and_write"]

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SimulationOutputOptions(OptionScope, scope="output"):
    """Output files."""

    experiments: str = option("simulated.expt", "experiments")
    reflections: str = option("simulated.refl", "integrated reflections")
    truth: str = option("truth.npz", "true scales, intensities and outliers")


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
        n_reflections = simulate_and_write(line.parsed.options)
    output = line.parsed.options.output
    write(
        f"{n_reflections} reflections written to {output.experiments} {output.reflections}, "
        f"the truth to {output.truth}"
    )
    return 0


def simulate_and_write(options: SimulateOptions) -> int:
    """Simulate, write the files and return the number of reflections."""
    _LOGGER.info("simulating")
    data: Any = simulate(options.simulation)
    output = options.output
    data.write(output.experiments, output.reflections, output.truth)
    return len(data)
