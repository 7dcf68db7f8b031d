"""Jobs: splitting by id, matching with experiments, identifiers, and joining again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import pyscale
from pyscale.dataset import Job, combine_tables
from pyscale.errors import DataError, UsageError
from pyscale.experiment import ExperimentList
from pyscale.io.expt import write_expt
from pyscale.io.refl import write_refl
from pyscale.reflections import ReflectionTable


def experiments(*identifiers: str) -> ExperimentList:
    n = len(identifiers)
    entries: list[dict[str, Any]] = [{"identifier": x, "scan": i, "imageset": i} for i, x in enumerate(identifiers)]
    scans = [{"image_range": [1, 9], "valid_image_ranges": {x: [[2, 8]]} if x else {}} for x in identifiers]
    return ExperimentList({"experiment": entries, "scan": scans, "imageset": [{}] * n})


def table(ids: list[int], identifiers: dict[int, str] | None = None, first: int = 0) -> ReflectionTable:
    result = ReflectionTable(identifiers=identifiers)
    result["id"] = np.array(ids, np.int32)
    result["imageset_id"] = np.array(ids, np.int32)
    result["d"] = np.arange(first, first + len(ids), dtype=np.float64)
    return result


class Folder:
    """Writes inputs and reads them as a job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: list[Path] = []

    def add(self, item: ExperimentList | ReflectionTable) -> Folder:
        # The names tell nothing about the kind of file.
        self.names.append(self.path / f"{len(self.names)}.dat")
        if isinstance(item, ExperimentList):
            write_expt(item, self.names[-1])
        else:
            write_refl(item, self.names[-1])
        return self

    def read(self) -> Job:
        return pyscale.read(*self.names)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def rows(job: Job) -> list[list[float]]:
    return [d.reflections["d"].tolist() for d in job.data_sets]


def test_a_table_is_split_by_id(folder: Folder) -> None:
    job = folder.add(table([1, -1, 0, 1, 0])).add(experiments("", "")).read()
    assert rows(job) == [[2, 4], [0, 3]]
    assert job.n_unindexed == 1
    assert job.identifiers == ["0", "1"]
    assert job.identifier_changes == []
    assert [d.experiment.identifier for d in job.data_sets] == ["0", "1"]
    assert [d.reflections.identifiers for d in job.data_sets] == [{0: "0"}, {1: "1"}]
    assert job.sources == [str(n) for n in folder.names]


def test_identifiers_decide_before_order(folder: Folder) -> None:
    folder.add(experiments("b", "a")).add(table([4, 5], {4: "a", 5: "b"}))
    assert rows(folder.read()) == [[1], [0]]


def test_order_decides_where_identifiers_are_missing(folder: Folder) -> None:
    folder.add(experiments("b")).add(experiments("a")).add(table([0])).add(table([0, 0], first=5))
    job = folder.read()
    assert rows(job) == [[0], [5, 6]]
    assert job.identifiers == ["b", "a"]
    assert job.data_sets[0].reflections.identifiers == {0: "b"}


def test_the_tables_identifier_names_an_experiment_without_one(folder: Folder) -> None:
    job = folder.add(experiments("", "")).add(table([0, 1], {0: "1"})).read()
    assert job.identifiers == ["1", "0"]


def test_later_duplicates_get_the_next_free_integer(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for first, identifier in enumerate(["0", "x", "x", "0"]):
        folder.add(experiments(identifier)).add(table([0], {0: identifier}, first=first))
    job = folder.read()
    assert job.identifiers == ["0", "x", "1", "2"]
    assert job.identifier_changes == [("x", "1"), ("0", "2")]
    assert rows(job) == [[0], [1], [2], [3]]
    assert [d.experiment.valid_image_ranges for d in job.data_sets] == [[(2, 8)]] * 4
    assert "Found 4 reflection tables & 4 experiments in total." in caplog.text
    assert "Dataset ids are: 0,1,2,3" in caplog.text
    assert "Dataset unique identifiers are ['0', 'x', '1', '2']" in caplog.text


def test_an_experiment_named_in_the_table_may_have_no_rows(folder: Folder) -> None:
    job = folder.add(experiments("a", "b")).add(table([0], {0: "a", 1: "b", 2: "gone"})).read()
    assert rows(job) == [[0], []]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (
            [experiments("a"), table([0, 1])],
            r"found 2 reflection tables .*1\.dat \(id 1\)\) but 1 experiments",
        ),
        ([experiments("a", "b"), table([0])], "found 1 reflection tables .* but 2 experiments"),
        ([experiments("a"), table([0], {0: "b"})], "experiments a lack reflections, tables b experiments"),
        ([experiments("a", ""), table([0, 1], {0: "b"})], "has identifier 'b', but experiment 0 has 'a'"),
        ([experiments("a")], "no reflections"),
        ([table([0])], "no experiments"),
        ([experiments(), table([0])], "no experiments"),
        ([experiments("a"), table([])], "no reflections with an experiment"),
        ([experiments("a"), table([-1, -1])], "no reflections with an experiment"),
        ([], "no files: no experiments"),
    ],
)
def test_what_does_not_match_is_refused(
    folder: Folder, items: list[ExperimentList | ReflectionTable], message: str
) -> None:
    for item in items:
        folder.add(item)
    with pytest.raises(DataError, match=message):
        folder.read()


def test_files_of_no_known_kind_are_refused(folder: Folder) -> None:
    path = folder.path / "x.refl"
    path.write_text("plain text")
    with pytest.raises(DataError, match=r"x\.refl: is of no kind that pyscale reads"):
        pyscale.read(path)
    with pytest.raises(UsageError, match="none: no such file"):
        pyscale.read(folder.path / "none")
    with pytest.raises(UsageError, match="is not a regular file"):
        pyscale.read(folder.path)


def test_a_table_without_ids_is_refused(folder: Folder) -> None:
    bare = table([0])
    del bare["id"]
    with pytest.raises(DataError, match=r"1\.dat: column 'id' is missing"):
        folder.add(experiments("a")).add(bare).read()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_joining_restores_the_rows_in_the_order_of_the_input(tmp_path: Path, data: st.DataObject) -> None:
    folder = Folder(tmp_path)
    n_tables = data.draw(st.integers(1, 3))
    ids = [data.draw(st.permutations([0, 1, *data.draw(st.lists(st.integers(-1, 1)))])) for _ in range(n_tables)]
    for k, one in enumerate(ids):
        folder.add(table(list(one), first=100 * k)).add(experiments("", ""))
    job = folder.read()
    combined = combine_tables(job, [d.reflections for d in job.data_sets])
    expected = [(2 * k + i, 100.0 * k + r) for k, one in enumerate(ids) for r, i in enumerate(one) if i >= 0]
    assert list(zip(combined["id"].tolist(), combined["d"].tolist(), strict=True)) == expected
    assert_array_equal(combined["imageset_id"], combined["id"])
    assert combined.identifiers == dict(enumerate(job.identifiers))


def test_rows_that_were_dropped_or_reordered_keep_their_place(folder: Folder) -> None:
    job = folder.add(table([1, 0, 1, 0, 1])).add(experiments("a", "b")).read()
    tables = [job.data_sets[0].reflections.select([1, 0]), job.data_sets[1].reflections.select([0, 2])]
    assert combine_tables(job, tables)["d"].tolist() == [0, 1, 3, 4]


def test_selected_data_sets_are_renumbered(folder: Folder) -> None:
    job = folder.add(table([0, 1, 2])).add(experiments("a", "b", "c")).read().select([2, 0])
    assert job.identifiers == ["c", "a"]
    assert [d.experiment_index for d in job.data_sets] == [0, 1]
    combined = combine_tables(job, [d.reflections for d in job.data_sets])
    assert combined["d"].tolist() == [0, 2]
    assert combined["id"].tolist() == [1, 0]
    assert combined["imageset_id"].tolist() == [0 if i == 1 else 1 for i in combined["id"]]
    assert combined.identifiers == {0: "c", 1: "a"}


def test_a_contiguous_part_is_not_copied(folder: Folder) -> None:
    job = folder.add(table([0, 0, 1])).add(experiments("a", "b")).read()
    assert not any(d.reflections["d"].flags.owndata for d in job.data_sets)


@pytest.mark.data
def test_four_sweeps_without_identifiers(data_root: Path) -> None:
    sweeps = [data_root / f"l_cysteine/{n}_integrated" for n in (20, 25, 30, 35)]
    job = pyscale.read(*(s.with_suffix(x) for s in sweeps for x in (".expt", ".refl")))
    assert job.identifiers == ["0", "1", "2", "3"]
    assert job.n_unindexed + sum(len(d.reflections) for d in job.data_sets) == 20743


@pytest.mark.data
def test_five_stills_in_one_table(data_root: Path) -> None:
    stem = data_root / "cunir_stills/integrated"
    job = pyscale.read(stem.with_suffix(".refl"), stem.with_suffix(".expt"))
    assert [len(d.reflections) for d in job.data_sets] == [704, 554, 2472, 580, 893]
    assert all(d.experiment.is_still for d in job.data_sets)
