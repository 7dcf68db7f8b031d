"""Diffraction geometry: beam, goniometer and a flat detector, with exact reflecting conditions.

A reciprocal vector is r = S Rot(e, φ) F A h, with A = U B, and s1 = s0 + r; the laboratory frame, the signs
and the meaning of `lp` and `zeta` are those of DIALS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..typing import BoolArray, FloatArray, IndexArray
from .crystal import random_rotation
from .options import SimulationOptions

__all__ = ["Detector", "Geometry", "make_detector", "make_geometry", "polarization_factor"]


@dataclass(frozen=True)
class Geometry:
    """Beam and goniometer.

    Attributes
    ----------
    wavelength : float
        In Å.
    direction : (3,)
        Unit vector from sample to source.
    axis : (3,)
        Rotation axis (unit vector) for identical settings.
    fixed_rotation, setting_rotation : (3, 3)
        F and S.
    """

    wavelength: float
    direction: FloatArray
    axis: FloatArray
    fixed_rotation: FloatArray
    setting_rotation: FloatArray

    @property
    def s0(self) -> FloatArray:
        """Incident beam vector (1/Å)."""
        return np.asarray(-self.direction / self.wavelength)

    @property
    def laboratory_axis(self) -> FloatArray:
        """S e, the rotation axis in the laboratory."""
        return np.asarray(self.setting_rotation @ self.axis)

    def rotate(self, vectors: FloatArray, phi: FloatArray) -> FloatArray:
        """Rot(e, φ) v for (n, 3) vectors and (n,) angles in radians (Rodrigues)."""
        cos, sin = np.cos(phi)[:, None], np.sin(phi)[:, None]
        along = np.outer(vectors @ self.axis, self.axis)
        return np.asarray(along + cos * (vectors - along) + sin * np.cross(self.axis, vectors))

    def to_laboratory(self, vectors: FloatArray, phi: FloatArray) -> FloatArray:
        """S Rot(e, φ) F v."""
        return np.asarray(self.rotate(vectors @ self.fixed_rotation.T, phi) @ self.setting_rotation.T)

    def to_crystal(self, vectors: FloatArray, phi: FloatArray) -> FloatArray:
        """The inverse: (S Rot(e, φ) F)ᵀ v, the modern crystal frame before its axes are permuted."""
        return np.asarray(self.rotate(vectors @ self.setting_rotation, -phi) @ self.fixed_rotation)

    def crossings(self, vectors: FloatArray) -> tuple[IndexArray, FloatArray]:
        """Both rotation angles at which each reciprocal vector touches the Ewald sphere.

        Solves |s0 + S Rot(e, φ) F v|² = |s0|², which is a cos φ + b sin φ = c.

        Parameters
        ----------
        vectors : (n, 3) float64
            A h (1/Å).

        Returns
        -------
        index : (m,) int64
            Which vector; those in the blind region around the axis do not appear, all others twice.
        phi : (m,) float64
            Angle in radians.
        """
        s0 = self.setting_rotation.T @ self.s0
        q = vectors @ self.fixed_rotation.T
        along = q @ self.axis
        s0_along = float(s0 @ self.axis)
        a = q @ s0 - along * s0_along
        b = q @ np.cross(s0, self.axis)
        c = -0.5 * np.einsum("ij,ij->i", q, q) - along * s0_along
        amplitude = np.hypot(a, b)
        index = np.flatnonzero(amplitude > np.abs(c))
        centre = np.arctan2(b[index], a[index])
        half = np.arccos(c[index] / amplitude[index])
        return np.concatenate([index, index]), np.concatenate([centre + half, centre - half])

    def zeta(self, s1: FloatArray) -> FloatArray:
        """Component of the axis along s1 × s0 (unit vector)."""
        normal = np.cross(s1, self.s0)
        return np.asarray(normal @ self.laboratory_axis / np.linalg.norm(normal, axis=1))

    def inverse_lorentz_factor(self, s1: FloatArray) -> FloatArray:
        """|s1 · (m × s0)| λ²: speed of the passage through the Ewald sphere, per radian."""
        return np.asarray(np.abs(s1 @ np.cross(self.laboratory_axis, self.s0)) * self.wavelength**2)


@dataclass(frozen=True)
class Detector:
    """A flat detector: unit vectors of its axes, origin (mm), pixel size (mm) and numbers of pixels."""

    fast: FloatArray
    slow: FloatArray
    origin: FloatArray
    pixel_size: float
    image_size: tuple[int, int]

    def intersect(self, s1: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Where diffracted beams meet the detector.

        Returns
        -------
        position : (n, 2) float64
            Fast and slow coordinates in mm; 0 where the beam goes the other way.
        inside : (n,) bool
            True within the detector's bounds.
        """
        normal = np.cross(self.fast, self.slow)
        towards, depth = s1 @ normal, float(self.origin @ normal)
        forward = towards * depth > 0.0
        length = np.where(forward, depth / np.where(forward, towards, 1.0), 0.0)
        local = s1 * length[:, None] - self.origin
        position = np.where(forward[:, None], np.stack([local @ self.fast, local @ self.slow], axis=1), 0.0)
        size = self.pixel_size * np.array(self.image_size)
        return position, forward & np.all((position > 0.0) & (position < size), axis=1)

    def laboratory(self, position: FloatArray) -> FloatArray:
        """(n, 3) laboratory coordinates (mm) of (n, 2) detector coordinates (mm)."""
        return self.origin + position @ np.stack([self.fast, self.slow])


def make_geometry(options: SimulationOptions, rng: np.random.Generator) -> Geometry:
    """Beam and goniometer of one sweep."""
    eye = np.eye(3)
    fixed, setting = (random_rotation(rng), random_rotation(rng)) if options.random_goniometer else (eye, eye.copy())
    return Geometry(
        wavelength=options.wavelength,
        direction=np.array(options.beam_direction) / np.linalg.norm(options.beam_direction),
        axis=np.array(options.rotation_axis) / np.linalg.norm(options.rotation_axis),
        fixed_rotation=fixed,
        setting_rotation=setting,
    )


def make_detector(options: SimulationOptions) -> Detector:
    """A detector normal to z behind the sample, centred on the z axis but for its offset."""
    width, height = (options.pixel_size * n for n in options.image_size)
    dx, dy = options.detector_offset
    return Detector(
        fast=np.array([1.0, 0.0, 0.0]),
        slow=np.array([0.0, -1.0, 0.0]),
        origin=np.array([-0.5 * width + dx, 0.5 * height - dy, -options.detector_distance]),
        pixel_size=options.pixel_size,
        image_size=options.image_size,
    )


def polarization_normal(geometry: Geometry) -> FloatArray:
    """Normal of the plane of polarisation: the y axis, made normal to the beam."""
    start = np.array([0.0, 1.0, 0.0]) if abs(geometry.direction[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    normal = start - (start @ geometry.direction) * geometry.direction
    return np.asarray(normal / np.linalg.norm(normal))


def polarization_factor(geometry: Geometry, fraction: float, s1: FloatArray) -> FloatArray:
    """Kahn et al. (1982), J. Appl. Cryst. 15, 330: share of both polarisations that is scattered."""
    normal = polarization_normal(geometry)
    in_plane = np.cross(normal, geometry.direction)
    unit = s1 * geometry.wavelength
    return np.asarray(fraction * (1.0 - (unit @ in_plane) ** 2) + (1.0 - fraction) * (1.0 - (unit @ normal) ** 2))
