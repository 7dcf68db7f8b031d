"""Models beside the one of the rules (docs/theory/choices.md, "The choice of the model")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .auto import array_plan, image_scale_decisions, surface_decisions
from .model_plan import Decision, ModelPlan
from .options import AUTO, ScalingOptions, with_changes
from .options.models import PhysicalOptions
from .scaling_model import DataSetModel

__all__ = ["Variant", "may_differ", "may_have_absorption", "planned"]

_LEAST_INTERVAL_DEG = 1.0


@dataclass(frozen=True)
class Variant:
    """How the physical models of a job differ from the rules'.

    Attributes
    ----------
    lmax : int or None
        Highest order of the absorption surface, 0 for none; None: as the rules have it.
    scale, decay : float
        Factor of the interval of scale and decay.
    image_scale : bool
        With one scale per image.
    array, modulation : bool
        Array models instead, without or with modulation; nothing else counts then.
    """

    lmax: int | None = None
    scale: float = 1.0
    decay: float = 1.0
    image_scale: bool = False
    array: bool = False
    modulation: bool = False

    def with_factor(self, component: str, factor: float) -> Variant:
        """Return the variant with another interval of `scale` or `decay`."""
        return replace(self, scale=factor) if component == "scale" else replace(self, decay=factor)

    def __str__(self) -> str:
        if self.array:
            return "array model with modulation" if self.modulation else "array model"
        parts = []
        if self.lmax is not None:
            parts.append(f"absorption with lmax {self.lmax}" if self.lmax else "no absorption")
        if self.scale != 1.0:
            parts.append(f"scale interval x {self.scale:g}")
        if self.decay != 1.0:
            parts.append(f"decay interval x {self.decay:g}")
        if self.image_scale:
            parts.append("scale per image")
        return ", ".join(parts) or "rules"


def may_differ(options: ScalingOptions) -> set[str]:
    """Fields of `Variant` that no option decides; who sets one of the physical model wants no array model."""
    physical = options.physical
    free = {
        "lmax": physical.absorption_level is None and physical.absorption_correction is AUTO,
        "scale": physical.scale_correction and physical.scale_interval is AUTO,
        "decay": physical.decay_correction and physical.decay_interval is AUTO,
        "image_scale": physical.image_scale is AUTO,
        "array": physical == PhysicalOptions(),
    }
    return {name for name, is_free in free.items() if is_free}


def may_have_absorption(model: DataSetModel, plan: ModelPlan, options: ScalingOptions) -> bool:
    """Whether a data set may get an absorption surface, although the rules may give it none."""
    tried = options.model == "cross_validated" and model.model == "physical" and "lmax" in may_differ(options)
    return model.has_absorption or (tried and plan.has_beam_directions)


def planned(variant: Variant, rules: Sequence[ModelPlan], options: ScalingOptions, reason: str) -> list[ModelPlan]:
    """Return the plans of a variant; those of data sets without a physical model stay the rules'."""
    return [_planned(variant, plan, options, reason) if plan.model.value == "physical" else plan for plan in rules]


def _planned(variant: Variant, plan: ModelPlan, options: ScalingOptions, reason: str) -> ModelPlan:
    if variant.array:
        if not plan.has_positions:
            return plan
        return array_plan(with_changes(options, {"array.modulation_correction": variant.modulation}), reason)
    if variant.lmax is not None and plan.has_beam_directions:
        plan = replace(plan, **surface_decisions(variant.lmax, options, reason))
    if variant.scale != 1.0:
        plan = replace(plan, scale_interval=_scaled(plan.scale_interval, variant.scale, reason))
    if variant.decay != 1.0:
        plan = replace(plan, decay_interval=_scaled(plan.decay_interval, variant.decay, reason))
    if variant.image_scale:
        plan = replace(plan, **image_scale_decisions(options, reason))
    return plan


def _scaled(interval: Decision[float] | None, factor: float, reason: str) -> Decision[float] | None:
    if interval is None:
        return None
    return Decision(max(interval.value * factor, min(interval.value, _LEAST_INTERVAL_DEG)), reason)
