"""The inverse of normal matrices with and without undetermined directions, against numpy and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale import _core
from pyscale.typing import FloatArray

RANK_TOLERANCE = 1e-11


def normal_matrix(rng: np.random.Generator, n: int, n_null: int, condition: float) -> tuple[FloatArray, FloatArray]:
    """Return a matrix of unit diagonal with eigenvalues 1 ... condition and a null space, and its (n, n_null) basis."""
    rotation = np.linalg.qr(rng.normal(size=(n, n)))[0]
    values = np.concatenate([np.zeros(n_null), np.geomspace(1.0, condition, n - n_null)])
    matrix = (rotation * values) @ rotation.T
    scale = 1 / np.sqrt(np.diag(matrix))
    matrix = (matrix + matrix.T) / 2 * np.outer(scale, scale)
    return matrix, scipy.linalg.orth(rotation[:, :n_null] / scale[:, None])


def gauge_covariance(matrix: FloatArray, n_threads: int = 1) -> dict[str, Any]:
    """In no gauge."""
    none = np.zeros((0, len(matrix)))
    return _core.gauge_covariance(np.ascontiguousarray(matrix), none, none, n_threads=n_threads)


def spectral_inverse(matrix: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Pseudo-inverse, undetermined directions and condition number of a matrix of unit diagonal."""
    values, vectors = np.linalg.eigh(matrix)
    known = values > RANK_TOLERANCE * values[-1]
    inverse = (vectors[:, known] / values[known]) @ vectors[:, known].T
    return inverse, vectors[:, ~known], values[-1] / values[known][0]


def assert_close(actual: FloatArray, expected: FloatArray, tolerance: float) -> None:
    """Elements relative to the standard uncertainties of their row and column."""
    size = np.sqrt(np.abs(np.diag(expected)))
    size = np.maximum(size, 1e-3 * size.max())
    assert np.abs((actual - expected) / np.outer(size, size)).max() < tolerance


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 150),
    condition=st.sampled_from([1.0, 1e3, 1e6]),
    n_threads=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_determined_matrix_is_inverted(n: int, condition: float, n_threads: int, seed: int) -> None:
    matrix, _ = normal_matrix(np.random.default_rng(seed), n, 0, condition)
    result = gauge_covariance(matrix, n_threads)
    expected, _, expected_condition = spectral_inverse(matrix)
    assert_close(result["covariance"], expected, 1e-8)
    assert_close(result["covariance"], scipy.linalg.inv(matrix), 1e-8)
    assert len(result["undetermined"]) == 0
    assert result["condition"] == pytest.approx(expected_condition, rel=0.02)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(2, 200),
    n_null=st.integers(1, 30),
    condition=st.sampled_from([1e1, 1e4]),
    seed=st.integers(0, 2**32 - 1),
)
def test_undetermined_directions_are_found_and_left_out(n: int, n_null: int, condition: float, seed: int) -> None:
    n_null = min(n_null, n - 1)
    matrix, null = normal_matrix(np.random.default_rng(seed), n, n_null, condition)
    result = gauge_covariance(matrix, 2)
    expected, expected_null, expected_condition = spectral_inverse(matrix)
    assert result["undetermined"].shape == (n_null, n) == expected_null.T.shape
    np.testing.assert_allclose(result["undetermined"] @ result["undetermined"].T, np.eye(n_null), atol=1e-10)
    np.testing.assert_allclose(result["undetermined"].T @ result["undetermined"], null @ null.T, atol=1e-8)
    assert_close(result["covariance"], expected, 1e-8)
    assert result["condition"] == pytest.approx(expected_condition, rel=0.02)


@pytest.mark.parametrize(("n_null", "smallest"), [(0, 1e-10), (3, 1e-10), (3, 1e-8), (50, 1e-6), (120, 1e-3)])
def test_directions_hard_to_tell_from_undetermined_ones(n_null: int, smallest: float) -> None:
    rng = np.random.default_rng(7)
    matrix, _ = normal_matrix(rng, 300, n_null, 10.0)
    values, vectors = np.linalg.eigh(matrix)
    weak = vectors[:, n_null]
    matrix = matrix - (values[n_null] - smallest * values[-1]) * np.outer(weak, weak)
    result = gauge_covariance(matrix)
    scale = 1 / np.sqrt(np.diag(matrix))
    expected, null, condition = spectral_inverse(matrix * np.outer(scale, scale))
    assert len(result["undetermined"]) == n_null == null.shape[1]
    rounding = 1e-15 / smallest
    assert_close(result["covariance"] / np.outer(scale, scale), expected, 1e-8 + 100 * rounding)
    assert result["condition"] == pytest.approx(condition, rel=0.02 + 100 * rounding)


def test_parameters_without_data_are_undetermined_each_by_itself() -> None:
    rng = np.random.default_rng(3)
    for n, n_empty in ((20, 3), (200, 20), (200, 150), (5, 5)):
        empty = np.sort(rng.permutation(n)[:n_empty])
        matrix, _ = normal_matrix(rng, n, 0, 10.0)
        matrix[empty] = matrix[:, empty] = 0.0
        result = gauge_covariance(matrix)
        np.testing.assert_array_equal(result["undetermined"], np.eye(n)[empty])
        others = np.setdiff1d(np.arange(n), empty)
        inside = np.ix_(others, others)
        assert not result["covariance"][empty].any()
        np.testing.assert_allclose(result["covariance"][inside], np.linalg.inv(matrix[inside]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [40, 150])
def test_an_undetermined_combination_is_not_spread_over_others(n: int) -> None:
    rng = np.random.default_rng(4)
    matrix = np.zeros((n, n))
    pairs = rng.permutation(n)[:12].reshape(6, 2)
    matrix[pairs[:, 0], pairs[:, 1]] = matrix[pairs[:, 1], pairs[:, 0]] = 1.0
    np.fill_diagonal(matrix, 1.0)
    found = gauge_covariance(matrix)["undetermined"]
    involved = {tuple(np.flatnonzero(np.abs(v) > 1e-6)) for v in found}
    assert involved == {tuple(sorted(p)) for p in pairs}


@pytest.mark.parametrize("n_null", [0, 2])
def test_the_covariance_has_the_same_bits_for_any_number_of_threads(n_null: int) -> None:
    matrix, _ = normal_matrix(np.random.default_rng(5), 400, n_null, 1e3)
    one = gauge_covariance(matrix)
    for n_threads in (2, 3, 8):
        result = gauge_covariance(matrix, n_threads)
        for key in ("covariance", "undetermined", "condition"):
            np.testing.assert_array_equal(result[key], one[key])


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 120), n_null=st.integers(0, 5), seed=st.integers(0, 2**32 - 1))
def test_the_ridged_inverse_is_that_of_the_matrix_with_its_ridge(n: int, n_null: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_null = min(n_null, n - 1)
    unit, _ = normal_matrix(rng, n, n_null, 100.0)
    scale = rng.uniform(0.1, 10.0, n)
    result = _core.inverse(np.ascontiguousarray(unit * np.outer(scale, scale)), n_threads=2)
    expected = np.linalg.inv(unit + 1e-9 * np.eye(n)) / np.outer(scale, scale)
    assert_close(result, expected, 1e-5 if n_null else 1e-10)
    np.testing.assert_array_equal(result, result.T)


def test_the_ridged_inverse_of_an_indefinite_matrix_is_refused() -> None:
    with pytest.raises(_core.CoreDataError, match="positive semidefinite"):
        _core.inverse(np.array([[1.0, 3.0], [3.0, 1.0]]))
    assert _core.inverse(np.diag([4.0, 0.0])) == pytest.approx(np.diag([0.25, 1e9]))
