"""Simulated data with a known answer, for trying and for testing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import OUTLIER_KINDS, SimulationOptions

if TYPE_CHECKING:
    from .simulated_data import SimulatedData, simulate

__all__ = ["OUTLIER_KINDS", "SimulatedData", "SimulationOptions", "simulate"]


def __getattr__(name: str) -> Any:
    """Load what needs numerical libraries when it is first used, so that the help of commands does not."""
    if name not in ("SimulatedData", "simulate"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(".simulated_data", __name__), name)
