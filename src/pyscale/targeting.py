"""Scaling against what is known: a reference from a file, or data sets that have been scaled before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .dataset import Job
from .errors import DataError, UsageError
from .fit_start import FitStart
from .fitting import FitResult
from .io.reference import read_reference
from .model_intensities import ModelSettings
from .observations import JobObservations
from .options import AUTO, ScalingOptions
from .preparation import UnitCell, small_scale_cutoff
from .reference import ReferenceShell, group_reference
from .reference_fit import Agreement, agreement, agreement_table, merged_by_group
from .scaling_model import DataSetModel
from .stored_models import StoredModel
from .typing import BoolArray, FloatArray

__all__ = [
    "ReferenceReport",
    "cutoff_against",
    "have_common_reflections",
    "held_models",
    "is_targeted",
    "reference_path",
    "released_models",
    "report_reference",
    "start_after_target",
    "with_reference",
]

_logger = logging.getLogger(__name__)

_CUTOFF = 1e-5
_OLD_NAMES = ("target_mtz", "target_model")


@dataclass(frozen=True)
class ReferenceReport:
    """What data sets were scaled against, and how they agree with it.

    Attributes
    ----------
    kind : str
        intensities, amplitudes, model, or data_sets: those that were scaled before.
    source : str or None
        File.
    labels : tuple of str
        Columns, or identifiers of the data sets.
    n_reflections, n_groups : int
        Reflections of the reference, and groups of the job that have one.
    shells : list of ReferenceShell
        Error of the reference; empty for data sets.
    data_sets : dict of str to Agreement
        By identifier.
    """

    kind: str
    source: str | None
    labels: tuple[str, ...]
    n_reflections: int
    n_groups: int
    shells: list[ReferenceShell]
    data_sets: dict[str, Agreement]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def reference_path(options: ScalingOptions) -> str | None:
    """File to scale against, also by the old names of the option.

    Raises
    ------
    UsageError
        If two different files are given.
    """
    job = options.scaling_options
    found = {name: path for name in ("reference", *_OLD_NAMES) if (path := getattr(job, name)) is not None}
    if len(set(found.values())) > 1:
        raise UsageError(
            f"options {' and '.join(f'scaling_options.{name}' for name in found)} name different files: give one"
        )
    for name in found:
        if name in _OLD_NAMES:
            _logger.info(
                "option scaling_options.%s was renamed to scaling_options.reference", name, extra={"notice": True}
            )
    return next(iter(found.values()), None)


def with_reference(
    observations: JobObservations,
    path: str | None,
    options: ScalingOptions,
    space_group: Any,
    cell: UnitCell,
    job: Job,
    n_threads: int,
) -> JobObservations:
    """Return the observations with the reference of a file, if there is one.

    Raises
    ------
    DataError
        If it cannot be read, is of another crystal form, or has no reflection in common with the data.
    """
    if path is None:
        return observations
    solvent = options.scaling_options.reference_model
    settings = ModelSettings(
        d_min=0.999 * float(observations.d_spacing.min()),
        wavelength=float(np.mean([d.experiment.wavelength for d in job.data_sets])),
        anomalous=options.anomalous,
        k_sol=solvent.k_sol,
        b_sol=solvent.b_sol,
    )
    reference = read_reference(path, settings)
    return replace(observations, reference=group_reference(reference, observations, space_group, cell, n_threads))


def cutoff_against(observations: JobObservations, options: ScalingOptions) -> float:
    """Smallest inverse scale factor that is trusted: on the scale of the reference, 1e-5 <I> / <I_ref>."""
    reference = observations.reference
    if reference is None or options.cut_data.small_scale_cutoff is not AUTO:
        return small_scale_cutoff(options)
    known = np.repeat(reference.known, np.diff(observations.target_offsets))
    ratio = float(observations.intensity[known].mean()) / float(reference.intensity[reference.known].mean())
    return round(_CUTOFF * max(ratio, 0.0), 12)


def is_targeted(stored: Sequence[StoredModel | None], path: str | None, options: ScalingOptions) -> bool:
    """Whether new data sets are first scaled against those that carry a model.

    Raises
    ------
    UsageError
        If only_target=True is asked for, and there is nothing to scale, or nothing to scale against.
    DataError
        If only_target=True is asked for, and a stored model does not give the scales that it gave.
    """
    job = options.scaling_options
    if path is not None:
        return False
    n_scaled = sum(s is not None for s in stored)
    mixed = 0 < n_scaled < len(stored)
    if job.only_target and not mixed:
        what = "all data sets have been scaled before" if n_scaled else "no data set has been scaled before"
        raise UsageError(
            f"option scaling_options.only_target=True: {what}; give scaled and new data sets, or a reference"
        )
    if not mixed or not (job.target_cycle or job.only_target):
        return False
    if all(s.exact for s in stored if s is not None):
        return True
    if job.only_target:
        raise DataError(
            "a stored model must be fitted again (its surface is in an old frame, or it covers other images), and "
            "cannot be the target: scale without only_target=True"
        )
    return False


def have_common_reflections(observations: JobObservations, scaled: BoolArray, options: ScalingOptions) -> bool:
    """Whether any group has observations of scaled and of new data sets, so that the ones can be the target.

    Raises
    ------
    DataError
        If there are none, and only_target=True asks for nothing else.
    """
    first, of_scaled = observations.target_offsets[:-1], scaled[observations.data_set]
    present = ~observations.absent
    both = np.logical_or.reduceat(of_scaled & present, first) & np.logical_or.reduceat(~of_scaled & present, first)
    if not both.any() and options.scaling_options.only_target:
        raise DataError(
            "new and scaled data sets have no reflection in common, and nothing else determines the scales of the new "
            "ones with only_target=True: check indexing and resolution"
        )
    return bool(both.any())


def held_models(models: Sequence[DataSetModel], scaled: BoolArray) -> list[DataSetModel]:
    """Models with those of the scaled data sets held; held components are shared with none."""
    return [
        m.with_components([replace(c, held=True, shared=False) for c in m.components]) if is_scaled else m
        for m, is_scaled in zip(models, scaled.tolist(), strict=True)
    ]


def released_models(
    fitted: Sequence[DataSetModel], models: Sequence[DataSetModel], *, held: bool
) -> list[DataSetModel]:
    """Fitted models with components shared, and unless `held` also held, as in the models before."""
    return [
        f.with_components(
            [
                replace(c, shared=o.shared, held=c.held if held else o.held)
                for c, o in zip(f.components, before.components, strict=True)
            ]
        )
        for f, before in zip(fitted, models, strict=True)
    ]


def start_after_target(fit: FitResult) -> FitStart:
    """Start of the joint fit after new data sets have been scaled against others."""
    return FitStart(
        kept=(True,) * len(fit.models),
        is_solution=True,
        error_model=fit.error_model,
        error_model_determined=not fit.error_model_given_up,
        imids=fit.intensity_choice.imids,
    )


def report_reference(fit: FitResult, scaled: BoolArray, identifiers: Sequence[str]) -> ReferenceReport | None:
    """What a fit says of its reference, or of the data sets (n_data_sets,) against which others were scaled; logged."""
    obs = fit.observations
    weight = np.where(
        fit.outlier | fit.small_scale | obs.absent,
        0.0,
        1.0 / fit.error_model.sigma_squared(fit.variance, fit.expected),
    )
    if obs.reference is not None:
        reference = obs.reference.reference
        known, n_reflections = obs.reference.intensity, len(reference.intensity)
        kind, source, labels = reference.kind, reference.source, reference.labels
        shells = obs.reference.shells(fit.reference_error)
        _logger.info("Error of E^2 of the reference by shell:\n%s", _shell_table(shells))
    elif scaled.any():
        known = _merged_known(obs, fit.g, np.where(scaled[obs.data_set], weight, 0.0))
        n_reflections = int(np.isfinite(known).sum())
        kind, source, shells = "data_sets", None, []
        labels = tuple(name for name, is_scaled in zip(identifiers, scaled.tolist(), strict=True) if is_scaled)
    else:
        return None
    new = np.flatnonzero(~scaled) if kind == "data_sets" else np.arange(len(identifiers))
    found = agreement(obs, known, fit.g, weight, len(identifiers))
    by_name = {identifiers[k]: found[k] for k in new.tolist()}
    _logger.info("Agreement with the reference:\n%s", agreement_table(list(by_name), list(by_name.values())))
    _warn_of_unmatched([name for name, a in by_name.items() if a.n_groups == 0])
    return ReferenceReport(kind, source, labels, n_reflections, int(np.isfinite(known).sum()), shells, by_name)


def _merged_known(obs: JobObservations, g: FloatArray, weight: FloatArray) -> FloatArray:
    merged, precision = merged_by_group(obs, g, weight)
    return np.where(precision > 0, merged, np.nan)


def _shell_table(shells: Sequence[ReferenceShell]) -> str:
    return "\n".join(f"{s.d_max:8.2f} - {s.d_min:5.2f} A{s.n_groups:8d} groups   u = {s.u:.4f}" for s in shells)


def _warn_of_unmatched(names: Sequence[str]) -> None:
    if names:
        listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        _logger.warning(
            "%d data sets have no reflection in common with the reference (%s): what they have in common "
            "with others alone gives their scale",
            len(names),
            listed,
        )
