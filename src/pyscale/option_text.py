"""The one adapter between text and options: `name=value`, TOML and PHIL files, and back to text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pyscale.errors import UsageError

from .option_files import GivenOption, is_option_file, read_option_file
from .options.names import Assignment, OptionNames
from .options.option import AUTO, Option
from .options.tree import options_of, with_changes

__all__ = [
    "ParsedArguments",
    "changed_options",
    "format_option",
    "format_value",
    "parse_arguments",
    "parse_value",
]

T = TypeVar("T")

_ASSIGNMENT = re.compile(r"([A-Za-z_][\w.]*)\s*=(.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_NO_VALUE = re.compile(r"[A-Za-z_][\w.]*\s*=\s*")
_ELEMENT = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'|[^,\s]+')
_BOOLS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
_INPUT_FILES = {"input.experiments", "input.reflections"}


@dataclass(frozen=True)
class ParsedArguments(Generic[T]):
    """What a command line says.

    Attributes
    ----------
    options : dataclass
        The options with all values.
    files : tuple of Path
        Arguments that are not options, in their order.
    notes : tuple of str
        Notes for the user, one line each, for example about renamed options.
    given : frozenset of str
        Dotted names of the options that were given, also if the value is the default.
    """

    options: T
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    given: frozenset[str]


def parse_arguments(
    arguments: Sequence[str], names: OptionNames[T], option_files: Sequence[str] = ()
) -> ParsedArguments[T]:
    """Read the arguments of a command.

    `name=value` sets an option, `*.toml`, `*.phil` and `*.eff` are files of options, everything else is an input file.
    Option files come first, and arguments win over them; the last of several values counts. Spaces around `=` do no
    harm. DIALS' `input.experiments=` and `input.reflections=` name input files.

    Parameters
    ----------
    arguments
        Arguments without the name of the command.
    names
        The command's options.
    option_files
        More files of options, whatever their names, read first; `-` is PHIL text from standard input.

    Raises
    ------
    UsageError
        If an option is unknown, ambiguous, ill-typed or out of range, or a file of options cannot be read.
    """
    files: list[Path] = []
    given: list[GivenOption] = []
    from_files = [item for name in option_files for item in read_option_file(name)]
    joined, notes = _joined(arguments)
    for argument in joined:
        match = _ASSIGNMENT.fullmatch(argument)
        if match and not _exists(argument):
            given.append(GivenOption(match[1], match[2].strip()))
        elif is_option_file(argument):
            from_files += read_option_file(argument)
        elif not argument:
            raise UsageError("an argument is empty")
        else:
            files.append(Path(argument))
    values: dict[str, Any] = {}
    repeatable = {option.path for option in names.options if option.repeatable}
    for item in from_files + given:
        if item.name in _INPUT_FILES:
            files += _input_files(item.value)
            continue
        assignment = _assignment(item, names)
        for path, value in assignment.values.items():
            values[path] = values.get(path, ()) + value if path in repeatable else value
        notes += [assignment.note] if assignment.note else []
    options = with_changes(names.tree(), values)
    return ParsedArguments(options, tuple(files), tuple(dict.fromkeys(notes)), frozenset(values))


def _joined(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Put together what a space beside `=` has cut: `d_min= 2`, `d_min =2`, `d_min = 2`; and a note on each."""
    joined: list[str] = []
    notes: list[str] = []
    rest = list(arguments)
    while rest:
        parts = [rest.pop(0)]
        if _NAME.fullmatch(parts[0]) and not _exists(parts[0]) and rest and rest[0].startswith("="):
            parts.append(rest.pop(0))
        if _NO_VALUE.fullmatch("".join(parts)) and rest and "=" not in rest[0] and not _exists(rest[0]):
            parts.append(rest.pop(0))
        joined.append("".join(parts))
        notes += [f"{' '.join(parts)} was read as {joined[-1]}"] if len(parts) > 1 else []
    return joined, notes


def _assignment(item: GivenOption, names: OptionNames[T]) -> Assignment:
    """What a given option means; errors say where it was given."""
    try:
        return names.assign(item.name, item.value, parse_value)
    except UsageError as error:
        raise UsageError(f"{item.place}: {error}" if item.place else str(error)) from None


def _input_files(text: Any) -> list[Path]:
    names = [_unquoted(item) for item in _split_list(text)] if isinstance(text, str) else []
    return [Path(name) for name in names if name.lower() not in {"none", "auto"}]


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:
        return False


def parse_value(option: Option, text: Any) -> Any:
    """Return the value that text means for an option.

    Parameters
    ----------
    option
        The option.
    text
        Text of the value; anything else is checked as it is.

    Raises
    ------
    UsageError
        If the text is not of the option's type, out of range, or the option is not available.
    """
    if not isinstance(text, str):
        return option.check(text)
    text = text.strip()
    if not text:
        raise UsageError(f"option {option.path} has no value: expected {option.type.description}")
    word = text.lower()
    if word == "none" or _is_list_of_choices(option, text):
        return option.check(_unset(option))
    if word == "auto" and option.type.auto:
        return option.check(AUTO)
    if option.type.is_nested:
        lists = re.findall(r"\[([^][]*)\]", text) or [text]
        return option.check(tuple(tuple(_parse_element(option, item) for item in _split_list(t, int)) for t in lists))
    if option.type.is_list:
        return option.check(tuple(_parse_element(option, item) for item in _split_list(text, option.type.kind)))
    return option.check(_parse_element(option, text))


def _unset(option: Option) -> Any:
    """What None means: nothing, or else the default where pyscale chooses."""
    if option.type.none:
        return None
    if option.type.auto:
        return AUTO
    return () if option.type.is_list else None


def _is_list_of_choices(option: Option, text: str) -> bool:
    """Whether it is PHIL's list of all choices with none of them chosen."""
    words = text.split()
    return len(words) > 1 and set(words) <= {*option.type.choices, "None", "auto"} and bool(option.type.choices)


def _parse_element(option: Option, text: str) -> Any:
    kind = option.type.kind
    if kind is str:
        return _choice(text) if option.type.choices else _unquoted(text)
    converter: Callable[[str], Any] = {bool: _parse_bool, int: _parse_int, float: _parse_float}[kind]
    try:
        return converter(_unquoted(text))
    except (KeyError, ValueError):
        # The option's own check words the message.
        return option.check(text)


def _choice(text: str) -> str:
    """A choice by itself, or PHIL's list of all choices with an asterisk at the one that is chosen."""
    words = [_unquoted(word) for word in text.split()]
    starred = [word[1:] for word in words if word.startswith("*")]
    if len(starred) == 1:
        return starred[0]
    return _unquoted(text)


def _parse_bool(text: str) -> bool:
    return _BOOLS[text.lower()]


def _parse_int(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,30}", text, re.ASCII):
        raise ValueError
    return int(text)


def _parse_float(text: str) -> float:
    if "_" in text:
        raise ValueError
    return float(text)


def _split_list(text: str, kind: type = str) -> list[str]:
    """Texts of the elements, quotes kept.

    Quotes around a whole list are no element's. Where elements are texts, quotes keep a comma, but no space, unless
    they stand in brackets.
    """
    whole = _unquoted(text)
    divided = re.search(r"\s" if kind is str else r"[\s,]", whole) or _in_brackets(whole)
    if whole != text and text.count(text[0]) == 2 and divided:
        text = whole
    return _ELEMENT.findall(text[1:-1] if _in_brackets(text) else text)


def _in_brackets(text: str) -> bool:
    return len(text) >= 2 and text[0] + text[-1] in {"[]", "()"}


def _unquoted(text: str) -> str:
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "\"'":
        return text
    if text[0] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            pass
    return text[1:-1]


def format_value(value: Any) -> str:
    """Return text that `parse_value` turns into the same value."""
    if value is None:
        return "None"
    if value is AUTO:
        return "auto"
    if isinstance(value, tuple):
        return "[" + ", ".join(format_value(item) for item in value) + "]"
    if isinstance(value, str) and not re.fullmatch(r"(?!(?i:none|auto)$)[\w.:/+-]+", value, re.ASCII):
        return json.dumps(value)
    return value if isinstance(value, str) else repr(value)


def format_option(path: str, value: Any) -> str:
    """Return `name=value`, which sets the option to this value."""
    return f"{path}={format_value(value)}"


def changed_options(options: Any) -> dict[str, Any]:
    """Return the values that differ from the defaults, by dotted name."""
    tree: Any = options.__class__
    changed: dict[str, Any] = {}
    for option in options_of(tree):
        value = options
        for part in option.path.split("."):
            value = getattr(value, part)
        if value != option.default:
            changed[option.path] = value
    return changed
