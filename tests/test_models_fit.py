"""Fits of every model to simulated data: the truth comes back, and what is shared is shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.dataset import make_job
from pyscale.errors import DataError
from pyscale.result import ScalingResult
from pyscale.simulation import SimulatedData
from pyscale.typing import FloatArray, IndexArray

FLAT: dict[str, Any] = {"scale_variation": 0.0, "decay": 0.0, "absorption": 0.0}
SMALL: dict[str, Any] = {
    "unit_cell": (30.0, 34.0, 40.0, 90.0, 90.0, 90.0),
    "d_min": 2.4,
    "n_sweeps": 2,
    "sweep_width": 90.0,
    "oscillation_width": 1.0,
    "mean_intensity": 1000.0,
    "outlier_fraction": 0.0,
    "seed": 5,
}


@dataclass
class Fitted:
    """A fit, and the true ln g of its observations in the best of all gauges."""

    result: ScalingResult
    truth: FloatArray
    found: FloatArray
    predicted: FloatArray
    group: IndexArray

    @property
    def error(self) -> float:
        """Standard deviation of ln g from the truth."""
        return float(np.sqrt(np.mean((self.found - self.truth) ** 2)))

    @property
    def scatter(self) -> float:
        """The same within groups of equivalents: a function of the resolution alone is beyond knowing for a grid."""
        deviation = self.found - self.truth
        mean = np.bincount(self.group, deviation) / np.maximum(np.bincount(self.group), 1)
        return float(np.sqrt(np.mean((deviation - mean[self.group]) ** 2)))

    @property
    def expected_error(self) -> float:
        """What the fit says of it."""
        return float(np.sqrt(np.mean(self.predicted)))

    def component(self, data_set: int, name: str) -> Any:
        found = self.result.models[data_set].component(name)
        assert found is not None
        return found


def simulated(**options: Any) -> SimulatedData:
    return pyscale.simulate(**(SMALL | options))


def fitted(data: SimulatedData, **options: Any) -> Fitted:
    result = pyscale.scale(make_job(data.experiments(), [data.reflections()]), nproc=1, **options)
    obs, fit = result.observations, result.fit
    true_g = np.empty(len(obs))
    for k in range(len(result.models)):
        own = data.truth["g"][data.truth["id"] == k]
        here = obs.data_set == k
        true_g[here] = own[obs.row[here]]
    keep = ~fit.outlier & ~fit.small_scale & ~obs.absent
    found, truth = np.log(fit.g[keep]), np.log(true_g[keep])
    # a common factor and a common B are convention
    gauge = np.stack([np.ones(keep.sum()), 0.5 / obs.d_spacing[keep] ** 2], axis=1)
    shift = gauge @ np.linalg.lstsq(gauge, truth - found, rcond=None)[0]
    return Fitted(result, truth, found + shift, fit.g_variance[keep] / fit.g[keep] ** 2, obs.group[keep])


IN_BASIS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "physical": (
        {"truth": "model"},
        {"model": "physical", "absorption_correction": True, "lmax": 4},
    ),
    "KB": (FLAT | {"scale_spread": 0.5, "n_sweeps": 8, "keep": 0.3}, {"model": "KB"}),
    "image scale": (FLAT | {"jitter": 0.1}, {"physical.image_scale": True, "absorption_correction": False}),
    "dose decay": (
        FLAT | {"dose_decay": 0.004, "dose_per_image": (1.0, 2.5), "dose_at_start": (0.0, 100.0)},
        {"model": "dose_decay", "dose_per_image": (1.0, 2.5), "dose_at_start": (0.0, 100.0)},
    ),
    "linear dose decay": (
        FLAT | {"dose_decay": 0.004, "dose_law": "linear", "dose_per_image": (2.0,)},
        {"model": "dose_decay", "resolution_dependence": "linear", "dose_per_image": (2.0,)},
    ),
    "analytical": (
        {"analytical": 0.15, "truth": "model", "absorption": 0.0},
        {"physical.analytical_correction": True, "absorption_correction": False},
    ),
}


@pytest.mark.parametrize("name", IN_BASIS)
def test_truth_within_the_model_comes_back_to_the_stated_uncertainty(name: str) -> None:
    simulation, options = IN_BASIS[name]
    fit = fitted(simulated(**simulation), **options)
    assert fit.result.fit.termination in ("converged", "no_further_decrease")
    assert np.std(fit.truth) > 10 * fit.error
    assert 0.3 * fit.expected_error < fit.error < 1.5 * fit.expected_error


@pytest.mark.parametrize(
    ("simulation", "options", "left"),
    [
        ({"position_variation": 0.1}, {"model": "array", "array.decay_interval": 15.0}, 0.4),
        ({"resolution_variation": 0.1}, {"model": "array", "array.absorption_correction": False}, 0.4),
        (
            {"modulation": 0.1, "modulation_bins": 2},
            {"model": "array", "modulation_correction": True, "n_modulation_bins": 8, "absorption_correction": False},
            0.4,
        ),
    ],
)
def test_grids_take_most_of_a_smooth_distortion(
    simulation: dict[str, Any], options: dict[str, Any], left: float
) -> None:
    data = simulated(**FLAT, **simulation)
    fit, without = fitted(data, **options), fitted(data, model="KB")
    assert without.scatter > 0.03
    assert fit.scatter < left * without.scatter


@pytest.mark.parametrize("name", ["dose decay", "linear dose decay"])
def test_the_rate_of_dose_decay_is_found_and_shared(name: str) -> None:
    simulation, options = IN_BASIS[name]
    fit = fitted(simulated(**simulation), **options)
    rates = [fit.component(k, "decay") for k in range(2)]
    assert rates[0].parameters[0] == rates[1].parameters[0]
    assert rates[0].sigmas[0] < 2e-4
    assert abs(rates[0].parameters[0] + 0.004) < 4 * rates[0].sigmas[0]
    apart = fitted(simulated(**simulation), **options, **{"dose_decay.share.decay": False})
    one, two = (apart.component(k, "decay").parameters[0] for k in range(2))
    assert one != two


def test_shared_absorption_is_one_surface_for_all_sweeps_of_a_crystal() -> None:
    data = simulated(same_crystal=True, truth="model", absorption=0.08, random_goniometer=True, n_sweeps=3, keep=0.4)
    options = {"absorption_correction": True, "lmax": 4}
    shared = fitted(data, **options, **{"physical.share.absorption": True})
    apart = fitted(data, **options)
    surfaces = [shared.component(k, "absorption") for k in range(3)]
    for surface in surfaces[1:]:
        np.testing.assert_array_equal(surface.parameters, surfaces[0].parameters)
        np.testing.assert_array_equal(surface.sigmas, surfaces[0].sigmas)
    assert shared.result.fit.parameters.size == apart.result.fit.parameters.size - 2 * surfaces[0].n_parameters
    # three times the data for each parameter
    assert np.median(surfaces[0].sigmas) < 0.8 * np.median(apart.component(0, "absorption").sigmas)
    assert shared.error < apart.error
    assert shared.error < 1.5 * shared.expected_error
    assert [d["model"]["components"][-1]["shared"] for d in shared.result.to_dict()["datasets"]] == [True] * 3


def test_a_known_correction_is_used_as_it_is() -> None:
    simulation, options = IN_BASIS["analytical"]
    data = simulated(**simulation)
    fit = fitted(data, **options)
    without = fitted(data, absorption_correction=False)
    assert fit.error < 0.2 * without.error
    table = data.reflections()
    for k in range(2):
        here = fit.result.observations.data_set == k
        column = np.asarray(table["analytical_correction"][table["id"] == k])
        np.testing.assert_array_equal(
            fit.result.observations.given_factor[here], column[fit.result.observations.row[here]]
        )


def test_rows_without_a_known_correction_leave_and_a_missing_column_is_named() -> None:
    data, options = simulated(analytical=0.1), {"physical.analytical_correction": True}
    table = data.reflections()
    column = np.array(table["analytical_correction"])
    column[[0, 50, 100]] = [0.0, np.nan, -1.0]
    table["analytical_correction"] = column
    result = pyscale.scale(make_job(data.experiments(), [table]), nproc=1, **options)
    filtered = [e["filtered"].get("no_analytical_correction", 0) for e in result.to_dict()["ledger"].values()]
    assert sum(filtered) == 3
    plain = simulated()
    with pytest.raises(DataError, match="analytical_correction"):
        pyscale.scale(make_job(plain.experiments(), [plain.reflections()]), nproc=1, **options)


def test_models_of_one_job_may_differ_by_rotation_range() -> None:
    data = simulated(truth="model", oscillation_width=0.4, sweep_width=60.0, scale_spread=0.5)
    fit = fitted(data, exclude_images=("1:3:150",), same_crystal=False)
    assert [m.model for m in fit.result.models] == ["physical", "KB"]
    assert fit.component(0, "scale").kind == "smooth_scale" and fit.component(1, "scale").kind == "constant_scale"
    observations = fit.result.observations
    keep = ~fit.result.fit.outlier & ~fit.result.fit.small_scale & ~observations.absent
    short = observations.data_set[keep] == 1
    assert short.sum() > 20
    deviation = (fit.found - fit.truth)[short]
    assert np.sqrt(np.mean(deviation**2)) < 3 * np.sqrt(np.mean(fit.predicted[short]))
