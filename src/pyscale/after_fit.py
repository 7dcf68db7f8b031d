"""What follows a fit: the scaled observations, their statistics, and the account of all of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DataError
from .fitting import FitResult
from .free_set import FreeSetComparison, compare_free_set
from .ledger import LedgerEntry, ledger_table, make_ledger
from .observations import JobObservations
from .options import ScalingOptions
from .output_table import ScaledObservations
from .pairs import merging_variance
from .preparation import UnitCell
from .prepared import PreparedDataSet
from .statistics import MergingStatistics, merging_statistics
from .typing import BoolArray

__all__ = ["Merging", "both_statistics", "free_set_comparison", "logged_ledger", "scaled_observations"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Merging:
    """How observations are merged."""

    cell: UnitCell
    space_group: Any
    options: ScalingOptions
    n_threads: int


def scaled_observations(fit: FitResult) -> ScaledObservations:
    """What the fit says of every observation that was scaled."""
    with np.errstate(divide="ignore", invalid="ignore"):
        merged = np.where(fit.g > 0, fit.expected / fit.g, 0.0)
        relative = np.where(fit.g > 0, np.sqrt(fit.g_variance) / fit.g, 0.0)
    linear = fit.options.output.scale_errors == "linear"
    return ScaledObservations(
        g=fit.g,
        g_variance=fit.g_variance,
        variance=merging_variance(fit.observations.intensity, fit.g, fit.sigma_squared, fit.disputed),
        scale_variance=fit.sigma_squared * relative if linear else merged**2 * fit.g_variance,
        scale_correlation=fit.scale_correlation,
        outlier=fit.outlier,
        small_scale=fit.small_scale,
        fate=fit.fate,
        beyond_limits=np.zeros(len(fit.observations), np.bool_),
    )


def both_statistics(
    fit: FitResult, scaled: ScaledObservations, by: Merging
) -> tuple[MergingStatistics, MergingStatistics]:
    """Statistics as merged, and with every rejected outlier put back."""
    absent = fit.observations.absent
    complete = ~(fit.small_scale | absent | scaled.beyond_limits)
    return (
        _statistics(fit.observations, scaled, scaled.merged(absent), by),
        _statistics(fit.observations, scaled, complete, by, anomalous=False),
    )


def free_set_comparison(fit: FitResult, scaled: ScaledObservations, by: Merging) -> FreeSetComparison:
    """Statistics of the groups in the fit and of the free set."""

    def statistics(rows: BoolArray) -> MergingStatistics:
        return _statistics(fit.observations, scaled, rows, by, anomalous=False)

    return compare_free_set(fit, scaled.variance, by.space_group, by.options, statistics)


def _statistics(
    observations: JobObservations,
    scaled: ScaledObservations,
    rows: BoolArray,
    by: Merging,
    *,
    anomalous: bool = True,
) -> MergingStatistics:
    if not rows.any():
        raise DataError("no observation is left to merge: see the ledger of reasons in the log")
    return merging_statistics(
        observations.miller_index[rows],
        observations.intensity[rows] / scaled.g[rows],
        scaled.variance[rows] / scaled.g[rows] ** 2,
        by.cell,
        by.space_group,
        anomalous=anomalous,
        n_shells=by.options.output.merging.nbins,
        seed=by.options.scaling_options.seed,
        n_splits=by.options.output.merging.n_splits,
        rank=np.flatnonzero(rows).astype(np.int64),
        n_threads=by.n_threads,
    )


def logged_ledger(prepared: Sequence[PreparedDataSet], fit: FitResult, scaled: ScaledObservations) -> list[LedgerEntry]:
    """What became of every observation, in the log too."""
    ledger = make_ledger(prepared, fit.observations, scaled.fate, fit.rejected)
    _logger.info("What became of the observations:\n%s", ledger_table(ledger))
    return ledger
