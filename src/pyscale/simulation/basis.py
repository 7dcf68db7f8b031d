"""The physical model's basis functions in plain numpy: Gaussian smoother and real spherical harmonics.

Written apart from the C++ core on purpose: simulated data are the independent truth that the core is judged
by, so nothing here may call it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..typing import FloatArray

__all__ = ["Smoother", "make_smoother", "real_spherical_harmonics", "smooth"]

SLACK = 1e-5
"""Added to the requested interval before it is compared with the range (DIALS' rule)."""


@dataclass(frozen=True)
class Smoother:
    """Layout of a smooth function of rotation.

    Attributes
    ----------
    n_parameters : int
        Number of nodes.
    interval : float
        Actual spacing in degrees.
    norm_fac : float
        Normalised rotation per image.
    origin : float
        Normalised rotation (z × norm_fac) at which the coordinate is 0.
    extent : float
        Upper end of the coordinate.
    """

    n_parameters: int
    interval: float
    norm_fac: float
    origin: float
    extent: float

    def evaluate(self, parameters: FloatArray, z: FloatArray) -> FloatArray:
        """Smoothed value at array indices z (images)."""
        return smooth(parameters, z * self.norm_fac - self.origin, self.extent)


def make_smoother(width: float, interval: float, oscillation_width: float, z: FloatArray) -> Smoother:
    """Number of nodes and coordinates for rows at array indices z (DIALS behaviour).

    Parameters
    ----------
    width, interval, oscillation_width : float
        Rotation range, requested spacing and width of one image in degrees.
    z : (n,) float64
        Array indices of the rows; the smallest one is the origin.
    """
    slack = interval + SLACK
    if width < 2.0 * slack:
        n, actual = (2, width) if width <= slack else (3, width / 2.0)
    else:
        bins = max(int(width / slack) + 1, 3)
        n, actual = bins + 2, width / bins
    norm_fac = 0.999 * oscillation_width / actual
    x = z * norm_fac
    origin = float(x.min())
    extent = max(math.ceil(round(float(x.max()) - origin, 10)), 1)
    return Smoother(n, actual, norm_fac, origin, float(extent))


def smooth(parameters: FloatArray, x: FloatArray, extent: float) -> FloatArray:
    """Gaussian-weighted mean of the nearest (at most three) nodes.

    Parameters
    ----------
    parameters : (n,) float64
        Values at the nodes, n ≥ 2; from four on the outer ones lie half a spacing outside.
    x : (m,) float64
        Coordinates in [0, extent].
    extent : float
        Length of the coordinate range.
    """
    n = len(parameters)
    scaled = x * ((n - 1 if n < 4 else n - 2) / extent)
    sigma = 0.65 if n == 2 else 0.70
    first = np.zeros(len(x), np.int64)
    last = np.full(len(x), n)
    if n > 3:
        centred = scaled - 1.5
        first = (np.sign(centred) * np.floor(np.abs(centred) + 0.5)).astype(np.int64) + 1
        last = first + 3
        low, high = first < 0, last > n
        first, last = np.where(low, 0, first), np.where(low, np.maximum(last, 2), last)
        first, last = np.where(high, np.minimum(first, n - 2), first), np.where(high, n, last)
    node = first[:, None] + np.arange(min(n, 3))
    inside = node < last[:, None]
    node = np.minimum(node, n - 1)
    position = node - (0.5 if n > 3 else 0.0)
    weight = np.where(inside, np.exp(-(((scaled[:, None] - position) / sigma) ** 2)), 0.0)
    return np.asarray((weight * parameters[node]).sum(axis=1) / weight.sum(axis=1))


def real_spherical_harmonics(lmax: int, vectors: FloatArray) -> FloatArray:
    """Orthonormal real harmonics Y_lm without Condon-Shortley phase, for l from 1 and m from −l to l.

    Parameters
    ----------
    lmax : int
        Highest degree.
    vectors : (n, 3) float64
        Unit vectors; the polar axis is z.

    Returns
    -------
    (n, lmax (lmax + 2)) float64
    """
    cos_theta = vectors[:, 2]
    sin_theta = np.hypot(vectors[:, 0], vectors[:, 1])
    azimuth = np.arctan2(vectors[:, 1], vectors[:, 0])
    legendre = _associated_legendre(lmax, cos_theta, sin_theta)
    out = np.empty((len(vectors), lmax * (lmax + 2)))
    column = 0
    for l in range(1, lmax + 1):
        for m in range(-l, l + 1):
            k = abs(m)
            norm = math.sqrt((2 * l + 1) / (4 * math.pi) * math.factorial(l - k) / math.factorial(l + k))
            if m != 0:
                norm *= math.sqrt(2.0)
            wave = 1.0 if m == 0 else np.sin(k * azimuth) if m < 0 else np.cos(k * azimuth)
            out[:, column] = norm * legendre[l, k] * wave
            column += 1
    return out


def _associated_legendre(lmax: int, cos: FloatArray, sin: FloatArray) -> dict[tuple[int, int], FloatArray]:
    """P_l^m(cos θ) for 0 ≤ m ≤ l ≤ lmax by the upward recurrence in l."""
    values: dict[tuple[int, int], FloatArray] = {}
    for m in range(lmax + 1):
        values[m, m] = np.ones_like(cos) if m == 0 else (2 * m - 1) * sin * values[m - 1, m - 1]
        if m < lmax:
            values[m + 1, m] = (2 * m + 1) * cos * values[m, m]
        for l in range(m + 2, lmax + 1):
            below, before = values[l - 1, m], values[l - 2, m]
            values[l, m] = ((2 * l - 1) * cos * below - (l + m - 1) * before) / (l - m)
    return values
