"""model=cross_validated: the score of held-out groups, what is tried, and what is chosen on data of known truth."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyscale
from pyscale.auto import plan_model
from pyscale.dataset import make_job
from pyscale.held_out import HeldOutScore, group_log_likelihood
from pyscale.model_plan import SweepFacts
from pyscale.model_variants import Variant, may_differ, planned
from pyscale.options import ScalingOptions, with_changes
from pyscale.result import ScalingResult


def options(**changes: Any) -> ScalingOptions:
    return with_changes(ScalingOptions(model="cross_validated"), {k.replace("__", "."): v for k, v in changes.items()})


def group(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(100.0, 30.0, n), rng.uniform(0.01, 0.1, n), rng.uniform(0.5, 2.0, n)


@given(st.integers(0, 100), st.integers(2, 6))
def test_score_is_the_integral_over_the_unknown_intensity(seed: int, n: int) -> None:
    """Against the integral of the Gaussian likelihood over I_h on a fine grid, in units of its own uncertainty."""
    intensity, weight, g = group(seed, n)
    precision = np.sum(weight * g * g)
    centre = np.sum(weight * g * intensity) / precision
    t = np.linspace(-8.0, 8.0, 4001)
    residual = intensity[:, None] - g[:, None] * (centre + t / np.sqrt(precision))
    log_integrand = -0.5 * np.sum(weight[:, None] * residual**2, axis=0)
    highest = log_integrand.max()
    integral = np.exp(log_integrand - highest).sum() * (t[1] - t[0]) / np.sqrt(2.0 * np.pi)
    found = group_log_likelihood(intensity, weight, g, np.array([0, n]))
    np.testing.assert_allclose(found[0], highest + np.log(integral), rtol=1e-9, atol=1e-9)


@given(st.integers(0, 100), st.floats(0.01, 100.0))
def test_score_does_not_know_the_overall_scale(seed: int, factor: float) -> None:
    intensity, weight, g = group(seed, 5)
    offsets = np.array([0, 2, 5])
    same = group_log_likelihood(intensity, weight, factor * g, offsets)
    np.testing.assert_allclose(same, group_log_likelihood(intensity, weight, g, offsets), rtol=1e-9, atol=1e-9)


def test_score_of_groups_of_one_is_nothing() -> None:
    intensity, g = np.array([1.0, 2.0, 3.0]), np.ones(3)
    found = group_log_likelihood(intensity, np.array([1.0, 1.0, 0.0]), g, np.array([0, 1, 3]))
    assert found.tolist() == [0.0, 0.0]


def test_score_prefers_the_true_scales() -> None:
    rng = np.random.default_rng(1)
    true, g = np.repeat(rng.uniform(50.0, 500.0, 300), 4), rng.uniform(0.5, 2.0, 1200)
    intensity, offsets = g * true + rng.normal(0.0, 5.0, 1200), np.arange(0, 1201, 4)
    weight = np.full(1200, 0.04)
    right = group_log_likelihood(intensity, weight, g, offsets).sum()
    for wrong in (np.ones(1200), g * np.exp(rng.normal(0.0, 0.05, 1200))):
        assert group_log_likelihood(intensity, weight, wrong, offsets).sum() < right - 10.0
    assert right == pytest.approx(-0.5 * 900, abs=100.0)


def score(log_likelihood: np.ndarray, fold: np.ndarray) -> HeldOutScore:
    return HeldOutScore([], 1, log_likelihood, fold)


def test_differences_are_paired() -> None:
    """A spread that both models share does not count."""
    rng = np.random.default_rng(2)
    fold = rng.permutation(1000) % 5
    common, gain = rng.normal(0.0, 1000.0, 1000), rng.normal(0.5, 1.0, 1000)
    difference, error = score(common + gain, fold).excess(score(common, fold))
    assert difference == pytest.approx(gain.sum())
    by_fold = [gain[fold == k].sum() for k in range(5)]
    spreads = [np.sqrt(5.0) * np.std(by_fold, ddof=1), np.sqrt(1000.0) * np.std(gain, ddof=1)]
    assert error == pytest.approx(max(spreads))


def test_differences_count_what_folds_differ_by() -> None:
    fold = np.arange(100) % 5
    gain = np.array([-3.0, -1.0, 0.0, 1.0, 3.0])[fold]
    difference, error = score(gain, fold).excess(score(np.zeros(100), fold))
    assert difference == pytest.approx(0.0)
    assert error == pytest.approx(np.sqrt(5.0) * 20.0 * np.std([-3.0, -1.0, 0.0, 1.0, 3.0], ddof=1))


def test_explicit_options_are_not_tried() -> None:
    assert may_differ(options()) == {"lmax", "scale", "decay", "image_scale", "array"}
    assert "array" not in may_differ(options(physical__decay_restraint=0.1))
    assert "lmax" not in may_differ(options(physical__absorption_correction=True))
    assert "lmax" not in may_differ(options(physical__absorption_level="low"))
    assert "scale" not in may_differ(options(physical__scale_interval=5.0))
    assert "scale" not in may_differ(options(physical__scale_correction=False))
    assert "decay" not in may_differ(options(physical__decay_interval=5.0))
    assert "decay" not in may_differ(options(physical__decay_correction=False))
    assert "image_scale" not in may_differ(options(physical__image_scale=False))


def test_variants_change_physical_plans_only() -> None:
    sweep = plan_model(SweepFacts(is_still=False, rotation_range_deg=180.0, max_scattering_angle_deg=40.0), options())
    still = plan_model(SweepFacts(is_still=True, rotation_range_deg=0.0, max_scattering_angle_deg=0.0), options())
    variant = Variant(lmax=6, scale=0.5, decay=2.0, image_scale=True)
    found, same = planned(variant, [sweep, still], options(), "because")
    assert same == still and still.model.value == "KB"
    assert (found.lmax.value, found.scale_interval.value, found.decay_interval.value) == (6, 7.5, 40.0)
    assert found.image_scale.value is True
    assert {d.reason for d in (found.absorption, found.lmax, found.scale_interval, found.decay_interval)} == {"because"}
    (plain,) = planned(Variant(lmax=0), [sweep], options(), "because")
    assert plain.absorption.value is False and plain.lmax is None and plain.surface_weight is None
    (array,) = planned(Variant(array=True, modulation=True), [sweep], options(), "because")
    assert array.model.value == "array" and array.modulation.value is True
    assert planned(Variant(), [sweep, still], options(), "because") == [sweep, still]


@functools.cache
def chosen(**distortions: float) -> ScalingResult:
    flat = {"scale_variation": 0.0, "decay": 0.0, "absorption": 0.0}
    settings: dict[str, Any] = {
        "n_sweeps": 1,
        "sweep_width": 90.0,
        "oscillation_width": 1.0,
        "d_min": 3.4,
        "mean_intensity": 1000.0,
        "seed": 4,
    }
    data = pyscale.simulate(**{**settings, **flat, **distortions})
    job = make_job(data.experiments(), [data.reflections()])
    return pyscale.scale(job, model="cross_validated", array={"n_modulation_bins": 5})


def component(result: ScalingResult, name: str) -> Any:
    return result.models[0].component(name)


def test_flat_data_get_a_simple_model() -> None:
    result = chosen()
    assert component(result, "absorption") is None and component(result, "image_scale") is None
    by_rules, taken = result.model_choice.tried[0], next(t for t in result.model_choice.tried if t.chosen)
    assert taken.n_parameters < by_rules.n_parameters
    assert taken.difference >= 0.0


def test_strong_absorption_keeps_its_surface() -> None:
    result = chosen(absorption=0.2)
    assert component(result, "absorption") is not None
    without = next(t for t in result.model_choice.tried if t.name == "no absorption")
    assert without.difference < -3.0 * without.standard_error


def test_unstable_beams_get_a_scale_per_image() -> None:
    assert component(chosen(jitter=0.1), "image_scale") is not None


def test_what_only_an_array_model_can_follow_gets_one() -> None:
    assert chosen(modulation=0.1).models[0].model == "array"


def test_decisions_table_and_document_say_what_was_tried() -> None:
    result = chosen(absorption=0.2)
    choice = result.model_choice
    document = result.to_dict()["model_choice"]
    assert document["n_folds"] == 5 and document["tried"] == [vars(t) for t in choice.tried]
    assert choice.tried[0].name == "rules" and choice.tried[0].difference == 0.0
    assert sum(t.chosen for t in choice.tried) == 1
    assert all(t.name in choice.table() for t in choice.tried)
    taken = next(t for t in choice.tried if t.chosen)
    assert taken.n_parameters == sum(m.n_parameters for m in result.models)
    (decisions,) = result.to_dict()["decisions"].values()
    changed = [d for d in decisions.values() if d["reason"] == choice.reason]
    assert bool(changed) == (taken.name != "rules")


def test_the_choice_does_not_depend_on_threads_but_on_the_seed() -> None:
    data = pyscale.simulate(n_sweeps=1, sweep_width=60.0, oscillation_width=2.0, d_min=3.8, seed=7)
    job = make_job(data.experiments(), [data.reflections()])

    def tried(**job_options: int) -> list[Any]:
        options = {"physical": {"decay_interval": 20.0}, "scaling_options": job_options}
        return pyscale.scale(job, model="cross_validated", **options).model_choice.tried

    assert tried(nproc=1) == tried(nproc=2)
    assert tried(nproc=1)[0].log_likelihood != tried(nproc=1, seed=8)[0].log_likelihood


def test_stills_leave_nothing_to_choose() -> None:
    data = pyscale.simulate(kind="stills", n_stills=30, d_min=3.0, seed=1)
    result = pyscale.scale(make_job(data.experiments(), [data.reflections()]), model="cross_validated")
    assert result.model_choice is None
    assert {m.model for m in result.models} == {"KB"}
