"""Trees of options as frozen dataclasses: construction checks them, and they change by dotted name.

A tree is a frozen, keyword-only dataclass whose fields are options, or scopes that are such dataclasses
themselves. Name, type and default of an option are those of its field; help, range and so on are in
the field's metadata.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pyscale.errors import UsageError

from .option import Auto, Option, ValueType

__all__ = ["OptionScope", "check_tree", "options_of", "to_dict", "with_changes"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class OptionScope:
    """Base of the dataclasses of a tree: checks every value at construction.

    Raises
    ------
    UsageError
        If a value has the wrong type or is out of range; the message names the option.
    """

    scope: ClassVar[str] = ""

    def __init_subclass__(cls, scope: str = "", **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.scope = scope

    def __post_init__(self) -> None:
        check_tree(self)


def check_tree(tree: Any) -> None:
    """Check the options that are direct fields of a dataclass and store them in their own types."""
    for entry in _entries(tree.__class__):
        if isinstance(entry, Option):
            object.__setattr__(tree, entry.name, entry.check(getattr(tree, entry.name)))


def _value_type(annotation: Any) -> ValueType:
    union = typing.get_origin(annotation) in {typing.Union, types.UnionType}
    members = list(typing.get_args(annotation)) if union else [annotation]
    auto, none = Auto in members, types.NoneType in members
    (member,) = (item for item in members if item not in {Auto, types.NoneType})
    origin, arguments = typing.get_origin(member), typing.get_args(member)
    if origin is typing.Literal:
        return ValueType(kind=str, choices=arguments, auto=auto, none=none)
    if origin is tuple:
        length = None if arguments[-1] is Ellipsis else len(arguments)
        if typing.get_origin(arguments[0]) is tuple:
            (kind, _) = typing.get_args(arguments[0])
            return ValueType(kind=kind, is_list=True, is_nested=True, auto=auto, none=none)
        return ValueType(kind=arguments[0], is_list=True, length=length, auto=auto, none=none)
    return ValueType(kind=member, auto=auto, none=none)


@dataclass(frozen=True)
class _Scope:
    name: str
    tree: Any


@functools.cache
def _entries(tree: type[Any]) -> tuple[Option | _Scope, ...]:
    """Options and scopes that are direct fields of a dataclass; option names carry the class's own scope."""
    hints = typing.get_type_hints(tree)
    scope = getattr(tree, "scope", "")
    prefix = f"{scope}." if scope else ""
    entries: list[Option | _Scope] = []
    for field in dataclasses.fields(tree):
        if dataclasses.is_dataclass(hints[field.name]):
            entries.append(_Scope(field.name, hints[field.name]))
            continue
        entries.append(_option_of(field, prefix, hints[field.name]))
    return tuple(entries)


def _option_of(field: dataclasses.Field[Any], prefix: str, annotation: Any) -> Option:
    known = {item.name for item in dataclasses.fields(Option)}
    value_type = _value_type(annotation)
    if "choices" in field.metadata:
        value_type = dataclasses.replace(value_type, choices=tuple(field.metadata["choices"]))
    metadata = {key: value for key, value in field.metadata.items() if key in known}
    return Option(path=prefix + field.name, type=value_type, default=field.default, **metadata)


@functools.cache
def options_of(tree: type[Any]) -> tuple[Option, ...]:
    """All options of a tree of dataclasses, in order, each with its full dotted name.

    The topic of an option is the docstring of its outermost scope unless its metadata names one.
    """
    return tuple(_walk(tree, "", ""))


def _walk(tree: Any, prefix: str, topic: str) -> Iterable[Option]:
    for entry in _entries(tree):
        if isinstance(entry, Option):
            default_topic = topic or "General"
            yield dataclasses.replace(entry, path=prefix + entry.name, topic=entry.topic or default_topic)
        else:
            summary = (entry.tree.__doc__ or entry.name).strip().splitlines()[0].rstrip(".")
            yield from _walk(entry.tree, f"{prefix}{entry.name}.", topic or summary)


def with_changes(tree: T, changes: Mapping[str, Any]) -> T:
    """Return a copy of a tree with some options changed.

    Parameters
    ----------
    tree
        A tree of dataclasses.
    changes
        New values by full dotted name.

    Raises
    ------
    UsageError
        If there is no such option, or a value has the wrong type or is out of range.
    """
    root: Any = tree.__class__
    by_path = {entry.path: entry for entry in options_of(root)}
    checked: dict[str, Any] = {}
    for path, value in changes.items():
        if path not in by_path:
            raise UsageError(f"there is no option {path}")
        checked[path] = by_path[path].check(value)
    return _replaced(tree, checked)


def _replaced(tree: T, changes: Mapping[str, Any]) -> T:
    direct: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for path, value in changes.items():
        head, _, rest = path.partition(".")
        if rest:
            nested.setdefault(head, {})[rest] = value
        else:
            direct[head] = value
    for head, below in nested.items():
        direct[head] = _replaced(getattr(tree, head), below)
    return typing.cast(T, dataclasses.replace(typing.cast(Any, tree), **direct))


def to_dict(tree: Any) -> dict[str, Any]:
    """The values of a tree as nested dictionaries of JSON types; AUTO is 'auto', a list a list."""
    return {field.name: _plain(getattr(tree, field.name)) for field in dataclasses.fields(tree)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Auto) else value
