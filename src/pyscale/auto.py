"""Auto rules: pure functions from facts of a data set to decisions, each with its reason.

The rules are those of today's dials.scale, so that the same data get a model of the same richness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .options import AUTO, ScalingOptions

__all__ = ["Decision", "ModelPlan", "SweepFacts", "plan_model"]

T = TypeVar("T")

_INTERVALS = ((5.0, 1.0, 1.5), (10.0, 2.0, 3.0), (25.0, 4.0, 5.0), (90.0, 8.0, 10.0), (math.inf, 15.0, 20.0))
_MIN_ABSORPTION_RANGE_DEG = 60.0
_MIN_SCATTERING_ANGLE_DEG = math.degrees(math.acos(0.999))
_DECAY_RESTRAINT = (0.1, 0.1, 1e4)
_SURFACE_WEIGHT = (5e5, 40.0, 5e5)
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
    """The model of one data set, every choice made.

    `scale_interval` and `decay_interval` are in degrees; unused ones of a KB model are None.
    """

    model: Decision[str]
    scale_interval: Decision[float] | None = None
    decay_interval: Decision[float] | None = None
    decay: Decision[bool]
    scale: Decision[bool]
    absorption: Decision[bool]
    lmax: Decision[int] | None = None
    decay_restraint: Decision[Restraint] | None = None
    surface_weight: Decision[Restraint] | None = None

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
    user = "set by the user"
    if model.value == "KB":
        return ModelPlan(
            model=model,
            scale=Decision(True, "one scale for the data set"),
            decay=Decision(options.KB.decay_correction, "one relative B for the data set"),
            absorption=Decision(False, "a KB model has no absorption surface"),
        )
    physical = options.physical
    scale_interval, decay_interval = _intervals(facts.rotation_range_deg)
    if physical.scale_interval is not AUTO:
        scale_interval = Decision(float(physical.scale_interval), user)
    if physical.decay_interval is not AUTO:
        decay_interval = Decision(float(physical.decay_interval), user)
    absorption = _absorption(facts, options)
    lmax, weight = _surface(options)
    return ModelPlan(
        model=model,
        scale=Decision(physical.scale_correction, "default" if physical.scale_correction else user),
        decay=Decision(physical.decay_correction, "default" if physical.decay_correction else user),
        scale_interval=scale_interval,
        decay_interval=decay_interval,
        absorption=absorption,
        decay_restraint=_decay_restraint(options) if physical.decay_correction else None,
        lmax=lmax if absorption.value else None,
        surface_weight=weight if absorption.value else None,
    )


def _model(facts: SweepFacts, options: ScalingOptions) -> Decision[str]:
    if options.model not in (AUTO, None, "auto"):
        if options.model == "physical" and facts.is_still:
            return Decision("KB", "a still has no rotation for a physical model to follow")
        return Decision(str(options.model), "set by the user")
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
    weight = options.physical.decay_restraint
    if weight is not AUTO:
        return Decision(Restraint.fixed(float(weight)), "set by the user")
    return Decision(Restraint(*_DECAY_RESTRAINT), _EVIDENCE)


def _surface(options: ScalingOptions) -> tuple[Decision[int], Decision[Restraint]]:
    physical = options.physical
    if physical.absorption_level is not None:
        lmax, weight = _ABSORPTION_LEVELS[physical.absorption_level]
        reason = f"absorption_level={physical.absorption_level}"
        return Decision(lmax, reason), Decision(Restraint.fixed(weight), reason)
    return (
        Decision(4, "default") if physical.lmax is AUTO else Decision(int(physical.lmax), "set by the user"),
        Decision(Restraint(*_SURFACE_WEIGHT), _EVIDENCE)
        if physical.surface_weight is AUTO
        else Decision(Restraint.fixed(float(physical.surface_weight)), "set by the user"),
    )
