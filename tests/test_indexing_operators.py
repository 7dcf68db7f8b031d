"""Which other indexings a lattice allows, against all matrices of small integers that keep the metric."""

from __future__ import annotations

import itertools

import gemmi
import numpy as np
import pytest

from pyscale.indexing_operators import IndexingOperators, alternative_indexings
from pyscale.preparation import UnitCell
from pyscale.symmetry import rotation_matrices

HEXAGONAL = (60.0, 60.0, 80.0, 90.0, 90.0, 120.0)
CUBIC = (70.0, 70.0, 70.0, 90.0, 90.0, 90.0)
TETRAGONAL = (70.0, 70.0, 90.0, 90.0, 90.0, 90.0)
MONOCLINIC = (50.0, 60.0, 50.5, 90.0, 110.0, 90.0)
NEARLY_CUBIC = (60.0, 60.4, 60.8, 90.0, 90.0, 90.0)


def operators(name: str, cell: UnitCell, obliquity: float = 3.0) -> IndexingOperators | None:
    return alternative_indexings(cell, gemmi.find_spacegroup_by_name(name), obliquity)


def brute_force(cell: UnitCell, tolerance: float) -> list[np.ndarray]:
    """All rotations of elements -1, 0, 1 that keep the metric of a primitive cell."""
    axes = np.array(gemmi.UnitCell(*cell).orth.mat.tolist())
    metric = axes.T @ axes
    found = []
    for elements in itertools.product((-1, 0, 1), repeat=9):
        matrix = np.array(elements).reshape(3, 3)
        if round(np.linalg.det(matrix)) == 1 and np.abs(matrix.T @ metric @ matrix - metric).max() < tolerance:
            found.append(matrix)
    return found


@pytest.mark.parametrize(
    ("name", "cell", "n_operators"),
    [
        ("P 3", HEXAGONAL, 4),
        ("P 31", HEXAGONAL, 4),
        ("P 31 2 1", HEXAGONAL, 2),
        ("P 6", HEXAGONAL, 2),
        ("P 4", TETRAGONAL, 2),
        ("P 21 3", CUBIC, 2),
        ("P 1 21 1", MONOCLINIC, 2),
        ("P 21 21 21", NEARLY_CUBIC, 6),
        ("P 4", CUBIC, 6),
    ],
)
def test_cosets_of_the_point_group(name: str, cell: UnitCell, n_operators: int) -> None:
    found = operators(name, cell)
    assert found is not None and len(found) == n_operators
    assert found.triplets[0] == "h,k,l"
    lattice = brute_force(cell, 300.0)
    point_group = [r for r in rotation_matrices(name) if np.linalg.det(r) > 0]
    reached = {tuple((found.matrix(k) @ p).round().astype(int).ravel()) for k in range(len(found)) for p in point_group}
    assert reached == {tuple(m.ravel()) for m in lattice}
    assert len(reached) == n_operators * len(point_group)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("P 43 21 2", TETRAGONAL),
        ("P 6 2 2", HEXAGONAL),
        ("P 21 21 21", (40.0, 60.0, 80.0, 90.0, 90.0, 90.0)),
        ("P 4 3 2", CUBIC),
        ("P 1", (40.0, 50.0, 60.0, 80.0, 95.0, 107.0)),
        ("P m -3 m", CUBIC),
    ],
)
def test_no_other_indexing(name: str, cell: UnitCell) -> None:
    assert operators(name, cell) is None


def test_metric_coincidence_within_the_obliquity() -> None:
    assert operators("P 1 21 1", MONOCLINIC, 3.0) is not None
    assert operators("P 1 21 1", MONOCLINIC, 0.1) is None


def test_triplets_say_what_the_operators_do() -> None:
    found = operators("P 3", HEXAGONAL)
    assert found is not None
    assert set(found.triplets) == {"h,k,l", "k,h,-l", "-h,-k,l", "-k,-h,-l"}
    for k, triplet in enumerate(found.triplets):
        h, kk, l = 3, 5, 7
        expected = [eval(part, {"h": h, "k": kk, "l": l}) for part in triplet.split(",")]
        assert found.apply(k, np.array([[h, kk, l]], np.int32)).tolist() == [expected]


def test_relations_between_operators() -> None:
    """h T_i (T_i^-1 T_j) = h T_j and h (T_i T_j^-1) T_j = h T_i, up to the point group."""
    found = operators("P 21 21 21", NEARLY_CUBIC)
    assert found is not None
    index = np.array([[1, 5, 23]], np.int32)

    def key(miller_index: np.ndarray) -> tuple[int, ...]:
        return tuple(np.abs(miller_index[0]).tolist())

    for i, j in itertools.product(range(len(found)), repeat=2):
        there = found.apply(int(found.relative[i, j]), found.apply(i, index))
        assert key(there) == key(found.apply(j, index))
        assert key(found.apply(j, found.apply(int(found.quotient[i, j]), index))) == key(found.apply(i, index))
    assert found.normal.all() and len(found.core) == 4


def test_operators_that_cannot_change_all_data_sets_together() -> None:
    found = operators("P 4", CUBIC)
    assert found is not None
    assert found.normal.sum() == 2 and len(found.core) == 1


def test_centred_lattice_in_a_larger_one() -> None:
    """C2 whose lattice is hexagonal: operators with halves, integral for h + k even, none for the rest."""
    found = operators("C 1 2 1", (60.0 * 3**0.5, 60.0, 80.0, 90.0, 90.0, 90.0))
    assert found is not None and any("/2" in t for t in found.triplets)
    cell = gemmi.UnitCell(60.0 * 3**0.5, 60.0, 80.0, 90.0, 90.0, 90.0)
    index = np.array([[3, 1, 2], [2, 4, 1], [1, 2, 3]], np.int32)
    halves = next(k for k, t in enumerate(found.triplets) if "/2" in t)
    moved = found.apply(halves, index)
    assert moved[2].tolist() == [0, 0, 0]
    for old, new in zip(index[:2], moved[:2], strict=True):
        assert cell.calculate_1_d2(new.tolist()) == pytest.approx(cell.calculate_1_d2(old.tolist()), rel=1e-9)
