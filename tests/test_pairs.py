"""Groups of two that disagree: which one is wrong, by what else is known of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyscale
from pyscale.dataset import make_job
from pyscale.outliers import find_disputed_pairs, find_outliers
from pyscale.pairs import CERTAIN, DisputedPairs, posterior_odds, tail_of_intensities, undisputed_mates


def odds(first, second, sigma=1.0, mean=100.0, mates=(np.inf, np.inf), tail=1.0, factor=1.0):
    """ln odds that the second one is wrong."""
    value = factor * np.array([[first, second]], np.float64)
    variance = np.full((1, 2), (factor * sigma) ** 2)
    known = np.array([mates[0] * factor]), np.array([mates[1] * factor**2])
    pair = DisputedPairs(np.array([[0, 1]]), value, variance, np.array([factor * mean]), *known)
    return float(posterior_odds(pair, tail)[0])


@pytest.mark.parametrize("seed", range(3))
def test_disputed_pairs_equal_their_definition(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, 400)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    group = np.repeat(np.arange(400), sizes)
    g = rng.uniform(0.5, 2.0, group.size)
    intensity = g * rng.exponential(100.0, 400)[group] + rng.normal(size=group.size) * 5
    intensity[rng.random(group.size) < 0.1] *= 3
    weight = rng.uniform(0.02, 0.08, group.size)
    left_out = rng.random(group.size) < 0.1
    outlier = find_outliers(intensity, weight, g, offsets, excluded=left_out)
    excluded = left_out | outlier
    expected = []
    for begin, end in pairwise(offsets):
        rows = np.arange(begin, end)[~excluded[begin:end]]
        if rows.size == 2:
            x, v = intensity[rows] / g[rows], 1 / (weight[rows] * g[rows] ** 2)
            if abs(x[0] - x[1]) > 6 * np.sqrt(v.sum()):
                expected.append(rows.tolist())
    found = find_disputed_pairs(intensity, weight, g, offsets, zmax=6.0, excluded=excluded)
    assert found.tolist() == expected
    assert len(expected) > 5
    reference = np.zeros(400), np.ones(400)
    none = find_disputed_pairs(intensity, weight, g, offsets, zmax=6.0, excluded=excluded, reference=reference)
    assert none.shape == (0, 2)


class TestEvidence:
    def test_an_intensity_that_no_reflection_has_is_wrong(self):
        assert odds(50.0, 1500.0) > CERTAIN
        assert odds(1500.0, 50.0) < -CERTAIN

    def test_one_far_below_zero_is_wrong(self):
        assert odds(30.0, -20.0) > CERTAIN

    def test_common_intensities_leave_it_open(self):
        assert abs(odds(60.0, 150.0)) < CERTAIN
        assert abs(odds(0.0, 100.0)) < CERTAIN

    def test_two_extreme_ones_leave_it_open(self):
        """The slope of a distribution in its far tail is not known well enough to tell 20 from 24 times the mean."""
        assert abs(odds(2000.0, 2400.0)) < CERTAIN

    def test_heavy_tails_make_strong_ones_plausible(self):
        assert odds(50.0, 900.0) > CERTAIN
        assert abs(odds(50.0, 900.0, tail=3.0)) < CERTAIN

    def test_mates_decide(self):
        assert abs(odds(60.0, 150.0)) < CERTAIN
        assert odds(60.0, 150.0, mates=(58.0, 1.0)) > CERTAIN
        assert odds(60.0, 400.0, mates=(410.0, 1.0)) < -CERTAIN

    def test_mates_that_may_differ_do_not(self):
        """They fit neither better than Bijvoet differences allow."""
        assert abs(odds(90.0, 120.0, mates=(105.0, 1.0))) < CERTAIN

    @settings(max_examples=50, deadline=None)
    @given(a=st.floats(-20, 3000), b=st.floats(-20, 3000), factor=st.floats(1e-6, 1e6), sigma=st.floats(0.5, 20))
    def test_order_and_scale_do_not_matter(self, a, b, factor, sigma):
        straight = odds(a, b, sigma)
        assert odds(b, a, sigma) == pytest.approx(-straight, abs=1e-9)
        assert odds(a, b, sigma, factor=factor) == pytest.approx(straight, rel=1e-6, abs=1e-6)
        assert np.isfinite(straight)


def test_tail_of_the_distribution():
    rng = np.random.default_rng(1)
    assert tail_of_intensities(rng.exponential(size=200_000)) == pytest.approx(1.0, abs=0.03)
    assert tail_of_intensities(3.0 * rng.exponential(size=200_000)) == pytest.approx(3.0, abs=0.1)
    assert tail_of_intensities(np.ones(1000)) == 1.0
    assert tail_of_intensities(np.zeros(0)) == 1.0


def test_bijvoet_pairs():
    value = np.array([[100.0, 60.0], [100.0, 2.0], [100.0, 102.0]])
    assert undisputed_mates(value, np.ones((3, 2)), 6.0).tolist() == [True, False, True]


def low_multiplicity(seed, **more):
    settings = {
        "d_min": 2.0,
        "sweep_width": 180.0,
        "space_group": "P 1 21 1",
        "unit_cell": (40.0, 50.0, 60.0, 90.0, 95.0, 90.0),
        "keep": 0.5,
        "outlier_fraction": 0.01,
    }
    return pyscale.simulate(seed=seed, **(settings | more))


def scaled(data, **options):
    return pyscale.scale(make_job(data.experiments(), [data.reflections()]), nproc=1, **options)


def error_against_truth(data, result):
    """R of the merged intensities of the groups of two and three that hold planted outliers."""
    obs, truth = result.observations, data.truth
    g, true, planted = (truth[name][obs.row] for name in ("g", "I", "outlier"))
    x = 0.5 / obs.d_spacing**2
    line = np.polyfit(x, np.log(result.scaled.g / g), 1)
    use = ~(result.scaled.small_scale | result.scaled.outlier)
    weight = use * result.scaled.g**2 / result.scaled.variance
    n = obs.offsets.size - 1
    total = np.bincount(obs.group, weight, n)
    merged = np.bincount(obs.group, weight * obs.intensity / result.scaled.g, n) / np.where(total > 0, total, 1.0)
    first = obs.offsets[:-1]
    size, spoiled = np.diff(obs.offsets), np.bincount(obs.group, planted, n) > 0
    chosen = spoiled & (size >= 2) & (size <= 3) & (total > 0)
    difference = merged * np.exp(np.polyval(line, x[first])) - true[first]
    return np.abs(difference[chosen]).sum() / true[first][chosen].sum()


@pytest.mark.parametrize("seed", [1, 2])
def test_judging_gains_at_low_multiplicity(seed):
    data = low_multiplicity(seed)
    keep, judge = scaled(data, outlier_pairs="keep"), scaled(data)
    planted = data.truth["outlier"][judge.observations.row]
    pair, disputed = judge.fit.rejected["pair"], judge.fit.disputed
    assert pair.sum() >= 3 and not (pair & ~planted).any()
    assert not keep.fit.rejected["pair"].any() and not keep.fit.disputed.any()
    assert error_against_truth(data, judge) < 0.9 * error_against_truth(data, keep)
    # outliers in pairs that nobody sees make b too large; the truth is 0.03
    b_judged, b_kept = (r.fit.error_models.common.b for r in (judge, keep))
    assert abs(b_judged - 0.03) < 0.005
    assert b_kept > b_judged
    # every undecided pair has a planted one, and both are merged
    rows = np.flatnonzero(disputed).reshape(-1, 2)
    assert len(rows) > 5 and planted[rows].any(axis=1).all()
    assert not judge.scaled.outlier[disputed].any()


def test_undecided_pairs_are_merged_with_sigmas_that_say_so():
    result = scaled(low_multiplicity(1))
    rows = np.flatnonzero(result.fit.disputed).reshape(-1, 2)
    x = result.observations.intensity[rows] / result.scaled.g[rows]
    variance = result.scaled.variance[rows] / result.scaled.g[rows] ** 2
    np.testing.assert_allclose(np.diff(x, axis=1)[:, 0] ** 2, variance.sum(axis=1), rtol=1e-9)
    assert sum(entry.used_in_fit for entry in result.ledger) == result.fit.n_observations
    for entry in result.ledger:
        parts = (entry.filtered, entry.user_excluded, entry.rejected)
        assert entry.read == entry.partials_merged + entry.merged + sum(sum(p.values()) for p in parts)
    assert result.ledger[0].rejected["pair"] == result.fit.rejected["pair"].sum() > 0


def test_anomalous_signal_is_no_outlier():
    data = low_multiplicity(5, anomalous=0.2, outlier_fraction=0.0, mean_intensity=1000.0)
    apart = scaled(data, anomalous=True)
    assert apart.scaled.outlier.mean() < 2e-4 and apart.fit.disputed.mean() < 2e-4
    together = scaled(data)
    assert together.fit.rejected["pair"].mean() < 2e-4 and together.fit.disputed.mean() < 2e-4


def test_observations_that_agree_within_their_hand_stay():
    """Two I(+) against two I(-): by all four, one hand after the other goes."""
    data = low_multiplicity(5, anomalous=0.2, outlier_fraction=0.0, mean_intensity=1000.0, keep=1.0)
    result = scaled(data)
    obs = result.observations
    sizes = np.diff(obs.anomalous_offsets)
    size = np.repeat(sizes, sizes)
    tested = find_outliers(obs.intensity, 1.0 / result.scaled.variance, result.scaled.g, obs.offsets)
    assert (tested & (size > 1)).mean() > 1e-3
    assert result.scaled.outlier[size > 1].mean() < 2e-4


def test_no_judgement_without_rejection():
    result = scaled(low_multiplicity(1, d_min=3.0), outlier_rejection=None)
    assert not result.fit.rejected["pair"].any() and not result.fit.disputed.any()


def test_a_derivative_with_bijvoet_differences(data_root: Path) -> None:
    """Equivalents against each other lose 92, nearly half of them true differences."""
    job = pyscale.read(data_root / "hypf" / "hypf_unmerged.mtz")
    result = pyscale.scale(job, nproc=1)
    assert result.fit.rejected["pair"].sum() == 0
    assert result.scaled.outlier.sum() < 60
