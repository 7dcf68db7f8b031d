"""Auto rules: pure functions from facts of a data set to decisions, each with its reason.

The rules are those of today's dials.scale, so that the same data get a model of the same richness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from .options import AUTO, Auto, ScalingOptions
from .scaling_model import ModelClass

__all__ = ["Decision", "ModelPlan", "SweepFacts", "plan_model"]

T = TypeVar("T")

_INTERVALS = ((5.0, 1.0, 1.5), (10.0, 2.0, 3.0), (25.0, 4.0, 5.0), (90.0, 8.0, 10.0), (math.inf, 15.0, 20.0))
_MIN_ABSORPTION_RANGE_DEG = 60.0
_MIN_SCATTERING_ANGLE_DEG = math.degrees(math.acos(0.999))
_DECAY_RESTRAINT = (0.1, 0.1, 1e4)
_SURFACE_WEIGHT = (5e5, 40.0, 5e5)
_IMAGE_SMOOTHNESS = (100.0, 1e-2, 1e8)
_IMAGE_SIZE = (10.0, 1.0, 1e8)
_GRID_SMOOTHNESS = (100.0, 0.1, 1e8)
_GRID_SIZE = (1.0, 1e-3, 1e8)
_EVIDENCE = "chosen by the fit as the most probable weight given the data"
_ABSORPTION_LEVELS = {"low": (4, 5e5), "medium": (6, 5e4), "high": (6, 5e3)}


@dataclass(frozen=True, kw_only=True)
class SweepFacts:
    """What the rules look at.

    Attributes
    ----------
    is_still : bool
        No scan, or an image width of zero.
    rotation_range_deg : float
        Rotation of the valid images together, degrees.
    max_scattering_angle_deg : float
        Largest angle between incident and diffracted beam among the reflections, degrees.
    """

    is_still: bool
    rotation_range_deg: float
    max_scattering_angle_deg: float


@dataclass(frozen=True)
class Decision(Generic[T]):
    """A value and why it was chosen."""

    value: T
    reason: str


@dataclass(frozen=True)
class Restraint:
    """Weight of a restraint sum lambda p^2: where the fit starts, and between which limits it may choose.

    The limits are equal when the weight is fixed.
    """

    start: float
    lowest: float
    highest: float

    @classmethod
    def fixed(cls, weight: float) -> Restraint:
        """A weight that the fit does not change."""
        return cls(weight, weight, weight)

    def __str__(self) -> str:
        if self.lowest == self.highest:
            return f"{self.start:g}"
        return f"{self.start:g} (start; {self.lowest:g} to {self.highest:g})"


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """The model of one data set, every choice made; choices that a model does not have are None.

    Intervals are in degrees.
    """

    model: Decision[ModelClass]
    scale: Decision[bool]
    decay: Decision[bool]
    absorption: Decision[bool]
    scale_interval: Decision[float] | None = None
    decay_interval: Decision[float] | None = None
    lmax: Decision[int] | None = None
    decay_restraint: Decision[Restraint] | None = None
    surface_weight: Decision[Restraint] | None = None
    share_absorption: Decision[bool] | None = None
    image_scale: Decision[bool] | None = None
    image_scale_weight: Decision[Restraint] | None = None
    image_scale_size: Decision[Restraint] | None = None
    modulation: Decision[bool] | None = None
    n_resolution_bins: Decision[int] | None = None
    n_absorption_bins: Decision[int] | None = None
    n_modulation_bins: Decision[int] | None = None
    grid_smoothness: Decision[Restraint] | None = None
    grid_size: Decision[Restraint] | None = None
    relative_B: Decision[bool] | None = None
    resolution_dependence: Decision[str] | None = None
    share_decay: Decision[bool] | None = None
    analytical: Decision[bool] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return {choice: {value, reason}} for reports."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            n: {"value": str(d.value) if isinstance(d.value, Restraint) else d.value, "reason": d.reason}
            for n, d in fields.items()
            if d is not None
        }


def plan_model(facts: SweepFacts, options: ScalingOptions) -> ModelPlan:
    """Choose the model of one data set from its facts; an explicit option always wins."""
    model = _model(facts, options)
    if model.value == "physical":
        return _plan_physical(model, facts, options)
    plans = {"KB": _plan_kb, "array": _plan_array, "dose_decay": _plan_dose_decay}
    return plans[model.value](model, options)


def _switch(value: bool) -> Decision[bool]:
    return Decision(value, "default" if value else "set by the user")


def _wish(value: bool) -> Decision[bool] | None:
    return Decision(True, "set by the user") if value else None


def _plan_kb(model: Decision[ModelClass], options: ScalingOptions) -> ModelPlan:
    return ModelPlan(
        model=model,
        scale=Decision(True, "one scale for the data set"),
        decay=Decision(options.KB.decay_correction, "one relative B for the data set"),
        absorption=Decision(False, "a KB model has no absorption surface"),
        analytical=_wish(options.KB.analytical_correction),
    )


def _plan_physical(model: Decision[ModelClass], facts: SweepFacts, options: ScalingOptions) -> ModelPlan:
    physical = options.physical
    user = "set by the user"
    scale_interval, decay_interval = _intervals(facts.rotation_range_deg)
    if physical.scale_interval is not AUTO:
        scale_interval = Decision(float(physical.scale_interval), user)
    if physical.decay_interval is not AUTO:
        decay_interval = Decision(float(physical.decay_interval), user)
    absorption = _absorption(facts, options)
    lmax, weight = _surface(options)
    images = physical.image_scale
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
        image_scale=_wish(images),
        image_scale_weight=_weight(physical.image_scale_weight, _IMAGE_SMOOTHNESS) if images else None,
        image_scale_size=_weight(AUTO, _IMAGE_SIZE) if images else None,
        analytical=_wish(physical.analytical_correction),
    )


def _plan_array(model: Decision[ModelClass], options: ScalingOptions) -> ModelPlan:
    array = options.array
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


def _model(facts: SweepFacts, options: ScalingOptions) -> Decision[ModelClass]:
    if options.model not in (AUTO, None, "auto"):
        if options.model != "KB" and facts.is_still:
            return Decision("KB", f"a still has no rotation for model={options.model} to follow")
        return Decision(cast(ModelClass, options.model), "set by the user")
    if facts.is_still:
        return Decision("KB", "a still: one scale and one B")
    if facts.rotation_range_deg < 1.0:
        return Decision("KB", f"rotation of {facts.rotation_range_deg:.3g} deg is below 1 deg")
    return Decision("physical", f"rotation of {facts.rotation_range_deg:.4g} deg is at least 1 deg")


def _intervals(range_deg: float) -> tuple[Decision[float], Decision[float]]:
    limit, scale, decay = next(tier for tier in _INTERVALS if range_deg < tier[0])
    bound = f"below {limit:g} deg" if math.isfinite(limit) else f"at least {_INTERVALS[-2][0]:g} deg"
    reason = f"rotation of {range_deg:.4g} deg is {bound}"
    return Decision(scale, reason), Decision(decay, reason)


def _absorption(facts: SweepFacts, options: ScalingOptions) -> Decision[bool]:
    physical = options.physical
    if physical.absorption_level is not None:
        return Decision(True, f"absorption_level={physical.absorption_level} set by the user")
    if physical.absorption_correction is not AUTO:
        return Decision(bool(physical.absorption_correction), "set by the user")
    if facts.rotation_range_deg <= _MIN_ABSORPTION_RANGE_DEG:
        return Decision(
            False,
            f"rotation of {facts.rotation_range_deg:.4g} deg is not above {_MIN_ABSORPTION_RANGE_DEG:g} deg",
        )
    if facts.max_scattering_angle_deg < _MIN_SCATTERING_ANGLE_DEG:
        return Decision(
            False,
            f"scattering angles of at most {facts.max_scattering_angle_deg:.3g} deg are below "
            f"{_MIN_SCATTERING_ANGLE_DEG:.3g} deg: all beams leave the crystal alike",
        )
    return Decision(
        True,
        f"rotation of {facts.rotation_range_deg:.4g} deg is above {_MIN_ABSORPTION_RANGE_DEG:g} deg "
        f"and scattering angles reach {facts.max_scattering_angle_deg:.3g} deg",
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
