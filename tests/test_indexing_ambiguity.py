"""Data sets in another indexing of their lattice: found where they were planted, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

import gemmi
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pyscale.indexing_ambiguity import IndexingAnalysis, analyse_indexing
from pyscale.indexing_consensus import agreement
from pyscale.indexing_intensities import IndexedIntensities, UniqueIntensities
from pyscale.indexing_operators import IndexingOperators, alternative_indexings
from pyscale.preparation import UnitCell

HEXAGONAL = (50.0, 50.0, 60.0, 90.0, 90.0, 120.0)
CELLS: dict[str, UnitCell] = {
    "P 3": HEXAGONAL,
    "P 31": HEXAGONAL,
    "P 6": HEXAGONAL,
    "P 4": (50.0, 50.0, 60.0, 90.0, 90.0, 90.0),
    "I 2 3": (70.0, 70.0, 70.0, 90.0, 90.0, 90.0),
    "P 1 21 1": (40.0, 50.0, 40.4, 90.0, 108.0, 90.0),
    "P 21 21 21": (50.0, 50.3, 50.6, 90.0, 90.0, 90.0),
}


@dataclass
class Planted:
    """Random equivalents of exponential intensities, with a scale and a decay per data set, and operators planted."""

    name: str
    planted: np.ndarray
    n_rows: int = 1500
    noise: float = 0.3
    signal: float = 1.0
    seed: int = 0
    twofold_too: bool = False

    def __post_init__(self) -> None:
        self.cell = CELLS[self.name]
        group = gemmi.find_spacegroup_by_name(self.name)
        operators = alternative_indexings(self.cell, group, 3.0)
        assert operators is not None
        self.operators: IndexingOperators = operators
        random = np.random.default_rng(self.seed)
        labels = gemmi.find_spacegroup_by_name("P 3 2 1") if self.twofold_too else group
        unique = gemmi.make_miller_array(gemmi.UnitCell(*self.cell), labels, 3.5, 0.0, True).astype(np.int32)
        true = 1.0 - self.signal + self.signal * random.exponential(size=len(unique))
        n = self.planted.size
        data_set = np.repeat(np.arange(n), self.n_rows)
        chosen = random.integers(len(unique), size=data_set.size)
        rotations = np.array([op.rot for op in labels.operations().sym_ops]) // 24
        rotation = rotations[random.integers(len(rotations), size=data_set.size)]
        sign = random.choice([-1, 1], data_set.size)[:, None]
        index = (np.einsum("ni,nij->nj", unique[chosen], rotation) * sign).astype(np.int32)
        for k in range(1, len(operators)):
            rows = self.planted[data_set] == k
            index[rows] = operators.apply(k, index[rows])
        q = np.array([gemmi.UnitCell(*self.cell).calculate_1_d2(h.tolist()) for h in unique])[chosen]
        scale = 100.0 * np.exp(random.normal(0, 0.5, n)[data_set] - (8.0 + random.normal(0, 3, n))[data_set] * q)
        value = scale * (true[chosen] + random.normal(0, self.noise, chosen.size))
        self.rows = IndexedIntensities(data_set, index, value, (scale * self.noise) ** 2)

    def analyse(
        self, rows: IndexedIntensities | None = None, reference: IndexedIntensities | None = None, seed: int = 0
    ) -> IndexingAnalysis:
        observations = self.rows if rows is None else rows
        n = self.planted.size
        return analyse_indexing(observations, self.cell, self.operators, n_data_sets=n, reference=reference, seed=seed)

    def final(self, found: IndexingAnalysis) -> np.ndarray:
        """What remains of each planted operator T_p after h T_p T_found, as the number of a coset."""
        inverse = self.operators.relative[self.planted, 0]
        return np.asarray(self.operators.relative[inverse, found.operator])


@pytest.mark.parametrize("name", list(CELLS))
def test_one_of_six(name: str) -> None:
    n_operators = len(Planted(name, np.zeros(1, np.int64), n_rows=10).operators)
    for k in range(1, n_operators):
        data = Planted(name, np.array([0, 0, 0, k, 0, 0]), seed=k)
        found = data.analyse()
        assert_array_equal(data.final(found), 0)
        assert_array_equal(found.operator > 0, data.planted > 0)
        assert found.resolved[1:].all() and not found.undecided.any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["P 3", "I 2 3", "P 21 21 21"])
def test_random_mixture_of_twenty(name: str, seed: int) -> None:
    """All end in one indexing, that of the larger part; nobody can know which one is the crystal's."""
    n_operators = len(Planted(name, np.zeros(1, np.int64), n_rows=10).operators)
    planted = np.random.default_rng(seed).integers(n_operators, size=20)
    data = Planted(name, planted, n_rows=400, seed=seed)
    found = data.analyse()
    assert np.unique(data.final(found)).size == 1
    assert np.count_nonzero(found.operator == 0) == np.bincount(planted).max()


def test_two_data_sets_keep_the_indexing_of_the_first() -> None:
    found = Planted("P 3", np.array([2, 0])).analyse()
    assert found.operator[0] == 0 and found.operator[1] == 2


def test_consistent_data_sets_stay() -> None:
    found = Planted("P 3", np.zeros(8, np.int64)).analyse()
    assert not found.operator.any() and found.resolved[1:].all()
    assert set(found.decisions) == {"consistent"}


@pytest.mark.parametrize("n", [2, 6, 20])
def test_noise_says_nothing(n: int) -> None:
    for seed in range(5):
        found = Planted("P 3", np.zeros(n, np.int64), noise=1.0, signal=0.0, seed=seed).analyse(seed=seed)
        assert not found.resolved.any() and not found.operator.any()
        assert set(found.decisions) == {"undecided"}


def test_a_data_set_of_noise_among_good_ones_stays() -> None:
    flagged = 0
    for seed in range(10):
        data = Planted("P 3", np.zeros(6, np.int64), seed=seed)
        noise = data.rows.data_set == 2
        value = data.rows.intensity.copy()
        value[noise] = np.random.default_rng(seed).normal(1.0, 1.0, noise.sum())
        variance = np.where(noise, 1.0, data.rows.variance)
        found = data.analyse(IndexedIntensities(data.rows.data_set, data.rows.miller_index, value, variance))
        flagged += int(np.count_nonzero(found.operator))
        assert not found.operator[[0, 1, 3, 4, 5]].any()
    assert flagged <= 1


def test_more_symmetry_than_the_label() -> None:
    """P 3 2 1 called P 3: the twofold axis changes nothing, is not resolved, and moves nothing."""
    for seed in range(3):
        data = Planted("P 3", np.zeros(6, np.int64), twofold_too=True, seed=seed)
        found = data.analyse()
        axis = data.operators.triplets.index("k,h,-l")
        assert not found.operator.any()
        assert_array_equal(found.resolved, [k not in (0, axis) for k in range(4)])
        planted = Planted("P 3", np.array([0, 0, 2, 0, 0, 0]), twofold_too=True, seed=seed).analyse()
        assert_array_equal(planted.operator > 0, [False, False, True, False, False, False])


def test_stills() -> None:
    planted = 2 * np.random.default_rng(1).integers(2, size=600)
    data = Planted("P 3", planted, n_rows=100, noise=0.7)
    found = data.analyse()
    remaining = np.bincount(data.final(found), minlength=4)
    assert remaining.max() > 0.98 * planted.size


def test_a_reference_decides() -> None:
    """All data sets but one are in the wrong indexing: the reference wins over the majority."""
    data = Planted("P 3", np.array([2, 2, 0, 2]))
    right = Planted("P 3", np.array([0]), n_rows=4000)
    assert_array_equal(data.analyse().operator, [0, 0, 2, 0])
    assert_array_equal(data.analyse(reference=right.rows).operator, [2, 2, 0, 2])
    alone = Planted("P 3", np.array([1]))
    assert_array_equal(alone.analyse(reference=right.rows).operator, [1])


def test_order_of_rows() -> None:
    data = Planted("P 3", np.random.default_rng(3).integers(4, size=7))
    order = np.random.default_rng(4).permutation(data.rows.intensity.size)
    permuted = IndexedIntensities(*(getattr(data.rows, f)[order] for f in vars(data.rows)))
    first, second = data.analyse(), data.analyse(permuted)
    for name in ("correlation", "n_common", "contrast", "significance", "log_odds", "operator"):
        assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def test_equivalents_within_a_data_set_count_once() -> None:
    """All rows twice: twice the precision, but no more reflections."""
    data = Planted("P 3", np.array([0, 0, 2]), n_rows=3000)
    twice = IndexedIntensities(*(np.concatenate([getattr(data.rows, f)] * 2) for f in vars(data.rows)))
    assert_allclose(data.analyse(twice).n_common, data.analyse().n_common, rtol=0.05)


def test_indices_far_apart() -> None:
    """One index far out, of no weight: distinct indices are found by sorting, and nothing else changes."""
    data = Planted("P 3", np.array([0, 0, 2, 0]))
    far = IndexedIntensities(
        np.zeros(1, np.int64), np.array([[900, 900, 900]], np.int32), np.array([1.0]), np.array([1e9])
    )
    rows = data.rows.followed_by(far, 3)
    assert_array_equal(data.analyse(rows).operator, data.analyse().operator)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_hardly_any_reflections(n: int) -> None:
    data = Planted("P 3", np.zeros(2, np.int64), n_rows=10)
    rows = IndexedIntensities(*(getattr(data.rows, f)[:n] for f in vars(data.rows)))
    assert data.analyse(rows).decisions == ["undecided", "undecided"]


def test_agreement_is_the_weighted_correlation_with_the_mean_of_the_others() -> None:
    random = np.random.default_rng(0)
    n_sets, n_reflections = 3, 40
    data_set = np.repeat(np.arange(n_sets), n_reflections)
    reflection = np.tile(np.arange(n_reflections), n_sets)
    swapped = np.arange(n_reflections) ^ 1
    value, precision = random.normal(size=data_set.size), random.uniform(0.1, 5.0, data_set.size)
    merged = np.stack([np.arange(n_reflections), swapped])
    rows = UniqueIntensities(data_set, reflection, value, precision, merged, n_sets, n_reflections)
    operator = np.array([0, 1, 0])
    found = agreement(rows, operator, np.zeros((2, n_reflections)))
    x, t = value.reshape(n_sets, -1), precision.reshape(n_sets, -1)
    for s in range(n_sets):
        others = [o for o in range(n_sets) if o != s]
        total = sum(t[o][merged[operator[o]]] for o in others)
        mean = sum((t[o] * x[o])[merged[operator[o]]] for o in others) / total
        for k in range(2):
            y, ty = mean[merged[k]], total[merged[k]]
            weight = t[s] / (1 + t[s]) * ty / (1 + ty)
            c = np.cov(x[s], y, aweights=weight)
            assert found.correlation[s, k] == pytest.approx(c[0, 1] / np.sqrt(c[0, 0] * c[1, 1]), rel=1e-10)
            assert found.n_common[s, k] == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=1e-10)
