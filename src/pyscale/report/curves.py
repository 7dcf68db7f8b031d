"""Curves and surfaces of fitted models, evaluated by the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pyscale import _core
from pyscale.components import Axis, ComponentModel, CoordinateName
from pyscale.observations import JobObservations
from pyscale.typing import BoolArray, FloatArray

__all__ = [
    "Curve",
    "Section",
    "Surface",
    "absorption_surface",
    "dose_factor",
    "grid_section",
    "smooth_curve",
    "unmeasured_directions",
]

_N_POINTS = 181
_N_POLAR, _N_AZIMUTH = 45, 90


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
class Surface:
    """An absorption surface over directions.

    Attributes
    ----------
    azimuth_deg : (90,) float64
    polar_deg : (45,) float64
        Centres of the cells of the grid.
    value : (45, 90) float64
        1 + sum C_lm Y_lm(direction): the factor of g if both beams ran along the direction.
    """

    azimuth_deg: FloatArray
    polar_deg: FloatArray
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
    z = np.linspace(image_range[0] - 1.0, image_range[1], _N_POINTS)
    value = _evaluate(model, component.parameters, image_z=z)
    return Curve(_core.node_coordinates(axis), z, value)


def absorption_surface(component: ComponentModel) -> Surface:
    """Evaluate an absorption surface on a grid of directions."""
    azimuth = (np.arange(_N_AZIMUTH) + 0.5) * (2 * np.pi / _N_AZIMUTH) - np.pi
    polar = (np.arange(_N_POLAR) + 0.5) * (np.pi / _N_POLAR)
    sine = np.sin(polar)[:, None]
    directions = np.stack(
        [
            sine * np.cos(azimuth),
            sine * np.sin(azimuth),
            np.broadcast_to(np.cos(polar)[:, None], (_N_POLAR, _N_AZIMUTH)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    model = _core.JobModel()
    model.add(model.add_data_set(), component.core())
    value = _evaluate(model, component.parameters, image_z=np.zeros(len(directions)), directions=directions)
    return Surface(np.degrees(azimuth), np.degrees(polar), value.reshape(_N_POLAR, _N_AZIMUTH))


def unmeasured_directions(observations: JobObservations, data_sets: Sequence[int]) -> BoolArray:
    """Cells of the grid of `absorption_surface` that no beam of some data sets crosses, (45, 90) bool."""
    here = np.isin(observations.data_set, data_sets)
    counts = np.zeros(_N_POLAR * _N_AZIMUTH, np.int64)
    for beams in (observations.s0_crystal[here], observations.s1_crystal[here]):
        polar = np.arccos(np.clip(beams[:, 2], -1.0, 1.0)) * (_N_POLAR / np.pi)
        azimuth = (np.arctan2(beams[:, 1], beams[:, 0]) + np.pi) * (_N_AZIMUTH / (2 * np.pi))
        cell = np.minimum(polar.astype(np.int64), _N_POLAR - 1) * _N_AZIMUTH
        cell += np.minimum(azimuth.astype(np.int64), _N_AZIMUTH - 1)
        counts += np.bincount(cell, minlength=counts.size)
    unmeasured: BoolArray = (counts == 0).reshape(_N_POLAR, _N_AZIMUTH)
    return unmeasured


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
