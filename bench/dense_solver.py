"""Inverse and covariance of dense normal matrices: the core beside LAPACK as scipy has it, in turns.

    OPENBLAS_NUM_THREADS=1 python bench/dense_solver.py [--sizes N ...] [--repeats N]

PYSCALE_SIMD=baseline|avx2|avx512 forces an instruction set of the core. bench/README.md says how to read the output.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from pyscale import _core

LARGEST_FOR_EIGENVALUES = 800
N_UNDETERMINED = 5
AGREEMENT = 1e-8

Array = NDArray[np.float64]


def normal_matrix(n: int, n_undetermined: int) -> Array:
    """Random normal matrix of unit diagonal, parameters of which combine into undetermined directions."""
    rng = np.random.default_rng(n)
    jacobian = rng.normal(size=(2 * n, n))
    for k in range(n_undetermined):
        jacobian[:, 2 * k] = jacobian[:, 2 * k + 1]
    jacobian /= np.linalg.norm(jacobian, axis=0)
    return np.ascontiguousarray(jacobian.T @ jacobian)


def lapack_factor(matrix: Array) -> Array:
    """Cholesky factor, dpotrf; the symmetric matrix is passed in the order of columns that LAPACK wants."""
    factor: Array = scipy.linalg.lapack.dpotrf(matrix.T, lower=0, clean=0)[0]
    return factor


def lapack_inverse(matrix: Array) -> Array:
    """Upper triangle of the inverse, dpotrf and dpotri."""
    inverse: Array = scipy.linalg.lapack.dpotri(lapack_factor(matrix), lower=0, overwrite_c=1)[0]
    return inverse


def spectral_inverse(matrix: Array) -> Array:
    """Pseudo-inverse from eigenvalues and vectors, dsyevr."""
    values, vectors = scipy.linalg.eigh(matrix)
    known = values > 1e-11 * values[-1]
    inverse: Array = (vectors[:, known] / values[known]) @ vectors[:, known].T
    return inverse


def core_covariance(matrix: Array) -> Array:
    """Covariance of the core in no gauge."""
    none = np.zeros((0, len(matrix)))
    covariance: Array = _core.gauge_covariance(matrix, none, none)["covariance"]
    return covariance


def in_turns(contestants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Least seconds of each."""
    least = dict.fromkeys(contestants, np.inf)
    for _ in range(repeats):
        for name, call in contestants.items():
            start = time.perf_counter()
            call()
            least[name] = min(least[name], time.perf_counter() - start)
    return least


def check(actual: Array, expected: Array, what: str) -> None:
    """Exit where results differ, relative to standard uncertainties."""
    size = np.sqrt(np.diag(expected))
    difference = float(np.abs(np.triu((actual - expected) / np.outer(size, size))).max())
    if not difference < AGREEMENT:
        raise SystemExit(f"{what}: largest difference {difference:.1e}")


def compare(n: int, repeats: int) -> None:
    """Print one block of times and ratios."""
    matrix, deficient = normal_matrix(n, 0), normal_matrix(n, min(N_UNDETERMINED, n // 2))
    check(core_covariance(matrix), lapack_inverse(matrix), "determined")
    calls: dict[str, Callable[[], Any]] = {
        "dpotrf": lambda: lapack_factor(matrix),
        "dpotrf + dpotri": lambda: lapack_inverse(matrix),
        "core: inverse": lambda: _core.inverse(matrix),
        "core: covariance": lambda: core_covariance(matrix),
        "core: covariance, deficient": lambda: core_covariance(deficient),
    }
    if n <= LARGEST_FOR_EIGENVALUES:
        check(core_covariance(deficient), spectral_inverse(deficient), "deficient")
        calls["eigh"] = lambda: spectral_inverse(deficient)
    seconds = in_turns(calls, repeats)
    for name, value in seconds.items():
        ratio = value / seconds["dpotrf + dpotri"]
        print(f"{n:6d}  {name:<28}{1e3 * value:10.2f} ms{ratio:10.2f} x dpotrf + dpotri")
    print(f"{n:6d}  GFlop/s: dpotrf {n**3 / 3e9 / seconds['dpotrf']:.1f}, dpotrf + dpotri ", end="")
    print(f"{n**3 / 1e9 / seconds['dpotrf + dpotri']:.1f}, core: inverse {n**3 / 1e9 / seconds['core: inverse']:.1f}")


def main() -> None:
    """Run for all sizes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 200, 500, 1600])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(f"core: {_core.simd_name()}, one thread; least of {arguments.repeats}")
    for n in arguments.sizes:
        compare(n, arguments.repeats)


if __name__ == "__main__":
    main()
