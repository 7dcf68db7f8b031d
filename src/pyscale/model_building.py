"""From the plan of a data set's model to the model that the fit starts from: every correction at its null value."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import _core
from .components import (
    NULL_VALUES,
    SMOOTH_FORMS,
    Axis,
    ComponentKind,
    ComponentModel,
    ComponentRestraint,
    CoordinateName,
    Coordinates,
    RestraintForm,
)
from .model_plan import Decision, ModelPlan, Restraint
from .scaling_model import DataSetModel, ModelClass
from .typing import FloatArray

__all__ = ["SweepExtent", "model_from_plan", "restrained"]

_SMOOTHER_FACTOR = 0.999
_RESOLUTION_MARGIN, _DETECTOR_MARGIN = 1e-6, 1e-3


@dataclass(frozen=True)
class SweepExtent:
    """What a model of a data set must cover.

    Attributes
    ----------
    range_deg : float
        Rotation, degrees.
    image_width_deg : float
        Rotation per image, degrees.
    first_image, n_images : int
        Image ranges: image_z of the start of the first one, and how many there are.
    dose_per_image, dose_at_start : float
        Dose that the crystal takes up per image, and before the first one.
    """

    range_deg: float
    image_width_deg: float
    first_image: int = 0
    n_images: int = 1
    dose_per_image: float = 1.0
    dose_at_start: float | None = None


def model_from_plan(plan: ModelPlan, extent: SweepExtent, coordinates: Coordinates) -> DataSetModel:
    """Build the starting model of a data set, its nodes over the given rows.

    Raises
    ------
    ValueError
        If the plan is impossible, for example an interval that is too fine.
    """
    name: ModelClass = plan.model.value
    if name == "array":
        components = _array(plan, extent, coordinates)
    elif name == "KB":
        components = _kb(plan)
    else:
        components = _physical(plan, extent) if name == "physical" else _dose_decay(plan, extent)
    return DataSetModel(name, tuple(components), analytical=_wanted(plan.analytical)).placed(coordinates)


def _kb(plan: ModelPlan) -> list[ComponentModel]:
    components = [_constant("scale", "constant_scale")]
    if plan.decay.value:
        components.append(restrained(_constant("decay", "constant_decay"), null=plan.decay_restraint))
    return components


def _physical(plan: ModelPlan, extent: SweepExtent) -> list[ComponentModel]:
    components = [_scale(plan, extent)]
    if _wanted(plan.image_scale):
        zeros = np.zeros(extent.n_images)
        images = ComponentModel("image_scale", "image_scale", zeros, first_image=float(extent.first_image))
        components.append(restrained(images, null=plan.image_scale_size, smooth=plan.image_scale_weight))
    if plan.decay.value:
        decay = _smooth("decay", "smooth_decay", _value(plan.decay_interval), extent)
        components.append(restrained(decay, null=plan.decay_restraint))
    components += _absorption(plan)
    return components


def _dose_decay(plan: ModelPlan, extent: SweepExtent) -> list[ComponentModel]:
    components = [_scale(plan, extent)]
    if plan.decay.value:
        at_zero = 0.0
        if extent.dose_at_start is not None:
            at_zero = extent.dose_at_start - extent.dose_per_image * extent.first_image
        components.append(
            replace(
                _constant("decay", "dose_decay"),
                power=1 if _value(plan.resolution_dependence) == "linear" else 2,
                dose_per_image=extent.dose_per_image,
                dose_at_zero=at_zero,
                shared=_wanted(plan.share_decay),
            )
        )
    if _wanted(plan.relative_B):
        components.append(_constant("relative_B", "constant_decay"))
    components += _absorption(plan)
    return components


def _array(plan: ModelPlan, extent: SweepExtent, coordinates: Coordinates) -> list[ComponentModel]:
    interval = _value(plan.decay_interval)
    time = _rotation_axis(interval, extent)
    _, actual = _core.node_count(extent.range_deg, interval)

    def detector(n_bins: int) -> list[Axis]:
        x = _binned("x_px", coordinates["x_px"], n_bins, _DETECTOR_MARGIN)
        return [x, _binned("y_px", coordinates["y_px"], n_bins, _DETECTOR_MARGIN)]

    axes: dict[str, list[Axis]] = {}
    if plan.decay.value:
        n_bins = _value(plan.n_resolution_bins)
        axes["decay"] = [_binned("inv_d2", coordinates["inv_d2"], n_bins, _RESOLUTION_MARGIN), time]
    if plan.absorption.value:
        axes["absorption"] = [*detector(_value(plan.n_absorption_bins)), time]
    if _wanted(plan.modulation):
        axes["modulation"] = detector(_value(plan.n_modulation_bins))
    components: list[ComponentModel] = []
    for name, along in axes.items():
        start = np.ones(math.prod(axis.n_nodes for axis in along))
        interval_deg = actual if time in along else None
        grid = ComponentModel(name, "grid", start, axes=tuple(along), interval_deg=interval_deg)
        # One of the grids carries the overall scale, which nothing restrains.
        null = plan.grid_size if components else None
        components.append(restrained(grid, null=null, smooth=plan.grid_smoothness))
    return components


def _value(decision: Decision[Any] | None) -> Any:
    assert decision is not None
    return decision.value


def _wanted(decision: Decision[bool] | None) -> bool:
    return decision is not None and decision.value


def _constant(name: str, kind: ComponentKind) -> ComponentModel:
    return ComponentModel(name, kind, np.full(1, NULL_VALUES[kind]))


def _scale(plan: ModelPlan, extent: SweepExtent) -> ComponentModel:
    if not plan.scale.value:
        return _constant("scale", "constant_scale")
    return _smooth("scale", "smooth_scale", _value(plan.scale_interval), extent)


def _absorption(plan: ModelPlan) -> list[ComponentModel]:
    if not plan.absorption.value:
        return []
    lmax = _value(plan.lmax)
    surface = ComponentModel(
        "absorption", "absorption", np.zeros(lmax * (lmax + 2)), shared=_wanted(plan.share_absorption)
    )
    return [restrained(surface, null=plan.surface_weight)]


def _rotation_axis(interval: float, extent: SweepExtent) -> Axis:
    n_nodes, actual = _core.node_count(extent.range_deg, interval)
    return Axis("image_z", n_nodes, _SMOOTHER_FACTOR * abs(extent.image_width_deg) / actual)


def _smooth(name: str, kind: ComponentKind, interval: float, extent: SweepExtent) -> ComponentModel:
    axis = _rotation_axis(interval, extent)
    _, actual = _core.node_count(extent.range_deg, interval)
    return ComponentModel(name, kind, np.full(axis.n_nodes, NULL_VALUES[kind]), axes=(axis,), interval_deg=actual)


def _binned(coordinate: CoordinateName, values: FloatArray, n_bins: int, margin: float) -> Axis:
    """Axis with a node more at either end than bins, by DIALS' rule for its array model."""
    low, high = float(values.min()) - margin, float(values.max()) + margin
    n_nodes = n_bins + 1 if n_bins < 3 else n_bins + 2
    return Axis(coordinate, n_nodes, n_bins / (high - low), begin=low)


def restrained(
    component: ComponentModel, *, null: Decision[Restraint] | None = None, smooth: Decision[Restraint] | None = None
) -> ComponentModel:
    """Return the component with these restraints only: to its null value, and along each of its axes."""
    wanted: dict[RestraintForm, Decision[Restraint] | None] = {"null": null}
    wanted |= dict.fromkeys(SMOOTH_FORMS[: len(component.shape)], smooth)
    restraints = tuple(
        ComponentRestraint(form, d.value.start, d.value.lowest, d.value.highest)
        for form, d in wanted.items()
        if d is not None
    )
    return replace(component, restraints=restraints)
