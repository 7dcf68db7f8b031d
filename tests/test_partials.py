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


def test_sums_add_up_and_profiles_are_averaged() -> None:
    data = table()
    before = {name: data[name].copy() for name in data.names()}
    merged, gone = merge_partials(data)
    assert gone == 3
    assert_array_equal(merged["tag"], [0, 1, 3])
    assert_allclose(merged["intensity.sum.value"], [30.0, 50.0, 7.0])
    assert_allclose(merged["intensity.sum.variance"], [8.0, 60.0, 5.0])
    assert_allclose(merged["partiality"], [0.95, 1.0, 0.9])
    w = np.array([30.0**2 / 9, 40.0**2 / 8])
    w3 = np.array([10.0**2 / 4, 20.0**2 / 5, 30.0**2 / 6])
    assert_allclose(merged["intensity.prf.value"], [w @ [30, 40] / w.sum(), 51.0, w3 @ [10, 20, 30] / w3.sum()])
    assert_allclose(merged["intensity.prf.variance"], [w @ [9, 8] / w.sum(), 55.0, w3 @ [4, 5, 6] / w3.sum()])
    assert_array_equal(merged["flags"], np.full(3, BOTH))
    for name, values in before.items():
        assert_array_equal(data[name], values)


@pytest.mark.parametrize(("which", "bit"), [("sum", Flag.integrated_sum), ("prf", Flag.integrated_prf)])
def test_one_part_that_is_not_valid_spoils_the_whole(which: str, bit: Flag) -> None:
    flags = np.full(6, BOTH, np.uint64)
    flags[2] &= ~np.uint64(int(bit))
    merged, gone = merge_partials(table(flags=flags))
    assert gone == 3
    assert_array_equal(merged["flags"], [BOTH & ~int(bit), BOTH, BOTH])
    other = "prf" if which == "sum" else "sum"
    expected = merge_partials(table())[0][f"intensity.{other}.value"]
    assert_allclose(merged[f"intensity.{other}.value"], expected)


def test_parts_that_were_not_integrated_stay_apart() -> None:
    flags = np.full(6, BOTH, np.uint64)
    flags[2] = int(Flag.indexed)
    merged, gone = merge_partials(table(flags=flags))
    assert gone == 2
    assert_array_equal(merged["tag"], [0, 1, 2, 3])
    assert merged["intensity.sum.value"][0] == 10.0


def test_profiles_without_signal_have_no_mean() -> None:
    value = np.array([0.0, 51.0, 0.0, 10.0, 20.0, 30.0])
    merged, _ = merge_partials(table(**{"intensity.prf.value": value}))
    assert_array_equal(merged["flags"], [int(Flag.integrated_sum), BOTH, BOTH])


def test_other_reflections_with_the_same_partial_id_stay_apart() -> None:
    index = table()["miller_index"].copy()
    index[2] = [3, 2, 1]
    merged, gone = merge_partials(table(miller_index=index))
    assert gone == 2
    assert_array_equal(merged["tag"], [0, 1, 2, 3])
    assert_allclose(merged["intensity.sum.value"], [10.0, 50.0, 20.0, 7.0])


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
    """Members of a set are looked for among rows of one `partial_id` that follow each other."""
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
