"""Data sets by identifier or position, and identifiers by hand."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import pyscale
from pyscale.dataset import Job
from pyscale.dataset_selection import DataSetNames, assign_identifiers, select_data_sets, split_words
from pyscale.errors import UsageError
from pyscale.experiment import ExperimentList
from pyscale.options import options_from_keywords


@pytest.fixture(scope="module")
def job() -> Job:
    """Three sweeps, called 0, 1 and 2."""
    data = pyscale.simulate(d_min=8.0, sweep_width=20.0, oscillation_width=1.0, n_sweeps=3, seed=3)
    simulated = pyscale.dataset.make_job(data.experiments(), [data.reflections()])
    return assign_identifiers(simulated, ["0 1 2"])


@pytest.mark.parametrize(
    ("identifiers", "text", "expected"),
    [
        (("a", "b", "c"), "b", 1),
        (("a", "b", "c"), "2", 2),
        (("a", "b", "c"), "#0", 0),
        (("2", "1", "0"), "2", 0),
        (("2", "1", "0"), "#2", 2),
        (("7", "8"), "7", 0),
        (("#1", "b"), "#1", 0),
    ],
)
def test_identifier_wins_over_position(identifiers: tuple[str, ...], text: str, expected: int) -> None:
    assert DataSetNames(identifiers).position(text, "use_datasets") == expected


def test_a_note_tells_of_the_choice(caplog: pytest.LogCaptureFixture) -> None:
    names = DataSetNames(("1", "0"))
    with caplog.at_level(logging.INFO):
        assert names.position("1", "use_datasets") == 0
    (record,) = caplog.records
    assert "identifier of data set 0" in record.getMessage()
    assert record.notice
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert DataSetNames(("0", "1")).position("1", "use_datasets") == 1
        assert names.position("#1", "use_datasets") == 1
    assert not caplog.records


@pytest.mark.parametrize("text", ["3", "#3", "x", "#", "-1", "99999999999999999999"])
def test_unknown_data_set(text: str) -> None:
    with pytest.raises(UsageError, match=r"exclude_datasets: there is no data set .* \(there are 0: a, 1: b, 2: c\)"):
        DataSetNames(("a", "b", "c")).position(text, "exclude_datasets")


@pytest.mark.parametrize("values", [("0 2",), ("0,2",), ("0", "2"), ("2", "0", "0"), ("#0, #2",)])
def test_several_data_sets(job: Job, values: tuple[str, ...]) -> None:
    assert select_data_sets(job, values, None).identifiers == ["0", "2"]
    assert select_data_sets(job, None, values).identifiers == ["1"]


def test_numbers_in_python(job: Job) -> None:
    options = options_from_keywords(exclude_datasets=[0, 2]).dataset_selection
    assert options.exclude_datasets == ("0", "2")
    assert options_from_keywords(use_datasets=1).dataset_selection.use_datasets == ("1",)
    with pytest.raises(UsageError, match="expected list of texts"):
        options_from_keywords(use_datasets=[True])


def test_identifier_with_spaces(job: Job) -> None:
    named = assign_identifiers(job, ["first sweep", "b,c", "0"])
    assert named.identifiers == ["first sweep", "b,c", "0"]
    assert select_data_sets(named, ["first sweep"], None).identifiers == ["first sweep"]
    assert select_data_sets(named, None, ["b,c", "2"]).identifiers == ["first sweep"]


@pytest.mark.parametrize(
    ("use", "exclude", "message"),
    [
        (["0"], ["1"], "cannot be given together"),
        (["3"], None, "no data set 3"),
        (None, ["0 9"], "no data set 9"),
        (None, ["0,1,2"], "no data set is left"),
        ([], None, "names no data set"),
    ],
)
def test_wrong_selection(job: Job, use: list[str] | None, exclude: list[str] | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        select_data_sets(job, use, exclude)


def test_rows_follow_their_data_set(job: Job) -> None:
    selected = select_data_sets(job, ["2"], None)
    table = selected.data_sets[0].reflections
    assert len(table) == len(job.data_sets[2].reflections)
    assert np.unique(table["id"]).tolist() == [0]
    assert table.identifiers == {0: "2"}


@pytest.mark.parametrize(
    ("identifiers", "message"),
    [(["a b"], "2 identifiers for 3"), (["a", "b", "a"], "a is given to two"), (["a", " ", "c"], "is empty")],
)
def test_wrong_identifiers(job: Job, identifiers: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assign_identifiers(job, identifiers)
    assert job.identifiers == ["0", "1", "2"]


def test_image_ranges_follow_identifiers_that_swap(job: Job) -> None:
    """Two experiments of one scan."""
    document = dict(job.experiments.document)
    scan = {**document["scan"][0], "valid_image_ranges": {"0": [[1, 5]], "1": [[6, 9]]}}
    document["scan"] = [scan]
    document["experiment"] = [{**e, "scan": 0} for e in document["experiment"][:2]]
    shared = Job(ExperimentList(document), job.data_sets[:2])
    swapped = assign_identifiers(shared, ["1", "0"])
    assert [e.valid_image_ranges for e in swapped.experiments] == [[(1, 5)], [(6, 9)]]
    assert swapped.identifiers == ["1", "0"]


def test_words() -> None:
    assert split_words([" 0:1:2,1:3:4  5", "a", ",", ""]) == ["0:1:2", "1:3:4", "5", "a"]
