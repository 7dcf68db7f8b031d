"""Which sweeps count as one crystal: shared models, equal cells, and what the user says."""

from __future__ import annotations

from typing import Any

import pytest

from pyscale import ScalingResult, scale, simulate
from pyscale.dataset import Job, make_job
from pyscale.experiment import Experiment, ExperimentList
from pyscale.options import AUTO
from pyscale.same_crystal import crystal_groups


def crystal(a: float = 50.0, c: float = 80.0, start: float = 0.0) -> dict[str, Any]:
    return {
        "real_space_a": [a, 0.0, 0.0],
        "real_space_b": [0.0, 60.0, 0.0],
        "real_space_c": [start, 0.0, c],
        "space_group_hall_symbol": " P 1",
    }


def experiments(crystals: list[dict[str, Any]], uses: list[int] | None = None, width: float = 0.5) -> list[Experiment]:
    """Sweeps (stills if the width is 0), each with the crystal of its own number unless told otherwise."""
    uses = list(range(len(crystals))) if uses is None else uses
    document = {
        "__id__": "ExperimentList",
        "crystal": crystals,
        "goniometer": [{"rotation_axis": [1, 0, 0]}],
        "scan": [{"image_range": [1, 10], "oscillation": [0.0, width]}],
        "experiment": [
            {"__id__": "Experiment", "identifier": str(k), "crystal": use, "goniometer": 0, "scan": 0}
            for k, use in enumerate(uses)
        ],
    }
    return list(ExperimentList(document))


def members(found: list[Experiment], same_crystal: Any = AUTO) -> list[tuple[int, ...]]:
    return [g.members for g in crystal_groups(found, same_crystal)]


def test_sweeps_with_one_crystal_model_are_of_one_crystal() -> None:
    many = experiments([crystal(50.0), crystal(70.0)], uses=[k % 2 for k in range(12)])
    assert members(many) == [tuple(range(0, 12, 2)), tuple(range(1, 12, 2))]
    assert {g.reason for g in crystal_groups(many, AUTO)} == {"they share a crystal model"}


def test_equal_crystal_models_count_as_one() -> None:
    assert members(experiments([crystal()] * 11)) == [tuple(range(11))]


def test_cells_within_one_percent_at_most_ten_sweeps() -> None:
    close = [crystal(50.0 + 0.05 * k) for k in range(10)]
    assert members(experiments(close)) == [tuple(range(10))]
    assert members(experiments([*close, crystal(50.5)])) == [(k,) for k in range(11)]
    assert members(experiments([crystal(99.0), crystal(100.0)])) == [(0, 1)]
    assert members(experiments([crystal(98.99), crystal(100.0)])) == [(0,), (1,)]


def test_every_parameter_counts_angles_too() -> None:
    assert members(experiments([crystal(c=80.0), crystal(c=81.0)])) == [(0,), (1,)]
    assert members(experiments([crystal(start=0.0), crystal(start=1.0)])) == [(0, 1)]
    assert members(experiments([crystal(start=0.0), crystal(start=1.5)])) == [(0,), (1,)]


def test_cells_that_differ_only_by_steps_are_no_chain() -> None:
    """Each cell must agree with all others of its group."""
    assert members(experiments([crystal(100.0), crystal(100.8), crystal(101.6)])) == [(0, 1), (2,)]


def test_the_users_word_counts() -> None:
    different, equal = experiments([crystal(50.0), crystal(70.0)]), experiments([crystal()], uses=[0, 0])
    assert members(different, True) == [(0, 1)]
    assert members(equal, False) == [(0,), (1,)]


def test_stills_are_in_no_group() -> None:
    for choice in (AUTO, True, False):
        assert members(experiments([crystal()], uses=[0, 0], width=0.0), choice) == []


@pytest.fixture(scope="module")
def job() -> Job:
    """Three sweeps of 25 deg of one crystal."""
    data = simulate(n_sweeps=3, sweep_width=25.0, same_crystal=True, d_min=3.0, seed=3)
    return make_job(data.experiments(), [data.reflections()])


def absorption(result: ScalingResult) -> list[bool]:
    return [m.has_absorption for m in result.models]


def test_a_job_decides_by_the_summed_rotation(job: Job) -> None:
    together = scale(job)
    assert absorption(together) == [True] * 3
    reason = together.to_dict()["decisions"][together.job.identifiers[0]]["absorption"]["reason"]
    assert "3 sweeps of one crystal" in reason and "together 75 deg" in reason
    assert absorption(scale(job, same_crystal=False)) == [False] * 3
    assert absorption(scale(job, physical={"absorption_correction": False})) == [False] * 3
