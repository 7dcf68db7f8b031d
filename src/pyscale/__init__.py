"""Scaling and merging of integrated diffraction intensities."""

from __future__ import annotations

from ._core import __version__

__all__ = ["__version__"]
