"""Geometry of a rotation experiment with a flat detector: where diffracted beams point, by detector and by index."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..symmetry import unit_cell_from
from ..typing import FloatArray, IntArray
from .imported import FlatDetector

__all__ = ["DetectorSegment", "RotationGeometry", "oriented_cell", "rotated"]


@dataclass(frozen=True)
class DetectorSegment:
    """A part of a detector with a plane of its own: unit vectors, and where its pixel (0, 0) would begin (mm)."""

    fast: FloatArray
    slow: FloatArray
    origin: FloatArray


@dataclass(frozen=True)
class RotationGeometry:
    """Beam, axis, detector and crystal of a rotation experiment, all in one frame.

    Attributes
    ----------
    wavelength : float
        In A.
    incident : (3,)
        Unit vector along the incident beam.
    axis : (3,)
        Unit vector of the rotation axis; positive angles are right-handed about it.
    detector : FlatDetector
    segments : tuple of DetectorSegment
        Empty: the detector is one plane.
    angle_at_zero, width : float
        Rotation angle at array coordinate 0 (the start of image 1), width of an image (degrees).
    real_space : (3, 3) or None
        Vectors a, b, c (A) as rows at rotation angle 0; None: unknown.
    """

    wavelength: float
    incident: FloatArray
    axis: FloatArray
    detector: FlatDetector
    segments: tuple[DetectorSegment, ...]
    angle_at_zero: float
    width: float
    real_space: FloatArray | None

    @property
    def s0(self) -> FloatArray:
        """Incident beam vector (1/A)."""
        return np.asarray(self.incident / self.wavelength)

    def angles(self, z: FloatArray) -> FloatArray:
        """Rotation angles (radians) of array coordinates (n,)."""
        return np.asarray(np.radians(self.angle_at_zero + self.width * z))

    def beams_from_detector(self, xy: FloatArray, segment: IntArray | None = None) -> FloatArray:
        """Diffracted beams s1 (n, 3), in 1/A, through positions (n, 2) in pixels; (0, 0) is where the first begins.

        `segment` (n,) is the number of the segment from 0, if there are any; others than those are on the plane.
        """
        f = self.detector
        at = _on_plane(xy, f.pixel_size, f.fast, f.slow, f.origin)
        if segment is not None:
            for number, part in enumerate(self.segments):
                rows = segment == number
                at[rows] = _on_plane(xy[rows], f.pixel_size, part.fast, part.slow, part.origin)
        length = np.sqrt(np.einsum("ij,ij->i", at, at))
        at /= (self.wavelength * length)[:, None]
        return at

    def beams_from_indices(self, miller_index: IntArray, z: FloatArray, real_space: FloatArray) -> FloatArray:
        """Diffracted beams s1 = s0 + R(phi) A h (n, 3), in 1/A, with A the inverse of `real_space`.

        Their length is 1/wavelength for reflections that are in reflecting position.
        """
        reciprocal = miller_index @ np.linalg.inv(real_space).T
        return np.asarray(self.s0 + rotated(reciprocal, self.axis, self.angles(z)))

    def in_crystal_frame(self, s1: FloatArray, z: FloatArray) -> FloatArray:
        """Scattering vectors s1 - s0 turned back to rotation angle 0, (n, 3)."""
        return rotated(s1 - self.s0, self.axis, -self.angles(z))

    def with_wavelength(self, wavelength: float) -> RotationGeometry:
        """The same with another wavelength (A)."""
        return replace(self, wavelength=wavelength)


def _on_plane(
    xy: FloatArray, pixel_size: tuple[float, float], fast: FloatArray, slow: FloatArray, origin: FloatArray
) -> FloatArray:
    # One axis after the other: faster than a product of matrices that are this narrow.
    at = np.empty((len(xy), 3))
    for k in range(3):
        np.multiply(xy[:, 0], pixel_size[0] * fast[k], out=at[:, k])
        at[:, k] += pixel_size[1] * slow[k] * xy[:, 1]
        at[:, k] += origin[k]
    return at


def rotated(vectors: FloatArray, axis: FloatArray, angles: FloatArray) -> FloatArray:
    """Vectors (n, 3) turned about a unit vector by angles (n,) in radians (Rodrigues' formula)."""
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    along = np.outer(vectors @ axis, axis)
    return np.asarray(along + cos * (vectors - along) + sin * np.cross(axis, vectors))


def oriented_cell(unit_cell: tuple[float, ...], axes: FloatArray) -> FloatArray:
    """Vectors a, b, c (3, 3) of a cell in the orientation that fits axes (3, 3) best; both as rows, in A.

    The rotation R nearest to (axes)^T O^-1, O the orthogonalisation matrix of the cell, is U V^T of its singular value
    decomposition (Kabsch). Left-handed axes are returned as they are.
    """
    orthogonalisation: FloatArray = np.array(unit_cell_from(unit_cell).orth.mat.tolist(), np.float64)
    if not np.linalg.det(axes) > 0:
        return axes
    left, _, right = np.linalg.svd(axes.T @ np.linalg.inv(orthogonalisation))
    return np.asarray((left @ right @ orthogonalisation).T)
