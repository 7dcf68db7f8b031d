"""Variances of expected counts: means weighted by them are unbiased where those weighted by observed counts are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pyscale.counting import (
    background_variance,
    count_variance_slope,
    slope_below_zero,
)
from pyscale.counting import expected_count_variance as variance_on_background


def expected_count_variance(variance, intensity, expected, slope, below=1.0):
    return variance_on_background(background_variance(variance, intensity, slope, below), expected, slope)


MEAN, BACKGROUND, N, N_GROUPS = 20.0, 5.0, 10, 20_000


def poisson_groups(seed: int = 3) -> tuple[np.ndarray, ...]:
    """Intensity, integrator's variance and conversion, (n_groups, n), of reflections whose true mean is MEAN."""
    rng = np.random.default_rng(seed)
    conversion = rng.uniform(0.5, 2.0, (N_GROUPS, N))
    total = rng.poisson(MEAN / conversion + BACKGROUND)
    intensity = conversion * (total - BACKGROUND)
    return intensity, conversion**2 * (total + BACKGROUND), conversion


def bias(intensity: np.ndarray, variance: np.ndarray) -> tuple[float, float]:
    """Mean and standard error of (weighted mean of a group) / truth - 1."""
    weight = 1.0 / variance
    means = (weight * intensity).sum(axis=1) / weight.sum(axis=1)
    return float(means.mean() / MEAN - 1), float(means.std() / MEAN / np.sqrt(N_GROUPS))


def test_weighted_means_are_unbiased() -> None:
    intensity, variance, conversion = poisson_groups()
    observed, error = bias(intensity, variance)
    assert observed < -20 * error
    changed = expected_count_variance(variance, intensity, np.full_like(intensity, MEAN), conversion)
    expected, error = bias(intensity, changed)
    assert abs(expected) < 4 * error
    constant = 2 * conversion**2 * BACKGROUND + conversion * MEAN
    assert_allclose(changed[intensity >= 0], constant[intensity >= 0])


def test_with_expected_intensities_from_the_groups_themselves_little_bias_is_left() -> None:
    intensity, variance, conversion = poisson_groups()
    expected = np.broadcast_to(intensity.mean(axis=1, keepdims=True), intensity.shape)
    for _ in range(3):
        changed = expected_count_variance(variance, intensity, expected, conversion)
        means = (intensity / changed).sum(axis=1, keepdims=True) / (1 / changed).sum(axis=1, keepdims=True)
        expected = np.broadcast_to(means, intensity.shape)
    assert abs(bias(intensity, changed)[0]) < 0.1 * abs(bias(intensity, variance)[0])


def test_variance_of_expected_counts_is_the_true_one() -> None:
    intensity, variance, conversion = poisson_groups()
    changed = expected_count_variance(variance, intensity, np.full_like(intensity, MEAN), conversion)
    # the background is known here, so only its counts under the peak scatter
    scatter = (intensity - MEAN) ** 2 / (changed - conversion**2 * BACKGROUND)
    assert scatter.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2.5 / scatter.size))


def slope(intensity: np.ndarray, variance: np.ndarray, conversion: np.ndarray, data_set: np.ndarray) -> np.ndarray:
    return count_variance_slope(intensity, variance, conversion, data_set.astype(np.int32), int(data_set.max()) + 1)


def test_the_slope_of_each_data_set() -> None:
    """Detectors of gain 0.5 and 3, photons, and a data set with too few strong observations to say."""
    rng = np.random.default_rng(1)
    n = 1000
    conversion = rng.uniform(0.5, 2.0, 4 * n)
    data_set = np.repeat(np.arange(4), n)
    factor = np.array([0.5, 1.0, 3.0, 0.5])[data_set]
    intensity = rng.uniform(200.0, 2000.0, 4 * n)
    intensity[3 * n + 49 :] = -5.0
    variance = factor * conversion * np.abs(intensity) + rng.exponential(1.0, 4 * n)
    found = slope(intensity, variance, conversion, data_set) / conversion
    for k, expected in enumerate([0.5, 1.0, 3.0, 0.0]):
        assert_allclose(found[data_set == k], expected, rtol=1e-3)
    intensity[3 * n + 49] = 500.0
    variance[3 * n + 49] = 0.5 * conversion[3 * n + 49] * 500.0
    assert_allclose((slope(intensity, variance, conversion, data_set) / conversion)[3 * n :], 0.5, rtol=1e-3)


@pytest.mark.parametrize("unit", [2.0**-10, 1.0, 1000.0])
def test_the_slope_of_poisson_counts_over_a_background_in_any_unit(unit: float) -> None:
    """Photons over a uniform background: V = I + B, one unit of variance per photon."""
    rng = np.random.default_rng(12)
    conversion = rng.uniform(0.5, 2.0, 20_000)
    intensity = rng.exponential(200.0, conversion.size) * conversion
    variance = conversion * intensity + 30.0 * conversion**2
    weak = rng.random(conversion.size) < 0.2
    intensity[weak], variance[weak] = 0.0, 30.0 * conversion[weak] ** 2
    found = slope(unit * intensity, unit**2 * variance, conversion, np.zeros(conversion.size, np.int64))
    assert_allclose(found, unit * conversion, rtol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_the_slope_explains_no_more_than_the_variance_of_strong_observations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 2000
    conversion, intensity = rng.uniform(0.1, 3.0, n), rng.exponential(300.0, n)
    variance = rng.uniform(0.05, 4.0, n) * intensity * conversion + rng.exponential(20.0, n)
    k = slope(intensity, variance, conversion, np.zeros(n, np.int64))
    strong = intensity > 3 * np.sqrt(variance)
    assert np.all(k >= 0)
    assert np.count_nonzero((k * intensity > variance)[strong]) <= 0.005 * np.count_nonzero(strong) + 1


def test_conversions_that_are_not_positive_have_no_slope() -> None:
    n = 200
    conversion = np.where(np.arange(n) % 2 == 0, -1.0, 1.0)
    found = slope(np.full(n, 100.0), np.full(n, 80.0), conversion, np.zeros(n, np.int64))
    assert_allclose(found, np.where(conversion > 0, 0.8, 0.0))


@given(
    variance=st.floats(1e-6, 1e12),
    intensity=st.floats(-1e9, 1e9),
    expected=st.floats(-1e9, 1e9),
    slope=st.one_of(st.just(0.0), st.floats(1e-3, 1e3)),
)
def test_variances_stay_positive_and_grow_with_the_expected_intensity(
    variance: float, intensity: float, expected: float, slope: float
) -> None:
    def changed(value: float) -> float:
        return float(expected_count_variance(*(np.array([x]) for x in (variance, intensity, value, slope)))[0])

    assert changed(expected) > 0
    assert changed(expected + 1.0) >= changed(expected)
    assert changed(expected) >= min(variance, slope**2) + slope * max(expected, 0.0) * (1 - 1e-12)
    if slope == 0.0:
        assert changed(expected) == variance


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_what_variances_of_negative_intensities_do_is_taken_from_the_data(share: float) -> None:
    """Two data sets of weak reflections: with variances of all counts, and with those of positive intensities only."""
    rng = np.random.default_rng(3)
    n = 20_000
    background = rng.uniform(3.0, 6.0, n)
    mean = rng.exponential(1.0, n)
    intensity = rng.poisson(mean + background) - background
    variance = background + np.where(intensity < 0, share * intensity, intensity)
    unit = 25.0
    slope = np.full(n, unit)
    found = slope_below_zero(unit * intensity, unit**2 * variance, slope, np.zeros(n, np.int32), 2)
    assert found[0] == pytest.approx(share, abs=0.15)
    assert found[1] == 1.0
    plain = expected_count_variance(unit**2 * variance, unit * intensity, unit * mean, slope, share)
    np.testing.assert_allclose(plain, unit**2 * (background + mean), rtol=1e-9, atol=unit**2)
