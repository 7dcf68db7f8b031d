"""Estimated resolution limits against known truth: the limits, their standard errors, and what defeats them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, isotonic_regression

import pyscale
from pyscale.analysis.crossings import cc_half_curve, correlation_variance, curve_crossing, decreasing
from pyscale.errors import UsageError
from pyscale.options import AUTO, ScalingOptions
from pyscale.reflections import Flag
from pyscale.result import ScalingResult

EDGE = 0.36
FALL, SIZE = 11.0, 20.0
PARTS = np.array([1, 2, 3])


def shells(rng: np.random.Generator, size: float = SIZE, m: int = 6000, n: int = 40) -> dict[str, Any]:
    """Merged halves of Wilson-distributed intensities with unit errors, in shells of equal numbers."""
    s2 = rng.uniform(0.02**1.5, EDGE**1.5, m) ** (2 / 3)
    true = size * np.exp(-FALL * s2) * rng.exponential(size=m)
    parts = rng.choice(PARTS, m)
    halves = true + rng.normal(size=(2, m)) / np.sqrt(parts)
    z = halves.mean(axis=0) * np.sqrt(2 * parts)
    edges = np.quantile(s2, np.linspace(0, 1, n + 1))
    k = np.clip(np.searchsorted(edges, s2, side="right") - 1, 0, n - 1)
    groups = [np.flatnonzero(k == j) for j in range(n)]
    return {
        "x": np.array([s2[g].mean() for g in groups]),
        "cc": np.array([np.corrcoef(halves[0, g], halves[1, g])[0, 1] for g in groups]),
        "n": np.array([len(g) for g in groups]),
        "z": np.array([z[g].mean() for g in groups]),
        "v": np.array([z[g].var(ddof=1) / len(g) for g in groups]),
    }


def expected_cc_half(s2: float) -> float:
    variance = (SIZE * math.exp(-FALL * s2)) ** 2
    return float(variance / (variance + np.mean(1 / PARTS)))


def expected_i_over_sigma(s2: float) -> float:
    return float(SIZE * math.exp(-FALL * s2) * np.mean(np.sqrt(2 * PARTS)))


def test_limits_and_their_errors_are_right() -> None:
    rng = np.random.default_rng(1)
    truth = [brentq(lambda s: expected_cc_half(s) - 0.3, 0, 1), brentq(lambda s: expected_i_over_sigma(s) - 2, 0, 1)]
    pulls = []
    for _ in range(100):
        d = shells(rng)
        curve = cc_half_curve(d["x"], d["cc"], d["n"])
        assert curve is not None
        found = (curve.crossing(0.3, EDGE), curve_crossing(d["x"], d["z"], d["v"], 2.0, EDGE))
        assert all(f.state == "reached" for f in found)
        pulls.append([(f.d_star_sq - t) / f.sigma for f, t in zip(found, truth, strict=True)])
    mean, width = np.mean(pulls, axis=0), np.std(pulls, axis=0)
    assert np.all(np.abs(mean) < 0.6)
    assert np.all((width > 0.7) & (width < 1.25))


def test_variance_of_correlations() -> None:
    rng = np.random.default_rng(2)
    for rho in (0.1, 0.3, 0.7):
        noise = math.sqrt(1 / rho - 1)
        true = rng.exponential(size=(4000, 400))
        halves = [true + noise * rng.normal(size=true.shape) for _ in range(2)]
        a, b = (h - h.mean(axis=1, keepdims=True) for h in halves)
        r = np.sum(a * b, axis=1) / np.sqrt(np.sum(a * a, axis=1) * np.sum(b * b, axis=1))
        assert correlation_variance(np.array(rho), np.array(400.0)) == pytest.approx(r.var(), rel=0.15)


def test_an_ice_ring_moves_no_limit() -> None:
    d = shells(np.random.default_rng(3))
    curve = cc_half_curve(d["x"], d["cc"], d["n"])
    iced = d["cc"].copy()
    iced[25] = 0.1
    other = cc_half_curve(d["x"], iced, d["n"])
    assert curve is not None and other is not None
    before, after = curve.crossing(0.3, EDGE), other.crossing(0.3, EDGE)
    assert abs(after.d_star_sq - before.d_star_sq) < before.sigma
    z = d["z"].copy()
    z[31] *= 3
    before, after = (curve_crossing(d["x"], v, d["v"], 2.0, EDGE) for v in (d["z"], z))
    assert abs(after.d_star_sq - before.d_star_sq) < 2 * before.sigma


def test_strong_weak_and_few_data() -> None:
    rng = np.random.default_rng(4)
    d = shells(rng, size=1e4)
    curve = cc_half_curve(d["x"], d["cc"], d["n"])
    assert curve is not None and curve.crossing(0.3, EDGE).state == "data_end"
    assert curve_crossing(d["x"], d["z"], d["v"], 2.0, EDGE).state == "data_end"
    for seed in range(10):
        d = shells(np.random.default_rng(seed), size=1e-3)
        curve = cc_half_curve(d["x"], d["cc"], d["n"])
        assert curve is not None and curve.crossing(0.3, EDGE).state in ("nowhere", "undetermined")
        assert curve_crossing(d["x"], d["z"], d["v"], 2.0, EDGE).state == "nowhere"
    assert cc_half_curve(d["x"][:3], d["cc"][:3], d["n"][:3]) is None
    assert curve_crossing(d["x"][:3], d["z"][:3], d["v"][:3], 2.0, EDGE).state == "undetermined"


def test_rising_and_straight_curves() -> None:
    x = np.linspace(0.01, 0.3, 40)
    v = np.full(40, 1e-4)
    rising = curve_crossing(x, 0.05 * np.exp(12 * x), v * 0.05 * np.exp(24 * x), 0.5, 0.31, rises=True)
    assert rising.d_star_sq == pytest.approx(math.log(10) / 12, rel=1e-6)
    straight = curve_crossing(x, np.minimum(1.0, 1.6 - 4 * x), v, 0.5, 0.31, link="identity")
    assert straight.d_star_sq == pytest.approx(1.1 / 4, rel=0.03)
    assert straight.d == pytest.approx(straight.d_star_sq**-0.5)


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(0.1, 10)), min_size=1, max_size=30))
def test_monotone_fit(pairs: list[tuple[float, float]]) -> None:
    values, weights = np.array(pairs).T
    reference = isotonic_regression(values, weights=weights, increasing=False).x
    assert decreasing(values, weights) == pytest.approx(reference, abs=1e-9)


WEAK = {"unit_cell": (30.0, 40.0, 50.0, 90.0, 90.0, 90.0), "d_min": 1.7, "wilson_b": 40.0, "mean_intensity": 10.0}


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A set that fades before its edge."""
    folder = tmp_path_factory.mktemp("weak")
    return [str(p) for p in pyscale.simulate(**WEAK, sweep_width=120.0, seed=3).write(folder)[:2]]


@pytest.fixture(scope="module")
def results(weak: list[str]) -> tuple[ScalingResult, ScalingResult]:
    return pyscale.scale(pyscale.read(*weak)), pyscale.scale(pyscale.read(*weak), d_min="auto")


def flagged(result: ScalingResult, flag: Flag) -> np.ndarray:
    return (result.table["flags"] & np.uint64(int(flag))) != 0


def test_auto_leaves_out_what_is_beyond_and_changes_no_scale(results: tuple[ScalingResult, ScalingResult]) -> None:
    whole, cut = results
    resolution = whole.analyses.resolution
    assert resolution is not None and resolution.suggested is not None
    limit = resolution.suggested
    assert limit.d_min is not None and 1.7 < limit.d_min < 3.0
    assert np.array_equal(whole.inverse_scale_factor, cut.inverse_scale_factor)
    assert cut.statistics.overall.d_min >= limit.d_min
    assert cut.limits.decisions["cut_data.d_min"].value == pytest.approx(limit.d_min, abs=1e-4)

    d, merged = cut.table["d"], flagged(cut, Flag.scaled)
    beyond = flagged(cut, Flag.user_excluded_in_scaling)
    assert np.array_equal(
        beyond, (d > 0) & (d < limit.d_min) & (flagged(whole, Flag.scaled) | flagged(whole, Flag.outlier_in_scaling))
    )
    assert not np.any(beyond & (merged | flagged(cut, Flag.outlier_in_scaling)))
    (entry,) = cut.ledger
    assert entry.user_excluded == {"d_min_auto": int(beyond.sum())}
    assert entry.merged == int(merged.sum()) == cut.statistics.overall.n_obs
    assert (
        entry.read
        == sum(
            [entry.partials_merged, *entry.filtered.values(), *entry.user_excluded.values(), *entry.rejected.values()]
        )
        + entry.merged
    )


def test_auto_is_what_the_number_would_merge(results: tuple[ScalingResult, ScalingResult]) -> None:
    whole, cut = results
    limit = cut.limits.decisions["cut_data.d_min"].value
    inside = (whole.table["d"] >= limit) & flagged(whole, Flag.scaled)
    assert np.array_equal(inside, flagged(cut, Flag.scaled))


def test_merging_what_was_written_agrees(results: tuple[ScalingResult, ScalingResult]) -> None:
    cut = results[1]
    merged = pyscale.merge(cut)
    statistics = merged.data_sets[0].statistics.overall
    assert (statistics.n_obs, statistics.n_unique) == (cut.statistics.overall.n_obs, cut.statistics.overall.n_unique)
    assert merged.rows.left_out["user_excluded"] == cut.ledger[0].user_excluded["d_min_auto"]


def test_the_document_says_so(results: tuple[ScalingResult, ScalingResult]) -> None:
    document = results[1].to_dict()
    (decisions,) = document["decisions"].values()
    assert decisions["cut_data.d_min"]["reason"].startswith("CC1/2 = 0.3: ")
    assert document["options"]["cut_data"]["d_min"] == "auto"
    criteria = [limit["criterion"] for limit in document["analyses"]["resolution"]["limits"]]
    assert criteria == ["cc_half", "i_over_sigma", "i_over_sigma", "shell_completeness", "r_meas"]


def test_other_criterion(weak: list[str], results: tuple[ScalingResult, ScalingResult]) -> None:
    cut = pyscale.scale(pyscale.read(*weak), d_min="auto", criterion="i_over_sigma", cc_half=None)
    resolution = results[0].analyses.resolution
    assert resolution is not None
    expected = next(limit.d_min for limit in resolution.limits if limit.criterion == "i_over_sigma")
    assert cut.limits.decisions["cut_data.d_min"].value == pytest.approx(expected, abs=1e-4)
    assert cut.analyses.resolution is not None
    assert all(limit.criterion != "cc_half" for limit in cut.analyses.resolution.limits)


def test_strong_data_lose_nothing(tmp_path: Any) -> None:
    files = pyscale.simulate(d_min=3.0, sweep_width=90.0, seed=1).write(tmp_path)[:2]
    result = pyscale.scale(pyscale.read(*files), d_min="auto")
    resolution = result.analyses.resolution
    assert resolution is not None and resolution.suggested is None and resolution.chosen is not None
    assert resolution.chosen.state == "data_end" and resolution.chosen.d_min == resolution.data_d_min
    assert result.ledger[0].user_excluded == {} and result.warnings() == []
    assert "not reached before the data end" in resolution.text()


def test_too_few_reflections_warn(tmp_path: Any) -> None:
    files = pyscale.simulate(d_min=8.0, sweep_width=90.0, seed=1).write(tmp_path)[:2]
    result = pyscale.scale(pyscale.read(*files), d_min="auto")
    assert result.analyses.resolution is None
    assert any(w.startswith("d_min: no limit") for w in result.warnings())
    assert result.limits.decisions["cut_data.d_min"].value is None


def test_the_option() -> None:
    assert ScalingOptions().cut_data.d_min is None
    options = pyscale.options.options_from_keywords(d_min="auto")
    assert (options[0] if isinstance(options, tuple) else options).cut_data.d_min is AUTO
    with pytest.raises(UsageError, match=r"resolution\.cc_half"):
        pyscale.options.options_from_keywords(cc_half=1.5)
