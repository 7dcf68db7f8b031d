"""Symmetry against the scalar functions of gemmi; grouping against asymmetric units in every setting."""

from __future__ import annotations

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale import _core, symmetry
from pyscale.errors import DataError

SETTINGS = list(gemmi.spacegroup_table())
NAMES = ["P 1", "P -1", "P 21 21 21", "P 43 21 2", "P 31 2 1", "R 3:H", "R 3:R", "C 1 2 1", "F d -3 m:2"]


def random_index(n: int, seed: int = 0, top: int = 7) -> np.ndarray:
    """Random indices with many on axes and planes."""
    rng = np.random.default_rng(seed)
    index = rng.integers(-top, top + 1, (n, 3))
    index[rng.random((n, 3)) < 0.25] = 0
    index[::5, 1] = index[::5, 0]
    return index[np.any(index != 0, axis=1)].astype(np.int32)


def sorted_groups(index: np.ndarray, group: object, n_threads: int = 1) -> dict[str, np.ndarray]:
    rotations = symmetry.rotation_matrices(group)
    return _core.group_reflections(index, rotations, np.arange(len(index), dtype=np.int64), n_threads)


def by_row(groups: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Group number and I(-) flag of each input row."""
    number = np.empty(len(groups["order"]), dtype=np.int64)
    minus = np.empty(len(number), dtype=bool)
    number[groups["order"]] = np.repeat(np.arange(len(groups["asu_index"])), np.diff(groups["offsets"]))
    minus[groups["order"]] = groups["is_minus"]
    return number, minus


@pytest.mark.parametrize("system", range(8))
def test_groups_equal_the_asymmetric_units_of_gemmi_in_every_setting(system: int) -> None:
    for k, group in enumerate(SETTINGS[system::8]):
        index = random_index(300, seed=k)
        groups = sorted_groups(index, group)
        number, minus = by_row(groups)
        asu, isym = symmetry.to_asu(group, index)
        _, expected = np.unique(asu, axis=0, return_inverse=True)
        expected = expected.reshape(-1)
        name = group.xhm()
        n = len(groups["asu_index"])
        assert n == expected.max() + 1, name
        assert len(np.unique(number * n + expected)) == n, name

        centric = np.asarray(group.operations().centric_flag_array(index))
        np.testing.assert_array_equal(groups["is_centric"][number].astype(bool), centric, name)
        assert not np.any(minus[centric]), name
        # The two programs may call either mate I(+), but for the whole group alike.
        disagree = (minus != (isym % 2 == 0))[~centric]
        of_group = number[~centric]
        first = np.zeros(n, dtype=bool)
        first[of_group] = disagree
        np.testing.assert_array_equal(first[of_group], disagree, name)
        edges = groups["anomalous_offsets"]
        assert set(groups["offsets"]) <= set(edges), name
        assert len(edges) - 1 == len(np.unique(number * 2 + minus)), name


@pytest.mark.parametrize("name", NAMES)
def test_to_asu_equals_the_scalar_function_of_gemmi(name: str) -> None:
    group = gemmi.SpaceGroup(name)
    index = random_index(400, seed=3)
    asu, isym = symmetry.to_asu(name, index)
    unit, operations = gemmi.ReciprocalAsu(group), group.operations()
    expected = [unit.to_asu(h, operations) for h in index.tolist()]
    np.testing.assert_array_equal(asu, [e[0] for e in expected])
    np.testing.assert_array_equal(isym, [e[1] for e in expected])


@pytest.mark.parametrize("name", NAMES)
def test_rotations_act_on_row_vectors(name: str) -> None:
    operators = gemmi.SpaceGroup(name).operations().sym_ops
    rotations = symmetry.rotation_matrices(name)
    assert rotations.dtype == np.int32 and rotations.shape == (len(operators), 3, 3)
    for op, rotation in zip(operators, rotations, strict=True):
        for h in random_index(20).tolist():
            assert op.apply_to_hkl(h) == (np.array(h) @ rotation).tolist()


@pytest.mark.parametrize("name", NAMES)
def test_absences_centric_flags_and_epsilon_equal_the_scalar_functions(name: str) -> None:
    operations = gemmi.SpaceGroup(name).operations()
    index = random_index(200)
    absent = symmetry.systematic_absences(name, index)
    epsilon, centric = symmetry.epsilon_and_centric(name, index)
    for h, a, e, c in zip(index.tolist(), absent, epsilon, centric, strict=True):
        assert operations.is_systematically_absent(h) == a
        assert operations.epsilon_factor_without_centering(h) == e
        assert operations.is_reflection_centric(h) == c


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("P 1", (8, 9, 10, 80, 95, 100)),
        ("P 43 21 2", (12, 12, 19, 90, 90, 90)),
        ("R 3:H", (14, 14, 20, 90, 90, 120)),
        ("C 1 2 1", (15, 8, 11, 90, 105, 90)),
        ("F d -3 m:1", (16, 16, 16, 90, 90, 90)),
    ],
)
def test_possible_reflections_are_those_found_by_trying_all(name: str, cell: tuple[float, ...]) -> None:
    d_min, d_max = 1.7, 5.0
    possible = symmetry.possible_reflections(cell, name, d_min, d_max)
    axis = np.arange(-15, 16, dtype=np.int32)
    index = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    index = index[np.any(index != 0, axis=1)]
    d = symmetry.d_spacing(cell, index)
    index = index[(d >= d_min) & (d <= d_max)]
    index = index[~symmetry.systematic_absences(name, index)]
    expected = np.unique(symmetry.to_asu(name, index)[0], axis=0)
    assert len(possible) == len(expected)
    np.testing.assert_array_equal(np.unique(possible, axis=0), expected)


def test_d_spacing_follows_the_reciprocal_metric() -> None:
    cell = (8.0, 9.0, 10.0, 80.0, 95.0, 100.0)
    cosines = np.cos(np.radians(cell[3:]))
    metric = np.outer(cell[:3], cell[:3])
    metric *= np.array([[1, cosines[2], cosines[1]], [cosines[2], 1, cosines[0]], [cosines[1], cosines[0], 1]])
    index = random_index(50)
    expected = np.einsum("ni,ij,nj->n", index, np.linalg.inv(metric), index) ** -0.5
    np.testing.assert_allclose(symmetry.d_spacing(cell, index), expected, rtol=1e-12)


@pytest.mark.parametrize("text", ["P 2ac 2ab", " P 2ac 2ab", "P212121", "P 21 21 21"])
def test_names_and_hall_symbols_mean_the_same(text: str) -> None:
    assert symmetry.find_space_group(text).xhm() == "P 21 21 21"
    assert len(symmetry.rotation_matrices(text)) == 4


def test_settings_without_a_name_still_group() -> None:
    odd = " C 2y (x+y,-x+y,z)"
    assert len(symmetry.rotation_matrices(odd)) == 2
    with pytest.raises(DataError, match="without a name"):
        symmetry.find_space_group(odd)


@pytest.mark.parametrize("text", ["", "nonsense", "P 9 9 9", "\0"])
def test_unknown_space_groups_are_an_error_of_one_line(text: str) -> None:
    with pytest.raises(DataError, match="unknown space group") as error:
        symmetry.rotation_matrices(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "cell", [(0, 1, 1, 90, 90, 90), (10, 10, 10, 10, 150, 10), (1, 2, 3), (float("nan"), 1, 1, 90, 90, 90)]
)
def test_impossible_cells_are_an_error(cell: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="not a cell"):
        symmetry.d_spacing(cell, random_index(3))


@pytest.mark.parametrize("d_min", [1e-4, 0.0, -1.0, float("nan")])
def test_absurd_limits_do_not_allocate(d_min: float) -> None:
    with pytest.raises(DataError, match="check them"):
        symmetry.possible_reflections((80, 80, 40, 90, 90, 90), "P 43 21 2", d_min)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    n_threads=st.sampled_from([1, 2, 3, 8]),
)
def test_groups_depend_neither_on_row_order_nor_on_threads(name: str, seed: int, n: int, n_threads: int) -> None:
    index = random_index(n + 5, seed=seed)
    rank = np.arange(len(index), dtype=np.int64)
    rotations = symmetry.rotation_matrices(name)
    expected = _core.group_reflections(index, rotations, rank, 1)
    shuffle = np.random.default_rng(seed).permutation(len(index))
    found = _core.group_reflections(index[shuffle], rotations, rank[shuffle], n_threads)
    np.testing.assert_array_equal(shuffle[found.pop("order")], expected.pop("order"))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert value.tobytes() == found[key].tobytes(), key
