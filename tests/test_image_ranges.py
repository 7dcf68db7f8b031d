"""Ranges of images are set arithmetic, and reflections follow the images that they lie on."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pyscale.experiment import ExperimentList
from pyscale.image_ranges import (
    ImageRange,
    common_ranges,
    count_images,
    in_ranges,
    normalised,
    on_excluded_images,
    valid_ranges,
    valid_span,
    without_ranges,
)

RANGES = st.lists(
    st.tuples(st.integers(-20, 60), st.integers(0, 15)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=6
)


def images(ranges: list[ImageRange]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


def is_normalised(ranges: list[ImageRange]) -> bool:
    return all(a <= b for a, b in ranges) and all(left[1] + 1 < right[0] for left, right in pairwise(ranges))


@given(RANGES, RANGES)
def test_ranges_are_sets_of_images(ranges: list[ImageRange], others: list[ImageRange]) -> None:
    joined = normalised(ranges)
    left = without_ranges(ranges, others)
    both = common_ranges(ranges, others)
    assert images(joined) == images(ranges)
    assert images(left) == images(ranges) - images(others)
    assert images(both) == images(ranges) & images(others)
    assert all(map(is_normalised, (joined, left, both)))
    assert count_images(left) == len(images(left))


@given(RANGES, st.lists(st.floats(-25, 80), max_size=30))
def test_reflections_on_images(ranges: list[ImageRange], z: list[float]) -> None:
    """A centroid is kept if first - 1 <= z <= last for some range."""
    ranges = normalised(ranges)
    edges = [float(edge) for first, last in ranges for edge in (first - 1, last)]
    centroids = [*z, *edges]
    expected = [any(first - 1 <= x <= last for first, last in ranges) for x in centroids]
    assert_array_equal(in_ranges(ranges, np.array(centroids)), np.array(expected, dtype=np.bool_))


def sweep(image_range: ImageRange, stored: object = None, width: float = 1.0) -> ExperimentList:
    first, last = image_range
    scan = {"image_range": [first, last], "oscillation": [0.0, width]}
    if stored is not None:
        scan["valid_image_ranges"] = {"a": stored}
    return ExperimentList(
        {
            "experiment": [{"identifier": "a", "scan": 0, "goniometer": 0}],
            "scan": [scan],
            "goniometer": [{"rotation_axis": [1, 0, 0]}],
        }
    )


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (None, [(0, 89)]),
        ([], [(0, 89)]),
        ([[0, 10], [20, 89]], [(0, 10), (20, 89)]),
        ([[20, 95], [-3, 10]], [(0, 10), (20, 89)]),
        ([[0, 10], [11, 89]], [(0, 89)]),
    ],
)
def test_ranges_in_use(stored: object, expected: list[ImageRange]) -> None:
    """Images of the scan only, in order; an empty list means all, as it does to DIALS. There is an image 0."""
    (experiment,) = sweep((0, 89), stored)
    assert valid_ranges(experiment) == expected
    assert valid_span(experiment) == (expected[0][0], expected[-1][1])


def test_rows_on_excluded_images() -> None:
    z = np.array([-1.0, 0.5, 10.0, 10.5, np.nan, 95.0])
    (whole,) = sweep((0, 89))
    (cut,) = sweep((0, 89), [[0, 10], [20, 89]])
    (still,) = sweep((0, 89), [[0, 10], [20, 89]], width=0.0)
    assert not on_excluded_images(whole, z).any()
    assert not on_excluded_images(still, z).any()
    assert_array_equal(on_excluded_images(cut, z), [False, False, False, True, False, True])


def test_without_a_scan() -> None:
    (experiment,) = ExperimentList({"experiment": [{"identifier": "a"}]})
    assert valid_ranges(experiment) == []
    assert valid_span(experiment) is None
    assert not on_excluded_images(experiment, np.arange(3.0)).any()
