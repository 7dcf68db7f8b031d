"""Tables that share columns against plain dictionaries of arrays, through random splits, changes and joins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pyscale.reflections import ReflectionTable

NAMES = ("a", "b", "c")


def make(n: int) -> tuple[ReflectionTable, dict[str, np.ndarray]]:
    table = ReflectionTable(source="test")
    plain = {name: np.arange(n) + 100.0 * k for k, name in enumerate(NAMES)}
    for name, values in plain.items():
        table[name] = values
    table.input_row = np.arange(n, dtype=np.int64)
    return table, plain | {"row": np.arange(n)}


def check(table: ReflectionTable, plain: dict[str, np.ndarray]) -> None:
    assert len(table) == len(plain["row"])
    assert table.names() == sorted(plain.keys() - {"row"})
    assert_array_equal(table.input_row, plain["row"])
    for name in table.names():
        assert name in table and table.dials_type(name) == "double"
        assert_array_equal(table[name], plain[name])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_parts_changes_and_joins_are_those_of_plain_arrays(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    pieces = [make(n)]
    for _ in range(data.draw(st.integers(1, 8))):
        k = data.draw(st.integers(0, len(pieces) - 1))
        table, plain = pieces[k]
        action = data.draw(st.sampled_from(["split", "replace", "delete", "copy", "take", "join"]))
        if action == "split":
            at = data.draw(st.integers(0, len(table)))
            parts = slice(0, at), slice(at, None)
            pieces[k : k + 1] = [(table.select(p), {m: v[p] for m, v in plain.items()}) for p in parts]
        elif action == "replace":
            name = data.draw(st.sampled_from([*NAMES, "new"]))
            plain[name] = np.full(len(table), float(data.draw(st.integers(0, 9))))
            table[name] = plain[name]
        elif action == "delete" and len(table.names()) > 1:
            name = data.draw(st.sampled_from(table.names()))
            del table[name], plain[name]
            assert name not in table and table.get(name) is None
            with pytest.raises(KeyError):
                del table[name]
        elif action == "copy":
            pieces.append((table.copy(), dict(plain)))
        elif action == "take":
            rows = np.array(data.draw(st.lists(st.integers(0, max(len(table) - 1, 0)), max_size=5)), np.int64)
            if len(table):
                pieces[k] = (table.select(rows), {m: v[rows] for m, v in plain.items()})
        elif action == "join":
            names = set.intersection(*(set(p) for _, p in pieces))
            joined = {m: np.concatenate([p[m] for _, p in pieces]) for m in names}
            if len(names) > 1:
                pieces = [(ReflectionTable.concatenate([t for t, _ in pieces]), joined)]
        for table, plain in pieces:
            check(table, plain)


def test_rows_that_follow_each_other_are_joined_without_a_copy() -> None:
    table, _ = make(10)
    parts = [table.select(slice(k, k + 2)) for k in range(0, 10, 2)]
    for k, part in enumerate(parts):
        part["b"] = np.full(2, float(k))
    assert parts[1].follows(parts[0]) and not parts[0].follows(parts[1]) and not parts[2].follows(parts[0])
    joined = ReflectionTable.concatenate(parts[1:])
    assert np.shares_memory(joined["a"], table["a"])
    assert_array_equal(joined["a"], np.arange(2.0, 10.0))
    assert_array_equal(joined["b"], np.repeat([1.0, 2.0, 3.0, 4.0], 2))
    assert_array_equal(table["b"], np.arange(10) + 100.0)
    backwards = ReflectionTable.concatenate(parts[::-1])
    assert_array_equal(backwards["c"], table["c"].reshape(5, 2)[::-1].ravel())
