"""Curves and surfaces of fitted models, evaluated by the core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyscale import _core
from pyscale.components import ComponentModel
from pyscale.observations import JobObservations
from pyscale.typing import BoolArray, FloatArray

__all__ = ["Curve", "Surface", "absorption_surface", "smooth_curve", "unmeasured_directions"]

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


def smooth_curve(component: ComponentModel, image_range: tuple[int, int]) -> Curve:
    """Evaluate the smoothed parameters of a component between the first and last image.

    A relative B is smoothed as a scale is: only what becomes of the sum differs.
    """
    axis = component.axes[0].core()
    model = _core.JobModel()
    model.add(model.add_data_set(), _core.Component.smooth_scale(axis))
    z = np.linspace(image_range[0] - 1.0, image_range[1], _N_POINTS)
    value = _evaluate(model, z, np.zeros((0, 3)), component.parameters)
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
    value = _evaluate(model, np.zeros(len(directions)), directions, component.parameters)
    return Surface(np.degrees(azimuth), np.degrees(polar), value.reshape(_N_POLAR, _N_AZIMUTH))


def unmeasured_directions(observations: JobObservations, data_set: int) -> BoolArray:
    """Cells of the grid of `absorption_surface` that no incident or diffracted beam crosses, (45, 90) bool."""
    here = observations.data_set == data_set
    counts = np.zeros(_N_POLAR * _N_AZIMUTH, np.int64)
    for beams in (observations.s0_crystal[here], observations.s1_crystal[here]):
        polar = np.arccos(np.clip(beams[:, 2], -1.0, 1.0)) * (_N_POLAR / np.pi)
        azimuth = (np.arctan2(beams[:, 1], beams[:, 0]) + np.pi) * (_N_AZIMUTH / (2 * np.pi))
        cell = np.minimum(polar.astype(np.int64), _N_POLAR - 1) * _N_AZIMUTH
        cell += np.minimum(azimuth.astype(np.int64), _N_AZIMUTH - 1)
        counts += np.bincount(cell, minlength=counts.size)
    unmeasured: BoolArray = (counts == 0).reshape(_N_POLAR, _N_AZIMUTH)
    return unmeasured


def _evaluate(model: _core.JobModel, z: FloatArray, directions: FloatArray, parameters: FloatArray) -> FloatArray:
    observations = _core.Observations(np.zeros(z.size, np.int32), z, np.zeros(z.size), directions, directions)
    return _core.inverse_scale_factors(model, observations, np.ascontiguousarray(parameters))
