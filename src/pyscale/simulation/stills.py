"""The spots of one still: partialities from the excitation error."""

from __future__ import annotations

import math

import numpy as np

from ..typing import FloatArray, IndexArray
from .crystal import TrueCrystal
from .geometry import Detector, Geometry, polarization_factor
from .options import SimulationOptions
from .rotation import Spots

__all__ = ["still_spots"]

MIN_PARTIALITY = 0.1


def still_spots(
    options: SimulationOptions,
    crystal: TrueCrystal,
    orientation: FloatArray,
    geometry: Geometry,
    detector: Detector,
    rng: np.random.Generator,
) -> Spots:
    """Reflections close enough to the Ewald sphere to be recorded without rotation.

    The excitation error ε = |s0 + r| − 1/λ and the width w of a reciprocal-lattice point, from mosaic block
    size and mosaicity, give the partiality exp(−ε²/2w²). s1 points to the spot and is scaled to 1/λ.
    """
    # only the few reflections near the sphere need their vectors turned
    near = _near_sphere(options, crystal, orientation, geometry)
    if options.keep < 1.0:
        near = near[rng.uniform(size=len(near)) < options.keep]
    s1 = geometry.s0 + crystal.reciprocal[near] @ orientation.T
    length = np.linalg.norm(s1, axis=1)
    s1 /= geometry.wavelength * length[:, None]
    excess = (length - 1.0 / geometry.wavelength) / _point_width(options, crystal.d[near])
    partiality = np.exp(-0.5 * excess**2)
    position, inside = detector.intersect(s1)
    inside &= partiality > MIN_PARTIALITY
    near, s1, position, partiality = near[inside], s1[inside], position[inside], partiality[inside]
    zeros = np.zeros(len(near))
    return Spots(
        reflection=near,
        phi=zeros,
        z=zeros + 0.5,
        s1=s1,
        position=position,
        zeta=zeros,
        lp=1.0 / polarization_factor(geometry, options.polarization_fraction, s1),
        partiality=partiality,
        rocking_width=zeros,
    )


def _point_width(options: SimulationOptions, d: FloatArray) -> FloatArray:
    return np.asarray(np.hypot(0.5 / options.mosaic_block_size, math.radians(options.mosaicity) / d))


def _near_sphere(
    options: SimulationOptions, crystal: TrueCrystal, orientation: FloatArray, geometry: Geometry
) -> IndexArray:
    """Reflections whose |s0 + r|² differs from 1/λ² by less than MIN_PARTIALITY allows anywhere."""
    squared = 2.0 * (crystal.reciprocal @ (orientation.T @ geometry.s0)) + crystal.d**-2
    widest = 3.0 * float(_point_width(options, crystal.d.min(keepdims=True))[0])
    return np.flatnonzero(np.abs(squared) < widest * (2.0 / geometry.wavelength + widest))
