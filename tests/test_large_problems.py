"""Fits and uncertainties without the normal matrix, beside those with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from pyscale import _core
from pyscale.components import Axis, ComponentModel
from pyscale.gauge import Gauge, dense_covariance, find_gauge
from pyscale.joint_model import JointModel, RestraintRows
from pyscale.large_covariance import large_covariance
from pyscale.minimiser import Minimiser, are_loosely_linked
from pyscale.scaling_model import DataSetModel
from pyscale.typing import FloatArray, IndexArray, IntArray

N_NODES = 4
AXIS = Axis("image_z", N_NODES, 0.02).over(np.array([0.0, 100.0]))


@dataclass
class Linked:
    """Data sets that have reflections in common, intensities with known scales, and weights."""

    joint: JointModel
    observations: _core.Observations
    data_set: IntArray
    offsets: IndexArray
    problem: _core.FitProblem

    @property
    def label(self) -> IntArray:
        return np.zeros(len(self.joint.models), np.int32)


def linked(members: list[list[int]], n_sets: int, seed: int, *, shared_surface: bool = False) -> Linked:
    """A job whose groups hold observations of the given data sets, one list for each group."""
    rng = np.random.default_rng(seed)
    kinds = [("scale", "smooth_scale", 1.0), ("decay", "smooth_decay", 0.0)]
    components = [ComponentModel(n, k, np.full(N_NODES, v), axes=(AXIS,)) for n, k, v in kinds]
    if shared_surface:
        components.append(ComponentModel("absorption", "absorption", np.zeros(8), shared=True))
    joint = JointModel([DataSetModel("physical", tuple(components)) for _ in range(n_sets)])
    sizes = np.array([len(m) for m in members])
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    data_set = np.concatenate(members).astype(np.int32)
    group = np.repeat(np.arange(sizes.size), sizes)
    n = data_set.size
    image_z, x = rng.uniform(0, 100, n), np.repeat(rng.uniform(0.005, 0.1, sizes.size), sizes)
    directions = rng.normal(size=(2, n, 3))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    observations = _core.Observations(
        data_set, image_z, x, directions[0], directions[1], np.zeros(0), np.zeros(0), np.zeros(0)
    )
    true = np.where(joint.scale_like(), rng.uniform(0.5, 2.0, joint.n_parameters), rng.normal(0, 2, joint.n_parameters))
    true = np.where(np.arange(true.size) >= n_sets * 2 * N_NODES, 0.02 * true, true)
    g = _core.inverse_scale_factors(joint.core, observations, true)
    intensity = g * rng.exponential(1000.0, sizes.size)[group]
    sigma = 3.0 + 0.03 * intensity
    problem = _core.FitProblem(joint.core, observations, intensity + sigma * rng.normal(size=n), offsets, 2)
    problem.set_weights(1.0 / sigma**2)
    return Linked(joint, observations, data_set, offsets, problem)


def chain(seed: int, n_sets: int = 100) -> Linked:
    """Data sets each of which overlaps its neighbours only."""
    rng = np.random.default_rng(seed)
    members = [[k, k + 1, int(rng.integers(k, k + 2))] for k in range(n_sets - 1) for _ in range(60)]
    return linked(members, n_sets, seed)


def crowd(seed: int, n_sets: int = 30, *, shared_surface: bool = False) -> Linked:
    """Data sets all of which overlap."""
    rng = np.random.default_rng(seed)
    members = [sorted(rng.integers(0, n_sets, 12).tolist()) for _ in range(400)]
    return linked(members, n_sets, seed, shared_surface=shared_surface)


CASES = {
    "chain": lambda: chain(1),
    "crowd": lambda: crowd(2),
    "shared": lambda: crowd(3, shared_surface=True),
}


def holding(case: Linked) -> RestraintRows:
    """A mild pull on every parameter, which keeps scale and B in place."""
    joint = case.joint
    null = np.where(joint.scale_like(), 1.0, 0.0)
    parts = [RestraintRows.single(np.flatnonzero(null == t).astype(np.int32), float(t), 0.5) for t in (0.0, 1.0)]
    return RestraintRows.join(parts)


@pytest.mark.parametrize("name", CASES)
def test_both_forms_of_the_matrix_lead_to_the_same_scales(name: str) -> None:
    case = CASES[name]()
    case.problem.set_restraints(*holding(case).arrays)
    g = []
    for is_iterative in (False, True):
        minimiser = Minimiser(case.problem, case.joint, case.data_set, case.offsets, 2, is_iterative)
        result = minimiser.run(case.joint.parameters, "LevMar", 1e-10, 100, solver_tolerance=1e-6)
        assert result.termination == "converged"
        g.append(_core.inverse_scale_factors(case.joint.core, case.observations, result.parameters))
    np.testing.assert_allclose(g[1], g[0], rtol=1e-6)


@pytest.mark.parametrize("engine", ["GaussNewton", "SimpleLBFGS"])
def test_other_engines_end_at_the_same_scales(engine: str) -> None:
    case = crowd(4)
    case.problem.set_restraints(*holding(case).arrays)
    minimiser = Minimiser(case.problem, case.joint, case.data_set, case.offsets, 2)
    start = case.joint.parameters
    wanted = minimiser.run(start, "LevMar", 1e-10)
    found = minimiser.run(start, engine, 1e-9)  # type: ignore[arg-type]
    assert found.cost == pytest.approx(wanted.cost, rel=1e-6)
    g = [_core.inverse_scale_factors(case.joint.core, case.observations, r.parameters) for r in (wanted, found)]
    np.testing.assert_allclose(g[1], g[0], rtol=2e-3)


def test_a_failing_step_of_gauss_newton_is_taken_over() -> None:
    case = chain(5, n_sets=4)  # nothing holds scale and B: the undamped matrix is singular
    minimiser = Minimiser(case.problem, case.joint, case.data_set, case.offsets, 1)
    result = minimiser.run(case.joint.parameters, "GaussNewton", 1e-8)
    assert result.engine in ("LevMar", "GaussNewton")
    wanted = minimiser.run(case.joint.parameters, "LevMar", 1e-8)
    assert result.cost == pytest.approx(wanted.cost, rel=1e-5)


def fitted(case: Linked) -> FloatArray:
    case.problem.set_restraints(*holding(case).arrays)
    minimiser = Minimiser(case.problem, case.joint, case.data_set, case.offsets, 2)
    parameters = minimiser.run(case.joint.parameters, "LevMar", 1e-9).parameters
    case.problem.set_restraints(*RestraintRows.join([]).arrays)
    return parameters


def gauge_of(case: Linked, parameters: FloatArray, matrix: FloatArray) -> Gauge:
    sums = case.problem.gauge_sums(parameters, case.label, 1)
    return find_gauge(case.joint, sums, lambda d: np.einsum("kp,pq,kq->k", d, matrix, d), parameters, case.label)


@pytest.mark.parametrize("name", CASES)
def test_uncertainties_of_large_problems_are_within_5_percent_of_exact_ones(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many modes for each data set as a job of a thousand data sets has.
    monkeypatch.setattr("pyscale.large_covariance._MOST_MODES", 4 * 100)
    case = CASES[name]()
    parameters = fitted(case)
    matrix = case.problem.normal_equations(parameters)[2]
    gauge = gauge_of(case, parameters, matrix)
    assert len(gauge.directions) == 2
    exact = dense_covariance(case.joint, gauge, matrix)
    large = large_covariance(
        case.problem, case.joint, RestraintRows.join([]), parameters, gauge, seed=42, is_loose=name == "chain"
    )
    assert exact.undetermined == [] and large.undetermined == []
    sigma = [
        np.sqrt(_core.local_scale_factor_variances(case.joint.core, case.observations, parameters, c.local.values))
        for c in (exact, large)
    ]
    ratio = sigma[1] / sigma[0]
    assert np.quantile(np.abs(ratio - 1.0), 0.95) < 0.05
    assert np.abs(ratio - 1.0).max() < 0.15
    if name == "chain":  # where blocks alone will not do
        blocks = np.sqrt(
            _core.local_scale_factor_variances(
                case.joint.core,
                case.observations,
                parameters,
                Minimiser(case.problem, case.joint, case.data_set, case.offsets, 1, True)
                .normal(parameters)
                .covariance()
                .values,
            )
        )
        assert np.median(blocks / sigma[0]) < 0.8


def test_chains_are_told_from_crowds() -> None:
    for case, expected in ((chain(1), True), (crowd(2), False), (linked([list(range(200))] * 20, 200, 3), False)):
        assert are_loosely_linked(case.data_set, case.offsets, len(case.joint.models)) is expected


def test_what_a_data_set_leaves_open_is_named() -> None:
    rng = np.random.default_rng(6)
    members = [sorted(rng.integers(0, 10, 8).tolist()) for _ in range(200)] + [[0, 10]]
    case = linked(members, 11, 6)  # the last data set has one observation for eight parameters
    parameters = case.joint.parameters
    gauge = gauge_of(case, parameters, case.problem.normal_equations(parameters)[2])
    large = large_covariance(case.problem, case.joint, RestraintRows.join([]), parameters, gauge, seed=1)
    assert len(large.undetermined) == 7
    first = 10 * 2 * N_NODES
    assert all(((numbers >= first) & (numbers < first + 2 * N_NODES)).all() for numbers in large.undetermined)
