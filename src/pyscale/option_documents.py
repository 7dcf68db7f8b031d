"""Options as documents: PHIL and TOML text that can be read back, and a JSON schema."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyscale.errors import UsageError

from .option_text import format_value, parse_value
from .options.dials import expert_level
from .options.option import AUTO, Option
from .options.tree import options_of

__all__ = ["json_schema", "json_text", "phil_text", "toml_text", "value_of"]

_WIDTH = 110
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}
_PHIL_KINDS = {bool: ("bool", "bools"), int: ("int", "ints"), float: ("float", "floats"), str: ("str", "strings")}


def value_of(tree: Any, option: Option) -> Any:
    """The value of an option in a tree."""
    for part in option.path.split("."):
        tree = getattr(tree, part)
    return tree


def phil_text(tree: Any, expert: int | None = None, attributes: int = 0) -> str:
    """Return the options as PHIL text, as DIALS programs show their configuration.

    Parameters
    ----------
    tree
        A tree of options.
    expert
        Leave out options above this expert level, 0 (everyone) to 3 (developers); None for all options.
    attributes
        What is said of each option besides its value: 0 nothing; 1 its help; 2 also type and expert level.
    """

    def lines_of(option: Option, indent: str) -> list[str]:
        value = _phil_value(option, value_of(tree, option))
        return [f"{indent}{option.name} = {value}", *_phil_attributes(option, f"{indent}  ", attributes)]

    options = [option for option in _options(tree) if expert is None or expert_level(option.path) <= expert]
    return "\n".join(_nested(options, (), lines_of))


def _options(tree: Any) -> tuple[Option, ...]:
    root: Any = tree.__class__
    return options_of(root)


def _nested(
    options: Iterable[Option], scope: tuple[str, ...], lines_of: Callable[[Option, str], list[str]]
) -> Iterator[str]:
    """Lines of options in braces of their scopes; those directly in a scope come before the scopes inside it."""
    indent = "  " * len(scope)
    inner: dict[str, list[Option]] = {}
    for option in options:
        parts = option.path.split(".")[len(scope) :]
        if len(parts) == 1:
            yield from lines_of(option, indent)
        else:
            inner.setdefault(parts[0], []).append(option)
    for name, members in inner.items():
        yield f"{indent}{name} {{"
        yield from _nested(members, (*scope, name), lines_of)
        yield f"{indent}}}"


def _phil_value(option: Option, value: Any) -> str:
    if option.type.choices and not option.type.is_list:
        words = [*option.type.choices, *(["auto"] if option.type.auto else [])]
        chosen = "auto" if value is AUTO else value
        marked = " ".join(f"*{word}" if word == chosen else word for word in words)
        return f"None {marked}" if value is None else marked
    if value == () and not option.type.none:
        return "None"
    if isinstance(value, tuple):
        words = [format_value(item) for item in value]
        # One text with spaces would be taken for a list in quotes.
        plain = words and not (len(words) == 1 and words[0].startswith('"'))
        return " ".join(words) if plain else format_value(value)
    return format_value(value)


def _phil_attributes(option: Option, indent: str, level: int) -> list[str]:
    if level < 1:
        return []
    words = textwrap.wrap(json.dumps(_help(option), ensure_ascii=False)[1:-1], _WIDTH)
    lines = [f'{indent}.help = "{words[0]}"', *(f'{indent}        "{line}"' for line in words[1:])]
    if level > 1:
        lines += [f"{indent}.type = {_phil_kind(option)}", f"{indent}.expert_level = {expert_level(option.path)}"]
    return lines


def _phil_kind(option: Option) -> str:
    if option.type.choices:
        return "choice"
    single, several = _PHIL_KINDS[option.type.kind]
    return several if option.type.is_list else single


def _help(option: Option) -> str:
    later = f"; not yet available: {option.unavailable}" if isinstance(option.unavailable, str) else ""
    return (option.help + later).replace("\\", "/")


def toml_text(tree: Any) -> str:
    """Return the options as TOML text with types and help as comments; reading it gives the same options again."""
    lines: list[str] = []
    scope = ""
    # A table must not be reopened, so the options directly in one come before those of the tables inside it.
    options = sorted(_options(tree), key=lambda option: _scope_of(option) != "")
    for table in dict.fromkeys(_scope_of(option).partition(".")[0] for option in options):
        for option in (item for item in options if _scope_of(item).partition(".")[0] == table):
            if table != scope:
                scope = table
                lines += [f"[{table}]", ""]
            note = f"{_help(option)} ({option.type.description})"
            lines += textwrap.wrap(note, _WIDTH, initial_indent="# ", subsequent_indent="# ")
            name = option.path.removeprefix(f"{table}.") if table else option.path
            lines += [f"{name} = {_toml_value(option, value_of(tree, option))}", ""]
    return "\n".join(lines).rstrip()


def _scope_of(option: Option) -> str:
    return option.path.rpartition(".")[0]


def _toml_value(option: Option, value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_item(item) for item in value) + "]"
    if isinstance(value, str) and not _means(option, value):
        return _toml_scalar(format_value(value))
    return _toml_scalar(value if isinstance(value, (bool, int, float, str)) else format_value(value))


def _toml_item(item: Any) -> str:
    if isinstance(item, tuple):
        return "[" + ", ".join(map(_toml_item, item)) + "]"
    return _toml_scalar(item)


def _means(option: Option, text: str) -> bool:
    """Whether the text stands for itself where the option's value is read."""
    try:
        return bool(parse_value(option, text) == text)
    except UsageError:
        return False


def _toml_scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def json_schema(tree: Any, title: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the options of a tree, as they stand in `pyscale.scale.json`.

    Parameters
    ----------
    tree
        The dataclass of all options.
    title
        What the options are of.
    """
    root: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }
    for option in options_of(tree):
        place = root
        for part in option.path.split(".")[:-1]:
            empty = {"type": "object", "additionalProperties": False, "properties": {}}
            place = place["properties"].setdefault(part, empty)
        place["properties"][option.name] = _option_schema(option)
    return root


def json_text(tree: Any, title: str) -> str:
    """The JSON schema of the options of a tree as text."""
    return json.dumps(json_schema(tree, title), indent=1, ensure_ascii=False)


def _option_schema(option: Option) -> dict[str, Any]:
    kinds = [_value_schema(option)]
    kinds += [{"const": "auto"}] if option.type.auto else []
    kinds += [{"type": "null"}] if option.type.none else []
    default = option.default
    return {
        "description": _help(option),
        **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds}),
        "default": "auto" if default is AUTO else list(default) if isinstance(default, tuple) else default,
    }


def _value_schema(option: Option) -> dict[str, Any]:
    if option.type.choices:
        element: dict[str, Any] = {"enum": list(option.type.choices)}
    else:
        low, high = option.range or (None, None)
        limits = {"minimum": low, "maximum": high}
        element = {"type": _KINDS[option.type.kind], **{k: v for k, v in limits.items() if v is not None}}
    if not option.type.is_list:
        return element
    if option.type.is_nested:
        element = {"type": "array", "items": element}
    length = option.type.length
    return {"type": "array", "items": element, **({} if length is None else {"minItems": length, "maxItems": length})}
