"""One option: its type, range and help, and the check of its values."""

from __future__ import annotations

import dataclasses
import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from pyscale.errors import UsageError

__all__ = ["AUTO", "Auto", "Option", "ValueType", "option"]

T = TypeVar("T")


class Auto(Enum):
    """Type of the value `AUTO`: pyscale chooses, and reports what it chose and why."""

    AUTO = "auto"

    def __repr__(self) -> str:
        return "AUTO"


AUTO = Auto.AUTO


def option(
    default: T,
    help: str,
    *,
    range: tuple[float | None, float | None] | None = None,
    common: bool = False,
    repeatable: bool = False,
    aliases: tuple[str, ...] = (),
    unavailable: str | Mapping[Any, str] | None = None,
    own: bool = False,
) -> T:
    """Declare an option as a dataclass field.

    Parameters
    ----------
    default
        Its default value.
    help
        One or two sentences for people, with the unit.
    range
        Lowest and highest value that are allowed, None for no limit; of every element in a list.
    common
        Whether help lists it among the first.
    repeatable
        Whether text may give it several times, each time adding to the list.
    aliases
        Other last parts of its dotted name.
    unavailable
        For a feature that is still to be built: what to do instead. A mapping holds such a sentence for each
        value that is not available.
    own
        Whether dials.scale lacks it: a part of its name never takes the place of one of dials.scale's options.
    """
    metadata = {
        "help": f"{help} (pyscale's own option)" if own else help,
        "range": range,
        "common": common,
        "repeatable": repeatable,
        "aliases": aliases,
        "unavailable": unavailable,
        "own": own,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class ValueType:
    """What values an option can have, from its type annotation.

    Attributes
    ----------
    kind : type
        bool, int, float or str, of each element if it is a list.
    choices : tuple of str
        The allowed strings; empty if any.
    is_list : bool
        Whether the value is a tuple.
    is_nested : bool
        Whether its elements are lists themselves.
    length : int or None
        Number of elements of a list, None for any.
    auto, none : bool
        Whether AUTO and None are allowed.
    """

    kind: type
    choices: tuple[str, ...] = ()
    is_list: bool = False
    is_nested: bool = False
    length: int | None = None
    auto: bool = False
    none: bool = False

    @property
    def description(self) -> str:
        """The type in words for help and messages."""
        words = {bool: "True or False", int: "integer", float: "number", str: "text"}[self.kind]
        if self.choices:
            words = "one of " + ", ".join(self.choices)
        if self.is_list:
            plural = {"integer": "integers", "number": "numbers", "text": "texts"}.get(words, words)
            words = f"list of {plural}" if self.length is None else f"{self.length} {plural}"
            words = f"lists of {plural}" if self.is_nested else words
        extra = [word for allowed, word in ((self.auto, "auto"), (self.none, "None")) if allowed]
        return " or ".join([words, *extra])


@dataclass(frozen=True, kw_only=True)
class Option:
    """One leaf of an option tree."""

    path: str
    type: ValueType
    default: Any
    help: str = ""
    topic: str = ""
    range: tuple[float | None, float | None] | None = None
    common: bool = False
    repeatable: bool = False
    aliases: tuple[str, ...] = ()
    unavailable: str | Mapping[Any, str] | None = None
    own: bool = False

    @property
    def name(self) -> str:
        """The last part of the dotted name."""
        return self.path.rpartition(".")[2]

    @property
    def names(self) -> tuple[str, ...]:
        """The dotted name and those that its aliases make."""
        scope = self.path[: len(self.path) - len(self.name)]
        return (self.path, *(scope + alias for alias in self.aliases))

    @property
    def available(self) -> bool:
        """Whether it can have any other value than its default."""
        return not isinstance(self.unavailable, str)

    def check(self, value: Any) -> Any:
        """Return the value in the option's own type.

        Raises
        ------
        UsageError
            If type or range are wrong, or the feature is not available; the message names the option.
        """
        checked = self._checked_elements(value) if self._is_list_value(value) else self._checked(value)
        if checked != self.default:
            self._require_available(checked)
        return checked

    def _is_list_value(self, value: Any) -> bool:
        return self.type.is_list and value is not None and not self._means_auto(value)

    def _means_auto(self, value: Any) -> bool:
        return self.type.auto and (value is AUTO or (isinstance(value, str) and value.lower() == "auto"))

    def _checked_elements(self, values: Any) -> tuple[Any, ...]:
        if isinstance(values, str) or not isinstance(values, Iterable):
            values = (values,)
        if self.type.is_nested:
            values = tuple(values)
            lists = values if values and all(isinstance(v, (tuple, list)) for v in values) else (values,)
            return tuple(tuple(self._checked_element(v, values) for v in one) for one in lists if len(one))
        elements = tuple(self._checked_element(value, values) for value in values)
        if self.type.length is not None and len(elements) != self.type.length:
            raise self._wrong(elements, f"expected {self.type.description}")
        return elements

    def _checked(self, value: Any) -> Any:
        if value is None and self.type.none:
            return None
        return AUTO if self._means_auto(value) else self._checked_element(value, value)

    def _checked_element(self, value: Any, shown: Any) -> Any:
        if self.type.is_list and self.type.kind is str and type(value) is int:
            value = str(value)
        try:
            converted = _CONVERTERS[self.type.kind](value)
        except (TypeError, ValueError, OverflowError):
            raise self._wrong(shown, f"expected {self.type.description}") from None
        if self.type.choices:
            return self._choice(converted)
        low, high = self.range or (None, None)
        if low is not None and converted < low:
            raise self._wrong(shown, f"must be at least {low:g}")
        if high is not None and converted > high:
            raise self._wrong(shown, f"must be at most {high:g}")
        return converted

    def _choice(self, value: str) -> str:
        for choice in self.type.choices:
            if choice.lower() == value.lower():
                return choice
        raise self._wrong(value, f"expected {self.type.description}")

    def _require_available(self, value: Any) -> None:
        if isinstance(self.unavailable, str):
            raise UsageError(f"option {self.path} is not yet available in pyscale: {self.unavailable}")
        if self.unavailable and value in self.unavailable:
            raise UsageError(f"option {self.path}={value} is not yet available in pyscale: {self.unavailable[value]}")

    def _wrong(self, value: Any, reason: str) -> UsageError:
        shown = " ".join(str(value).split())
        return UsageError(f"option {self.path}={shown[:60]}: {reason}")


def _to_bool(value: Any) -> bool:
    if type(value).__name__ not in {"bool", "bool_"}:
        raise TypeError
    return bool(value)


def _to_int(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _to_float(value: Any) -> float:
    if isinstance(value, (bool, str)):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _to_str(value: Any) -> str:
    text = os.fspath(value)
    if not isinstance(text, str):
        raise TypeError
    return text


_CONVERTERS: dict[type, Callable[[Any], Any]] = {bool: _to_bool, int: _to_int, float: _to_float, str: _to_str}
