"""The spots of one still: partialities from the excitation error."""

from __future__ import annotations

import math

import numpy as np

from ..typing import FloatArray
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
    a_matrix = orientation @ crystal.b_matrix
    # s0 . (A h) for all reflections at once; only the few near the sphere need their vectors
    projection = crystal.miller_index @ (a_matrix.T @ geometry.s0)
    length = np.sqrt(geometry.wavelength**-2 + 2.0 * projection + crystal.d**-2)
    excitation = length - 1.0 / geometry.wavelength
    width = np.hypot(0.5 / options.mosaic_block_size, math.radians(options.mosaicity) / crystal.d)
    partiality = np.exp(-0.5 * (excitation / width) ** 2)
    near = np.flatnonzero(partiality > MIN_PARTIALITY)
    if options.keep < 1.0:
        near = near[rng.uniform(size=len(near)) < options.keep]
    s1 = geometry.s0 + crystal.miller_index[near] @ a_matrix.T
    s1 /= geometry.wavelength * np.linalg.norm(s1, axis=1, keepdims=True)
    position, inside = detector.intersect(s1)
    near, s1, position = near[inside], s1[inside], position[inside]
    zeros = np.zeros(len(near))
    return Spots(
        reflection=near,
        phi=zeros,
        z=zeros + 0.5,
        s1=s1,
        position=position,
        zeta=zeros,
        lp=1.0 / polarization_factor(geometry, options.polarization_fraction, s1),
        partiality=partiality[near],
        rocking_width=zeros,
    )
