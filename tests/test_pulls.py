"""Whether uncertainties are true: pulls over repeated simulations with parameters known and restraints off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import pyscale
from pyscale.dataset import make_job
from pyscale.result import ScalingResult
from pyscale.simulation import SimulatedData
from pyscale.typing import FloatArray

N_REPLICATES = 50
N_SCALE, N_DECAY, N_ABSORPTION = 26, 20, 24


@dataclass
class Pulls:
    """(fitted - true) / sigma, per replicate: parameters, scales and merged intensities."""

    parameters: FloatArray
    g: FloatArray
    merged: FloatArray


def simulated(seed: int) -> SimulatedData:
    """A full turn of a small crystal, with variances as an integrator counts them."""
    return pyscale.simulate(
        unit_cell=(17.0, 20.0, 23.0, 90.0, 90.0, 90.0),
        sweep_width=360.0,
        oscillation_width=1.0,
        d_min=1.6,
        truth="model",
        scale_interval=15.0,
        decay_interval=20.0,
        outlier_fraction=0.0,
        seed=seed,
    )


def fitted(data: SimulatedData) -> ScalingResult:
    physical = {
        "scale_interval": 15.0,
        "decay_interval": 20.0,
        "absorption_correction": True,
        "lmax": 4,
        "decay_restraint": 0.0,
        "surface_weight": 0.0,
    }
    job = make_job(data.experiments(), [data.reflections()])
    return pyscale.scale(job, model="physical", physical=physical, intensity_choice="profile", nproc=1)


def pulls_of(data: SimulatedData, result: ScalingResult) -> Pulls:
    fit, rows, truth = result.fit, result.observations.row, data.truth
    group, x = result.observations.group, 0.5 / result.observations.d_spacing**2
    used = ~(fit.outlier | fit.small_scale | result.observations.absent)
    used &= np.bincount(group, used)[group] > 1
    # the documented gauge: weights w (g I_h)^2 of the fit, ln g has the same mean and slope as the fit's
    weight = np.where(used, fit.expected**2 / result.scaled.variance, 0.0)
    slope, shift = np.polyfit(x, np.log(truth["g"][rows] / fit.g), 1, w=np.sqrt(weight))
    true_parameters = np.concatenate(
        [truth["sweep_0/scale"] * np.exp(-shift), truth["sweep_0/decay"] - slope, truth["sweep_0/absorption"]]
    )
    moved = np.exp(shift + slope * x)
    g = (fit.g - truth["g"][rows] / moved) / np.sqrt(fit.g_variance)
    precision = np.where(used, fit.g**2 / result.scaled.variance, 0.0)
    sums = np.bincount(group, precision)
    mean = np.bincount(group, precision * result.observations.intensity / fit.g)[sums > 0] / sums[sums > 0]
    first = np.unique(group, return_index=True)[1][sums > 0]
    true_mean = (truth["I"][rows] * moved)[first]
    return Pulls(
        (fit.parameters - true_parameters) / fit.covariance.sigmas,
        g[used],
        (mean - true_mean) * np.sqrt(sums[sums > 0]),
    )


def replicates(n: int) -> Pulls:
    parts = []
    for seed in range(n):
        data = simulated(seed)
        result = fitted(data)
        assert result.fit.termination == "converged"
        assert not result.fit.covariance.undetermined
        parts.append(pulls_of(data, result))
    return Pulls(
        np.array([p.parameters for p in parts]),
        np.concatenate([p.g for p in parts]),
        np.concatenate([p.merged for p in parts]),
    )


def rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


@pytest.fixture(scope="module")
def pulls() -> Pulls:
    return replicates(N_REPLICATES)


def test_parameter_pulls(pulls: Pulls) -> None:
    assert pulls.parameters.shape == (N_REPLICATES, N_SCALE + N_DECAY + N_ABSORPTION)
    assert abs(pulls.parameters.mean()) < 0.2
    assert pulls.parameters.std() == pytest.approx(1.0, abs=0.1)
    # a component has fewer independent pulls than parameters: the scale's move together against the absorption's
    for part in np.split(pulls.parameters, [N_SCALE, N_SCALE + N_DECAY], axis=1):
        assert abs(part.mean()) < 0.45
        assert part.std() == pytest.approx(1.0, abs=0.25)


def test_pulls_of_scales_and_merged_intensities(pulls: Pulls) -> None:
    assert abs(pulls.g.mean()) < 0.1
    assert abs(pulls.merged.mean()) < 0.05
    assert 0.95 < rms(pulls.g) < 1.08
    assert 0.95 < rms(pulls.merged) < 1.08
