"""A job: experiments, and the reflections that belong to each of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, pairwise
from pathlib import Path

import numpy as np

from .data_set_text import data_set_label, identifiers_text, positions_text
from .errors import DataError, UsageError
from .experiment import Experiment, ExperimentList
from .io.atomic import PathLike
from .io.expt import read_expt
from .io.formats import FORMATS, HEAD_SIZE, format_of
from .io.imported import InputDecision, add_neutral_columns, decision_texts, experiments_and_tables
from .io.pickle_table import is_pickle
from .io.refl import GZIP_MAGIC, read_refl
from .io.unpacked import unpacked_head
from .options.importing import InputOptions
from .progress import report_progress
from .reflections import ReflectionTable
from .typing import IntArray

__all__ = [
    "DataSet",
    "InputFiles",
    "Job",
    "combine_tables",
    "data_set_label",
    "identifiers_text",
    "job_of_files",
    "load_job",
    "make_job",
    "positions_text",
    "read_files",
]

_logger = logging.getLogger(__name__)


@dataclass(repr=False)
class DataSet:
    """The reflections of one experiment. The column `id` holds `experiment_index`."""

    identifier: str
    experiment: Experiment
    experiment_index: int
    reflections: ReflectionTable

    def __repr__(self) -> str:
        return f"<DataSet '{self.identifier}': {len(self.reflections)} reflections>"


@dataclass(repr=False)
class Job:
    """What was read: one data set per experiment, in the order of the experiments.

    Attributes
    ----------
    identifier_changes
        Old and new identifier of each data set whose identifier occurred before.
    sources
        The files, as they were named.
    n_unindexed
        How many rows were dropped because they belong to no experiment (a negative `id`).
    input_decisions
        What was decided in reading files of other programs, by the identifier of the data set.
    """

    experiments: ExperimentList
    data_sets: list[DataSet]
    identifier_changes: list[tuple[str, str]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    n_unindexed: int = 0
    input_decisions: dict[str, tuple[InputDecision, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        from .notebook import job_line

        return job_line(self)

    def _repr_html_(self) -> str:
        from .notebook import job_html

        return job_html(self)

    @property
    def identifiers(self) -> list[str]:
        """Identifier of each data set."""
        return [d.identifier for d in self.data_sets]

    def select(self, indices: Iterable[int]) -> Job:
        """Return the job of some data sets only, renumbered in the given order."""
        chosen = list(indices)
        tables = [self.data_sets[i].reflections for i in chosen]
        return self.replaced(self.experiments.select(chosen), tables)

    def replaced(self, experiments: ExperimentList, tables: Sequence[ReflectionTable]) -> Job:
        """Return a job of other experiments and their tables, from the same files."""
        data_sets = _data_sets(experiments, tables)
        return replace(self, experiments=experiments, data_sets=data_sets)


@dataclass
class _Part:
    """Rows of one `id` of one file."""

    table: ReflectionTable
    identifier: str
    where: str


@dataclass
class InputFiles:
    """What is in files: experiment lists and tables of DIALS, and both of each file of another program.

    Attributes
    ----------
    lists, tables
        Those of DIALS, which may be matched by order, and those of other programs, together.
    imported
        Of each file of another program: experiments, their tables, and what was decided about each experiment.
    missing
        What data sets of other programs lack so that they could be scaled, each once.
    """

    lists: list[ExperimentList] = field(default_factory=list)
    tables: list[ReflectionTable] = field(default_factory=list)
    imported: list[tuple[ExperimentList, list[ReflectionTable], list[tuple[InputDecision, ...]]]] = field(
        default_factory=list
    )
    missing: list[str] = field(default_factory=list)

    def all_lists(self) -> list[ExperimentList]:
        """Experiment lists, those of other programs last."""
        return self.lists + [experiments for experiments, _, _ in self.imported]

    def all_tables(self) -> list[ReflectionTable]:
        """Tables in the order of `all_lists`."""
        return self.tables + [table for _, tables, _ in self.imported for table in tables]


def load_job(paths: Sequence[PathLike], options: InputOptions | None = None) -> Job:
    """Read experiments and reflections, and match them.

    Tables are split by `id`; the parts are matched to the experiments by identifier where all of both have
    one, else by order. Data sets without an identifier, and those whose identifier occurred before, get the
    lowest free integer. Files of other programs hold both; their data sets come last.

    Raises
    ------
    UsageError
        If a file cannot be opened.
    DataError
        If a file is corrupt or of no known kind, or experiments and reflections do not match, or data sets of other
        programs lack what scaling needs.
    """
    files = read_files(paths, options)
    if files.missing:
        raise DataError(files.missing[0])
    job = job_of_files(files, paths)
    for text, is_warning in decision_texts(job.input_decisions):
        _logger.log(logging.WARNING if is_warning else logging.INFO, "%s", text)
    return job


def job_of_files(files: InputFiles, paths: Sequence[PathLike]) -> Job:
    """Return the job of files that have been read, as `load_job` does, whatever they lack for scaling.

    Raises
    ------
    DataError
        If experiments and reflections do not match.
    """
    names = ", ".join(str(p) for p in paths) or "no files"
    if bool(files.lists) != bool(files.tables) or not (files.lists or files.imported):
        missing = "experiments (.expt)" if not files.lists else "reflections (.refl)"
        raise DataError(f"{names}: no {missing} among the input files")
    job = make_job(ExperimentList.concatenate(files.all_lists()), files.all_tables(), paths)
    decisions = [d for _, _, of_file in files.imported for d in of_file]
    if decisions:
        job.input_decisions = dict(zip(job.identifiers[-len(decisions) :], decisions, strict=True))
    return job


def make_job(experiments: ExperimentList, tables: Sequence[ReflectionTable], sources: Sequence[PathLike] = ()) -> Job:
    """Match tables with experiments, as `load_job` does with what it read from `sources`.

    Raises
    ------
    DataError
        If they do not match, or there are no reflections.
    """
    names = ", ".join(str(p) for p in sources) or "no files"
    parts, n_unindexed = _split_tables(tables, set(experiments.identifiers))
    _logger.info("Found %d reflection tables & %d experiments in total.", len(parts), len(experiments))
    if not experiments or not sum(len(p.table) for p in parts):
        raise DataError(f"{names}: no {'reflections with an experiment' if len(experiments) else 'experiments'}")
    parts = _match(parts, experiments)
    changes = _assign_identifiers(experiments, parts)
    data_sets = _data_sets(experiments, [p.table for p in parts])
    _logger.info("Dataset ids are: %s", positions_text(range(len(data_sets))))
    _logger.info("Dataset unique identifiers are %s", identifiers_text(experiments.identifiers))
    return Job(experiments, data_sets, changes, [str(p) for p in sources], n_unindexed)


def read_files(paths: Sequence[PathLike], options: InputOptions | None = None) -> InputFiles:
    """Read files, telling their kinds by their content.

    Raises
    ------
    UsageError
        If a file cannot be opened.
    DataError
        If a file is corrupt or of no known kind.
    """
    files = InputFiles()
    for number, path in enumerate(paths):
        report_progress("read", number / len(paths), f"reading {Path(path).name}")
        head = _head(path)
        other = format_of(head)
        if other is not None:
            data_sets = other.read(Path(path), options or InputOptions())
            experiments, tables = experiments_and_tables(data_sets)
            files.imported.append((experiments, tables, [tuple(d.decisions) for d in data_sets]))
            files.missing += [m for m in dict.fromkeys(d.missing for d in data_sets) if m]
        elif _is_json(path, head):
            files.lists.append(read_expt(path))
        else:
            files.tables.append(read_refl(path))
    return files


def _head(path: PathLike) -> bytes:
    if not Path(path).is_file():
        reason = "is not a regular file" if Path(path).exists() else "no such file"
        raise UsageError(f"{path}: {reason}")
    try:
        with Path(path).open("rb") as file:
            return file.read(HEAD_SIZE)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


def _is_json(path: PathLike, head: bytes) -> bool:
    """Tell JSON from tables by the first bytes; what is neither is refused."""
    start = head[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    packed = unpacked_head(head, HEAD_SIZE) if start[:2] == GZIP_MAGIC else b""
    if packed[:1] == b"{" or format_of(packed):
        raise DataError(f"{path}: is packed, as only files of XDS and reflection tables may be; unpack it with gunzip")
    if start[:1] in (b"{", b"["):
        return True
    if start[:1] in (b"\x93", b"\x89") or start[:2] == GZIP_MAGIC or is_pickle(start) or not start:
        return False
    known = ", ".join(f.name for f in FORMATS)
    raise DataError(f"{path}: is of no kind that pyscale reads (DIALS experiments and reflections, {known})")


def _split_tables(tables: Sequence[ReflectionTable], known: set[str]) -> tuple[list[_Part], int]:
    """Return the parts that have rows or a known identifier, and the number of rows that belong to none."""
    parts: list[_Part] = []
    n_unindexed = first_row = 0
    for table in tables:
        table.input_row = np.arange(first_row, first_row + len(table), dtype=np.int64)
        first_row += len(table)
        ids = table.require("id")
        if table.dials_type("id") != "int":
            raise DataError(f"{table.source}: column 'id' has type {table.dials_type('id')}, not int")
        n_unindexed += int(np.count_nonzero(ids < 0))
        ordered, numbers, ends = _sorted_by_id(table, ids)
        found = dict(zip(numbers, pairwise(ends), strict=True))
        named = {number for number, identifier in table.identifiers.items() if identifier in known}
        for number in sorted(found.keys() | named):
            part = ordered.select(slice(*found.get(number, (0, 0))))
            parts.append(_Part(part, table.identifiers.get(number, ""), f"{table.source} (id {number})"))
    return parts, n_unindexed


def _sorted_by_id(table: ReflectionTable, ids: IntArray) -> tuple[ReflectionTable, list[int], list[int]]:
    """The table with the rows of each id together, the ids that are not negative, and where each begins and ends."""
    table = table.copy()
    table.identifiers = {}
    if (ids[1:] < ids[:-1]).any():
        order = np.argsort(ids, kind="stable")
        table, ids = table.select(order), ids[order]
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])) if ids.size else np.zeros(0, np.int64)
    starts = starts[ids[starts] >= 0]
    return table, ids[starts].tolist(), [*starts.tolist(), ids.size]


def _match(parts: list[_Part], experiments: ExperimentList) -> list[_Part]:
    """Return the parts in the order of the experiments."""
    if len(parts) != len(experiments):
        raise DataError(
            f"found {len(parts)} reflection tables (by file and id: {_listed([p.where for p in parts])}) but "
            f"{len(experiments)} experiments; give the files that belong together"
        )
    wanted, given = experiments.identifiers, [p.identifier for p in parts]
    if not all(wanted) or not all(given):
        for part, experiment in zip(parts, experiments, strict=True):
            if part.identifier and experiment.identifier and part.identifier != experiment.identifier:
                raise DataError(
                    f"{part.where}: has identifier '{part.identifier}', but experiment "
                    f"{experiment.index} has '{experiment.identifier}'"
                )
        return parts
    waiting: dict[str, list[_Part]] = {}
    for part in parts:
        waiting.setdefault(part.identifier, []).append(part)
    matched = [waiting[w].pop(0) for w in wanted if waiting.get(w)]
    if len(matched) != len(wanted):
        without = _listed(sorted(set(wanted) - set(given)) or wanted)
        left = _listed([p.identifier for left in waiting.values() for p in left])
        raise DataError(f"identifiers do not match: experiments {without} lack reflections, tables {left} experiments")
    return matched


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown}, ... ({len(names)} in all)"


def _assign_identifiers(experiments: ExperimentList, parts: Sequence[_Part]) -> list[tuple[str, str]]:
    wanted = [e.identifier or p.identifier for e, p in zip(experiments, parts, strict=True)]
    reserved = set(wanted)
    free = (name for name in map(str, count()) if name not in reserved)
    taken: set[str] = set()
    changes = []
    for i, identifier in enumerate(wanted):
        new = identifier if identifier and identifier not in taken else next(free)
        if identifier and new != identifier:
            changes.append((identifier, new))
            _logger.info("Dataset %d: identifier '%s' occurred before and is now '%s'", i, identifier, new)
        taken.add(new)
        experiments.set_identifier(i, new)
    return changes


def _data_sets(experiments: ExperimentList, tables: Sequence[ReflectionTable]) -> list[DataSet]:
    data_sets = []
    for i, (experiment, table) in enumerate(zip(experiments, tables, strict=True)):
        renumbered = table.copy()
        number = table.get("id")
        if number is None or number.dtype != np.int32 or (number != i).any():
            renumbered["id"] = np.full(len(table), i, np.int32)
        renumbered.identifiers = {i: experiment.identifier}
        data_sets.append(DataSet(experiment.identifier, experiment, i, renumbered))
    return data_sets


def combine_tables(job: Job, tables: Sequence[ReflectionTable]) -> ReflectionTable:
    """Join one table per data set of a job into one.

    Parameters
    ----------
    job
        The job; its experiments are what is written beside the table.
    tables
        Reflections of each data set, in the order of `job.data_sets`.

    Returns
    -------
    ReflectionTable
        Ids are 0 to N - 1, `imageset_id` is the number of the experiment's image set. Rows are in the order
        of the input files, or of the tables if their origin is unknown.

    Raises
    ------
    ValueError
        If there is not one table per data set.
    """
    if len(tables) != len(job.data_sets):
        raise ValueError(f"{len(tables)} tables for {len(job.data_sets)} data sets")
    parts = [table.copy() for table in tables]
    for part in parts:
        part.identifiers = {}
    if job.input_decisions:
        add_neutral_columns(parts)
    combined = ReflectionTable.concatenate(parts)
    sizes = [len(table) for table in tables]
    combined.identifiers = dict(enumerate(job.experiments.identifiers))
    combined["id"] = np.repeat(np.arange(len(tables), dtype=np.int32), sizes)
    if "imageset_id" in combined:
        numbers = [(d.experiment_index, d.experiment.imageset_index) for d in job.data_sets]
        imagesets = [k if imageset is None else imageset for k, imageset in numbers]
        combined["imageset_id"] = np.repeat(np.array(imagesets, np.int32), sizes)
    if combined.input_row is None:
        return combined
    if bool((np.diff(combined.input_row) == 1).all()):
        return combined
    return combined.select(np.argsort(combined.input_row, kind="stable"))
