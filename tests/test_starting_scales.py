"""Starting scales and connections of data sets: known scales, and a plain search through the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pyscale.observations import JobObservations
from pyscale.starting_scales import connected_components, starting_scales

Make = Callable[..., JobObservations]


def chain(n_data_sets: int, n_shared: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Groups, data sets, intensities and scales, where only neighbours in the chain have reflections in common."""
    rng = np.random.default_rng(seed)
    ln_scale = rng.normal(0.0, 1.0, n_data_sets)
    scale = np.exp(ln_scale - ln_scale.mean())
    link = np.repeat(np.arange(n_data_sets - 1), n_shared)
    group = np.tile(np.arange(link.size), 2)
    data_set = np.concatenate([link, link + 1])
    truth = 10 ** rng.uniform(2, 4, link.size)
    return group, data_set, truth[group] * scale[data_set], scale


def everything(observations: JobObservations) -> np.ndarray:
    return np.ones(len(observations), np.bool_)


@pytest.mark.parametrize("n_data_sets", [2, 3, 12])
def test_exact_scales_along_a_chain(make_observations: Make, n_data_sets: int) -> None:
    group, data_set, intensity, scale = chain(n_data_sets, 5)
    observations = make_observations(group, data_set, intensity, np.full(intensity.size, 1.0))
    assert_allclose(starting_scales(observations, everything(observations), n_data_sets), scale, rtol=1e-6)


def test_noise_and_outliers_are_resisted(make_observations: Make) -> None:
    rng = np.random.default_rng(8)
    group, data_set, intensity, scale = chain(6, 300)
    noisy = intensity * (1 + 0.05 * rng.normal(size=intensity.size))
    wrong = rng.random(intensity.size) < 0.05
    noisy[wrong] *= 100.0
    observations = make_observations(group, data_set, noisy, (0.05 * intensity) ** 2)
    found = starting_scales(observations, everything(observations), 6)
    # a link of 300 pairs, each of relative error 0.11 or so
    assert_allclose(np.log(found), np.log(scale), atol=0.06)
    plain = [np.log(noisy[data_set == k]).mean() - np.log(intensity[data_set == k]).mean() for k in range(6)]
    assert max(plain) > 0.15


def test_observations_not_to_be_used_do_not_matter(make_observations: Make) -> None:
    group, data_set, intensity, scale = chain(3, 20)
    observations = make_observations(group, data_set, intensity, np.ones(intensity.size))
    use = everything(observations)
    use[::3] = False
    observations.intensity[~use] = 1e9
    assert_allclose(starting_scales(observations, use, 3), scale, rtol=1e-6)


def test_each_part_has_a_mean_of_its_own(make_observations: Make) -> None:
    group, data_set, intensity, scale = chain(3, 10)
    observations = make_observations(
        np.concatenate([group, group + 100]),
        np.concatenate([data_set, data_set + 3]),
        np.concatenate([intensity, 50 * intensity]),
        np.ones(2 * intensity.size),
    )
    found = starting_scales(observations, everything(observations), 7)
    # the seventh data set has no observations at all
    assert_allclose(found, [*scale, *scale, 1.0], rtol=1e-6)


def test_one_data_set_and_weak_data_have_scale_one(make_observations: Make) -> None:
    one = make_observations(np.array([0, 0]), np.array([0, 0]), np.array([3.0, 4.0]), np.ones(2))
    assert_array_equal(starting_scales(one, everything(one), 1), [1.0])
    weak = make_observations(np.array([0, 0]), np.array([0, 1]), np.array([3.0, 4.0]), np.full(2, 100.0))
    assert_array_equal(starting_scales(weak, everything(weak), 2), [1.0, 1.0])


def searched(edges: list[tuple[int, int]], n_data_sets: int, n_groups: int) -> list[int]:
    """Component of each data set by depth-first search over data sets and groups."""
    label = [-1] * n_data_sets
    for start in range(n_data_sets):
        if label[start] >= 0:
            continue
        number, stack = max(label) + 1, [start]
        while stack:
            here = stack.pop()
            if label[here] >= 0:
                continue
            label[here] = number
            groups = {g for g, d in edges if d == here}
            stack += [d for g, d in edges if g in groups and label[d] < 0]
    return label


@given(st.data())
def test_components_are_those_of_a_graph_search(make_observations: Make, data: Any) -> None:
    n_data_sets, n_groups = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    pairs = st.tuples(st.integers(0, n_groups - 1), st.integers(0, n_data_sets - 1), st.booleans())
    rows = data.draw(st.lists(pairs, min_size=1, max_size=40))
    group, data_set, used = (np.array(column) for column in zip(*sorted(rows), strict=True))
    observations = make_observations(group, data_set, np.ones(group.size), np.ones(group.size))
    found = connected_components(observations.data_set, observations.offsets, used, n_data_sets)
    edges = [(g, d) for g, d, u in sorted(rows) if u]
    assert found.tolist() == searched(edges, n_data_sets, n_groups)
