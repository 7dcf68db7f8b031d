"""Rows of numbers in text, beside Python's own `float`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pyscale import _core

FORMS = ("{!r}", "{:.3E}", "{:.1f}", "{:+.17e}", "{:.30g}", "{:g}")


def read(text: str, width: int, wanted: list[int], first_line: int = 1, n_threads: int = 1) -> tuple[np.ndarray, int]:
    data = np.frombuffer(text.encode("latin-1"), np.uint8)
    return _core.read_number_rows(data, width, np.array(wanted, np.int32), first_line, n_threads)


number = st.tuples(st.floats(-1e300, 1e300), st.sampled_from(FORMS)).map(lambda x: x[1].format(x[0]))


@given(st.lists(st.lists(number, min_size=3, max_size=3), max_size=20), st.sampled_from([" ", "   ", "\t"]))
def test_numbers_are_those_nearest_to_the_text(rows: list[list[str]], blank: str) -> None:
    text = "".join(blank + blank.join(row) + blank + "\n" for row in rows)
    values, end = read(text, 3, [2, 0])
    assert end == len(text)
    assert_array_equal(values, np.array([[float(row[k]) for row in rows] for k in (2, 0)]).reshape(2, len(rows)))


@pytest.mark.parametrize(
    "item", ["1", "-0", ".5", "5.", "1D3", "1d-3", "1e+5", "00012", "123456789012345678901234567890"]
)
def test_forms_of_numbers(item: str) -> None:
    assert read(item, 1, [0])[0] == float(item.lower().replace("d", "e"))


@pytest.mark.parametrize(
    "item", ["", "-", ".", "1e", "1e+", "e5", "nan", "inf", "0x10", "1e999", "1.2.3", "1,2", "***"]
)
def test_what_is_no_number_is_refused_with_its_line(item: str) -> None:
    with pytest.raises(_core.CoreDataError, match=r"^line 9: "):
        read(f"1 2\n3 {item}\n", 2, [0, 1], first_line=8)


def test_items_that_are_not_wanted_may_be_anything() -> None:
    assert_array_equal(read("1 abc 2\n3 *** 4\n", 3, [0, 2])[0], [[1, 3], [2, 4]])


@pytest.mark.parametrize("text", ["1 2 3\n4 5\n", "1 2 3\n4 5 6 7\n", "1 2 3\n\n", "1 2 3\n \n7 8 9\n", "\n" * 50])
def test_rows_of_another_length_are_refused(text: str) -> None:
    with pytest.raises(_core.CoreDataError, match=r"line [12]: has \d items instead of 3"):
        read(text, 3, [0])


def test_reading_ends_at_a_line_that_begins_with_an_exclamation_mark() -> None:
    values, end = read("1 2\n3 4\n!END 5 6\n7 8\n", 2, [1])
    assert_array_equal(values, [[2, 4]])
    assert end == len("1 2\n3 4\n")
    assert read("!END\n", 2, [1])[0].shape == (1, 0)
    assert read("", 2, [1])[0].shape == (1, 0)


def test_windows_line_ends_and_a_last_line_without_end() -> None:
    assert_array_equal(read("1 2\r\n3 4", 2, [0, 1])[0], [[1, 3], [2, 4]])


def test_columns_must_exist() -> None:
    for width, wanted in ((2, [2]), (2, [-1]), (2, [0, 0]), (0, [])):
        with pytest.raises(ValueError, match="columns"):
            read("1 2\n", width, wanted)


def test_long_texts_are_read_alike_by_any_number_of_threads() -> None:
    rng = np.random.default_rng(1)
    wanted = np.stack([np.arange(150_000), rng.integers(-99, 99, 150_000)])
    lines = [f"{a} {b} 0.0000000\n" for a, b in wanted.T]
    text = "".join(lines)
    assert len(text) > 2 * 2**20
    for n_threads in (1, 3):
        assert_array_equal(read(text, 3, [0, 1], n_threads=n_threads)[0], wanted)
    lines[140_000] = lines[149_000] = "1 2\n"
    with pytest.raises(_core.CoreDataError, match="line 140001:"):
        read("".join(lines), 3, [0], n_threads=3)
