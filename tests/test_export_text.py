"""Formats of fixed columns, by readers that know nothing but the columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pyscale.errors import DataError
from pyscale.io.core_cif_out import shelx_checksum
from pyscale.io.hklf4_out import write_hklf4
from pyscale.io.scalepack_out import write_scalepack
from pyscale.io.text_rows import decimals_that_fit, write_rows
from pyscale.io.xds_ascii_out import XdsObservations, XdsSweep, write_xds_ascii
from pyscale.merging import merge_reflections
from pyscale.symmetry import find_space_group

# Numbers that round up to one digit more are where such formats break.
AWKWARD = [0.0, -0.0, 0.5, 9.99999, 9.999996, 99.99995, 999.9999, 999.99949, 9999.0, -9.99996, -999.9996, 1e-9, -1e-9]


@given(st.lists(st.floats(-9999.0, 9999.0) | st.sampled_from(AWKWARD), min_size=1), st.integers(1, 6))
def test_numbers_fit_and_are_as_precise_as_they_can_be(values: list[float], most: int) -> None:
    numbers = np.array(values)
    decimals = decimals_that_fit(numbers, 7, most)
    for value, n in zip(values, decimals.tolist(), strict=True):
        text = f"{value:.{n}f}"
        assert len(text) <= 7 and 1 <= n <= most
        # Ties are rounded by the last bit of the number, which need not be guessed.
        assert n == most or len(f"{value * (1 + 1e-9):.{n + 1}f}") > 7


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="123456 does not fit 7"):
        decimals_that_fit(np.array([1.0, 123456.0]), 7, 3)
    with pytest.raises(ValueError, match="does not fit"):
        decimals_that_fit(np.array([-9999.96]), 7, 3)


def test_rows_are_written_in_order_across_chunks(tmp_path: Path) -> None:
    n = 45_001
    with (tmp_path / "rows").open("w") as file:
        write_rows(file, "%d %.1f\n", [np.arange(n), np.arange(n) / 2])
    assert_array_equal(np.loadtxt(tmp_path / "rows"), np.column_stack([np.arange(n), np.arange(n) / 2]))


def read_hklf4(path: Path) -> list[tuple[int, int, int, float, float, int]]:
    """3I4, 2F8, I4 and nothing else, up to the record 0 0 0, which must end the file."""
    records = []
    lines = path.read_text().split("\n")
    assert lines.pop() == ""
    for line in lines:
        assert len(line) == 32
        h, k, l = (int(line[4 * i : 4 * i + 4]) for i in range(3))
        value, sigma, batch = float(line[12:20]), float(line[20:28]), int(line[28:32])
        assert "." in line[12:20] and "." in line[20:28]
        records.append((h, k, l, value, sigma, batch))
        assert len(line.split()) == 6
    assert records.pop() == (0, 0, 0, 0.0, 0.0, 0)
    return records


def some_reflections(n: int = 500, largest: float = 3e7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    index = rng.integers(-20, 21, (n, 3)).astype(np.int32)
    index[:, 0] = np.where((index == 0).all(axis=1), 1, index[:, 0])
    intensity = rng.exponential(largest / 10, n) * rng.choice([1.0, 1e-5, -1e-6], n)
    intensity[7] = largest
    return index, intensity, np.abs(intensity) * 0.03 + largest * 1e-8


@pytest.mark.parametrize("largest", [3e7, 0.02, 9999.0])
def test_hklf4_uses_the_digits(largest: float, tmp_path: Path) -> None:
    index, intensity, sigma = some_reflections(largest=largest)
    batch = np.arange(len(index)) % 3 + 1
    factor = write_hklf4(tmp_path / "a.hkl", index, intensity, sigma, batch)
    records = np.array(read_hklf4(tmp_path / "a.hkl"))
    assert_array_equal(records[:, :3], index)
    assert_array_equal(records[:, 5], batch)
    assert records[:, 3].max() == pytest.approx(9999.0, abs=0.01)
    assert factor == pytest.approx(9999.0 / largest)
    for column, true in ((3, intensity), (4, sigma)):
        # five decimals for small numbers and six figures for large ones; the sign takes one of them
        tolerance = np.where(true < 0, 0.6e-4, 0.6e-5) + 1e-5 * np.abs(true * factor)
        assert np.all(np.abs(records[:, column] - true * factor) <= tolerance)
    assert np.all(records[:, 4] > 0)


def test_hklf4_without_a_factor_keeps_or_refuses_the_numbers(tmp_path: Path) -> None:
    index, intensity, sigma = some_reflections(largest=800.0)
    assert write_hklf4(tmp_path / "a.hkl", index, intensity, sigma, np.ones(len(index), int), scale=1.0) == 1.0
    assert_allclose(np.array(read_hklf4(tmp_path / "a.hkl"))[:, 3], intensity, rtol=1e-5, atol=0.6e-4)
    with pytest.raises(DataError, match=r"eight characters for a number, and .*e.07 does not fit"):
        write_hklf4(tmp_path / "b.hkl", index, intensity * 1e5, sigma, scale=1.0)


def test_indices_that_four_characters_cannot_hold_are_refused(tmp_path: Path) -> None:
    one = np.ones(1)
    for index in ([[-1000, 0, 0]], [[0, 10000, 0]]):
        with pytest.raises(DataError, match="four characters for a Miller index"):
            write_hklf4(tmp_path / "a.hkl", np.array(index, np.int32), one, one)


def test_more_batches_than_fit_are_left_out(tmp_path: Path) -> None:
    index = np.ones((2, 3), np.int32)
    write_hklf4(tmp_path / "a.hkl", index, np.ones(2), np.ones(2), np.array([1, 10_000]))
    assert {len(line) for line in (tmp_path / "a.hkl").read_text().splitlines()} == {28}


def test_records_of_xds_do_not_touch(tmp_path: Path) -> None:
    """Reciprocal LP factors beyond 1000 occur near the rotation axis."""
    one = np.ones(1)
    observations = XdsObservations(
        miller_index=np.array([[1, 2, 3]], np.int32),
        data_set=np.zeros(1, np.int64),
        intensity=one,
        sigma=one,
        is_misfit=np.zeros(1, np.bool_),
        centroid=np.array([[123456.0, -12345.0, 1234567.0]]),
        reciprocal_lp=1002.5 * one,
        peak=100 * one,
        correlation=-100 * one,
    )
    sweep = XdsSweep(
        name="x",
        wavelength=1.0,
        unit_cell=(10, 20, 30, 90, 90, 90),
        real_space=np.diag([10.0, 20.0, 30.0]),
        beam_direction=np.array([0.0, 0.0, 1.0]),
        image_range=(1, 9),
    )
    write_xds_ascii(tmp_path / "x", observations, [sweep], 16, sweep.unit_cell, limits=(10.0, 2.0))
    record = np.loadtxt(tmp_path / "x", comments="!")
    assert_allclose(record, [1, 2, 3, 1, 1, 123456.5, -12344.5, 1234567, 1002.5, 100, -100, 0])


def read_scalepack(path: Path) -> tuple[str, dict[tuple[int, ...], list[float]]]:
    lines = path.read_text().splitlines()
    assert lines[0] == "    1" and lines[1].strip() == "-987"
    found = {}
    for line in lines[3:]:
        assert len(line) in (28, 44)
        index = tuple(int(line[4 * i : 4 * i + 4]) for i in range(3))
        found[index] = [float(line[k : k + 8]) for k in range(12, len(line), 8)]
    return lines[2], found


@pytest.mark.parametrize("anomalous", [True, False])
def test_scalepack_holds_very_negative_intensities(anomalous: bool, tmp_path: Path) -> None:
    """They have a character less for digits."""
    index = np.array([[1, 2, 3], [2, 1, 1], [3, 1, 2]], np.int32)
    merged = merge_reflections(index, np.array([5e4, -2.5e4, 100.0]), np.array([1e4, 1e4, 1.0]), "P 2 2 2")
    group = find_space_group("P 2 2 2")
    scale = write_scalepack(tmp_path / "a.sca", merged, (30, 40, 50, 90, 90, 90), group, anomalous=anomalous)
    _, found = read_scalepack(tmp_path / "a.sca") if anomalous else ("", {(2, 1, 1): [-2.5e4 * scale]})
    assert_allclose(min(values[0] for values in found.values()), -2.5e4 * scale, rtol=1e-4)
    assert scale < 0.4


@pytest.mark.parametrize("factor", [1.0, 1e6])
def test_scalepack_holds_both_mates(factor: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    index = rng.integers(-6, 7, (700, 3)).astype(np.int32)
    index = index[(index != 0).any(axis=1)]
    values = rng.exponential(900.0, len(index)) * factor - 20
    merged = merge_reflections(index, values, (values * 0.1) ** 2 + 1, "P 21 21 21")
    group = find_space_group("P 21 21 21")
    scale = write_scalepack(tmp_path / "a.sca", merged, (30, 40, 50.5, 90, 90, 90), group)
    header, found = read_scalepack(tmp_path / "a.sca")
    assert header == "    30.000    40.000    50.500    90.000    90.000    90.000 p212121"
    assert scale == 1.0 if factor == 1.0 else scale < 1e-3
    assert len(found) == len(merged.intensity)
    only_minus = 0
    for k, h in enumerate(map(tuple, merged.miller_index.tolist())):
        plus, minus = merged.intensity_plus[k], merged.intensity_minus[k]
        expected = [plus, merged.sigma_plus[k]] if np.isfinite(plus) else [0.0, -1.0 / scale]
        expected += [minus, merged.sigma_minus[k]] if np.isfinite(minus) else []
        only_minus += not np.isfinite(plus)
        assert_allclose(found[h], np.array(expected) * scale, rtol=1e-5, atol=0.6e-3)
    assert only_minus > 0
    write_scalepack(tmp_path / "b.sca", merged, (30, 40, 50.5, 90, 90, 90), group, anomalous=False)
    _, means = read_scalepack(tmp_path / "b.sca")
    assert all(len(values) == 2 for values in means.values()) and len(means) == len(found)


@pytest.mark.parametrize("factor", [1e-8, 3e-5, 1.0, 200.0, 1e12])
def test_scalepack_keeps_digits_in_any_unit(factor: float, tmp_path: Path) -> None:
    index = np.array([[1, 2, 3], [-1, -2, -3], [2, 2, 4], [3, 1, 5]], dtype=np.int32)
    values = np.array([12.3, 456.7, -345.6, 34.5]) * factor
    merged = merge_reflections(index, values, (np.array([1.0, 2.0, 250.0, 3.0]) * factor) ** 2, "P 21 21 21")
    for anomalous in (True, False):
        path = tmp_path / "a.sca"
        scale = write_scalepack(
            path, merged, (30, 40, 50, 90, 90, 90), find_space_group("P 21 21 21"), anomalous=anomalous
        )
        assert (scale == 1.0) == (factor == 1.0)
        _, found = read_scalepack(path)
        assert min(h for values in found.values() for h in values) > -1e4
        means = {h: v[2:] if anomalous and v[1] == -1 else v[:2] for h, v in found.items()}
        assert means[2, 2, 4] == pytest.approx([-345.6 * factor * scale, 250 * factor * scale], rel=1e-3)
        assert means[3, 1, 5] == pytest.approx([34.5 * factor * scale, 3 * factor * scale], rel=1e-2)


def test_checksum_does_not_see_blanks() -> None:
    text = "   1   2   3  123.45    1.23\n   0   0   0    0.00    0.00\n"
    total = 0
    for character in text:
        if character not in " \n\t\r":
            total = total + ord(character)
    total = (total % 714025 * 1366 + 150889) % 714025 % 100000
    assert shelx_checksum(text) == total == shelx_checksum(text.replace("\n", "\r\n\r\n").replace(" ", "  "))
    assert shelx_checksum(text) != shelx_checksum(text.replace("123", "124"))
