"""Weak restraints that keep parameters without data near their neighbours (docs/theory/model.md, "Smoothness")."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .components import SMOOTH_FORMS, ComponentModel
from .joint_model import JointModel, PlacedComponent, RestraintRows, restraint_rows
from .typing import BoolArray, FloatArray, IntArray

__all__ = ["has_smooth_restraint", "smooth_rows", "stabilising_rows", "weakly_determined"]

_WEAK, _FIRM, _SOME = 10.0, 100.0, 1e-6
_SMOOTH_KINDS = ("smooth_scale", "smooth_decay", "grid")


def _typical(information: FloatArray) -> float:
    """Median information of the parameters that have some."""
    some = information[information > _SOME * information.max(initial=0.0)]
    return float(np.median(some)) if some.size else 0.0


def _square(placed: PlacedComponent, parameters: FloatArray) -> float:
    """From the information on factors to that on their logarithms."""
    own = parameters[placed.place]
    return float(np.median(own) ** 2) if placed.component.null_value == 1.0 else 1.0


def _smooth_components(joint: JointModel) -> Iterator[PlacedComponent]:
    for placed in joint.own():
        if placed.component.kind in _SMOOTH_KINDS and not placed.component.held:
            yield placed


def _holding(numbers: IntArray, pull: FloatArray, information: FloatArray) -> float:
    """Weight with which the mean of some parameters stays in place, whatever pulls at them."""
    return float(numbers.size * (_typical(information[numbers]) + _FIRM * pull[numbers].max(initial=0.0)))


def _pull(joint: JointModel) -> FloatArray:
    """Weights of the components' own restraints on each parameter, (p,) float64."""
    return joint.restraint_rows().diagonal(joint.n_parameters)


def has_smooth_restraint(joint: JointModel) -> bool:
    """Whether a component's own restraints couple neighbouring scales."""
    return any(r.form != "null" for p in joint.own() for r in p.component.restraints)


def smooth_rows(
    joint: JointModel, parameters: FloatArray, information: FloatArray, smoothness: float
) -> list[RestraintRows]:
    """Restraints of the differences of neighbouring parameters, and of what two grids of one model could exchange.

    The weight of a difference is `smoothness` times the median information of the component's parameters, so that they
    are felt only where the data say next to nothing.

    Parameters
    ----------
    joint : JointModel
    parameters : (p,) float64
    information : (p,) float64
        Diagonal of the normal matrix of the data.
    smoothness : float
    """
    rows = []
    scale_like, pull = joint.scale_like(), _pull(joint)
    for placed in _smooth_components(joint):
        typical = _typical(information[placed.place])
        if typical > 0 and smoothness > 0:
            forms = SMOOTH_FORMS[: len(placed.component.shape)]
            weight = smoothness * typical * _square(placed, parameters)
            rows += [restraint_rows(placed, form, weight, parameters) for form in forms]
        if placed.component.kind == "grid" and not scale_like[placed.place].any():
            # A second grid can take any factor from the first: its mean is one.
            rows.append(RestraintRows.mean(placed.numbers, 1.0, _holding(placed.numbers, pull, information)))
    return rows


def stabilising_rows(
    joint: JointModel,
    parameters: FloatArray,
    information: FloatArray,
    smoothness: float,
    label: IntArray,
    tied: BoolArray,
) -> list[RestraintRows]:
    """Smoothness, and the mean of scales and of unrestrained B of each connected component kept as it is.

    The data do not care for a common factor of all scales or a common B, but restraints between neighbours and other
    components do: they would pull the factor to zero, and B anywhere. Data sets (n_data_sets,) that are tied to a
    reference have both determined by it.
    """
    rows = smooth_rows(joint, parameters, information, smoothness)
    mask, pull, held = joint.scale_like(), _pull(joint), joint.scale_is_held() | tied
    decay, data_set = joint.decay_like(), joint.data_set_of_parameters()
    component_of = label[data_set]
    for k in range(int(label.max(initial=-1)) + 1):
        scales = np.flatnonzero(mask & (component_of == k)).astype(np.int32)
        if scales.size and not held[label == k].any():
            weight = _holding(scales, pull, information)
            rows.append(RestraintRows.mean(scales, float(parameters[scales].mean()), weight))
        b = np.flatnonzero(decay & (component_of == k)).astype(np.int32)
        free = not tied[label == k].any() and not pull[b].any()
        if free and np.unique(data_set[b]).size == np.count_nonzero(label == k):
            rows.append(RestraintRows.mean(b, float(parameters[b].mean()), _holding(b, pull, information)))
    return rows


def weakly_determined(joint: JointModel, information: FloatArray, smoothness: float) -> dict[str, list[int]]:
    """Parameters that follow their neighbours rather than the data: component to their numbers."""
    found: dict[str, list[int]] = {}
    for placed in _smooth_components(joint):
        own = information[placed.place]
        weak = np.flatnonzero(own < _WEAK * smoothness * _typical(own))
        if weak.size:
            found[_label(placed)] = weak.tolist()
    return found


def _label(placed: PlacedComponent) -> str:
    component: ComponentModel = placed.component
    return f"{component.name} of {'all data sets' if component.shared else f'data set {placed.data_set}'}"
