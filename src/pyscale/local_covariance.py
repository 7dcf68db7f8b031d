"""Covariances between the parameters of one data set, and of what data sets share: all that scales need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from . import _core
from .typing import FloatArray, IndexArray, IntArray

__all__ = ["BlockLayout", "LocalCovariance"]


@dataclass(frozen=True)
class BlockLayout:
    """Which parameters each data set looks at: its own, then those that data sets share.

    Attributes
    ----------
    own : (n_data_sets, 2) int64
        First parameter and end of what belongs to each data set alone.
    shared : (int, int)
        First parameter and end of what data sets share.
    offset : (n_data_sets + 1,) int64
        Place of each data set's square block among the values of a `LocalCovariance`.
    """

    own: IndexArray
    shared: tuple[int, int]
    offset: IndexArray

    @classmethod
    def of(cls, model: _core.JobModel) -> BlockLayout:
        """Layout of a job's model."""
        blocks = _core.parameter_blocks(model)
        own, shared = blocks[:-1], (int(blocks[-1, 0]), int(blocks[-1, 1]))
        size = own[:, 1] - own[:, 0] + shared[1] - shared[0]
        return cls(own, shared, np.concatenate([[0], np.cumsum(size**2)]).astype(np.int64))

    @property
    def n_parameters(self) -> int:
        """Parameters of the whole job."""
        return self.shared[1]

    def by_size(self) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Data sets of equal size together: their numbers (n,) and their parameters (n, size), int64."""
        n_own = self.own[:, 1] - self.own[:, 0]
        common = np.arange(*self.shared, dtype=np.int64)
        for size in np.unique(n_own).tolist():
            sets = np.flatnonzero(n_own == size)
            own = self.own[sets, :1] + np.arange(size)
            yield sets, np.concatenate([own, np.tile(common, (sets.size, 1))], axis=1)

    @cached_property
    def data_set_of_parameters(self) -> IndexArray:
        """Data set to which each parameter belongs alone, -1 for shared ones, (p,) int64."""
        result = np.full(self.n_parameters, -1)
        result[: self.shared[0]] = np.repeat(np.arange(len(self.own)), self.own[:, 1] - self.own[:, 0])
        return result

    def places(self, i: IndexArray | IntArray, j: IndexArray | IntArray) -> IndexArray:
        """Place of the covariance of parameters i and j among the values, -1 between different data sets.

        That of two shared parameters, which is in all blocks, is taken from the first data set's.
        """
        i, j = np.broadcast_arrays(i, j)
        of_i, of_j = self.data_set_of_parameters[i], self.data_set_of_parameters[j]
        home = np.maximum(np.maximum(of_i, of_j), 0)
        n_own = self.own[home, 1] - self.own[home, 0]
        size = n_own + self.shared[1] - self.shared[0]

        def local(k: IndexArray | IntArray, of: IndexArray) -> IndexArray:
            result: IndexArray = np.where(of < 0, n_own + k - self.shared[0], k - self.own[home, 0])
            return result

        apart = (of_i >= 0) & (of_j >= 0) & (of_i != of_j)
        result: IndexArray = np.where(apart, -1, self.offset[home] + local(i, of_i) * size + local(j, of_j))
        return result


@dataclass(frozen=True)
class LocalCovariance:
    """A square block of covariances for each data set.

    Attributes
    ----------
    layout : BlockLayout
    values : (layout.offset[-1],) float64
        Blocks (size, size), row-major, one after the other.
    """

    layout: BlockLayout
    values: FloatArray

    @classmethod
    def from_dense(cls, layout: BlockLayout, matrix: FloatArray) -> LocalCovariance:
        """Cut the blocks from the covariance of all parameters, (p, p)."""
        values = np.empty(layout.offset[-1])
        common = np.arange(*layout.shared)
        for k, (begin, end) in enumerate(layout.own.tolist()):
            numbers = np.concatenate([np.arange(begin, end), common])
            values[layout.offset[k] : layout.offset[k + 1]] = matrix[np.ix_(numbers, numbers)].ravel()
        return cls(layout, values)

    @classmethod
    def from_sizes(cls, layout: BlockLayout, blocks: Iterator[tuple[IndexArray, FloatArray]]) -> LocalCovariance:
        """Join blocks (n, size, size) of data sets (n,) that come together."""
        values = np.empty(layout.offset[-1])
        for sets, block in blocks:
            size = block.shape[1]
            values[layout.offset[sets][:, None] + np.arange(size * size)] = block.reshape(len(sets), -1)
        return cls(layout, values)

    def scaled(self, factor: float) -> LocalCovariance:
        """All covariances times a factor."""
        return LocalCovariance(self.layout, factor * self.values)

    def entries(self, i: IndexArray | IntArray, j: IndexArray | IntArray) -> FloatArray:
        """Covariances of parameters i and j, arrays that broadcast; 0 between different data sets."""
        place = self.layout.places(i, j)
        result: FloatArray = np.where(place < 0, 0.0, self.values[place])
        return result

    def diagonal(self) -> FloatArray:
        """Variance of each parameter, (p,) float64."""
        numbers = np.arange(self.layout.n_parameters)
        return self.entries(numbers, numbers)
