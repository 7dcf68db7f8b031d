"""A program that uses the public interface; `mypy` checks it in strict mode, and a test runs it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import pyscale
from pyscale import stages


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


def main() -> tuple[float, int]:
    """Return R_pim and the number of merged reflections."""
    simulated: pyscale.SimulatedData = pyscale.simulate(d_min=3.0, seed=2)
    seen: list[str] = []
    result = scaled(simulated.job(), seen)
    g: npt.NDArray[np.float64] = result.inverse_scale_factor
    shells: tuple[pyscale.ShellStatistics, ...] = result.statistics.shells
    merged: pyscale.MergeResult = pyscale.merge(result, options=pyscale.MergeOptions(anomalous=False))
    reflections: pyscale.MergedReflections = merged.merged
    applied: pyscale.AppliedModels = pyscale.apply(result, simulated.job())
    groups = stages.group(reflections.miller_index, "P 21 21 21")
    assert len(shells) == 20 and seen and len(groups) == len(reflections)
    assert np.allclose(applied.inverse_scale_factor[g != 1.0], g[g != 1.0])
    return result.statistics.overall.r_pim, int(reflections.intensity.size)


if __name__ == "__main__":
    main()
