"""The Python interface: read, scale, merge, apply, export, simulate."""

from __future__ import annotations

import os
from typing import Any, TypeVar

from .applied import AppliedModels, apply_models
from .cross_validation import CrossValidation
from .dataset import Job, load_job, make_job
from .errors import UsageError
from .exporting import export_job, exported_result
from .io.expt import read_expt
from .merge_job import merge_job
from .merge_result import MergeResult
from .options import AUTO, SCALING_NAMES, OptionNames, ScalingOptions, options_from_keywords, with_changes
from .options.export import EXPORT_NAMES
from .options.importing import InputOptions
from .options.merge import MERGE_NAMES, MergeOptions
from .progress import Cancel, ProgressCallback, following, report_progress
from .result import ScalingResult
from .scaler import cross_validate_job, scale_job
from .simulation import SimulatedData, SimulationOptions
from .simulation import simulate as _simulate
from .threads import thread_count

__all__ = ["apply", "cross_validate", "export", "merge", "read", "scale", "simulate"]

PathLike = str | os.PathLike[str]
Options = TypeVar("Options")


def read(
    *paths: PathLike,
    options: InputOptions | None = None,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
    **keywords: Any,
) -> Job:
    """Read experiments and reflections of a job; the kind of each file is told by its content.

    Parameters
    ----------
    paths
        Files of DIALS (experiments and reflections), and of other integrators (docs/reference/formats.md).
    options : InputOptions, optional
        All options, which matter for files of other integrators only; or give some as keywords
        (`space_group="P212121"`).
    progress, cancel
        As for `scale`.

    Raises
    ------
    UsageError
        If a file cannot be opened, or a keyword is none of those or its value is impossible.
    DataError
        If a file is corrupt or of no known kind, or experiments and reflections do not match.
    Cancelled
        If `cancel` asked for it.
    """
    _require_one_of(options, keywords)
    if options is None:
        try:
            options = InputOptions(**keywords)
        except TypeError as error:
            raise UsageError(f"read: {error}") from None
    with following(progress, cancel):
        report_progress("read", 0.0, "reading files")
        return load_job(paths, options)


def scale(
    data: Job,
    *,
    options: ScalingOptions | None = None,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
    **keywords: Any,
) -> ScalingResult:
    """Scale all data sets of a job together.

    It may be called from several threads at once, also with the same data: the core works without the lock of the
    interpreter. The number of threads of each call is the option `nproc`.

    Parameters
    ----------
    data : Job
        From `read` or `from_arrays`; it is not changed.
    options : ScalingOptions, optional
        All options; or give some as keywords, by the names of the command line (`d_min=1.6`,
        `model="physical"`, `physical={"lmax": 6}`).
    progress : callable, optional
        Takes a `Progress` at every stage and round, in the calling thread; what it raises ends the job.
    cancel : Cancellation or callable, optional
        A request that another thread may make, or a function without arguments that is asked every 50 ms or so in
        the calling thread: true stops the job.

    Raises
    ------
    UsageError
        For unknown options or impossible values.
    DataError
        If the data cannot be scaled; the message says what and where.
    Cancelled
        If `cancel` asked for it.
    """
    _require_one_of(options, keywords)
    given = None if options is not None else SCALING_NAMES.given_by(keywords)
    options = options or options_from_keywords(**keywords)
    if options.cross_validation.cross_validation_mode is not None:
        raise UsageError("scale: with cross_validation_mode call cross_validate, which returns no scaled data")
    with following(progress, cancel):
        return scale_job(data, options, given)


def cross_validate(
    data: Job,
    *,
    options: ScalingOptions | None = None,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
    **keywords: Any,
) -> CrossValidation:
    """Scale a job several times, each without another free set, and compare (docs/guides/trying-options.md).

    Parameters
    ----------
    data, options, progress, cancel, keywords
        As for `scale`. Without `cross_validation_mode` it is `multi` if there is a `parameter`, else `single`.

    Raises
    ------
    UsageError
        For unknown options or impossible values.
    DataError
        If no setting can be scaled.
    Cancelled
        If `cancel` asked for it.
    """
    _require_one_of(options, keywords)
    given = None if options is not None else SCALING_NAMES.given_by(keywords)
    options = options or options_from_keywords(**keywords)
    choice = options.cross_validation
    if choice.cross_validation_mode is None:
        mode = "single" if choice.parameter is None else "multi"
        options = with_changes(options, {"cross_validation.cross_validation_mode": mode})
    with following(progress, cancel):
        return cross_validate_job(data, options, given)


def merge(
    data: Job | ScalingResult,
    *,
    options: MergeOptions | None = None,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
    **keywords: Any,
) -> MergeResult:
    """Merge scaled data without a fit: intensities, amplitudes, free-R flags, statistics.

    Parameters
    ----------
    data : Job or ScalingResult
        Scaled data, from `read` or `scale`.
    options : MergeOptions, optional
        All options; or give some as keywords, by the names of the command line (`d_min=1.6`,
        `r_free_flags={"reference": "old.mtz"}`).
    progress, cancel
        As for `scale`.

    Raises
    ------
    UsageError
        For unknown options or impossible values.
    DataError
        If the data have not been scaled, or nothing is left to merge.
    Cancelled
        If `cancel` asked for it.
    """
    options = _options(MERGE_NAMES, options, keywords)
    with following(progress, cancel):
        report_progress("select", 0.0, "selecting scaled observations")
        return merge_job(_scaled_job(data), options)


def apply(model: Job | ScalingResult | PathLike, data: Job, *, nproc: int | None = None) -> AppliedModels:
    """Evaluate scaling models on reflections, without a fit.

    Parameters
    ----------
    model : ScalingResult, Job or path
        Scaled data, or experiments with scaling models.
    data : Job
        Reflections of the same data sets, matched by identifier or else by order; they may be others than those that
        the models were fitted to.
    nproc : int, optional
        Number of threads; by default as many as there are.

    Raises
    ------
    UsageError
        If a file cannot be opened.
    DataError
        If data sets and models do not match, or a model cannot be evaluated.
    """
    source, stored = "scaling result", None
    if isinstance(model, (Job, ScalingResult)):
        stored = model.experiments
    else:
        source, stored = str(model), read_expt(model)
    tables = [d.reflections for d in data.data_sets]
    n_threads = thread_count(AUTO if nproc is None else nproc)
    return apply_models(stored, data.experiments, tables, [source, *data.sources], n_threads)


def export(data: Job | ScalingResult, output: PathLike, **keywords: Any) -> str:
    """Write observations or merged intensities in the format of another program; nothing is fitted.

    Parameters
    ----------
    data : Job or ScalingResult
        What `read` or `scale` returned.
    output
        The file; an existing one is replaced.
    **keywords
        Options of `pyscale export`: `format="mmcif"`, `d_min=1.8`, ...

    Returns
    -------
    str
        What was written, for people.

    Raises
    ------
    UsageError
        For unknown options or impossible values, or if the file cannot be written.
    DataError
        If the data lack what is asked for.
    """
    options, _ = EXPORT_NAMES.from_keywords({**keywords, "hklout": os.fspath(output)})
    exported = export_job(data, options) if isinstance(data, Job) else exported_result(data, options)
    return exported.write(named_outputs={"hklout"})


def simulate(options: SimulationOptions | None = None, **keywords: Any) -> SimulatedData:
    """Simulate integrated data with a known answer.

    Parameters
    ----------
    options : SimulationOptions, optional
        All options; or give some as keywords (`d_min=1.8, n_sweeps=2`).

    Returns
    -------
    SimulatedData
        What is true, and the data: `pyscale.scale(simulated.job())`.

    Raises
    ------
    UsageError
        For unknown options or impossible values.
    """
    _require_one_of(options, keywords)
    if options is None:
        try:
            options = SimulationOptions(**keywords)
        except TypeError as error:
            raise UsageError(f"simulate: {error}") from None
    return _simulate(options)


def _require_one_of(options: object | None, keywords: dict[str, Any]) -> None:
    if options is not None and keywords:
        raise UsageError("give either options=... or single options as keywords, not both")


def _options(names: OptionNames[Options], options: Options | None, keywords: dict[str, Any]) -> Options:
    _require_one_of(options, keywords)
    return names.from_keywords(keywords)[0] if options is None else options


def _scaled_job(data: Job | ScalingResult) -> Job:
    return make_job(data.experiments, [data.table]) if isinstance(data, ScalingResult) else data
