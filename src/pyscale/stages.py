"""The stages of scaling, each usable alone: what `pyscale.scale` is made of.

A job goes through `prepare`, `fit` and `finish`, which together are `pyscale.scale`. The other functions take plain
arrays, and know nothing of jobs and files:

    groups = stages.group(miller_index, "P 21 21 21")
    i, v, g = (groups.sorted(x) for x in (intensity, variance, inverse_scale_factor))
    outlier = stages.reject_outliers(i, v, g, groups.offsets)
    model = stages.fit_error_model(i, v, g, groups.offsets, excluded=outlier)
    merged = stages.merge(miller_index, intensity / inverse_scale_factor, ...)

All are deterministic, whatever `n_threads`, and can be stopped inside `pyscale.cancellable`. Intensities are in the
units of the input, angles in degrees, lengths in Å.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core, merging, outliers
from . import statistics as _statistics
from .after_fit import scaled_observations
from .array_checks import checked_indices, checked_mask, checked_numbers, checked_offsets
from .dataset import Job
from .error_model import ErrorModel
from .error_model_fit import Equivalents, ErrorModelFit, refine_error_model
from .filtering import Continuation
from .joint_model import JointModel
from .merging import MergedReflections
from .observations import JobObservations
from .options import SCALING_NAMES, ScalingOptions
from .prepared_job import PreparedJob, prepare_job, select_job
from .result import ScalingResult
from .scaler import Fitted, finish_job, fit_prepared
from .scaling_model import DataSetModel
from .stage_clock import StageClock
from .statistics_data import MergingStatistics
from .symmetry import SpaceGroupLike, UnitCellLike, rotation_matrices
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = [
    "Fitted",
    "Groups",
    "PreparedJob",
    "evaluate",
    "finish",
    "fit",
    "fit_error_model",
    "group",
    "merge",
    "prepare",
    "reject_outliers",
    "scaled_observations",
    "statistics",
]


def prepare(data: Job, *, options: ScalingOptions | None = None, **keywords: Any) -> PreparedJob:
    """Choose data, models and starting values of a job: all that comes before the fit.

    Parameters
    ----------
    data, options, keywords
        As for `pyscale.scale`; not `filtering.method`, which scales several times.

    Returns
    -------
    PreparedJob
        `observations` are the suitable rows, sorted by group; `models` where the fit starts.

    Raises
    ------
    UsageError
        For unknown options or impossible values.
    DataError
        If nothing can be scaled.
    """
    given = SCALING_NAMES.given_by(keywords)
    if options is None:
        options, _ = SCALING_NAMES.from_keywords(keywords)
    job, names = select_job(data, options)
    return prepare_job(job, names, options, given, StageClock(), Continuation(is_final=True))


def fit(prepared: PreparedJob) -> Fitted:
    """Fit the models of all data sets together: rounds of minimisation, outliers and error model.

    Returns
    -------
    Fitted
        `fit` holds models, scales, error model and outliers; a job that is prepared may be fitted again.

    Raises
    ------
    DataError
        If no reflection is measured twice, or the minimiser finds no usable answer.
    """
    return fit_prepared(prepared, may_choose=True)


def finish(prepared: PreparedJob, fitted: Fitted) -> ScalingResult:
    """Find limits, statistics, ledger and analyses of a fitted job: what `pyscale.scale` returns.

    Raises
    ------
    DataError
        If no observation is left to merge.
    """
    return finish_job(prepared, fitted)


def evaluate(models: Sequence[DataSetModel], observations: JobObservations, *, n_threads: int = 1) -> FloatArray:
    """Evaluate the models of all data sets, without a fit.

    Parameters
    ----------
    models : sequence of DataSetModel
        One for each data set, as in `PreparedJob.models` or `ScalingResult.models`.
    observations : JobObservations
        As in `PreparedJob.observations`; n rows.
    n_threads : int

    Returns
    -------
    (n,) float64
        Inverse scale factors g: the scaled intensity is I/g.
    """
    joint = JointModel(list(models))
    return _core.inverse_scale_factors(joint.core, observations.core(), joint.parameters, n_threads)


@dataclass(frozen=True)
class Groups:
    """Observations by symmetry equivalents.

    Attributes
    ----------
    order : (n,) int64
        Rows of the input, group by group.
    offsets : (n_groups + 1,) int64
        First place in `order` of each group, and the end.
    miller_index : (n_groups, 3) int32
        One of all equivalents: the lexicographically largest, of I(-) negated where mates are apart.
    is_centric : (n_groups,) bool
    """

    order: IndexArray
    offsets: IndexArray
    miller_index: IntArray
    is_centric: BoolArray

    def __len__(self) -> int:
        return len(self.miller_index)

    def __repr__(self) -> str:
        return f"<Groups: {len(self.order)} observations in {len(self)} groups>"

    def sorted(self, values: ArrayLike) -> NDArray[Any]:
        """Return values of the input's rows (n, ...), group by group; a new array."""
        return np.ascontiguousarray(np.asarray(values)[self.order])

    def unsorted(self, values: ArrayLike) -> NDArray[Any]:
        """Return values of sorted rows (n, ...) in the order of the input; a new array."""
        array = np.asarray(values)
        result = np.empty_like(array)
        result[self.order] = array
        return result


def group(
    miller_index: ArrayLike, space_group: SpaceGroupLike, *, anomalous: bool = False, n_threads: int = 1
) -> Groups:
    """Group symmetry equivalents.

    Parameters
    ----------
    miller_index : (n, 3) integers
    space_group : str, gemmi.SpaceGroup or gemmi.GroupOps
    anomalous : bool
        Whether I(+) and I(-) are groups of their own.
    n_threads : int

    Raises
    ------
    DataError
        If an index is impossible, with its row, or the space group is unknown.
    """
    index = checked_indices("miller_index", miller_index)
    rank = np.arange(len(index), dtype=np.int64)
    found = _core.group_reflections(index, rotation_matrices(space_group), rank, n_threads)
    order, offsets = found["order"], found["offsets"]
    asu_index, is_centric = found["asu_index"].astype(np.int32), found["is_centric"].astype(np.bool_)
    if not anomalous:
        return Groups(order, offsets, asu_index, is_centric)
    apart = found["anomalous_offsets"]
    parent = np.searchsorted(offsets, apart[:-1], side="right") - 1
    sign = np.where(found["is_minus"][apart[:-1]], -1, 1).astype(np.int32)
    return Groups(order, apart, asu_index[parent] * sign[:, None], is_centric[parent])


def reject_outliers(
    intensity: ArrayLike,
    variance: ArrayLike,
    inverse_scale_factor: ArrayLike,
    offsets: ArrayLike,
    *,
    zmax: float = 6.0,
    excluded: ArrayLike | None = None,
    n_threads: int = 1,
) -> BoolArray:
    """Find observations that disagree with their equivalents, the worst of each group first.

    Parameters
    ----------
    intensity, variance, inverse_scale_factor : (n,) numbers, sorted by group
        Unscaled intensity I, variance of I after the error model, and g.
    offsets : (n_groups + 1,) integers
    zmax : float
        Largest deviation from the weighted mean of the others to accept, in standard deviations.
    excluded : (n,) bool, optional
        Rows that are neither used nor judged.
    n_threads : int

    Returns
    -------
    (n,) bool

    Raises
    ------
    DataError
        If an array has another shape, or an impossible value: the message names array and row.
    """
    columns = _observed(intensity, variance, inverse_scale_factor)
    return outliers.find_outliers(
        columns[0],
        1.0 / columns[1],
        columns[2],
        checked_offsets("offsets", offsets, columns[0].size),
        zmax=zmax,
        excluded=checked_mask("excluded", excluded, columns[0].size),
        n_threads=n_threads,
    )


def fit_error_model(
    intensity: ArrayLike,
    variance: ArrayLike,
    inverse_scale_factor: ArrayLike,
    offsets: ArrayLike,
    *,
    anomalous_offsets: ArrayLike | None = None,
    excluded: ArrayLike | None = None,
    start: ErrorModel | None = None,
    n_threads: int = 1,
) -> ErrorModelFit:
    """Fit sigma'^2 = a^2 (V + c I_e + (b I_e)^2) to the scatter of equivalents.

    Parameters
    ----------
    intensity, variance, inverse_scale_factor : (n,) numbers, sorted by group
        Unscaled intensity I, variance V of integration, and g.
    offsets, anomalous_offsets : (n_groups + 1,) integers
        Groups for the expected intensity I_e, and those whose scatter counts: I(+) and I(-) apart; the same by default.
    excluded : (n,) bool, optional
        Rows not to use, as outliers.
    start : ErrorModel, optional
        Where to start, and what is kept if there is too little to fit to.
    n_threads : int

    Returns
    -------
    ErrorModelFit
        `model.sigma_squared` gives the variances; `reason` says how it ended.

    Raises
    ------
    DataError
        If an array has another shape, or an impossible value: the message names array and row.
    """
    i, v, g = _observed(intensity, variance, inverse_scale_factor)
    mask = checked_mask("excluded", excluded, i.size)
    together = checked_offsets("offsets", offsets, i.size)
    apart = together if anomalous_offsets is None else checked_offsets("anomalous_offsets", anomalous_offsets, i.size)
    observations = Equivalents(
        intensity=i,
        variance=v,
        inverse_scale_factor=g,
        conversion=np.ones(i.size),
        offsets=together,
        anomalous_offsets=apart,
        excluded=np.zeros(i.size, np.bool_) if mask is None else mask,
        n_threads=n_threads,
    )
    return refine_error_model(observations, start=start)


def merge(
    miller_index: ArrayLike,
    intensity: ArrayLike,
    variance: ArrayLike,
    space_group: SpaceGroupLike,
    *,
    n_threads: int = 1,
) -> MergedReflections:
    """Merge scaled observations: weighted means, Friedel mates together and apart.

    Parameters
    ----------
    miller_index : (n, 3) integers
    intensity, variance : (n,) numbers
        Scaled: I/g and its variance. Rows in any order.
    space_group : str, gemmi.SpaceGroup or gemmi.GroupOps
    n_threads : int

    Raises
    ------
    DataError
        If an array has another shape, or an impossible value: the message names array and row.
    """
    index, i, v = _scaled(miller_index, intensity, variance)
    return merging.merge_reflections(index, i, v, space_group, n_threads=n_threads)


def statistics(
    miller_index: ArrayLike,
    intensity: ArrayLike,
    variance: ArrayLike,
    unit_cell: UnitCellLike,
    space_group: SpaceGroupLike,
    *,
    anomalous: bool = False,
    n_shells: int = 20,
    d_min: float | None = None,
    d_max: float | None = None,
    seed: int = 42,
    n_threads: int = 1,
) -> MergingStatistics:
    """Statistics of how well scaled equivalents agree, in shells of equal volume of reciprocal space.

    Parameters
    ----------
    miller_index, intensity, variance, space_group
        As for `merge`.
    unit_cell : six numbers (Å, degrees) or gemmi.UnitCell
    anomalous : bool
        Whether to add statistics with I(+) and I(-) as reflections of their own.
    n_shells : int
    d_min, d_max : float, optional
        Limits, Å.
    seed : int
        Of the random halves of CC½.
    n_threads : int

    Raises
    ------
    DataError
        If an array has another shape, or an impossible value: the message names array and row.
    """
    index, i, v = _scaled(miller_index, intensity, variance)
    return _statistics.merging_statistics(
        index,
        i,
        v,
        unit_cell,
        space_group,
        anomalous=anomalous,
        n_shells=n_shells,
        d_min=d_min,
        d_max=d_max,
        seed=seed,
        n_threads=n_threads,
    )


def _observed(
    intensity: ArrayLike, variance: ArrayLike, inverse_scale_factor: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    n = np.shape(intensity)[0] if np.ndim(intensity) else 0
    return (
        checked_numbers("intensity", intensity, n),
        checked_numbers("variance", variance, n, positive=True),
        checked_numbers("inverse_scale_factor", inverse_scale_factor, n, positive=True),
    )


def _scaled(
    miller_index: ArrayLike, intensity: ArrayLike, variance: ArrayLike
) -> tuple[IntArray, FloatArray, FloatArray]:
    index = checked_indices("miller_index", miller_index)
    n = len(index)
    return index, checked_numbers("intensity", intensity, n), checked_numbers("variance", variance, n, positive=True)
