"""The crossover between profile-fitted and summed intensities: its limits, its candidates, and that it finds truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pyscale.intensity_choice import (
    PROFILE,
    SUMMATION,
    IntegratedIntensities,
    candidate_imids,
    choose_imids,
    combined_intensities,
)

NAN = math.nan


def both(profile: list[float], summation: list[float], conversion: float = 1.0) -> IntegratedIntensities:
    """Variances are a hundredth of each value, NaN with it."""
    p, s = np.array(profile), np.array(summation)
    return IntegratedIntensities(p, np.abs(p) / 100, s, np.abs(s) / 100, np.full(p.size, conversion))


def test_the_limits_take_one_result_wherever_there_is_one() -> None:
    data = both([10.0, NAN, 30.0, NAN], [11.0, 21.0, NAN, NAN], conversion=2.0)
    value, variance = combined_intensities(data, PROFILE)
    assert_allclose(value, [20.0, 42.0, 60.0, NAN])
    assert_allclose(variance, [0.4, 0.84, 1.2, NAN])
    value, variance = combined_intensities(data, SUMMATION)
    assert_allclose(value, [22.0, 42.0, 60.0, NAN])
    assert_allclose(variance, [0.44, 0.84, 1.2, NAN])


def test_the_blend_between_the_limits() -> None:
    data = both([1.0, 2.0, 3.0, 4.0, 5.0], [-50.0, 0.0, 100.0, NAN, 1e9])
    value, variance = combined_intensities(data, 100.0)
    assert_allclose(value, [1.0, 2.0, 51.5, 4.0, 1e9], rtol=1e-6)
    assert_allclose(variance, value / 100, rtol=1e-6)
    at_twice, _ = combined_intensities(both([0.0], [200.0]), 100.0)
    assert_allclose(at_twice, 200.0 * 8 / 9)
    assert_allclose(combined_intensities(both([NAN], [7.0]), 100.0)[0], 7.0)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(2.0, 1e6))
def test_a_blend_lies_between_its_parts(profile: float, summation: float, imid: float) -> None:
    value = combined_intensities(both([profile], [summation]), imid)[0][0]
    slack = 1e-9 * max(abs(profile), abs(summation))
    assert min(profile, summation) - slack <= value <= max(profile, summation) + slack


def test_selecting_and_joining_rows() -> None:
    data = both([1.0, NAN, 3.0], [4.0, 5.0, NAN])
    assert_array_equal(data.has_both, [True, False, False])
    back = IntegratedIntensities.concatenate([data.select(np.array([0, 1])), data.select(np.array([2]))])
    assert_array_equal(back.profile, data.profile)
    assert_array_equal(back.summation_variance, data.summation_variance)


def test_candidates() -> None:
    mean = 100_080.0 / 3
    low = np.full(3, 2.0)
    assert candidate_imids(np.array([30.0, 50.0, 100_000.0]), low) == pytest.approx([0.0, 1.0, mean, 10_000.0])
    assert candidate_imids(np.array([1.0, 2.0, 2997.0]), low) == pytest.approx([0.0, 1.0, 1000.0, 299.7])
    # the mean counts as the median sigma at least, and tenths of the maximum go on until one is not above it
    many, sigma = np.array([0.0] * 1999 + [5000.0]), np.full(2000, 10.0)
    assert candidate_imids(many, sigma) == pytest.approx([0.0, 1.0, 10.0, 500.0, 50.0, 5.0])
    assert candidate_imids(many, sigma, [3.0, 0.0]) == [3.0, 0.0]
    assert candidate_imids(np.zeros(0), np.zeros(0)) == [PROFILE]


@pytest.mark.parametrize("k", [1e-6, 1e5])
def test_candidates_scale_with_the_data(k: float) -> None:
    many, sigma = np.array([0.0] * 1999 + [5000.0]), np.full(2000, 10.0)
    expected = [0.0, 1.0, *(k * c for c in candidate_imids(many, sigma)[2:])]
    assert candidate_imids(k * many, k * sigma) == pytest.approx(expected)


def simulated(
    profile_noise: tuple[float, float], sum_noise: tuple[float, float], seed: int = 4
) -> dict[str, np.ndarray]:
    """1000 groups of 6; (constant, relative) errors of either result, most intensities weak."""
    rng = np.random.default_rng(seed)
    n_groups, n = 1000, 6
    truth = np.repeat(10 ** (1.5 + 3.5 * rng.random(n_groups) ** 2), n)
    g = rng.uniform(0.5, 2.0, truth.size)
    arrays = []
    for constant, relative in (profile_noise, sum_noise):
        variance = constant**2 + (relative * truth * g) ** 2
        arrays += [truth * g + np.sqrt(variance) * rng.normal(size=truth.size), variance]
    return {
        "truth": truth,
        "g": g,
        "offsets": np.arange(n_groups + 1) * n,
        "integrated": IntegratedIntensities(*arrays, np.ones(truth.size)),
    }


def choose(case: dict[str, np.ndarray], use: np.ndarray | None = None) -> tuple[float, dict[float, float]]:
    use = np.ones(case["g"].size, np.bool_) if use is None else use
    data_set = np.zeros(case["g"].size, np.int32)
    choice = choose_imids(case["integrated"], case["g"], case["offsets"], use, data_set, 2)
    assert choice.of_data_set == {} and choice.common == choice.imids[1]
    return float(choice.imids[0]), {c.imid: c.r_meas for c in choice.tried}


def mixed() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Groups of six, two observations of each of three data sets: 0 better by profile, 1 by summation, 2 has sums."""
    case, other = simulated((10.0, 0.02), (30.0, 0.06)), simulated((30.0, 0.06), (10.0, 0.02))
    data_set = np.tile(np.array([0, 1, 2], np.int32).repeat(2), 1000)
    first, second = case["integrated"], other["integrated"]
    arrays = [
        np.where(data_set == 0, getattr(first, name), getattr(second, name))
        for name in ("profile", "profile_variance", "summation", "summation_variance", "conversion")
    ]
    arrays[0][data_set == 2] = np.nan
    arrays[1][data_set == 2] = np.nan
    return {**case, "integrated": IntegratedIntensities(*arrays)}, data_set


@pytest.mark.parametrize("n_threads", [1, 3])
def test_each_data_set_takes_what_is_better_for_it(n_threads: int) -> None:
    case, data_set = mixed()
    use = np.ones(data_set.size, np.bool_)
    arguments = (case["integrated"], case["g"], case["offsets"], use, data_set, 5)
    choice = choose_imids(*arguments, joint=False, n_threads=n_threads)
    joint = choose_imids(*arguments)
    assert choice.imids[:3].tolist() == [PROFILE, SUMMATION, SUMMATION]
    assert choice.imids[3:].tolist() == joint.imids[3:].tolist()
    assert choice.common is None and joint.common is not None
    assert choice.of_data_set.keys() == {0, 1} and choice.tried == joint.tried
    for k, tried in choice.of_data_set.items():
        rows = np.flatnonzero(data_set == k)
        alone = choose_imids(
            case["integrated"].select(rows),
            case["g"][rows],
            np.arange(1001) * 2,
            np.ones(rows.size, np.bool_),
            np.zeros(rows.size, np.int32),
            1,
        )
        assert [c.imid for c in tried] == [c.imid for c in alone.tried]
        assert_allclose([c.r_meas for c in tried], [c.r_meas for c in alone.tried], rtol=1e-12)
    part = choice.of_data_sets(np.array([False, True, True, False, False]))
    assert part.imids.tolist() == [SUMMATION, SUMMATION] and part.of_data_set == {0: choice.of_data_set[1]}


def test_a_data_set_that_cannot_be_judged_takes_the_common_choice() -> None:
    case, data_set = mixed()
    few = np.where((data_set == 1) & (np.arange(data_set.size) > 200), 0, data_set).astype(np.int32)
    use = np.ones(few.size, np.bool_)
    choice = choose_imids(case["integrated"], case["g"], case["offsets"], use, few, 3, joint=False)
    assert choice.of_data_set.keys() == {0}
    assert choice.imids[1] == min(choice.tried, key=lambda c: c.r_meas).imid


def test_crossovers_of_rows() -> None:
    data = both([10.0, NAN, 30.0, 40.0, 50.0], [11.0, 21.0, NAN, 41.0, 100.0], conversion=2.0)
    imids = np.array([PROFILE, PROFILE, SUMMATION, SUMMATION, 100.0])
    value, variance = combined_intensities(data, imids)
    assert_allclose(value, [20.0, 42.0, 60.0, 82.0, 150.0])
    assert_allclose(variance, value / 50)


def test_the_better_result_wins_where_it_is_better_everywhere() -> None:
    assert choose(simulated((10.0, 0.02), (30.0, 0.06)))[0] == PROFILE
    assert choose(simulated((30.0, 0.06), (10.0, 0.02)))[0] == SUMMATION


def test_a_crossover_wins_where_profile_is_better_for_weak_and_sum_for_strong() -> None:
    case = simulated((10.0, 0.2), (200.0, 0.02))
    imid, tried = choose(case)
    assert imid not in (PROFILE, SUMMATION) and tried[imid] == min(tried.values())
    # errors are equal at about 1000: the crossover is of that order
    assert 300 < imid < 10_000

    def relative_error(candidate: float) -> float:
        value = combined_intensities(case["integrated"], candidate)[0] / case["g"]
        return float(np.mean(np.abs(value - case["truth"]) / np.sqrt(case["truth"])))

    assert relative_error(imid) < min(relative_error(PROFILE), relative_error(SUMMATION))


def test_r_meas_of_the_candidates_is_that_of_a_plain_loop() -> None:
    case = simulated((10.0, 0.2), (200.0, 0.02), seed=9)
    use = np.random.default_rng(1).random(case["g"].size) < 0.8
    data, g = case["integrated"], case["g"]
    use_rows = (
        use & (data.profile > np.sqrt(data.profile_variance)) & (data.summation > np.sqrt(data.summation_variance))
    )
    tried = choose(case, use)[1]
    assert len(tried) > 3
    for imid, r_meas in tried.items():
        value, variance = combined_intensities(data, imid)
        value, variance = value / g, variance / g**2
        above = below = 0.0
        for k in range(case["offsets"].size - 1):
            rows = [i for i in range(case["offsets"][k], case["offsets"][k + 1]) if use_rows[i]]
            if len(rows) < 2:
                continue
            mean = sum(value[i] / variance[i] for i in rows) / sum(1 / variance[i] for i in rows)
            above += math.sqrt(len(rows) / (len(rows) - 1)) * sum(abs(value[i] - mean) for i in rows)
            below += sum(value[i] for i in rows)
        assert r_meas == pytest.approx(above / below, rel=1e-9)


def test_nothing_to_compare() -> None:
    case = simulated((10.0, 0.02), (30.0, 0.06))
    imid, tried = choose(case, np.zeros(case["g"].size, np.bool_))
    assert imid == PROFILE and tried.keys() == {PROFILE} and math.isnan(tried[PROFILE])
    single = {**case, "offsets": np.arange(case["g"].size + 1)}
    imid, tried = choose(single)
    assert imid == PROFILE and all(math.isnan(r) for r in tried.values())
