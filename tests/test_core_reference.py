"""Intensities known beforehand in the core: the same as one more observation of each group with g = 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pyscale import _core
from pyscale.components import Axis, ComponentModel
from pyscale.error_model import expected_intensity
from pyscale.joint_model import JointModel, RestraintRows
from pyscale.outliers import find_outliers
from pyscale.scaling_model import DataSetModel
from pyscale.typing import FloatArray

N_GROUPS = 60
AXIS = Axis("image_z", 6, 0.04).over(np.array([0.0, 100.0]))


@dataclass
class Rows:
    data_set: Any
    image_z: FloatArray
    half_inv_d2: FloatArray
    s0: FloatArray
    s1: FloatArray
    intensity: FloatArray
    weight: FloatArray

    def __len__(self) -> int:
        return self.data_set.size

    def core(self) -> _core.Observations:
        return _core.Observations(self.data_set, self.image_z, self.half_inv_d2, self.s0, self.s1)

    def reordered(self, order: Any) -> Rows:
        return Rows(*(np.ascontiguousarray(getattr(self, name)[order]) for name in self.__dataclass_fields__))


def case() -> tuple[JointModel, Rows, Any, FloatArray, FloatArray]:
    """Two data sets, groups of one to five rows, and references for two thirds of the groups."""
    rng = np.random.default_rng(17)
    group = np.repeat(np.arange(N_GROUPS), rng.integers(1, 6, N_GROUPS))
    n = group.size

    def directions() -> FloatArray:
        v = rng.normal(size=(n, 3))
        return np.ascontiguousarray(v / np.linalg.norm(v, axis=1)[:, None])

    true = rng.uniform(50.0, 500.0, N_GROUPS)
    models = [
        DataSetModel(
            "physical",
            (
                ComponentModel("scale", "smooth_scale", 1 + 0.2 * rng.normal(size=6), axes=(AXIS,)),
                ComponentModel("decay", "constant_decay", rng.normal(size=1)),
                ComponentModel("absorption", "absorption", 0.05 * rng.normal(size=8)),
            ),
        )
        for _ in range(2)
    ]
    rows = Rows(
        rng.integers(0, 2, n).astype(np.int32),
        rng.uniform(0.0, 100.0, n),
        0.5 * rng.uniform(0.01, 0.3, N_GROUPS)[group],
        directions(),
        directions(),
        true[group] * rng.uniform(0.5, 2.0, n),
        np.where(rng.uniform(size=n) < 0.1, 0.0, 1.0 / true[group]),
    )
    weight = np.where(rng.uniform(size=N_GROUPS) < 0.67, 3.0 / true, 0.0)
    return JointModel(models), rows, group, true * rng.uniform(0.9, 1.1, N_GROUPS), weight


def problem_of(joint: JointModel, rows: Rows, group: Any) -> _core.FitProblem:
    offsets = np.searchsorted(group, np.arange(N_GROUPS + 1)).astype(np.int64)
    problem = _core.FitProblem(joint.core, rows.core(), rows.intensity, offsets, 2)
    problem.set_weights(rows.weight)
    problem.set_restraints(*RestraintRows.join([]).arrays)
    return problem


def with_rows_for_references(
    joint: JointModel, rows: Rows, group: Any, known: FloatArray, weight: FloatArray
) -> tuple[JointModel, Rows, Any]:
    """The references as rows of a third data set whose scale is 1."""
    one = ComponentModel("scale", "constant_scale", np.ones(1), held=True)
    where = np.flatnonzero(weight > 0)
    n = where.size
    extra = Rows(
        np.full(n, 2, np.int32),
        np.zeros(n),
        np.zeros(n),
        np.zeros((n, 3)),
        np.zeros((n, 3)),
        known[where],
        weight[where],
    )
    joined = Rows(*(np.concatenate([getattr(rows, name), getattr(extra, name)]) for name in rows.__dataclass_fields__))
    groups = np.concatenate([group, where])
    order = np.argsort(groups, kind="stable")
    return JointModel([*joint.models, DataSetModel("KB", (one,))]), joined.reordered(order), groups[order]


def test_a_reference_is_one_more_observation_with_g_of_one() -> None:
    joint, rows, group, known, weight = case()
    problem = problem_of(joint, rows, group)
    problem.set_reference(known, weight)
    other_joint, other_rows, other_group = with_rows_for_references(joint, rows, group, known, weight)
    other = problem_of(other_joint, other_rows, other_group)
    p = joint.parameters
    n = p.size
    cost, half_gradient, matrix = problem.normal_equations(p)
    expected = other.normal_equations(np.append(p, 1.0))
    assert cost == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(half_gradient, expected[1][:n], atol=1e-12 * np.abs(half_gradient).max())
    np.testing.assert_allclose(matrix, expected[2][:n, :n], atol=1e-12 * np.abs(matrix).max())
    assert (problem.n_observations, problem.n_groups) == (other.n_observations, other.n_groups)
    assert problem.cost(p) == pytest.approx(cost, rel=1e-14)
    np.testing.assert_allclose(problem.cost_and_half_gradient(p)[1], half_gradient, rtol=1e-10)
    rows_of_others = np.repeat(np.arange(len(other_rows)), np.diff(other.jacobian(np.append(p, 1.0))["row_offsets"]))
    found, wanted = problem.jacobian(p), other.jacobian(np.append(p, 1.0))
    own = (other_rows.data_set < 2)[rows_of_others] & (wanted["column"] < n)
    np.testing.assert_array_equal(found["column"], wanted["column"][own])
    np.testing.assert_allclose(found["value"], wanted["value"][own], rtol=1e-10)
    label = np.zeros(3, np.int32)
    sums, wanted_sums = problem.gauge_sums(p, label[:2], 1), other.gauge_sums(np.append(p, 1.0), label, 1)
    # ln g = 0 and x = 0 of the extra rows
    for name in ("x", "x_squared", "ln_g", "x_ln_g"):
        np.testing.assert_allclose(sums[name], wanted_sums[name], rtol=1e-12)
    np.testing.assert_allclose(sums["mean"], wanted_sums["mean"][:, :n], rtol=1e-10)


def test_derivatives_by_differences() -> None:
    joint, rows, group, known, weight = case()
    problem = problem_of(joint, rows, group)
    problem.set_reference(known, weight)
    p = joint.parameters
    _, half_gradient, _ = problem.normal_equations(p)
    steps = 1e-5 * np.eye(p.size)
    numerical = np.array([(problem.cost(p + s) - problem.cost(p - s)) / 2e-5 for s in steps])
    np.testing.assert_allclose(2 * half_gradient, numerical, atol=1e-6 * np.abs(numerical).max())
    slopes = np.array(
        [(problem.jacobian(p + s)["residual"] - problem.jacobian(p - s)["residual"]) / 2e-5 for s in steps]
    )
    j = problem.jacobian(p)
    dense = np.zeros((len(rows), p.size))
    np.add.at(dense, (np.repeat(np.arange(len(rows)), np.diff(j["row_offsets"])), j["column"]), j["value"])
    np.testing.assert_allclose(dense, slopes.T, atol=1e-6 * np.abs(slopes).max())


def test_a_great_weight_fixes_the_intensity_of_the_group() -> None:
    joint, rows, group, known, _ = case()
    problem = problem_of(joint, rows, group)
    problem.set_reference(known, np.full(N_GROUPS, 1e9))
    p = joint.parameters
    cost, half_gradient, matrix = problem.normal_equations(p)
    g = _core.inverse_scale_factors(joint.core, rows.core(), p)
    residual = rows.intensity - known[group] * g
    slopes = np.array(
        [
            (
                _core.inverse_scale_factors(joint.core, rows.core(), p + s)
                - _core.inverse_scale_factors(joint.core, rows.core(), p - s)
            )
            / 2e-6
            for s in 1e-6 * np.eye(p.size)
        ]
    )
    derivative = known[group] * slopes
    # basis values are kept in single precision
    assert cost == pytest.approx(np.sum(rows.weight * residual**2), rel=1e-6)
    np.testing.assert_allclose(
        half_gradient, -derivative @ (rows.weight * residual), atol=1e-6 * np.abs(half_gradient).max()
    )
    np.testing.assert_allclose(matrix, (derivative * rows.weight) @ derivative.T, atol=1e-6 * np.abs(matrix).max())


def test_a_single_observation_suffices_where_there_is_a_reference() -> None:
    joint, rows, group, known, weight = case()
    problem = problem_of(joint, rows, group)
    n = np.bincount(group, rows.weight > 0, N_GROUPS)
    assert problem.n_groups == np.sum(n > 1) and problem.n_observations == n[n > 1].sum()
    problem.set_reference(known, weight)
    with_reference = n + ((weight > 0) & (n > 0))
    assert np.any((n == 1) & (weight > 0))
    assert problem.n_groups == np.sum(with_reference > 1)
    assert problem.n_observations == with_reference[with_reference > 1].sum()
    problem.set_reference(known, np.zeros(N_GROUPS))
    assert problem.n_groups == np.sum(n > 1)


@pytest.mark.parametrize("bad", ["negative", "nan weight", "nan intensity", "length"])
def test_references_that_are_no_numbers_are_refused(bad: str) -> None:
    joint, rows, group, known, weight = case()
    problem = problem_of(joint, rows, group)
    first = int(np.argmax(weight > 0))
    if bad == "length":
        with pytest.raises(ValueError, match="weight"):
            problem.set_reference(known, weight[:-1].copy())
        return
    (known if bad == "nan intensity" else weight)[first] = -1.0 if bad == "negative" else np.nan
    with pytest.raises(_core.CoreDataError, match="reference of group"):
        problem.set_reference(known, weight)


def test_expected_intensities_have_the_reference_as_one_more_observation() -> None:
    _, rows, group, known, weight = case()
    rng = np.random.default_rng(3)
    g = rng.uniform(0.5, 2.0, len(rows))
    offsets = np.searchsorted(group, np.arange(N_GROUPS + 1)).astype(np.int64)
    found = expected_intensity(rows.intensity, rows.weight, g, offsets, reference=(known, weight))
    top = np.bincount(group, rows.weight * g * rows.intensity, N_GROUPS) + weight * known
    bottom = np.bincount(group, rows.weight * g**2, N_GROUPS) + weight
    usable = bottom[group] > 0
    np.testing.assert_allclose(found[usable], (g * (top / bottom)[group])[usable], rtol=1e-12)


def outliers(intensity: list[float], reference: tuple[float, float] | None) -> list[int]:
    n = len(intensity)
    known = None if reference is None else (np.array([reference[0]]), np.array([reference[1]]))
    args = (np.array(intensity), np.ones(n), np.full(n, 2.0), np.array([0, n], dtype=np.int64))
    return np.flatnonzero(find_outliers(*args, zmax=6.0, reference=known)).tolist()


def test_a_single_observation_is_judged_by_the_reference() -> None:
    # z = |I - g T| / (1/w + g^2 V_T)^1/2 with g = 2: its standard deviation is 5^1/2 for V_T = 1
    for factor, expected in ((5.9, []), (6.1, [0])):
        assert outliers([200.0 + factor * 5**0.5], (100.0, 1.0)) == expected
    assert outliers([1000.0], None) == []
    assert outliers([1000.0], (100.0, 0.0)) == []


def test_the_reference_decides_which_of_two_is_wrong() -> None:
    assert outliers([200.0, 260.0], None) == []
    assert outliers([200.0, 260.0], (100.0, 1.0)) == [1]


def test_observations_that_agree_outvote_the_reference() -> None:
    assert outliers([200.0, 201.0, 199.0, 200.5], (150.0, 1.0)) == []
    assert outliers([200.0, 201.0, 199.0, 200.5, 300.0], (150.0, 1.0)) == [4]
