"""Absorption by ray tracing: an ellipsoidal crystal inside an off-centre ellipsoidal drop on its mount."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..typing import FloatArray
from .crystal import random_rotation
from .geometry import Geometry
from .rotation import Spots

__all__ = ["Ellipsoid", "crystal_transmission"]

N_POINTS = 6
DROP_SHARE = 0.3
"""Absorption of the drop relative to that of the crystal, per unit of length."""


@dataclass(frozen=True)
class Ellipsoid:
    """The points x with |shape (x − centre)| ≤ 1.

    Attributes
    ----------
    shape : (3, 3) float64
        Maps the ellipsoid onto the unit sphere.
    centre : (3,) float64
    """

    shape: FloatArray
    centre: FloatArray

    def chord(self, point: FloatArray, directions: FloatArray) -> FloatArray:
        """Length from an interior point to the surface along (n, 3) unit directions."""
        start = self.shape @ (point - self.centre)
        u = directions @ self.shape.T
        uu = np.einsum("ij,ij->i", u, u)
        us = u @ start
        return np.asarray((-us + np.sqrt(us**2 + uu * (1.0 - start @ start))) / uu)


def crystal_transmission(strength: float, geometry: Geometry, spots: Spots, rng: np.random.Generator) -> FloatArray:
    """Transmission factors exp(−μ path), averaged over points in the crystal.

    The absorption coefficient is chosen such that the mean path length through the sample varies over the
    spots with a standard deviation of `strength` attenuation lengths.

    Returns
    -------
    (n,) float64
        Factors in (0, 1), divided by their mean.
    """
    crystal, drop = _sample(geometry, rng)
    inside = rng.normal(size=(N_POINTS, 3))
    inside *= rng.uniform(0.2, 0.95, (N_POINTS, 1)) / np.linalg.norm(inside, axis=1, keepdims=True)
    points = inside @ np.linalg.inv(crystal.shape).T
    source = np.broadcast_to(geometry.direction, spots.s1.shape)
    beams = [geometry.to_crystal(v, spots.phi) for v in (source, spots.s1 * geometry.wavelength)]
    paths = np.zeros((N_POINTS, len(spots)))
    for row, point in enumerate(points):
        for beam in beams:
            own = crystal.chord(point, beam)
            paths[row] += own + DROP_SHARE * (drop.chord(point, beam) - own)
    mu = strength / max(float(paths.mean(axis=0).std()), 1e-12)
    transmission = np.exp(-mu * (paths - paths.mean())).mean(axis=0)
    return np.asarray(transmission / transmission.mean())


def _sample(geometry: Geometry, rng: np.random.Generator) -> tuple[Ellipsoid, Ellipsoid]:
    """A plate or needle in any orientation, in a drop that is longer along the rotation axis."""
    axes = np.array([1.0, rng.uniform(0.5, 0.9), rng.uniform(0.3, 0.6)])
    crystal = Ellipsoid(np.diag(1.0 / axes) @ random_rotation(rng), np.zeros(3))
    along = geometry.fixed_rotation.T @ geometry.axis
    shape = (np.eye(3) - 0.35 * np.outer(along, along)) / 1.8
    return crystal, Ellipsoid(shape, 0.6 * along)
