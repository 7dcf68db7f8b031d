"""The Python interface: read, scale, simulate."""

from __future__ import annotations

from typing import Any

from .dataset import Job
from .errors import UsageError
from .io import read
from .options import SCALING_NAMES, ScalingOptions, options_from_keywords
from .result import ScalingResult
from .scaler import scale_job
from .simulation import SimulatedData, SimulationOptions
from .simulation import simulate as _simulate

__all__ = ["read", "scale", "simulate"]


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
    if options is not None:
        return scale_job(data, options)
    return scale_job(data, options_from_keywords(**keywords), SCALING_NAMES.given_by(keywords))


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
