"""Statistics by data set and by image against plain loops over the scaled observations."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.dataset import make_job
from pyscale.plain_numbers import plain_list
from pyscale.result import ScalingResult


@pytest.fixture(scope="module")
def rows(small_result: ScalingResult) -> dict[str, np.ndarray]:
    """Intensity, variance, group, data set and image of all observations that have a scale."""
    obs, scaled = small_result.observations, small_result.scaled
    usable = ~(scaled.small_scale | obs.absent)
    found = {
        "intensity": obs.intensity / scaled.g,
        "variance": scaled.variance / scaled.g**2,
        "group": obs.group,
        "data_set": obs.data_set,
        "z": obs.image_z,
        "outlier": scaled.outlier,
        "ln_g": np.log(scaled.g),
        "x": 0.5 / obs.d_spacing**2,
    }
    return {name: values[usable] for name, values in found.items()}


def part_statistics(rows: dict[str, np.ndarray], inside: np.ndarray) -> dict[str, float]:
    """The definitions, one observation after the other."""
    merged = np.flatnonzero(~rows["outlier"])
    groups = defaultdict(list)
    for k in merged.tolist():
        groups[rows["group"][k]].append(k)
    value, weight = rows["intensity"], 1 / rows["variance"]
    deviation = total = chi = freedom = 0.0
    x, y = [], []
    for members in groups.values():
        if len(members) < 2:
            continue
        w = sum(weight[k] for k in members)
        mean = sum(weight[k] * value[k] for k in members) / w
        for k in members:
            if inside[k]:
                deviation += abs(value[k] - mean)
                total += value[k]
                chi += weight[k] * (value[k] - mean) ** 2
                freedom += 1 - weight[k] / w
                x.append(value[k])
                y.append((w * mean - weight[k] * value[k]) / (w - weight[k]))
    own = [k for k in merged.tolist() if inside[k]]
    b, ln_k = np.polyfit(rows["x"][inside], rows["ln_g"][inside], 1)
    return {
        "n_obs": len(own),
        "i_over_sigma": float(np.mean(value[own] * np.sqrt(weight[own]))),
        "r_merge": deviation / total,
        "chi_square": chi / freedom,
        "cc": float(np.corrcoef(x, y)[0, 1]),
        "rejected": float(rows["outlier"][inside].mean()),
        "scale": math.exp(ln_k),
        "relative_b": float(b),
    }


@pytest.mark.parametrize("number", [0, 1])
def test_data_sets(small_result: ScalingResult, rows: dict[str, np.ndarray], number: int) -> None:
    found = small_result.analyses.by_data_set
    assert found is not None
    inside = rows["data_set"] == number
    expected = part_statistics(rows, inside)
    for name in ("n_obs", "i_over_sigma", "r_merge", "chi_square", "rejected", "scale", "relative_b"):
        assert getattr(found, name)[number] == pytest.approx(expected[name], rel=1e-9), name
    own, other = _means(rows, inside), _means(rows, ~inside)
    assert found.n_unique[number] == len(own)
    assert found.completeness[number] == pytest.approx(len(own) / small_result.statistics.overall.n_possible)
    assert found.multiplicity[number] == pytest.approx(expected["n_obs"] / len(own))
    common = sorted(own.keys() & other.keys())
    assert found.n_common[number] == len(common)
    cc = np.corrcoef([own[g][0] for g in common], [other[g][0] for g in common])[0, 1]
    assert found.cc_rest[number] == pytest.approx(cc, rel=1e-9)
    several = [members for _, members in own.values() if len(members) > 1]
    deviation = sum(abs(rows["intensity"][k] - own[rows["group"][k]][0]) for m in several for k in m)
    total = sum(rows["intensity"][k] for m in several for k in m)
    assert found.r_merge_internal[number] == pytest.approx(deviation / total, rel=1e-9)


def _means(rows: dict[str, np.ndarray], inside: np.ndarray) -> dict[int, tuple[float, list[int]]]:
    members = defaultdict(list)
    for k in np.flatnonzero(inside & ~rows["outlier"]).tolist():
        members[int(rows["group"][k])].append(k)
    weight = 1 / rows["variance"]
    return {g: (float(np.average(rows["intensity"][m], weights=weight[m])), m) for g, m in members.items()}


def test_images(small_result: ScalingResult, rows: dict[str, np.ndarray]) -> None:
    found = small_result.analyses.by_image
    assert found is not None
    sweep = found.to_dict()["sweeps"][1]
    assert sweep["first_image"] == sweep["last_image"] == list(range(1, 81))
    for image in (1, 40, 80):
        inside = (rows["data_set"] == 1) & (np.clip(np.floor(rows["z"]), 0, 79) == image - 1)
        expected = part_statistics(rows, inside)
        for name in ("n_obs", "i_over_sigma", "r_merge", "cc", "rejected", "scale", "relative_b"):
            assert sweep[name][image - 1] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name
        seen = (rows["data_set"] == 1) & ~rows["outlier"] & (np.floor(rows["z"]) < image)
        n_seen = np.unique(rows["group"][seen]).size
        expected_share = n_seen / small_result.statistics.overall.n_possible
        assert sweep["completeness"][image - 1] == pytest.approx(expected_share, rel=1e-4)


def test_shells_of_data_sets(small_result: ScalingResult, rows: dict[str, np.ndarray]) -> None:
    found = small_result.analyses.by_shell
    assert found is not None and found.n_obs.sum() == small_result.statistics.overall.n_obs
    d, shells = np.sqrt(0.5 / rows["x"]), small_result.statistics.shells
    assert (found.d_max[0], found.d_min[-1]) == (shells[0].d_max, shells[-1].d_min)
    for number, shell in ((0, 0), (1, 4), (1, found.d_min.size - 1)):
        low, high = found.d_max[shell], found.d_min[shell]
        inside = (rows["data_set"] == number) & (d <= low * (1 + 1e-9)) & (d > high * (1 - 1e-9))
        expected = part_statistics(rows, inside)
        for name in ("n_obs", "i_over_sigma", "r_merge", "cc"):
            assert getattr(found, name)[number, shell] == pytest.approx(expected[name], rel=1e-9), name
        n_unique = np.unique(rows["group"][inside & ~rows["outlier"]]).size
        n_possible = sum(s.n_possible for s in shells if s.d_max <= low + 1e-9 and s.d_min >= high - 1e-9)
        assert found.completeness[number, shell] == pytest.approx(n_unique / n_possible)


def limited_deviations(result: ScalingResult) -> np.ndarray:
    """Deviation of each observation from the mean of the merged others of its group, one after the other."""
    obs, g, outlier = result.observations, result.scaled.g, result.scaled.outlier
    value, variance = obs.intensity / g, result.fit.sigma_squared / g**2
    usable = ~(result.scaled.small_scale | obs.absent)
    deviation = np.full(len(obs), np.nan)
    offsets = obs.target_offsets.tolist()
    for begin, end in pairwise(offsets):
        for k in range(begin, end):
            others = [j for j in range(begin, end) if j != k and usable[j] and not outlier[j]]
            if usable[k] and others:
                weight = 1 / variance[others]
                mean = np.average(value[others], weights=weight)
                z = (value[k] - mean) / math.sqrt(variance[k] + 1 / weight.sum())
                deviation[k] = min(max(z, -4.0), 4.0)
    return deviation


def test_mean_deviations(small_result: ScalingResult) -> None:
    obs, deviation = small_result.observations, limited_deviations(small_result)
    known = np.isfinite(deviation)
    by_image = small_result.analyses.by_image
    assert by_image is not None
    sweep = by_image.to_dict()["sweeps"][1]
    for image in (1, 33, 80):
        inside = known & (obs.data_set == 1) & (np.clip(np.floor(obs.image_z), 0, 79) == image - 1)
        assert sweep["mean_deviation"][image - 1] == pytest.approx(deviation[inside].mean(), rel=1e-4, abs=1e-6)
    maps = small_result.analyses.detector
    assert maps is not None
    (found,) = maps.maps
    places = np.concatenate(
        [np.asarray(p.table.centroid_column())[obs.row[obs.data_set == k]] for k, p in enumerate(small_result.prepared)]
    )
    order = np.concatenate([np.flatnonzero(obs.data_set == k) for k in range(len(small_result.prepared))])
    _, ny, nx = found.n_obs.shape
    edges = np.linspace(0, found.size[1], ny + 1), np.linspace(0, found.size[0], nx + 1)

    def binned(values: np.ndarray) -> np.ndarray:
        use = known[order]
        return np.histogram2d(places[use, 1], places[use, 0], bins=edges, weights=values[order][use])[0]

    n = binned(np.ones(len(obs)))
    np.testing.assert_array_equal(found.n_obs[0], n)
    np.testing.assert_array_equal(found.n_rejected[0], binned(small_result.scaled.outlier.astype(float)))
    enough = n >= 5
    np.testing.assert_allclose(
        found.mean_deviation[0][enough], (binned(deviation) / np.maximum(n, 1))[enough], atol=1e-9
    )
    assert np.isnan(found.mean_deviation[0][~enough]).all() and n.sum() == known.sum()


def test_many_images_share_bins() -> None:
    data = pyscale.simulate(d_min=4.0, sweep_width=75.0, oscillation_width=0.1, outlier_fraction=0.0, seed=3)
    result = pyscale.scale(make_job(data.experiments(), [data.reflections()]), nproc=1)
    found = result.analyses.by_image
    assert found is not None
    (sweep,) = found.to_dict()["sweeps"]
    first, last = np.array(sweep["first_image"]), np.array(sweep["last_image"])
    assert len(first) == 360 and first[0] == 1 and last[-1] == 750
    np.testing.assert_array_equal(first[1:], last[:-1] + 1)
    assert set((last - first + 1).tolist()) == {2, 3}
    z = result.observations.image_z
    expected = [int(((z >= a - 1) & (z < b) & ~result.fit.outlier).sum()) for a, b in zip(first, last, strict=True)]
    assert abs(sum(expected) - result.statistics.overall.n_obs) <= 2
    np.testing.assert_allclose(sweep["n_obs"], expected, atol=1)
    assert sweep["completeness"][-1] == pytest.approx(result.statistics.overall.completeness, rel=1e-4)


def test_stills_have_no_images() -> None:
    data = pyscale.simulate(kind="stills", n_stills=30, d_min=5.0, same_crystal=False, seed=4)
    result = pyscale.scale(make_job(data.experiments(), [data.reflections()]), nproc=1)
    assert result.analyses.by_image is None and result.analyses.radiation_damage is None
    found = result.analyses.by_data_set
    assert found is not None and len(found) == 30
    assert int(found.n_obs.sum()) == result.statistics.overall.n_obs
    assert "the 20 that agree least with the rest; all 30 are in the JSON file" in found.text()
    assert found.text().count("\n") == 21


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.23456789, -0.000123456789, 0.0, math.nan, math.inf], [1.23457, -0.000123457, 0.0, None, None]),
        ([1e-300, 123456789.0, 1e300], [1e-300, 123457000.0, 1e300]),
        (np.array([1, -2, 3]), [1, -2, 3]),
        ([], []),
    ],
)
def test_plain_numbers(values: Any, expected: list[float | None]) -> None:
    assert plain_list(values) == expected
    assert all(type(v) in (int, float, type(None)) for v in plain_list(values))


def test_texts_name_every_data_set(small_result: ScalingResult) -> None:
    found = small_result.analyses.by_data_set
    assert found is not None
    lines = found.text().splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines[1:]}) == 1
