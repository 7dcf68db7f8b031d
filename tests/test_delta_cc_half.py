"""ΔCC½ of candidates against its definition, groups of images, and what lies below the cut-off."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from pyscale.delta_cc_half import (
    Candidate,
    data_set_candidates,
    delta_cc_half,
    find_cutoff,
    from_the_ends,
    image_group_candidates,
    image_groups,
    student_factor,
)
from pyscale.observations import JobObservations

N_SETS, N_GROUPS = 12, 400
BAD = 5


@pytest.fixture(scope="module")
def observations(make_observations: Callable[..., JobObservations]) -> JobObservations:
    """Groups of 2 to 9 observations of twelve data sets on 60 images, one data set bad; the last observes nothing."""
    random = np.random.default_rng(3)
    group = np.repeat(np.arange(N_GROUPS), random.integers(2, 10, N_GROUPS))
    data_set = random.integers(0, N_SETS - 1, group.size)
    spread = np.where(data_set == BAD, 40.0, 5.0)
    intensity = random.exponential(100.0, N_GROUPS)[group] + random.normal(0.0, spread)
    obs = make_observations(group, data_set, intensity, np.ones(group.size))
    d = 1.0 / np.sqrt(random.uniform(0.01, 0.25, N_GROUPS))
    changed: dict[str, Any] = vars(obs) | {"d_spacing": d[obs.group], "image_z": random.uniform(0.0, 60.0, len(obs))}
    return JobObservations(**changed)


def cc_half(intensity: np.ndarray, group: np.ndarray, d: np.ndarray, limits: np.ndarray) -> float:
    """CC½ by its definition: loops, no running sums."""
    total = weight = 0.0
    for low, high in itertools.pairwise(limits):
        means, errors = [], []
        for h in np.unique(group):
            x = 1.0 / d[group == h][0] ** 2
            values = intensity[group == h]
            inside = low <= x < high or (high == limits[-1] and x >= high)
            if inside and values.size > 1:
                means.append(values.mean())
                errors.append(values.var(ddof=1) / values.size)
        if len(means) > 1:
            v, e = np.var(means, ddof=1), np.mean(errors)
            total += len(means) * (v - e) / (v + e)
            weight += len(means)
    return total / weight


@pytest.mark.parametrize("by_images", [False, True])
def test_is_the_loss_without_the_candidate(observations: JobObservations, by_images: bool) -> None:
    random = np.random.default_rng(4)
    g = random.uniform(0.5, 2.0, len(observations))
    merged = random.random(len(observations)) < 0.9
    candidates = data_set_candidates(N_SETS)
    if by_images:
        candidates = [Candidate(k, (a, a + 19)) for k in range(N_SETS) for a in (1, 21, 41)]
    scaled = JobObservations(**(vars(observations) | {"intensity": observations.intensity * g}))
    found = delta_cc_half(scaled, g, merged, candidates)
    x = 1.0 / observations.d_spacing[merged] ** 2
    limits = np.linspace(x.min(), x.max(), 11)
    arguments = (observations.intensity, observations.group, observations.d_spacing)
    whole = cc_half(*(a[merged] for a in arguments), limits)
    assert found.cc_half == pytest.approx(whole, abs=1e-12)
    for k in random.choice(len(candidates), 6, replace=False):
        owner, images = candidates[k]
        of_candidate = observations.data_set == owner
        if images is not None:
            image = np.floor(observations.image_z) + 1
            of_candidate &= (image >= images[0]) & (image <= images[1])
        assert_array_equal(found.candidate_of == k, of_candidate)
        assert found.n_merged[k] == np.count_nonzero(of_candidate & merged)
        kept = merged & ~of_candidate
        if owner < N_SETS - 1:
            assert found.delta[k] == pytest.approx(whole - cc_half(*(a[kept] for a in arguments), limits), abs=1e-12)
        else:
            assert not found.judged[k]
    worst = candidates[int(np.nanargmin(found.delta))]
    assert worst.data_set == BAD


def test_order_of_rows_does_not_matter(observations: JobObservations) -> None:
    merged = np.ones(len(observations), np.bool_)
    g = np.ones(len(observations))
    plain = delta_cc_half(observations, g, merged, data_set_candidates(N_SETS))
    order = np.lexsort((np.random.default_rng(5).random(len(observations)), observations.group))
    names = ("data_set", "intensity", "d_spacing", "image_z", "group")
    mixed = JobObservations(**(vars(observations) | {n: getattr(observations, n)[order] for n in names}))
    assert_allclose(delta_cc_half(mixed, g, merged, data_set_candidates(N_SETS)).delta, plain.delta, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("ranges", "size", "expected"),
    [
        ([(1, 30)], 10, [(1, 10), (11, 20), (21, 30)]),
        ([(1, 29)], 10, [(1, 10), (11, 20), (21, 29)]),
        ([(1, 28)], 10, [(1, 10), (11, 28)]),
        ([(1, 21)], 10, [(1, 10), (11, 21)]),
        ([(1, 7)], 10, [(1, 7)]),
        ([(3, 12), (20, 24)], 5, [(3, 7), (8, 12), (20, 24)]),
        ([(1, 3)], 1, [(1, 1), (2, 2), (3, 3)]),
        ([(1, 5)], 2, [(1, 2), (3, 4), (5, 5)]),
    ],
)
def test_groups_of_images(ranges: Any, size: int, expected: Any) -> None:
    assert image_groups(ranges, size) == expected


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 40)), min_size=1, max_size=4), st.integers(1, 15))
def test_groups_cover_every_image_once(steps: list[tuple[int, int]], size: int) -> None:
    ranges, last = [], 0
    for gap, length in steps:
        ranges.append((last + gap + 1, last + gap + 1 + length))
        last = ranges[-1][1]
    covered = [n for a, b in image_groups(ranges, size) for n in range(a, b + 1)]
    assert covered == [n for a, b in ranges for n in range(a, b + 1)]
    # None is shorter than one image less, unless its whole range is.
    short = [(a, b) for a, b in image_groups(ranges, size) if b - a + 1 < size - 1]
    assert all(r in ranges for r in short)


def test_a_still_is_one_candidate() -> None:
    still = SimpleNamespace(is_still=True)
    sweep = SimpleNamespace(is_still=False, image_range=(1, 20), valid_image_ranges=[(1, 20)])
    experiments: Any = [still, sweep, still]
    assert image_group_candidates(experiments, 10) == [(0, None), (1, (1, 10)), (1, (11, 20)), (2, None)]


def test_only_from_the_ends() -> None:
    candidates = [Candidate(k, (a, a)) for k, n in enumerate((6, 3, 1, 1)) for a in range(n)]
    chosen = np.array([1, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0], np.bool_)
    assert_array_equal(from_the_ends(candidates, chosen), np.array([1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0], np.bool_))


@pytest.mark.parametrize("freedom", [1, 2, 5, 10, 50])
def test_student_factor_is_as_improbable(freedom: int) -> None:
    assert stats.t.sf(student_factor(4.0, freedom), freedom) == pytest.approx(stats.norm.sf(4.0), rel=1e-6)


def test_standard_deviations_hide_one_in_seventeen_and_two_in_thirty_four() -> None:
    for n, n_bad, found in ((17, 1, False), (18, 1, True), (34, 2, False), (36, 2, True)):
        delta = np.zeros(n)
        delta[:n_bad] = -1.0
        value = find_cutoff(delta, "sd", 4.0).value
        assert bool((delta[:n_bad] < value).all()) == found


def test_sd_is_the_population_standard_deviation() -> None:
    delta = np.random.default_rng(1).normal(size=50)
    cutoff = find_cutoff(delta, "sd", 3.0)
    assert cutoff.value == pytest.approx(delta.mean() - 3.0 * math.sqrt(np.mean((delta - delta.mean()) ** 2)))


@given(st.floats(10.0, 1e6), st.integers(1, 6), st.integers(0, 50))
def test_how_bad_they_are_does_not_hide_bad_candidates(badness: float, n_bad: int, seed: int) -> None:
    good = np.random.default_rng(seed).uniform(-1.0, 1.0, 40)
    delta = np.concatenate([good, np.full(n_bad, -badness)])
    cutoff = find_cutoff(delta, "robust", 4.0)
    assert_array_equal(delta < cutoff.value, np.arange(delta.size) >= 40)
    assert cutoff.value <= cutoff.centre - cutoff.factor * cutoff.spread


def test_a_tail_on_both_sides_is_chance() -> None:
    core = np.random.default_rng(2).uniform(-1.0, 1.0, 200)
    tail = np.array([10.0, 20.0, 30.0, 40.0])
    both = np.concatenate([core, -tail, tail + 0.5])
    assert not (both < find_cutoff(both, "robust", 4.0).value).any()
    one_sided = np.concatenate([core, -tail, -50.0 - tail, tail[:1]])
    assert_array_equal(one_sided < find_cutoff(one_sided, "robust", 4.0).value, one_sided < -5.0)


def test_normal_candidates_are_rarely_removed() -> None:
    random = np.random.default_rng(6)
    for n in (4, 8, 20, 60):
        hits = [(x < find_cutoff(x, "robust", 4.0).value).any() for x in random.normal(size=(500, n))]
        assert np.mean(hits) < 0.02


@pytest.mark.parametrize("rule", ["robust", "sd"])
@pytest.mark.parametrize("delta", [[], [0.1], [0.2, 0.2, 0.2]])
def test_nothing_is_below_the_cutoff_without_a_spread(rule: str, delta: list[float]) -> None:
    values = np.array(delta)
    assert not (values < find_cutoff(values, rule, 4.0).value).any()
