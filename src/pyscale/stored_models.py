"""Scaling models stored in the input as the start of another fit: what is kept of them, changed, and held."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .auto import plan_model
from .components import ComponentModel
from .errors import DataError, UsageError
from .evaluation import ModelOnRows, read_model
from .image_ranges import ImageRange, valid_span
from .model_building import restrained
from .model_frame import surface_frame
from .model_plan import Decision, ModelPlan, Restraint, SweepFacts
from .model_trimming import trimmed
from .options import ScalingOptions, with_changes
from .preparation import UnitCell, median_unit_cell
from .prepared import PreparedDataSet
from .scaling_model import DataSetModel

__all__ = ["StoredModel", "stored_models"]

_logger = logging.getLogger(__name__)

_KEPT = "kept from the stored model"
_NAMES = ("scale", "decay", "absorption", "modulation", "relative_B", "image_scale")
_SCOPES = ("physical", "array", "KB", "dose_decay")
_APPLIED = ("lmax", "surface_weight", "absorption_level", "decay_restraint", "image_scale_weight", "correction.fix")
_SWITCHES = {
    "scale_correction": "scale",
    "decay_correction": "decay",
    "absorption_correction": "absorption",
    "modulation_correction": "modulation",
    "relative_B_correction": "relative_B",
    "share.absorption": "share_absorption",
    "share.decay": "share_decay",
    "image_scale": "image_scale",
    "analytical_correction": "analytical",
    "resolution_dependence": "resolution_dependence",
}
_WIDE = SweepFacts(is_still=False, rotation_range_deg=360.0, max_scattering_angle_deg=90.0)


@dataclass(frozen=True)
class StoredModel:
    """A model that a data set's experiment carries, made ready for another fit.

    Attributes
    ----------
    plan : ModelPlan
        What it is, as decisions.
    model : DataSetModel
        With the place of its nodes, its restraints, and what the options change.
    exact : bool
        Whether it gives the scales that it gave before, so that it may still be a solution.
    """

    plan: ModelPlan
    model: DataSetModel
    exact: bool


def stored_models(
    prepared: Sequence[PreparedDataSet], options: ScalingOptions, given: Collection[str], n_threads: int
) -> list[StoredModel | None]:
    """Read the stored models of all data sets; None where there is none, and everywhere if they are to be overwritten.

    Parameters
    ----------
    prepared : sequence of PreparedDataSet
    options : ScalingOptions
    given : collection of str
        Dotted names of the options that the user has set.
    n_threads : int

    Raises
    ------
    DataError
        If a stored model cannot be read.
    UsageError
        If a component is to be kept constant, and no stored model has it.
    """
    experiments = [p.data_set.experiment for p in prepared]
    carriers = [e for e in experiments if e.scaling_model is not None]
    result: list[StoredModel | None] = [None] * len(prepared)
    if options.overwrite_existing_models and carriers:
        _logger.info("The stored scaling models of %d data sets are overwritten", len(carriers))
    elif carriers:
        cell = median_unit_cell(carriers)
        for k, (p, experiment) in enumerate(zip(prepared, experiments, strict=True)):
            if experiment.scaling_model is not None:
                result[k] = _stored_model(p, options, given, cell, n_threads)
        result = _consistently_shared(result)
        _report_ignored([s for s in result if s is not None], options, given)
    _require_fixed([s.model for s in result if s is not None], options)
    return result


def _stored_model(
    p: PreparedDataSet, options: ScalingOptions, given: Collection[str], cell: UnitCell, n_threads: int
) -> StoredModel:
    try:
        model = read_model(p.data_set.experiment, p.data_set.experiment.where)
    except DataError as error:
        raise DataError(f"{error}; overwrite_existing_models=True starts without the stored model") from None
    is_own = "pyscale" in model.configuration and model.is_placed
    on_rows = ModelOnRows(p.data_set, model, cell, n_threads)
    fixed = _fixed_names(options, model.model)
    legacy = model.has_absorption and not is_own
    legacy = legacy and on_rows.checked_frame(surface_frame(p.data_set.experiment)).legacy
    part = _remaining_images(p, model)
    exact = not legacy and (part is None or model.is_placed)
    if part is None:
        model = on_rows.model
    else:
        model = trimmed(model, *part, _image_width(p))
        rows = p.suitable & ~p.absent
        model = model.placed(p.coordinates(rows if rows.any() else p.suitable))
        _logger.info("The model of data set %s is limited to images %d to %d", p.identifier, *part[1])
    if legacy:
        model = _without_surface(model, p.identifier, fixed)
    n_before = model.n_parameters
    model, decisions = _with_options(model, is_own, fixed, options, given)
    n = model.n_parameters
    # Harmonics that are left out change the scales, new ones do not yet.
    exact = exact and n >= n_before
    _logger.info("Scaling model of data set %s kept from the input (%s, %d parameters)", p.identifier, model.model, n)
    return StoredModel(replace(_plan_of(model), **decisions), model, exact)


def _without_surface(model: DataSetModel, identifier: str, fixed: Collection[str]) -> DataSetModel:
    """The model with a surface that begins anew, since the stored one is in another frame."""
    if "absorption" in fixed:
        raise UsageError(
            f"option correction.fix=absorption: the surface of data set {identifier} is in the crystal frame of DIALS "
            "before 2021 and must be fitted again; do not fix it"
        )
    _logger.info("Its surface is fitted again in today's frame, from zero; scale and decay are kept")
    return model.with_components(
        [
            replace(c, parameters=np.zeros(c.n_parameters), sigmas=None) if c.kind == "absorption" else c
            for c in model.components
        ]
    )


def _image_width(p: PreparedDataSet) -> float:
    oscillation = p.data_set.experiment.oscillation
    return 0.0 if oscillation is None else oscillation[1]


def _remaining_images(p: PreparedDataSet, model: DataSetModel) -> tuple[ImageRange, ImageRange] | None:
    """Images that the stored model covers, and those of them still in use where these are fewer."""
    experiment = p.data_set.experiment
    whole, new = experiment.image_range, valid_span(experiment)
    if experiment.is_still or whole is None or new is None:
        return None
    stored = model.configuration.get("valid_image_range")
    old = whole
    if isinstance(stored, list) and len(stored) == 2 and all(type(n) is int for n in stored) and stored[0] <= stored[1]:
        old = (stored[0], stored[1])
    common = (max(old[0], new[0]), min(old[1], new[1]))
    return (old, common) if common != old and common[0] <= common[1] else None


def _fixed_names(options: ScalingOptions, scope: str) -> set[str]:
    """Names of the components of a kind of models that are to be kept constant."""
    return {_component_name(text) for text in getattr(options, scope).correction.fix or ()}


def _component_name(text: str) -> str:
    name = text.strip().lower().removesuffix("_term").removesuffix("_correction")
    return {"relative_b": "relative_B"}.get(name, name)


def _require_fixed(models: Sequence[DataSetModel], options: ScalingOptions) -> None:
    held = {c.name for m in models for c in m.components if c.held}
    for name in sorted(set().union(*(_fixed_names(options, scope) for scope in _SCOPES))):
        if name not in _NAMES:
            raise UsageError(f"option correction.fix={name[:60]}: is no component; {', '.join(_NAMES)} are")
        if name not in held:
            raise UsageError(
                f"option correction.fix={name}: no stored model has this component; give scaled experiments, and leave "
                "overwrite_existing_models at False"
            )


def _with_options(
    model: DataSetModel, is_own: bool, fixed: Collection[str], options: ScalingOptions, given: Collection[str]
) -> tuple[DataSetModel, dict[str, Any]]:
    """Hold components, and change what options change in a kept model; return the decisions that this made."""
    fresh = _fresh_plan(model, options)
    decisions: dict[str, Any] = {}
    components = []
    carries_scale = True
    for c in model.components:
        if c.name in fixed:
            components.append(replace(c, held=True))
            decisions[c.name] = Decision(True, "kept constant by correction.fix")
        else:
            wanted = {name for name in _APPLIED if f"{model.model}.{name}" in given}
            changed = _changed(c, is_own, wanted, fresh, carries_scale)
            components.append(changed[0])
            decisions |= changed[1]
        carries_scale = False
    return model.with_components(components), decisions


def _fresh_plan(model: DataSetModel, options: ScalingOptions) -> ModelPlan:
    """What the options say about restraints and the order of a surface, if the model were new and had everything."""
    everything = {"physical.absorption_correction": True, "physical.decay_correction": True}
    everything |= {"physical.image_scale": True, "dose_decay.absorption_correction": True}
    return plan_model(_WIDE, with_changes(options, {"model": model.model, **everything}))


def _changed(
    c: ComponentModel, is_own: bool, wanted: Collection[str], fresh: ModelPlan, carries_scale: bool
) -> tuple[ComponentModel, dict[str, Any]]:
    decisions: dict[str, Any] = {}
    if c.kind == "absorption":
        if not {"lmax", "absorption_level"}.isdisjoint(wanted) and fresh.lmax is not None:
            decisions["lmax"] = fresh.lmax
            c = _with_lmax(c, fresh.lmax.value)
        decision, by_user = fresh.surface_weight, not {"surface_weight", "absorption_level"}.isdisjoint(wanted)
        if decision is not None and (by_user or not is_own):
            weight = _from_stored(decision, c.weight("null")) if not by_user else decision
            decisions["surface_weight"] = weight
            c = _restrained(c, null=weight)
    elif c.kind in ("smooth_decay", "constant_decay") and fresh.decay_restraint is not None:
        if "decay_restraint" in wanted or not is_own:
            decisions["decay_restraint"] = fresh.decay_restraint
            c = _restrained(c, null=fresh.decay_restraint)
    elif c.kind == "image_scale" and "image_scale_weight" in wanted and fresh.image_scale_weight is not None:
        decisions["image_scale_weight"] = fresh.image_scale_weight
        c = _restrained(c, smooth=fresh.image_scale_weight)
    elif c.kind == "grid" and not is_own and fresh.grid_smoothness is not None and fresh.grid_size is not None:
        decisions = {"grid_smoothness": fresh.grid_smoothness, "grid_size": fresh.grid_size}
        size = None if carries_scale else fresh.grid_size
        c = _restrained(c, null=size, smooth=fresh.grid_smoothness)
    return c, decisions


def _from_stored(decision: Decision[Restraint], weight: float) -> Decision[Restraint]:
    """A weight that the fit chooses, from the stored one; one outside its limits stays."""
    limits = decision.value
    if limits.lowest == limits.highest or not limits.lowest <= weight <= limits.highest:
        return Decision(Restraint.fixed(weight), _KEPT)
    return Decision(Restraint(weight, limits.lowest, limits.highest), decision.reason)


def _with_lmax(c: ComponentModel, lmax: int) -> ComponentModel:
    """The surface with another highest order: common harmonics are copied, new ones are zero."""
    parameters = np.zeros(lmax * (lmax + 2))
    n = min(parameters.size, c.n_parameters)
    if parameters.size == c.n_parameters:
        return c
    parameters[:n] = c.parameters[:n]
    return replace(c, parameters=parameters, sigmas=None)


def _restrained(
    c: ComponentModel, *, null: Decision[Restraint] | None = None, smooth: Decision[Restraint] | None = None
) -> ComponentModel:
    """The component with new restraints of some forms, the others as they were."""
    new = restrained(c, null=null, smooth=smooth).restraints
    forms = {r.form for r in new}
    return replace(c, restraints=(*(r for r in c.restraints if r.form not in forms), *new))


def _plan_of(model: DataSetModel) -> ModelPlan:
    """A stored model as decisions."""
    by_name = {c.name: c for c in model.components}
    decay, surface, images = by_name.get("decay"), by_name.get("absorption"), by_name.get("image_scale")
    scale = by_name.get("scale")
    grids = [c for c in model.components if c.kind == "grid"]
    bins = {axis.coordinate: _bins(axis.n_nodes) for c in reversed(grids) for axis in c.axes}
    harmonics = surface if surface is not None and surface.kind == "absorption" else None
    return ModelPlan(
        model=Decision(model.model, _KEPT),
        scale=Decision(scale is not None and (scale.kind != "constant_scale" or model.model == "KB"), _KEPT),
        decay=Decision(decay is not None, _KEPT),
        absorption=Decision(surface is not None, _KEPT),
        scale_interval=_kept(scale and scale.interval_deg),
        decay_interval=_kept(decay and decay.interval_deg),
        lmax=_kept(harmonics and harmonics.lmax),
        decay_restraint=_restraint_of(decay, "null") if not grids else None,
        surface_weight=_restraint_of(harmonics, "null"),
        share_absorption=_kept((surface is not None and surface.shared) or None),
        image_scale=_kept(images is not None or None),
        image_scale_weight=_restraint_of(images, "smooth_0"),
        image_scale_size=_restraint_of(images, "null"),
        modulation=_kept("modulation" in by_name or None),
        n_resolution_bins=_kept(bins.get("inv_d2")),
        n_absorption_bins=_kept(_bins(surface.shape[0]) if surface in grids else None),
        n_modulation_bins=_kept(_bins(by_name["modulation"].shape[0]) if "modulation" in by_name else None),
        grid_smoothness=_restraint_of(grids[0], "smooth_0") if grids else None,
        grid_size=_restraint_of(grids[-1], "null") if grids else None,
        relative_B=_kept("relative_B" in by_name or None),
        resolution_dependence=_kept(_dependence(decay)),
        share_decay=_kept((decay is not None and decay.shared) or None),
        analytical=_kept(model.analytical or None),
    )


def _kept(value: Any) -> Decision[Any] | None:
    return None if value is None else Decision(value, _KEPT)


def _dependence(decay: ComponentModel | None) -> str | None:
    if decay is None or decay.kind != "dose_decay":
        return None
    return "linear" if decay.power == 1 else "quadratic"


def _bins(n_nodes: int) -> int:
    return n_nodes - 1 if n_nodes < 4 else n_nodes - 2


def _restraint_of(c: ComponentModel | None, form: str) -> Decision[Restraint] | None:
    found = [r for r in c.restraints if r.form == form] if c is not None else []
    return Decision(Restraint(found[0].weight, found[0].lowest, found[0].highest), _KEPT) if found else None


def _consistently_shared(stored: list[StoredModel | None]) -> list[StoredModel | None]:
    """Let data sets share a component only where their stored parameters are the same."""
    parameters: dict[tuple[str, str, int], set[bytes]] = {}
    for c in _shared_components(stored):
        parameters.setdefault((c.name, c.kind, c.n_parameters), set()).add(c.parameters.tobytes())
    different = {key for key, values in parameters.items() if len(values) > 1}
    for name, _, _ in sorted(different):
        _logger.info(
            "Stored models share a component '%s' of different parameters: it is no longer shared",
            name,
            extra={"notice": True},
        )

    def separated(c: ComponentModel) -> ComponentModel:
        return replace(c, shared=c.shared and (c.name, c.kind, c.n_parameters) not in different)

    return [
        None if s is None else replace(s, model=s.model.with_components([separated(c) for c in s.model.components]))
        for s in stored
    ]


def _shared_components(stored: Sequence[StoredModel | None]) -> Iterator[ComponentModel]:
    return (c for s in stored if s is not None for c in s.model.components if c.shared)


def _report_ignored(stored: Sequence[StoredModel], options: ScalingOptions, given: Collection[str]) -> None:
    """Say which options of the user do not change kept models."""
    ignored = [path for path in sorted(given) if _is_ignored(path, stored, options)]
    if ignored:
        _logger.info(
            "Stored models are kept, and %s changes nothing in them: overwrite_existing_models=True starts anew",
            ", ".join(ignored),
            extra={"notice": True},
        )


def _is_ignored(path: str, stored: Sequence[StoredModel], options: ScalingOptions) -> bool:
    if path == "model":
        return isinstance(options.model, str) and any(s.model.model != options.model for s in stored)
    scope, _, name = path.partition(".")
    of_scope = [s for s in stored if s.model.model == scope]
    if not of_scope or name == "correction.fix":
        return False
    if name in ("lmax", "surface_weight", "absorption_level"):
        return not any(s.model.has_absorption for s in of_scope)
    if name in _APPLIED:
        return False
    field = _SWITCHES.get(name)
    if field is None:
        return True
    wanted: Any = options
    for part in path.split("."):
        wanted = getattr(wanted, part)
    have = [getattr(s.plan, field) for s in of_scope]
    return isinstance(wanted, (bool, str)) and any(wanted != (d.value if d is not None else False) for d in have)
