"""Which data sets have reflections in common: counts by brute force, and what the user is told before a fit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyscale
from pyscale.connectivity import find_connectivity, report_connectivity
from pyscale.dataset import make_job
from pyscale.errors import DataError
from pyscale.observations import JobObservations

Make = Callable[..., JobObservations]


def names(n: int) -> list[str]:
    return [f"set{k}" for k in range(n)]


@given(st.data())
def test_counts_are_those_of_sets_of_data_sets(make_observations: Make, data: Any) -> None:
    n_data_sets = data.draw(st.integers(1, 6))
    pairs = st.tuples(st.integers(0, 9), st.integers(0, n_data_sets - 1), st.sampled_from([0.5, 3.0]))
    rows = data.draw(st.lists(pairs, min_size=1, max_size=40))
    groups = sorted({g for g, _, _ in rows})
    numbered = np.array([groups.index(g) for g, _, _ in rows])
    data_set, intensity = np.array([d for _, d, _ in rows]), np.array([i for _, _, i in rows])
    observations = make_observations(numbered, data_set, intensity, np.ones(len(rows)))
    members = [{d for (g, d, _) in rows if g == group} for group in groups]
    sizes = [sum(g == group for g, _, _ in rows) for group in groups]
    means = [np.mean([i for g, _, i in rows if g == group]) for group in groups]
    if max(sizes) < 2:
        with pytest.raises(DataError, match="measured more than once"):
            find_connectivity(observations, names(n_data_sets))
        return
    found = find_connectivity(observations, names(n_data_sets))
    assert found.unique.sum() == len(groups)
    assert found.linking.sum() == sum(len(m) > 1 for m in members)
    linked = [[len(m) > 1 and d in m for m in members] for d in range(n_data_sets)]
    assert found.shared.sum(axis=1).tolist() == [sum(row) for row in linked]
    significant = [sum(np.array(row) & (np.array(means) > 1.0)) for row in linked]
    assert found.significant.tolist() == significant
    repeated = [sum(d == k for g, d, _ in rows if sizes[groups.index(g)] > 1) for k in range(n_data_sets)]
    assert found.repeated.tolist() == repeated


def test_observations_that_no_fit_uses_do_not_link(make_observations: Make) -> None:
    group, data_set = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 0])
    observations = make_observations(group, data_set, np.ones(6), np.ones(6))
    assert find_connectivity(observations, names(2)).n_components == 1
    observations.absent[1] = True
    object.__setattr__(observations, "not_fitted", np.array([False, False, False, True, False, False]))
    found = find_connectivity(observations, names(2))
    assert found.n_components == 2 and found.linking.sum() == 0 and found.repeated.tolist() == [2, 0]


def shells(observations: JobObservations, group: np.ndarray) -> JobObservations:
    """Give each group a resolution of its own."""
    observations.d_spacing[:] = 10.0 / (1.0 + np.sort(group))
    return observations


def test_shells_hold_what_lies_within_their_limits(make_observations: Make) -> None:
    group = np.repeat(np.arange(60), 2)
    data_set = np.tile([0, 1], 60)
    data_set[60:] = 0
    observations = shells(make_observations(group, data_set, np.ones(120), np.ones(120)), group)
    found = find_connectivity(observations, names(2))
    d = 10.0 / (1.0 + np.arange(60))
    for k, (high, low) in enumerate(zip(found.limits[:-1], found.limits[1:], strict=True)):
        inside = (d <= high * 1.000001) & (d > low * 1.000001) if k < 9 else d <= high * 1.000001
        assert found.unique[k] == inside.sum()
        assert found.linking[k] == inside[:30].sum() == found.shared[0, k] == found.shared[1, k]
    volumes = np.diff(found.limits**-3.0)
    assert np.allclose(volumes, volumes[0])


def told(observations: JobObservations, n: int, caplog: pytest.LogCaptureFixture) -> tuple[str, list[str]]:
    caplog.set_level(logging.INFO, "pyscale")
    caplog.clear()
    report_connectivity(find_connectivity(observations, names(n)))
    return caplog.text, [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_well_linked_data_sets_need_no_warning(make_observations: Make, caplog: pytest.LogCaptureFixture) -> None:
    group, data_set = np.repeat(np.arange(20), 3), np.tile([0, 1, 2], 20)
    text, warnings = told(make_observations(group, data_set, np.full(60, 5.0), np.ones(60)), 3, caplog)
    assert warnings == [] and "linking" in text and "set2" in text
    # one reflection less is too few
    _, warnings = told(make_observations(group[:-3], data_set[:-3], np.full(57, 5.0), np.ones(57)), 3, caplog)
    assert len(warnings) == 1 and "hardly connected: 19 of 19" in warnings[0] and "set0: 19" in warnings[0]


def test_parts_are_named_with_their_sizes(make_observations: Make, caplog: pytest.LogCaptureFixture) -> None:
    group = np.repeat(np.arange(60), 2)
    data_set = np.concatenate([np.tile([0, 2], 30), np.tile([1, 1], 30)])
    _, warnings = told(make_observations(group, data_set, np.full(120, 5.0), np.ones(120)), 3, caplog)
    assert len(warnings) == 1
    assert "2 parts without a common reflection: 2 data sets (set0, set2); 1 data set (set1)." in warnings[0]
    assert "use_datasets" in warnings[0] and "\n" not in warnings[0]


def test_a_data_set_that_nothing_determines_is_named(make_observations: Make, caplog: pytest.LogCaptureFixture) -> None:
    group = np.concatenate([np.repeat(np.arange(30), 2), [30, 31]])
    data_set = np.concatenate([np.tile([0, 2], 30), [1, 1]])
    _, warnings = told(make_observations(group, data_set, np.full(62, 5.0), np.ones(62)), 3, caplog)
    assert any("No reflection of data set set1 is measured twice" in w for w in warnings)


def test_many_data_sets_are_summarised(make_observations: Make, caplog: pytest.LogCaptureFixture) -> None:
    n = 20000
    group = np.repeat(np.arange(n // 2), 2)
    text, warnings = told(make_observations(group, np.arange(n), np.full(n, 5.0), np.ones(n)), n, caplog)
    assert "fewest" in text and "median" in text and len(text) < 4000
    assert f"{n // 2} parts" in warnings[0] and max(map(len, warnings)) < 1000


def unique_rows(data: Any) -> Any:
    """The first row of each reflection."""
    table = data.reflections()
    observations = pyscale.scale(make_job(data.experiments(), [data.reflections()]), nproc=1).observations
    first = observations.offsets[:-1]
    rows = np.zeros(len(table), np.bool_)
    ids = np.asarray(table["id"])
    for k in range(2):
        rows[np.flatnonzero(ids == k)[observations.row[first][observations.data_set[first] == k]]] = True
    return table.select(np.flatnonzero(rows))


def test_the_error_comes_before_the_fit_and_speaks_of_connections(caplog: pytest.LogCaptureFixture) -> None:
    data = pyscale.simulate(d_min=5.0, n_sweeps=2, sweep_width=40.0, oscillation_width=1.0, seed=3)
    table = unique_rows(data)
    caplog.set_level(logging.DEBUG, "pyscale")
    caplog.clear()
    with pytest.raises(DataError, match=r"more than once within or between the 2 data sets .*nothing connects them"):
        pyscale.scale(make_job(data.experiments(), [table]), nproc=1)
    assert "round" not in caplog.text


def test_stills_that_hardly_overlap(data_root: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = data_root / "cunir_stills"
    caplog.set_level(logging.INFO, "pyscale")
    result = pyscale.scale(pyscale.read(folder / "integrated.expt", folder / "integrated.refl"))
    messages = [r.getMessage() for r in caplog.records]
    told_at = next(k for k, m in enumerate(messages) if "hardly connected" in m)
    assert told_at < next(k for k, m in enumerate(messages) if m.startswith("round 1"))
    document = result.to_dict()["connectivity"]
    linking = sum(shell["n_linking"] for shell in document["shells"])
    n_unique = sum(shell["n_unique"] for shell in document["shells"])
    assert f"{linking} of {n_unique} unique reflections are in more than one data set" in messages[told_at]
    # by hand: reflections of space group P 2 13 that occur in more than one data set
    observations = result.observations
    sets = [
        set(observations.data_set[a:b].tolist())
        for a, b in zip(observations.offsets[:-1], observations.offsets[1:], strict=True)
    ]
    assert linking == sum(len(s) > 1 for s in sets) and n_unique == len(sets)
    assert 0 < linking < 0.05 * n_unique
    assert document["weakly_linked"] == [k for k, n in document["significant"].items() if n < 20] != []
