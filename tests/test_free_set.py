"""The free set: which groups it has, that nothing of the fit knows them, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.cli import main
from pyscale.dataset import Job, make_job
from pyscale.fit_weights import free_set_period
from pyscale.reflections import ReflectionTable
from pyscale.result import ScalingResult
from pyscale.simulation import SimulatedData


@pytest.fixture(scope="module")
def data() -> SimulatedData:
    return pyscale.simulate(d_min=3.8, sweep_width=90.0, oscillation_width=1.0, anomalous=0.05, seed=5)


def job_of(data: SimulatedData, table: ReflectionTable | None = None) -> Job:
    return make_job(data.experiments(), [data.reflections() if table is None else table])


@pytest.fixture(scope="module")
def result(data: SimulatedData) -> ScalingResult:
    return pyscale.scale(job_of(data), use_free_set=True, free_set_offset=3, nproc=1)


@pytest.mark.parametrize(("percentage", "period"), [(10.0, 10), (100.0 / 3.0, 3), (30.0, 3), (50.0, 2), (0.7, 142)])
def test_period(percentage: float, period: int) -> None:
    assert free_set_period(percentage) == period


def unique_index(obs: Any) -> np.ndarray:
    """P212121, Friedel mates merged: absolute values."""
    return np.abs(obs.miller_index)


def test_every_tenth_unique_group_is_free_whole(result: ScalingResult) -> None:
    index, free = unique_index(result.observations), result.fit.free
    order = np.unique(index, axis=0)
    number = [int(np.flatnonzero((order == h).all(axis=1))[0]) for h in index[::25]]
    first = {tuple(h): f for h, f in zip(index.tolist(), free.tolist(), strict=True)}
    assert all(first[tuple(h)] == f for h, f in zip(index.tolist(), free.tolist(), strict=True))
    assert sum(first.values()) == (len(order) - 3 + 9) // 10
    assert len(set(number)) > 20


@pytest.mark.parametrize("anomalous", [False, True])
def test_free_sets_share_nothing_and_leave_nothing(data: SimulatedData, anomalous: bool) -> None:
    results = [
        pyscale.scale(
            job_of(data), use_free_set=True, free_set_percentage=50, free_set_offset=k, anomalous=anomalous, nproc=1
        )
        for k in (0, 1)
    ]
    first, second = (r.fit.free for r in results)
    np.testing.assert_array_equal(first, ~second)
    obs = results[0].observations
    free = {tuple(h) for h in unique_index(obs)[first].tolist()}
    assert not free & {tuple(h) for h in unique_index(obs)[second].tolist()}


def test_nothing_of_the_fit_knows_the_free_set(data: SimulatedData, result: ScalingResult) -> None:
    """Other intensities in the free groups, up to outliers: models, error model and work statistics stay the same."""
    obs, table = result.observations, data.reflections()
    rows = obs.row[result.fit.free]
    rng = np.random.default_rng(0)
    for column in ("intensity.prf.value", "intensity.sum.value"):
        if column in table:
            values = table[column].copy()
            values[rows] *= np.exp(rng.normal(0.0, 0.05, rows.size))
            table[column] = values
    options = {"use_free_set": True, "free_set_offset": 3, "emax": None, "nproc": 1}
    changed = pyscale.scale(job_of(data, table), **options)
    plain = pyscale.scale(job_of(data), **options)
    assert changed.free_set.free != plain.free_set.free
    np.testing.assert_array_equal(changed.fit.parameters, plain.fit.parameters)
    assert changed.fit.error_model == plain.fit.error_model
    assert changed.fit.intensity_choice.common == plain.fit.intensity_choice.common
    assert changed.free_set.work == plain.free_set.work
    weights = [[c.restraints for m in r.models for c in m.components] for r in (changed, plain)]
    assert weights[0] == weights[1]


def test_a_fit_without_a_free_set_knows_all(data: SimulatedData, result: ScalingResult) -> None:
    whole = pyscale.scale(job_of(data), nproc=1)
    assert whole.free_set is None and not whole.fit.free.any()
    assert whole.fit.n_observations > result.fit.n_observations
    assert not np.array_equal(whole.fit.parameters, result.fit.parameters)


def test_free_reflections_are_scaled_and_merged(result: ScalingResult) -> None:
    merged = ~(result.fit.outlier | result.fit.small_scale | result.observations.absent)
    comparison = result.free_set
    assert comparison.free.n_observations == int((merged & result.fit.free).sum())
    assert comparison.work.n_observations + comparison.free.n_observations == result.statistics.overall.n_obs
    assert comparison.work.n_groups + comparison.free.n_groups == result.statistics.overall.n_unique


def by_group(result: ScalingResult, *, free: bool) -> list[np.ndarray]:
    merged = ~(result.fit.outlier | result.fit.small_scale | result.observations.absent)
    chosen = merged & (result.fit.free == free)
    return [np.flatnonzero(chosen & (result.observations.group == k)) for k in set(result.observations.group[chosen])]


@pytest.mark.parametrize("free", [False, True])
def test_agreement_against_sums_over_groups(result: ScalingResult, free: bool) -> None:
    y = result.observations.intensity / result.fit.g
    v = result.scaled.variance / result.fit.g**2
    spread = total = chi = freedom = 0.0
    for rows in (r for r in by_group(result, free=free) if r.size > 1):
        mean = np.average(y[rows], weights=1.0 / v[rows])
        spread += (rows.size / (rows.size - 1)) ** 0.5 * np.abs(y[rows] - mean).sum()
        total += y[rows].sum()
        chi += ((y[rows] - mean) ** 2 / v[rows]).sum()
        freedom += rows.size - 1
    agreement = result.free_set.free if free else result.free_set.work
    assert agreement.chi_squared == pytest.approx(chi / freedom)
    assert agreement.r_meas == pytest.approx(spread / total, rel=0.01)
    assert result.free_set.r_meas_gap == result.free_set.free.r_meas - result.free_set.work.r_meas
    assert result.free_set.cc_half_gap == result.free_set.work.cc_half - result.free_set.free.cc_half


def test_log_likelihood_is_an_integral_in_units_of_integration(result: ScalingResult) -> None:
    """Density of I_i / sigma_i with a prior that is flat in the intensity over its uncertainty by these sigmas."""
    obs, g = result.observations, result.fit.g
    held = result.free_set.held_out
    total = 0.0
    groups = [r for r in by_group(result, free=True) if r.size > 1]
    for rows in groups:
        sigma, sigma_model = np.sqrt(obs.variance[rows]), np.sqrt(result.scaled.variance[rows])
        unit = np.sum((g[rows] / sigma) ** 2) ** -0.5
        precision = np.sum((g[rows] / sigma_model) ** 2)
        centre = np.sum(g[rows] * obs.intensity[rows] / sigma_model**2) / precision
        t = centre + np.linspace(-9.0, 9.0, 4001) / precision**0.5
        residual = (obs.intensity[rows][:, None] - g[rows][:, None] * t) / sigma_model[:, None]
        log_density = -0.5 * np.sum(residual**2, axis=0) + np.log(sigma / sigma_model).sum()
        highest = log_density.max()
        integral = np.exp(log_density - highest).sum() * (t[1] - t[0]) / unit / np.sqrt(2.0 * np.pi)
        total += highest + np.log(integral)
    assert held.log_likelihood.size == len(groups)
    assert held.log_likelihood.sum() == pytest.approx(total, rel=1e-6)
    assert result.free_set.log_likelihood == pytest.approx(total / sum(r.size for r in groups))


def test_log_likelihood_knows_wrong_sigmas(result: ScalingResult) -> None:
    """Unlike the mean square deviation, it is best at the right ones."""
    from pyscale.free_set import compare_free_set

    def value(factor: float) -> float:
        sigma_squared = factor * result.scaled.variance
        found = compare_free_set(
            result.fit, sigma_squared, result.space_group, result.options, lambda _: result.statistics
        )
        return found.log_likelihood

    right = value(result.free_set.free.chi_squared)
    assert value(0.5) < right and value(2.0) < right


def test_threads_and_order_of_rows_make_no_difference(data: SimulatedData, result: ScalingResult) -> None:
    table = data.reflections()
    shuffled = table.select(np.random.default_rng(1).permutation(len(table)))
    other = pyscale.scale(job_of(data, shuffled), use_free_set=True, free_set_offset=3, nproc=2)
    assert other.free_set.to_dict() == result.free_set.to_dict()


def test_document_and_summary(result: ScalingResult) -> None:
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))["free_set"]
    assert document["offset"] == 3 and document["percentage"] == 10.0
    assert document["free"]["r_meas"] == result.free_set.free.r_meas
    assert result.free_set.table() in result.summary()


def test_report(result: ScalingResult) -> None:
    from pyscale.report import render_report

    page = render_report(result)
    assert "Whole groups of equivalents that took no part" in page
    assert f"<td>{result.free_set.free.r_meas:.4f}</td>" in page


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("free_set_offset=10", "there are 10 free sets of 10 %, 0 to 9"),
        ("free_set_percentage=60", "must be at most 50"),
        ("free_set_percentage=0", "must be at least 0.1"),
    ],
)
def test_silly_values(
    data: SimulatedData, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any, option: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    data.write(".")
    assert main(["scale", "simulated.expt", "simulated.refl", "use_free_set=True", option]) == 2
    assert message in capsys.readouterr().err


def test_too_few_groups_for_a_free_set(data: SimulatedData) -> None:
    table = data.reflections()
    index = np.abs(table["miller_index"])
    few = table.select(np.flatnonzero((index == index[len(table) // 2]).all(axis=1)))
    job = job_of(data, few)
    with pytest.raises(pyscale.DataError, match="too few for free set 0 of 10"):
        pyscale.scale(job, use_free_set=True, model="KB")


def test_parts_that_only_the_free_set_links_are_parts(make_observations: Any) -> None:
    from pyscale.fit_state import data_set_components
    from pyscale.fit_weights import FitWeights
    from pyscale.options import ScalingOptions, with_changes

    group, data_set = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 0, 1, 1])
    obs = make_observations(group, data_set, np.full(6, 10.0), np.ones(6))
    options = with_changes(
        ScalingOptions(), {"scaling_options.use_free_set": True, "scaling_options.free_set_percentage": 30.0}
    )
    free = FitWeights(replace(obs), options).free
    assert free.tolist() == [True, True, False, False, False, False]
    assert data_set_components(obs, ~free, 2).tolist() == [0, 1]
    assert data_set_components(obs, np.ones(6, np.bool_), 2).tolist() == [0, 0]
