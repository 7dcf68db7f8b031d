"""What errors of scales add to merged intensities, against dense matrices and refitted noise."""

from __future__ import annotations

import numpy as np
import pytest

from pyscale import _core
from pyscale.components import Axis, ComponentModel
from pyscale.errors import DataError
from pyscale.joint_model import JointModel
from pyscale.local_covariance import BlockLayout, LocalCovariance
from pyscale.scaling_model import DataSetModel
from pyscale.typing import FloatArray, IndexArray
from test_core_derivatives import build, numerical


def mates_of(offsets: IndexArray, rng: np.random.Generator) -> IndexArray:
    """Groups cut in two at random, some not at all."""
    cuts = offsets[:-1] + rng.integers(0, np.diff(offsets))
    return np.unique(np.concatenate([offsets, cuts]))


def sums(values: FloatArray, offsets: IndexArray) -> FloatArray:
    return np.add.reduceat(values, offsets[:-1], axis=0)


class Case:
    """Random weights and a random covariance of few dimensions, so that scales err alike."""

    def __init__(self, name: str, n_threads: int = 1) -> None:
        _, self.joint, rows = build(name, given=True)
        rng = np.random.default_rng(6)
        self.offsets, n = rows.offsets, rows.group.size
        self.mates = mates_of(self.offsets, rng)
        self.weight = rng.uniform(0.1, 3.0, n) * (rng.random(n) > 0.2)
        self.problem = _core.FitProblem(self.joint.core, rows.core(), np.ones(n), self.offsets, n_threads)
        p = self.joint.parameters
        root = rng.normal(size=(p.size, 3))
        self.covariance = np.ascontiguousarray(1e-4 * root @ root.T)
        slopes = numerical(lambda q: np.log(_core.inverse_scale_factors(self.joint.core, rows.core(), q)), p)
        self.ln_g = slopes.T @ self.covariance @ slopes
        self.q = np.diag(self.ln_g).copy()

    def correlations(self) -> FloatArray:
        return self.problem.scale_correlations(
            self.joint.parameters, self.covariance, self.weight, self.q, self.offsets, self.mates
        )

    def added(self, correlation: FloatArray | None, offsets: IndexArray) -> FloatArray:
        """Relative variance of merged intensities, of groups with weight."""
        used = self.weight > 0
        size = sums(used.astype(np.int64), offsets)
        kept = np.concatenate([[0], np.cumsum(size[size > 0])]).astype(np.int64)
        r = None if correlation is None else np.ascontiguousarray(correlation[used])
        error = _core.common_scale_error(np.ones(used.sum()), 1 / self.weight[used], kept, self.q[used], r)
        return error**2

    def exact(self, offsets: IndexArray) -> FloatArray:
        """a^T C a / (sum w)^2 with a = sum w dln g/dp, dense."""
        w = np.zeros((len(offsets) - 1, self.weight.size))
        w[np.repeat(np.arange(len(w)), np.diff(offsets)), np.arange(self.weight.size)] = self.weight
        w = w[w.sum(axis=1) > 0]
        w /= w.sum(axis=1, keepdims=True)
        return np.einsum("hi,ij,hj->h", w, self.ln_g, w)


@pytest.mark.parametrize("name", ["image scale", "mixed", "array", "shared", "held", "grid over 3 axes"])
def test_what_scales_add_is_exact_with_mates_apart_and_together(name: str) -> None:
    case = Case(name)
    correlation = case.correlations()
    assert correlation.shape == (case.weight.size, 2)
    for column, offsets in enumerate((case.mates, case.offsets)):
        exact, bound = case.exact(offsets), case.added(None, offsets)
        found = case.added(correlation[:, column], offsets)
        np.testing.assert_allclose(found, exact, rtol=2e-5, atol=1e-6 * bound.max())
        assert (found <= bound * (1 + 1e-9)).all()
        assert np.mean(found < 0.9 * bound) > 0.1
        size = sums((case.weight > 0).astype(np.int64), offsets)
        single = size[size > 0] == 1
        assert single.any()
        np.testing.assert_array_equal(found[single], bound[single])
        assert np.ptp(correlation[:, column][offsets[0] : offsets[1]]) == 0
        assert (correlation[np.repeat(size < 2, np.diff(offsets)), column] == 1).all()


@pytest.mark.parametrize("name", ["shared", "mixed"])
def test_blocks_of_data_sets_give_an_upper_bound(name: str) -> None:
    case = Case(name)
    local = LocalCovariance.from_dense(BlockLayout.of(case.joint.core), case.covariance).values
    rest = (case.weight, case.q, case.offsets, case.mates)
    found = case.problem.local_scale_correlations(case.joint.parameters, local, *rest)
    for column, offsets in enumerate((case.mates, case.offsets)):
        variance, bound = case.added(found[:, column], offsets), case.added(None, offsets)
        assert (variance >= case.exact(offsets) * (1 - 1e-4) - 1e-6 * bound.max()).all()
        assert (variance <= bound * (1 + 1e-9)).all()
        assert (variance < 0.95 * bound).any()


def test_one_data_set_is_exact_by_its_block() -> None:
    case = Case("grid over 3 axes")
    local = LocalCovariance.from_dense(BlockLayout.of(case.joint.core), case.covariance).values
    rest = (case.weight, case.q, case.mates, case.mates)
    found = case.problem.local_scale_correlations(case.joint.parameters, local, *rest)
    np.testing.assert_allclose(case.added(found[:, 0], case.mates), case.exact(case.mates), rtol=2e-5, atol=1e-9)


def long_job(n_threads: int) -> FloatArray:
    n = 60_000
    rng = np.random.default_rng(1)
    axis = Axis("image_z", 120, 0.02).over(np.array([0.0, 5900.0]))
    models = [DataSetModel("physical", (ComponentModel("scale", "smooth_scale", np.ones(120), axes=(axis,)),))] * 2
    joint, none = JointModel(models), np.zeros((0, 3))
    z = rng.uniform(0, 5900, n)
    rows = _core.Observations(rng.integers(0, 2, n).astype(np.int32), z, np.full(n, 0.1), none, none)
    offsets = np.unique(np.concatenate([[0, n], rng.integers(0, n, 9000)])).astype(np.int64)
    problem = _core.FitProblem(joint.core, rows, np.ones(n), offsets, n_threads)
    root = 0.008 * rng.normal(size=(joint.n_parameters, 40))
    weight, q = rng.uniform(0.5, 2.0, n), np.full(n, 1e-3)
    return problem.scale_correlations(joint.parameters, root @ root.T, weight, q, offsets, mates_of(offsets, rng))


def test_same_bits_for_any_number_of_threads() -> None:
    one = long_job(1)
    np.testing.assert_array_equal(one, long_job(3))
    assert len(np.unique(one[:, 1])) > 1000


def test_impossible_input_is_refused() -> None:
    case = Case("grid over 1 axis")
    args = (case.joint.parameters, case.covariance)
    with pytest.raises(ValueError, match="mates"):
        case.problem.scale_correlations(*args, case.weight, case.q, case.mates, case.offsets)
    with pytest.raises(DataError, match="observation 0"):
        case.problem.scale_correlations(*args, case.weight - 9.0, case.q, case.offsets, case.mates)


def test_merged_means_of_refitted_noise_spread_as_said() -> None:
    """Two sweeps whose scales are known by equivalents only, those of a third are held."""
    n_groups, n_each, n_replicates = 30, 6, 400
    n, rng = n_groups * n_each, np.random.default_rng(3)
    axis = Axis("image_z", 5, 0.03).over(np.array([0.0, 100.0]))
    scale = ComponentModel("scale", "smooth_scale", np.ones(5), axes=(axis,))
    joint, none = JointModel([DataSetModel("physical", (scale,))] * 3), np.zeros((0, 3))
    held = np.zeros(joint.n_parameters, np.uint8)
    held[:5] = 1
    rows = _core.Observations(
        rng.integers(0, 3, n).astype(np.int32), rng.uniform(0, 100, n), np.full(n, 0.1), none, none
    )
    offsets = np.arange(0, n + 1, n_each, dtype=np.int64)
    true = np.where(held, 1.0, rng.uniform(0.8, 1.25, joint.n_parameters))
    g = _core.inverse_scale_factors(joint.core, rows, true)
    intensity = g * np.repeat(rng.uniform(500.0, 1500.0, n_groups), n_each)
    sigma = 0.03 * intensity
    problem = _core.FitProblem(joint.core, rows, intensity, offsets)
    problem.set_weights(sigma**-2)
    problem.set_held(held)
    covariance = np.linalg.inv(problem.normal_equations(true)[2])
    covariance[:5] = covariance[:, :5] = 0.0
    weight = g**2 / sigma**2
    q = _core.inverse_scale_factor_variances(joint.core, rows, true, covariance) / g**2
    r = np.ascontiguousarray(problem.scale_correlations(true, covariance, weight, q, offsets, offsets)[:, 1])
    mean, variance = sums(weight * intensity / g, offsets) / sums(weight, offsets), 1 / sums(weight, offsets)
    merged = []
    for _ in range(n_replicates):
        noisy = intensity + sigma * rng.normal(size=n)
        problem.set_intensity(noisy)
        fit = _core.minimise(problem, true, 20, 1e-10)["parameters"]
        scales = _core.inverse_scale_factors(joint.core, rows, fit)
        w = scales**2 / sigma**2
        merged.append(sums(w * noisy / scales, offsets) / sums(w, offsets))
    spread = np.var(merged, axis=0)
    common = [_core.common_scale_error(intensity / g, 1 / weight, offsets, q, x) for x in (r, None)]
    exact, bound = (variance + (mean * x) ** 2 for x in common)
    # the variance of one reflection is known to 7 %; those of scales are common to all
    assert np.mean(spread / exact) == pytest.approx(1.0, abs=0.07)
    assert np.corrcoef(spread - variance, exact - variance)[0, 1] > 0.8
    assert np.mean(spread / bound) < 0.9
