"""Reflections in parts: what their rows become, against a plain loop and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pyscale.partials import merge_partials
from pyscale.reflections import Flag, ReflectionTable

BOTH = int(Flag.integrated)


def table(**changes: object) -> ReflectionTable:
    """Rows of three reflections: two parts, a full one, three parts. Columns may be replaced."""
    columns = {
        "miller_index": np.array([[1, 2, 3], [4, 0, 0], [1, 2, 3], [0, 5, 1], [0, 5, 1], [0, 5, 1]], np.int32),
        "partial_id": np.array([7, 9, 7, 2, 2, 2], np.uint64),
        "partiality": np.array([0.25, 1.0, 0.7, 0.2, 0.3, 0.4]),
        "flags": np.full(6, BOTH, np.uint64),
        "intensity.sum.value": np.array([10.0, 50.0, 20.0, 1.0, 2.0, 4.0]),
        "intensity.sum.variance": np.array([3.0, 60.0, 5.0, 1.0, 1.5, 2.5]),
        "intensity.prf.value": np.array([30.0, 51.0, 40.0, 10.0, 20.0, 30.0]),
        "intensity.prf.variance": np.array([9.0, 55.0, 8.0, 4.0, 5.0, 6.0]),
        "tag": np.arange(6.0),
    }
    result = ReflectionTable()
    for name, values in (columns | changes).items():
        result[name] = values
    return result


def without(bit: Flag, *rows: int) -> np.ndarray:
    flags = np.full(6, BOTH, np.uint64)
    flags[list(rows)] &= ~np.uint64(int(bit))
    return flags


def test_sums_add_up() -> None:
    data = table()
    before = {name: data[name].copy() for name in data.names()}
    merged, gone = merge_partials(data)
    assert gone == 3
    assert_allclose(merged["intensity.sum.value"], [30.0, 50.0, 7.0])
    assert_allclose(merged["intensity.sum.variance"], [8.0, 60.0, 5.0])
    assert_allclose(merged["partiality"], [0.95, 1.0, 0.9])
    assert_array_equal(merged["n_records"], [2, 1, 3])
    for name, values in before.items():
        assert_array_equal(data[name], values)


def test_the_main_part_stands_in_the_place_of_the_first() -> None:
    data = table()
    data.input_row = np.arange(10, 16)
    merged, _ = merge_partials(data)
    assert_array_equal(merged["tag"], [2, 1, 5])
    assert_array_equal(merged["miller_index"], table()["miller_index"][[0, 1, 3]])
    assert_array_equal(merged.input_row, [10, 11, 13])


def test_profiles_of_parts_are_not_combined() -> None:
    """That of a tail, where little was recorded, is no estimate of the whole."""
    merged, _ = merge_partials(table())
    assert_array_equal(merged["flags"], [int(Flag.integrated_sum), BOTH, int(Flag.integrated_sum)])


def test_a_tail_without_a_sum_is_left_out_of_the_sum() -> None:
    partiality = np.array([0.03, 1.0, 0.92, 0.2, 0.3, 0.4])
    merged, gone = merge_partials(table(partiality=partiality, flags=without(Flag.integrated_sum, 0)))
    assert gone == 3
    assert merged["intensity.sum.value"][0] == 20.0 and merged["intensity.sum.variance"][0] == 5.0
    assert merged["partiality"][0] == 0.92
    assert merged["flags"][0] == int(Flag.integrated_sum)


def test_the_profile_of_the_main_part_stands_in_for_incomplete_sums() -> None:
    merged, gone = merge_partials(table(flags=without(Flag.integrated_sum, 0)))
    assert gone == 3
    assert merged["flags"][0] == int(Flag.integrated_prf)
    assert merged["intensity.prf.value"][0] == 40.0 and merged["intensity.prf.variance"][0] == 8.0
    assert merged["partiality"][0] == 0.95


def test_without_a_profile_of_the_main_part_the_sums_that_are_there_count() -> None:
    """Neither result of both parts is valid: the reflection is not lost."""
    flags = np.full(6, BOTH, np.uint64)
    flags[0], flags[2] = int(Flag.integrated_prf), int(Flag.integrated_sum)
    merged, _ = merge_partials(table(flags=flags))
    assert merged["flags"][0] == int(Flag.integrated_sum)
    assert merged["intensity.sum.value"][0] == 20.0 and merged["partiality"][0] == 0.7


def test_tables_with_one_kind_of_intensity() -> None:
    only_sum, only_prf = table(), table()
    for name in ("value", "variance"):
        del only_sum[f"intensity.prf.{name}"]
        del only_prf[f"intensity.sum.{name}"]
    assert_allclose(merge_partials(only_sum)[0]["intensity.sum.value"], [30.0, 50.0, 7.0])
    merged, _ = merge_partials(only_prf)
    assert_allclose(merged["intensity.prf.value"], [40.0, 51.0, 30.0])
    assert_array_equal(merged["flags"], [int(Flag.integrated_prf), BOTH, int(Flag.integrated_prf)])


def test_what_integration_says_against_a_part_holds_for_the_whole() -> None:
    flags = np.full(6, BOTH, np.uint64)
    flags[0] |= np.uint64(int(Flag.overloaded))
    merged, _ = merge_partials(table(flags=flags))
    assert merged["flags"][0] == int(Flag.integrated_sum | Flag.overloaded)


def test_parts_that_were_not_integrated_stay_apart() -> None:
    flags = np.full(6, BOTH, np.uint64)
    flags[2] = int(Flag.indexed)
    merged, gone = merge_partials(table(flags=flags))
    assert gone == 2
    assert_array_equal(merged["tag"], [0, 1, 2, 5])
    assert merged["intensity.sum.value"][0] == 10.0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("miller_index", np.array([[1, 2, 3], [4, 0, 0], [3, 2, 1], [0, 5, 1], [0, 5, 1], [0, 5, 1]], np.int32)),
        ("id", np.array([0, 0, 1, 1, 1, 1], np.int32)),
        ("panel", np.array([0, 0, 1, 1, 1, 1], np.uint64)),
        ("entering", np.array([True, True, False, True, True, True])),
        ("xyzcal.px", np.array([[5, 5, 10], [5, 5, 10], [5, 5, 90], [5, 5, 10], [5, 5, 10.2], [5, 5, 10]], np.float64)),
    ],
)
def test_other_reflections_with_the_same_partial_id_stay_apart(name: str, values: np.ndarray) -> None:
    merged, gone = merge_partials(table(**{name: values}))
    assert gone == 2
    assert_allclose(merged["intensity.sum.value"], [10.0, 50.0, 20.0, 7.0])


def test_ids_that_were_never_set_join_nothing_but_parts() -> None:
    """An index that recurs in a sweep is predicted elsewhere; all rows have the id 0."""
    index = np.tile(np.array([[1, 2, 3]], np.int32), (6, 1))
    predicted = np.array([[5.0, 5.0, z] for z in (10.0, 50.0, 90.0, 50.0, 130.0, 10.0)])
    partiality = np.array([0.5, 0.6, 0.5, 0.3, 0.9, 0.4])
    columns = {"miller_index": index, "partial_id": np.zeros(6, np.uint64), "partiality": partiality}
    merged, gone = merge_partials(table(**columns, **{"xyzcal.px": predicted}))
    assert gone == 2
    assert_allclose(merged["intensity.sum.value"], [14.0, 51.0, 20.0, 2.0])
    assert_allclose(merged["partiality"], [0.9, 0.9, 0.5, 0.9])


def test_partialities_beyond_one_divide_what_was_summed() -> None:
    """Rows that are there twice: the estimate of the whole stays what it is."""
    from pyscale.integration import integrated_intensities

    once = table()
    twice = table(
        **{
            "partiality": np.array([0.95, 1.0, 0.95, 0.9, 0.9, 0.9]),
            "intensity.sum.value": np.array([30.0, 50.0, 30.0, 7.0, 7.0, 7.0]),
        }
    )
    merged, _ = merge_partials(twice)
    assert merged["partiality"].max() > 1.0
    expected = integrated_intensities(merge_partials(once)[0]).summation
    assert_allclose(integrated_intensities(merged).summation, expected)


def test_records_of_records_add_up() -> None:
    merged, _ = merge_partials(table(n_records=np.array([2, 1, 3, 1, 1, 1], np.int32)))
    assert_array_equal(merged["n_records"], [5, 1, 3])


def test_full_rows_are_never_parts() -> None:
    partiality = np.array([0.99, 1.0, 0.2, 1.0, 0.99, 1.0])
    data = table(partiality=partiality)
    merged, gone = merge_partials(data)
    assert gone == 0 and merged is data


@pytest.mark.parametrize("name", ["partiality", "partial_id"])
def test_tables_without_the_columns_are_left_alone(name: str) -> None:
    data = table()
    del data[name]
    merged, gone = merge_partials(data)
    assert gone == 0 and merged is data


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.floats(0.01, 1.0)), min_size=1, max_size=30))
def test_sets_are_those_of_a_plain_loop(rows: list[tuple[int, int, float]]) -> None:
    ids, h, partiality = (np.array(column) for column in zip(*rows, strict=True))
    n = len(rows)
    h = np.sort(h + 3 * ids)
    ids = h // 3
    data = ReflectionTable()
    data["miller_index"] = np.stack([h + 1, h, h], axis=1).astype(np.int32)
    data["partial_id"] = ids.astype(np.uint64)
    data["partiality"] = partiality
    data["flags"] = np.full(n, BOTH, np.uint64)
    data["intensity.sum.value"] = np.arange(1.0, n + 1)
    data["intensity.sum.variance"] = np.ones(n)
    sets: dict[int, list[int]] = {}
    for i in range(n):
        if partiality[i] < 0.99:
            sets.setdefault(int(h[i]), []).append(i)
    expected = np.arange(1.0, n + 1)
    dropped = []
    for members in sets.values():
        expected[members[0]] = sum(i + 1 for i in members)
        dropped += members[1:]
    merged, gone = merge_partials(data)
    assert gone == len(dropped)
    assert_allclose(merged["intensity.sum.value"], np.delete(expected, dropped))
