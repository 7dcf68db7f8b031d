"""A flat detector from the directions of diffracted beams and where they were recorded."""

from __future__ import annotations

import numpy as np

from ..typing import FloatArray
from .imported import FlatDetector

__all__ = ["fit_detector"]

_FEWEST = 20


def fit_detector(
    s1: FloatArray, place: FloatArray, distance: float, image_size: tuple[int, int]
) -> tuple[FlatDetector, float] | None:
    """Find the plane whose projection carries directions to places.

    A homography of eight parameters by the direct linear transform (Hartley & Zisserman 2004, section 4.1), from which
    the axes, the origin and the size of a pixel in units of the distance follow.

    Parameters
    ----------
    s1 : (n, 3) float64
        Directions from the sample, of any length.
    place : (n, 2) float64
        Pixels along fast and slow.
    distance : float
        From the sample to the plane, mm.
    image_size : (int, int)
        Pixels.

    Returns
    -------
    FlatDetector, float
        And the median distance (pixels) between recorded and projected places; None where nothing fits.
    """
    known = np.isfinite(place).all(axis=1) & np.isfinite(s1).all(axis=1)
    direction, place = s1[known] / np.linalg.norm(s1[known], axis=1)[:, None], place[known]
    if len(place) < _FEWEST or not np.ptp(place, axis=0).min() > 0:
        return None
    centre, extent = place.mean(axis=0), float(np.ptp(place, axis=0).max()) / 2
    wanted = (place - centre) / extent
    use = np.ones(len(place), np.bool_)
    for _ in range(4):
        projection = _homography(direction[use], wanted[use])
        mapped = direction @ projection.T
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.linalg.norm(mapped[:, :2] / mapped[:, 2:] - wanted, axis=1)
        use = off <= 5.0 * np.nanmedian(off[use]) + 1e-9
        if use.sum() < _FEWEST or abs(np.linalg.det(projection)) < 1e-12:
            return None
    shift = np.array([[1, 0, -centre[0]], [0, 1, -centre[1]], [0, 0, extent]]) / extent
    plane = np.linalg.inv(projection) @ shift
    return _detector(plane, direction[use].mean(axis=0), distance, image_size, centre), float(np.median(off)) * extent


def _homography(direction: FloatArray, wanted: FloatArray) -> FloatArray:
    zero = np.zeros_like(direction)
    equations = np.vstack(
        [
            np.hstack([direction, zero, -wanted[:, :1] * direction]),
            np.hstack([zero, direction, -wanted[:, 1:] * direction]),
        ]
    )
    _, vectors = np.linalg.eigh(equations.T @ equations)
    projection: FloatArray = vectors[:, 0].reshape(3, 3)
    return projection


def _detector(
    plane: FloatArray, towards: FloatArray, distance: float, image_size: tuple[int, int], centre: FloatArray
) -> FlatDetector:
    """The detector of a matrix that turns (x, y, 1) in pixels into directions."""
    if plane @ np.append(centre, 1.0) @ towards < 0:
        plane = -plane
    normal = np.cross(plane[:, 0], plane[:, 1])
    normal = normal / np.linalg.norm(normal)
    plane = plane * (distance / abs(float(normal @ plane[:, 2])))
    sizes = np.linalg.norm(plane[:, :2], axis=0)
    fast = plane[:, 0] / sizes[0]
    slow = plane[:, 1] - (plane[:, 1] @ fast) * fast
    slow = slow / np.linalg.norm(slow)
    return FlatDetector(fast, slow, plane[:, 2], (float(sizes[0]), float(sizes[1])), image_size)
