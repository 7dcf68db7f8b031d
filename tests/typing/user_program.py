"""What a user's own program may look like: `mypy --strict` checks it against the installed package, and it is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pyscale
from pyscale import stages


def figures_of_merit(result: pyscale.ScalingResult) -> dict[str, float]:
    overall = result.statistics.overall
    return {"r_pim": overall.r_pim, "cc_half": overall.cc_half, "completeness": overall.completeness}


def scales(result: pyscale.ScalingResult) -> NDArray[np.float64]:
    return result.inverse_scale_factor


def scaled(data: pyscale.Job, seen: list[str]) -> pyscale.ScalingResult:
    """Scale with progress and a cancellation that nobody uses."""

    def told(progress: pyscale.Progress) -> None:
        seen.append(f"{progress.fraction:.2f} {progress.stage}: {progress.message}")

    try:
        return pyscale.scale(data, d_min=3.2, progress=told, cancel=pyscale.Cancellation())
    except pyscale.Cancelled as error:
        raise SystemExit(str(error)) from None
    except pyscale.PyscaleError as error:
        raise SystemExit(f"cannot be scaled: {error}") from None


def from_memory() -> tuple[float, int]:
    """Return R_pim and the number of merged reflections of simulated data that are never written."""
    simulated: pyscale.SimulatedData = pyscale.simulate(d_min=3.0, seed=2)
    seen: list[str] = []
    result = scaled(simulated.job(), seen)
    g = scales(result)
    whole: pyscale.ShellStatistics = result.statistics.overall
    shells: tuple[pyscale.ShellStatistics, ...] = result.statistics.shells
    merged: pyscale.MergeResult = pyscale.merge(result, options=pyscale.MergeOptions(anomalous=False))
    reflections: pyscale.MergedReflections = merged.merged
    applied: pyscale.AppliedModels = pyscale.apply(result, simulated.job())
    groups = stages.group(reflections.miller_index, "P 21 21 21")
    assert len(shells) == 20 and seen and len(groups) == len(reflections)
    assert np.allclose(applied.inverse_scale_factor[g != 1.0], g[g != 1.0])
    return whole.r_pim, int(reflections.intensity.size)


def from_files(folder: Path) -> dict[str, float]:
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
