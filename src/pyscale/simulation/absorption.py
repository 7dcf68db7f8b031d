"""Absorption by ray tracing: an ellipsoidal crystal inside an off-centre ellipsoidal drop on its mount."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..typing import FloatArray
from .crystal import random_rotation
from .geometry import Geometry
from .rotation import Spots

__all__ = ["Ellipsoid", "Sample", "SampleView", "make_sample"]

N_POINTS = 6
DROP_SHARE = 0.3
"""Absorption of the drop relative to that of the crystal, per unit of length."""


@dataclass(frozen=True)
class SampleView:
    """From where a sample is looked at: geometry and spots of one experiment."""

    geometry: Geometry
    spots: Spots


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


@dataclass(frozen=True)
class Sample:
    """A crystal in its drop, and how strongly it absorbs.

    Attributes
    ----------
    crystal, drop : Ellipsoid
        In the crystal frame.
    points : (N_POINTS, 3) float64
        Where reflections arise.
    attenuation : float
        Absorption coefficient of the crystal.
    mean_path, mean_transmission : float
        Over the spots that define the sample: g is relative to them.
    """

    crystal: Ellipsoid
    drop: Ellipsoid
    points: FloatArray
    attenuation: float = 1.0
    mean_path: float = 0.0
    mean_transmission: float = 1.0

    def paths(self, geometry: Geometry, spots: Spots) -> FloatArray:
        """(N_POINTS, n) lengths of incident and diffracted beam through the sample."""
        source = np.broadcast_to(geometry.direction, spots.s1.shape)
        beams = [geometry.to_crystal(v, spots.phi) for v in (source, spots.s1 * geometry.wavelength)]
        paths = np.zeros((len(self.points), len(spots)))
        for row, point in enumerate(self.points):
            for beam in beams:
                own = self.crystal.chord(point, beam)
                paths[row] += own + DROP_SHARE * (self.drop.chord(point, beam) - own)
        return paths

    def transmission(self, geometry: Geometry, spots: Spots) -> FloatArray:
        """(n,) transmission factors, with a mean of 1 over the spots that define the sample."""
        mean = self._transmission(self.paths(geometry, spots))
        return np.asarray(mean / self.mean_transmission)

    def _transmission(self, paths: FloatArray) -> FloatArray:
        return np.asarray(np.exp(-self.attenuation * (paths - self.mean_path)).mean(axis=0))


def make_sample(strength: float, view: SampleView, rng: np.random.Generator) -> Sample:
    """A random sample that absorbs with the asked strength.

    Parameters
    ----------
    strength : float
        Standard deviation, over the spots, of the mean path through the sample in attenuation lengths.
    view : SampleView
        The experiment whose spots define strength and mean.
    """
    crystal, drop = _shapes(view.geometry, rng)
    inside = rng.normal(size=(N_POINTS, 3))
    inside *= rng.uniform(0.2, 0.95, (N_POINTS, 1)) / np.linalg.norm(inside, axis=1, keepdims=True)
    sample = Sample(crystal, drop, inside @ np.linalg.inv(crystal.shape).T)
    paths = sample.paths(view.geometry, view.spots)
    mu = strength / max(float(paths.mean(axis=0).std()), 1e-12)
    sample = replace(sample, attenuation=mu, mean_path=float(paths.mean()))
    return replace(sample, mean_transmission=float(sample._transmission(paths).mean()))


def _shapes(geometry: Geometry, rng: np.random.Generator) -> tuple[Ellipsoid, Ellipsoid]:
    """A plate or needle in any orientation, in a drop that is longer along the rotation axis."""
    axes = np.array([1.0, rng.uniform(0.5, 0.9), rng.uniform(0.3, 0.6)])
    crystal = Ellipsoid(np.diag(1.0 / axes) @ random_rotation(rng), np.zeros(3))
    along = geometry.fixed_rotation.T @ geometry.axis
    shape = (np.eye(3) - 0.35 * np.outer(along, along)) / 1.8
    return crystal, Ellipsoid(shape, 0.6 * along)
