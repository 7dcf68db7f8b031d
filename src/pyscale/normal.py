"""The normal matrix at one point, dense or not, as far as rounds of a fit look at it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Protocol

import numpy as np

from . import _core
from .joint_model import JointModel, RestraintRows
from .local_covariance import BlockLayout, LocalCovariance
from .typing import FloatArray, IndexArray, IntArray

__all__ = [
    "DenseNormal",
    "LocalNormal",
    "Normal",
    "block_inverse",
    "coarse_modes",
    "modes_of_data_sets",
    "split_blocks",
]

_RIDGE = 1e-9


class Normal(Protocol):
    """A normal matrix, restraints included."""

    def diagonal(self) -> FloatArray:
        """Diagonal, (p,) float64."""

    def covariance(self) -> LocalCovariance:
        """The inverse inside each data set, for unit weight; a relative 1e-9 of the diagonal is added before."""


class DenseNormal:
    """A normal matrix that was formed.

    Parameters
    ----------
    matrix : (p, p) float64
    joint : JointModel
    n_threads : int
    """

    def __init__(self, matrix: FloatArray, joint: JointModel, n_threads: int) -> None:
        self.matrix, self._joint, self._n_threads = matrix, joint, n_threads

    @property
    def n_parameters(self) -> int:
        """Its size p."""
        return len(self.matrix)

    def diagonal(self) -> FloatArray:
        """Diagonal, (p,) float64."""
        return np.array(np.diag(self.matrix))

    @cached_property
    def _inverse(self) -> FloatArray:
        return _core.inverse(np.ascontiguousarray(self.matrix), self._n_threads)

    def covariance(self) -> LocalCovariance:
        """The inverse inside each data set."""
        return LocalCovariance.from_dense(BlockLayout.of(self._joint.core), self._inverse)

    def restrained_otherwise(
        self, before: RestraintRows, after: RestraintRows, parameters: FloatArray
    ) -> tuple[DenseNormal, FloatArray]:
        """The matrix with other restraints, and the minimum (p,) to which these move that at `parameters` (p,).

        By the quadratic model of the cost around `parameters`, the minimum with the restraints `before`.
        """
        matrix = self.matrix.copy()
        matrix -= before.matrix(self.n_parameters)
        matrix += after.matrix(self.n_parameters)
        other = DenseNormal(matrix, self._joint, self._n_threads)
        pull = after.half_gradient(parameters) - before.half_gradient(parameters)
        # Not a product of BLAS, whose bits depend on the number of threads.
        return other, parameters - np.einsum("ij,j->i", other._inverse, pull)


class LocalNormal:
    """The diagonal blocks of a normal matrix that is never formed.

    Its inverse is that of each block: all other data sets count as known, so that variances are too small by about
    one part in the number of data sets that a group links.
    """

    def __init__(self, operator: _core.NormalOperator, joint: JointModel) -> None:
        self._operator, self._joint = operator, joint

    def diagonal(self) -> FloatArray:
        """Diagonal, (p,) float64."""
        return self._operator.diagonal()

    def covariance(self) -> LocalCovariance:
        """The inverse of each diagonal block, and nothing between data sets and what they share."""
        layout = BlockLayout.of(self._joint.core)
        values = self._operator.diagonal_blocks()
        n_shared = layout.shared[1] - layout.shared[0]
        shared = block_inverse(values[values.size - n_shared**2 :].reshape(1, n_shared, n_shared))

        def blocks() -> Iterator[tuple[IndexArray, FloatArray]]:
            for sets, numbers, own in split_blocks(layout, values):
                block = np.zeros((sets.size, numbers.shape[1], numbers.shape[1]))
                n_own = own.shape[1]
                block[:, :n_own, :n_own] = block_inverse(own)
                block[:, n_own:, n_own:] = shared
                yield sets, block

        return LocalCovariance.from_sizes(layout, blocks())


def split_blocks(layout: BlockLayout, values: FloatArray) -> Iterator[tuple[IndexArray, IndexArray, FloatArray]]:
    """Diagonal blocks of data sets of equal size together, from `NormalOperator.diagonal_blocks`.

    Returns
    -------
    iterator of (sets, numbers, blocks)
        Data sets (n,); all parameters that each looks at (n, n_own + n_shared); blocks (n, n_own, n_own).
    """
    n_own = layout.own[:, 1] - layout.own[:, 0]
    offset = np.concatenate([[0], np.cumsum(n_own**2)])
    n_shared = layout.shared[1] - layout.shared[0]
    for sets, numbers in layout.by_size():
        size = numbers.shape[1] - n_shared
        yield sets, numbers, values[offset[sets][:, None] + np.arange(size * size)].reshape(-1, size, size)


def block_inverse(blocks: FloatArray, ridge: float = _RIDGE) -> FloatArray:
    """Inverses of symmetric blocks (n, size, size), a relative ridge of their diagonal being added."""
    diagonal = np.einsum("kii->ki", blocks)
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = blocks * scale[:, :, None] * scale[:, None, :] + ridge * np.eye(blocks.shape[1])
    scaled += np.eye(blocks.shape[1]) * (diagonal <= 0)[:, :, None]
    inverse: FloatArray = np.linalg.inv(scaled) * scale[:, :, None] * scale[:, None, :]
    return inverse


def coarse_modes(joint: JointModel, parameters: FloatArray, *, use: bool = True) -> _core.CoarseModes:
    """The overall scale and the overall B of each data set as combinations of its parameters.

    Parameters
    ----------
    joint : JointModel
    parameters : (p,) float64
    use : bool
        False: no modes at all.
    """
    if not use:
        return _core.CoarseModes(np.zeros(0, np.int32), np.zeros(0), 0)
    return _core.CoarseModes(*modes_of_data_sets(joint, parameters))


def modes_of_data_sets(
    joint: JointModel, parameters: FloatArray, n_pieces: int = 1
) -> tuple[IntArray, FloatArray, int]:
    """The overall scale and B of equally many pieces of each data set's nodes: mode and value of each parameter.

    Returns
    -------
    mode : (p,) int32
        Number of the mode that a parameter takes part in, -1 for none.
    value : (p,) float64
    n_modes : int
    """
    n_data_sets, data_set = len(joint.models), joint.data_set_of_parameters()
    mode, value = np.full(parameters.size, -1, np.int32), np.zeros(parameters.size)
    for k, (mask, values) in enumerate(((joint.scale_like(), parameters), (joint.decay_like(), np.ones_like(value)))):
        numbers = np.flatnonzero(mask)
        counts = np.bincount(data_set[numbers], minlength=n_data_sets)
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        rank = np.arange(numbers.size) - first[data_set[numbers]]
        mode[numbers] = (2 * data_set[numbers] + k) * n_pieces + rank * n_pieces // counts[data_set[numbers]]
        value[numbers] = values[numbers]
    return mode, value, 2 * n_data_sets * n_pieces
