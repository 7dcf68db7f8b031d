"""Simulated data with a known answer, for trying and for testing."""

from __future__ import annotations

from .options import OUTLIER_KINDS, SimulationOptions
from .simulate import SimulatedData, simulate

__all__ = ["OUTLIER_KINDS", "SimulatedData", "SimulationOptions", "simulate"]
