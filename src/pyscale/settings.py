"""The settings that a cross validation compares."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from .errors import UsageError
from .fit_weights import free_set_period
from .option_text import format_option, parse_value
from .options import SCALING_NAMES, Option, ScalingOptions, with_changes

__all__ = ["Setting", "settings_to_compare"]

_logger = logging.getLogger(__name__)

_MODELS = ("physical", "KB", "array")
_FIXED = (
    "output.",
    "cross_validation.",
    "scaling_options.use_free_set",
    "scaling_options.free_set_",
    "scaling_options.nproc",
)
"""Options, or scopes, that make no difference or are the cross validation's own."""


@dataclass(frozen=True)
class Setting:
    """One setting: its name, its options with a free set, and which of them the user has set."""

    name: str
    options: ScalingOptions
    given: frozenset[str]


def settings_to_compare(options: ScalingOptions, given: Collection[str]) -> list[Setting]:
    """Return the settings of a cross validation, as `cross_validation` says.

    Raises
    ------
    UsageError
        If its options contradict each other, or a value is wrong.
    """
    choice = options.cross_validation
    period = free_set_period(options.scaling_options.free_set_percentage)
    if choice.nfolds > period:
        raise UsageError(
            f"option cross_validation.nfolds={choice.nfolds}: there are {period} free sets of "
            f"{options.scaling_options.free_set_percentage:g} %; give a smaller free_set_percentage"
        )
    base = with_changes(options, {"scaling_options.use_free_set": True})
    if choice.cross_validation_mode == "single":
        if choice.parameter is not None or choice.parameter_values is not None:
            raise UsageError("option cross_validation.parameter is for cross_validation_mode=multi, not for single")
        return [Setting("the options as they are", base, frozenset(given))]
    return _of_one_option(base, given)


def _of_one_option(base: ScalingOptions, given: Collection[str]) -> list[Setting]:
    name = base.cross_validation.parameter
    if name is None:
        raise UsageError("cross_validation_mode=multi needs cross_validation.parameter=, the option to vary")
    texts = base.cross_validation.parameter_values or _usual_values(name)
    settings: list[Setting] = []
    for text in texts:
        assignment = SCALING_NAMES.assign(name, text, parse_value)
        if assignment.note:
            _logger.info("%s", assignment.note, extra={"notice": True})
        paths = list(assignment.values)
        if not paths or any(path.startswith(_FIXED) for path in paths):
            raise UsageError(f"option cross_validation.parameter={name}: cross validation cannot vary it")
        changed = with_changes(base, assignment.values)
        shown = format_option(paths[0].rpartition(".")[2], assignment.values[paths[0]])
        if any(changed == s.options for s in settings):
            raise UsageError(f"option cross_validation.parameter_values: {shown} occurs twice")
        settings.append(Setting(shown, changed, frozenset(given) | frozenset(paths)))
    if len(settings) < 2:
        raise UsageError("option cross_validation.parameter_values: give two values or more to compare")
    return settings


def _usual_values(name: str) -> tuple[str, ...]:
    """Values of an option that come to mind by themselves."""
    chosen: tuple[Option, ...] = SCALING_NAMES.resolve(name)
    if all(option.type.kind is bool for option in chosen):
        return ("True", "False")
    if [option.path for option in chosen] == ["model"]:
        return _MODELS
    raise UsageError(f"cross_validation_mode=multi needs cross_validation.parameter_values= for {chosen[0].path}")
