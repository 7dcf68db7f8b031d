"""Data sets of a job in one indexing: the check, what the log says of it, and new indices for those that differ."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from ._core import __version__
from .dataset import Job
from .experiment import Experiment
from .indexing_ambiguity import IndexingAnalysis, analyse_indexing
from .indexing_intensities import IndexedIntensities
from .indexing_operators import IndexingOperators, alternative_indexings
from .json_values import JsonObject
from .observations import beam_directions
from .options import ScalingOptions
from .preparation import UnitCell
from .prepared import PreparedDataSet
from .reflections import ReflectionTable
from .symmetry import unit_cell_from
from .typing import FloatArray

__all__ = ["consistently_indexed", "indexing_table", "reindex"]

_logger = logging.getLogger(__name__)

_MOST_LISTED = 40
_MOST_NAMED = 8
_BETTER = 0.5
"""Part of the old misfit of a crystal that the new indices must leave to show that they are what it was made for."""
_OF_THE_OLD_AXES = ("B_covariance", "B_covariance_at_scan_points")


def consistently_indexed(
    job: Job,
    prepared: Sequence[PreparedDataSet],
    cell: UnitCell,
    space_group: Any,
    options: ScalingOptions,
    n_threads: int,
    reference: IndexedIntensities | None = None,
) -> tuple[Job, IndexingAnalysis | None]:
    """Compare the indexings of the data sets where the lattice allows several.

    Those that agree with the others only in another indexing are reindexed with `check_consistent_indexing`, else named
    in a warning.

    Parameters
    ----------
    job : Job
    prepared : sequence of PreparedDataSet
        Its data sets.
    cell, space_group, options, n_threads
        Those of the job.
    reference : IndexedIntensities, optional
        Decides which indexing is right; without, that of most data sets is.

    Returns
    -------
    job : Job
        The job, or a new one with reindexed data sets.
    analysis : IndexingAnalysis or None
        None where there is nothing to compare.
    """
    wanted = options.scaling_options.check_consistent_indexing
    operators = alternative_indexings(cell, space_group, options.scaling_options.indexing_obliquity)
    if operators is None or (len(prepared) < 2 and reference is None):
        if wanted:
            why = "the lattice has no other" if operators is None else "there is only one data set"
            _logger.info("The indexings of the data sets are not compared: %s", why)
        return job, None
    analysis = _analysis(prepared, cell, operators, options, n_threads, reference)
    identifiers = [p.identifier for p in prepared]
    _logger.info("%s", indexing_table(analysis, identifiers))
    _log_operators(analysis, wanted)
    changed = np.flatnonzero(analysis.operator)
    if not changed.size:
        return job, analysis
    if not wanted:
        _logger.warning(
            "%s: indexed unlike the others; reindex them by check_consistent_indexing=True",
            _named(analysis, identifiers),
        )
        return job, analysis
    _logger.info("Reindexed: %s", _named(analysis, identifiers))
    return reindex(job, operators, analysis.operator), replace(analysis, reindexed=True)


def _analysis(
    prepared: Sequence[PreparedDataSet],
    cell: UnitCell,
    operators: IndexingOperators,
    options: ScalingOptions,
    n_threads: int,
    reference: IndexedIntensities | None,
) -> IndexingAnalysis:
    rows = [np.flatnonzero(p.suitable & ~p.absent) for p in prepared]
    observations = IndexedIntensities(
        np.repeat(np.arange(len(prepared), dtype=np.int64), [r.size for r in rows]),
        np.concatenate([p.table["miller_index"][r] for p, r in zip(prepared, rows, strict=True)]),
        np.concatenate([p.intensity[r] for p, r in zip(prepared, rows, strict=True)]),
        np.concatenate([p.variance[r] for p, r in zip(prepared, rows, strict=True)]),
    )
    return analyse_indexing(
        observations,
        cell,
        operators,
        n_data_sets=len(prepared),
        reference=reference,
        seed=options.scaling_options.seed,
        n_threads=n_threads,
    )


def _log_operators(analysis: IndexingAnalysis, wanted: bool) -> None:
    unresolved = np.flatnonzero(~analysis.resolved)[1:]
    if unresolved.size:
        _logger.log(
            logging.WARNING if wanted else logging.INFO,
            "Intensities do not tell %s from h,k,l: no data set is reindexed by it (too few or too weak common "
            "reflections, perfect twins, or a point group that is too low)",
            " nor ".join(analysis.operators.triplets[k] for k in unresolved),
        )
    undecided = int(np.count_nonzero(analysis.undecided))
    if undecided and analysis.resolved.any():
        _logger.warning("%d of %d data sets may be in either indexing and stay as they are", undecided, _n(analysis))


def _n(analysis: IndexingAnalysis) -> int:
    return int(analysis.operator.size)


def _named(analysis: IndexingAnalysis, identifiers: Sequence[str]) -> str:
    changed = np.flatnonzero(analysis.operator)
    names = [f"data set {identifiers[k]} ({_change(analysis, int(k))})" for k in changed[:_MOST_NAMED]]
    more = f" and {changed.size - _MOST_NAMED} more of {_n(analysis)}" if changed.size > _MOST_NAMED else ""
    return ", ".join(names) + more


def _change(analysis: IndexingAnalysis, data_set: int) -> str:
    k = analysis.operator[data_set]
    now, then = analysis.correlation[data_set, 0], analysis.correlation[data_set, k]
    return f"{analysis.operators.triplets[k]}: correlation {then:.2f} instead of {now:.2f}"


def indexing_table(analysis: IndexingAnalysis, identifiers: Sequence[str]) -> str:
    """Return correlations and decisions as text; of many data sets, those that are not consistent first."""
    listed = np.argsort((analysis.operator == 0).astype(int) * 2 - analysis.undecided, kind="stable")[:_MOST_LISTED]
    shown = np.sort(listed)
    width = max([8, *(len(identifiers[k]) for k in shown)]) + 2
    triplets = analysis.operators.triplets
    columns = [max(len(t), 6) + 2 for t in triplets]
    head = f"{'Data set':<{width}}{'common':>8}" + "".join(f"{t:>{c}}" for t, c in zip(triplets, columns, strict=True))
    lines = ["Indexings that the lattice allows: correlation with the mean of the other data sets", head + "  decision"]
    decisions = analysis.decisions
    for k in shown:
        values = "".join(f"{v:>{c}.3f}" for v, c in zip(analysis.correlation[k], columns, strict=True))
        lines.append(f"{identifiers[k]:<{width}}{analysis.n_common[k, 0]:>8.0f}{values}  {decisions[k]}")
    if shown.size < _n(analysis):
        lines.append(f"({shown.size} of {_n(analysis)} data sets)")
    return "\n".join(lines)


def reindex(job: Job, operators: IndexingOperators, chosen: Sequence[int] | np.ndarray) -> Job:
    """Return the job with some data sets in another indexing of the same lattice.

    Miller indices become h T. Real-space axes, rows of M, become T^t M, setting matrices A T^-t: reciprocal-lattice
    vectors, and so all predictions, stay. Covariances of the old axes are dropped. A crystal that does not go with the
    old indices, but with the new ones, stays as it is.

    Parameters
    ----------
    job : Job
    operators : IndexingOperators
    chosen : (n_data_sets,) int
        Number of the operator of each data set; 0 for none.
    """
    changed = job.select(range(len(job.data_sets)))
    tables: list[ReflectionTable] = []
    for data_set, number in zip(changed.data_sets, chosen, strict=True):
        table = data_set.reflections
        if number:
            old, table = table, table.copy()
            table["miller_index"] = operators.apply(int(number), old.require("miller_index"))
            if not _misfit(data_set.experiment, table) < _BETTER * _misfit(data_set.experiment, old):
                crystal = _reindexed_crystal(data_set.experiment, operators.matrix(int(number)))
                changed.experiments.set_model(data_set.experiment_index, "crystal", crystal)
        tables.append(table)
    stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    changed.experiments.add_history(f"{stamp}|pyscale scale|{__version__}|reindexed")
    return changed.replaced(changed.experiments, tables)


def _misfit(experiment: Experiment, table: ReflectionTable) -> float:
    """Median distance between A h and the scattering vector that `s1` stands for, 1/Angstrom; NaN without `s1`."""
    if "s1" not in table or not len(table):
        return np.nan
    crystal = JsonObject(experiment.crystal or {}, f"{experiment.where}: crystal")
    setting = np.linalg.inv([crystal.vector(f"real_space_{name}", 3) for name in "abc"])
    with np.errstate(invalid="ignore", divide="ignore"):
        if experiment.is_still:
            s1 = np.asarray(table["s1"], dtype=np.float64)
            to_source, diffracted = experiment.beam_direction, s1 / np.linalg.norm(s1, axis=1)[:, None]
        else:
            image_z = np.ascontiguousarray(table.centroids()[:, 2])
            to_source, diffracted = (_unpermuted(v) for v in beam_directions(table, experiment, image_z))
        scattering = (to_source + diffracted) / experiment.wavelength
        distance = np.linalg.norm(table["miller_index"] @ setting.T - scattering, axis=1)
    known = distance[np.isfinite(distance)]
    return float(np.median(known)) if known.size else np.nan


def _unpermuted(directions: FloatArray) -> FloatArray:
    """Return directions with the axes of the laboratory: absorption surfaces have (-z, y, x)."""
    result: FloatArray = directions[:, ::-1] * (1.0, 1.0, -1.0)
    return result


def _reindexed_crystal(experiment: Experiment, operator: FloatArray) -> dict[str, Any]:
    """Return the crystal model with the axes T^t (a, b, c)."""
    values: dict[str, Any] = {k: v for k, v in (experiment.crystal or {}).items() if k not in _OF_THE_OLD_AXES}
    model = JsonObject(values, f"{experiment.where}: crystal")
    axes = operator.T @ np.array([model.vector(f"real_space_{name}", 3) for name in "abc"])
    values |= {f"real_space_{name}": axis.tolist() for name, axis in zip("abc", axes, strict=True)}
    if values.get("A_at_scan_points") is not None:
        settings = JsonObject({str(k): a for k, a in enumerate(model.required("A_at_scan_points"))}, model.where)
        matrices = np.array([settings.vector(k, 9).reshape(3, 3) for k in settings.values])
        values["A_at_scan_points"] = (matrices @ np.linalg.inv(operator.T)).reshape(-1, 9).tolist()
    recalculated = experiment.recalculated_unit_cell
    if recalculated is not None:
        values["recalculated_unit_cell"] = _reindexed_cell(recalculated, operator)
        deviations = model.values.get("recalculated_cell_parameter_sd")
        exchanged = bool((np.count_nonzero(operator, axis=0) == 1).all())
        if deviations is not None and exchanged:
            old = np.argmax(np.abs(operator), axis=0)
            moved = model.vector("recalculated_cell_parameter_sd", 6).reshape(2, 3)[:, old]
            values["recalculated_cell_parameter_sd"] = moved.ravel().tolist()
        elif deviations is not None:
            del values["recalculated_cell_parameter_sd"]
    return values


def _reindexed_cell(cell: UnitCell, operator: FloatArray) -> list[float]:
    """Return lengths and angles of the new axes."""
    axes = np.array(unit_cell_from(cell).orth.mat.tolist()) @ operator
    lengths = np.linalg.norm(axes, axis=0)
    cosines = (axes.T @ axes) / np.outer(lengths, lengths)
    angles = np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))
    return [*lengths.tolist(), *angles.tolist()]
