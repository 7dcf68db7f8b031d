"""How data and results show in an interpreter, in one line, and in a notebook, as a table."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .data_frames import html_table
from .statistics_data import MergingStatistics, ShellStatistics

if TYPE_CHECKING:
    from .dataset import Job
    from .fitting import FitResult
    from .merge_result import MergeResult
    from .result import ScalingResult

__all__ = [
    "fit_line",
    "job_html",
    "job_line",
    "merge_html",
    "merge_line",
    "result_html",
    "result_line",
    "statistics_html",
]

_MOST_ROWS = 20
_COLUMNS: Sequence[tuple[str, str, str, float]] = (
    ("d_max (Å)", "d_max", ".2f", 1),
    ("d_min (Å)", "d_min", ".2f", 1),
    ("observations", "n_obs", "d", 1),
    ("unique", "n_unique", "d", 1),
    ("multiplicity", "multiplicity", ".2f", 1),
    ("completeness (%)", "completeness", ".1f", 100),
    ("I/σ", "i_over_sigma", ".1f", 1),
    ("R_meas", "r_meas", ".3f", 1),
    ("R_pim", "r_pim", ".3f", 1),
    ("CC½", "cc_half", ".3f", 1),
    ("CC_anom", "cc_anom", ".3f", 1),
)


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


def statistics_html(statistics: MergingStatistics, caption: str = "Merging statistics") -> str:
    """Shells from low to high resolution, and all data."""

    def row(name: str, s: ShellStatistics) -> list[str]:
        return [name, *(_number(factor * getattr(s, field), form) for _, field, form, factor in _COLUMNS)]

    rows = [row(str(k + 1), shell) for k, shell in enumerate(statistics.shells)]
    return html_table(["shell", *(c[0] for c in _COLUMNS)], [*rows, row("all", statistics.overall)], caption)


def job_line(job: Job) -> str:
    """How much there is."""
    n = sum(len(d.reflections) for d in job.data_sets)
    return f"<Job: {_counted(len(job.data_sets), 'data set')}, {_counted(n, 'reflection')}>"


def job_html(job: Job) -> str:
    """The data sets."""
    rows = []
    for d in job.data_sets[:_MOST_ROWS]:
        experiment = d.experiment
        images = None if experiment.is_still else experiment.image_range
        model = experiment.scaling_model
        kind = "-" if model is None else model.get("__id__", "yes")
        rows.append([d.identifier, len(d.reflections), "still" if images is None else f"{images[0]}-{images[1]}", kind])
    if len(job.data_sets) > _MOST_ROWS:
        rows.append(["...", f"{len(job.data_sets) - _MOST_ROWS} more", "", ""])
    return html_table(["data set", "reflections", "images", "scaling model"], rows, job_line(job)[1:-1])


def fit_line(fit: FitResult) -> str:
    """How the fit ended."""
    return (
        f"<FitResult: {_counted(fit.n_observations, 'observation')} in {_counted(fit.n_groups, 'group')}, "
        f"{_counted(fit.parameters.size, 'parameter')}, {_counted(len(fit.rounds), 'round')}, {fit.termination}>"
    )


def result_line(result: ScalingResult) -> str:
    """What was scaled, and how well."""
    sets, outliers = len(result.job.data_sets), int(result.scaled.outlier.sum())
    return (
        f"<ScalingResult: {_counted(sets, 'data set')}, {result.statistics.overall.line()}, "
        f"{_counted(outliers, 'outlier')} rejected>"
    )


def result_html(result: ScalingResult) -> str:
    """Merging statistics, what was scaled above them, and warnings below."""
    warnings = "".join(f"<li>{html.escape(warning)}</li>" for warning in result.warnings())
    return statistics_html(result.statistics, result_line(result)[1:-1]) + (f"<ul>{warnings}</ul>" if warnings else "")


def merge_line(result: MergeResult) -> str:
    """What was merged, and how well."""
    parts = [f"{d.wavelength:.5f} Å: {d.statistics.overall.line()}" for d in result.data_sets]
    return f"<MergeResult: {'; '.join(parts)}>"


def merge_html(result: MergeResult) -> str:
    """Merging statistics of each wavelength."""
    return "".join(
        statistics_html(d.statistics, f"{d.name}, {d.wavelength:.5f} Å: {d.statistics.overall.line()}")
        for d in result.data_sets
    )
