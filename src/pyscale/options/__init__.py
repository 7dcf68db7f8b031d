"""The typed options of pyscale: the single source of names, types, defaults, ranges and help."""

from __future__ import annotations

from .guide import SCALING_NAMES, options_from_keywords
from .names import OptionNames
from .option import AUTO, Auto, Option
from .scaling import ScalingOptions
from .tree import options_of, to_dict, with_changes

__all__ = [
    "AUTO",
    "SCALING_NAMES",
    "Auto",
    "Option",
    "OptionNames",
    "ScalingOptions",
    "options_from_keywords",
    "options_of",
    "to_dict",
    "with_changes",
]
