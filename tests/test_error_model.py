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
from pyscale.error_model import ErrorModel, expected_intensity, normalised_deviations
from pyscale.error_model_data import Equivalents
from pyscale.error_model_fit import refine_error_model
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


def equivalents(data, *, anomalous_offsets=None, excluded=None, conversion=1.0, n_threads=1):
    intensity, variance, g, offsets = data
    return Equivalents(
        intensity=intensity,
        variance=variance,
        inverse_scale_factor=g,
        conversion=np.broadcast_to(float(conversion), g.shape).copy(),
        offsets=offsets,
        anomalous_offsets=offsets if anomalous_offsets is None else anomalous_offsets,
        excluded=np.zeros(g.size, bool) if excluded is None else excluded,
        n_threads=n_threads,
    )


def refine(data, *, fixed_a=None, fixed_b=None, fixed_c=None, excluded=None, n_threads=1, conversion=1.0, **options):
    observations = equivalents(data, excluded=excluded, conversion=conversion, n_threads=n_threads)
    return refine_error_model(observations, fixed=(fixed_a, fixed_b, fixed_c), **options)


def pack(data, min_multiplicity=2):
    intensity, variance, g, offsets = data
    expected = expected_intensity(intensity, 1 / variance, g, offsets)
    conversion = np.ones_like(g)
    return _core.repeated_observations(intensity, variance, g, expected, conversion, offsets, NONE, min_multiplicity)


def sigma_squared(data, expected, model):
    return model.sigma_squared(data[1], expected, np.ones_like(expected))


class TestErrorModel:
    def test_formula(self):
        model = ErrorModel(2.0, 0.1)
        got = model.sigma_squared(np.array([9.0, 4.0]), np.array([40.0, -40.0]), np.ones(2))
        np.testing.assert_allclose(got, [4 * (9 + 16), 4 * 4])
        third = ErrorModel(2.0, 0.1, 3.0)
        got = third.sigma_squared(np.array([9.0, 4.0]), np.array([40.0, -40.0]), np.array([0.5, 1.0]))
        np.testing.assert_allclose(got, [4 * (9 + 3 * 0.5 * 40 + 16), 4 * 4])
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


class TestCost:
    """The robust cost of the core; its parameters are ln a, b^2, c of each model."""

    MODELS = np.array([[0.3, 2.5e-3, 0.4], [-0.5, 0.04, 0.0], [0.0, 4e-4, 2.0]])

    @staticmethod
    def function(data, theta, models=1):
        packed = pack(data)
        model = np.zeros(0, np.int32)
        if models > 1:
            model = np.random.default_rng(5).integers(0, models, packed[0].size).astype(np.int32)
        residual, share = _core.group_residuals(*packed[1:], theta.ravel(), model)

        def evaluate(theta, n_threads=1):
            kappa = student_kappa(4.0)
            flat = np.ascontiguousarray(theta).ravel()
            return _core.student_cost(*packed[1:], residual, share, flat, model, 4.0, kappa, n_threads)

        return evaluate, packed, model, residual, share

    @pytest.mark.parametrize("models", [1, 3])
    def test_cost_by_a_plain_loop(self, models):
        theta = self.MODELS[:models]
        evaluate, packed, model, residual, share = self.function(simulate(0, n=200), theta, models)
        _, y, variance, linear, quadratic, offsets = packed
        a_squared, d, c = (np.exp(2 * theta[:, 0]), theta[:, 1], theta[:, 2])
        number = model if models > 1 else np.zeros(y.size, int)
        v = a_squared[number] * (variance + c[number] * linear + d[number] * quadratic)
        total, kappa = 0.0, student_kappa(4.0)
        for begin, end in pairwise(offsets):
            w = 1 / v[begin:end]
            p = w / w.sum()
            np.testing.assert_allclose(share[begin:end], p, rtol=1e-12)
            for i in range(begin, end):
                others = [j for j in range(begin, end) if j != i]
                own = 1 - p[i - begin]
                s = own**2 * v[i] + sum(p[j - begin] ** 2 * v[j] for j in others)
                r = y[i] - np.sum(p * y[begin:end])
                assert residual[i] == pytest.approx(r, abs=1e-10 * abs(y[i]))
                assert s == pytest.approx(v[i] - 1 / w.sum(), rel=1e-9)
                total += own * (math.log(s) + 5 * math.log1p(r**2 / (4 * kappa * s)))
        assert evaluate(theta)[0] == pytest.approx(total, rel=1e-11)
        found = _core.residual_variances(*packed[1:], share, theta.ravel(), model)
        np.testing.assert_allclose(found, [v[i] * (1 - share[i]) for i in range(y.size)], rtol=1e-9)

    @pytest.mark.parametrize("models", [1, 3])
    def test_gradient_by_central_differences(self, models):
        start = self.MODELS[:models]
        evaluate, *_ = self.function(simulate(1, n=2000), start, models)
        theta = start + np.array([0.1, 1e-3, 0.2])
        gradient = evaluate(theta)[1].reshape(-1, 3)
        for k in range(models):
            for p, h in enumerate((1e-5, 1e-4 * theta[k, 1], 1e-4 * theta[k, 2])):
                low, high = theta.copy(), theta.copy()
                low[k, p] -= h
                high[k, p] += h
                slope = (evaluate(high)[0] - evaluate(low)[0]) / (2 * h)
                assert gradient[k, p] == pytest.approx(slope, rel=1e-6, abs=1e-6 * abs(gradient[k, 0]))

    def test_information_bounds_the_mean_curvature_closely(self):
        """At the truth; 10 % at this size."""
        theta = np.array([[math.log(1.3), 0.05**2, 0.0]])
        steps = np.array([1e-4, 1e-6, 1e-4])
        evaluate, *_ = self.function(simulate(2, n=60_000), theta)
        information = np.zeros((3, 3))
        information[np.triu_indices(3)] = evaluate(theta)[2]
        information = information + np.triu(information, 1).T
        up, down = (np.array([evaluate(theta + sign * np.eye(3)[k] * steps)[1] for k in range(3)]) for sign in (1, -1))
        curvature = (up - down) / (2 * steps[:, None])
        np.testing.assert_allclose(curvature / information, 1.0, atol=0.1)

    @pytest.mark.parametrize("multiplicity", [(2, 3), (2, 31)])
    def test_score_variance_is_that_of_the_gradient(self, multiplicity):
        theta = np.array([[math.log(1.3), 0.05**2, 0.0]])
        gradients, variances = [], []
        for seed in range(60):
            evaluate, *_ = self.function(simulate(seed, n=3000, multiplicity=multiplicity), theta)
            terms = evaluate(theta)
            gradients.append(terms[1])
            variances.append(terms[3])
        ratio = np.var(gradients, axis=0) / np.mean(variances, axis=0)[[0, 3, 5]]
        assert np.all((ratio > 0.5) & (ratio < 1.7))

    @pytest.mark.parametrize("models", [1, 3])
    def test_same_bits_for_any_number_of_threads(self, models):
        theta = self.MODELS[:models]
        evaluate, *_ = self.function(simulate(3), theta, models)
        one = evaluate(theta, 1)
        for n in (2, 3, 8):
            other = evaluate(theta, n)
            assert one[0] == other[0]
            assert all(np.array_equal(x, y) for x, y in zip(one[1:], other[1:], strict=True))

    def test_kappa_against_sampling(self):
        z = np.random.default_rng(0).standard_normal(2_000_000)
        q = z**2 / (4 * student_kappa(4.0))
        assert np.mean(5 * q / (1 + q)) == pytest.approx(1.0, abs=0.003)


class TestRecovery:
    @pytest.mark.parametrize("stage", ["last", "first"])
    @pytest.mark.parametrize("a", [0.7, 1.3, 3.0])
    @pytest.mark.parametrize("b", [0.01, 0.05, 0.2])
    def test_within_the_reported_uncertainties(self, a, b, stage):
        pulls = []
        for seed in range(8):
            fit = refine(simulate(seed, a=a, b=b), stage=stage)
            assert fit.converged, fit.reason
            pulls.append([(fit.model.a - a) / fit.sigma_a, (fit.model.b - b) / fit.sigma_b])
        mean, rms = np.mean(pulls, axis=0), np.sqrt(np.mean(np.square(pulls), axis=0))
        # a b = 0.6: means of 16 or more still carry 15 %, which is worth one standard uncertainty here
        allowed = 2.2 if a * b > 0.5 else 1.2
        assert np.all(np.abs(mean) < allowed), pulls
        assert np.all((rms > 0.35) & (rms < 0.6 + allowed)), pulls

    @pytest.mark.parametrize("stage", ["last", "first"])
    def test_pairs_are_unbiased(self, stage):
        """Multiplicity two, where sqrt((n - 1)/n) deviations from the group mean have variance 1/4."""
        a, b = 1.2, 0.04
        data = simulate(10, n=200_000, multiplicity=(2, 3), a=a, b=b)
        fit = refine(data, stage=stage)
        assert fit.model.a == pytest.approx(a, rel=0.02)
        assert fit.model.b == pytest.approx(b, rel=0.02)
        intensity, variance, g, offsets = data
        expected = expected_intensity(intensity, 1 / variance, g, offsets)
        delta = normalised_deviations(intensity, sigma_squared(data, expected, ErrorModel(a, b)), g, offsets)
        assert np.var(delta) == pytest.approx(1.0, abs=0.01)
        scaled = expected / g
        sigma = np.sqrt(sigma_squared(data, expected, ErrorModel(a, b))) / g
        leave_one_out_factor = np.sqrt(0.5) * (intensity / g - scaled) / sigma
        assert np.var(leave_one_out_factor) == pytest.approx(0.25, abs=0.03)

    def test_robust_cost_is_unbiased_for_gaussian_data(self):
        data = simulate(11, n=400_000, a=1.5, b=0.03)
        fit = refine(data, stage="first")
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
        fit = refine((intensity, variance, g, offsets), stage="first")
        assert fit.model.a == pytest.approx(a, rel=0.05)
        assert fit.model.b == pytest.approx(b, rel=0.05, abs=3 * fit.sigma_b)

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
        data = (intensity, variance, g, offsets)
        fit = refine_error_model(equivalents(data, anomalous_offsets=anomalous))
        assert fit.model.b == pytest.approx(0.05, rel=0.1)
        assert refine(data).model.b > 0.08

    def test_weak_data(self):
        """I/sigma near 1.3: b is hardly determined, and the fit says so."""
        fit = refine(simulate(16, n=20_000, a=1.1, b=0.03, mean=10.0, background=50.0))
        assert fit.converged
        assert fit.model.a == pytest.approx(1.1, abs=4 * fit.sigma_a)
        assert fit.sigma_b > 0.02
        assert fit.model.b < 0.03 + 3 * fit.sigma_b

    @pytest.mark.parametrize("stage", ["last", "first"])
    def test_no_b_in_the_data(self, stage):
        fits = [refine(simulate(seed, n=5000, a=0.9, b=0.0), stage=stage) for seed in range(20, 28)]
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


class TestThirdTerm:
    @staticmethod
    def with_excess(seed, c, n=20_000):
        """Counts with a gain that V does not know of."""
        intensity, variance, g, offsets = simulate(seed, n=n, a=1.2, b=0.04)
        expected = expected_intensity(intensity, 1 / variance, g, offsets)
        rng = np.random.default_rng(seed + 500)
        return intensity + rng.normal(0, 1.2 * np.sqrt(c * np.maximum(expected, 0))), variance, g, offsets

    def test_it_is_found_where_it_is(self):
        pulls = []
        for seed in range(10):
            fit = refine(self.with_excess(seed, 3.0))
            found = (fit.model.a - 1.2, fit.model.b - 0.04, fit.model.c - 3.0)
            pulls.append(np.array(found) / (fit.sigma_a, fit.sigma_b, fit.sigma_c))
        assert np.all(np.abs(np.mean(pulls, axis=0)) < 1.0)
        assert np.all(np.std(pulls, axis=0) < 1.6)

    def test_it_is_absent_where_nothing_calls_for_it(self):
        assert sum(refine(simulate(seed, a=1.2, b=0.04)).model.c > 0 for seed in range(20)) <= 1

    def test_it_can_be_forbidden(self):
        assert refine(self.with_excess(0, 3.0), fixed_c=0.0).model.c == 0.0

    def test_it_goes_with_the_conversion_from_counts(self):
        intensity, variance, g, offsets = self.with_excess(1, 3.0)
        one = refine((intensity, variance, g, offsets))
        other = refine((10 * intensity, 100 * variance, g, offsets), conversion=10.0)
        assert other.model.c == pytest.approx(one.model.c, rel=1e-5)
        assert other.model.b == pytest.approx(one.model.b, rel=1e-5)


class TestGroups:
    """Several error models, shrunk towards what they have in common."""

    @staticmethod
    def several(seed, truth, n=30_000, noise=True):
        """Observations of data sets with a and b of their own, mixed in the groups of equivalents."""
        rng = np.random.default_rng(seed)
        sizes = rng.integers(2, 20, size=n // 10)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        group = np.repeat(np.arange(sizes.size), sizes)
        data_set = rng.integers(0, len(truth), group.size).astype(np.int32)
        g = rng.uniform(0.5, 2.0, group.size)
        expected = g * rng.exponential(1000.0, sizes.size)[group]
        variance = (expected + 25.0) * rng.uniform(0.7, 1.4, group.size)
        a, b = np.array(truth).T
        sigma = a[data_set] * np.sqrt(variance + (b[data_set] * expected) ** 2)
        return (rng.normal(expected, sigma), variance, g, offsets), data_set

    def test_unlike_data_sets_are_told_apart(self):
        truth = [(0.8, 0.02), (1.0, 0.05), (1.3, 0.03), (1.7, 0.1), (1.1, 0.04)]
        within = []
        for seed in range(8):
            data, data_set = self.several(seed, truth)
            fit = refine(data, groups=data_set)
            assert fit.shrunk is not None
            sigma = np.sqrt(np.einsum("kii->ki", fit.shrunk.covariance))
            true = np.array([(math.log(a), b**2) for a, b in truth])
            within.append(np.abs(fit.shrunk.theta[:, :2] - true) < 2 * sigma[:, :2])
        assert np.mean(within) > 0.9

    def test_many_rows_are_refined_as_well_as_few(self):
        """Where time counts the models of groups end within a fraction of their errors of the exact minimum."""
        data, data_set = self.several(1, [(0.8, 0.02), (1.0, 0.05), (1.3, 0.03), (1.7, 0.1)], n=100_000)
        last, exact = (refine(data, groups=data_set, stage=stage).shrunk for stage in ("last", "exact"))
        assert last is not None
        assert exact is not None
        sigma = np.sqrt(np.einsum("kii->ki", exact.covariance))[:, :2]
        assert np.all(np.abs(last.theta - exact.theta)[:, :2] < 0.2 * sigma)

    def test_like_data_sets_share_their_model(self):
        data, data_set = self.several(3, [(1.2, 0.04)] * 30)
        alone, fit = refine(data), refine(data, groups=data_set)
        assert fit.model == alone.model
        if fit.shrunk is None:
            return
        scatter = fit.shrunk.theta[:, :2].std(axis=0)
        assert scatter[0] < 0.01
        assert scatter[1] < 0.1 * 0.04**2

    def test_little_data_are_shrunk(self):
        """Each of 200 data sets has 50 rows: taken by themselves their a would scatter by 10 %."""
        rng = np.random.default_rng(0)
        truth = [(a, 0.04) for a in 1.2 * np.exp(rng.normal(0, 0.1, 200))]
        data, data_set = self.several(5, truth, n=10_000)
        fit = refine(data, groups=data_set)
        assert fit.shrunk is not None
        error = fit.shrunk.theta[:, 0] - np.log([a for a, _ in truth])
        assert np.std(error) < 0.085
        assert fit.shrunk.common.spread[0] == pytest.approx(0.1, abs=0.05)

    def test_order_of_the_numbers_does_not_matter(self):
        data, data_set = self.several(6, [(0.8, 0.02), (1.5, 0.06), (1.0, 0.04)])
        one = refine(data, groups=data_set).shrunk
        other = refine(data, groups=(2 - data_set).astype(np.int32)).shrunk
        assert one is not None
        assert other is not None
        np.testing.assert_allclose(other.theta[::-1], one.theta, rtol=1e-8)


class TestStability:
    def test_leaving_out_a_twentieth_moves_a_and_b_within_their_errors(self):
        """dials#2191 is the counter-example."""
        intensity, variance, g, offsets = simulate(60, n=10_000)
        whole = refine((intensity, variance, g, offsets))
        rng = np.random.default_rng(1)
        moved = []
        for _ in range(20):
            part = refine((intensity, variance, g, offsets), excluded=rng.random(g.size) < 0.05)
            moved.append(
                [(part.model.a - whole.model.a) / whole.sigma_a, (part.model.b - whole.model.b) / whole.sigma_b]
            )
        assert np.abs(moved).max() < 1.0


class TestFixedAndKept:
    def test_fixed_parameters_are_kept_to_the_bit(self):
        data = simulate(30)
        fixed_a, fixed_b = refine(data, fixed_a=1.3), refine(data, fixed_b=0.05)
        assert (fixed_a.model.a, fixed_a.sigma_a) == (1.3, 0.0)
        assert fixed_a.model.b == pytest.approx(0.05, abs=4 * fixed_a.sigma_b)
        assert (fixed_b.model.b, fixed_b.sigma_b) == (0.05, 0.0)
        assert fixed_b.model.a == pytest.approx(1.3, abs=4 * fixed_b.sigma_a)
        both = refine(data, fixed_a=1.1, fixed_b=0.03, fixed_c=0.0)
        assert both.model == ErrorModel(1.1, 0.03)
        assert both.converged
        with pytest.raises(UsageError):
            refine(data, fixed_a=0.0)

    @pytest.mark.parametrize("stage", ["last", "first"])
    def test_too_few(self, stage):
        few = refine(simulate(31, n=12, multiplicity=(2, 3)), stage=stage, start=ErrorModel(1.0, 0.07))
        assert few.model == ErrorModel(1.0, 0.07)
        assert not few.converged
        assert few.reason.startswith("kept: only 12 observations")
        assert math.isnan(few.sigma_a)
        some = refine(simulate(31, n=60, multiplicity=(3, 4)), stage=stage, start=ErrorModel(1.0, 0.07))
        assert some.model.b == 0.07
        assert some.model.a != 1.0
        assert "b kept: only 60 observations" in some.reason
        assert some.sigma_a > 0
        assert math.isnan(some.sigma_b)

    @pytest.mark.parametrize("stage", ["last", "first"])
    def test_no_equivalents_and_empty(self, stage):
        alone = simulate(32, multiplicity=(1, 2), n=500)
        for data in (alone, (*(x[:0] for x in alone[:3]), np.zeros(1, np.int64))):
            fit = refine(data, stage=stage)
            assert fit.model == ErrorModel()
            assert fit.n_used == 0
            assert fit.bins == ()
            assert "only 0 observations" in fit.reason

    @pytest.mark.parametrize("stage", ["last", "first"])
    def test_one_group(self, stage):
        fit = refine(simulate(33, n=500, multiplicity=(500, 501)), stage=stage)
        assert fit.n_used == 500
        assert fit.sigma_a > 0

    @pytest.mark.parametrize("stage", ["last", "first"])
    @pytest.mark.parametrize("value", [0.0, 50.0])
    def test_without_any_scatter(self, value, stage):
        n = 300
        data = (np.full(n, value), np.ones(n), np.ones(n), np.arange(0, n + 1, 3))
        fit = refine(data, stage=stage)
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
        stage=st.sampled_from(["last", "first"]),
    )
    def test_scale(self, scale, seed, stage):
        intensity, variance, g, offsets = simulate(seed, n=3000)
        one = refine((intensity, variance, g, offsets), stage=stage)
        other = refine((intensity * scale, variance * scale**2, g, offsets), stage=stage)
        assert other.model.a == pytest.approx(one.model.a, rel=1e-6)
        assert other.model.b == pytest.approx(one.model.b, rel=1e-6)
        assert other.sigma_b == pytest.approx(one.sigma_b, rel=1e-5)
        assert [x.n for x in other.bins] == [x.n for x in one.bins]

    @pytest.mark.parametrize("stage", ["last", "first"])
    def test_overall_scale_factor(self, stage):
        intensity, variance, g, offsets = simulate(40, n=3000)
        one = refine((intensity, variance, g, offsets), stage=stage)
        other = refine((intensity, variance, 7.0 * g, offsets), stage=stage)
        assert other.model.a == pytest.approx(one.model.a, rel=1e-6)
        assert other.model.b == pytest.approx(one.model.b, rel=1e-6)

    @pytest.mark.parametrize("stage", ["last", "first"])
    def test_order_within_groups(self, stage):
        intensity, variance, g, offsets = simulate(41, n=3000)
        group = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
        order = np.lexsort((np.random.default_rng(0).random(g.size), group))
        one = refine((intensity, variance, g, offsets), stage=stage)
        other = refine((intensity[order], variance[order], g[order], offsets), stage=stage)
        assert other.model.a == pytest.approx(one.model.a, rel=1e-9)
        assert other.model.b == pytest.approx(one.model.b, rel=1e-9)

    @pytest.mark.parametrize("stage", ["last", "first"])
    def test_threads(self, stage):
        data = simulate(42)
        one = refine(data, stage=stage)
        for n in (2, 3, 8):
            other = refine(data, stage=stage, n_threads=n)
            assert (other.model, other.cost, other.bins) == (one.model, one.cost, one.bins)
            assert np.array_equal(other.covariance, one.covariance)


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
        sigma2 = sigma_squared((intensity, variance), expected, ErrorModel(1.3, 0.05))
        delta = normalised_deviations(intensity, sigma2, g, offsets)
        size = np.repeat(np.diff(offsets), np.diff(offsets))
        assert np.isnan(delta[size == 1]).all()
        for n in range(2, 9):
            assert np.var(delta[size == n]) == pytest.approx(1.0, abs=0.04)
