"""The simulation as a whole: noise, outliers, partials, seeds, bad options."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from pyscale.errors import UsageError
from pyscale.simulation import OUTLIER_KINDS, SimulatedData, SimulationOptions, simulate
from pyscale.typing import FloatArray


def column(data: SimulatedData, name: str) -> FloatArray:
    return np.concatenate([np.asarray(c[name], float) for c in data.columns])


def corrected(data: SimulatedData, method: str) -> tuple[FloatArray, FloatArray]:
    """Intensity and standard deviation as scaling sees them: LP, efficiency and, for sums, partiality."""
    factor = column(data, "lp") / column(data, "qe")
    if method == "sum":
        factor = factor / column(data, "partiality")
    value, variance = (column(data, f"intensity.{method}.{part}") for part in ("value", "variance"))
    return value * factor, np.sqrt(variance) * factor


def expected(data: SimulatedData) -> FloatArray:
    return np.asarray(data.truth["g"] * data.truth["I_own"])


def pulls(data: SimulatedData, method: str, *, reported: bool = True) -> FloatArray:
    value, sigma = corrected(data, method)
    return (value - expected(data)) / (sigma if reported else data.truth["sigma"])


@pytest.mark.parametrize("method", ["prf", "sum"])
@pytest.mark.parametrize("mean_intensity", [100.0, 5000.0])
def test_reported_variances_are_those_of_counting(method: str, mean_intensity: float) -> None:
    options = SimulationOptions(multiplicative_error=0.0, mean_intensity=mean_intensity, d_min=2.2, partials=0.1)
    data = simulate(options)
    pull = pulls(data, method)[~data.truth["outlier"]]
    assert np.sqrt((pull**2).mean()) == pytest.approx(1.0, abs=0.03)
    value, _ = corrected(data, method)
    ratio = value[~data.truth["outlier"]].sum() / expected(data)[~data.truth["outlier"]].sum()
    assert ratio == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("kind", ["rotation", "stills"])
def test_true_sigma_includes_the_multiplicative_error(kind: str) -> None:
    options = SimulationOptions(kind=kind, multiplicative_error=0.08, d_min=2.4, n_stills=200, mean_intensity=2000.0)
    data = simulate(options)
    method = "prf" if kind == "rotation" else "sum"
    normal = ~data.truth["outlier"]
    pull = pulls(data, method, reported=False)[normal]
    assert np.sqrt((pull**2).mean()) == pytest.approx(1.0, abs=0.03)
    assert abs(pull.mean()) < 0.03
    counting = corrected(data, method)[1]
    strong = normal & (expected(data) > 30 * counting)
    relative = (corrected(data, method)[0] / expected(data) - 1.0)[strong]
    spread = np.sqrt(0.08**2 + np.mean((counting / expected(data))[strong] ** 2))
    assert relative.std() == pytest.approx(spread, rel=0.05)


def test_profile_fitting_is_better_than_summation_for_weak_spots() -> None:
    data = simulate(SimulationOptions(d_min=2.4, mean_intensity=20.0))
    prf, total = (corrected(data, method)[1] for method in ("prf", "sum"))
    assert np.median(prf) < 0.8 * np.median(total)
    both = np.corrcoef(pulls(data, "prf"), pulls(data, "sum"))[0, 1]
    assert 0.3 < both < 0.99


def test_outliers_of_each_kind_stand_out_in_their_direction() -> None:
    data = simulate(SimulationOptions(d_min=2.0, outlier_fraction=0.02, multiplicative_error=0.0))
    kind, pull = data.truth["outlier_kind"], pulls(data, "prf")
    np.testing.assert_array_equal(kind > 0, data.truth["outlier"])
    assert np.mean(kind > 0) == pytest.approx(0.02, rel=0.1)
    by_name = {name: pull[kind == 1 + i] for i, name in enumerate(OUTLIER_KINDS)}
    assert min(len(p) for p in by_name.values()) > 30
    assert np.mean(by_name["zinger"] > 6) > 0.95
    assert np.mean(by_name["shadowed"] < -6) > 0.95
    assert np.mean(np.abs(by_name["swapped"]) > 6) > 0.9
    assert 5.0 < by_name["sigma"].std() < 13.0
    assert abs(by_name["sigma"].mean()) < 2.0
    assert np.mean(np.abs(pull[kind == 0]) > 6) < 1e-4


def test_only_the_asked_outlier_kinds_are_planted() -> None:
    some = simulate(SimulationOptions(d_min=3.0, outlier_fraction=0.1, outlier_kinds=("shadowed", "sigma")))
    assert set(np.unique(some.truth["outlier_kind"])) == {0, 2, 4}
    for options in (
        SimulationOptions(d_min=3.0, outlier_kinds=()),
        SimulationOptions(d_min=3.0, outlier_fraction=0.0),
    ):
        assert not simulate(options).truth["outlier"].any()


def test_outliers_leave_everything_else_as_it_was() -> None:
    clean = simulate(SimulationOptions(d_min=3.0, outlier_fraction=0.0))
    spoiled = simulate(SimulationOptions(d_min=3.0, outlier_fraction=0.05))
    for name in ("g", "I", "miller", "z"):
        np.testing.assert_array_equal(clean.truth[name], spoiled.truth[name])


def test_partials_share_an_id_and_sum_to_one() -> None:
    whole = simulate(SimulationOptions(d_min=2.6))
    data = simulate(SimulationOptions(d_min=2.6, partials=0.2))
    partial_id = data.columns[0]["partial_id"].astype(int)
    rows = np.bincount(partial_id)
    assert len(rows) == len(whole)
    assert set(np.unique(rows)) == {1, 2}
    assert np.mean(rows == 2) == pytest.approx(0.2, abs=0.02)
    total = np.bincount(partial_id, data.columns[0]["partiality"])
    inside = whole.columns[0]["partiality"] > 0.999
    assert inside.mean() > 0.95
    np.testing.assert_allclose(total[inside], 1.0, atol=1e-3)
    np.testing.assert_allclose(total, whole.columns[0]["partiality"], rtol=1e-12)
    first = np.unique(partial_id, return_index=True)[1]
    np.testing.assert_array_equal(data.columns[0]["miller_index"][first], whole.columns[0]["miller_index"])
    summed = np.bincount(partial_id, data.columns[0]["intensity.sum.value"])
    factor = (column(whole, "lp") / column(whole, "qe") / total) * (rows == 2)
    normal = ~data.truth["outlier"][first] & (rows == 2)
    deviation = (summed * factor / expected(whole) - 1.0)[normal & (expected(whole) > 300)]
    assert abs(np.median(deviation)) < 0.02
    assert np.median(np.abs(deviation)) < 0.1


def test_spots_at_the_ends_of_the_scan_are_cut() -> None:
    columns = simulate(SimulationOptions(d_min=2.6)).columns[0]
    z = columns["xyzcal.px"][:, 2]
    edge = np.minimum(z, 360 - z) * np.abs(columns["zeta"]) * 0.5
    assert columns["partiality"][edge < 1e-3].mean() == pytest.approx(0.5, abs=0.01)
    assert columns["partiality"][edge > 0.4].min() > 0.999


def test_rows_are_in_the_order_of_z_and_counted_once() -> None:
    data = simulate(SimulationOptions(n_sweeps=3, d_min=3.0))
    for k, columns in enumerate(data.columns):
        assert np.all(np.diff(columns["xyzcal.px"][:, 2]) >= 0)
        assert {len(v) for v in columns.values()} == {len(columns["id"])}
        assert set(columns["id"].tolist()) == {k}
    assert len(data) == sum(len(c["id"]) for c in data.columns)
    np.testing.assert_array_equal(data.truth["miller"], np.concatenate([c["miller_index"] for c in data.columns]))
    assert len(set(data.identifiers)) == 3


def test_default_is_a_demonstration() -> None:
    data = simulate()
    assert 30_000 <= len(data) <= 60_000
    multiplicity = len(data) / len(np.unique(data.truth["group"]))
    assert 5 < multiplicity < 12
    assert data.columns[0]["flags"][0] == 1 | 4 | 256 | 512


def test_keep_leaves_out_reflections_at_random() -> None:
    full = simulate(SimulationOptions(d_min=2.6, keep=1.0))
    half = simulate(SimulationOptions(d_min=2.6, keep=0.5))
    assert len(half) / len(full) == pytest.approx(0.5, abs=0.03)


def contents(data: SimulatedData) -> list[bytes]:
    arrays = [c[name] for c in data.columns for name in c] + list(data.truth.values())
    return [np.ascontiguousarray(a).tobytes() for a in arrays] + [json.dumps(data.document).encode()]


@pytest.mark.parametrize("kind", ["rotation", "stills"])
@pytest.mark.parametrize("truth", ["model", "smooth"])
def test_same_seed_same_bytes(kind: str, truth: str) -> None:
    options = SimulationOptions(kind=kind, truth=truth, d_min=3.5, n_stills=5, n_sweeps=2, partials=0.1, seed=7)
    assert contents(simulate(options)) == contents(simulate(options))
    other = simulate(dataclasses.replace(options, seed=8))
    assert not set(contents(other)) & {c for c in contents(simulate(options)) if len(c) > 10_000}
    assert set(other.identifiers).isdisjoint(simulate(options).identifiers)


def test_first_sweeps_do_not_depend_on_later_ones() -> None:
    one, three = (simulate(SimulationOptions(d_min=3.5, n_sweeps=n)) for n in (1, 3))
    for name, values in one.columns[0].items():
        np.testing.assert_array_equal(values, three.columns[0][name])


def test_stills_have_one_scale_each() -> None:
    data = simulate(SimulationOptions(kind="stills", n_stills=30, d_min=2.5, seed=3))
    for k in range(30):
        own = data.truth["id"] == k
        d = data.columns[k]["d"]
        scale, b = data.truth["stills/scale"][k], data.truth["stills/decay"][k]
        np.testing.assert_allclose(data.truth["g"][own], scale * np.exp(b / (2 * d**2)), rtol=1e-12)
        assert "intensity.prf.value" not in data.columns[k]
    spread = np.log(data.truth["stills/scale"]).std()
    assert 0.15 < spread < 0.5


def test_narrow_wedges() -> None:
    data = simulate(SimulationOptions(n_sweeps=5, sweep_width=0.8, oscillation_width=0.1, d_min=2.5, truth="model"))
    assert [s["image_range"] for s in data.document["scan"]] == [[1, 8]] * 5
    assert all(len(c["id"]) > 50 for c in data.columns)
    assert len(data.truth["sweep_4/scale"]) == 2


BAD: list[tuple[dict[str, Any], str]] = [
    ({"d_min": 0.4}, "wavelength"),
    ({"d_min": 0.4899, "wavelength": 0.98}, "d_min"),
    ({"unit_cell": (10.0, 10.0, 10.0, 90.0, 90.0, 180.0)}, "unit_cell"),
    ({"unit_cell": (10.0, 10.0, 10.0, 30.0, 30.0, 90.0)}, "no volume"),
    ({"unit_cell": (0.0, 10.0, 10.0, 90.0, 90.0, 90.0)}, "no volume"),
    ({"unit_cell": (10.0, float("nan"), 10.0, 90.0, 90.0, 90.0)}, "finite"),
    ({"space_group": "P 77"}, "space_group"),
    ({"space_group": "P 43 21 2"}, "does not fit"),
    ({"space_group": "P 3 2 1"}, "does not fit"),
    ({"d_min": 99.0}, "no reflection"),
    ({"detector_distance": 1e5}, "no reflection is recorded"),
    ({"keep": 1e-6, "d_min": 5.0}, "no reflection is recorded"),
    ({"kind": "laue"}, "rotation, stills"),
    ({"truth": "none"}, "model, smooth"),
    ({"outlier_kinds": ("zinger", "typo")}, "typo"),
    ({"outlier_fraction": 1.5}, "outlier_fraction"),
    ({"n_sweeps": 0}, "n_sweeps"),
    ({"n_sweeps": 3, "start_angles": (0.0, 10.0)}, "start_angles"),
    ({"oscillation_width": 200.0}, "oscillation_width"),
    ({"image_size": (0, 100)}, "image_size"),
    ({"rotation_axis": (0.0, 0.0, 0.0)}, "rotation_axis"),
    ({"unit_cell": (900.0, 900.0, 900.0, 90.0, 90.0, 90.0), "d_min": 0.6}, "raise d_min"),
    ({"n_sweeps": 100_000, "sweep_width": 360.0}, "fewer"),
    ({"seed": -1}, "seed"),
    ({"unit_cell": (10.0, 10.0, 10.0, 90.0, 90.0)}, "6 values"),
    ({"sweep_width": 3600.0, "oscillation_width": 1e-4}, "images"),
    ({"kind": "stills", "n_stills": 1_000_000}, "fewer stills"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_options_are_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        simulate(SimulationOptions(**changes))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_option_has_help() -> None:
    for item in dataclasses.fields(SimulationOptions):
        assert item.metadata["help"]
        if item.type in ("float", "int"):
            low, high = item.metadata["range"]
            assert low <= item.default <= high
