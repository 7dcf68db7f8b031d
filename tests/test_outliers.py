"""Outlier tests against published numbers, a plain reimplementation, and planted outliers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale.outliers import find_outliers, leave_one_out_z, wilson_outliers


def offsets_of(sizes):
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def simulate(seed, n_groups=300, sizes=(1, 12), b=0.02):
    rng = np.random.default_rng(seed)
    offsets = offsets_of(rng.integers(*sizes, size=n_groups))
    group = np.repeat(np.arange(n_groups), np.diff(offsets))
    g = rng.uniform(0.5, 2.0, group.size)
    expected = g * rng.exponential(1000.0, n_groups)[group]
    variance = expected + 25.0 + (b * expected) ** 2
    intensity = rng.normal(expected, np.sqrt(variance))
    return intensity, 1 / variance, g, offsets


def plain_z(intensity, weight, g):
    """The test written out for one group, the sums over the others taken one by one."""
    w = np.minimum(weight, 10 * np.median(weight))
    z = np.empty(len(g))
    for i in range(len(g)):
        others = np.arange(len(g)) != i
        wgg = np.sum(w[others] * g[others] ** 2)
        mean = np.sum(w[others] * g[others] * intensity[others]) / wgg
        z[i] = abs(intensity[i] - g[i] * mean) / np.sqrt(1 / w[i] + g[i] ** 2 / wgg)
    return z


class TestExample:
    """Six equivalents with two outliers, numbers of dials.scale."""

    intensity = np.array([100.0, 104, 97, 180, 101, 60])
    weight = np.array([4.0, 4, 4, 5, 4, 4]) ** -2
    g = np.array([1, 1.02, 0.97, 1, 1, 1])
    offsets = np.array([0, 6])

    @pytest.mark.parametrize(
        ("removed", "z"),
        [
            ([], [0.6985, 0.1617, 0.6732, 16.4586, 0.4227, 11.7275]),
            ([3], [2.0749, 2.6893, 1.9978, 2.3545, 9.1107]),
        ],
    )
    def test_z_of_each_pass(self, removed, z):
        excluded = np.isin(np.arange(6), removed)
        got = leave_one_out_z(self.intensity, self.weight, self.g, self.offsets, excluded=excluded)
        assert np.isnan(got[excluded]).all()
        np.testing.assert_allclose(got[~excluded], z, atol=5.1e-5)

    def test_last_pass_accepts_the_rest(self):
        excluded = np.array([0, 0, 0, 1, 0, 1], dtype=bool)
        z = leave_one_out_z(self.intensity, self.weight, self.g, self.offsets, excluded=excluded)
        assert np.nanmax(z) < 0.36

    def test_fourth_and_sixth_are_rejected(self):
        outlier = find_outliers(self.intensity, self.weight, self.g, self.offsets)
        assert outlier.dtype == np.bool_
        assert outlier.tolist() == [False, False, False, True, False, True]

    def test_zmax_between_the_passes(self):
        outlier = find_outliers(self.intensity, self.weight, self.g, self.offsets, zmax=12.0)
        assert np.flatnonzero(outlier).tolist() == [3]


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition(seed):
    intensity, weight, g, offsets = simulate(seed, n_groups=60)
    weight[::7] *= 200
    z = leave_one_out_z(intensity, weight, g, offsets)
    for begin, end in pairwise(offsets):
        rows = slice(begin, end)
        if end - begin == 1:
            assert np.isnan(z[begin])
        else:
            np.testing.assert_allclose(z[rows], plain_z(intensity[rows], weight[rows], g[rows]), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_all_at_once_equals_the_definition(seed):
    intensity, weight, g, offsets = simulate(seed, n_groups=60)
    intensity[::11] *= 3
    excluded = np.zeros(len(g), np.bool_)
    excluded[::17] = True
    found = find_outliers(intensity, weight, g, offsets, zmax=3.0, excluded=excluded, at_once=True)
    expected = np.zeros(len(g), np.bool_)
    for begin, end in pairwise(offsets):
        rows = np.arange(begin, end)[~excluded[begin:end]]
        if len(rows) > 1:
            w = np.minimum(weight[rows], 10 * np.median(weight[rows]))
            total = np.sum(w * g[rows] ** 2)
            mean = np.sum(w * g[rows] * intensity[rows]) / total
            expected[rows] = abs(intensity[rows] - g[rows] * mean) > 3.0 * np.sqrt(1 / w + g[rows] ** 2 / total)
    np.testing.assert_array_equal(found, expected)
    assert 0.02 < found.mean() < 0.98


def test_all_at_once_masks_where_one_at_a_time_does_not():
    """Two wild values spoil the mean that the sound ones are compared with."""
    intensity = np.array([100.0, 104, 97, 900, 101, 880])
    args = (intensity, np.full(6, 4.0**-2), np.ones(6), offsets_of([6]))
    assert find_outliers(*args).tolist() == [False, False, False, True, False, True]
    assert find_outliers(*args, at_once=True).all()


@pytest.mark.parametrize(("n_sigma", "least_share"), [(8, 0.6), (12, 0.95), (30, 0.99), (1000, 0.99)])
def test_planted_outliers_are_found(n_sigma, least_share):
    intensity, weight, g, offsets = simulate(1, n_groups=2000, sizes=(5, 12))
    planted = np.zeros(intensity.size, bool)
    planted[offsets[:-1:10] + 1] = True
    intensity[planted] += n_sigma / np.sqrt(weight[planted])
    outlier = find_outliers(intensity, weight, g, offsets)
    assert outlier[planted].mean() >= least_share
    assert outlier[~planted].mean() < 1e-3


def test_clean_data_are_kept():
    assert find_outliers(*simulate(2, n_groups=3000)).sum() <= 1


def test_groups_of_two_are_never_split():
    intensity = np.array([1.0, 1e6, 1.0, 1.0, 1e6])
    outlier = find_outliers(intensity, np.ones(5), np.ones(5), np.array([0, 2, 5]))
    assert outlier.tolist() == [False, False, False, False, True]


def test_weights_are_limited_by_the_group_median():
    """A row of absurd weight is tested, and judged, with ten times the median weight only."""
    intensity, g, offsets = np.array([100.0, 100, 100, 100, 120]), np.ones(5), np.array([0, 5])
    weight = np.array([1.0, 1, 1, 1, 1e12])
    z = leave_one_out_z(intensity, weight, g, offsets)
    limited = leave_one_out_z(intensity, np.minimum(weight, 10.0), g, offsets)
    np.testing.assert_array_equal(z, limited)
    assert np.flatnonzero(find_outliers(intensity, weight, g, offsets)).tolist() == [4]


def test_vanishing_weight_of_the_others_gives_1000():
    z = leave_one_out_z(np.array([5.0, 1.0]), np.ones(2), np.array([1.0, 1e-200]), np.array([0, 2]))
    assert z[0] == 1000.0
    assert z[1] < 1000.0


@pytest.mark.parametrize("unusable", ["g", "weight", "mask", "nan"])
def test_unusable_rows_count_for_nothing(unusable):
    intensity, weight, g, offsets = simulate(3)
    bad = np.zeros(intensity.size, bool)
    bad[::5] = True
    kept_offsets = offsets_of(np.add.reduceat((~bad).astype(int), offsets[:-1]))
    reference = leave_one_out_z(intensity[~bad], weight[~bad], g[~bad], kept_offsets)
    intensity[bad] = np.nan if unusable == "nan" else 1e9
    if unusable == "g":
        g[bad] = np.where(np.arange(bad.sum()) % 2, 0.0, -1.0)
    if unusable == "weight":
        weight[bad] = 0.0
    mask = bad if unusable == "mask" else None
    z = leave_one_out_z(intensity, weight, g, offsets, excluded=mask)
    assert np.isnan(z[bad]).all()
    np.testing.assert_array_equal(z[~bad], reference)
    assert not find_outliers(intensity, weight, g, offsets, zmax=0.0, excluded=mask)[bad].any()


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_same_bits_for_any_number_of_threads(n_threads):
    data = simulate(4, n_groups=4000)
    z = leave_one_out_z(*data)
    np.testing.assert_array_equal(z, leave_one_out_z(*data, n_threads=n_threads))
    one = find_outliers(*data, zmax=3.0)
    assert one.any()
    np.testing.assert_array_equal(one, find_outliers(*data, zmax=3.0, n_threads=n_threads))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6))
def test_order_and_scale_do_not_matter(seed, factor):
    rng = np.random.default_rng(seed)
    intensity, weight, g, offsets = simulate(seed, n_groups=20)
    outlier = find_outliers(intensity, weight, g, offsets, zmax=2.0)
    group = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    order = np.lexsort((rng.random(group.size), group))
    again = find_outliers(factor * intensity[order], weight[order] / factor**2, g[order], offsets, zmax=2.0)
    np.testing.assert_array_equal(outlier[order], again)


def test_empty_input():
    none = np.zeros(0)
    assert find_outliers(none, none, none, np.zeros(1, np.int64)).size == 0


@pytest.mark.parametrize("offsets", [[], [0], [0, 5], [1, 4], [0, 3, 2, 4]])
def test_offsets_that_do_not_fit_are_refused(offsets):
    four = np.ones(4)
    with pytest.raises(ValueError, match="offsets must rise from 0"):
        find_outliers(four, four, four, np.array(offsets, dtype=np.int64))


class TestWilson:
    def simulate(self, n=21_000):
        rng = np.random.default_rng(5)
        d = rng.uniform(20.0**-3, 1.5**-3, n) ** (-1 / 3)
        epsilon = np.where(rng.random(n) < 0.05, 2.0, 1.0)
        g = rng.uniform(0.5, 2.0, n)
        mean = 500.0 * np.exp(-10.0 / (2 * d**2))
        return g * epsilon * mean * rng.exponential(1.0, n), g, d, epsilon, mean

    def test_planted(self):
        intensity, g, d, epsilon, mean = self.simulate()
        planted = np.zeros(g.size, bool)
        planted[::500] = True
        # a margin for the shells' means: they are interpolated and contain the planted rows
        intensity[planted] = 200.0 * (g * epsilon * mean)[planted]
        outlier = wilson_outliers(intensity, g, d, epsilon)
        assert outlier[planted].all()
        assert not outlier[~planted].any()

    def test_emax(self):
        intensity, g, d, epsilon, mean = self.simulate()
        e_squared = intensity / (g * epsilon * mean)
        outlier = wilson_outliers(intensity, g, d, epsilon, emax=2.0)
        assert outlier[e_squared > 5].all()
        assert not outlier[e_squared < 3].any()

    def test_rows_without_scale_are_left_alone(self):
        intensity, g, d, epsilon, _ = self.simulate()
        g[:10] = -1.0
        intensity[:10] = 1e12
        assert not wilson_outliers(intensity, g, d, epsilon).any()

    def test_too_few_rows(self):
        few = np.array([1.0, 1.0, 1e9])
        assert not wilson_outliers(few, np.ones(3), np.full(3, 2.0), np.ones(3)).any()

    def test_one_resolution_and_no_intensity(self):
        ones = np.ones(200)
        assert not wilson_outliers(ones, ones, ones, ones).any()
        assert not wilson_outliers(-ones, ones, ones, ones).any()
