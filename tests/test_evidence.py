"""Restraint weights from the data: simulated coefficients of known variance, and the limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscale.components import ComponentModel, ComponentRestraint
from pyscale.evidence import update_restraints
from pyscale.joint_model import JointModel
from pyscale.normal import DenseNormal
from pyscale.scaling_model import DataSetModel
from restraint_matrices import restraint_matrix

LMAX = 8
N = LMAX * (LMAX + 2)
LIMITS = (1e-6, 1e9)


def surface(limits: tuple[float, float] = LIMITS, start: float = 1.0) -> JointModel:
    """A constant scale, which is restrained for good, and an absorption surface."""
    fixed, free = ComponentRestraint("null", 7.0, 7.0, 7.0), ComponentRestraint("null", start, *limits)
    scale = ComponentModel("scale", "constant_scale", np.ones(1), restraints=(fixed,))
    harmonics = ComponentModel("absorption", "absorption", np.zeros(N), restraints=(free,))
    return JointModel([DataSetModel("physical", (scale, harmonics))])


def regression(coefficients: np.ndarray, noise: float, n_data: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal matrix and right-hand side of data y = X p + noise, of unit weight."""
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(n_data, N + 1)) * np.concatenate([[1.0], 10 ** rng.uniform(-1, 0, N)])
    y = design @ np.concatenate([[1.0], coefficients]) + noise * rng.normal(size=n_data)
    return design.T @ design, design.T @ y


def converge(
    joint: JointModel, matrix: np.ndarray, rhs: np.ndarray, chi_squared: float
) -> tuple[JointModel, np.ndarray]:
    for _ in range(300):
        rows = joint.restraint_rows()
        full = matrix + restraint_matrix(rows, len(rhs))
        pulls = np.bincount(rows.column, rows.weight * rows.target, minlength=len(rhs))
        parameters = np.linalg.solve(full, rhs + pulls)
        models, change = update_restraints(joint, parameters, DenseNormal(full, joint, 1), chi_squared)
        joint = JointModel(models)
        if change < 1e-3:
            return joint, parameters
    raise AssertionError("the weights do not settle")


def weight(joint: JointModel) -> float:
    return joint.models[0].components[1].weight("null")


@pytest.mark.parametrize("spread", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("start", [0.01, 100.0])
def test_the_prior_variance_of_the_coefficients_is_found(spread: float, start: float) -> None:
    noise, found = 0.3, []
    for seed in range(6):
        truth = spread * np.random.default_rng(100 + seed).normal(size=N)
        joint, _ = converge(surface(start=start), *regression(truth, noise, 1000, seed), noise**2)
        found.append(noise**2 / weight(joint) / spread**2)
    # the sum of N squares knows their variance to sqrt(2 / N) of it, less where the data determine fewer
    assert np.mean(found) == pytest.approx(1.0, abs=4 * 1.5 * np.sqrt(2 / N / len(found)))


def test_a_determined_surface_is_hardly_pulled() -> None:
    truth = np.random.default_rng(5).normal(size=N)
    matrix, rhs = regression(truth, 0.1, 2000, 5)
    _, parameters = converge(surface(), matrix, rhs, 0.01)
    free = np.linalg.solve(matrix, rhs)
    assert np.linalg.norm((parameters - free)[1:]) < 0.02 * np.linalg.norm(free[1:])


def test_a_surface_of_noise_is_held_at_zero() -> None:
    held, free = 0.0, 0.0
    for seed in range(4):
        matrix, rhs = regression(np.zeros(N), 1.0, 400, seed)
        held += np.sum(converge(surface(), matrix, rhs, 1.0)[1][1:] ** 2)
        free += np.sum(np.linalg.solve(matrix, rhs)[1:] ** 2)
    assert held < 0.05 * free


def test_a_surface_of_exact_zeros_goes_to_the_upper_limit() -> None:
    joint, _ = converge(surface((1.0, 5e5)), np.eye(N + 1), np.zeros(N + 1), 1.0)
    assert weight(joint) == 5e5


@given(st.integers(0, 2**32 - 1), st.floats(-6, 6), st.floats(-3, 3))
def test_limits_and_fixed_weights_are_kept(seed: int, log_size: float, log_start: float) -> None:
    rng = np.random.default_rng(seed)
    limits = (10**-3.0, 10**3.0)
    joint = surface(limits, start=10**log_start)
    parameters = 10**log_size * rng.normal(size=N + 1)
    matrix = np.diag(10 ** rng.uniform(-2, 4, N + 1)) + restraint_matrix(joint.restraint_rows(), N + 1)
    models, change = update_restraints(joint, parameters, DenseNormal(matrix, joint, 1), 1.0)
    new = models[0].components[1].weight("null")
    assert limits[0] <= new <= limits[1]
    step = abs(np.log(new / 10**log_start))
    assert step <= np.log(100) + 1e-12
    # times the number of coefficients that the data determine
    determined = np.sum(1 - 10**log_start / np.diag(matrix)[1:])
    assert change == pytest.approx(step * determined, rel=1e-6, abs=1e-6 * step * N)
    assert models[0].components[0].restraints == joint.models[0].components[0].restraints


def test_without_a_weight_to_choose_nothing_changes() -> None:
    joint = surface()
    fixed = replace(joint.models[0].components[1], restraints=(ComponentRestraint("null", 3.0, 3.0, 3.0),))
    joint = JointModel([joint.models[0].with_components([joint.models[0].components[0], fixed])])
    models, change = update_restraints(joint, np.ones(N + 1), DenseNormal(np.eye(N + 1), joint, 1), 1.0)
    assert change == 0.0 and models == joint.models
