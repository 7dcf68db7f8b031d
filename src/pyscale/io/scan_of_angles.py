"""A scan from what stands with the reflections: rotation angles, and image numbers if there are any."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..typing import FloatArray

__all__ = ["Scan", "fitted_scan"]

_LARGEST_IMAGE, _LARGEST_RANGE = 10_000_000, 36_000.0
_LARGEST_WIDTH = 30.0
_FEWEST_ROWS = 3


@dataclass(frozen=True)
class Scan:
    """First and last image, angle at the start of the first and width of each (degrees), and how that is known."""

    image_range: tuple[int, int]
    oscillation: tuple[float, float]
    reason: str

    @classmethod
    def of_ends(cls, images: tuple[int, int], angles: tuple[float, float]) -> Scan:
        """The scan of given images between given angles; ValueError if there is none."""
        n = images[1] - images[0] + 1
        if not (1 <= n <= _LARGEST_IMAGE and abs(images[0]) <= _LARGEST_IMAGE):
            raise ValueError(images)
        if not abs(angles[1] - angles[0]) <= _LARGEST_RANGE or angles[1] == angles[0]:
            raise ValueError(angles)
        return cls(images, (angles[0], (angles[1] - angles[0]) / n), "as the file describes it")

    def array_coordinate(self, angle: FloatArray) -> FloatArray:
        """Array coordinate of rotation angles (degrees), (n,) float64: image k covers [k - 1, k]."""
        start, width = self.oscillation
        return (angle - start) / width + (self.image_range[0] - 1)

    def __str__(self) -> str:
        (first, last), (start, width) = self.image_range, self.oscillation
        return f"images {first}-{last}, {start:g} to {start + width * (last - first + 1):g} by {width:g} deg"


def fitted_scan(image: FloatArray | None, angle: FloatArray) -> Scan | None:
    """The scan that reflections with angles (degrees), and numbers of images, are of; None if there is none.

    Angles follow from image numbers by a straight line, apart from a part of an image. It is fitted by least squares,
    twice, the second time without what is five times further from it than the others on average; width and start of
    the images have as few decimals as shift none by more than a tenth of an image, or four standard errors. Without
    image numbers, images of one degree are made up.
    """
    known = np.isfinite(angle) & (np.abs(angle) <= _LARGEST_RANGE)
    if image is not None:
        known &= np.isfinite(image) & (np.abs(image) <= _LARGEST_IMAGE)
    if np.count_nonzero(known) < _FEWEST_ROWS or np.ptp(angle[known]) <= 0:
        return None
    phi = angle[known]
    if image is None:
        first, last = int(np.floor(phi.min())), int(np.floor(phi.max()))
        reason = "the file numbers no images: images of one degree are made up"
        return Scan((1, last - first + 1), (float(first), 1.0), reason)
    number = np.rint(image[known])
    first, last = int(number.min()), int(number.max())
    if first == last:
        return None
    x = number - 0.5 * (first + last)
    used = np.ones(x.size, np.bool_)
    for _ in range(2):
        x_mean, phi_mean = x[used].mean(), phi[used].mean()
        spread = float(((x[used] - x_mean) ** 2).sum())
        if spread == 0:
            return None
        width = float(((x[used] - x_mean) * (phi[used] - phi_mean)).sum()) / spread
        left = phi - phi_mean - width * (x - x_mean)
        error = float(np.sqrt((left[used] ** 2).mean()))
        used = np.abs(left) <= 5.0 * np.abs(left).mean()
    if not 0 < abs(width) <= _LARGEST_WIDTH:
        return None
    n_images = last - first + 1
    width = _rounded(width, max(0.1 * abs(width) / n_images, 4.0 * error / np.sqrt(spread)))
    start = float(phi_mean - width * (x_mean + 0.5 * n_images))
    start = _rounded(start, max(0.1 * abs(width), 4.0 * error / np.sqrt(x.size)))
    return Scan((first, last), (start, width), "fitted to the images and angles of the reflections")


def _rounded(value: float, tolerance: float) -> float:
    """The number of fewest decimals within a tolerance."""
    return next((r for k in range(12) if abs((r := round(value, k) + 0.0) - value) <= tolerance), value)
