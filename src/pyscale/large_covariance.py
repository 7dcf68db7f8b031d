"""Covariances inside each data set where the normal matrix is too large to be inverted (docs/theory/fitting.md).

N^-1 = Z E^-1 Z^T + the rest, with Z the overall scale and B of each data set and all shared parameters, and
E = Z^T N Z: the first term has what reaches from one end of a chain of data sets to the other, the rest is that of each
data set alone but for what neighbours exchange beyond scale and B. That, and everything where there are too many data
sets for E, is estimated without bias from random vectors z of +-1: E[(N^-1 z) z^T] = N^-1.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from . import _core
from .gauge import Gauge, UnitCovariance
from .joint_model import JointModel, RestraintRows
from .local_covariance import BlockLayout, LocalCovariance
from .normal import block_inverse, modes_of_data_sets, split_blocks
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["large_covariance"]

_logger = logging.getLogger(__name__)

_NULL = 1e-10
_RIDGE = 1e-12
_BATCH, _MOST_PROBES = 8, 64
_WANTED = 0.03
"""Standard error of a variance, of which 90 % of the parameters must be below."""
_SOLVER, _MOST_STEPS = 1e-5, 200
_MOST_MODES = 4000
_LEAST_SHARE, _SIGNIFICANT = 0.25, 2.0


def large_covariance(
    problem: _core.FitProblem,
    joint: JointModel,
    rows: RestraintRows,
    parameters: FloatArray,
    gauge: Gauge,
    seed: int,
    *,
    is_loose: bool = False,
) -> UnitCovariance:
    """Estimate C = Q N^-1 Q^T, Q = 1 - G (M G)^-1 M, inside each data set.

    Parameters
    ----------
    problem : _core.FitProblem
        Its restraints are replaced.
    joint : JointModel
    rows : RestraintRows
        Restraints of the fit.
    parameters : (p,) float64
    gauge : Gauge
    seed : int
        Of the random vectors.
    is_loose : bool
        Whether groups link few data sets (`minimiser.are_loosely_linked`).
    """
    layout = BlockLayout.of(joint.core)
    direction, functional = gauge.arrays(joint.n_parameters)
    system = _System(problem, joint, layout, rows, parameters, functional)
    projection = _GaugeProjection(direction, functional)
    base = _Approximation(system, joint, parameters, is_loose=is_loose)
    correction = _Correction(system, base, projection, seed)
    blocks = list(base.local(projection))
    correction.run(blocks)
    local = LocalCovariance.from_sizes(layout, _joined(blocks, correction.blocks, joint.held))
    for numbers, _, direction in system.null:
        local.values[layout.places(numbers[:, None], numbers)] -= np.outer(direction, direction)
    undetermined = [numbers[np.argsort(-np.abs(row))] for numbers, row, _ in system.null]
    _logger.info(
        "Covariances of %d parameters from products with the normal matrix and %d random vectors: standard error of "
        "the variances %.1f %%",
        joint.n_parameters,
        correction.n,
        100.0 * correction.standard_error,
    )
    return UnitCovariance(local, undetermined, standard_error=correction.standard_error)


class _System:
    """The normal operator with functionals and what is undetermined held by restraints, and its diagonal blocks."""

    def __init__(
        self,
        problem: _core.FitProblem,
        joint: JointModel,
        layout: BlockLayout,
        rows: RestraintRows,
        parameters: FloatArray,
        functional: FloatArray,
    ) -> None:
        self.layout = layout
        problem.set_restraints(*rows.arrays)
        diagonal = _core.NormalOperator(problem, parameters).diagonal()
        scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        lengths = np.linalg.norm(functional * scale, axis=1, keepdims=True)
        rows = RestraintRows.join([rows, _dense_rows(functional / np.where(lengths > 0, lengths, 1.0))])
        problem.set_restraints(*rows.arrays)
        operator = _core.NormalOperator(problem, parameters)
        self.null = _null_vectors(layout, operator.diagonal_blocks())
        if self.null:
            # Held by rows of their own, they are apart from all else; their part is taken from the result.
            held = RestraintRows.join([_sparse_row(numbers, row) for numbers, row, _ in self.null])
            problem.set_restraints(*RestraintRows.join([rows, held]).arrays)
            operator = _core.NormalOperator(problem, parameters)
        self.operator = operator
        self.held = joint.held
        self.n_data_sets = len(joint.models)


class _GaugeProjection:
    """x -> Q x and Q^T x."""

    def __init__(self, direction: FloatArray, functional: FloatArray) -> None:
        self.direction = direction
        self.coordinates = np.linalg.solve(functional @ direction.T, functional) if len(direction) else functional

    def project(self, x: FloatArray) -> FloatArray:
        """Q x for columns x (p, k)."""
        result: FloatArray = x - self.direction.T @ (self.coordinates @ x)
        return result

    def transposed(self, x: FloatArray) -> FloatArray:
        """Q^T x for columns x (p, k)."""
        result: FloatArray = x - self.coordinates.T @ (self.direction @ x)
        return result


class _Approximation:
    """X = Z E^-1 Z^T + the inverse of each data set's block beside Z; of the whole block where there are no modes."""

    def __init__(self, system: _System, joint: JointModel, parameters: FloatArray, *, is_loose: bool) -> None:
        self.layout = system.layout
        self.mode, self.value, n_modes = _modes(system, joint, parameters, is_loose=is_loose)
        self.coarse = np.zeros((0, 0))
        self.modes = _core.CoarseModes(np.zeros(0, np.int32), np.zeros(0), 0)
        if n_modes:
            self.modes = _core.CoarseModes(self.mode, self.value, n_modes)
            reduced = system.operator.coarse_matrix(self.modes)
            self.coarse = block_inverse(reduced[None], _RIDGE)[0]
        self.rest = [
            (sets, numbers, _beside_modes(blocks, self.mode[numbers], self.value[numbers]))
            for sets, numbers, blocks in split_blocks(self.layout, system.operator.diagonal_blocks())
        ]

    def apply(self, x: FloatArray) -> FloatArray:
        """X x for columns x (p, k)."""
        result = np.zeros_like(x)
        for _, numbers, rest in self.rest:
            own = numbers[:, : rest.shape[1]]
            result[own] = rest @ x[own]
        if self.coarse.size:
            part = self.mode >= 0
            reduced = np.zeros((self.coarse.shape[0], x.shape[1]))
            np.add.at(reduced, self.mode[part], self.value[part, None] * x[part])
            reduced = self.coarse @ reduced
            result[part] += self.value[part, None] * reduced[self.mode[part]]
        return result

    def local(self, gauge: _GaugeProjection) -> Iterator[tuple[IndexArray, IndexArray, FloatArray]]:
        """Q X Q^T inside each data set: (sets, numbers, blocks) as in `split_blocks`, with shared parameters."""
        y = self.apply(np.ascontiguousarray(gauge.coordinates.T))
        inner = gauge.coordinates @ y
        for sets, numbers, rest in self.rest:
            size, n_own = numbers.shape[1], rest.shape[1]
            block = np.zeros((sets.size, size, size))
            block[:, :n_own, :n_own] = rest
            if self.coarse.size:
                mode, value = self.mode[numbers], np.where(self.mode[numbers] >= 0, self.value[numbers], 0.0)
                at = np.maximum(mode, 0)
                block += value[:, :, None] * self.coarse[at[:, :, None], at[:, None, :]] * value[:, None, :]
            g, y_here = gauge.direction.T[numbers], y[numbers]
            mixed = g @ np.swapaxes(y_here, 1, 2)
            block += g @ inner @ np.swapaxes(g, 1, 2) - mixed - np.swapaxes(mixed, 1, 2)
            yield sets, numbers, block


class _Correction:
    """Diagonal blocks of C - Q X Q^T from random vectors, so many that variances are known well enough."""

    def __init__(self, system: _System, base: _Approximation, gauge: _GaugeProjection, seed: int) -> None:
        self._system, self._base, self._gauge = system, base, gauge
        self._random = np.random.default_rng(seed)
        self.blocks: list[FloatArray] = []
        self.n, self.standard_error = 0, np.inf

    def run(self, base: list[tuple[IndexArray, IndexArray, FloatArray]]) -> None:
        """Draw vectors until the correction of `base` is known."""
        unit = np.ones(self._system.layout.n_parameters)
        for _, numbers, block in base:
            diagonal = np.einsum("kii->ki", block)
            unit[numbers] = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        self.blocks = [np.zeros_like(block) for _, _, block in base]
        squares = [np.zeros(numbers.shape) for _, numbers, _ in base]
        while self.n < _MOST_PROBES and self.standard_error > _WANTED:
            z, difference, is_solved = self._probe(unit)
            if not is_solved:
                _logger.warning(
                    "Data sets are linked too weakly for what they exchange to be estimated: uncertainties of their "
                    "scales take the other data sets as known, and are too small"
                )
                self.blocks, self.standard_error = [np.zeros_like(block) for block in self.blocks], 1.0
                return
            for k, (_, numbers, _) in enumerate(base):
                zk, dk = z[numbers], difference[numbers]
                product = dk @ np.swapaxes(zk, 1, 2)
                self.blocks[k] += 0.5 * (product + np.swapaxes(product, 1, 2))
                squares[k] += np.sum((dk * zk) ** 2, axis=2)
            self.n += _BATCH
            self.standard_error = self._error(base, squares)
        self.blocks = [sums / self.n for sums in self.blocks]
        if self._size(base) < _SIGNIFICANT * self.standard_error:
            # It is not told from zero: without it the error is less.
            self.blocks = [np.zeros_like(block) for block in self.blocks]

    def _size(self, base: list[tuple[IndexArray, IndexArray, FloatArray]]) -> float:
        """Root mean square of the correction of the variances, relative to these."""
        relative = []
        for (_, _, block), correction in zip(base, self.blocks, strict=True):
            before, more = np.einsum("kii->ki", block), np.einsum("kii->ki", correction)
            relative.append(more[before > 0] / before[before > 0])
        return float(np.sqrt(np.mean(np.concatenate([*relative, np.zeros(1)]) ** 2)))

    def _probe(self, unit: FloatArray) -> tuple[FloatArray, FloatArray, bool]:
        """Random vectors u z, and (C - Q X Q^T) z / u, and whether that was found.

        With parameters in units u the noise of all is alike.
        """
        z = self._random.choice([-1.0, 1.0], size=(self._system.layout.n_parameters, _BATCH))
        z[self._system.held] = 0.0
        rhs = np.ascontiguousarray(self._gauge.transposed(z / unit[:, None]))
        found = self._system.operator.solve(rhs, self._base.modes, tolerance=_SOLVER, max_iterations=_MOST_STEPS)
        difference = self._gauge.project(found["x"] - self._base.apply(rhs))
        return unit[:, None] * z, difference, bool(found["converged"])

    def _error(self, base: list[tuple[IndexArray, IndexArray, FloatArray]], squares: list[FloatArray]) -> float:
        """Standard error of the variances relative to these, the quantile of 90 %."""
        relative = []
        for (_, _, block), sums, square in zip(base, self.blocks, squares, strict=True):
            mean = np.einsum("kii->ki", sums) / self.n
            variance = np.maximum(square / self.n - mean**2, 0.0) / (self.n - 1)
            total = np.einsum("kii->ki", block) + mean
            relative.append(np.sqrt(variance)[total > 0] / total[total > 0])
        joined = np.concatenate([*relative, np.zeros(1)])
        return float(np.quantile(joined, 0.9))


def _joined(
    base: list[tuple[IndexArray, IndexArray, FloatArray]], corrections: list[FloatArray], held: BoolArray
) -> Iterator[tuple[IndexArray, FloatArray]]:
    """Sum of both, made positive semidefinite, without what is held."""
    for (sets, numbers, block), correction in zip(base, corrections, strict=True):
        total = block + correction
        before, after = np.einsum("kii->ki", block), np.einsum("kii->ki", total)
        unsound = (after < _LEAST_SHARE * before).any(axis=1)
        total[unsound] = block[unsound]
        values, vectors = np.linalg.eigh(total)
        total = (vectors * np.maximum(values, 0.0)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
        free = ~held[numbers]
        yield sets, total * free[:, :, None] * free[:, None, :]


def _modes(
    system: _System, joint: JointModel, parameters: FloatArray, *, is_loose: bool
) -> tuple[IntArray, FloatArray, int]:
    """Overall scale and B of each data set, and every shared parameter; no modes where they would be too many.

    In a loosely linked job neighbours exchange more than that: scale and B are those of as many pieces of each data
    set's nodes as the number of modes allows.
    """
    begin, end = system.layout.shared
    n_shared, n_data_sets = end - begin, system.n_data_sets
    n_pieces = max((_MOST_MODES - n_shared) // (2 * n_data_sets), 0)
    if n_pieces == 0:
        return np.full(parameters.size, -1, np.int32), np.zeros(parameters.size), 0
    mode, value, n_modes = modes_of_data_sets(joint, parameters, n_pieces if is_loose else 1)
    mode[begin:end] = n_modes + np.arange(n_shared)
    value[begin:end] = 1.0
    mode[joint.held] = -1
    return mode, value, n_modes + n_shared


def _beside_modes(blocks: FloatArray, mode: IntArray, value: FloatArray) -> FloatArray:
    """B^-1 - Z (Z^T B Z)^-1 Z^T of each block B (n, size, size) with the modes (n, >= size) of its parameters."""
    inverse = block_inverse(blocks, _RIDGE)
    size = blocks.shape[1]
    mode, value = mode[:, :size], value[:, :size]
    for k in range(len(blocks) if (mode >= 0).any() else 0):
        present = np.unique(mode[k][mode[k] >= 0])
        z = np.where(mode[k][:, None] == present, value[k][:, None], 0.0)
        inverse[k] -= z @ np.linalg.pinv(z.T @ blocks[k] @ z, rcond=_RIDGE, hermitian=True) @ z.T
    return inverse


def _null_vectors(layout: BlockLayout, values: FloatArray) -> list[tuple[IndexArray, FloatArray, FloatArray]]:
    """Combinations of a data set's own parameters of which nothing is known: their numbers, a row that holds the
    combination, and its direction."""
    found = []
    for _, numbers, blocks in split_blocks(layout, values):
        diagonal = np.einsum("kii->ki", blocks)
        scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        eigenvalues, vectors = np.linalg.eigh(blocks * scale[:, :, None] * scale[:, None, :])
        for k, j in np.argwhere(eigenvalues < _NULL).tolist():
            vector = vectors[k, :, j]
            part = np.abs(vector) > 1e-3
            found.append((numbers[k, : vector.size][part], (vector / scale[k])[part], (vector * scale[k])[part]))
    return found


def _sparse_row(numbers: IndexArray, values: FloatArray) -> RestraintRows:
    """A restraint of weight 1 on one combination of parameters."""
    return RestraintRows(
        np.array([0, numbers.size], dtype=np.int64),
        numbers.astype(np.int32),
        np.ascontiguousarray(values),
        np.zeros(1),
        np.ones(1),
    )


def _dense_rows(combinations: FloatArray) -> RestraintRows:
    """Restraints of weight 1 on combinations of parameters (k, p)."""
    rows = []
    for combination in combinations:
        numbers = np.flatnonzero(combination)
        rows.append(_sparse_row(numbers, combination[numbers]))
    return RestraintRows.join(rows)
