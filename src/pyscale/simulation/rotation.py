"""The spots of one rotation sweep: where, when and how strongly each reflection is recorded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..typing import FloatArray, IndexArray
from .crystal import TrueCrystal
from .geometry import Detector, Geometry, polarization_factor
from .options import SimulationOptions

__all__ = ["Spots", "rotation_spots"]


@dataclass(frozen=True)
class Spots:
    """Predicted spots of one experiment, in the order of z.

    Attributes
    ----------
    reflection : (n,) int64
        Row of `TrueCrystal`.
    phi, z : (n,) float64
        Rotation angle (radians) and array index (images, 0 at the start of the sweep).
    s1 : (n, 3) float64
        Diffracted beam vector (1/Å), |s1| = 1/wavelength.
    position : (n, 2) float64
        Detector coordinates in mm.
    zeta : (n,) float64
        Component of the rotation axis along s1 × s0; 0 for stills.
    lp : (n,) float64
        Multiplicative Lorentz-polarisation correction: corrected intensity = recorded × lp.
    partiality : (n,) float64
        Recorded fraction of the reflection.
    rocking_width : (n,) float64
        Standard deviation of the rocking curve in images; 0 for stills.
    """

    reflection: IndexArray
    phi: FloatArray
    z: FloatArray
    s1: FloatArray
    position: FloatArray
    zeta: FloatArray
    lp: FloatArray
    partiality: FloatArray
    rocking_width: FloatArray

    def __len__(self) -> int:
        return len(self.reflection)


def rotation_spots(
    options: SimulationOptions,
    crystal: TrueCrystal,
    orientation: FloatArray,
    geometry: Geometry,
    detector: Detector,
    sweep: int,
    rng: np.random.Generator,
) -> Spots:
    """All reflections that cross the Ewald sphere in the sweep and reach the detector.

    Parameters
    ----------
    orientation : (3, 3)
        U of the crystal.
    """
    r = crystal.reciprocal @ orientation.T
    reflection, phi, turned = _within_scan(options, *geometry.crossings(r), sweep)
    s1 = geometry.s0 + geometry.to_laboratory(r[reflection], phi)
    position, inside = detector.intersect(s1)
    zeta = geometry.zeta(s1)
    good = np.flatnonzero(inside & (np.abs(zeta) >= options.zeta_min))
    if options.keep < 1.0:
        good = good[rng.uniform(size=len(good)) < options.keep]
    good = good[np.argsort(turned[good], kind="stable")]
    s1, zeta = s1[good], zeta[good]
    z = turned[good] / options.oscillation_width
    polarization = polarization_factor(geometry, options.polarization_fraction, s1)
    width = options.mosaicity / np.abs(zeta) / options.oscillation_width
    return Spots(
        reflection=reflection[good],
        phi=phi[good],
        z=z,
        s1=s1,
        position=position[good],
        zeta=zeta,
        lp=geometry.inverse_lorentz_factor(s1) / polarization,
        partiality=_normal_cdf((options.n_images - z) / width) - _normal_cdf(-z / width),
        rocking_width=width,
    )


def _within_scan(
    options: SimulationOptions, index: IndexArray, phi: FloatArray, sweep: int
) -> tuple[IndexArray, FloatArray, FloatArray]:
    """Crossings within the scan: row, angle (radians) and degrees turned since the start."""
    start = options.of_sweep("start_angles", sweep)
    width = options.n_images * options.oscillation_width
    turned = (np.degrees(phi) - start) % 360.0
    turns = [np.flatnonzero(turned + 360.0 * k < width) for k in range(int(np.ceil(width / 360.0)))]
    rows = np.concatenate(turns)
    turned = turned[rows] + np.repeat(360.0 * np.arange(len(turns)), [len(t) for t in turns])
    return index[rows], np.radians(start + turned), turned


def _normal_cdf(x: FloatArray) -> FloatArray:
    from scipy.special import ndtr

    return np.asarray(ndtr(x))
