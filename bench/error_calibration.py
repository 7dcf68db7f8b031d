"""Whether error estimates are true: many simulated data sets of different kind, scaled and compared with the truth.

    python bench/error_calibration.py [--per-kind 30] [--seed 0] [--basic]

For each kind: rms and median size of the pulls of merged intensities, (merged - true) / sigma, in the mean over sets
and the extreme sets, over reflections measured twice or more (nothing can tell whether a single one is an outlier);
how often a and b of the error model lie within two standard errors of the truth, where the true scale is in the
model's basis; and the same pulls with dials.scale's error model (error_model=basic).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import pyscale
from pyscale.dataset import make_job
from pyscale.merging import merge_sorted, sort_observations, with_common_scale_errors
from pyscale.result import ScalingResult
from pyscale.simulation import SimulatedData

CELL = (32.0, 38.0, 46.0, 90.0, 90.0, 90.0)
BASE: dict[str, Any] = {"unit_cell": CELL, "d_min": 2.0, "oscillation_width": 1.0, "sweep_width": 180.0}
INSIDE: dict[str, Any] = {"truth": "model", "scale_interval": 15.0, "decay_interval": 20.0}
PHYSICAL = {"scale_interval": 15.0, "decay_interval": 20.0, "absorption_correction": True, "lmax": 4}


@dataclass(frozen=True)
class Kind:
    """Simulation options; errors of each sweep, (factor by which sigmas are too small, extra relative error)."""

    options: dict[str, Any]
    errors: Sequence[tuple[float, float]] = ((1.0, 0.0),)
    inside: bool = False
    scaling: dict[str, Any] = field(default_factory=dict)

    @property
    def simulation(self) -> dict[str, Any]:
        """All options of the simulation."""
        return BASE | (INSIDE if self.inside else {}) | self.options


KINDS = {
    "strong": Kind({"mean_intensity": 2000.0}, inside=True),
    "weak": Kind({"mean_intensity": 8.0, "d_min": 1.9}, inside=True),
    "few counts": Kind({"mean_intensity": 3.0, "background": 0.3, "d_min": 1.9}),
    "low multiplicity": Kind({"sweep_width": 75.0, "d_min": 1.8}),
    "monoclinic": Kind({"space_group": "P 21", "unit_cell": (32.0, 38.0, 46.0, 90.0, 101.0, 90.0), "d_min": 2.2}),
    "outliers": Kind({"outlier_fraction": 0.02}, inside=True),
    "sigmas too small": Kind({}, ((1.6, 0.0),), inside=True),
    "large relative error": Kind({"multiplicative_error": 0.08}, inside=True),
    "small molecule": Kind({"unit_cell": (8.0, 11.0, 15.0, 90.0, 90.0, 90.0), "d_min": 0.75, "sweep_width": 360.0}),
    "anomalous": Kind({"anomalous": 0.06}, scaling={"anomalous": True}),
    "four sweeps, unlike": Kind(
        {"n_sweeps": 4, "sweep_width": 90.0, "d_min": 2.3, "random_goniometer": True, "multiplicative_error": 0.0},
        ((0.8, 0.02), (1.0, 0.05), (1.3, 0.03), (1.7, 0.1)),
        inside=True,
    ),
    "eight sweeps, alike": Kind({"n_sweeps": 8, "sweep_width": 45.0, "d_min": 2.3, "random_goniometer": True}),
}


def simulated(kind: Kind, seed: int) -> tuple[SimulatedData, np.ndarray]:
    """Return a data set with the errors of its kind, and the number of the sweep of each row."""
    data = pyscale.simulate(**kind.simulation, seed=seed)
    rng = np.random.default_rng(1000 + seed)
    sweep = np.repeat(np.arange(len(data.columns)), [len(c["flags"]) for c in data.columns])
    start = 0
    for columns, (factor, relative) in zip(data.columns, kind.errors * len(data.columns), strict=False):
        n = len(columns["flags"])
        rows = slice(start, start + n)
        extra = rng.normal(0.0, 1.0, n) * relative * data.truth["I"][rows] * data.truth["g"][rows]
        conversion = columns["lp"] / columns.get("qe", 1.0)
        for which in ("prf", "sum"):
            columns[f"intensity.{which}.value"] = columns[f"intensity.{which}.value"] + extra / conversion
            columns[f"intensity.{which}.variance"] = columns[f"intensity.{which}.variance"] / factor**2
        start += n
    return data, sweep


def scaled(data: SimulatedData, kind: Kind, error_model: str) -> ScalingResult:
    """Scale it, by the true model where that is known."""
    options = {"physical": PHYSICAL} if kind.inside else {}
    job = make_job(data.experiments(), [data.reflections()])
    return pyscale.scale(job, model="physical", error_model=error_model, nproc=1, **options, **kind.scaling)


def pulls(data: SimulatedData, sweep: np.ndarray, result: ScalingResult) -> np.ndarray:
    """(merged - true) / sigma of the unique reflections, once overall scale and B are fitted."""
    obs, fit = result.observations, result.fit
    n_before = np.concatenate([[0], np.cumsum(np.bincount(sweep))])
    row = n_before[obs.data_set] + obs.row
    used = ~(fit.outlier | fit.small_scale | obs.absent)
    g = fit.g[used]
    scale_variance = fit.g_variance[used] / g**2
    mean = (fit.expected[used] / g) ** 2
    grouped = sort_observations(
        obs.miller_index[used],
        obs.intensity[used] / g,
        result.scaled.variance[used] / g**2 + mean * scale_variance,
        result.space_group,
        rank=np.flatnonzero(used),
    )
    apart = result.options.anomalous
    correlation = fit.scale_correlation[used]
    grouped = with_common_scale_errors(grouped, scale_variance, correlation, mates_apart=apart)
    merged = merge_sorted(grouped, result.space_group)
    truth = data.truth["I_own" if apart else "I"][row[used]][grouped.order]
    if apart:
        first = truth[grouped.anomalous_offsets[:-1]]
        value = np.where(
            grouped.anomalous_is_minus,
            merged.intensity_minus[grouped.anomalous_parent],
            merged.intensity_plus[grouped.anomalous_parent],
        )
        sigma = np.where(
            grouped.anomalous_is_minus,
            merged.sigma_minus[grouped.anomalous_parent],
            merged.sigma_plus[grouped.anomalous_parent],
        )
        d = obs.d_spacing[used][grouped.order][grouped.anomalous_offsets[:-1]]
    else:
        first, value, sigma = truth[grouped.offsets[:-1]], merged.intensity, merged.sigma
        d = obs.d_spacing[used][grouped.order][grouped.offsets[:-1]]
    n_obs = np.diff(grouped.anomalous_offsets if apart else grouped.offsets)
    return ((value - fitted_to(first, value, sigma, d)) / sigma)[n_obs > 1]


def fitted_to(truth: np.ndarray, value: np.ndarray, sigma: np.ndarray, d: np.ndarray) -> np.ndarray:
    """True intensities on the scale of the merged ones: k exp(B x), by least squares."""
    k, b, x = float(np.sum(value * truth / sigma**2) / np.sum((truth / sigma) ** 2)), 0.0, 0.5 / d**2
    for _ in range(10):
        model = k * np.exp(b * x) * truth
        rows = np.stack([model, model * x]) / sigma
        step = np.linalg.lstsq(rows.T, (value - model) / sigma, rcond=None)[0]
        k, b = k * np.exp(step[0]), b + step[1]
    return k * np.exp(b * x) * truth


def covered(kind: Kind, result: ScalingResult) -> list[bool]:
    """Whether a and b of each sweep lie within two standard errors of the truth."""
    found, fit = [], result.fit
    own = kind.simulation.get("multiplicative_error", 0.03)
    for k in range(len(result.models)):
        factor, relative = kind.errors[k % len(kind.errors)]
        model = fit.error_models.of(k)
        assert fit.error_model_fit is not None
        covariance = fit.error_model_fit.covariance
        if fit.error_models.shrunk is not None:
            covariance = fit.error_models.shrunk.covariance[int(fit.error_models.group_of[k])]
            covariance = np.maximum(covariance, fit.error_model_fit.covariance * np.eye(3))
        sigma = np.sqrt(np.diag(covariance))
        true_b = np.hypot(own, relative) / factor
        found += [
            bool(abs(np.log(model.a / factor)) < 2 * sigma[0]),
            bool(abs(model.b**2 - true_b**2) < 2 * sigma[1]),
        ]
    return found


def describe(values: list[np.ndarray]) -> str:
    """Rms and median of pulls in the mean over sets, and the extreme rms."""
    rms = np.array([np.sqrt(np.mean(v**2)) for v in values])
    median = np.mean([np.median(np.abs(v)) for v in values])
    return f"rms {rms.mean():.3f} ({rms.min():.3f} to {rms.max():.3f}), median {median:.3f}"


def main() -> None:
    """Run all kinds and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-kind", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--basic", action="store_true", help="also with error_model=basic")
    parser.add_argument("--only", nargs="*", default=list(KINDS))
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    everything: dict[str, list[np.ndarray]] = {"likelihood": [], "basic": []}
    inside: list[bool] = []
    for name in arguments.only:
        kind = KINDS[name]
        here: dict[str, list[np.ndarray]] = {"likelihood": [], "basic": []}
        within: list[bool] = []
        for seed in range(arguments.seed, arguments.seed + arguments.per_kind):
            data, sweep = simulated(kind, seed)
            for model in ["likelihood", "basic"] if arguments.basic else ["likelihood"]:
                result = scaled(data, kind, model)
                here[model].append(pulls(data, sweep, result))
                if model == "likelihood" and kind.inside:
                    within += covered(kind, result)
        inside += within
        line = f"{name:22s} {describe(here['likelihood'])}"
        line += f"; a, b within 2 sigma: {100 * np.mean(within):.0f} %" if within else ""
        line += f"; basic: {describe(here['basic'])}" if here["basic"] else ""
        print(line, flush=True)
        for model, values in here.items():
            everything[model] += values
    share = f"; a, b within 2 sigma: {100 * np.mean(inside):.1f} %" if inside else ""
    print(f"{'all':22s} {describe(everything['likelihood'])}{share}")
    if everything["basic"]:
        print(f"basic                  {describe(everything['basic'])}")


if __name__ == "__main__":
    main()
