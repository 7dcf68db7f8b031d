"""The Python interface: read, scale, merge, export, simulate."""

from __future__ import annotations

import os
from typing import Any

from .cross_validation import CrossValidation
from .dataset import Job, make_job
from .errors import UsageError
from .exporting import export_job, exported_result
from .io import read
from .merge_job import merge_job
from .merge_result import MergeResult
from .options import SCALING_NAMES, ScalingOptions, options_from_keywords, with_changes
from .options.export import EXPORT_NAMES
from .options.merge import MERGE_NAMES, MergeOptions
from .result import ScalingResult
from .scaler import cross_validate_job, scale_job
from .simulation import SimulatedData, SimulationOptions
from .simulation import simulate as _simulate

__all__ = ["cross_validate", "export", "merge", "read", "scale", "simulate"]


def scale(data: Job, *, options: ScalingOptions | None = None, **keywords: Any) -> ScalingResult:
    """Scale all data sets of a job together.

    Parameters
    ----------
    data : Job
        From `read`; it is not changed.
    options : ScalingOptions, optional
        All options; or give some as keywords, by the names of the command line (`d_min=1.6`,
        `model="physical"`, `physical={"lmax": 6}`).

    Raises
    ------
    UsageError
        For unknown options or impossible values.
    DataError
        If the data cannot be scaled; the message says what and where.
    """
    if options is not None and keywords:
        raise UsageError("give either options=... or single options as keywords, not both")
    given = None if options is not None else SCALING_NAMES.given_by(keywords)
    options = options or options_from_keywords(**keywords)
    if options.cross_validation.cross_validation_mode is not None:
        raise UsageError("scale: with cross_validation_mode call cross_validate, which returns no scaled data")
    return scale_job(data, options, given)


def cross_validate(data: Job, *, options: ScalingOptions | None = None, **keywords: Any) -> CrossValidation:
    """Scale a job several times, each without another free set, and compare (docs/guides/trying-options.md).

    Parameters
    ----------
    data, options, keywords
        As for `scale`. Without `cross_validation_mode` it is `multi` if there is a `parameter`, else `single`.

    Raises
    ------
    UsageError
        For unknown options or impossible values.
    DataError
        If no setting can be scaled.
    """
    if options is not None and keywords:
        raise UsageError("give either options=... or single options as keywords, not both")
    given = None if options is not None else SCALING_NAMES.given_by(keywords)
    options = options or options_from_keywords(**keywords)
    choice = options.cross_validation
    if choice.cross_validation_mode is None:
        mode = "single" if choice.parameter is None else "multi"
        options = with_changes(options, {"cross_validation.cross_validation_mode": mode})
    return cross_validate_job(data, options, given)


def merge(data: Job | ScalingResult, *, options: MergeOptions | None = None, **keywords: Any) -> MergeResult:
    """Merge scaled data without a fit: intensities, amplitudes, free-R flags, statistics.

    Parameters
    ----------
    data : Job or ScalingResult
        Scaled data, from `read` or `scale`.
    options : MergeOptions, optional
        All options; or give some as keywords, by the names of the command line (`d_min=1.6`,
        `r_free_flags={"reference": "old.mtz"}`).

    Raises
    ------
    UsageError
        For unknown options or impossible values.
    DataError
        If the data have not been scaled, or nothing is left to merge.
    """
    if options is not None and keywords:
        raise UsageError("give either options=... or single options as keywords, not both")
    if options is None:
        options, _ = MERGE_NAMES.from_keywords(keywords)
    if isinstance(data, ScalingResult):
        data = make_job(data.experiments, [data.table])
    return merge_job(data, options)


def export(data: Job | ScalingResult, output: str | os.PathLike[str], **keywords: Any) -> str:
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
    """Simulate integrated data with a known answer; keywords are fields of `SimulationOptions`."""
    if options is not None and keywords:
        raise UsageError("give either options=... or single options as keywords, not both")
    if options is None:
        try:
            options = SimulationOptions(**keywords)
        except TypeError as error:
            raise UsageError(f"simulate: {error}") from None
    return _simulate(options)
