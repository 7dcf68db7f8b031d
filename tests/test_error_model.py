"""The error model against known truth, a dense likelihood, finite differences, and its invariances."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale import _core
from pyscale._likelihood import student_kappa
from pyscale.error_model import (
    ErrorModel,
    expected_intensity,
    normalised_deviations,
    refine_error_model,
)
from pyscale.errors import UsageError

NONE = np.zeros(0, np.uint8)


def simulate(seed, n=20_000, multiplicity=(2, 31), a=1.3, b=0.05, mean=1000.0, background=25.0):
    """Gaussian observations of groups with exponential intensities and known a, b."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(*multiplicity, size=max(1, int(n / np.mean(np.arange(*multiplicity)))))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    group = np.repeat(np.arange(sizes.size), sizes)
    g = rng.uniform(0.5, 2.0, group.size)
    expected = g * rng.exponential(mean, sizes.size)[group]
    variance = (expected + background) * rng.uniform(0.7, 1.4, group.size)
    intensity = rng.normal(expected, a * np.sqrt(variance + (b * expected) ** 2))
    return intensity, variance, g, offsets


def refine(data, **options):
    return refine_error_model(*data, data[3], **options)


def pack(data, b=0.05, min_multiplicity=2):
    intensity, variance, g, offsets = data
    expected = expected_intensity(intensity, 1 / variance, g, offsets)
    return _core.repeated_observations(intensity, variance, g, expected, offsets, NONE, min_multiplicity)


class TestErrorModel:
    def test_formula(self):
        model = ErrorModel(2.0, 0.1)
        got = model.sigma_squared(np.array([9.0, 4.0]), np.array([40.0, -40.0]))
        np.testing.assert_allclose(got, [4 * (9 + 16), 4 * 4])
        assert model.isa == pytest.approx(5.0)
        assert ErrorModel(1.0, 0.0).isa == math.inf

    @pytest.mark.parametrize(("a", "b"), [(0, 0.1), (-1, 0.1), (1, -0.1), (math.nan, 0.1), (1, math.inf)])
    def test_impossible_parameters(self, a, b):
        with pytest.raises(UsageError, match="error model: "):
            ErrorModel(a, b)


class TestExpectedIntensity:
    def test_definition_and_exclusions(self):
        intensity = np.array([10.0, 22, 1e9, 5, 7])
        g = np.array([1.0, 2, 1, -1, 2])
        weight = np.array([1.0, 0.5, 1, 1, 1])
        excluded = np.array([0, 0, 1, 0, 1], dtype=bool)
        got = expected_intensity(intensity, weight, g, np.array([0, 4, 5]), excluded=excluded)
        mean = (10 + 0.5 * 2 * 22) / (1 + 0.5 * 4)
        np.testing.assert_allclose(got, [mean, 2 * mean, mean, 5, 7])


class TestLikelihood:
    @pytest.mark.parametrize("b", [0.0, 0.03, 0.3])
    def test_equals_the_likelihood_of_contrasts(self, b):
        """Oracle: the dense Gaussian likelihood of an orthonormal set of contrasts of each group."""
        _, y, variance, expected_squared, offsets = packed = pack(simulate(0, n=60, multiplicity=(2, 7)))
        a, total = 1.4, 0.0
        for begin, end in pairwise(offsets):
            n = end - begin
            v = a**2 * (variance[begin:end] + b**2 * expected_squared[begin:end])
            contrasts = np.linalg.qr(np.column_stack([np.ones(n), np.eye(n)[:, 1:]]))[0][:, 1:].T
            covariance = contrasts @ np.diag(v) @ contrasts.T
            z = contrasts @ y[begin:end]
            # ln det of the contrasts' covariance is sum ln v + ln sum 1/v - ln n
            total += np.linalg.slogdet(covariance)[1] + math.log(n) + z @ np.linalg.solve(covariance, z)
        assert _core.restricted_likelihood(*packed[1:], math.log(a), b**2)[0] == pytest.approx(total, rel=1e-11)

    @pytest.mark.parametrize("cost", ["gaussian", "student"])
    @pytest.mark.parametrize("theta", [(0.0, 4e-4), (0.4, 2.5e-3), (-0.5, 0.09)])
    def test_gradient_by_central_differences(self, cost, theta):
        evaluate = self.function(cost, simulate(1, n=2000))
        gradient = evaluate(*theta)[1]
        for k, h in enumerate((1e-5, 1e-4 * theta[1])):
            low, high = np.array([theta, theta])
            low[k] -= h
            high[k] += h
            slope = (evaluate(*high)[0] - evaluate(*low)[0]) / (2 * h)
            assert gradient[k] == pytest.approx(slope, rel=1e-6, abs=1e-6 * abs(gradient[0]))

    @pytest.mark.parametrize("cost", ["gaussian", "student"])
    def test_information_is_the_mean_curvature(self, cost):
        """At the truth the differences of the gradient average to the information (10 % at this size)."""
        a, b = 1.3, 0.05
        theta, h = np.array([math.log(a), b**2]), np.array([1e-4, 1e-6])
        evaluate = self.function(cost, simulate(2, n=60_000), b)
        aa, ab, bb = evaluate(*theta)[2]
        up, down = (np.array([evaluate(*(theta + sign * np.eye(2)[k] * h))[1] for k in (0, 1)]) for sign in (1, -1))
        curvature = (up - down) / (2 * h[:, None])
        np.testing.assert_allclose(curvature / np.array([[aa, ab], [ab, bb]]), 1.0, atol=0.1)

    def test_score_variance_is_that_of_the_gradient(self):
        a, b = 1.3, 0.05
        for cost in ("gaussian", "student"):
            gradients, variances = [], []
            for seed in range(60):
                terms = self.function(cost, simulate(seed, n=3000), b)(math.log(a), b**2)
                gradients.append(terms[1])
                variances.append(terms[3])
            ratio = np.var(gradients, axis=0) / np.mean(variances, axis=0)[[0, 2]]
            assert np.all((ratio > 0.55) & (ratio < 1.6))

    @staticmethod
    def function(cost, data, b=0.05):
        packed = pack(data)
        if cost == "gaussian":
            return lambda log_a, b_squared, n_threads=1: _core.restricted_likelihood(
                *packed[1:], log_a, b_squared, n_threads
            )
        residuals = _core.group_residuals(*packed[1:], b**2)
        return lambda log_a, b_squared, n_threads=1: _core.student_likelihood(
            *residuals, log_a, b_squared, 4.0, student_kappa(4.0), n_threads
        )

    @pytest.mark.parametrize("cost", ["gaussian", "student"])
    def test_same_bits_for_any_number_of_threads(self, cost):
        evaluate = self.function(cost, simulate(3))
        one = evaluate(0.1, 1e-3, 1)
        assert all(evaluate(0.1, 1e-3, n) == one for n in (2, 3, 8))

    def test_kappa_against_sampling(self):
        z = np.random.default_rng(0).standard_normal(2_000_000)
        q = z**2 / (4 * student_kappa(4.0))
        assert np.mean(5 * q / (1 + q)) == pytest.approx(1.0, abs=0.003)


class TestRecovery:
    @pytest.mark.parametrize("method", ["likelihood", "robust"])
    @pytest.mark.parametrize("a", [0.7, 1.3, 3.0])
    @pytest.mark.parametrize("b", [0.01, 0.05, 0.2])
    def test_within_the_reported_uncertainties(self, a, b, method):
        pulls = []
        for seed in range(8):
            fit = refine(simulate(seed, a=a, b=b), method=method)
            assert fit.converged, fit.reason
            pulls.append([(fit.model.a - a) / fit.sigma_a, (fit.model.b - b) / fit.sigma_b])
        mean, rms = np.mean(pulls, axis=0), np.sqrt(np.mean(np.square(pulls), axis=0))
        # a b = 0.6: means of 16 or more still carry 15 %, which is worth one standard uncertainty here
        allowed = 2.2 if a * b > 0.5 else 1.2
        assert np.all(np.abs(mean) < allowed), pulls
        assert np.all((rms > 0.35) & (rms < 0.6 + allowed)), pulls

    @pytest.mark.parametrize("method", ["likelihood", "robust"])
    def test_pairs_are_unbiased(self, method):
        """Multiplicity two, where sqrt((n - 1)/n) deviations from the group mean have variance 1/4."""
        a, b = 1.2, 0.04
        data = simulate(10, n=200_000, multiplicity=(2, 3), a=a, b=b)
        fit = refine(data, method=method)
        assert fit.model.a == pytest.approx(a, rel=0.02)
        assert fit.model.b == pytest.approx(b, rel=0.02)
        intensity, variance, g, offsets = data
        expected = expected_intensity(intensity, 1 / variance, g, offsets)
        delta = normalised_deviations(intensity, variance, g, expected, offsets, ErrorModel(a, b))
        assert np.var(delta) == pytest.approx(1.0, abs=0.01)
        scaled = expected / g
        sigma = np.sqrt(ErrorModel(a, b).sigma_squared(variance, expected)) / g
        leave_one_out_factor = np.sqrt(0.5) * (intensity / g - scaled) / sigma
        assert np.var(leave_one_out_factor) == pytest.approx(0.25, abs=0.03)

    def test_robust_cost_is_unbiased_for_gaussian_data(self):
        data = simulate(11, n=400_000, a=1.5, b=0.03)
        fit = refine(data, method="robust")
        assert fit.n_outliers == 0
        assert fit.model.a == pytest.approx(1.5, rel=0.01)
        assert fit.model.b == pytest.approx(0.03, rel=0.01)

    @pytest.mark.parametrize("multiplicity", [(2, 3), (3, 4), (2, 12)])
    @pytest.mark.parametrize("a", [0.3, 1.3, 8.0])
    def test_robust_resists_gross_outliers(self, a, multiplicity):
        b = 0.06 / a
        intensity, variance, g, offsets = simulate(12, n=40_000, multiplicity=multiplicity, a=a, b=b)
        rng = np.random.default_rng(13)
        hit = rng.random(g.size) < 0.01
        intensity[hit] *= rng.choice([0.05, 5.0, 30.0, 300.0], hit.sum())
        fit = refine((intensity, variance, g, offsets), method="robust")
        assert fit.model.a == pytest.approx(a, rel=0.05)
        assert fit.model.b == pytest.approx(b, rel=0.05, abs=3 * fit.sigma_b)
        plain = refine((intensity, variance, g, offsets))
        assert plain.model.a * plain.model.b > 2 * a * b

    def test_outliers_given_are_not_used(self):
        intensity, variance, g, offsets = simulate(14)
        excluded = np.zeros(g.size, bool)
        excluded[::17] = True
        intensity[excluded] *= 100.0
        fit = refine((intensity, variance, g, offsets), excluded=excluded)
        assert fit.model.a == pytest.approx(1.3, abs=4 * fit.sigma_a)
        assert fit.model.b == pytest.approx(0.05, abs=4 * fit.sigma_b)
        assert fit.n_used <= np.count_nonzero(~excluded)

    def test_friedel_mates_apart(self):
        """A difference between mates is signal: it must not count as error."""
        intensity, variance, g, offsets = simulate(15, multiplicity=(6, 12))
        half = offsets[:-1] + np.diff(offsets) // 2
        anomalous = np.sort(np.concatenate([offsets, half]))
        minus = np.searchsorted(anomalous, np.arange(g.size), side="right") % 2 == 0
        intensity = np.where(minus, 1.2, 1.0) * intensity
        fit = refine_error_model(intensity, variance, g, offsets, anomalous)
        assert fit.model.b == pytest.approx(0.05, rel=0.1)
        assert refine_error_model(intensity, variance, g, offsets, offsets).model.b > 0.08

    def test_weak_data(self):
        """I/sigma near 1.3: b is hardly determined, and the fit says so."""
        fit = refine(simulate(16, n=20_000, a=1.1, b=0.03, mean=10.0, background=50.0))
        assert fit.converged
        assert fit.model.a == pytest.approx(1.1, abs=4 * fit.sigma_a)
        assert fit.sigma_b > 0.02
        assert fit.model.b < 0.03 + 3 * fit.sigma_b

    @pytest.mark.parametrize("method", ["likelihood", "robust"])
    def test_no_b_in_the_data(self, method):
        fits = [refine(simulate(seed, n=5000, a=0.9, b=0.0), method=method) for seed in range(20, 28)]
        at_bound = [fit for fit in fits if fit.model.b == 0]
        assert len(at_bound) >= 2
        for fit in fits:
            assert fit.converged
            assert fit.model.b < 4 * fit.sigma_b
            assert fit.model.a == pytest.approx(0.9, abs=4 * fit.sigma_a)
        assert all(fit.reason == "converged; b = 0: at its lower bound" for fit in at_bound)

    def test_scatter_that_pairs_cannot_average_is_told(self):
        fit = refine(simulate(17, multiplicity=(2, 3), a=3.0, b=0.2))
        assert "a too large, b too small" in fit.reason
        assert "too" not in refine(simulate(17)).reason

    def test_start_does_not_matter(self):
        data = simulate(18)
        reference = refine(data)
        for start in (ErrorModel(20.0, 0.0), ErrorModel(0.05, 0.5), ErrorModel(1.0, 5.0)):
            fit = refine(data, start=start)
            assert fit.model.a == pytest.approx(reference.model.a, rel=1e-3)
            assert fit.model.b == pytest.approx(reference.model.b, rel=1e-3)


class TestFixedAndKept:
    def test_fixed_parameters_are_kept_to_the_bit(self):
        data = simulate(30)
        fixed_a, fixed_b = refine(data, fixed_a=1.3), refine(data, fixed_b=0.05)
        assert (fixed_a.model.a, fixed_a.sigma_a) == (1.3, 0.0)
        assert fixed_a.model.b == pytest.approx(0.05, abs=4 * fixed_a.sigma_b)
        assert (fixed_b.model.b, fixed_b.sigma_b) == (0.05, 0.0)
        assert fixed_b.model.a == pytest.approx(1.3, abs=4 * fixed_b.sigma_a)
        both = refine(data, fixed_a=1.1, fixed_b=0.03)
        assert both.model == ErrorModel(1.1, 0.03)
        assert both.converged
        with pytest.raises(UsageError):
            refine(data, fixed_a=0.0)

    @pytest.mark.parametrize("method", ["likelihood", "robust"])
    def test_too_few(self, method):
        few = refine(simulate(31, n=12, multiplicity=(2, 3)), method=method, start=ErrorModel(1.0, 0.07))
        assert few.model == ErrorModel(1.0, 0.07)
        assert not few.converged
        assert few.reason.startswith("kept: only 12 observations")
        assert math.isnan(few.sigma_a)
        some = refine(simulate(31, n=60, multiplicity=(3, 4)), method=method, start=ErrorModel(1.0, 0.07))
        assert some.model.b == 0.07
        assert some.model.a != 1.0
        assert "b kept: only 60 observations" in some.reason
        assert some.sigma_a > 0
        assert math.isnan(some.sigma_b)

    @pytest.mark.parametrize("method", ["likelihood", "robust"])
    def test_no_equivalents_and_empty(self, method):
        alone = simulate(32, multiplicity=(1, 2), n=500)
        for data in (alone, (*(x[:0] for x in alone[:3]), np.zeros(1, np.int64))):
            fit = refine(data, method=method)
            assert fit.model == ErrorModel()
            assert fit.n_used == 0
            assert fit.bins == ()
            assert "only 0 observations" in fit.reason

    @pytest.mark.parametrize("method", ["likelihood", "robust"])
    def test_one_group(self, method):
        fit = refine(simulate(33, n=500, multiplicity=(500, 501)), method=method)
        assert fit.n_used == 500
        assert fit.sigma_a > 0

    @pytest.mark.parametrize("method", ["likelihood", "robust"])
    @pytest.mark.parametrize("value", [0.0, 50.0])
    def test_without_any_scatter(self, value, method):
        n = 300
        data = (np.full(n, value), np.ones(n), np.ones(n), np.arange(0, n + 1, 3))
        fit = refine(data, method=method)
        assert fit.model == ErrorModel()
        assert fit.reason == "kept: equivalents do not scatter"

    def test_one_ratio_of_intensity_to_sigma_does_not_tell_a_from_b(self):
        rng = np.random.default_rng(34)
        n = 900
        data = (rng.normal(0.0, 2.0, n), np.ones(n), np.ones(n), np.arange(0, n + 1, 3))
        data[0][:] -= 100.0  # negative means: expected intensities count as zero
        fit = refine(data)
        assert fit.model.b == 0.02
        assert fit.model.a == pytest.approx(2.0, rel=0.1)
        assert "the data do not determine it" in fit.reason
        assert math.isnan(fit.sigma_b)

    def test_unusable_rows(self):
        intensity, variance, g, offsets = simulate(35)
        reference_rows = np.ones(g.size, bool)
        reference_rows[::11] = False
        sizes = np.add.reduceat(reference_rows.astype(int), offsets[:-1])
        kept = tuple(x[reference_rows] for x in (intensity, variance, g))
        reference = refine((*kept, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)))
        bad = np.flatnonzero(~reference_rows)
        g[bad[0::4]] = -1.0
        variance[bad[1::4]] = 0.0
        intensity[bad[2::4]] = np.nan
        variance[bad[3::4]] = np.inf
        assert refine((intensity, variance, g, offsets)).model == reference.model


class TestInvariance:
    @settings(max_examples=8, deadline=None)
    @given(
        scale=st.floats(1e-9, 1e9),
        seed=st.integers(0, 1000),
        method=st.sampled_from(["likelihood", "robust"]),
    )
    def test_scale(self, scale, seed, method):
        intensity, variance, g, offsets = simulate(seed, n=3000)
        one = refine((intensity, variance, g, offsets), method=method)
        other = refine((intensity * scale, variance * scale**2, g, offsets), method=method)
        assert other.model.a == pytest.approx(one.model.a, rel=1e-6)
        assert other.model.b == pytest.approx(one.model.b, rel=1e-6)
        assert other.sigma_b == pytest.approx(one.sigma_b, rel=1e-5)
        assert [x.n for x in other.bins] == [x.n for x in one.bins]

    @pytest.mark.parametrize("method", ["likelihood", "robust"])
    def test_overall_scale_factor(self, method):
        intensity, variance, g, offsets = simulate(40, n=3000)
        one = refine((intensity, variance, g, offsets), method=method)
        other = refine((intensity, variance, 7.0 * g, offsets), method=method)
        assert other.model.a == pytest.approx(one.model.a, rel=1e-6)
        assert other.model.b == pytest.approx(one.model.b, rel=1e-6)

    @pytest.mark.parametrize("method", ["likelihood", "robust"])
    def test_order_within_groups(self, method):
        intensity, variance, g, offsets = simulate(41, n=3000)
        group = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
        order = np.lexsort((np.random.default_rng(0).random(g.size), group))
        one = refine((intensity, variance, g, offsets), method=method)
        other = refine((intensity[order], variance[order], g[order], offsets), method=method)
        assert other.model.a == pytest.approx(one.model.a, rel=1e-9)
        assert other.model.b == pytest.approx(one.model.b, rel=1e-9)

    @pytest.mark.parametrize("method", ["likelihood", "robust"])
    def test_threads(self, method):
        data = simulate(42)
        one = refine(data, method=method)
        assert all(refine(data, method=method, n_threads=n) == one for n in (2, 3, 8))


class TestBins:
    def test_they_cover_the_observations_and_show_the_correction(self):
        fit = refine(simulate(50, n=60_000, a=1.3, b=0.08))
        assert sum(x.n for x in fit.bins) == fit.n_used
        assert 5 <= len(fit.bins) <= 10
        assert all(x.n >= fit.n_used // 30 for x in fit.bins)
        highs, lows = [x.intensity_max for x in fit.bins], [x.intensity_min for x in fit.bins]
        assert highs == sorted(highs, reverse=True)
        assert all(np.array(lows[:-1]) >= np.array(highs[1:]))
        assert all(x.corrected_variance == pytest.approx(1.0, abs=0.15) for x in fit.bins)
        assert fit.bins[0].uncorrected_variance > 10 > fit.bins[-1].uncorrected_variance

    def test_deviations_have_unit_variance_at_any_multiplicity(self):
        intensity, variance, g, offsets = simulate(51, n=200_000, multiplicity=(1, 9))
        expected = expected_intensity(intensity, 1 / variance, g, offsets)
        delta = normalised_deviations(intensity, variance, g, expected, offsets, ErrorModel(1.3, 0.05))
        size = np.repeat(np.diff(offsets), np.diff(offsets))
        assert np.isnan(delta[size == 1]).all()
        for n in range(2, 9):
            assert np.var(delta[size == n]) == pytest.approx(1.0, abs=0.04)
