"""Auto rules: pure functions from facts of a data set to decisions, each with its reason.

The tables are those of dials.scale (`auto_rules`), so that the same data get a model of the same richness. Whether
there is a smooth model and an absorption surface follows from the summed rotation of all sweeps of a crystal,
intervals from that of each sweep.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

from .auto_rules import RULES, AutoRules
from .errors import DataError, UsageError
from .model_plan import Decision, ModelPlan, Restraint, SweepFacts
from .options import AUTO, Auto, ScalingOptions
from .scaling_model import ModelClass

__all__ = [
    "array_plan",
    "image_scale_decisions",
    "plan_model",
    "surface_decisions",
]

_DECAY_RESTRAINT = (0.1, 0.1, 1e4)
_SURFACE_WEIGHT = (5e5, 40.0, 5e5)
_IMAGE_SMOOTHNESS = (100.0, 1e-2, 1e8)
_IMAGE_SIZE = (10.0, 1.0, 1e8)
_GRID_SMOOTHNESS = (100.0, 1.0, 1e8)
_GRID_SIZE = (10.0, 4.0, 1e8)
_EVIDENCE = "chosen by the fit as the most probable weight given the data"
_ABSORPTION_LEVELS = {"low": (4, 5e5), "medium": (6, 5e4), "high": (6, 5e3)}


def plan_model(facts: SweepFacts, options: ScalingOptions) -> ModelPlan:
    """Choose the model of one data set from its facts; an explicit option always wins.

    Raises
    ------
    UsageError
        If the options make no model.
    DataError
        If they ask for a correction that needs what is not known of the data.
    """
    model = _model(facts, options)
    if model.value == "physical":
        plan = _plan_physical(model, facts, options)
    else:
        plan = {"KB": _plan_kb, "array": _plan_array, "dose_decay": _plan_dose_decay}[model.value](model, options)
    return _within(replace(plan, has_beam_directions=facts.has_beam_directions, has_positions=facts.has_positions))


def surface_decisions(lmax: int, options: ScalingOptions, reason: str) -> dict[str, Any]:
    """Fields of a plan with a surface of some order, or without one (0), for a reason."""
    if lmax == 0:
        return {"absorption": Decision(False, reason), "lmax": None, "surface_weight": None, "share_absorption": None}
    return {
        "absorption": Decision(True, reason),
        "lmax": Decision(lmax, reason),
        "surface_weight": _surface(options)[1],
        "share_absorption": _wish(options.physical.share.absorption),
    }


def image_scale_decisions(options: ScalingOptions, reason: str) -> dict[str, Any]:
    """Fields of a plan with one scale per image, for a reason."""
    return {
        "image_scale": Decision(True, reason),
        "image_scale_weight": _weight(options.physical.image_scale_weight, _IMAGE_SMOOTHNESS),
        "image_scale_size": _weight(AUTO, _IMAGE_SIZE),
    }


def array_plan(options: ScalingOptions, reason: str) -> ModelPlan:
    """Return the plan of an array model, for a reason."""
    return _plan_array(Decision("array", reason), options)


def _within(plan: ModelPlan) -> ModelPlan:
    """The plan without grids over the detector where places are not known; DataError for what was asked for."""
    if plan.lmax is not None and not plan.has_beam_directions:
        raise DataError(
            "column 's1' is missing or holds no direction of a diffracted beam, which an absorption surface needs: "
            "leave absorption to the rules, or give the integrator's own files"
        )
    if plan.model.value != "array" or plan.has_positions:
        return plan
    if plan.modulation is not None or not plan.decay.value:
        raise DataError(
            "there are no places on the detector, as array.modulation_correction and a model=array without "
            "array.decay_correction need"
        )
    return replace(plan, absorption=Decision(False, "no places on the detector are known"), n_absorption_bins=None)


def _switch(value: bool) -> Decision[bool]:
    return Decision(value, "default" if value else "set by the user")


def _wish(value: bool) -> Decision[bool] | None:
    return Decision(True, "set by the user") if value else None


def _plan_kb(model: Decision[ModelClass], options: ScalingOptions) -> ModelPlan:
    return ModelPlan(
        model=model,
        scale=Decision(True, "one scale for the data set"),
        decay=Decision(options.KB.decay_correction, "one relative B for the data set"),
        decay_restraint=_kb_restraint(options) if options.KB.decay_correction else None,
        absorption=Decision(False, "a KB model has no absorption surface"),
        analytical=_wish(options.KB.analytical_correction),
    )


def _kb_restraint(options: ScalingOptions) -> Decision[Restraint]:
    weight = options.KB.decay_restraint
    return Decision(Restraint.fixed(weight), "matters only to a B that hardly any reflections tell")


def _plan_physical(model: Decision[ModelClass], facts: SweepFacts, options: ScalingOptions) -> ModelPlan:
    physical = options.physical
    user = "set by the user"
    scale_interval, decay_interval = _intervals(facts.rotation_range_deg, _rules(options))
    if physical.scale_interval is not AUTO:
        scale_interval = Decision(float(physical.scale_interval), user)
    if physical.decay_interval is not AUTO:
        decay_interval = Decision(float(physical.decay_interval), user)
    absorption = _absorption(facts, options)
    lmax, weight = _surface(options)
    images = image_scale_decisions(options, user) if physical.image_scale is True else {}
    return ModelPlan(
        model=model,
        scale=_switch(physical.scale_correction),
        decay=_switch(physical.decay_correction),
        scale_interval=scale_interval,
        decay_interval=decay_interval,
        absorption=absorption,
        decay_restraint=_decay_restraint(options) if physical.decay_correction else None,
        lmax=lmax if absorption.value else None,
        surface_weight=weight if absorption.value else None,
        share_absorption=_wish(physical.share.absorption and absorption.value),
        analytical=_wish(physical.analytical_correction),
        **images,
    )


def _plan_array(model: Decision[ModelClass], options: ScalingOptions) -> ModelPlan:
    array = options.array
    if not (array.decay_correction or array.absorption_correction):
        raise UsageError(
            "model=array without array.decay_correction and array.absorption_correction has no overall scale: "
            "switch one of them on, or give model=KB"
        )
    user = "option of the array model"
    return ModelPlan(
        model=model,
        scale=Decision(False, "part of the decay correction" if array.decay_correction else "part of the grids"),
        decay=_switch(array.decay_correction),
        absorption=_switch(array.absorption_correction),
        modulation=_wish(array.modulation_correction),
        decay_interval=Decision(array.decay_interval, user),
        n_resolution_bins=Decision(array.n_resolution_bins, user) if array.decay_correction else None,
        n_absorption_bins=Decision(array.n_absorption_bins, user) if array.absorption_correction else None,
        n_modulation_bins=Decision(array.n_modulation_bins, user) if array.modulation_correction else None,
        grid_smoothness=_weight(AUTO, _GRID_SMOOTHNESS),
        grid_size=_weight(AUTO, _GRID_SIZE),
        analytical=_wish(array.analytical_correction),
    )


def _plan_dose_decay(model: Decision[ModelClass], options: ScalingOptions) -> ModelPlan:
    dose = options.dose_decay
    user = "option of the dose_decay model"
    surface = Decision(Restraint.fixed(dose.surface_weight), user)
    return ModelPlan(
        model=model,
        scale=Decision(True, "the dose_decay model has a smooth scale"),
        scale_interval=Decision(dose.scale_interval, user),
        decay=_switch(dose.decay_correction),
        resolution_dependence=Decision(dose.resolution_dependence, user) if dose.decay_correction else None,
        share_decay=_wish(dose.share.decay and dose.decay_correction),
        relative_B=_wish(dose.relative_B_correction),
        absorption=Decision(dose.absorption_correction, user),
        lmax=Decision(dose.lmax, user) if dose.absorption_correction else None,
        surface_weight=surface if dose.absorption_correction else None,
        analytical=_wish(dose.analytical_correction),
    )


def _weight(chosen: float | Auto, limits: tuple[float, float, float]) -> Decision[Restraint]:
    if isinstance(chosen, Auto):
        return Decision(Restraint(*limits), _EVIDENCE)
    return Decision(Restraint.fixed(float(chosen)), "set by the user")


def _rules(options: ScalingOptions) -> AutoRules:
    return RULES[options.auto_rules]


def _model(facts: SweepFacts, options: ScalingOptions) -> Decision[ModelClass]:
    if options.model not in (AUTO, None, "auto", "cross_validated"):
        if options.model != "KB" and facts.is_still:
            return Decision("KB", f"no rotation (a still, or data without angles) for model={options.model} to follow")
        return Decision(cast(ModelClass, options.model), "set by the user")
    if facts.is_still:
        return Decision("KB", "no rotation (a still, or data without angles): one scale and one B")
    least = _rules(options).least_rotation
    if facts.crystal_range_deg < least:
        return Decision("KB", f"{facts.crystal_rotation} is below {least:g} deg")
    return Decision("physical", f"{facts.crystal_rotation} is at least {least:g} deg")


def _intervals(range_deg: float, rules: AutoRules) -> tuple[Decision[float], Decision[float]]:
    limit, scale, decay = next(tier for tier in rules.intervals if range_deg < tier[0])
    bound = f"below {limit:g} deg" if math.isfinite(limit) else f"at least {rules.intervals[-2][0]:g} deg"
    reason = f"rotation of {range_deg:.4g} deg is {bound}"
    return Decision(scale, reason), Decision(decay, reason)


def _absorption(facts: SweepFacts, options: ScalingOptions) -> Decision[bool]:
    physical, rules = options.physical, _rules(options)
    if physical.absorption_level is not None:
        return Decision(True, f"absorption_level={physical.absorption_level} set by the user")
    if physical.absorption_correction is not AUTO:
        return Decision(bool(physical.absorption_correction), "set by the user")
    if not facts.has_beam_directions:
        return Decision(False, "no s1: directions of the diffracted beams are unknown")
    least, rotation = rules.absorption_rotation, facts.crystal_range_deg
    if rotation < least or (rotation == least and not rules.absorption_at_limit):
        bound = "below" if rules.absorption_at_limit else "not above"
        return Decision(False, f"{facts.crystal_rotation} is {bound} {least:g} deg")
    if facts.crystal_angle_deg < rules.least_scattering_angle:
        return Decision(
            False,
            f"scattering angles of at most {facts.crystal_angle_deg:.3g} deg are below "
            f"{rules.least_scattering_angle:.3g} deg: all beams leave the crystal alike",
        )
    bound = "at least" if rules.absorption_at_limit else "above"
    return Decision(
        True,
        f"{facts.crystal_rotation} is {bound} {least:g} deg and scattering angles reach "
        f"{facts.crystal_angle_deg:.3g} deg",
    )


def _decay_restraint(options: ScalingOptions) -> Decision[Restraint]:
    return _weight(options.physical.decay_restraint, _DECAY_RESTRAINT)


def _surface(options: ScalingOptions) -> tuple[Decision[int], Decision[Restraint]]:
    physical = options.physical
    if physical.absorption_level is not None:
        lmax, weight = _ABSORPTION_LEVELS[physical.absorption_level]
        reason = f"absorption_level={physical.absorption_level}"
        return Decision(lmax, reason), Decision(Restraint.fixed(weight), reason)
    return (
        Decision(4, "default") if physical.lmax is AUTO else Decision(int(physical.lmax), "set by the user"),
        _weight(physical.surface_weight, _SURFACE_WEIGHT),
    )
