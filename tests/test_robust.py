"""Robust losses: weights and their constants, against brute force, known efficiencies and data of known truth."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyscale
from pyscale.dataset import make_job
from pyscale.result import ScalingResult
from pyscale.robust import RobustLoss, robust_factors, robust_loss, standardised_residuals
from pyscale.simulation import SimulatedData

SCHEMES = ("huber", "student_t")
RHO = {
    "huber": lambda z: np.where(np.abs(z) < 1.345, 0.5 * z * z, 1.345 * np.abs(z) - 0.5 * 1.345**2),
    "student_t": lambda z: 2.5 * np.log1p(z * z / 4.0),
}


def loss(scheme: str) -> RobustLoss:
    found = robust_loss(scheme)
    assert found is not None
    return found


def test_least_squares_has_no_loss() -> None:
    assert robust_loss("invvar") is None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weight_and_slope_are_derivatives_of_the_loss(scheme: str) -> None:
    """Up to one constant factor: weight = rho' / z, slope = rho''."""
    z = np.array([-7.0, -2.1, -1.0, -0.3, 0.2, 1.1, 1.6, 3.0, 20.0])
    h = 1e-4
    rho = RHO[scheme]
    first = (rho(z + h) - rho(z - h)) / (2 * h)
    second = (rho(z + h) - 2 * rho(z) + rho(z - h)) / h**2
    constant = loss(scheme).weight(np.array([0.01])) / ((rho(0.01 + h) - rho(0.01 - h)) / (2 * h) / 0.01)
    np.testing.assert_allclose(loss(scheme).weight(z), constant * first / z, rtol=1e-6)
    np.testing.assert_allclose(loss(scheme).slope(z), constant * second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_variance_factor_is_one_for_gaussian_residuals(scheme: str) -> None:
    z = np.random.default_rng(1).normal(size=400_000)
    assert loss(scheme).variance_factor(z, np.ones(z.size)) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_variance_factor_predicts_the_spread_of_robust_means(scheme: str) -> None:
    """M-estimates of 4000 means of 50 observations with tails, by iteration, against factor / sum of weights."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=(4000, 50)) * np.where(rng.random((4000, 50)) < 0.1, 4.0, 1.0)
    mean = np.zeros((4000, 1))
    for _ in range(30):
        weight = loss(scheme).weight(z - mean)
        mean = (weight * z).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    residual = (z - mean).ravel()
    predicted = loss(scheme).variance_factor(residual, np.ones(residual.size)) / weight.sum(axis=1).mean()
    assert mean.var() == pytest.approx(predicted, rel=0.07)


def group(seed: int, n: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return rng.normal(100.0, 30.0, n), rng.uniform(0.01, 0.1, n), rng.uniform(0.3, 1.0, n), rng.uniform(0.5, 2.0, n)


@given(st.integers(0, 100), st.integers(2, 6))
def test_residuals_against_matrices(seed: int, n: int) -> None:
    """Residual variances from the projection y - 1 p^T y with the full covariance."""
    intensity, weight, factor, g = group(seed, n)
    y, v = intensity / g, 1.0 / (weight * g * g)
    share = factor / v / np.sum(factor / v)
    projection = np.eye(n) - share[None, :]
    expected = (projection @ y) / np.sqrt(np.diag(projection @ np.diag(v) @ projection.T))
    z, freedom = standardised_residuals(intensity, weight, factor, g, np.array([0, n]))
    np.testing.assert_allclose(z, expected, rtol=1e-9)
    np.testing.assert_allclose(freedom, 1.0 - share, rtol=1e-12)


def test_rows_left_out_or_alone_say_nothing() -> None:
    z, freedom = standardised_residuals(
        np.array([5.0, 1.0, 2.0, 9.0, 7.0]),
        np.array([1.0, 1.0, 1.0, 0.0, 1.0]),
        np.ones(5),
        np.ones(5),
        np.array([0, 1, 4, 5]),
    )
    assert z[[0, 3, 4]].tolist() == [0.0, 0.0, 0.0] and freedom.tolist() == [0.0, 0.5, 0.5, 0.0, 0.0]
    np.testing.assert_allclose(z[1:3], [-(0.5**0.5), 0.5**0.5])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_observation_that_disagrees_loses_weight(scheme: str) -> None:
    intensity = np.array([100.0, 101.0, 99.0, 100.5, 120.0])
    factor = robust_factors(intensity, np.ones(5), np.ones(5), np.array([0, 5]), loss(scheme))
    assert factor[4] < 0.15 and factor[:4].min() > 0.6


@functools.cache
def simulated(seed: int, outlier_fraction: float) -> SimulatedData:
    return pyscale.simulate(
        unit_cell=(17.0, 20.0, 23.0, 90.0, 90.0, 90.0),
        n_sweeps=16,
        sweep_width=30.0,
        oscillation_width=1.0,
        d_min=2.0,
        scale_variation=0.0,
        decay=0.0,
        absorption=0.0,
        outlier_fraction=outlier_fraction,
        seed=seed,
    )


@functools.cache
def scaled(scheme: str, seed: int = 0, outlier_fraction: float = 0.0, nproc: int = 1) -> ScalingResult:
    data = simulated(seed, outlier_fraction)
    job = make_job(data.experiments(), [data.reflections()])
    return pyscale.scale(job, model="KB", intensity_choice="profile", weighting_scheme=scheme, nproc=nproc)


def efficiency(scheme: str) -> float:
    """Of an M-estimator for Gaussian data, E[rho'']^2 / E[rho'^2], by quadrature of numerical derivatives."""
    z = np.linspace(-9.0, 9.0, 18001)
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi) * (z[1] - z[0])
    first = np.gradient(RHO[scheme](z), z)
    return float((density @ np.gradient(first, z)) ** 2 / (density @ first**2))


def test_known_efficiency() -> None:
    assert efficiency("huber") == pytest.approx(0.95, abs=0.001)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_uncertainties_grow_by_what_the_loss_costs(scheme: str) -> None:
    """On Gaussian data; without the factor of the loss they would shrink."""
    ratio = np.median(scaled(scheme).fit.covariance.sigmas / scaled("invvar").fit.covariance.sigmas) ** 2
    chi = scaled(scheme).fit.covariance.chi_squared / scaled("invvar").fit.covariance.chi_squared
    assert chi == pytest.approx(1.0, abs=0.04)
    assert ratio == pytest.approx(1.0 / efficiency(scheme), abs=0.04)


def error_over_sigma(result: ScalingResult, data: SimulatedData) -> tuple[float, float]:
    """Rms of the error of g over its uncertainty, and of the error itself, in the gauge of the fit."""
    fit, obs = result.fit, result.observations
    first = np.searchsorted(data.truth["id"], np.arange(len(result.models)))
    y = np.log(fit.g / data.truth["g"][first[obs.data_set] + obs.row])
    x = 0.5 / obs.d_spacing**2
    used = ~(fit.outlier | fit.small_scale | obs.absent)
    weight = np.where(used, fit.robust_factor * fit.expected**2 / result.scaled.variance, 0.0)
    y = y - np.polyval(np.polyfit(x, y, 1, w=np.sqrt(weight)), x)
    return float(np.sqrt(np.mean((y * fit.g) ** 2 / fit.g_variance))), float(np.sqrt(np.mean(y**2)))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("outlier_fraction", [0.0, 0.05])
def test_pulls_of_scales(scheme: str, outlier_fraction: float) -> None:
    pulls = [
        error_over_sigma(scaled(scheme, seed, outlier_fraction), simulated(seed, outlier_fraction))[0]
        for seed in range(4)
    ]
    assert 0.85 < np.sqrt(np.mean(np.square(pulls))) < 1.2


@pytest.mark.parametrize("scheme", SCHEMES)
def test_accepted_outliers_do_less_harm(scheme: str) -> None:
    """With rejection switched off the scales are those of a clean fit, nearly."""
    data = simulated(1, 0.05)
    job = make_job(data.experiments(), [data.reflections()])
    options: dict[str, Any] = {"model": "KB", "outlier_rejection": None, "emax": None, "nproc": 1}
    robust = pyscale.scale(job, weighting_scheme=scheme, **options)
    plain = pyscale.scale(job, **options)
    assert error_over_sigma(robust, data)[1] < 0.5 * error_over_sigma(plain, data)[1]


def test_robust_fits_do_not_depend_on_threads() -> None:
    one, two = (scaled("student_t", 0, 0.05, nproc) for nproc in (1, 2))
    np.testing.assert_array_equal(one.fit.g, two.fit.g)
    np.testing.assert_array_equal(one.fit.g_variance, two.fit.g_variance)


def test_merged_data_have_inverse_variance_weights() -> None:
    """What is stored as variance is that of the error model alone."""
    result = scaled("huber", 0, 0.05)
    fit = result.fit
    assert fit.robust_factor.min() < 0.5
    variance = fit.error_models.sigma_squared(fit.observations, fit.variance, fit.expected, 1)
    np.testing.assert_allclose(result.scaled.variance, variance)
