"""Regions that deviate: planted ones are found where they are and gone with the option; clean data raise no alarm."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import pyscale
from pyscale import _core
from pyscale.analysis.detection import MIN_BIAS, CellSums, local_median, threshold
from pyscale.analysis.regions import rectangles
from pyscale.dataset import make_job
from pyscale.outliers import compare_with_others
from pyscale.report import render_report


@cache
def sweep(seed, **more):
    return pyscale.simulate(**({"d_min": 2.4, "sweep_width": 180.0, "seed": seed} | more))


def scaled(data, factor=1.0, extra=0.0, **options):
    """Scale with intensities as the detector had seen them: sigmas of integration know nothing of either."""
    table = data.reflections()
    for method in ("prf", "sum"):
        if f"intensity.{method}.value" not in table:
            continue
        table[f"intensity.{method}.value"] = factor * table[f"intensity.{method}.value"] + extra
    return pyscale.scale(make_job(data.experiments(), [table]), nproc=1, **options)


def exclusions(regions):
    """Options of the primary regions as keywords."""
    options: dict[str, list[str]] = {}
    for region in regions.primary:
        for option in region.options:
            name, value = option.split("=", 1)
            options.setdefault(name, []).append(value)
    return options


def overlap(box, other):
    width = min(box[1], other[1]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[2], other[2])
    return max(width, 0) * max(height, 0)


def area(box):
    return (box[1] - box[0]) * (box[3] - box[2])


@pytest.mark.parametrize(
    ("seed", "share", "shadow"), [(1, 0.6, (700, 1000, 700, 1000)), (2, 0.4, (1130, 1330, 1250, 2527))]
)
def test_a_shadow(seed, share, shadow):
    data = sweep(seed)
    x, y, _ = data.reflections()["xyzobs.px.value"].T
    dark = (x > shadow[0]) & (x < shadow[1]) & (y > shadow[2]) & (y < shadow[3])
    factor = np.where(dark, share, 1.0)
    result = scaled(data, factor)
    found = result.analyses.regions
    first = found.regions[0]
    assert first.kind == "detector" and first.finding == "low" and not first.secondary
    inside = sum(overlap(box, shadow) for box in first.rectangles)
    # the scales follow a shadow a little; at its edges cells are mixed
    assert inside > 0.6 * sum(map(area, first.rectangles))
    assert share - 0.1 < first.relative_intensity < 1.0 - MIN_BIAS / 2
    assert result.scaled.outlier.sum() < scaled(data).scaled.outlier.sum() + dark.sum()
    assert sum(entry.user_excluded.get("exclude_regions", 0) for entry in result.ledger) == 0
    again = scaled(data, factor, **exclusions(found))
    left = [r for r in again.analyses.regions.regions if r.kind == "detector"]
    assert sum(r.n_observations for r in left) < 0.1 * first.n_observations
    assert again.statistics.overall.r_meas < result.statistics.overall.r_meas


def test_a_shadow_in_one_of_three_sweeps():
    data = sweep(4, n_sweeps=3, d_min=2.8)
    table = data.reflections()
    x, y, _ = table["xyzobs.px.value"].T
    shadow = (950, 1150, 1350, 1600)
    dark = (x > shadow[0]) & (x < shadow[1]) & (y > shadow[2]) & (y < shadow[3])
    one = scaled(data, np.where(dark & (table["id"] == 1), 0.5, 1.0)).analyses.regions
    assert {r.data_set for r in one.primary} == {data.identifiers[1]}
    assert one.primary[0].finding == "low" and one.map.data_set == data.identifiers[1]
    every = scaled(data, np.where(dark, 0.5, 1.0)).analyses.regions
    assert {r.data_set for r in every.primary} == {None}
    assert every.primary[0].finding == "low" and every.map.data_set is None


def test_an_ice_ring():
    data = sweep(1, mean_intensity=50.0)
    table, rng = data.reflections(), np.random.default_rng(1)
    ring = np.abs(1 / table["d"] - 1 / 3.661) < 0.002
    strength = np.median(table["intensity.prf.value"][ring])
    extra = np.where(ring, rng.exponential(0.6 * strength, ring.size), 0.0)
    found = scaled(data, extra=extra).analyses.regions
    (region,) = found.primary
    assert region.kind == "resolution" and region.finding == "scattered" and region.ice == 3.661
    assert 3.5 < region.d_range[1] < 3.661 < region.d_range[0] < 3.8
    assert not scaled(data, extra=extra, **exclusions(found)).analyses.regions.regions


@pytest.mark.parametrize("kind", ["weak", "erratic"])
def test_bad_images(kind):
    data = sweep(2)
    z = data.reflections()["xyzobs.px.value"][:, 2]
    bad = (z > 150) & (z < 156)
    rng = np.random.default_rng(2)
    factor = np.where(bad, 0.6 if kind == "weak" else rng.uniform(0.3, 1.7, z.size), 1.0)
    found = scaled(data, factor).analyses.regions
    (region,) = found.primary
    assert region.kind == "images" and region.images == [151, 156]
    assert kind == "erratic" or region.finding == "low"
    again = scaled(data, factor, **exclusions(found)).analyses.regions
    assert not [r for r in again.regions if r.kind == "images"]


CLEAN = [
    {},
    {"n_sweeps": 2, "sweep_width": 90.0},
    {"space_group": "P 1", "unit_cell": (30.0, 38.0, 42.0, 80.0, 95.0, 100.0), "sweep_width": 360.0},
    {"mean_intensity": 10.0},
    {"anomalous": 0.08},
    {"absorption": 0.15},
    {"kind": "stills", "n_stills": 60, "d_min": 3.0},
    {"partials": 0.3, "outlier_fraction": 0.01},
]


@pytest.mark.parametrize("number", range(len(CLEAN)))
def test_clean_data_raise_no_alarm(number):
    result = scaled(pyscale.simulate(**({"d_min": 2.6, "sweep_width": 120.0, "seed": 50 + number} | CLEAN[number])))
    found = result.analyses.regions
    assert found is not None and found.regions == [] and found.text() == "" and found.warnings() == []
    assert found.n_cells["resolution"] > 5 and found.n_cells["detector"] >= 16


def test_few_observations_are_not_looked_at():
    assert scaled(sweep(1, d_min=8.0, sweep_width=40.0)).analyses.regions is None


def test_comparison_by_the_definition():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 6, 100)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    n = offsets[-1]
    g, weight, intensity = rng.uniform(0.5, 2, n), rng.uniform(0.1, 100, n), rng.normal(10, 3, n)
    merged = rng.random(n) < 0.8
    weight[::17] = 0.0
    mean, sigma, z = compare_with_others(intensity, weight, g, offsets, merged)
    for i in range(n):
        h = np.searchsorted(offsets, i, side="right") - 1
        rows = [k for k in range(offsets[h], offsets[h + 1]) if k != i and merged[k] and weight[k] > 0]
        if not rows or weight[i] == 0:
            assert np.isnan([mean[i], sigma[i], z[i]]).all()
            continue
        w = weight[rows] * g[rows] ** 2
        expected = np.average(intensity[rows] / g[rows], weights=w)
        spread = np.sqrt(1 / (weight[i] * g[i] ** 2) + 1 / w.sum())
        found = [mean[i], sigma[i], z[i]]
        np.testing.assert_allclose(found, [expected, spread, (intensity[i] / g[i] - expected) / spread], rtol=1e-9)
    for n_threads in (2, 8):
        for a, b in zip(
            compare_with_others(intensity, weight, g, offsets, merged, n_threads=n_threads),
            (mean, sigma, z),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


def test_sums_over_cells_by_the_definition():
    rng = np.random.default_rng(4)
    key = rng.integers(-1, 7, 500).astype(np.int32)
    a, b, c = rng.normal(size=(3, 500))
    a[::50] = np.nan
    rejected = rng.random(500) < 0.1
    sums = _core.sum_over_cells(key, a, b, c, rejected.view(np.uint8), 7)
    for k in range(7):
        rows = (key == k) & np.isfinite(a)
        expected = [
            rows.sum(),
            a[rows].sum(),
            b[rows].sum(),
            (a * c)[rows].sum(),
            (c**2)[rows].sum(),
            rejected[rows].sum(),
        ]
        np.testing.assert_allclose(sums[k], expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="signal"):
        _core.sum_over_cells(key, a, b, c[:-1].copy(), rejected.view(np.uint8), 7)


def test_rectangles_cover_a_mask():
    rng = np.random.default_rng(5)
    for _ in range(50):
        mask = rng.random((6, 9)) < 0.6
        covered = np.zeros_like(mask)
        if mask.any():
            found = rectangles(mask)
            for box in found:
                covered[box] = True
            assert (covered | ~mask).all()
            assert len(found) == 1 or (covered == mask).all()


def test_small_parts():
    assert threshold(1) == pytest.approx(3.2905, abs=1e-4)
    values = np.array([1.0, 1.0, 50.0, 1.0, 2.0, 2.0])
    assert local_median(values, np.ones(6), 2).tolist() == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    assert local_median(values, np.zeros(6), 2).tolist() == [1.0] * 6
    assert CellSums(*np.zeros((6, 3))).mean.tolist() == [0.0, 0.0, 0.0]


def test_report_and_document():
    data = sweep(1)
    x, y, _ = data.reflections()["xyzobs.px.value"].T
    result = scaled(data, np.where((x > 700) & (x < 1000) & (y > 700) & (y < 1000), 0.5, 1.0))
    page, document = render_report(result), result.to_dict()
    region = document["analyses"]["regions"]["regions"][0]
    assert region["options"][0] in page and "Mean deviation over the detector" in page
    assert any(region["options"][0] in warning for warning in document["warnings"])
    worst = document["analyses"]["rogues"]["worst"][0]
    assert " ".join(map(str, worst["miller_index"])) in page
    deviations = document["analyses"]["regions"]["map"]
    assert len(deviations["mean_deviation"]) == len(deviations["y"]) - 1
    assert len(deviations["mean_deviation"][0]) == len(deviations["x"]) - 1
