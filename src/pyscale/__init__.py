"""Scaling and merging of integrated diffraction intensities.

data = pyscale.read("integrated.expt", "integrated.refl")
result = pyscale.scale(data, d_min=1.6)
result.statistics.overall.r_pim
result.write("scaled.expt", "scaled.refl")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core import __version__
    from .api import cross_validate, export, merge, read, scale, simulate
    from .errors import DataError, PyscaleError, UsageError
    from .options import ScalingOptions
    from .result import ScalingResult

__all__ = [
    "DataError",
    "PyscaleError",
    "ScalingOptions",
    "ScalingResult",
    "UsageError",
    "__version__",
    "cross_validate",
    "export",
    "merge",
    "read",
    "scale",
    "simulate",
]

_HOMES = {
    "DataError": "errors",
    "PyscaleError": "errors",
    "ScalingOptions": "options",
    "ScalingResult": "result",
    "UsageError": "errors",
    "__version__": "_core",
    "cross_validate": "api",
    "export": "api",
    "merge": "api",
    "read": "api",
    "scale": "api",
    "simulate": "api",
}


def __getattr__(name: str) -> Any:
    """Load public names when they are first used, so that `pyscale --help` need not load the numerical libraries."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
