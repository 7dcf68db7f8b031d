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

    Angles follow from image numbers by a straight line, apart from a part of an image; the line through the medians
    of the first and last tenth of the images gives the width of an image, and the median of what is left the start,
    each with as few decimals as shift no image by more than a tenth of it. Without image numbers, images of one
    degree are made up.
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
    low, high = number <= np.quantile(number, 0.1), number >= np.quantile(number, 0.9)
    run = np.median(number[high]) - np.median(number[low])
    width = float((np.median(phi[high]) - np.median(phi[low])) / run) if run > 0 else 0.0
    if not 0 < abs(width) <= _LARGEST_WIDTH:
        return None
    width = _rounded(width, 0.1 * abs(width) / (last - first + 1))
    start = _rounded(float(np.median(phi - width * (number - first + 0.5))), 0.1 * abs(width))
    return Scan((first, last), (start, width), "fitted to the images and angles of the reflections")


def _rounded(value: float, tolerance: float) -> float:
    """The number of fewest decimals within a tolerance."""
    return next((r for k in range(12) if abs((r := round(value, k) + 0.0) - value) <= tolerance), value)
