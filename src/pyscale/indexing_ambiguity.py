"""Data sets that are indexed unlike the others, where the lattice allows several indexings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .indexing_consensus import Agreement, agreement, find_consensus
from .indexing_intensities import IndexedIntensities, UniqueIntensities, unique_intensities
from .indexing_operators import IndexingOperators
from .preparation import UnitCell
from .typing import BoolArray, FloatArray, IndexArray

__all__ = ["IndexingAnalysis", "analyse_indexing"]

_SIGNIFICANT = 4.0
"""Standard errors by which an operator must lower correlations, on reflections that played no part in the choice."""
_DECISIVE_ODDS = 10.0


@dataclass(frozen=True)
class IndexingAnalysis:
    """What was found about the indexing of some data sets.

    Attributes
    ----------
    operators : IndexingOperators
    correlation, n_common : (n_data_sets, k) float64
        With the mean of the others, these as they should be indexed, under each operator.
    contrast, significance : (k,) float64
        By how much a wrong indexing by each operator lowers artanh of the correlation, and by how many standard errors,
        from reflections that took no part in choosing indexings; 0 for the identity.
    log_odds : (n_data_sets, k) float64
        Of each operator against the present indexing; 0 for operators whose effect is not significant.
    operator : (n_data_sets,) int64
        By which each data set should be reindexed; 0 leaves it alone.
    reindexed : bool
        Whether the data sets were reindexed.
    """

    operators: IndexingOperators
    correlation: FloatArray
    n_common: FloatArray
    contrast: FloatArray
    significance: FloatArray
    log_odds: FloatArray
    operator: IndexArray
    reindexed: bool = False

    @property
    def resolved(self) -> BoolArray:
        """Operators that the data tell from the identity, (k,) bool."""
        result: BoolArray = self.significance > _SIGNIFICANT
        return result

    @property
    def undecided(self) -> BoolArray:
        """Data sets that may be in their present indexing or in another, (n_data_sets,) bool."""
        unsure = np.abs(self.log_odds) < np.log(_DECISIVE_ODDS)
        result: BoolArray = (unsure & self.resolved).any(axis=1) & (self.operator == 0)
        return result | (not self.resolved.any())

    @property
    def decisions(self) -> list[str]:
        """What was decided for each data set: consistent, undecided, or the operator that it needs."""
        words = np.where(self.undecided, "undecided", "consistent")
        changed = np.array(self.operators.triplets)[self.operator]
        result: list[str] = np.where(self.operator > 0, changed, words).tolist()
        return result

    def to_dict(self, identifiers: Sequence[str]) -> dict[str, Any]:
        """Return plain values for reports."""
        decisions = self.decisions
        return {
            "reindexed": self.reindexed,
            "operators": [
                {"operator": t, "contrast": float(c), "significance": float(s), "resolved": bool(r)}
                for t, c, s, r in zip(
                    self.operators.triplets, self.contrast, self.significance, self.resolved, strict=True
                )
            ],
            "data_sets": [
                {
                    "identifier": identifier,
                    "n_common": self.n_common[k].tolist(),
                    "correlation": self.correlation[k].tolist(),
                    "log_odds": self.log_odds[k].tolist(),
                    "decision": decisions[k],
                }
                for k, identifier in enumerate(identifiers)
            ],
        }


def analyse_indexing(
    observations: IndexedIntensities,
    cell: UnitCell,
    operators: IndexingOperators,
    *,
    n_data_sets: int,
    reference: IndexedIntensities | None = None,
    seed: int = 0,
    n_threads: int = 1,
) -> IndexingAnalysis:
    """Find the data sets whose intensities agree with the others only after a change of indexing.

    The time is linear in the observations; the result does not depend on their order or the number of threads.

    Parameters
    ----------
    observations : IndexedIntensities
    cell : tuple of float
    operators : IndexingOperators
    n_data_sets : int
    reference : IndexedIntensities, optional
        Decides which indexing is the right one; without, it is that of most data sets.
    seed, n_threads : int
    """
    if reference is not None:
        observations = observations.followed_by(reference, n_data_sets)
    n_with_reference = n_data_sets + (reference is not None)
    everything = unique_intensities(observations, cell, operators, n_data_sets=n_with_reference, n_threads=n_threads)
    rows, fixed = _apart(everything, n_data_sets)
    chosen = find_consensus(rows, fixed, seed).operator
    contrast, significance = _held_out_contrast(rows, fixed, operators, seed)
    resolved = significance > _SIGNIFICANT
    if reference is None:
        chosen = _as_most(chosen, operators, resolved)
    found = agreement(rows, chosen, fixed)
    log_odds = _log_odds(found, chosen, operators, resolved)
    best = np.argmax(log_odds, axis=1)
    decided = log_odds[np.arange(n_data_sets), best] > np.log(_DECISIVE_ODDS)
    return IndexingAnalysis(
        operators=operators,
        correlation=found.correlation,
        n_common=found.n_common,
        contrast=contrast,
        significance=significance,
        log_odds=log_odds,
        operator=np.where(decided, best, 0),
    )


def _apart(everything: UniqueIntensities, n_data_sets: int) -> tuple[UniqueIntensities, FloatArray]:
    """Take the reference, if there is one, out of the data sets: sums that stay in the present indexing."""
    n = int(np.searchsorted(everything.data_set, n_data_sets))
    last = everything.select(slice(n, None))
    merged = last.merged_reflection[0][last.reflection]
    fixed = np.zeros((2, last.n_merged))
    np.add.at(fixed[0], merged, last.precision)
    np.add.at(fixed[1], merged, last.precision * last.value)
    return replace(everything.select(slice(n)), n_data_sets=n_data_sets), fixed


def _held_out_contrast(
    rows: UniqueIntensities, fixed: FloatArray, operators: IndexingOperators, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Contrast of each operator, and its significance: indexings chosen on half of the reflections, seen on the others.

    Both members of a pair of data sets count the same agreement, hence the factor 2 in the variance.
    """
    orbit = rows.merged_reflection.min(axis=0)
    half = np.random.default_rng(seed).integers(2, size=rows.n_merged, dtype=np.int8)[orbit][rows.reflection]
    chosen = find_consensus(rows.select(half == 0), fixed, seed).operator
    found = agreement(rows.select(half == 1), chosen, fixed)
    z, variance = found.fisher_z, found.variance
    numbers = np.arange(chosen.size)
    difference = z[numbers, chosen][:, None] - z
    with np.errstate(invalid="ignore"):
        weight = 1.0 / (variance[numbers, chosen][:, None] + variance)
    relative = operators.relative[chosen]
    total = np.bincount(relative.ravel(), weight.ravel(), len(operators))
    gain = np.bincount(relative.ravel(), (weight * difference).ravel(), len(operators))
    known = (total > 0) & (np.arange(len(operators)) > 0)
    contrast = np.divide(gain, total, out=np.zeros_like(gain), where=known)
    return contrast, np.where(known, contrast * np.sqrt(total / 2.0), 0.0)


def _as_most(chosen: IndexArray, operators: IndexingOperators, resolved: BoolArray) -> IndexArray:
    """Reindex all together so that most data sets, and of several such ways the first data set, stay as they are."""
    n_operators = len(operators)
    count = np.bincount(chosen, minlength=n_operators)
    candidates = np.flatnonzero(operators.normal & (count > 0))
    if candidates.size == 0:
        return chosen
    same = ~resolved[operators.quotient]
    staying = [(int(count[same[:, g]].sum()), bool(same[chosen[0], g]), -int(g)) for g in candidates]
    result: IndexArray = operators.quotient[chosen, -max(staying)[2]].astype(np.int64)
    return result


def _log_odds(found: Agreement, chosen: IndexArray, operators: IndexingOperators, resolved: BoolArray) -> FloatArray:
    """Log odds of each operator against the present indexing of each data set.

    The likelihood ratio of a difference of artanh of correlations, z standard errors, is Phi(z) / Phi(-z) for a
    contrast that may be anything positive; prior odds are the shares of the other data sets that use the operators,
    unless they speak for a change: that takes evidence.
    """
    from scipy.special import log_ndtr  # 0.2 s that jobs with a single indexing need not wait for

    numbers = np.arange(chosen.size)
    z, variance = found.fisher_z, found.variance
    standard_error = np.sqrt(variance + variance[:, :1])
    deviation = (z - z[:, :1]) / standard_error
    likelihood = log_ndtr(deviation) - log_ndtr(-deviation)
    others = np.bincount(chosen, minlength=len(operators)) + np.zeros((chosen.size, 1))
    others[numbers, chosen] -= 1.0
    prior = np.log(others + 0.5)
    testable = resolved[operators.relative[:, 0]]
    result: FloatArray = np.where(testable, likelihood + np.minimum(prior - prior[:, :1], 0.0), 0.0)
    return result
