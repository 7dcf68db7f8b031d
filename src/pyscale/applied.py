"""Stored scaling models evaluated on reflections, without a fit."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from ._core import __version__
from .dataset import DataSet, Job, combine_tables, make_job, read_files
from .errors import DataError
from .evaluation import ModelOnRows, read_model
from .experiment import Experiment, ExperimentList
from .integration import integrated_intensities
from .intensity_choice import PROFILE, combined_intensities
from .io.atomic import OutputSet
from .io.expt import read_expt, write_expt
from .io.refl import write_refl
from .model_frame import SurfaceFrame, surface_frame
from .options import AUTO
from .preparation import UnitCell, median_unit_cell
from .reflections import ReflectionTable
from .scaling_model import DataSetModel
from .threads import thread_count
from .typing import BoolArray, FloatArray

__all__ = ["AppliedModels", "apply_files", "apply_models"]

_logger = logging.getLogger(__name__)

_SAME_SCALE = 1e-9


@dataclass(frozen=True)
class _AppliedDataSet:
    """A table with its new columns, which rows the model could be evaluated for, and the frame of its surface."""

    table: ReflectionTable
    model: DataSetModel
    evaluated: BoolArray
    frame: SurfaceFrame


class AppliedModels:
    """Reflections with the inverse scale factors of stored models.

    Attributes
    ----------
    job : Job
        The data sets; their experiments carry the models.
    table : ReflectionTable
        All reflections in the order of the input.
    """

    def __init__(self, job: Job, applied: Sequence[_AppliedDataSet]) -> None:
        self.job = job
        self._applied = list(applied)
        self.table = combine_tables(job, [a.table for a in applied])

    def __repr__(self) -> str:
        n = sum(int(a.evaluated.sum()) for a in self._applied)
        return f"<AppliedModels: {len(self._applied)} data sets, {n} of {len(self.table)} reflections have a scale>"

    @property
    def inverse_scale_factor(self) -> FloatArray:
        """Inverse scale factor g of every row of `table`, (n,) float64; 1 where the model cannot be evaluated."""
        return np.asarray(self.table["inverse_scale_factor"], dtype=np.float64)

    @property
    def experiments(self) -> ExperimentList:
        """The experiments with the models as they were stored."""
        experiments = self.job.experiments.select(range(len(self.job.experiments)))
        stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        experiments.add_history(f"{stamp}|pyscale apply|{__version__}|")
        return experiments

    def write_outputs(
        self, output: Any, inputs: Iterable[str | os.PathLike[str]] = (), named_outputs: Collection[str] = ()
    ) -> None:
        """Write experiments and reflections, both or neither.

        Parameters
        ----------
        output
            Has the paths `experiments` and `reflections`; None: not written.
        inputs
            Files that must not be overwritten unless named as output.
        named_outputs
            Dotted names of the output options that the user has set.

        Raises
        ------
        UsageError
            If an output cannot be written or would overwrite an input.
        """
        with OutputSet(inputs) as outputs:
            if output.experiments is not None:
                named = "output.experiments" in named_outputs
                write_expt(self.experiments, outputs.stage(output.experiments, named_as_output=named))
            if output.reflections is not None:
                named = "output.reflections" in named_outputs
                write_refl(self.table, outputs.stage(output.reflections, named_as_output=named))

    def summary(self) -> str:
        """One line per data set: its model, how many reflections got a scale, and the range of g."""
        lines = []
        for data_set, a in zip(self.job.data_sets, self._applied, strict=True):
            g = a.table["inverse_scale_factor"][a.evaluated]
            spread = f", inverse scale factors {g.min():.4g} to {g.max():.4g}" if g.size else ""
            frame = f", absorption in {a.frame.name}" if a.model.has_absorption and a.frame.legacy else ""
            lines.append(
                f"data set {data_set.identifier}: model {a.model.model}{frame}, {g.size} of {len(a.table)} "
                f"reflections{spread}"
            )
        return "\n".join(lines)


def apply_files(
    model: str | os.PathLike[str], files: Sequence[str | os.PathLike[str]], options: Any = None
) -> AppliedModels:
    """Evaluate the scaling models stored with experiments on reflections.

    The column `inverse_scale_factor` is replaced: g of the model for every row with a Miller index, a finite
    centroid and (with an absorption surface) a finite `s1`, 1 for the others. `inverse_scale_factor_variance`
    keeps its value where the row's g is the one stored before (to 1e-9), and is 0 elsewhere, since a stored model
    has no covariance. `intensity.scale.value` and `.variance`, the intensity before division by g, are added where
    the table has none, with the crossover from profile fitting to summation that is stored with
    the model. No other column, no flag, and no row is changed.

    Nodes of smooth components lie where the model says under our own key; else where DIALS derives them from the
    suitable rows of the data set: neither user_excluded_in_scaling nor excluded_for_scaling, or, if no row was ever
    scaled, what `pyscale scale` finds suitable by default. Resolutions come from the median cell of all experiments
    of `model`, as in the job that made it.

    Absorption surfaces of DIALS before 2021 are evaluated in their own crystal frame (`model_frame`), which the file's
    age tells; where the table has the scales that were stored with the model, the frame that gives these is used.

    Parameters
    ----------
    model
        Experiments with scaling models.
    files
        Reflection tables and, if their geometry is to be used rather than that of `model`, experiments.
    options
        May have `nproc`, the number of threads.

    Raises
    ------
    UsageError
        If a file cannot be opened.
    DataError
        If a file is corrupt, data sets and models do not match, or a model cannot be evaluated.
    """
    stored = read_expt(model)
    read = read_files(files)
    lists, tables = read.all_lists(), read.all_tables()
    if not tables:
        raise DataError(f"{', '.join(map(str, files)) or 'no files'}: no reflections (.refl) among the input files")
    geometry = ExperimentList.concatenate(lists) if lists else _experiments_of(tables, stored)
    n_threads = thread_count(getattr(options, "nproc", AUTO))
    return apply_models(stored, geometry, tables, [model, *files], n_threads)


def apply_models(
    stored: ExperimentList,
    geometry: ExperimentList,
    tables: Sequence[ReflectionTable],
    sources: Sequence[str | os.PathLike[str]],
    n_threads: int,
) -> AppliedModels:
    """Evaluate the scaling models of experiments, as `apply_files` does with files.

    Parameters
    ----------
    stored : ExperimentList
        With models.
    geometry : ExperimentList
        Whose geometry is used.
    tables : sequence of ReflectionTable
    sources : sequence of str
        What the models, and then all else, came from.
    n_threads : int

    Raises
    ------
    DataError
        If data sets and models do not match, or a model cannot be evaluated.
    """
    model = str(sources[0])
    with_models = _matching(geometry, stored, model)
    experiments = geometry.select(range(len(geometry)))
    for i, experiment in enumerate(with_models):
        experiments.set_scaling_model(i, experiment.scaling_model)
    _require_models(experiments, model)
    models = [read_model(e, f"{model}: experiment {e.identifier or e.index}") for e in experiments]
    frames = [surface_frame(e) for e in with_models]
    job = make_job(experiments, tables, sources)
    cell = median_unit_cell(stored)
    applied = [_apply(d, m, f, cell, n_threads) for d, m, f in zip(job.data_sets, models, frames, strict=True)]
    return AppliedModels(job, applied)


def _experiments_of(tables: Sequence[ReflectionTable], stored: ExperimentList) -> ExperimentList:
    """Return the experiments that the tables name, all of them unless each table names some."""
    named = {identifier for t in tables for identifier in t.identifiers.values()}
    known = stored.identifiers
    complete = all(t.identifiers and all(t.identifiers.values()) for t in tables)
    if complete and all(known) and named < set(known):
        return stored.select([i for i, identifier in enumerate(known) if identifier in named])
    return stored


def _matching(geometry: ExperimentList, stored: ExperimentList, source: str) -> list[Experiment]:
    """Return the stored experiment of each: by identifier, or by order if the numbers agree."""
    wanted, known = geometry.identifiers, stored.identifiers
    by_identifier = all(wanted) and len(set(known)) == len(known) and set(wanted) <= set(known)
    if not by_identifier and len(wanted) != len(known):
        raise DataError(
            f"{source}: has {len(known)} experiments, and {len(wanted)} are given whose identifiers it does not have; "
            "give experiments that belong to these models"
        )
    if not by_identifier and all(wanted) and all(known):
        _logger.warning("Identifiers of experiments and models differ: they are matched in their order")
    return [stored[known.index(identifier) if by_identifier else i] for i, identifier in enumerate(wanted)]


def _require_models(experiments: ExperimentList, source: str) -> None:
    without = [e.identifier or f"number {e.index}" for e in experiments if e.scaling_model is None]
    if without:
        listed = ", ".join(without[:5]) + (f", ... ({len(without)} in all)" if len(without) > 5 else "")
        raise DataError(f"{source}: no scaling model for experiment {listed}; give experiments written by scaling")


def _apply(
    data_set: DataSet, model: DataSetModel, frame: SurfaceFrame, cell: UnitCell, n_threads: int
) -> _AppliedDataSet:
    table = data_set.reflections.copy()
    on_rows = ModelOnRows(data_set, model, cell, n_threads)
    if model.has_absorption:
        frame = on_rows.checked_frame(frame)
    g = np.ones(len(table))
    if on_rows.rows.any():
        g[on_rows.rows] = on_rows.scales(on_rows.rows, frame.legacy)
    _require_finite(table, g)
    return _AppliedDataSet(_with_columns(table, g, model), model, on_rows.rows, frame)


def _require_finite(table: ReflectionTable, g: FloatArray) -> None:
    bad = ~np.isfinite(g)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{table.source}: the scaling model gives {g[row]:g} for row {row} ({int(bad.sum())} such rows): it does "
            "not belong to these reflections"
        )


def _with_columns(table: ReflectionTable, g: FloatArray, model: DataSetModel) -> ReflectionTable:
    old, old_variance = table.get("inverse_scale_factor"), table.get("inverse_scale_factor_variance")
    variance = np.zeros(len(table))
    if old is not None and old_variance is not None:
        variance = np.where(np.abs(old - g) <= _SAME_SCALE * np.abs(g), old_variance, 0.0)
    table["inverse_scale_factor"] = g
    table["inverse_scale_factor_variance"] = variance
    if "intensity.scale.value" not in table or "intensity.scale.variance" not in table:
        intensity, its_variance = combined_intensities(integrated_intensities(table), _imid(model))
        table["intensity.scale.value"] = np.where(np.isfinite(intensity), intensity, 0.0)
        table["intensity.scale.variance"] = np.where(np.isfinite(its_variance), its_variance, 0.0)
    return table


def _imid(model: DataSetModel) -> float:
    """Crossover from profile-fitted to summed intensities stored with a model; without one, profile."""
    imid = model.configuration.get("Imid")
    stored = isinstance(imid, (int, float)) and np.isfinite(imid) and imid >= 0
    return float(imid) if stored else PROFILE  # type: ignore[arg-type]
