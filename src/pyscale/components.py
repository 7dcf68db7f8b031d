"""Components of a data set's scaling model: their parameters, nodes and restraints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from . import _core
from .typing import FloatArray, IntArray

__all__ = ["NULL_VALUES", "SMOOTH_FORMS", "Axis", "ComponentModel", "ComponentRestraint", "Coordinates"]

ComponentKind = Literal[
    "smooth_scale",
    "smooth_decay",
    "absorption",
    "constant_scale",
    "constant_decay",
    "image_scale",
    "dose_decay",
    "grid",
]
RestraintForm = Literal["null", "smooth_0", "smooth_1", "smooth_2"]
SMOOTH_FORMS: tuple[RestraintForm, ...] = ("smooth_0", "smooth_1", "smooth_2")
"""Differences of neighbours along the first, second and third axis."""
CoordinateName = Literal["image_z", "inv_d2", "x_px", "y_px"]
Coordinates = Mapping[str, FloatArray]
"""Coordinates of some rows by name: image_z, inv_d2 (1/A^2), x_px, y_px."""

NULL_VALUES: dict[ComponentKind, float] = {
    "smooth_scale": 1.0,
    "smooth_decay": 0.0,
    "absorption": 0.0,
    "constant_scale": 1.0,
    "constant_decay": 0.0,
    "image_scale": 0.0,
    "dose_decay": 0.0,
    "grid": 1.0,
}
"""Parameter value of "no correction"."""


@dataclass(frozen=True)
class Axis:
    """Nodes along one coordinate: x = coordinate * factor - origin, `spacing` between nodes.

    Attributes
    ----------
    begin : float or None
        Start of the first bin of an array model's axis, as DIALS stores it; nodes do not depend on it.
    origin, spacing : float
        NaN until the axis is laid over the rows of a data set.
    """

    coordinate: CoordinateName
    n_nodes: int
    factor: float
    begin: float | None = None
    origin: float = math.nan
    spacing: float = math.nan

    @property
    def is_placed(self) -> bool:
        """Whether the place of the nodes is known."""
        return math.isfinite(self.origin) and math.isfinite(self.spacing)

    def over(self, values: FloatArray) -> Axis:
        """Return the axis over the rows of a data set, by the rule with which DIALS derives nodes from its data."""
        core = _core.make_smoother_axis(self.factor, self.n_nodes, float(values.min()), float(values.max()))
        return replace(self, origin=core.origin, spacing=core.spacing)

    def core(self) -> _core.SmootherAxis:
        """The axis as the core wants it."""
        return _core.SmootherAxis(self.factor, self.origin, self.spacing, self.n_nodes)

    def node_coordinates(self) -> FloatArray:
        """Place of the nodes in the coordinate's own unit, (n_nodes,) float64."""
        return _core.node_coordinates(self.core())


@dataclass(frozen=True)
class ComponentRestraint:
    """Weight of a restraint on a component's parameters.

    Attributes
    ----------
    form : str
        "null": weight * sum (p - null value)^2; "smooth_k": weight * sum of squared differences of neighbours along
        axis k.
    weight : float
    lowest, highest : float
        Limits between which the fit may choose the weight; equal when it is fixed.
    """

    form: RestraintForm
    weight: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class ComponentModel:
    """One component of a data set's model.

    Attributes
    ----------
    name : str
        Key in DIALS' JSON: scale, decay, absorption, relative_B, modulation; image_scale is our own.
    kind : str
        What the core evaluates.
    parameters : (p,) float64
    sigmas : (p,) float64 or None
        Standard uncertainties in the gauge of docs/theory/uncertainty.md; infinite for parameters that the data leave
        undetermined.
    restraints : tuple of ComponentRestraint
    axes : tuple of Axis
        Nodes of smooth components; the first axis is the fastest.
    interval_deg : float or None
        Distance of the nodes along the rotation, degrees.
    held : bool
        Whether the fit leaves the parameters as they are.
    shared : bool
        Whether all data sets have them in common.
    power, dose_per_image, dose_at_zero : int, float, float
        Of a dose decay: exp(C dose / d^power), dose = dose_per_image * image_z + dose_at_zero.
    first_image : float
        Of image scales: image_z where the first one begins.
    centre : float
        Of a decay: B to which its restraint pulls, not 0 where a reference determines the overall B.
    """

    name: str
    kind: ComponentKind
    parameters: FloatArray
    sigmas: FloatArray | None = None
    restraints: tuple[ComponentRestraint, ...] = ()
    axes: tuple[Axis, ...] = ()
    interval_deg: float | None = None
    held: bool = False
    shared: bool = False
    power: int = 2
    dose_per_image: float = 1.0
    dose_at_zero: float = 0.0
    first_image: float = 0.0
    centre: float = 0.0

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return int(self.parameters.size)

    @property
    def null_value(self) -> float:
        """Parameter value of "no correction"."""
        return NULL_VALUES[self.kind]

    @property
    def lmax(self) -> int:
        """Highest order of an absorption surface."""
        return math.isqrt(self.n_parameters + 1) - 1

    @property
    def is_placed(self) -> bool:
        """Whether the place of all its nodes is known."""
        return all(axis.is_placed for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of nodes along each axis, the fastest first; of image scales the number of images."""
        if self.kind == "image_scale":
            return (self.n_parameters,)
        return tuple(axis.n_nodes for axis in self.axes)

    @property
    def coordinates(self) -> frozenset[str]:
        """Coordinates that evaluation needs besides image and resolution."""
        return frozenset(axis.coordinate for axis in self.axes) & {"x_px", "y_px"}

    def weight(self, form: str) -> float:
        """Weight of the restraint of a form, 0 without one."""
        return next((r.weight for r in self.restraints if r.form == form), 0.0)

    def placed(self, coordinates: Coordinates) -> ComponentModel:
        """Return the component with its nodes laid over the rows of a data set where their place is not yet known."""
        axes = tuple(axis if axis.is_placed else axis.over(coordinates[axis.coordinate]) for axis in self.axes)
        return replace(self, axes=axes)

    def neighbours(self, axis: int) -> IntArray:
        """Pairs of parameters that are next to each other along an axis, (m, 2) int32."""
        numbers = np.arange(self.n_parameters, dtype=np.int32).reshape(self.shape[::-1])
        along = np.moveaxis(numbers, len(self.shape) - 1 - axis, 0)
        return np.stack([along[:-1].ravel(), along[1:].ravel()], axis=1)

    def core(self) -> _core.Component:
        """What the core evaluates."""
        make = _core.Component
        if self.kind in ("smooth_scale", "smooth_decay"):
            axis = self.axes[0].core()
            return make.smooth_scale(axis) if self.kind == "smooth_scale" else make.smooth_decay(axis)
        if self.kind in ("constant_scale", "constant_decay"):
            return make.constant_scale() if self.kind == "constant_scale" else make.constant_decay()
        if self.kind == "absorption":
            return make.absorption(self.lmax)
        if self.kind == "image_scale":
            return make.image_scale(self.first_image, self.n_parameters)
        if self.kind == "dose_decay":
            return make.dose_decay(self.power, self.dose_per_image, self.dose_at_zero)
        return make.grid([(axis.coordinate, axis.core()) for axis in self.axes])
