"""Merging and its statistics against plain loops, gemmi, iotbx, known truth and their own invariances."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale import _core
from pyscale.errors import DataError
from pyscale.io.refl import read_refl
from pyscale.merging import merge_reflections, sort_observations
from pyscale.reflections import Flag
from pyscale.statistics import merging_statistics
from pyscale.statistics_text import shell_table, summary_table
from pyscale.symmetry import d_spacing, possible_reflections, rotation_matrices, systematic_absences

CELLS = {
    "P 21 21 21": (21, 25, 31, 90, 90, 90),
    "P 43 21 2": (32, 32, 24, 90, 90, 90),
    "P 31 2 1": (24, 24, 30, 90, 90, 120),
    "R 3:H": (35, 35, 40, 90, 90, 120),
    "C 1 2 1": (35, 21, 26, 90, 103, 90),
    "P -1": (15, 16, 18, 81, 95, 104),
    "F d -3 m:1": (46, 46, 46, 90, 90, 90),
}
Case = dict[str, Any]


def synthetic(name: str, seed: int = 1, d_min: float = 2.2, anomalous: float = 0.03, n: int = 4000) -> Case:
    """Observations of random equivalents: Wilson intensities, anomalous differences, Gaussian errors."""
    rng = np.random.default_rng(seed)
    cell = CELLS[name]
    unique = possible_reflections(cell, name, d_min)
    kept = unique[rng.random(len(unique)) < 0.85]
    falloff = np.exp(-8 / d_spacing(cell, kept) ** 2)
    truth = 1000 * rng.exponential(size=len(kept)) * falloff
    which = rng.integers(0, len(kept), n)
    rotations = rotation_matrices(name)
    index = np.einsum("ni,nij->nj", kept[which], rotations[rng.integers(0, len(rotations), n)])
    sign = rng.choice([-1, 1], n)
    true = truth[which] * (1 + anomalous * sign * rng.normal(size=len(kept))[which])
    variance = true + 40 * rng.uniform(0.5, 2, n)
    intensity = true + np.sqrt(variance) * rng.normal(size=n)
    # What must be left out: absences, and variances that are not positive.
    absent = np.array([[3, 0, 0], [0, 5, 0], [0, 0, 7], [2, 1, 0], [1, 0, 2]])
    absent = absent[systematic_absences(name, absent.astype(np.int32))]
    variance[rng.random(n) < 0.01] = 0
    variance[rng.random(n) < 0.01] = -1
    return {
        "miller_index": np.concatenate([index * sign[:, None], absent]).astype(np.int32),
        "intensity": np.concatenate([intensity, np.full(len(absent), 50.0)]),
        "variance": np.concatenate([variance, np.full(len(absent), 4.0)]),
        "unit_cell": cell,
        "space_group": name,
        "n_shells": 8,
        "d_min": None,
    }


def few(n: int) -> Case:
    """The first n observations of a case."""
    case = synthetic("P 21 21 21")
    case["variance"] = np.abs(case["variance"]) + 1
    return case | {key: case[key][:n] for key in ("miller_index", "intensity", "variance")}


def stored(root: Path, name: str) -> Case:
    """Scaled data of dials.scale as its own merging takes them: I/g and V/g^2 of usable rows."""
    table = read_refl(root / "reference" / name / "scaled.refl")
    document = json.loads((root / "reference" / name / "scaled.expt").read_text())
    crystal = document["crystal"][0]
    a, b, c = (np.array(crystal[f"real_space_{axis}"]) for axis in "abc")
    angle = [math.degrees(math.acos(u @ v / math.sqrt((u @ u) * (v @ v)))) for u, v in ((b, c), (a, c), (a, b))]
    flags, g = table["flags"].astype(np.uint64), table["inverse_scale_factor"]
    usable = (flags & np.uint64(Flag.bad_for_scaling) == 0) & (flags & np.uint64(Flag.scaled) != 0) & (g > 0)
    return {
        "miller_index": np.ascontiguousarray(table["miller_index"][usable], dtype=np.int32),
        "intensity": table["intensity.scale.value"][usable] / g[usable],
        "variance": table["intensity.scale.variance"][usable] / g[usable] ** 2,
        "unit_cell": tuple([math.sqrt(v @ v) for v in (a, b, c)] + angle),
        "space_group": crystal["space_group_hall_symbol"],
        "n_shells": 20,
        "d_min": None,
    }


def statistics(case: Case, **options: Any) -> Any:
    return merging_statistics(**case, **({"anomalous": True} | options))


def bits(result: Any) -> str:
    """A text that tells every bit of the statistics, NaN included."""
    return repr(result)


# --- a plain reference ------------------------------------------------------------------------------------


def plain_groups(case: Case, apart: bool) -> dict[tuple[int, ...], list[tuple[float, float]]]:
    """Usable observations of each reflection (Friedel mates apart or together) in dictionaries."""
    rotations = [tuple(map(tuple, r.tolist())) for r in rotation_matrices(case["space_group"])]
    absent = systematic_absences(case["space_group"], case["miller_index"])
    groups: dict[tuple[int, ...], list[tuple[float, float]]] = {}
    rows = zip(case["miller_index"].tolist(), case["intensity"], case["variance"], absent, strict=True)
    for h, i, v, is_absent in rows:
        if v <= 0 or is_absent:
            continue
        rotated = [tuple(sum(h[m] * r[m][k] for m in range(3)) for k in range(3)) for r in rotations]
        if not apart:
            rotated += [(-e[0], -e[1], -e[2]) for e in rotated]
        groups.setdefault(max(rotated), []).append((i, v))
    return groups


def plain_statistics(groups: list[list[tuple[float, float]]]) -> dict[str, float]:
    """Definitions written out one by one."""
    merge = meas = pim = total = chi = degrees = 0.0
    means, signals, plain_means, noises = [], [], [], []
    for group in groups:
        n = len(group)
        weight = sum(1 / v for _, v in group)
        mean = sum(i / v for i, v in group) / weight
        means.append(mean)
        signals.append(mean * math.sqrt(weight))
        if n == 1:
            continue
        deviation = sum(abs(i - mean) for i, _ in group)
        merge += deviation
        meas += deviation * math.sqrt(n / (n - 1))
        pim += deviation * math.sqrt(1 / (n - 1))
        total += sum(i for i, _ in group)
        chi += sum((i - mean) ** 2 / v for i, v in group)
        degrees += n - 1
        plain_means.append(np.mean([i for i, _ in group]))
        noises.append(np.var([i for i, _ in group], ddof=1) / n)
    signal, noise = np.var(plain_means, ddof=1), np.mean(noises)
    return {
        "n_obs": sum(map(len, groups)),
        "n_unique": len(groups),
        "multiplicity": sum(map(len, groups)) / len(groups),
        "mean_intensity": np.mean(means),
        "i_over_sigma": np.mean(signals),
        "unmerged_i_over_sigma": np.mean([i / math.sqrt(v) for group in groups for i, v in group]),
        "r_merge": merge / total,
        "r_meas": meas / total,
        "r_pim": pim / total,
        "chi_square": chi / degrees,
        "cc_half_sigma_tau": (signal - noise) / (signal + noise),
        "n_half_pairs": len(plain_means),
    }


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("apart", [False, True], ids=["merged", "apart"])
def test_statistics_equal_a_plain_loop_overall_and_per_shell(name: str, apart: bool) -> None:
    case = synthetic(name)
    result = statistics(case)
    result = result.anomalous if apart else result
    groups = plain_groups(case, apart)
    keys = list(groups)
    d = d_spacing(case["unit_cell"], np.array(keys, dtype=np.int32))
    assert [result.overall.d_max, result.overall.d_min] == pytest.approx([d.max(), d.min()], rel=1e-12)
    edges = np.linspace(d.max() ** -3, d.min() ** -3, case["n_shells"] + 1) ** (-1 / 3)
    ours = [edge for shell in result.shells for edge in (shell.d_max, shell.d_min)]
    np.testing.assert_allclose(ours, np.repeat(edges, 2)[1:-1], rtol=1e-5)
    entries = [(result.overall, math.inf, 0.0)] + [(s, s.d_max, s.d_min) for s in result.shells]
    for entry, d_max, d_min in entries:
        inside = [groups[key] for key, d_key in zip(keys, d, strict=True) if d_min < d_key <= d_max]
        for key, value in plain_statistics(inside).items():
            assert getattr(entry, key) == pytest.approx(value, rel=1e-9), key
        possible = possible_reflections(case["unit_cell"], name, entry.d_min * 0.9999999, entry.d_max)
        assert entry.completeness <= 1
        assert apart or abs(entry.n_possible - len(possible)) <= 2
    assert sum(s.n_possible for s in result.shells) == result.overall.n_possible


@pytest.mark.parametrize("name", ["P 21 21 21", "P 31 2 1", "C 1 2 1"])
def test_anomalous_statistics_equal_a_plain_loop(name: str) -> None:
    case = synthetic(name)
    groups = plain_groups(case, apart=True)
    merged = {}
    for key, group in groups.items():
        weight = sum(1 / v for _, v in group)
        merged[key] = (sum(i / v for i, v in group) / weight, 1 / weight)
    plus_of = {key: max(plain_groups(few_rows(key, name), apart=True)) for key in groups}
    pairs = []
    for key in groups:
        mate = max(plain_groups(few_rows(tuple(-k for k in key), name), apart=True))
        if plus_of[key] != mate and mate in merged and key > mate:
            pairs.append((merged[key], merged[mate]))
    overall = statistics(case).overall
    difference = [abs(p[0] - m[0]) for p, m in pairs]
    assert overall.n_anomalous_pairs == len(pairs)
    assert overall.r_anom == pytest.approx(sum(difference) / sum(abs(p[0] + m[0]) / 2 for p, m in pairs))
    sigma = [math.sqrt(p[1] + m[1]) for p, m in pairs]
    assert overall.anomalous_difference_over_sigma == pytest.approx(np.mean(difference) / np.mean(sigma))
    positive = [(p[0], m[0]) for p, m in pairs if p[0] > 0 and m[0] > 0]
    squares = [(math.sqrt(p) - math.sqrt(m)) ** 2 for p, m in positive]
    expected = math.sqrt(2 * np.mean(squares) / np.mean([p + m for p, m in positive]))
    assert overall.anomalous_signal == pytest.approx(expected)


def few_rows(index: tuple[int, ...], name: str) -> Case:
    return {
        "miller_index": np.array([index], dtype=np.int32),
        "intensity": [1.0],
        "variance": [1.0],
        "space_group": name,
    }


# --- gemmi ------------------------------------------------------------------------------------------------


def gemmi_intensities(case: Case) -> gemmi.Intensities:
    used = case["variance"] > 0
    found = gemmi.Intensities()
    found.set_data(
        gemmi.UnitCell(*case["unit_cell"]),
        gemmi.SpaceGroup(case["space_group"]),
        case["miller_index"][used],
        case["intensity"][used],
        np.sqrt(case["variance"][used]),
    )
    found.remove_systematic_absences()
    return found


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.skipif(not hasattr(gemmi.Intensities, "merged"), reason="the oracle needs gemmi 0.7.4")
def test_statistics_and_merged_intensities_equal_those_of_gemmi(name: str) -> None:
    case = synthetic(name)
    result = statistics(case)
    for apart, kind in ((False, gemmi.DataType.Mean), (True, gemmi.DataType.Anomalous)):
        theirs = gemmi_intensities(case)
        theirs.prepare_for_merging(kind)
        # "X": deviations from the weighted mean; "U": unweighted means, as sigma-tau has them.
        expected, plain = (theirs.calculate_merging_stats(None, weights)[0] for weights in "XU")
        ours = (result.anomalous if apart else result).overall
        assert ours.n_obs == expected.all_refl
        assert ours.n_unique == expected.unique_refl
        assert ours.n_half_pairs == expected.stats_refl
        assert [ours.r_merge, ours.r_meas, ours.r_pim] == pytest.approx(
            [expected.r_merge(), expected.r_meas(), expected.r_pim()], rel=1e-9
        )
        assert ours.cc_half_sigma_tau == pytest.approx(plain.cc_half(), rel=1e-9)
    merged = merge_reflections(case["miller_index"], case["intensity"], case["variance"], name)
    theirs = gemmi_intensities(case).merged(gemmi.DataType.Mean)
    assert len(theirs) == len(merged.intensity)
    order = np.lexsort((theirs.sigma_array, theirs.value_array))
    own = np.lexsort((merged.sigma, merged.intensity))
    np.testing.assert_allclose(merged.intensity[own], theirs.value_array[order], rtol=1e-9)
    np.testing.assert_allclose(merged.sigma[own], theirs.sigma_array[order], rtol=1e-9)


# --- iotbx ------------------------------------------------------------------------------------------------

EXACT = ["n_obs", "n_unique", "n_half_pairs"]
CLOSE = ["multiplicity", "mean_intensity", "i_over_sigma", "r_merge", "r_meas", "r_pim", "r_anom"]


def all_cases(root: Path) -> dict[str, Case]:
    cases = {name: synthetic(name) for name in CELLS}
    cases["weak"] = synthetic("P 43 21 2", seed=5, n=1500)
    cases["weak"]["intensity"] = cases["weak"]["intensity"] - 60
    cases["cut"] = synthetic("P 21 21 21", seed=6) | {"d_min": 2.7}
    if root.is_dir():
        cases["lcys_20_physical"] = stored(root, "lcys_20_physical")
        cases["ed_p212121"] = stored(root, "ed_p212121")
    for case in cases.values():
        # iotbx floors the variance of unweighted means at 1/n; a large scale makes that floor negligible.
        case["intensity"], case["variance"] = case["intensity"] * 1e4, case["variance"] * 1e8
    return cases


@pytest.fixture(scope="module")
def oracle(
    run_oracle: Callable[..., None], data_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Case], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("oracle")
    cases = all_cases(data_root)
    arrays = {}
    for name, case in cases.items():
        group = gemmi.SpaceGroup(case["space_group"]).hall if name in CELLS else None
        fields = case | {"hall": group or hall(case["space_group"]), "d_min": case["d_min"] or 0.0}
        del fields["space_group"]
        arrays |= {f"{name}|{field}": np.asarray(value) for field, value in fields.items()}
    np.savez(folder / "cases.npz", **arrays)
    run_oracle("cctbx_merging.py", folder / "cases.npz", folder / "out.json")
    return cases, json.loads((folder / "out.json").read_text())


def hall(symbol: str) -> str:
    found = gemmi.find_spacegroup_by_name(symbol)
    return found.hall if found is not None else symbol


def compare(ours: Any, theirs: dict[str, Any]) -> None:
    for key in EXACT:
        assert getattr(ours, key) == theirs[key], key
    for key in CLOSE:
        expected = theirs[key]
        value = getattr(ours, key)
        if math.isnan(value):  # iotbx writes 0 for what no reflection defines, and R below 0 for negative sums
            assert not expected or (key.startswith("r_") and expected < 0), key
        else:
            assert value == pytest.approx(expected, rel=1e-8, abs=1e-12), key
    assert ours.completeness == pytest.approx(min(1, ours.n_unique / theirs["n_possible"]), rel=1e-12)
    # iotbx widens by a part of the range of 1/d^2, we by a part of each limit.
    assert [ours.d_max, ours.d_min] == pytest.approx([theirs["d_max"], theirs["d_min"]], rel=5e-4)
    if ours.n_half_pairs > 2:
        assert ours.cc_half_sigma_tau == pytest.approx(theirs["cc_half_sigma_tau"], abs=1e-6)


@pytest.mark.data
@pytest.mark.parametrize("name", [*CELLS, "weak", "cut", "lcys_20_physical", "ed_p212121"])
@pytest.mark.parametrize("apart", [False, True], ids=["merged", "apart"])
def test_statistics_equal_those_of_iotbx(
    oracle: tuple[dict[str, Case], dict[str, Any]], name: str, apart: bool
) -> None:
    case, theirs = oracle[0][name], oracle[1][name]["anomalous" if apart else "merged"]
    result = statistics(case)
    ours = result.anomalous if apart else result
    assert len(ours.shells) == len(theirs["shells"])
    for entry, expected in zip([ours.overall, *ours.shells], [theirs["overall"], *theirs["shells"]], strict=True):
        compare(entry, expected)
    overall, expected = ours.overall, theirs["overall"]
    # iotbx drops reflections at exactly the limits by rounding.
    assert overall.completeness == pytest.approx(expected["completeness"], abs=3 / overall.n_possible)
    # Random halves differ: iotbx must be one of many draws.
    draws = [statistics(case, seed=seed, n_splits=1) for seed in range(16)]
    for key in ("cc_half", "cc_anom"):
        values = [getattr((draw.anomalous if apart else draw).overall, key) for draw in draws]
        if not np.isnan(values).any():
            assert abs(expected[key] - np.mean(values)) <= 5 * np.std(values) + 1e-9, key
    assert overall.cc_half_significant == expected["cc_half_significant"]
    if apart and overall.n_anomalous_pairs > 0:
        completeness = expected["anomalous_completeness"]
        assert overall.anomalous_completeness == pytest.approx(completeness, abs=0.002)
        for key in ("anomalous_signal", "anomalous_difference_over_sigma"):
            assert getattr(overall, key) == pytest.approx(expected[key], rel=1e-8), key
        assert overall.anomalous_slope == pytest.approx(expected["anomalous_slope"], rel=0.005)


@pytest.mark.data
@pytest.mark.parametrize("name", [*CELLS, "weak", "lcys_20_physical", "ed_p212121"])
@pytest.mark.parametrize("use_internal_variance", [False, True])
def test_merged_reflections_equal_those_of_iotbx(
    oracle: tuple[dict[str, Case], dict[str, Any]], name: str, use_internal_variance: bool
) -> None:
    case = oracle[0][name]
    columns = (case["miller_index"], case["intensity"], case["variance"], case["space_group"])
    merged = merge_reflections(*columns, use_internal_variance=use_internal_variance)
    expected = oracle[1][name]["merged"]["reflections"][str(use_internal_variance)]
    theirs = merge_reflections(
        np.array(expected["miller_index"], dtype=np.int32),
        np.array(expected["intensity"]),
        np.array(expected["sigma"]) ** 2,
        case["space_group"],
    )
    np.testing.assert_array_equal(merged.miller_index, theirs.miller_index)
    np.testing.assert_allclose(merged.intensity, theirs.intensity, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(merged.sigma, theirs.sigma, rtol=1e-7)
    assert np.sum(merged.n_obs) == np.sum(expected["n_obs"])


# --- known truth ------------------------------------------------------------------------------------------


def test_merged_pulls_and_correlations_follow_from_the_truth() -> None:
    rng = np.random.default_rng(3)
    unique = possible_reflections(CELLS["P 43 21 2"], "P 43 21 2", 2.0)
    truth, n = rng.exponential(300.0, len(unique)), 6
    index, true = np.repeat(unique, n, axis=0), np.repeat(truth, n)
    variance = rng.uniform(100, 40000, len(true))
    intensity = true + np.sqrt(variance) * rng.normal(size=len(true))
    merged = merge_reflections(index, intensity, variance, "P 43 21 2")
    first = merge_reflections(unique, truth, np.ones(len(unique)), "P 43 21 2")
    np.testing.assert_array_equal(merged.miller_index, first.miller_index)
    pulls = (merged.intensity - first.intensity) / merged.sigma
    assert abs(pulls.mean()) < 4 / math.sqrt(len(pulls))
    assert abs(pulls.std() - 1) < 4 / math.sqrt(2 * len(pulls))

    result = merging_statistics(index, intensity, variance, CELLS["P 43 21 2"], "P 43 21 2", n_shells=1).overall
    assert result.chi_square == pytest.approx(1, abs=4 * math.sqrt(2 / (len(true) * 5 / 6)))
    noise = variance.mean() / n
    assert result.cc_half_sigma_tau == pytest.approx(truth.var() / (truth.var() + 2 * noise), abs=0.03)


def test_anomalous_differences_show_in_their_correlation() -> None:
    strong = statistics(synthetic("P 31 2 1", anomalous=0.3)).overall
    none = statistics(synthetic("P 31 2 1", anomalous=0.0)).overall
    assert strong.cc_anom > 0.5 and strong.cc_anom_significant
    assert abs(none.cc_anom) < 4 / math.sqrt(none.n_anomalous_half_pairs) and not none.cc_anom_significant
    assert none.anomalous_slope == pytest.approx(1, abs=0.1)
    assert strong.anomalous_slope > 1.5


def test_random_halves_have_the_right_distribution() -> None:
    """Half means of many copies of one group: each row falls into either half equally often."""
    n, copies = 5, 4000
    index = np.stack([np.arange(1, copies + 1), np.ones(copies), np.ones(copies)], axis=1)
    index = np.repeat(index, n, axis=0).astype(np.int32)
    value = np.tile(10.0 ** np.arange(n), copies)
    obs = sort_observations(index, value, np.ones(len(value)), "P 1", rank=np.arange(len(value)))
    first, second, *_ = _core.half_sets(obs.intensity, obs.variance, obs.offsets, obs.asu_index, 7)
    rows = [tuple(int(d) for d in f"{round(x):05d}") for x in first * 6]
    # A half of 2 shows digits 3, a half of 3 digits 2 where a row is in it.
    present = np.array(rows) > 0
    size = present.sum(axis=1)
    assert set(size) == {2, 3}
    assert abs((size == 3).mean() - 0.5) < 4 * 0.5 / math.sqrt(copies)
    assert np.all(np.abs(present.mean(axis=0) - 0.5) < 4 * 0.5 / math.sqrt(copies))
    total = first * size + second * (n - size)
    np.testing.assert_allclose(total, 11111)


# --- invariances ------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(list(CELLS)),
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 400),
    n_threads=st.sampled_from([1, 2, 3, 8]),
)
def test_statistics_depend_neither_on_row_order_nor_on_threads(name: str, seed: int, n: int, n_threads: int) -> None:
    case = synthetic(name, seed=seed, n=n)
    case["variance"] = np.abs(case["variance"]) + 1
    shuffle = np.random.default_rng(seed).permutation(len(case["intensity"]))
    shuffled = case | {key: case[key][shuffle] for key in ("miller_index", "intensity", "variance")}
    assert bits(statistics(shuffled, n_threads=n_threads)) == bits(statistics(case))


def test_large_data_have_the_same_bits_for_any_number_of_threads() -> None:
    case = synthetic("P 43 21 2", n=60000)
    expected = bits(statistics(case, n_threads=1))
    for n_threads in (2, 3, 8):
        assert bits(statistics(case, n_threads=n_threads)) == expected


def test_the_seed_moves_the_random_halves_alone() -> None:
    case = synthetic("P 43 21 2")
    one, other = statistics(case, seed=1).overall.to_dict(), statistics(case, seed=2).overall.to_dict()
    assert {key for key in one if one[key] != other[key]} == {
        *("r_split", "cc_half", "cc_half_low", "cc_half_high", "cc_anom", "cc_anom_low", "cc_anom_high")
    }


# --- small and bad data -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 7, 25])
def test_few_observations_give_finite_json_and_tables(n: int) -> None:
    result = statistics(few(n) | {"n_shells": 20})
    assert sum(s.n_obs for s in result.shells) == result.overall.n_obs == n
    assert 1 <= len(result.shells) <= min(20, result.overall.n_unique)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["overall"]["n_obs"] == n
    assert len(shell_table(result).splitlines()) == len(result.shells) + 2
    assert "Rmeas(I+/-)" in summary_table(result)


def test_no_r_factor_of_negative_intensities() -> None:
    case = few(25)
    case["intensity"] = -np.abs(case["intensity"])
    entry = statistics(case).to_dict()["overall"]
    assert entry["mean_intensity"] < 0
    assert [entry[name] for name in ("r_merge", "r_meas", "r_pim")] == [None] * 3


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e7, 1e15])
def test_tables_hold_intensities_of_any_unit(unit: float) -> None:
    case = few(25)
    other = {"intensity": case["intensity"] * unit, "variance": case["variance"] * unit**2}
    lines = shell_table(statistics(case | other)).splitlines()
    mean = statistics(case).overall.mean_intensity * unit
    assert len(lines[-1].split()) >= 9
    assert float(lines[-1].split()[6]) == pytest.approx(mean, rel=6e-3, abs=0.06 if unit >= 1 else 0)


def test_centric_groups_have_no_anomalous_completeness() -> None:
    result = statistics(few(25) | {"space_group": "P m -3 m"})
    assert math.isnan(result.overall.anomalous_completeness)


def test_what_single_observations_do_not_define_is_null() -> None:
    case = few(1)
    entry = statistics(case).to_dict()["overall"]
    undefined = {key for key, value in entry.items() if value is None}
    assert undefined >= {"r_merge", "r_meas", "r_pim", "r_anom", "cc_half", "cc_half_sigma_tau", "cc_anom"}
    assert entry["multiplicity"] == entry["completeness"] == 1
    assert entry["mean_intensity"] == case["intensity"][0]
    assert entry["i_over_sigma"] == pytest.approx(case["intensity"][0] / math.sqrt(case["variance"][0]))


def test_equal_intensities_agree_perfectly() -> None:
    case = few(400)
    case["intensity"] = np.full(400, 7.0)
    overall = statistics(case).overall
    assert overall.r_merge == pytest.approx(0, abs=1e-12)
    assert math.isnan(overall.cc_half) or abs(overall.cc_half) <= 1


def test_resolution_limits_leave_reflections_out() -> None:
    case = synthetic("P 21 21 21")
    result = merging_statistics(**case | {"d_min": 3.0}, d_max=6.0)
    assert 3.0 <= result.overall.d_min < result.overall.d_max <= 6.0
    d = d_spacing(case["unit_cell"], case["miller_index"])
    used = (d >= 3) & (d <= 6) & (case["variance"] > 0)
    used &= ~systematic_absences(case["space_group"], case["miller_index"])
    assert result.overall.n_obs == used.sum()


def test_extreme_values_stay_finite() -> None:
    case = synthetic("P 31 2 1")
    for scale in (1e-150, 1e150):
        big = case | {"intensity": case["intensity"] * scale, "variance": case["variance"] * scale**2}
        overall, expected = statistics(big).overall, statistics(case).overall
        for key in ("r_meas", "r_pim", "i_over_sigma", "chi_square"):
            assert getattr(overall, key) == pytest.approx(getattr(expected, key), rel=1e-9), (scale, key)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", ["intensity", "variance"])
def test_values_that_are_not_finite_are_an_error_naming_the_row(column: str, value: float) -> None:
    case = few(20)
    case[column] = case[column].copy()
    case[column][13] = value
    with pytest.raises(DataError, match=f"{column} of row 13") as error:
        statistics(case)
    assert "\n" not in str(error.value)


def test_nothing_left_is_an_error() -> None:
    case = few(20)
    with pytest.raises(DataError, match="positive variance"):
        statistics(case | {"variance": np.zeros(20)})
    with pytest.raises(DataError, match="resolution limits"):
        statistics(case | {"d_min": 50.0})
