"""The result of a scaling job: numbers for programs, files, and a summary for people."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ._core import __version__
from .analysis import Analyses
from .connectivity import Connectivity
from .data_limits import DataLimits
from .dataset import Job, combine_tables, identifiers_text
from .document import result_document
from .experiment import Experiment, ExperimentList
from .filtering_record import FilteringRecord
from .fitting import FitResult
from .free_set import FreeSetComparison
from .image_ranges import valid_span
from .indexing_ambiguity import IndexingAnalysis
from .io.atomic import OutputSet
from .io.expt import write_expt
from .io.refl import write_refl
from .ledger import LedgerEntry
from .model_choice import ModelChoice
from .model_json import model_to_dict
from .model_plan import ModelPlan
from .notebook import result_html, result_line
from .observations import JobObservations
from .options import ScalingOptions
from .output_table import ScaledObservations, scaled_tables
from .preparation import UnitCell
from .prepared import PreparedDataSet
from .progress import report_progress
from .reflection_selection import ReflectionSelection
from .reflections import ReflectionTable
from .scaling_model import DataSetModel
from .statistics import MergingStatistics
from .statistics_text import statistics_report
from .stored_error_models import closest_basic, error_model_configuration
from .targeting import ReferenceReport
from .typing import FloatArray

__all__ = ["ScalingResult"]

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True, repr=False)
class ScalingResult:
    """What scaling found.

    Attributes
    ----------
    job, options : Job, ScalingOptions
        What was asked.
    plans, models : list
        Auto decisions and fitted model of each data set.
    fit : FitResult
        Parameters, covariance, error model, outliers.
    statistics, statistics_with_outliers : MergingStatistics
        As merged, and with every rejected outlier put back.
    ledger : list of LedgerEntry
        What became of every observation.
    limits : DataLimits
        Resolution limits that the data give, and those applied.
    analyses : Analyses
        What the scaled data show beyond these statistics.
    model_choice : ModelChoice or None
        What model=cross_validated tried.
    connectivity : Connectivity
        Which data sets have reflections in common.
    selection : ReflectionSelection
        Which observations the models were fitted to.
    indexing : IndexingAnalysis or None
        Whether the data sets are indexed alike; None where the lattice has one indexing only.
    free_set : FreeSetComparison or None
        Groups that took no part in the fit, compared with the others.
    reference : ReferenceReport or None
        What data sets were scaled against.
    filtering : FilteringRecord or None
        What filtering.method removed, and when.
    seconds : dict of str to float
        Wall seconds per stage.
    """

    job: Job
    options: ScalingOptions
    unit_cell: UnitCell
    space_group: Any
    prepared: list[PreparedDataSet]
    plans: list[ModelPlan]
    models: list[DataSetModel]
    observations: JobObservations
    scaled: ScaledObservations
    fit: FitResult
    statistics: MergingStatistics
    statistics_with_outliers: MergingStatistics
    ledger: list[LedgerEntry]
    limits: DataLimits
    analyses: Analyses
    connectivity: Connectivity
    selection: ReflectionSelection
    n_threads: int
    model_choice: ModelChoice | None = None
    indexing: IndexingAnalysis | None = None
    free_set: FreeSetComparison | None = None
    reference: ReferenceReport | None = None
    filtering: FilteringRecord | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _tables: list[ReflectionTable] = field(default_factory=list, repr=False)
    _table: ReflectionTable | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return result_line(self)

    def _repr_html_(self) -> str:
        return result_html(self)

    @property
    def tables(self) -> list[ReflectionTable]:
        """Reflections of each data set with the columns of scaling."""
        if not self._tables:
            self._tables = scaled_tables(self.prepared, self.observations, self.scaled)
        return self._tables

    @property
    def table(self) -> ReflectionTable:
        """Reflections of all data sets, rows in the order of the input."""
        if self._table is None:
            self._table = combine_tables(self.job, self.tables)
        return self._table

    @property
    def inverse_scale_factor(self) -> FloatArray:
        """Inverse scale factor g of every row of `table`, (n,) float64; 1 where nothing could be scaled."""
        return np.asarray(self.table["inverse_scale_factor"], dtype=np.float64)

    @property
    def experiments(self) -> ExperimentList:
        """The experiments with the fitted models."""
        indices = range(len(self.job.experiments))
        experiments = self.job.experiments.select(indices)
        for index, (data_set, model) in enumerate(zip(self.job.data_sets, self.models, strict=True)):
            configuration = self._configuration(index, data_set.experiment)
            document = model_to_dict(model, configuration, *_rotation(data_set.experiment))
            experiments.set_scaling_model(index, document)
        stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        experiments.add_history(f"{stamp}|pyscale scale|{__version__}|scaled")
        return experiments

    def _configuration(self, index: int, experiment: Any) -> dict[str, Any]:
        extra: dict[str, Any] = error_model_configuration(
            self.fit.error_models,
            index,
            self._closest_basic[index],
            rejection=self.fit.rejection_model,
        )
        extra["Imid"] = float(self.fit.intensity_choice.imids[index])
        extra["pyscale"]["anomalous"] = self.options.anomalous
        extra["pyscale"]["scale_errors"] = self.options.output.scale_errors
        images, oscillation = valid_span(experiment), experiment.oscillation
        if images is not None and not experiment.is_still:
            start, width = oscillation
            before = images[0] - experiment.image_range[0]
            extra["valid_image_range"] = list(images)
            extra["valid_osc_range"] = [start + width * n for n in (before, before + images[1] - images[0] + 1)]
        return extra

    @cached_property
    def _closest_basic(self) -> list[tuple[float, float]]:
        fit = self.fit
        return closest_basic(fit.variance, fit.expected, fit.sigma_squared, fit.observations.data_set, len(self.models))

    def warnings(self) -> list[str]:
        """Return what files and scaled data gave reason to warn of."""
        told = [
            f"{identifier}: {decision.reason}"
            for identifier, decisions in self.job.input_decisions.items()
            for decision in decisions
            if decision.is_warning
        ]
        return [*told, *self.limits.warnings, *self.analyses.warnings()]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values: the content of `pyscale.scale.json` (schema in docs/reference/json.md)."""
        return result_document(self)

    @cached_property
    def document(self) -> dict[str, Any]:
        """What `to_dict` returns, made once; not to be changed."""
        return self.to_dict()

    def write(self, experiments: str | os.PathLike[str], reflections: str | os.PathLike[str]) -> None:
        """Write scaled experiments and reflections, both or neither; existing files are replaced."""
        with OutputSet() as outputs:
            write_expt(self.experiments, outputs.stage(experiments))
            write_refl(self.table, outputs.stage(reflections))

    def write_outputs(
        self, output: Any, inputs: Iterable[str | os.PathLike[str]] = (), named_outputs: Collection[str] = ()
    ) -> None:
        """Write all files that the options ask for, all or none.

        Parameters
        ----------
        output : OutputOptions
        inputs
            Files that must not be overwritten unless named as output; a reference is one more.
        named_outputs
            Dotted names of the output options that the user has set.

        Raises
        ------
        UsageError
            If an output cannot be written or would overwrite an input.
        """
        from .exports import (
            write_filtering,
            write_json,
            write_merged,
            write_other_formats,
            write_report,
            write_unmerged,
        )

        def write_experiments(path: Path) -> None:
            write_expt(self.experiments, path)

        def write_reflections(path: Path) -> None:
            write_refl(self.table, path)

        writers: dict[str, Callable[[Path], None]] = {
            "experiments": write_experiments,
            "reflections": write_reflections,
            "unmerged_mtz": lambda path: write_unmerged(self, path),
            "merged_mtz": lambda path: write_merged(self, path),
            "html": lambda path: write_report(self, path, self.document),
            "json": lambda path: write_json(self, path, self.document),
        }
        if self.reference is not None and self.reference.source is not None:
            inputs = [*inputs, self.reference.source]
        report_progress("write", 0.9, "writing files")
        _logger.info("Writing files", extra={"stage": "write"})
        with OutputSet(inputs) as outputs:

            def stage(name: str) -> Path | None:
                path = getattr(output, name)
                return path and outputs.stage(path, named_as_output=f"output.{name}" in named_outputs)

            for name, write in writers.items():
                path = stage(name)
                if path is not None:
                    write(path)
            write_other_formats(self, stage)
            if output.plots is not None:
                from .report.paper import write_plots

                write_plots(self.document, output.plots, outputs)
            if self.filtering is not None:
                name = "filtering.output.scale_and_filter_results"
                results = self.options.filtering.output.scale_and_filter_results
                write_filtering(self.filtering, outputs.stage(results, named_as_output=name in named_outputs))

    def summary(self) -> str:
        """Merging statistics as text: by shell, and overall."""
        rejected = int(np.count_nonzero(self.scaled.outlier))
        free_set = [] if self.free_set is None else ["", "Groups in the fit and free set", self.free_set.table()]
        return "\n".join(
            [
                *([] if self.filtering is None else [self.filtering.summary(), ""]),
                f"Dataset unique identifiers are {identifiers_text(self.job.identifiers)}",
                "",
                statistics_report(self.statistics, self.statistics_with_outliers.overall, rejected),
                *free_set,
            ]
        )


def _rotation(experiment: Experiment) -> tuple[float, float]:
    """Rotation of a whole sweep and of one image, degrees; 1 for a still."""
    if experiment.is_still or experiment.oscillation is None or experiment.image_range is None:
        return 1.0, 1.0
    first, last = experiment.image_range
    return abs(experiment.oscillation[1]) * (last - first + 1), experiment.oscillation[1]
