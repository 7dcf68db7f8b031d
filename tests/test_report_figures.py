"""The figures of the report against calculations of their own, and what all of them have in common."""

from __future__ import annotations

import dataclasses
import json
import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale import _core
from pyscale.analysis.beams import beam_directions, visited_directions
from pyscale.components import Axis, ComponentModel
from pyscale.correlations import correlation_entry
from pyscale.dataset import make_job
from pyscale.joint_model import JointModel
from pyscale.local_covariance import BlockLayout, LocalCovariance
from pyscale.model_document import component_entry, component_of, curve_points
from pyscale.normal_probability import normal_probability
from pyscale.parameter_numbers import parameter_numbers
from pyscale.report import curves, flow, overview, parts, plots, surface
from pyscale.report.correlations import correlation_figure
from pyscale.report.numbers import MISSING, fixed_with_sigma
from pyscale.report.page import render_page
from pyscale.result import ScalingResult


def harmonic_sum(coefficients: np.ndarray, directions: np.ndarray) -> np.ndarray:
    lmax = math.isqrt(coefficients.size + 1) - 1
    return np.array([1 + coefficients @ _core.real_harmonics(lmax, tuple(d)) for d in directions])


def direction(longitude: float, latitude: float) -> np.ndarray:
    flat = math.cos(latitude)
    return np.array([flat * math.cos(longitude), flat * math.sin(longitude), math.sin(latitude)])


def test_quantiles_of_deviates() -> None:
    """Points of the plot are sorted deviates against expected ones, between which they are interpolated."""
    rng = np.random.default_rng(1)
    deviates = rng.standard_t(5, 2001)
    plot = normal_probability(observed=deviates)
    assert plot is not None
    ordered = np.sort(deviates)
    expected = np.array([NormalDist().inv_cdf((k + 0.5) / 2001) for k in range(2001)])
    probability = [NormalDist().cdf(x) for x in plot.expected]
    np.testing.assert_allclose(
        plot.observed["observed"], np.interp(probability, (np.arange(2001) + 0.5) / 2001, ordered), atol=1e-9
    )
    assert abs(plot.expected).max() <= expected[-1] < abs(plot.expected).max() + 0.2
    assert normal_probability(observed=deviates[:9]) is None
    exact = normal_probability(observed=2.5 * expected)
    assert exact is not None
    # Between the outermost points a straight line lies up to a thirtieth of a unit outside the curve.
    np.testing.assert_allclose(exact.observed["observed"], 2.5 * exact.expected, atol=0.08)


def test_projection_keeps_areas() -> None:
    for longitude, latitude in ((0.0, 0.0), (2.0, 0.7), (-3.0, -1.2), (1.0, 1.45)):
        step = 1e-4
        around = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]]) * step + [longitude, latitude]
        x, y = surface.mollweide(around[:, 0], around[:, 1])
        jacobian = ((x[1] - x[0]) * (y[3] - y[2]) - (x[3] - x[2]) * (y[1] - y[0])) / (2 * step) ** 2
        # The ellipse of area 2 pi holds the sphere of area 4 pi.
        assert jacobian == pytest.approx(0.5 * math.cos(latitude), rel=1e-3)


def test_surface_is_the_sum_of_harmonics() -> None:
    coefficients = np.random.default_rng(3).normal(0, 0.05, 15)
    visited = np.zeros((45, 90), np.bool_)
    visited[10:30, 20:60] = True
    component = ComponentModel("absorption", "absorption", coefficients)
    figure = surface.surface_figure(component, "absorption", visited)
    heat, shade, _ = figure["data"]
    checked = 0
    for longitude, latitude in ((0.1, 0.3), (-2.9, -0.5), (1.9, 1.1), (0.0, -1.4)):
        x, y = (float(v[0]) for v in surface.mollweide(np.array([longitude]), np.array([latitude])))
        column, row = (int(np.argmin(np.abs(np.array(heat[k]) - v))) for k, v in (("x", x), ("y", y)))
        centre = minimised_inverse(heat["x"][column], heat["y"][row])
        value = harmonic_sum(coefficients, direction(*centre)[None])[0]
        assert heat["z"][row][column] == pytest.approx(value, abs=1e-3)
        polar, azimuth = 90 - math.degrees(centre[1]), math.degrees(centre[0]) + 180
        assert shade["z"][row][column] == (not visited[int(polar / 4), int(azimuth / 4)])
        checked += 1
    assert checked == 4 and heat["z"][0][0] is None
    unit = 0.5 * (heat["zmin"] + heat["zmax"])
    assert unit == pytest.approx(1.0)


def minimised_inverse(x: float, y: float) -> tuple[float, float]:
    """Longitude and latitude of a point of the map, by bisection of the projection itself."""
    low, high = -0.5 * math.pi, 0.5 * math.pi
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = float(surface.mollweide(np.zeros(1), np.array([middle]))[1][0]) < y
        low, high = (middle, high) if below else (low, middle)
    width = float(surface.mollweide(np.ones(1), np.array([low]))[0][0])
    return x / width, low


def test_directions_of_beams() -> None:
    data = pyscale.simulate(d_min=4.0, sweep_width=100.0, oscillation_width=1.0, n_sweeps=2, seed=2)
    job = make_job(data.experiments(), [data.reflections()])
    result = pyscale.scale(job, **{"physical.absorption_correction": True, "nproc": 1})
    beams = result.analyses.beams
    assert beams is not None and beams.data_sets == ((0,), (1,))
    obs = result.observations
    seen = np.zeros((45, 90), np.bool_)
    for vectors in (obs.s0_crystal[obs.data_set == 1], obs.s1_crystal[obs.data_set == 1]):
        for x, y, z in vectors.tolist():
            row, column = math.degrees(math.acos(z)) / 4, (math.degrees(math.atan2(y, x)) + 180) / 4
            seen[min(int(row), 44), min(int(column), 89)] = True
    np.testing.assert_array_equal(beams.visited[1], seen)
    runs = beams.to_dict()["surfaces"][1]["visited"]
    np.testing.assert_array_equal(surface.visited_cells(runs), seen)
    assert 0.05 < seen.mean() < 0.95
    both = visited_directions(obs, [0, 1])
    np.testing.assert_array_equal(both, beams.visited[0] | beams.visited[1])
    assert beam_directions.__doc__
    document = result.to_dict()
    check_bands(result, document)
    check_same_page(document)


def check_bands(result: ScalingResult, document: dict[str, Any]) -> None:
    """The uncertainty of a curve is what numerical derivatives by its parameters make of the covariance."""
    local = result.fit.covariance.local
    assert local is not None
    for k, placed in enumerate(parameter_numbers(result.models, local.layout)):
        for number, (component, numbers) in enumerate(placed):
            entry = document["datasets"][k]["model"]["components"][number]
            assert ("band" in entry) == component.kind.startswith("smooth")
            if "band" not in entry:
                continue
            images = document["datasets"][k]["images"]
            assert len(curve_points(images)) == len(entry["band"])

            def curve(parameters: np.ndarray, c: ComponentModel = component, span: Any = images) -> np.ndarray:
                found = curves.smooth_curve(dataclasses.replace(c, parameters=parameters), span)
                return np.interp(curve_points(span), found.z, found.value)

            start = curve(component.parameters)
            unit = np.eye(component.n_parameters)
            change = np.array([curve(component.parameters + e) - start for e in unit])
            for point in (0, 13, 40):
                variance = sum(
                    change[i, point] * change[j, point] * float(local.entries(numbers[i], numbers[j]))
                    for i in range(component.n_parameters)
                    for j in range(component.n_parameters)
                )
                assert entry["band"][point] == pytest.approx(math.sqrt(variance), rel=2e-3)
            # A curve is no less certain than the mean of its parameters would be with independent ones.
            assert min(entry["band"]) < max(component.sigmas)


def check_same_page(document: dict[str, Any]) -> None:
    """Models survive JSON, so that figures do."""
    again = json.loads(json.dumps(document))
    for entry, before in zip(again["datasets"], document["datasets"], strict=True):
        for c, old in zip(entry["model"]["components"], before["model"]["components"], strict=True):
            band = {"band": old["band"]} if "band" in old else {}
            expected = {key: value for key, value in old.items() if key not in ("restraint", "smoothness")}
            back = component_entry(component_of(c)) | band
            assert {key: value for key, value in back.items() if key not in ("restraint", "smoothness")} == expected


@pytest.mark.parametrize(
    "component",
    [
        ComponentModel(
            "decay",
            "grid",
            np.arange(1.0, 13.0),
            axes=(Axis("inv_d2", 3, 2.0, origin=0.1, spacing=1.0), Axis("image_z", 4, 0.1, origin=0.0, spacing=1.0)),
        ),
        ComponentModel("decay", "dose_decay", np.array([0.3]), power=1, dose_per_image=0.5, dose_at_zero=2.0),
        ComponentModel("image_scale", "image_scale", np.array([0.1, -0.2, 0.3]), first_image=4.0),
    ],
)
def test_components_survive_json(component: ComponentModel) -> None:
    back = component_of(json.loads(json.dumps(component_entry(component))))
    z, inv_d2 = np.linspace(4.5, 6.5, 5), np.linspace(0.1, 0.4, 5)
    beams = np.zeros((5, 3))
    places = _core.Observations(np.zeros(5, np.int32), z, 0.5 * inv_d2, beams, beams, np.zeros(5), np.zeros(5))
    values = []
    for c in (component, back):
        model = _core.JobModel()
        model.add(model.add_data_set(), c.core())
        values.append(_core.inverse_scale_factors(model, places, c.parameters))
    np.testing.assert_array_equal(values[0], values[1])


def test_correlations(small_result: ScalingResult) -> None:
    """Of a random covariance: the matrix drawn is that of its blocks, and the strongest pairs are found."""
    models = small_result.models
    joint = JointModel(models)
    rng = np.random.default_rng(5)
    factor = rng.normal(size=(joint.n_parameters, joint.n_parameters))
    dense = factor @ factor.T
    local = LocalCovariance.from_dense(BlockLayout.of(joint.core), dense)
    names = [p.identifier for p in small_result.prepared]
    entry = correlation_entry(models, names, local)
    assert entry is not None and len(entry["matrices"]) == len(models)
    sigma = np.sqrt(np.diag(dense))
    strongest = []
    for k, placed in enumerate(parameter_numbers(models, local.layout)):
        numbers = np.concatenate([n for _, n in placed])
        expected = dense[np.ix_(numbers, numbers)] / np.outer(sigma[numbers], sigma[numbers])
        for row, found in zip(expected, entry["matrices"][k]["lower"], strict=True):
            np.testing.assert_allclose(found, row[: len(found)], atol=0.0051)
        component = np.repeat(np.arange(len(placed)), [c.n_parameters for c, _ in placed])
        apart = np.tril(component[:, None] != component, -1)
        strongest += [abs(v) for v in expected[apart].tolist() if abs(v) > 0.5]
        drawn = correlation_figure(entry["matrices"][k])["data"][0]["z"]
        np.testing.assert_allclose(drawn, expected, atol=0.0051)
    found = [abs(p["correlation"]) for p in entry["strongest"]]
    np.testing.assert_allclose(found, sorted(strongest, reverse=True)[:20], atol=6e-4)
    first = parameter_numbers(models[:1], local.layout)
    for (_, a), (_, b) in zip(first[0], parameter_numbers(models, local.layout)[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert correlation_entry(models, names, None) is None


def test_numbers_of_shared_parameters() -> None:
    """Those of the first data sets alone are their places in the whole job."""
    own = ComponentModel("scale", "constant_scale", np.ones(1))
    shared = ComponentModel("absorption", "absorption", np.zeros(8), shared=True)
    model = pyscale.scaling_model.DataSetModel("physical", (own, shared))
    layout = BlockLayout.of(JointModel([model] * 5).core)
    ((_, scale), (_, surface_numbers)), _ = parameter_numbers([model] * 2, layout)
    assert scale.tolist() == [0] and surface_numbers.tolist() == list(range(5, 13))


def test_what_flows_in_flows_out(small_result: ScalingResult) -> None:
    document = small_result.to_dict()
    (trace,) = flow.ledger_figure(document["ledger"])["data"]
    link, labels = trace["link"], trace["node"]["label"]
    n_read = sum(d["n_reflections"] for d in document["datasets"])
    assert labels[0] == "read<br>" + f"{n_read:,}".replace(",", "\u202f")
    for k in range(len(labels)):
        inwards = sum(v for t, v in zip(link["target"], link["value"], strict=True) if t == k)
        outwards = sum(v for s, v in zip(link["source"], link["value"], strict=True) if s == k)
        if outwards:
            assert outwards == (inwards or n_read), labels[k]
    assert all(v > 0 for v in link["value"])


def test_all_figures_can_be_read(small_result: ScalingResult) -> None:
    document = json.loads(json.dumps(small_result.to_dict(), allow_nan=False))
    html = render_page(document)
    assert html.count("<figcaption>") == html.count("data-figure=")
    assert "<figcaption></figcaption>" not in html


def sweep_entry(identifier: str, n: int, start: int = 1, **more: Any) -> dict[str, Any]:
    values = {name: [1.0] * n for name in ("scale", "relative_b", "i_over_sigma", "r_merge", "completeness")}
    values |= {"mean_deviation": [0.0] * n, "rejected": [0.0] * n, "n_obs": [10] * n}
    images = list(range(start, start + n))
    return {"identifier": identifier, "first_image": images, "last_image": images, **values, **more}


def test_maps_over_images() -> None:
    """Sweeps of different lengths on one axis: mean of the images in each column, nothing beyond the end."""
    scale = [2.0 ** (k // 60) for k in range(120)]
    sweeps = [sweep_entry("long", 120, scale=scale), sweep_entry("short", 30, start=11, scale=[0.5] * 30)]
    found = overview.image_maps({"sweeps": sweeps}, {"long": 0, "none": 1, "short": 2})
    (heat,) = found["maps-scale"]["data"]
    z = np.array(heat["z"], dtype=float)
    assert z.shape == (2, 60) and heat["y"] == [0, 2]
    middle = np.median(scale + [0.5] * 30)
    np.testing.assert_allclose(2.0 ** z[0], np.array(scale)[::2] / middle, rtol=5e-3)
    np.testing.assert_allclose(2.0 ** z[1, :15], 0.5 / middle, rtol=5e-3)
    assert np.isnan(z[1, 15:]).all()
    assert overview.image_maps({"sweeps": sweeps[:1]}, {"long": 0}) == {}


def test_noisy_images_are_joined() -> None:
    """Joined runs have the mean of all their observations, and images without any are left out."""
    n_obs = [4, 0, 8] * 100
    rejected = [0.25, None, 0.0] * 100
    sweep = sweep_entry("a", 300, n_obs=n_obs, rejected=rejected, r_merge=[0.1, None, 0.4] * 100)
    figures = parts.image_figures({"sweeps": [sweep]}, {"a": [[2, 2]]})
    traces = {t["name"]: t for t in figures["a"]["data"]}
    # The median run has 6 observations: seven make 40, four weak runs and three strong ones or the reverse.
    weak_first, strong_first = (16 * 0.1 + 24 * 0.4) / 40, (12 * 0.1 + 32 * 0.4) / 44
    np.testing.assert_allclose(traces["R merge"]["y"][:4], [weak_first, strong_first] * 2, rtol=1e-4)
    # A quarter rejected of 4 that were merged: 4/3 of a rejected observation in each weak run.
    outliers = [4 * 4 / 3 / (4 * 16 / 3 + 24), 4 / (16 + 32)]
    np.testing.assert_allclose(traces["rejected (%)"]["y"][:2], 100 * np.array(outliers), rtol=1e-4)
    assert traces["complete (%)"]["x"][0] == 0.5 * (1 + 10)
    (band,) = figures["a"]["layout"]["shapes"]
    assert (band["x0"], band["x1"]) == (1.5, 2.5)
    assert parts.image_figures({"sweeps": [sweep]}, {}) == {}


def test_hundreds_of_data_sets_make_a_few_small_figures() -> None:
    n = 400
    names = [f"set {k}" for k in range(n)]
    rng = np.random.default_rng(6)
    r_merge = rng.uniform(0.05, 0.2, n).round(4).tolist()
    shells = {key: rng.uniform(0.1, 0.9, (n, 10)).round(4).tolist() for key in ("cc", "r_merge", "i_over_sigma")}
    shells |= {"completeness": shells["cc"], "d_max": [5.0] * 10, "d_min": [2.0] * 10, "identifier": names}
    by_data_set = {"identifier": names, "r_merge": r_merge, "cc_rest": [0.9] * n}
    component = {"name": "scale", "parameters": [1.0], "sigmas": [0.1]}
    model = {"type": "KB", "components": [component]}
    document = {
        "datasets": [{"identifier": name, "excluded_images": [], "model": model} for name in names],
        "analyses": {
            "by_shell": shells,
            "by_data_set": by_data_set,
            "by_image": {"sweeps": [sweep_entry(name, 50) for name in names]},
        },
    }
    figures = overview.overview_figures(document)
    assert set(figures) == {
        "summary",
        "multiples",
        "maps-scale",
        "maps-r",
        *(f"shells-{k}" for k in ("cc", "r", "signal", "completeness")),
    }
    assert len(json.dumps(figures)) < 600_000
    worst = figures["multiples"]["data"]
    expected = sorted(range(n), key=lambda k: -r_merge[k])[: len(worst)]
    assert [t["name"] for t in worst] == [names[k] for k in expected]
    notes = [a["text"] for a in figures["multiples"]["layout"]["annotations"]]
    assert notes == [f"#{k}" for k in expected]


@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ([8.0, 80.0], {10, 20, 50}),
        ([25.0, 45.0], {25, 30, 40}),
        ([1e-3, 1e3], {0.01, 1, 100}),
        ([None, -1.0, 0.0], {1}),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_numbers(values: list[float | None], seen: set[float]) -> None:
    axis = plots.log_axis("I/σ", values)
    known = [v for v in values if v is not None and v > 0] or [1.0]
    inside = {v for v in axis["tickvals"] if min(known) <= v <= max(known)}
    assert seen <= inside and len(inside) <= 8
    assert [float(t) for t in axis["ticktext"]] == axis["tickvals"]


def test_errors_below_the_last_decimal_are_not_zero() -> None:
    assert fixed_with_sigma(0.7123, 0.0021, 2) == "0.71 ± 0.01"
    assert fixed_with_sigma(0.7123, 0.031, 2) == "0.71 ± 0.03"
    assert fixed_with_sigma(0.7123, None, 2) == "0.71"
    assert fixed_with_sigma(None, 0.1, 2) == MISSING
