"""Free-R flags: fraction, symmetry, references in any convention, independence of rows."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest

from pyscale import DataError, UsageError
from pyscale.free_flags import FreeFlagRules, KnownFlags, flag_rotations, free_flags
from pyscale.io.free_flags import read_free_flags
from pyscale.symmetry import inverse_d_squared, possible_reflections, rotation_matrices

CELL = (50.0, 50.0, 80.0, 90.0, 90.0, 90.0)
GROUP = "P 4"
RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def index() -> np.ndarray:
    return possible_reflections(CELL, GROUP, 2.0)


def equivalents(index: np.ndarray, group: str) -> np.ndarray:
    """A random equivalent or mate of each reflection."""
    rotations = rotation_matrices(group)
    chosen = rotations[RNG.integers(0, len(rotations), len(index))]
    sign = RNG.choice([-1, 1], len(index))[:, None]
    return np.ascontiguousarray(sign * np.einsum("ni,nij->nj", index, chosen), dtype=np.int32)


def test_fraction_and_sets(index: np.ndarray) -> None:
    for fraction in (0.05, 0.1, 0.25):
        rules = FreeFlagRules(fraction=fraction, max_free=None)
        flag, n_sets = free_flags(index, CELL, GROUP, rotation_matrices(GROUP), rules)
        assert n_sets == round(1 / fraction)
        counts = np.bincount(flag, minlength=n_sets)
        expected = len(index) / n_sets
        assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))
        shell = np.argsort(inverse_d_squared(CELL, index)) // (len(index) // 5 + 1)
        for k in range(5):
            n = np.count_nonzero(shell == k)
            assert np.count_nonzero((flag == 0) & (shell == k)) == pytest.approx(
                n * fraction, abs=5 * np.sqrt(n * fraction)
            )


def test_most_free_reflections(index: np.ndarray) -> None:
    flag, n_sets = free_flags(index, CELL, GROUP, rotation_matrices(GROUP), FreeFlagRules(max_free=150))
    assert n_sets > 20
    assert np.count_nonzero(flag == 0) == pytest.approx(150, abs=60)
    all_of_them, _ = free_flags(index, CELL, GROUP, rotation_matrices(GROUP), FreeFlagRules(max_free=None))
    assert np.all(all_of_them[flag == 0] == 0)


def test_flags_belong_to_reflections_not_to_rows(index: np.ndarray) -> None:
    rules = FreeFlagRules(max_free=None)
    rotations = rotation_matrices(GROUP)
    flag, _ = free_flags(index, CELL, GROUP, rotations, rules)
    order = RNG.permutation(len(index))[: len(index) // 3]
    part, _ = free_flags(equivalents(index[order], GROUP), CELL, GROUP, rotations, rules)
    np.testing.assert_array_equal(part, flag[order])
    other, _ = free_flags(index, CELL, GROUP, rotations, FreeFlagRules(max_free=None, seed=1))
    assert np.count_nonzero((other == 0) & (flag == 0)) < 0.15 * np.count_nonzero(flag == 0)
    largest, _ = free_flags(index, CELL, GROUP, rotations, FreeFlagRules(max_free=None, seed=2**32 - 1))
    assert set(largest) == set(range(20))


def test_reflections_related_by_the_lattice_share_flags(index: np.ndarray) -> None:
    rotations = flag_rotations(CELL, GROUP, 5.0)
    assert len(rotations) == 8 == len(rotation_matrices("P 4 2 2"))
    flag, _ = free_flags(index, CELL, GROUP, rotations, FreeFlagRules(max_free=None))
    twin, _ = free_flags(equivalents(index, "P 4 2 2"), CELL, GROUP, rotations, FreeFlagRules(max_free=None))
    np.testing.assert_array_equal(flag, twin)
    own = rotation_matrices(GROUP)
    alone, _ = free_flags(index, CELL, GROUP, own, FreeFlagRules(max_free=None))
    swapped, _ = free_flags(index[:, [1, 0, 2]] * [1, 1, -1], CELL, GROUP, own, FreeFlagRules(max_free=None))
    assert np.mean(alone == swapped) < 0.5
    np.testing.assert_array_equal(flag_rotations((50, 60, 80, 90, 90, 90), "P 2 2 2", 5.0).shape, (4, 3, 3))


def test_thin_shells_are_free_as_a_whole(index: np.ndarray) -> None:
    rules = FreeFlagRules(fraction=0.1, max_free=None, n_shells=15)
    flag, n_sets = free_flags(index, CELL, GROUP, rotation_matrices(GROUP), rules)
    order = np.argsort(inverse_d_squared(CELL, index), kind="stable")
    is_free = flag[order] == 0
    assert np.count_nonzero(np.diff(is_free.astype(int)) == 1) + int(is_free[0]) <= 15
    assert is_free.mean() == pytest.approx(1 / n_sets, abs=0.02)
    volume = inverse_d_squared(CELL, index) ** 1.5
    thin = np.minimum(volume / volume.max() * 15 * n_sets, 15 * n_sets - 1).astype(int)
    for shell in np.unique(thin):
        assert len(set(flag[thin == shell])) == 1


def write_flags(path: Path, index: np.ndarray, flag: np.ndarray, label: str, cell: tuple[float, ...] = CELL) -> str:
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup = gemmi.find_spacegroup_by_name(GROUP)
    mtz.set_cell_for_all(gemmi.UnitCell(*cell))
    mtz.add_dataset("x")
    mtz.add_column(label, "I")
    mtz.set_data(np.column_stack([index, flag]).astype(np.float32))
    mtz.write_to_file(str(path))
    return str(path)


def conventions(is_free: np.ndarray) -> dict[str, tuple[str, np.ndarray]]:
    sets = np.where(is_free, 0, RNG.integers(1, 20, len(is_free)))
    return {
        "ccp4": ("FreeR_flag", sets),
        "phenix": ("R-free-flags", is_free.astype(int)),
        "shelx": ("FREE", np.where(is_free, -1, 1)),
        "ccp4 of two": ("FreeRflag", (~is_free).astype(int)),
    }


@pytest.mark.parametrize("convention", ["ccp4", "phenix", "shelx", "ccp4 of two"])
def test_flags_of_a_reference_are_copied_and_extended(index: np.ndarray, tmp_path: Path, convention: str) -> None:
    low = index[inverse_d_squared(CELL, index) < 1 / 2.5**2]
    is_free = RNG.random(len(low)) < 0.05
    label, values = conventions(is_free)[convention]
    path = write_flags(tmp_path / "r.mtz", equivalents(low, GROUP), values, label)
    known = read_free_flags(path, CELL, GROUP)
    assert label in known.source
    rotations = rotation_matrices(GROUP)
    flag, n_sets = free_flags(index, CELL, GROUP, rotations, FreeFlagRules(), known)
    inside = inverse_d_squared(CELL, index) < 1 / 2.5**2
    np.testing.assert_array_equal(index[inside], low)
    np.testing.assert_array_equal(flag[inside] == 0, is_free)
    if convention == "ccp4":
        np.testing.assert_array_equal(flag[inside], values)
    assert n_sets == pytest.approx(20, abs=3)
    n = np.count_nonzero(~inside)
    assert np.count_nonzero(flag[~inside] == 0) == pytest.approx(n / n_sets, abs=5 * np.sqrt(n / n_sets))
    assert flag.min() == 0
    kept, _ = free_flags(index, CELL, GROUP, rotations, FreeFlagRules(), known, extend=False)
    np.testing.assert_array_equal(kept[inside], flag[inside])
    assert np.all(kept[~inside] == -1)


def test_reflections_that_a_reference_lacks_follow_their_twins(index: np.ndarray) -> None:
    general = index[(index[:, 0] != index[:, 1]) & (index[:, :2] > 0).all(axis=1)]
    upper = general[general[:, 0] > general[:, 1]]
    flags = RNG.integers(0, 20, len(upper))
    known = KnownFlags(upper, flags, 20, "test")
    rotations = flag_rotations(CELL, GROUP, 5.0)
    twins = np.ascontiguousarray(upper[:, [1, 0, 2]])
    found, _ = free_flags(twins, CELL, GROUP, rotations, FreeFlagRules(), known)
    np.testing.assert_array_equal(found, flags)
    without, _ = free_flags(twins, CELL, GROUP, rotation_matrices(GROUP), FreeFlagRules(), known, extend=False)
    assert np.all(without == -1)


def test_files_that_are_no_reference_are_refused(index: np.ndarray, tmp_path: Path) -> None:
    flag = RNG.integers(0, 20, len(index))
    other_cell = write_flags(tmp_path / "cell.mtz", index, flag, "FreeR_flag", (60.0, 60.0, 80.0, 90.0, 90.0, 90.0))
    with pytest.raises(DataError, match=r"its cell \(60"):
        read_free_flags(other_cell, CELL, GROUP)
    read_free_flags(other_cell, CELL, GROUP, length_tolerance=0.25)
    with pytest.raises(DataError, match="no column of free-R flags"):
        read_free_flags(write_flags(tmp_path / "a.mtz", index, flag, "FOM"), CELL, GROUP)
    with pytest.raises(DataError, match="one value only"):
        read_free_flags(write_flags(tmp_path / "b.mtz", index, 0 * flag, "FREE"), CELL, GROUP)
    with pytest.raises(DataError, match="Laue class"):
        read_free_flags(write_flags(tmp_path / "c.mtz", index, flag, "FREE"), CELL, "P 4 2 2")
    with pytest.raises(DataError, match="negative flags"):
        read_free_flags(write_flags(tmp_path / "d.mtz", index, flag - 3, "FREE"), CELL, GROUP)
    (tmp_path / "e.mtz").write_text("nonsense")
    with pytest.raises(DataError, match="cannot be read as MTZ"):
        read_free_flags(str(tmp_path / "e.mtz"), CELL, GROUP)
    with pytest.raises(UsageError, match="no such file"):
        read_free_flags(str(tmp_path / "none.mtz"), CELL, GROUP)
