"""What scaled files alone tell of a job: the public document, without what only the job knew.

Statistics and analyses are those of the observations on file, by the same functions as after a fit.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ._core import __version__
from .after_fit import Merging, both_statistics
from .analysis.analyses import analyse
from .analysis.scaled_data import ScaledData
from .connectivity import find_connectivity
from .data_limits import apply_limits
from .dataset import DataSet, load_job
from .document import DOCUMENT_VERSION, data_set_entry, plain_values
from .evaluation import read_model
from .export_rows import ExportRows, all_reflections, scaled_rows
from .fates import FATE_COLUMN, FATES, REJECTED, fate_number
from .fitting import FitResult
from .intensity_choice import IntegratedIntensities
from .job_checks import common_space_group
from .model_json import fitted_with_mates_apart, is_own_model
from .observations import JobObservations, collect
from .options import AUTO, Auto, ScalingOptions
from .options.merge import MergeOptions
from .output_table import ScaledObservations
from .prepared import PreparedDataSet, PreparedRows
from .reflections import ReflectionTable
from .scaled_rows import reasons_left_out
from .scaling_model import DataSetModel
from .stored_error_models import own_error_model
from .symmetry import systematic_absences
from .threads import thread_count
from .typing import BoolArray, ByteArray, FloatArray, IntArray
from .unit_cells import wavelengths
from .verdict import verdict_of

__all__ = ["document_of_scaled_files"]

_logger = logging.getLogger(__name__)

_KINDS = ("filtered", "user_excluded", "rejected")
_REASONS = {"outlier": ("rejected", "other"), "user_excluded": ("user_excluded", "other")}


@dataclass(frozen=True, kw_only=True)
class _StoredFit:
    """What files tell of a fit, under the names of `FitResult`; arrays (n,) in canonical order."""

    observations: JobObservations
    models: list[DataSetModel]
    sigma_squared: FloatArray
    expected: FloatArray
    disputed: BoolArray
    rejected: dict[str, BoolArray]
    small_scale: BoolArray
    component: IntArray


def document_of_scaled_files(paths: Sequence[str | os.PathLike[str]], n_threads: int | Auto = AUTO) -> dict[str, Any]:
    """Make the public document of scaled experiments and reflections, of pyscale or DIALS, without a fit.

    What the files do not hold (options, decisions, course of the fit) is null or empty, and named in the key
    `not_known`.

    Raises
    ------
    UsageError, DataError
        If files cannot be read, or have not been scaled.
    """
    job = load_job(paths)
    threads = thread_count(n_threads)
    table = all_reflections(job)
    rows = scaled_rows(job, table, n_threads=threads)
    apart = any(map(fitted_with_mates_apart, {id(m): m for m in (e.scaling_model for e in rows.experiments)}.values()))
    by = Merging(cell=rows.unit_cell, space_group=common_space_group(job), options=ScalingOptions(), n_threads=threads)
    prepared, fit, scaled = _as_after_a_fit(rows, apart)
    scaled, limits = apply_limits(fit.observations, scaled, by)
    as_result = cast(FitResult, fit)
    statistics, with_outliers = both_statistics(as_result, scaled, by)
    data = ScaledData(
        fit=as_result,
        scaled=scaled,
        statistics=statistics,
        limits=limits,
        prepared=prepared,
        unit_cell=by.cell,
        space_group=by.space_group,
        options=by.options,
        n_threads=threads,
    )
    analyses = analyse(data)
    merging_statistics = statistics.to_dict() | {"with_outliers": {"overall": with_outliers.overall.to_dict()}}
    document: dict[str, Any] = plain_values(
        {
            **_known_of_no_file(),
            "sources": list(map(str, paths)),
            "connectivity": find_connectivity(fit.observations, job.identifiers).to_dict(),
            "datasets": None,
            "ledger": _ledger(job.data_sets, rows, table),
            "error_model": _error_model(rows),
            "merging_statistics": merging_statistics,
            "analyses": analyses.to_dict(),
            "warnings": [*limits.warnings, *analyses.warnings()],
            "unit_cell": list(by.cell),
            "space_group": by.space_group.xhm(),
            "identifier_changes": [list(change) for change in job.identifier_changes],
            "n_unindexed": job.n_unindexed,
        }
    )
    document["datasets"] = _data_sets(job.data_sets, fit, document["ledger"])
    document["verdict"] = verdict_of(document).to_dict()
    return document


def _known_of_no_file() -> dict[str, Any]:
    """The keys of the document that only the job itself could fill."""
    return {
        "version": DOCUMENT_VERSION,
        "schema_version": DOCUMENT_VERSION,
        "program_version": __version__,
        "verdict": None,
        "not_known": [
            "options",
            "decisions and their reasons",
            "course and termination of the fit",
            "how the error model was found",
        ],
        "options": None,
        "decisions": {},
        "model_choice": None,
        "reflection_selection": None,
        "indexing": None,
        "free_set": None,
        "reference": None,
        "filtering": None,
        "fit": {"without_data": {}},
    }


def _as_after_a_fit(rows: ExportRows, apart: bool) -> tuple[list[PreparedDataSet], _StoredFit, ScaledObservations]:
    """The scaled rows in the forms in which the stages after a fit want them."""
    order = np.argsort(rows.data_set, kind="stable").astype(np.int64)
    rows = rows.select(order)
    block = _block(rows)
    prepared = [PreparedDataSet(block, k) for k in range(len(rows.job.data_sets))]
    models = [_model(d) for d in rows.job.data_sets]
    observations = collect(
        prepared,
        [m.has_absorption and "s1" in rows.table for m in models],
        rows.space_group,
        anomalous=apart,
        needs_place=False,
        n_threads=rows.n_threads,
    )
    place = block.offsets[observations.data_set] + observations.row
    i = rows.intensities.take(place)
    outlier, fate = rows.is_outlier[place], _fates(rows)[place]
    variance = (i.sigma * i.scale) ** 2
    nothing = np.zeros(place.size, np.bool_)
    scaled = ScaledObservations(
        g=i.scale,
        g_variance=i.scale_sigma**2,
        variance=variance,
        scale_variance=np.zeros(place.size),
        scale_correlation=i.scale_correlation,
        outlier=outlier,
        small_scale=nothing,
        fate=fate,
        beyond_limits=nothing.copy(),
    )
    expected = _expected(observations, scaled)
    if rows.has_common_scale_errors:
        # Their sigmas on file hold the errors of the scales, which those of merged rows are without already.
        of_scale = (expected / scaled.g) ** 2 * scaled.g_variance
        variance[outlier] = np.maximum(variance - of_scale, 0.1 * variance)[outlier]
    fit = _StoredFit(
        observations=observations,
        models=models,
        sigma_squared=variance,
        expected=expected,
        disputed=(fate == fate_number("not_used_in_fit", "disputed")) & ~outlier,
        rejected={f.reason: outlier & (fate == k) for k, f in FATES.items() if f.kind == REJECTED},
        small_scale=nothing,
        component=find_connectivity(observations, rows.job.identifiers).component,
    )
    return prepared, fit, scaled


def _block(rows: ExportRows) -> PreparedRows:
    n, n_sets = len(rows), len(rows.job.data_sets)
    offsets = np.searchsorted(rows.data_set, np.arange(n_sets + 1)).astype(np.int64)
    i = rows.intensities
    unknown = np.zeros(n)
    return PreparedRows(
        data_sets=rows.job.data_sets,
        table=rows.table,
        offsets=offsets,
        n_read=np.diff(offsets),
        d_spacing=rows.d_spacing,
        image_z=np.nan_to_num(rows.centroid[:, 2]),
        absent=systematic_absences(rows.space_group, rows.miller_index),
        was_outlier=np.zeros(n, np.bool_),
        imids=np.zeros(n_sets),
        suitable=np.ones(n, np.bool_),
        fate=np.zeros(n, np.uint8),
        _integrated=IntegratedIntensities(unknown, unknown, unknown, unknown, unknown),
        _chosen=(i.value * i.scale, (i.sigma * i.scale) ** 2),
    )


def _fates(rows: ExportRows) -> ByteArray:
    """Fate of each row by the column that pyscale writes; of files without one what the flags tell."""
    column = rows.table.get(FATE_COLUMN)
    if column is None:
        rejected, used = fate_number(REJECTED, "other"), fate_number("used_in_fit", "")
        return np.where(rows.is_outlier, rejected, used).astype(np.uint8)
    return np.asarray(column).astype(np.uint8)


def _expected(observations: JobObservations, scaled: ScaledObservations) -> FloatArray:
    """g times the weighted mean of the merged observations of each row's group in the fit, (n,) float64."""
    starts = observations.target_offsets
    weight = np.where(scaled.merged(observations.absent), 1.0 / scaled.variance, 0.0)
    above = np.add.reduceat(weight * scaled.g * observations.intensity, starts[:-1])
    below = np.add.reduceat(weight * scaled.g**2, starts[:-1])
    mean = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    expected: FloatArray = scaled.g * np.repeat(mean, np.diff(starts))
    return expected


def _model(d: DataSet) -> DataSetModel:
    """The stored model; one without components where there is none that we know."""
    if not d.experiment.scaling_model:
        return DataSetModel("KB", ())
    return read_model(d.experiment, f"scaling model of data set {d.identifier}")


def _data_sets(data_sets: Sequence[DataSet], fit: _StoredFit, ledger: dict[str, Any]) -> list[dict[str, Any]]:
    values = wavelengths([d.experiment for d in data_sets])
    return [
        data_set_entry(
            d.identifier,
            ledger[d.identifier]["read"],
            d.experiment,
            values[k],
            component=int(fit.component[k]),
            model=fit.models[k],
        )
        for k, d in enumerate(data_sets)
    ]


def _error_model(rows: ExportRows) -> dict[str, Any]:
    """That of the first data set's stored model, if it is one of ours."""
    configuration = (rows.experiments[0].scaling_model or {}).get("configuration_parameters", {})
    own = own_error_model(configuration)
    pair = configuration.get("error_model_parameters")
    if not own and not (isinstance(pair, list) and len(pair) == 2):
        return {"type": None, "a": 1.0, "b": 0.0, "c": 0.0, "isa": None}
    a, b = (own["a"], own["b"]) if own else (float(pair[0]), float(pair[1]))
    unknown = dict.fromkeys(("sigma_a", "sigma_b", "sigma_c", "sigma_isa", "n_used", "converged", "rejection"))
    return unknown | {
        "type": own.get("type", "basic"),
        "a": a,
        "b": b,
        "c": own.get("c", 0.0),
        "isa": 1 / (a * b) if a * b > 0 else None,
        "reason": "as the files have it" + (", that of the first data set" if len(rows.experiments) > 1 else ""),
        "groups": [],
        "bins": [],
    }


def _ledger(data_sets: Sequence[DataSet], rows: ExportRows, table: ReflectionTable) -> dict[str, Any]:
    """Fates of all rows by the column of pyscale, else by flags and columns; partials as the files count them."""
    of_row: list[tuple[str, str]]
    if FATE_COLUMN in table:
        known = {k: (fate.kind, fate.reason) for k, fate in FATES.items()}
        of_row = [known.get(k, ("filtered", "other")) for k in np.asarray(table[FATE_COLUMN]).tolist()]
    else:
        own = all(is_own_model(d.experiment.scaling_model) for d in data_sets)
        reasons = reasons_left_out(data_sets, rows.unit_cell, MergeOptions(), 0.0 if own else 0.4)
        of_row = [_REASONS.get(r, ("filtered", r)) if r else ("used_in_fit", "") for r in reasons]
    records = table.get("n_records")
    entries: dict[str, Any] = {}
    stop = 0
    for d in data_sets:
        start, stop = stop, stop + len(d.reflections)
        counts = Counter(of_row[start:stop])
        n_read = stop - start if records is None else int(np.asarray(records[start:stop]).sum())
        entries[d.identifier] = _ledger_entry(counts, n_read, stop - start)
    return entries


def _ledger_entry(counts: Counter[tuple[str, str]], n_read: int, n_rows: int) -> dict[str, Any]:
    by_kind: dict[str, dict[str, int]] = {}
    for (kind, reason), number in counts.items():
        by_kind.setdefault(kind, {})[reason] = number
    used, others = sum(by_kind.get("used_in_fit", {}).values()), by_kind.get("not_used_in_fit", {})
    return {
        "read": n_read,
        "partials_merged": n_read - n_rows,
        **{kind: by_kind.get(kind, {}) for kind in _KINDS},
        "merged": used + sum(others.values()),
        "used_in_fit": used,
        "not_used_in_fit": others,
    }
