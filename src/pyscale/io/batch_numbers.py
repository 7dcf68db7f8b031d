"""Batch numbers of unmerged MTZ files: one for each image of all sweeps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ..errors import DataError

__all__ = ["MAX_BATCH", "batch_offsets"]

#: Largest integer that single precision, in which MTZ files hold all columns, tells from the next one.
MAX_BATCH = 2**24


def batch_offsets(image_ranges: Sequence[tuple[int, int]], preferred: Sequence[int | None] = ()) -> list[int]:
    """Offsets that make batch numbers, image + offset, unique over all sweeps.

    A range of positive numbers that overlaps no earlier one keeps them (with the preferred offset, if there is one);
    another starts at the next number that ends in 01 and leaves a gap, as dials.export does. Where the numbers then
    exceed what single precision can tell apart, there are no gaps.

    Raises
    ------
    DataError
        When there are too many images even so.
    """
    wanted = list(preferred) or [None] * len(image_ranges)
    for with_gaps in (True, False):
        offsets, highest = _offsets(image_ranges, wanted, with_gaps)
        if highest <= MAX_BATCH:
            return offsets
    raise DataError(
        f"the images need batch numbers up to {highest}, MTZ files hold {MAX_BATCH}; export fewer data sets"
    )


def _offsets(
    image_ranges: Sequence[tuple[int, int]], preferred: Sequence[int | None], with_gaps: bool
) -> tuple[list[int], int]:
    firsts: list[int] = []
    lasts: list[int] = []
    offsets, highest = [], 0
    for (first, last), wish in zip(image_ranges, preferred, strict=True):
        offset = wish or 0
        at = bisect_left(lasts, first + offset)
        if first + offset < 1 or (at < len(firsts) and firsts[at] <= last + offset):
            offset = (highest // 100 * 100 + 101 if with_gaps else highest + 1) - first
            at = len(firsts)
        firsts.insert(at, first + offset)
        lasts.insert(at, last + offset)
        highest = max(highest, last + offset)
        offsets.append(offset)
    return offsets, highest
