"""Where the spots of an unmerged MTZ file come from: readings of its geometry, and what they explain.

A reading is right where the diffracted beams s1 = s0 + R(phi) A h lie on the Ewald sphere: | |s1| lambda - 1 | is some
1e-5 to 1e-4 with refined orientations, and 0.1 with wrong ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from ..typing import FloatArray, IndexArray, IntArray
from .mtz_sweeps import Sweep

__all__ = ["Reading", "Spots", "fitted_reading", "header_readings", "laboratory_frame", "reciprocal_basis"]

# Positions in the real numbers of a CCP4 batch header.
_CELL, _U, _MISSETS, _AXIS, _SOURCE = slice(0, 6), slice(6, 15), slice(15, 21), slice(59, 62), slice(83, 86)

_BLOCK = 1 << 14
"""Rows that are calculated together: what fits into a processor's cache."""


@dataclass(frozen=True)
class Spots:
    """What is known of reflections before their observed indices are.

    Attributes
    ----------
    asu_index : (n, 3) int32
        In the asymmetric unit, as in the file.
    isym : (n,) int32
        2 k + 1 when operator k led there, 2 k + 2 when its negative did.
    angle : (n,) float64
        Rotation angle ROT, radians.
    image : (n,) int64
        Position among the orientations of a reading.
    """

    asu_index: IntArray
    isym: IntArray
    angle: FloatArray
    image: IndexArray

    def __len__(self) -> int:
        return len(self.isym)

    def take(self, rows: IndexArray) -> Spots:
        """Return the spots of the given numbers."""
        return Spots(self.asu_index[rows], self.isym[rows], self.angle[rows], self.image[rows])


@dataclass(frozen=True)
class Reading:
    """A possible meaning of what a file says of the geometry.

    Attributes
    ----------
    name : str
        For messages.
    setting : (n_orientations, 3, 3) float64
        A = U B at rotation angle 0 (1/A), one for all images or one for each.
    axis, beam : (3,) float64
        Unit vectors of the rotation axis, and from the source to the sample.
    wavelength : float
        In A.
    """

    name: str
    setting: FloatArray
    axis: FloatArray
    beam: FloatArray
    wavelength: float

    def s1(self, miller_index: IntArray, spots: Spots) -> FloatArray:
        """Diffracted beams s0 + R(phi) A h, (n, 3) float64, 1/A."""
        s1 = np.empty((len(spots), 3))
        for start in range(0, len(spots), _BLOCK):
            rows = slice(start, start + _BLOCK)
            s1[rows] = self._s1(miller_index[rows], spots.angle[rows], spots.image[rows])
        return s1

    def _s1(self, miller_index: IntArray, angle: FloatArray, image: IndexArray) -> FloatArray:
        if len(self.setting) == 1:
            r = miller_index @ self.setting[0].T
        else:
            r = np.einsum("nij,nj->ni", self.setting[image], miller_index)
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        along = (r @ self.axis)[:, None] * self.axis
        x, y, z = self.axis
        across = np.array([[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]])
        s1: FloatArray = self.beam / self.wavelength + cos * (r - along) + sin * (r @ across) + along
        return s1

    def deviation(self, miller_index: IntArray, spots: Spots) -> FloatArray:
        """How far each spot is from the Ewald sphere, | |s1| lambda - 1 |, (n,) float64."""
        length = np.linalg.norm(self.s1(miller_index, spots), axis=1)
        return np.asarray(np.abs(length * self.wavelength - 1.0))

    def in_frame(self, frame: FloatArray) -> Reading:
        """Return the reading in a frame whose axes are the rows of a (3, 3) array."""
        return replace(self, setting=frame @ self.setting, axis=frame @ self.axis, beam=frame @ self.beam)


def reciprocal_basis(cell: FloatArray) -> FloatArray:
    """Columns a*, b*, c* of cells (..., 6), x along a* and z along c (Busing & Levy 1967), 1/A; (..., 3, 3)."""
    length, cosine = cell[..., :3], np.cos(np.radians(cell[..., 3:]))
    metric = length[..., :, None] * length[..., None, :]
    for (i, j), k in (((1, 2), 0), ((0, 2), 1), ((0, 1), 2)):
        metric[..., i, j] *= cosine[..., k]
        metric[..., j, i] *= cosine[..., k]
    lower = np.linalg.cholesky(np.linalg.inv(metric))
    return np.asarray(np.swapaxes(lower, -1, -2))


def header_readings(sweep: Sweep, wavelength: float) -> Iterator[Reading]:
    """Yield readings of the batch headers of a sweep: first the convention of CCP4, then what deviates from it.

    By the convention U is stored column after column, the missetting angles turn about x, y and z, the vector of the
    source points from the sample to it, and the crystal rotates by the right-hand rule.
    """
    headers = sweep.headers
    if headers is None or not np.isfinite(headers[:, : _SOURCE.stop]).all():
        return
    cell, u = headers[:, _CELL], headers[:, _U].reshape(-1, 3, 3)
    source, axis = headers[0, _SOURCE], headers[0, _AXIS]
    axis = axis if np.abs(axis).max() > 0 else np.array([0.0, 0.0, 1.0])
    if not np.abs(u).max() > 0 or not np.linalg.norm(np.cross(source, axis)) > 0.1 or not _are_cells(cell):
        return
    basis, beam, axis = reciprocal_basis(cell), -source / np.linalg.norm(source), axis / np.linalg.norm(axis)
    angles = np.radians(headers[:, _MISSETS].reshape(-1, 2, 3).mean(axis=1))
    misset = [True, False] if np.abs(angles).max() > 0 else [False]
    for by_columns, missets, to_source, right in product((True, False), misset, (True, False), (True, False)):
        setting = (np.swapaxes(u, 1, 2) if by_columns else u) @ basis
        words = ["U by columns" if by_columns else "U by rows"]
        if missets:
            setting = _rotation(angles) @ setting
        if len(misset) > 1:
            words.append("missetting angles applied" if missets else "missetting angles left out")
        words += [] if to_source else ["source vector reversed"]
        words += [] if right else ["rotation reversed"]
        name = f"batch headers ({', '.join(words)})"
        yield Reading(name, setting, axis if right else -axis, beam if to_source else -beam, wavelength)


def _are_cells(cell: FloatArray) -> bool:
    cosine = np.cos(np.radians(cell[:, 3:]))
    volume = 1 + 2 * cosine.prod(axis=1) - (cosine**2).sum(axis=1)
    return bool((cell[:, :3] > 0).all() and (volume > 1e-6).all())


def _rotation(angles: FloatArray) -> FloatArray:
    """Rz Ry Rx of angles (n, 3) about x, y and z, radians; (n, 3, 3)."""
    total = np.broadcast_to(np.eye(3), (len(angles), 3, 3))
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        turn = np.broadcast_to(np.eye(3), (len(angles), 3, 3)).copy()
        turn[:, i, i] = turn[:, j, j] = np.cos(angles[:, k])
        turn[:, j, i] = np.sin(angles[:, k])
        turn[:, i, j] = -turn[:, j, i]
        total = turn @ total
    return np.asarray(total)


def fitted_reading(
    miller_index: IntArray, spots: Spots, unit_cell: FloatArray, wavelength: float | None
) -> Reading | None:
    """Fit an orientation to the rotation angles alone, with the axis along x and the beam along -z.

    The Ewald condition 2 s0 R(phi) A h = -|h*|^2 is linear in the rows y and z of A / lambda, as s0 R(phi) has no part
    along the axis; as A = U B those rows of U have length one, which gives the wavelength where it is unknown. The row
    x completes a rotation. Spots that fit badly are left out, as long as that changes anything.

    Returns
    -------
    Reading or None
        None where the spots do not determine it.
    """
    if len(spots) < 20:
        return None
    basis = reciprocal_basis(unit_cell)
    h = miller_index.astype(np.float64)
    half_square = 0.5 * ((h @ basis.T) ** 2).sum(axis=1)
    design = np.hstack([np.sin(spots.angle)[:, None] * h, np.cos(spots.angle)[:, None] * h])
    use = np.ones(len(h), np.bool_)
    rows = np.zeros(6)
    for _ in range(8):
        rows, _, rank, _ = np.linalg.lstsq(design[use], half_square[use], rcond=None)
        if rank < 6:
            return None
        misfit = np.abs(design @ rows - half_square)
        use = misfit <= 6.0 * np.median(misfit[use]) + 1e-12
    u = rows.reshape(2, 3) @ np.linalg.inv(basis)
    if not np.linalg.norm(u, axis=1).min() > 0:
        return None
    found = float(1.0 / np.sqrt((u**2).sum() / 2))
    left, _, right = np.linalg.svd(u, full_matrices=False)
    y, z = left @ right
    setting = np.array([np.cross(y, z), y, z]) @ basis
    name = "orientation fitted to ROT" + ("" if wavelength else f", wavelength {found:.4f} A")
    return Reading(name, setting[None], np.eye(3)[0], -np.eye(3)[2], wavelength or found)


def laboratory_frame(reading: Reading) -> FloatArray:
    """Axes, as rows, of the frame with the rotation axis along x and the source, all but, along z; (3, 3)."""
    x = reading.axis
    z = -(reading.beam - (reading.beam @ x) * x)
    z = z / np.linalg.norm(z)
    return np.array([x, np.cross(z, x), z])
