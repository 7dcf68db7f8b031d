"""Random halves of observations, the mean of their correlations and its confidence interval."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pyscale import _core
from pyscale.quantiles import correlation_interval


def groups(intensity: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Groups of n observations of unit variance: intensity, variance, offsets, index."""
    n_groups = intensity.size // n
    index = np.stack([np.arange(n_groups), np.ones(n_groups), np.zeros(n_groups)], axis=1).astype(np.int32)
    return intensity, np.ones(intensity.size), np.arange(0, intensity.size + 1, n), index


def wilson(rng: np.random.Generator, n_groups: int, n: int, noise: float) -> np.ndarray:
    return np.repeat(rng.exponential(size=n_groups), n) + noise * rng.normal(size=n_groups * n)


def one_shell(data: tuple[np.ndarray, ...], seed: int, n_splits: int) -> _core.HalfSetCorrelation:
    shell = np.zeros(data[3].shape[0], np.int64)
    return _core.half_set_correlations(*data, seed, n_splits, shell, 1)[-1]


@pytest.mark.parametrize("n", [2, 4, 5, 8])
def test_all_halves_are_equally_likely(n: int) -> None:
    copies = 20000
    data = groups(np.tile(2.0 ** np.arange(n), copies), n)
    first, _, _, _, n_first, _ = _core.half_sets(*data, 11)
    drawn, counts = np.unique(np.round(first * n_first).astype(int), return_counts=True)
    sizes = {n // 2, n - n // 2}
    expected = {sum(2**k for k in chosen): 0.0 for size in sizes for chosen in _subsets(n, size)}
    assert set(drawn.tolist()) == set(expected)
    share = np.array([1 / len(sizes) / math.comb(n, bin(x).count("1")) for x in drawn.tolist()])
    chi_square = float(((counts - copies * share) ** 2 / (copies * share)).sum())
    freedom = len(expected) - 1
    assert chi_square < freedom + 5 * math.sqrt(2 * freedom)


def _subsets(n: int, size: int) -> list[tuple[int, ...]]:
    from itertools import combinations

    return list(combinations(range(n), size))


def test_splits_are_independent() -> None:
    """With two observations a split is a coin, which the seed's other splits do not tell."""
    rng = np.random.default_rng(3)
    data = groups(wilson(rng, 4000, 2, 1.0), 2)
    single = [one_shell(data, seed, 1).correlation for seed in range(60)]
    several = [one_shell(data, seed, 10).correlation for seed in range(60)]
    assert np.mean(several) == pytest.approx(np.mean(single), abs=5 * np.std(single) / math.sqrt(60))
    assert np.std(several) == pytest.approx(np.std(single) / math.sqrt(10), rel=0.45)


def test_one_split_is_that_of_the_half_sets() -> None:
    rng = np.random.default_rng(5)
    data = groups(wilson(rng, 500, 5, 0.7), 5)
    x, y, *_ = _core.half_sets(*data, 42)
    found = one_shell(data, 42, 1)
    r = np.corrcoef(x, y)[0, 1]
    assert found.correlation == pytest.approx(r, rel=1e-12)
    assert found.r_split == pytest.approx(math.sqrt(0.5) * np.abs(x - y).sum() / (0.5 * (x + y).sum()), rel=1e-12)
    # The infinitesimal jackknife written out, halves taken for equally distributed.
    p, q = 0.5 * (x + y), 0.5 * (x - y)
    a, b = (p - p.mean()) ** 2, q**2
    influence = ((1 - r) * a - (1 + r) * b) / (a + b).mean()
    assert found.standard_error == pytest.approx(math.sqrt((influence**2).sum() / (500 * 499)), rel=1e-9)


@pytest.mark.parametrize(
    ("n_pairs", "n", "noise", "least"),
    [(1000, 2, 1.0, 0.93), (1000, 6, 0.2, 0.90), (1000, 5, 3.0, 0.93), (200, 4, 1.0, 0.90), (50, 4, 3.0, 0.92)],
)
def test_intervals_hold_the_truth(n_pairs: int, n: int, noise: float, least: float) -> None:
    """Wilson-distributed intensities: each shell is a data set of its own, whose true correlation is known."""
    rng = np.random.default_rng(n_pairs + n)
    n_sets = 400
    data = groups(wilson(rng, n_pairs * n_sets, n, noise), n)
    shell = np.repeat(np.arange(n_sets), n_pairs)
    found = _core.half_set_correlations(*data, 42, 10, shell, n_sets)[:-1]
    # Halves of an odd number are not equally large, and a coin tells which is the larger one.
    truth = 1 / (1 + noise**2 * np.mean([1 / (n // 2), 1 / (n - n // 2)]))
    limits = [correlation_interval(f.correlation, f.standard_error, f.n_pairs) for f in found]
    covered = np.mean([low <= truth <= high for low, high in limits])
    assert least < covered <= 0.995
    assert all(low <= f.correlation <= high for f, (low, high) in zip(found, limits, strict=True))


def test_intervals_of_strong_data_are_wider_than_those_of_fisher() -> None:
    """Strong reflections decide a correlation: there are fewer of them than of pairs."""
    rng = np.random.default_rng(8)
    found = one_shell(groups(wilson(rng, 2000, 4, 0.3), 4), 42, 10)
    fisher = (1 - found.correlation**2) / math.sqrt(2000 - 3)
    assert found.standard_error > 1.15 * fisher


@pytest.mark.parametrize("n_pairs", [0, 1, 2, 3, 5])
def test_few_pairs_have_no_interval(n_pairs: int) -> None:
    rng = np.random.default_rng(1)
    shell = np.where(np.arange(8) < n_pairs, 0, -1)
    found = _core.half_set_correlations(*groups(wilson(rng, 8, 3, 0.5), 3), 42, 10, shell, 1)[0]
    assert found.n_pairs == n_pairs
    low, high = correlation_interval(found.correlation, found.standard_error, found.n_pairs)
    assert math.isnan(low) == (n_pairs < 4) and math.isnan(high) == (n_pairs < 4)


def test_perfect_agreement_has_no_uncertainty() -> None:
    data = groups(np.repeat(np.arange(1.0, 51.0), 4), 4)
    found = one_shell(data, 42, 10)
    assert found.correlation == pytest.approx(1, abs=1e-12)
    assert found.r_split == 0
    low, high = correlation_interval(found.correlation, found.standard_error, found.n_pairs)
    assert low == pytest.approx(1, abs=1e-9) and high == pytest.approx(1, abs=1e-9)


def test_numbers_of_splits_are_limited() -> None:
    data = groups(np.arange(8.0), 2)
    for n_splits in (0, 33):
        with pytest.raises(ValueError, match="n_splits"):
            one_shell(data, 1, n_splits)
