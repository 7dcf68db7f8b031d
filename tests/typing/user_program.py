"""What a user's own program may look like: `mypy --strict` checks it against the installed package, and it is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pyscale


def figures_of_merit(result: pyscale.ScalingResult) -> dict[str, float]:
    overall = result.statistics.overall
    return {"r_pim": overall.r_pim, "cc_half": overall.cc_half, "completeness": overall.completeness}


def scales(result: pyscale.ScalingResult) -> NDArray[np.float64]:
    return result.inverse_scale_factor


def main(folder: Path) -> dict[str, float]:
    experiments, reflections, *_ = pyscale.simulate(d_min=4.0).write(folder)
    data = pyscale.read(experiments, reflections)
    try:
        pyscale.scale(data, no_such_option=1)
    except pyscale.UsageError as error:
        message: str = str(error)
        assert "no_such_option" in message
    result = pyscale.scale(data, model="physical", nproc=1)
    assert scales(result).shape == (len(result.table),)
    result.write(folder / "scaled.expt", folder / "scaled.refl")
    merged = pyscale.merge(result, d_min=4.5)
    merged.write_mtz(folder / "merged.mtz")
    written: str = pyscale.export(result, folder / "unmerged.mtz", format="mtz")
    assert written
    return figures_of_merit(result)
