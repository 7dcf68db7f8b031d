"""The public JSON document of a scaling job (docs/reference/json.md)."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ._core import __version__, simd_name
from .correlations import correlation_entry
from .error_model_fit import sigmas
from .image_ranges import valid_ranges, valid_span, without_ranges
from .model_document import component_entry, curve_sigmas, finite
from .options import to_dict
from .plain_numbers import PlainList
from .unit_cells import wavelengths
from .verdict import verdict_of

if TYPE_CHECKING:
    from .experiment import Experiment
    from .local_covariance import LocalCovariance
    from .result import ScalingResult
    from .scaling_model import DataSetModel

__all__ = ["DOCUMENT_VERSION", "data_set_entry", "plain_values", "result_document"]

DOCUMENT_VERSION = 1


def result_document(result: ScalingResult) -> dict[str, Any]:
    """Return the document; NaN and infinity are null."""
    statistics = result.statistics.to_dict()
    statistics["with_outliers"] = {"overall": result.statistics_with_outliers.overall.to_dict()}
    document = {
        "version": DOCUMENT_VERSION,
        "schema_version": DOCUMENT_VERSION,
        "program_version": __version__,
        "verdict": None,
        "sources": list(map(str, result.job.sources)),
        "options": to_dict(result.options),
        "decisions": None,
        "model_choice": None if result.model_choice is None else result.model_choice.to_dict(),
        "connectivity": result.connectivity.to_dict(),
        "reflection_selection": result.selection.to_dict([p.identifier for p in result.prepared]),
        "indexing": None if result.indexing is None else result.indexing.to_dict(result.job.identifiers),
        "free_set": None if result.free_set is None else result.free_set.to_dict(),
        "reference": None if result.reference is None else result.reference.to_dict(),
        "filtering": None if result.filtering is None else result.filtering.to_dict(),
        "datasets": None,
        "ledger": None,
        "fit": _fit(result),
        "error_model": _error_model(result),
        "merging_statistics": statistics,
        "analyses": result.analyses.to_dict(),
        "warnings": result.warnings(),
        "unit_cell": list(result.unit_cell),
        "space_group": result.space_group.xhm(),
        "identifier_changes": [list(change) for change in result.job.identifier_changes],
        "n_unindexed": result.job.n_unindexed,
    }
    cleaned: dict[str, Any] = plain_values(document)
    # There may be very many data sets: what belongs to them is plain from the start.
    cleaned["decisions"] = _decisions(result)
    cleaned["datasets"] = _data_sets(result)
    cleaned["ledger"] = {entry.identifier: entry.to_dict() for entry in result.ledger}
    cleaned["verdict"] = verdict_of(cleaned).to_dict()
    return cleaned


def _decisions(result: ScalingResult) -> dict[str, Any]:
    """Decisions by data set, those of the model and those of reading its file; equal plans are one object."""
    plain = {id(plan): plain_values(plan.to_dict()) for plan in {id(plan): plan for plan in result.plans}.values()}
    of_data = {name: {"value": d.value, "reason": d.reason} for name, d in result.limits.decisions.items()}
    if of_data:
        plain = {key: value | plain_values(of_data) for key, value in plain.items()}
    decisions = {p.identifier: plain[id(plan)] for p, plan in zip(result.prepared, result.plans, strict=True)}
    for identifier, of_input in result.job.input_decisions.items():
        if identifier in decisions:
            found = {f"input.{d.name}": {"value": d.value, "reason": d.reason} for d in of_input}
            decisions[identifier] = decisions[identifier] | plain_values(found)
    return decisions


def _data_sets(result: ScalingResult) -> list[dict[str, Any]]:
    experiments = [d.experiment for d in result.job.data_sets]
    wavelength = wavelengths(experiments)
    bands = curve_sigmas(result.models, _covariance(result), lambda k: valid_span(experiments[k]))
    imids, tried = result.fit.intensity_choice.imids.tolist(), result.fit.intensity_choice.of_data_set
    entries = [
        data_set_entry(p.identifier, p.n_read, e, wavelength[k], component=int(result.fit.component[k]), model=model)
        | {
            "imid": imids[k],
            "tried_imids": [{"imid": c.imid, "r_meas": finite([c.r_meas])[0]} for c in tried.get(k, ())],
        }
        for k, (p, e, model) in enumerate(zip(result.prepared, experiments, result.models, strict=True))
    ]
    for (k, number), band in bands.items():
        entries[k]["model"]["components"][number]["band"] = band
    return entries


def data_set_entry(
    identifier: str, n_read: int, experiment: Experiment, wavelength: float, *, component: int, model: DataSetModel
) -> dict[str, Any]:
    """What the document says of a data set, apart from how its intensities were chosen and what only a fit tells."""
    e = experiment
    return {
        "identifier": identifier,
        "n_reflections": n_read,
        "images": None if e.image_range is None else list(e.image_range),
        "excluded_images": _excluded_images(e),
        "oscillation": None if e.oscillation is None else list(e.oscillation),
        "wavelength": wavelength,
        "component": component,
        "imid": None,
        "tried_imids": [],
        "model": {"type": model.model, "components": [component_entry(c) for c in model.components]},
    }


def _covariance(result: ScalingResult) -> LocalCovariance | None:
    """Covariance of the parameters of the result's models; None without, or where these are not all of the fit."""
    local = result.fit.covariance.local
    return local if local is not None and len(local.layout.own) == len(result.models) else None


def _excluded_images(experiment: Experiment) -> list[list[int]] | None:
    images = experiment.image_range
    return None if images is None else [list(r) for r in without_ranges([images], valid_ranges(experiment))]


def _fit(result: ScalingResult) -> dict[str, Any]:
    fit = result.fit
    return {
        "rounds": [asdict(r) for r in fit.rounds],
        "imid": fit.intensity_choice.common,
        "tried_imids": [asdict(c) for c in fit.intensity_choice.tried],
        "without_data": fit.without_data,
        "termination": fit.termination,
        "message": fit.message,
        "cost": fit.cost,
        "n_parameters": int(fit.parameters.size),
        "effective_parameters": fit.covariance.effective_parameters,
        "n_observations": fit.n_observations,
        "n_groups": fit.n_groups,
        "correlations": correlation_entry(result.models, result.job.identifiers, _covariance(result)),
        "chi_squared": fit.covariance.chi_squared,
        "condition": fit.covariance.condition,
        "standard_error_of_variances": fit.covariance.standard_error,
        "gauge": [d.name for d in fit.gauge.directions],
        "undetermined": fit.covariance.undetermined,
        "n_threads": result.n_threads,
        "instruction_set": simd_name(),
        "wall_seconds": {**result.seconds, "total": sum(result.seconds.values())},
        "peak_memory_mib": _peak_memory_mib(),
    }


def _error_model(result: ScalingResult) -> dict[str, Any]:
    models, fit = result.fit.error_models, result.fit.error_model_fit
    model = models.common
    document: dict[str, Any] = {"type": models.kind, "a": model.a, "b": model.b, "c": model.c, "isa": model.isa}
    if fit is None:
        return document
    plot = fit.bins_when_wanted.normal_probability()
    return document | {
        "sigma_a": fit.sigma_a,
        "sigma_b": fit.sigma_b,
        "sigma_c": fit.sigma_c,
        "sigma_isa": fit.sigma_isa,
        "n_used": fit.n_used,
        "converged": fit.converged,
        "reason": fit.reason,
        "rejection": None if result.fit.rejection_model is None else asdict(result.fit.rejection_model),
        "groups": _error_model_groups(result),
        "bins": [asdict(b) for b in fit.bins],
        "normal_probability": None if plot is None else plot.to_dict(),
    }


def _error_model_groups(result: ScalingResult) -> list[dict[str, Any]]:
    """Models of groups of data sets; empty where all have the same."""
    models = result.fit.error_models
    if models.shrunk is None:
        return []
    members: dict[int, list[str]] = {}
    for p, number in zip(result.prepared, models.group_of.tolist(), strict=True):
        members.setdefault(number, []).append(p.identifier)
    return [
        {
            "datasets": identifiers,
            "a": models.models[k].a,
            "b": models.models[k].b,
            "c": models.models[k].c,
            "isa": models.models[k].isa,
            **dict(
                zip(
                    ("sigma_a", "sigma_b", "sigma_c"),
                    sigmas(models.models[k], models.shrunk.covariance[k]),
                    strict=True,
                )
            ),
        }
        for k, identifiers in sorted(members.items())
    ]


def _peak_memory_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def plain_values(value: Any) -> Any:
    """Replace what JSON cannot say: infinite and undefined numbers, tuples, numpy scalars, paths."""
    if isinstance(value, dict):
        return {str(k): plain_values(v) for k, v in value.items()}
    if isinstance(value, PlainList):
        return value
    if isinstance(value, (list, tuple)):
        return [plain_values(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
