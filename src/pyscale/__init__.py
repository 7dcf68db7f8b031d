"""Scaling and merging of integrated diffraction intensities.

data = pyscale.read("integrated.expt", "integrated.refl")
result = pyscale.scale(data, d_min=1.6)
result.statistics.overall.r_pim
result.write("scaled.expt", "scaled.refl")
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import stages
    from ._core import __version__
    from .api import apply, cross_validate, export, merge, read, scale, simulate
    from .applied import AppliedModels
    from .arrays import from_arrays
    from .cross_validation import CrossValidation
    from .dataset import Job
    from .errors import Cancelled, DataError, PyscaleError, UsageError
    from .merge_result import MergeResult
    from .merging import MergedReflections
    from .options import ScalingOptions
    from .options.export import ExportOptions
    from .options.importing import InputOptions
    from .options.merge import MergeOptions
    from .progress import Cancellation, Progress, cancellable
    from .reflections import ReflectionTable
    from .result import ScalingResult
    from .scaling_model import DataSetModel
    from .simulation import SimulatedData, SimulationOptions
    from .statistics_data import MergingStatistics, ShellStatistics

__all__ = [
    "AppliedModels",
    "Cancellation",
    "Cancelled",
    "CrossValidation",
    "DataError",
    "DataSetModel",
    "ExportOptions",
    "InputOptions",
    "Job",
    "MergeOptions",
    "MergeResult",
    "MergedReflections",
    "MergingStatistics",
    "Progress",
    "PyscaleError",
    "ReflectionTable",
    "ScalingOptions",
    "ScalingResult",
    "ShellStatistics",
    "SimulatedData",
    "SimulationOptions",
    "UsageError",
    "__version__",
    "apply",
    "cancellable",
    "cross_validate",
    "export",
    "from_arrays",
    "merge",
    "read",
    "scale",
    "simulate",
    "stages",
]

_HOMES = {
    "AppliedModels": "applied",
    "Cancellation": "progress",
    "Cancelled": "errors",
    "CrossValidation": "cross_validation",
    "DataError": "errors",
    "DataSetModel": "scaling_model",
    "ExportOptions": "options.export",
    "InputOptions": "options.importing",
    "Job": "dataset",
    "MergeOptions": "options.merge",
    "MergeResult": "merge_result",
    "MergedReflections": "merging",
    "MergingStatistics": "statistics_data",
    "Progress": "progress",
    "PyscaleError": "errors",
    "ReflectionTable": "reflections",
    "ScalingOptions": "options",
    "ScalingResult": "result",
    "ShellStatistics": "statistics_data",
    "SimulatedData": "simulation",
    "SimulationOptions": "simulation",
    "UsageError": "errors",
    "__version__": "_core",
    "apply": "api",
    "cancellable": "progress",
    "cross_validate": "api",
    "export": "api",
    "from_arrays": "arrays",
    "merge": "api",
    "read": "api",
    "scale": "api",
    "simulate": "api",
}


# Silent unless the program that uses the library listens to it.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Load public names when they are first used, so that `pyscale --help` need not load the numerical libraries."""
    if name == "stages":
        return importlib.import_module(".stages", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
