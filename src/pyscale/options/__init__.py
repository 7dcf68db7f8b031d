"""The typed options of pyscale: the single source of names, types, defaults, ranges and help."""

from __future__ import annotations

from .option import AUTO, Auto, Option
from .scaling import ScalingOptions
from .tree import options_of, to_dict, with_changes

__all__ = ["AUTO", "Auto", "Option", "ScalingOptions", "options_of", "to_dict", "with_changes"]
