"""The target, the minimiser, the gauge and the covariance of the core, on problems with a known answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from pyscale import _core
from pyscale.components import Axis, ComponentModel, ComponentRestraint
from pyscale.gauge import Gauge, GaugeDirection, dense_covariance, find_gauge, fix_gauge, parameter_covariance
from pyscale.joint_model import JointModel, RestraintRows
from pyscale.scaling_model import DataSetModel
from pyscale.typing import FloatArray

N_NODES = 6
AXIS = Axis("image_z", N_NODES, 0.04).over(np.array([0.0, 100.0]))
THREADS = [2, 3, 8]


def component(name: str, rng: np.random.Generator) -> ComponentModel:
    """A component some way off its null value."""
    if name == "smooth_scale":
        return ComponentModel("scale", "smooth_scale", 1 + 0.2 * rng.normal(size=N_NODES), axes=(AXIS,))
    if name == "smooth_decay":
        return ComponentModel("decay", "smooth_decay", rng.normal(size=N_NODES), axes=(AXIS,))
    if name == "absorption":
        return ComponentModel("absorption", "absorption", 0.05 * rng.normal(size=15))
    if name == "constant_scale":
        return ComponentModel("scale", "constant_scale", rng.uniform(0.5, 2.0, 1))
    return ComponentModel("decay", "constant_decay", rng.normal(size=1))


@dataclass
class Case:
    """A fit of models to simulated intensities. `truth` are the parameters they were made with."""

    joint: JointModel
    rows: _core.Observations
    offsets: Any
    intensity: FloatArray
    weight: FloatArray
    truth: FloatArray

    def problem(self, n_threads: int = 1, restraint: float = 0.0) -> _core.FitProblem:
        problem = _core.FitProblem(self.joint.core, self.rows, self.intensity, self.offsets, n_threads)
        problem.set_weights(self.weight)
        every = np.arange(self.joint.n_parameters, dtype=np.int32)
        problem.set_restraints(*RestraintRows.single(every, 0.0, restraint).arrays)
        return problem


def make_case(
    *data_sets: tuple[str, ...],
    noise: float = 0.1,
    n_groups: int = 150,
    z_range: tuple[float, float] = (0.0, 100.0),
) -> Case:
    """Data sets of the named components share all groups; residuals are `noise` of the intensity."""
    rng = np.random.default_rng(11)
    joint = JointModel([DataSetModel("physical", tuple(component(c, rng) for c in names)) for names in data_sets])
    sizes = rng.integers(1, 12, n_groups)
    group = np.repeat(np.arange(n_groups), sizes)
    n = len(group)

    def directions() -> FloatArray:
        v = rng.normal(size=(n, 3))
        return np.ascontiguousarray(v / np.linalg.norm(v, axis=1)[:, None])

    rows = _core.Observations(
        rng.integers(0, len(data_sets), n).astype(np.int32),
        rng.uniform(*z_range, n),
        rng.uniform(0.01, 0.3, n_groups)[group],
        directions(),
        directions(),
    )
    truth = joint.parameters
    expected = _core.inverse_scale_factors(joint.core, rows, truth) * rng.uniform(10, 1000, n_groups)[group]
    intensity = expected * (1 + noise * rng.normal(size=n))
    weight = 1 / (5 + expected)
    weight[rng.uniform(size=n) < 0.05] = 0.0
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Case(joint, rows, offsets, intensity, weight, truth)


CASES: dict[str, Callable[[], Case]] = {
    "smooth scale": lambda: make_case(("smooth_scale",)),
    "smooth decay": lambda: make_case(("smooth_decay",)),
    "absorption": lambda: make_case(("absorption",)),
    "constant scales": lambda: make_case(("constant_scale",), ("constant_scale",)),
    "constant decays": lambda: make_case(("constant_decay",), ("constant_decay",)),
    "physical": lambda: make_case(("smooth_scale", "smooth_decay", "absorption")),
    "KB": lambda: make_case(("constant_scale", "constant_decay"), ("constant_scale", "constant_decay")),
    "mixed": lambda: make_case(
        ("smooth_scale", "smooth_decay", "absorption"), ("constant_scale", "constant_decay"), ("smooth_scale",)
    ),
}


def dense(jacobian: dict[str, Any], n_parameters: int) -> FloatArray:
    offsets = jacobian["row_offsets"]
    result = np.zeros((len(offsets) - 1, n_parameters))
    np.add.at(result, (np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), jacobian["column"]), jacobian["value"])
    return result


def central_difference(function: Callable[[FloatArray], Any], at: FloatArray, h: float) -> FloatArray:
    steps = h * np.eye(len(at))
    return np.array([(function(at + s) - function(at - s)) / (2 * h) for s in steps])


@pytest.mark.parametrize("name", CASES)
def test_derivatives_equal_central_differences(name: str) -> None:
    case = CASES[name]()
    problem, p = case.problem(restraint=0.3), case.truth
    cost, half_gradient, matrix = problem.normal_equations(p)
    assert cost > 100.0
    assert problem.cost(p) == pytest.approx(cost, rel=1e-13)
    assert problem.cost_and_half_gradient(p)[0] == pytest.approx(cost, rel=1e-13)
    np.testing.assert_allclose(problem.cost_and_half_gradient(p)[1], half_gradient, rtol=1e-10, atol=1e-9 * cost)
    differences = central_difference(problem.cost, p, 1e-5)
    scale = np.abs(differences).max()
    np.testing.assert_allclose(2 * half_gradient, differences, atol=1e-7 * scale, rtol=0)

    jacobian = dense(problem.jacobian(p), len(p))
    slopes = central_difference(lambda q: problem.jacobian(q)["residual"], p, 1e-5).T
    np.testing.assert_allclose(jacobian, slopes, atol=1e-7 * np.abs(slopes).max(), rtol=0)
    normal = jacobian.T @ (case.weight[:, None] * jacobian) + 0.3 * np.eye(len(p))
    np.testing.assert_allclose(matrix, normal, atol=1e-9 * np.abs(normal).max(), rtol=0)


@pytest.mark.parametrize("name", ["physical", "mixed"])
def test_cost_is_the_sum_over_groups_with_the_mean_eliminated(name: str) -> None:
    case = CASES[name]()
    g = _core.inverse_scale_factors(case.joint.core, case.rows, case.truth)
    expected, n, groups = 0.0, 0, 0
    for first, last in zip(case.offsets[:-1], case.offsets[1:], strict=True):
        w, i, s = case.weight[first:last], case.intensity[first:last], g[first:last]
        if np.count_nonzero(w) < 2:
            continue
        mean = np.sum(w * s * i) / np.sum(w * s * s)
        expected += np.sum(w * (i - s * mean) ** 2)
        n, groups = n + np.count_nonzero(w), groups + 1
    problem = case.problem()
    # basis values are kept in single precision
    assert problem.cost(case.truth) == pytest.approx(expected, rel=1e-6)
    assert (problem.n_observations, problem.n_groups) == (n, groups)


def big_case() -> Case:
    return make_case(("smooth_scale", "smooth_decay", "absorption"), ("constant_scale",), n_groups=4000)


@pytest.mark.parametrize("n_threads", THREADS)
def test_same_bits_for_any_number_of_threads(n_threads: int) -> None:
    case = big_case()

    def everything(n: int) -> list[Any]:
        problem = case.problem(n, restraint=0.1)
        fit = _core.minimise(problem, case.truth * 1.01, max_iterations=5)
        sums = problem.gauge_sums(case.truth, np.zeros(2, np.int32), 1)
        covariance = 1e-4 * np.eye(len(case.truth))
        core = case.joint.core
        return [
            *problem.normal_equations(case.truth),
            fit["parameters"],
            fit["matrix"],
            fit["final_cost"],
            fit["n_iterations"],
            *sums.values(),
            *problem.jacobian(case.truth).values(),
            _core.inverse_scale_factors(core, case.rows, case.truth, n),
            _core.inverse_scale_factor_variances(core, case.rows, case.truth, covariance, n),
        ]

    for one, many in zip(everything(1), everything(n_threads), strict=True):
        np.testing.assert_array_equal(one, many)


def common_gauge(case: Case, problem: _core.FitProblem, parameters: FloatArray) -> FloatArray:
    label = np.zeros(len(case.joint.models), np.int32)
    for _ in range(3):
        sums = problem.gauge_sums(parameters, label, 1)
        matrix = problem.normal_equations(parameters)[2]
        gauge = find_gauge(case.joint, sums, forms_of(matrix), parameters, label)
        parameters = fix_gauge(gauge, sums, parameters, case.joint)
    return parameters


def test_threads_of_python_share_a_problem() -> None:
    """At once, some with several threads of the core each: what each finds is what one finds alone."""
    case = make_case(("smooth_scale", "absorption"), ("smooth_scale",))
    problem = case.problem(2)
    begin = threading.Barrier(8)

    def found(k: int) -> Any:
        begin.wait()
        accepted: list[bool] = []

        def follow(summary: _core.IterationSummary) -> bool:
            accepted.append(summary.accepted)
            return True

        fit = _core.minimise(problem, case.truth * (1.01 + 0.001 * (k % 2)), on_iteration=follow, n_threads=1 + k % 3)
        return fit["parameters"].tobytes(), problem.cost(case.truth), tuple(accepted)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(found, range(8)))
    assert all(any(accepted) for _, _, accepted in results)
    assert results == results[:2] * 4


@pytest.mark.parametrize("name", ["physical", "KB", "mixed"])
def test_noiseless_data_give_the_true_parameters_up_to_the_gauge(name: str) -> None:
    sets = {
        "physical": [("smooth_scale", "smooth_decay", "absorption")],
        "KB": [("constant_scale", "constant_decay")] * 3,
        "mixed": [("smooth_scale", "smooth_decay", "absorption"), ("constant_scale", "constant_decay")],
    }[name]
    case = make_case(*sets, noise=0.0, n_groups=300)
    problem = case.problem()
    start = case.joint.scale_like().astype(np.float64)
    fit = _core.minimise(problem, start, cost_tolerance=1e-14)
    assert fit["termination"] in ("converged", "no_further_decrease")
    assert fit["final_cost"] < 1e-10 * fit["initial_cost"]
    found, truth = (common_gauge(case, problem, p) for p in (fit["parameters"], case.truth))
    np.testing.assert_allclose(found, truth, atol=2e-6)
    assert np.abs(fit["parameters"] - case.truth).max() > 1e-3


def test_the_minimum_does_not_depend_on_the_start() -> None:
    case = make_case(("smooth_scale", "smooth_decay"), n_groups=300)
    problem = case.problem(restraint=0.5)
    rng = np.random.default_rng(2)
    starts = [case.truth, case.truth + 0.1 * rng.normal(size=len(case.truth))]
    ends = [_core.minimise(problem, s, cost_tolerance=1e-13) for s in starts]
    np.testing.assert_allclose(ends[0]["parameters"], ends[1]["parameters"], atol=1e-5)
    _, half_gradient, matrix = problem.normal_equations(ends[0]["parameters"])
    assert half_gradient @ np.linalg.solve(matrix, half_gradient) < 1e-10 * ends[0]["final_cost"]


def test_reasons_for_stopping() -> None:
    case = make_case(("smooth_scale", "smooth_decay"), n_groups=200)
    problem = case.problem(restraint=0.5)
    start = case.joint.scale_like().astype(np.float64)
    seen: list[Any] = []
    converged = _core.minimise(problem, start, on_iteration=lambda it: seen.append(it) or True)
    assert converged["termination"] == "converged"
    assert len(seen) == converged["n_iterations"] > 2
    accepted = [it.cost for it in seen if it.accepted]
    assert np.all(np.diff(accepted) < 0)
    assert converged["final_cost"] == accepted[-1] < converged["initial_cost"]

    short = _core.minimise(problem, start, max_iterations=1)
    assert (short["termination"], short["n_iterations"]) == ("max_iterations", 1)
    assert converged["final_cost"] < short["final_cost"] < short["initial_cost"]

    stopped = _core.minimise(problem, start, on_iteration=lambda it: it.index < 1)
    assert (stopped["termination"], stopped["n_iterations"]) == ("stopped_by_caller", 2)

    failed = _core.minimise(problem, np.full(len(start), np.nan))
    assert failed["termination"] == "failed"
    assert "not finite" in failed["message"]

    exhausted = _core.minimise(problem, converged["parameters"], max_iterations=500, cost_tolerance=1e-300)
    assert exhausted["termination"] in ("no_further_decrease", "converged")
    assert exhausted["final_cost"] <= converged["final_cost"]


def test_an_error_in_the_callback_reaches_the_caller() -> None:
    case = make_case(("smooth_scale",))

    def interrupt(_: Any) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _core.minimise(case.problem(restraint=0.1), case.truth, on_iteration=interrupt)


def forms_of(matrix: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """From directions d (k, p) to d^T matrix d (k,)."""
    return lambda directions: np.einsum("kp,pq,kq->k", directions, matrix, directions)


def gauge_arrays(case: Case, problem: _core.FitProblem, parameters: FloatArray) -> tuple[Any, Any, Any]:
    label = np.zeros(len(case.joint.models), np.int32)
    matrix = problem.normal_equations(parameters)[2]
    gauge = find_gauge(case.joint, problem.gauge_sums(parameters, label, 1), forms_of(matrix), parameters, label)
    return matrix, *gauge.arrays(len(parameters))


def in_gauge(matrix: FloatArray, direction: FloatArray, functional: FloatArray) -> FloatArray:
    """Covariance by restriction to the subspace functional @ dp = 0: a way apart from the core's."""
    size = 1 / np.sqrt(np.diag(matrix))
    _, _, rows = np.linalg.svd(functional * size)
    basis = size[:, None] * rows[len(functional) :].T
    inverse: FloatArray = basis @ np.linalg.inv(basis.T @ matrix @ basis) @ basis.T
    return inverse


@pytest.mark.parametrize(
    "sets",
    [
        [("smooth_scale", "smooth_decay", "absorption")],
        [("constant_scale", "constant_decay")] * 3,
        [("smooth_scale", "smooth_decay", "absorption"), ("constant_scale", "constant_decay")],
    ],
)
def test_covariance_is_the_inverse_within_the_gauge(sets: list[tuple[str, ...]]) -> None:
    case = make_case(*sets, n_groups=400)
    problem = case.problem()
    matrix, direction, functional = gauge_arrays(case, problem, case.truth)
    assert len(direction) == 2
    result = _core.gauge_covariance(matrix, direction, functional)
    expected = in_gauge(matrix, direction, functional)
    size = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(result["covariance"] / np.outer(size, size), expected / np.outer(size, size), atol=1e-6)
    left = np.abs(functional @ result["covariance"])
    assert (left <= 1e-9 * (np.abs(functional) @ np.abs(result["covariance"]))).all()
    assert len(result["undetermined"]) == 0
    assert result["condition"] < 1e8


def test_small_entries_of_a_functional_do_not_make_parameters_undetermined() -> None:
    case = make_case(("smooth_scale", "smooth_decay", "absorption"), n_groups=400)
    matrix, direction, functional = gauge_arrays(case, case.problem(), case.truth)
    functional = functional.copy()
    functional[:, -1] = 1e-12
    result = _core.gauge_covariance(matrix, direction, functional)
    assert len(result["undetermined"]) == 0
    assert result["condition"] < 1e8


def test_restraints_count_as_information_but_not_as_parameters() -> None:
    case = make_case(("smooth_scale", "smooth_decay"), n_groups=200)
    matrix, direction, functional = gauge_arrays(case, case.problem(), case.truth)
    names = ("scale", "decay")
    gauge = Gauge(tuple(GaugeDirection(n, 0, d, f) for n, d, f in zip(names, direction, functional, strict=True)))
    free = parameter_covariance(
        case.joint, gauge, dense_covariance(case.joint, gauge, matrix), RestraintRows.join([]), 1.0, 1000, 100
    )
    assert free.effective_parameters == pytest.approx(len(case.truth) - 2)
    strong = ComponentRestraint("null", 1e9, 1e9, 1e9)
    restrained = JointModel(
        [
            m.with_components([replace(c, restraints=(strong,)) if c.name == "decay" else c for c in m.components])
            for m in case.joint.models
        ]
    )
    restraints = restrained.restraint_rows()
    assert len(restraints) == N_NODES  # one for each single parameter: their matrix is diagonal
    first = Gauge(gauge.directions[:1])
    whole = matrix + np.diag(restraints.diagonal(restrained.n_parameters))
    unit = dense_covariance(restrained, first, whole)
    result = parameter_covariance(restrained, first, unit, restraints, 1.0, 1000, 100)
    assert result.effective_parameters == pytest.approx(N_NODES - 1, abs=1e-2)


def test_nodes_without_data_are_reported_as_undetermined() -> None:
    case = make_case(("smooth_scale", "smooth_decay"), n_groups=300, z_range=(0.0, 40.0))
    problem = case.problem()
    matrix, direction, functional = gauge_arrays(case, problem, case.truth)
    empty = np.diag(matrix) == 0
    assert empty.sum() >= 2
    result = _core.gauge_covariance(matrix, direction, functional)
    taking_part = (np.abs(result["undetermined"]) > 1e-3).any(axis=0)
    assert taking_part[empty].all()
    assert len(result["undetermined"]) >= empty.sum()
    assert not taking_part[[0, 1, N_NODES, N_NODES + 1]].any()
    restrained = _core.gauge_covariance(matrix + np.eye(len(empty)), direction, functional)
    assert len(restrained["undetermined"]) == 0


def restrain(case: Case, row_offsets: list[int], column: list[int], value: list[float]) -> None:
    """Set one restraint of unit weight to zero, perhaps a malformed one."""
    arrays = np.array(row_offsets, np.int64), np.array(column, np.int32), np.array(value)
    case.problem().set_restraints(*arrays, np.zeros(1), np.ones(1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.problem().set_weights(-c.weight), "weight"),
        (lambda c: c.problem().set_weights(np.full_like(c.weight, np.nan)), "weight"),
        (lambda c: c.problem().set_weights(c.weight[:-1]), "weight"),
        (lambda c: c.problem().cost(c.truth[:-1]), "parameters"),
        (lambda c: c.problem(restraint=-1.0), "restraint"),
        (lambda c: c.problem(restraint=np.inf), "restraint"),
        (lambda c: restrain(c, [0, 1], [len(c.truth)], [1.0]), "restraint"),
        (lambda c: restrain(c, [0, 1], [-1], [1.0]), "restraint"),
        (lambda c: restrain(c, [0, 2], [0], [1.0]), "restraint"),
        (lambda c: restrain(c, [0, 1], [0], [1.0, 1.0]), "restraint"),
        (lambda c: c.problem().set_held(np.zeros(len(c.truth) + 1, np.uint8)), "held"),
        (lambda c: _core.minimise(c.problem(), c.truth, max_iterations=0), "max_iterations"),
        (lambda c: _core.FitProblem(c.joint.core, c.rows, c.intensity[:-1], c.offsets), "intensity"),
    ],
)
def test_impossible_arguments_are_refused(change: Callable[[Case], Any], words: str) -> None:
    case = make_case(("smooth_scale",))
    with pytest.raises(ValueError, match=words):
        change(case)
