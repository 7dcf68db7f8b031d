"""Curves and surfaces of fitted models, evaluated by the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pyscale import _core
from pyscale.components import Axis, ComponentModel, CoordinateName
from pyscale.model_document import curve_points
from pyscale.typing import FloatArray

__all__ = ["Curve", "Section", "absorption_factor", "dose_factor", "grid_section", "smooth_curve"]

_N_POINTS = 161


@dataclass(frozen=True)
class Curve:
    """A smooth component along a scan.

    Attributes
    ----------
    node_z : (p,) float64
        Coordinates of the nodes, images.
    z, value : (n,) float64
        The smoothed parameters, which need not pass through the nodes.
    """

    node_z: FloatArray
    z: FloatArray
    value: FloatArray


@dataclass(frozen=True)
class Section:
    """A grid over two of its coordinates, the others fixed.

    Attributes
    ----------
    x, y : (n,) float64
        Coordinates over the range of the nodes' data.
    value : (n, n) float64
        The factor of g, a row for each y.
    """

    x: FloatArray
    y: FloatArray
    value: FloatArray


def smooth_curve(component: ComponentModel, image_range: tuple[int, int]) -> Curve:
    """Evaluate the smoothed parameters of a component between the first and last image.

    A relative B is smoothed as a scale is: only what becomes of the sum differs.
    """
    axis = component.axes[0].core()
    model = _core.JobModel()
    model.add(model.add_data_set(), _core.Component.smooth_scale(axis))
    z = curve_points(image_range, _N_POINTS)
    value = _evaluate(model, component.parameters, image_z=z)
    return Curve(_core.node_coordinates(axis), z, value)


def absorption_factor(component: ComponentModel, directions: FloatArray) -> FloatArray:
    """1 + sum C_lm Y_lm of directions (n, 3), unit vectors: g if both beams ran along them, (n,) float64."""
    model = _core.JobModel()
    model.add(model.add_data_set(), component.core())
    return _evaluate(model, component.parameters, image_z=np.zeros(len(directions)), directions=directions)


def grid_section(
    component: ComponentModel, x: CoordinateName, y: CoordinateName, fixed: Mapping[str, float], n: int
) -> Section:
    """Evaluate a grid over two of its coordinates.

    Parameters
    ----------
    component : ComponentModel
        Of kind grid.
    x, y : str
        Two of image_z, inv_d2, x_px, y_px.
    fixed : mapping of str to float
        The grid's other coordinates.
    n : int
        Points along each.
    """
    along = {axis.coordinate: axis for axis in component.axes}
    places = {name: _range(along[name], n) for name in (x, y)}
    across, down = (grid.ravel() for grid in np.meshgrid(places[x], places[y]))
    coordinates = {name: np.full(across.size, value) for name, value in fixed.items()} | {x: across, y: down}
    model = _core.JobModel()
    model.add(model.add_data_set(), component.core())
    value = _evaluate(model, component.parameters, **coordinates)
    return Section(places[x], places[y], value.reshape(n, n))


def _range(axis: Axis, n: int) -> FloatArray:
    """Coordinates over the data for which the nodes were laid: four and more stand half a spacing outside."""
    nodes = axis.node_coordinates()
    half = 0.5 * (nodes[1] - nodes[0]) if nodes.size > 3 else 0.0
    return np.linspace(nodes[0] + half, nodes[-1] - half, n)


def dose_factor(component: ComponentModel, d: float, image_z: FloatArray) -> FloatArray:
    """Factor of g of a decay with dose at one resolution (Å), (n,) float64."""
    model = _core.JobModel()
    model.add(model.add_data_set(), component.core())
    return _evaluate(model, component.parameters, image_z=image_z, inv_d2=np.full(image_z.size, d**-2))


def _evaluate(
    model: _core.JobModel,
    parameters: FloatArray,
    *,
    image_z: FloatArray | None = None,
    inv_d2: FloatArray | None = None,
    x_px: FloatArray | None = None,
    y_px: FloatArray | None = None,
    directions: FloatArray | None = None,
) -> FloatArray:
    """The model's factor of g; coordinates that are not given do not matter."""
    given = (image_z, inv_d2, x_px, y_px)
    n = next(c.size for c in given if c is not None)
    z, s, x, y = (np.zeros(n) if c is None else c for c in given)
    beams = np.zeros((n, 3)) if directions is None else directions
    observations = _core.Observations(np.zeros(n, np.int32), z, 0.5 * s, beams, beams, x, y)
    return _core.inverse_scale_factors(model, observations, np.ascontiguousarray(parameters))
