"""Random halves of sorted observations and their correlations (docs/reference/statistics.md)."""

from __future__ import annotations

from dataclasses import dataclass

from . import _core
from .merging import SortedObservations
from .typing import IndexArray, IntArray

__all__ = ["DEFAULT_SPLITS", "HalfSets", "Splits"]


@dataclass(frozen=True)
class Splits:
    """How the observations of reflections are split into halves.

    Attributes
    ----------
    seed : int
        Key of the draws.
    n : int
        How many splits correlations are averaged over, 1 to 32.
    """

    seed: int = 42
    n: int = 10


DEFAULT_SPLITS = Splits()


@dataclass(frozen=True)
class HalfSets:
    """Random halves of sorted observations."""

    obs: SortedObservations
    splits: Splits
    n_threads: int

    def correlations(
        self, offsets: IndexArray, group_index: IntArray, shell: IndexArray, n_shells: int
    ) -> list[_core.HalfSetCorrelation]:
        """Of the weighted means of each group's halves, per shell (negative: none), then of all shells together."""
        return _core.half_set_correlations(
            self.obs.intensity,
            self.obs.variance,
            offsets,
            group_index,
            self.splits.seed,
            self.splits.n,
            shell,
            n_shells,
            self.n_threads,
        )

    def of_differences(
        self, plus: IndexArray, minus: IndexArray, shell: IndexArray, n_shells: int
    ) -> list[_core.HalfSetCorrelation]:
        """Of I(+) - I(-), unweighted means of the anomalous groups `plus` and `minus`, likewise."""
        return _core.half_difference_correlations(
            self.obs.intensity,
            self.obs.variance,
            self.obs.anomalous_offsets,
            self.obs.anomalous_index,
            self.splits.seed,
            self.splits.n,
            plus,
            minus,
            shell,
            n_shells,
            self.n_threads,
        )
