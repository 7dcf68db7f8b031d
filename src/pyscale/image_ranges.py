"""Ranges of images as sorted lists of (first, last), both inclusive; image n holds array coordinates n - 1 to n."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from .experiment import Experiment
from .typing import BoolArray, FloatArray

__all__ = [
    "ImageRange",
    "common_ranges",
    "count_images",
    "in_ranges",
    "normalised",
    "on_excluded_images",
    "valid_ranges",
    "valid_span",
    "without_ranges",
]

ImageRange = tuple[int, int]


def normalised(ranges: Iterable[ImageRange]) -> list[ImageRange]:
    """Sort ranges, and join those that overlap or follow each other."""
    result: list[ImageRange] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return result


def without_ranges(ranges: Iterable[ImageRange], excluded: Iterable[ImageRange]) -> list[ImageRange]:
    """Return the images of some ranges that are in none of the excluded ones."""
    kept: list[ImageRange] = []
    gaps = deque(normalised(excluded))
    for first, last in normalised(ranges):
        start = first
        while gaps and gaps[0][0] <= last:
            gap_first, gap_last = gaps[0]
            if gap_first > start:
                kept.append((start, gap_first - 1))
            start = max(start, gap_last + 1)
            if gap_last > last:
                break
            gaps.popleft()
        if start <= last:
            kept.append((start, last))
    return kept


def common_ranges(ranges: Sequence[ImageRange], others: Sequence[ImageRange]) -> list[ImageRange]:
    """Return the images that are in both."""
    return without_ranges(ranges, without_ranges(ranges, others))


def count_images(ranges: Iterable[ImageRange]) -> int:
    """Return the number of images in ranges that do not overlap."""
    return sum(last - first + 1 for first, last in ranges)


def in_ranges(ranges: Sequence[ImageRange], image_z: FloatArray) -> BoolArray:
    """Whether each centroid (n,) lies on an image of the ranges, which are normalised; its edges do. (n,) bool."""
    if not ranges:
        return np.zeros(image_z.shape, dtype=np.bool_)
    starts, ends = np.array(ranges, dtype=np.float64).T
    number = np.searchsorted(starts - 1.0, image_z, side="right") - 1
    with np.errstate(invalid="ignore"):
        inside: BoolArray = (number >= 0) & (image_z <= ends[number])
    return inside


def valid_ranges(experiment: Experiment) -> list[ImageRange]:
    """Return the images in use of an experiment's scan; all of them where the file names none.

    Raises
    ------
    DataError
        If the file holds no sound ranges.
    """
    whole = experiment.image_range
    if whole is None:
        return []
    return common_ranges([whole], normalised(experiment.valid_image_ranges)) or [whole]


def valid_span(experiment: Experiment) -> ImageRange | None:
    """Return the first and the last image in use; None without a scan."""
    ranges = valid_ranges(experiment)
    return (ranges[0][0], ranges[-1][1]) if ranges else None


def on_excluded_images(experiment: Experiment, image_z: FloatArray) -> BoolArray:
    """Whether each centroid (n,) of a sweep with excluded images lies on none of those in use; (n,) bool.

    A still has no images to exclude, and nothing is excluded for a centroid that is not finite.
    """
    ranges = valid_ranges(experiment)
    if experiment.is_still or ranges == [experiment.image_range]:
        return np.zeros(image_z.shape, dtype=np.bool_)
    excluded: BoolArray = ~in_ranges(ranges, image_z) & np.isfinite(image_z)
    return excluded
