"""How well sigmas predict the spread of equivalents that neither scales nor error model have seen.

    python bench/held_out_errors.py [NAME ...] [--fraction 0.1] [--repeats 3]

A random part of the observations, fixed before any fit, is kept out of scales, outliers, error model and means of both
error models, likelihood and basic. Each is then predicted by the mean of its equivalents: z = (I - g M) / (sigma'^2 +
g^2/S)^1/2. Printed is the mean of ln p, outliers included, with p Student's t of 4 degrees of freedom of unit scale,
and of the scale for which the true sigmas of Gaussian data score best. Intensities are profile-fitted ones where there
are any. Needs PYSCALE_DATA (default ../shared/data).
"""

from __future__ import annotations

import argparse
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pyscale import scaler
from pyscale._likelihood import student_kappa
from pyscale.dataset import load_job
from pyscale.observations import JobObservations
from pyscale.options import ScalingOptions, with_changes
from pyscale.result import ScalingResult

NU = 4.0
SETS = {
    "l_cysteine": "l_cysteine/*integrated.*",
    "gamma_xe": "gamma_xe/descaled_unmerged.mtz",
    "cry2pk": "cry2pk/INTEGRATE.HKL",
    "cinchonine_ed": "cinchonine_ed/INTEGRATE.HKL",
    "quartz_ed": "quartz_ed/integrated.*",
    "ed_p212121": "ed_p212121/integrated.*",
    "brap_mad": "brap_mad/brap_??_6A.mtz",
    "hypf": "hypf/hypf_unmerged.mtz",
}


def held_out_rows(observations: JobObservations, fraction: float, seed: int) -> np.ndarray:
    """Rows to keep out: random ones, as long as an equivalent of their hand is left."""
    sizes = np.diff(observations.anomalous_offsets)
    group = np.repeat(np.arange(sizes.size), sizes)
    chosen = (np.random.default_rng(seed).random(group.size) < fraction) & ~observations.absent
    left = np.bincount(group, ~chosen & ~observations.absent, sizes.size)
    return chosen & (left[group] > 0)


def scaled_without(files: Sequence[Path], error_model: str, fraction: float, seed: int) -> tuple[ScalingResult, Any]:
    """Scale with rows that take no part in anything, as systematic absences do, and return these."""
    collect, rows = scaler.collect, []

    def collect_some(*arguments: Any, **options: Any) -> JobObservations:
        observations = collect(*arguments, **options)
        rows.append(held_out_rows(observations, fraction, seed))
        return replace(observations, absent=observations.absent | rows[-1])

    scaler.collect = collect_some
    try:
        # Both must judge the same intensities, not each those that it likes.
        same = {"reflection_selection.intensity_choice": "profile"}
        options = with_changes(ScalingOptions(), {"weighting.error_model.error_model": error_model, **same})
        return scaler.scale_job(load_job(files), options), rows[-1]
    finally:
        scaler.collect = collect


def deviations(result: ScalingResult, held: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows that can be predicted, their deviation and its standard error by the error model."""
    fit, obs = result.fit, result.observations
    used = ~(obs.absent | fit.outlier | fit.small_scale)
    weight = np.where(used, 1.0 / fit.sigma_squared, 0.0)
    starts, sizes = obs.anomalous_offsets[:-1], np.diff(obs.anomalous_offsets)
    total = np.repeat(np.add.reduceat(weight * fit.g**2, starts), sizes)
    product = np.repeat(np.add.reduceat(weight * fit.g * obs.intensity, starts), sizes)
    known = held & (total > 0)
    deviation = (obs.intensity - fit.g * np.divide(product, total, out=np.zeros_like(total), where=total > 0))[known]
    return np.flatnonzero(known), deviation, np.sqrt(fit.sigma_squared + fit.g**2 / np.where(known, total, 1.0))[known]


def mean_log_density(deviation: np.ndarray, sigma: np.ndarray, scale: float) -> float:
    """Mean of ln p of Student's t."""
    z = deviation / (scale * sigma)
    constant = math.lgamma((NU + 1) / 2) - math.lgamma(NU / 2) - 0.5 * math.log(NU * math.pi) - math.log(scale)
    return float(np.mean(constant - 0.5 * (NU + 1) * np.log1p(z**2 / NU) - np.log(sigma)))


def compare(name: str, folder: Path, fraction: float, repeats: int) -> str:
    """Differences likelihood less basic, in the mean over some choices of rows."""
    files = sorted(folder.glob(SETS[name]))
    gains = []
    for seed in range(repeats):
        found = []
        for error_model in ("likelihood", "basic"):
            result, held = scaled_without(files, error_model, fraction, seed)
            found.append(deviations(result, held))
        both = np.intersect1d(found[0][0], found[1][0])
        same = [[values[np.isin(rows, both)] for values in rest] for rows, *rest in found]
        consistent = math.sqrt(student_kappa(NU))
        scores = [[mean_log_density(*pair, scale) for scale in (1.0, consistent)] for pair in same]
        widths = [np.median(np.abs(d / s)) / 0.6745 for d, s in same]
        gains.append([*np.subtract(*scores), *widths, both.size])
    gain, consistent_gain, own, other, n = np.mean(gains, axis=0)
    return f"{name:14s} {gain:+8.4f} ({consistent_gain:+8.4f})   {own:5.2f} {other:5.2f}   {n:.0f}"


def main() -> None:
    """Print a line for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(SETS))
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    folder = Path(os.environ.get("PYSCALE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    print("data set       gain of ln p (consistent scale)   median |z| / 0.674 likelihood, basic   rows")
    for name in arguments.names:
        print(compare(name, folder, arguments.fraction, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
