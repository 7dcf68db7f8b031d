"""R_d, R_cp and relative B against dose: plain loops, known damage, and no false alarm."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale import _core
from pyscale.analysis.radiation_damage import RadiationDamage
from pyscale.dataset import make_job
from pyscale.result import ScalingResult


def scaled(options: dict[str, Any] | None = None, **simulation: Any) -> ScalingResult:
    given = {"d_min": 3.2, "sweep_width": 180.0, "oscillation_width": 1.0, "mean_intensity": 300.0, "seed": 1}
    data = pyscale.simulate(**(given | simulation))
    return pyscale.scale(make_job(data.experiments(), [data.reflections()]), nproc=1, **(options or {}))


def damage_of(result: ScalingResult) -> RadiationDamage:
    found = result.analyses.radiation_damage
    assert found is not None
    return found


@pytest.fixture(scope="module")
def damaged() -> ScalingResult:
    return scaled(site_damage=0.15 / 180)


@pytest.fixture(scope="module")
def sound() -> ScalingResult:
    return scaled()


def plain_pairs(
    intensity: np.ndarray, dose: np.ndarray, series: np.ndarray, offsets: np.ndarray, width: float, n_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of differences, intensities and pairs, by difference and by larger dose: one pair after the other."""
    by_difference, by_dose = np.zeros((3, n_bins)), np.zeros((3, n_bins))
    for begin, end in pairwise(offsets.tolist()):
        for i in range(begin, end):
            for j in range(begin, i):
                if series[i] < 0 or series[i] != series[j]:
                    continue
                values = abs(intensity[i] - intensity[j]), 0.5 * (intensity[i] + intensity[j]), 1
                by_difference[:, min(int(abs(dose[i] - dose[j]) / width), n_bins - 1)] += values
                by_dose[:, min(int(max(dose[i], dose[j]) / width), n_bins - 1)] += values
    return by_difference, by_dose


@pytest.mark.parametrize("n_threads", [1, 3])
def test_pairs_equal_a_plain_loop(n_threads: int) -> None:
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 30, 400)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    n = int(offsets[-1])
    intensity, dose = rng.normal(100, 30, n), rng.uniform(0, 110, n)
    series = rng.integers(-1, 3, n).astype(np.int32)
    found = _core.pair_differences(intensity, dose, series, offsets, 0.0, 10.0, 10, 7, n_threads)
    expected = plain_pairs(intensity, dose, series, offsets, 10.0, 10)
    parts = np.array([v.reshape(7, 10).sum(axis=0) for v in found[0]])
    np.testing.assert_allclose(parts, expected[0], rtol=1e-12)
    np.testing.assert_allclose(np.array(found[1]), expected[1], rtol=1e-12)
    first = np.concatenate([np.arange(offsets[g], offsets[g + 1]) for g in range(0, 400, 7)])
    own = np.concatenate([[0], np.cumsum(sizes[::7])])
    of_part = plain_pairs(intensity[first], dose[first], series[first], own, 10.0, 10)[0]
    np.testing.assert_allclose([v[:10] for v in found[0]], of_part, rtol=1e-12)


def test_large_groups_are_thinned_evenly() -> None:
    n = 1000
    dose = np.random.default_rng(1).permutation(n).astype(float)
    (difference, _, n_pairs), _ = _core.pair_differences(
        dose, dose, np.zeros(n, np.int32), np.array([0, n]), 0.0, 50.0, 20, 1
    )
    assert n_pairs.sum() == 40 * 39 // 2
    assert difference[-1] > 0 and n_pairs[0] > 0
    np.testing.assert_allclose(difference / n_pairs, 50 * np.arange(20) + 25, atol=26)


def test_curves_are_those_of_the_scaled_observations(sound: ScalingResult) -> None:
    obs, found = sound.observations, damage_of(sound)
    merged = ~(sound.scaled.outlier | sound.scaled.small_scale | obs.absent)
    intensity = np.where(merged, obs.intensity / sound.scaled.g, 0.0)
    series = np.where(merged, 0, -1)
    by_difference, by_dose = plain_pairs(intensity, obs.image_z, series, obs.anomalous_offsets, 9.0, 20)
    np.testing.assert_allclose(found.r_d, by_difference[0] / by_difference[1], rtol=1e-9)
    np.testing.assert_allclose(found.r_cp, np.cumsum(by_dose[0]) / np.cumsum(by_dose[1]), rtol=1e-9)
    np.testing.assert_array_equal(found.n_pairs, by_difference[2])
    assert found.completeness[-1] == pytest.approx(sound.statistics.overall.completeness, rel=1e-12)
    assert np.all(np.diff(found.completeness) >= 0)


def test_site_specific_damage_is_told(damaged: ScalingResult) -> None:
    found = damage_of(damaged)
    assert found.trend is not None and found.trend.is_significant
    (warning,) = found.warnings()
    assert "Site-specific radiation damage" in warning and "exclude_images=" in warning
    assert warning in damaged.warnings()
    # Differences D apart vary by (k D)^2 beyond the noise, k = 0.15 / 180: 2.5 times the noise of 3 % and counting.
    assert found.trend.rise > 1.0
    first, last = (int(t) for t in warning.partition("exclude_images=")[2].partition(")")[0].split(":")[1:])
    assert 1 < first <= last == 180


def test_sound_data_raise_no_alarm(sound: ScalingResult) -> None:
    found = damage_of(sound)
    assert found.trend is not None and abs(found.trend.rise) < 0.3
    assert found.warnings() == []


def test_relative_b_shows_general_damage() -> None:
    found = damage_of(scaled(decay=60.0, truth="model", d_min=2.6))
    (decay,) = found.decay
    # B falls by 60 over 360 degrees, nodes vary by 5 % of that; absorption in part looks like B.
    assert decay.change == pytest.approx(-30.0, abs=max(4 * decay.sigma, 3.0))
    (warning,) = found.warnings()
    assert "relative B falls" in warning
    assert decay.remaining(2.0) == pytest.approx(math.exp(decay.change / 8))
    half = decay.image_of_half(2.6)
    share = (half - 1) / 179
    assert math.exp(share * decay.change / (2 * 2.6**2)) == pytest.approx(0.5, abs=0.02)


def test_dose_follows_the_options() -> None:
    options = {"dose_decay.dose_per_image": (0.5,), "same_crystal": True}
    result = scaled(options, n_sweeps=2, sweep_width=60.0, same_crystal=True, start_angles=(0.0, 90.0))
    found = damage_of(result)
    assert found.doses.shared and found.doses.span == pytest.approx(60.0)
    np.testing.assert_allclose(found.doses.start, [0.0, 30.0])
    document = found.to_dict()
    assert document["shared_crystal"] and document["bin_width"] == pytest.approx(3.0)
    assert found.doses.excluding(0.75).startswith(f"exclude_images={result.job.identifiers[1]}:31:60")
    given = {"dose_decay.dose_at_start": (5.0, 0.0)}
    found = damage_of(scaled(options | given, n_sweeps=2, sweep_width=60.0, same_crystal=True))
    np.testing.assert_allclose(found.doses.end, [35.0, 30.0])


def test_sweeps_of_different_crystals_are_not_compared() -> None:
    result = scaled(n_sweeps=2, sweep_width=60.0)
    found = damage_of(result)
    obs = result.observations
    merged = ~(result.scaled.outlier | result.scaled.small_scale | obs.absent)
    series = np.where(merged, obs.data_set, -1)
    by_difference, _ = plain_pairs(
        np.zeros(len(obs)), obs.image_z, series, obs.anomalous_offsets, found.width, found.r_d.size
    )
    np.testing.assert_array_equal(found.n_pairs, by_difference[2])


def test_simulated_damage_belongs_to_unique_reflections() -> None:
    given = {"d_min": 4.0, "sweep_width": 90.0, "oscillation_width": 1.0, "seed": 5, "n_sweeps": 2}
    data = pyscale.simulate(**given, site_damage=0.002, dose_at_start=(0.0, 90.0))
    plain = pyscale.simulate(**given)
    np.testing.assert_array_equal(data.truth["g"], plain.truth["g"])
    np.testing.assert_array_equal(plain.truth["damage"], 1.0)
    dose = data.truth["z"] + 90.0 * data.truth["id"]
    k = (data.truth["damage"] - 1.0) / dose
    order = np.argsort(data.truth["group"], kind="stable")
    same = data.truth["group"][order][1:] == data.truth["group"][order][:-1]
    clear = (data.truth["damage"][order] > 0) & (dose[order] > 1.0)
    both = same & clear[1:] & clear[:-1]
    np.testing.assert_allclose(k[order][1:][both], k[order][:-1][both], rtol=1e-6, atol=1e-9)
    unique = np.unique(data.truth["group"][clear.argsort()], return_index=True)[1]
    assert k[unique].std() == pytest.approx(0.002, rel=0.3)


def test_text_holds_the_curves(damaged: ScalingResult) -> None:
    text = damage_of(damaged).text()
    assert len(text.splitlines()) >= 22 and "R_d rises by" in text
