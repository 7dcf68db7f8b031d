"""What all commands share: their flags, their help and the reading of their arguments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, TypeVar

from pyscale.errors import UsageError
from pyscale.option_text import ParsedArguments, format_value, parse_arguments
from pyscale.options import Option, OptionNames

from .console import write

__all__ = [
    "CommandFrame",
    "CommandLine",
    "help_text",
    "options_text",
    "range_text",
    "sentence",
    "unavailable_notes",
]

T = TypeVar("T")

_FLAGS = ("-h", "--help", "--show-options", "-v", "--verbose")
_WIDTH = 110
_FLAG_HELP = """Flags:
  -h, --help        this text
  --show-options    every option with type, default and meaning
  -v, --verbose     say what is being done; -vv: everything"""


@dataclass(frozen=True)
class CommandLine(Generic[T]):
    """The arguments of a command, read."""

    parsed: ParsedArguments[T]
    verbose: int


@dataclass(frozen=True)
class CommandFrame(Generic[T]):
    """One command as its user sees it.

    Attributes
    ----------
    name, arguments, summary : str
        For the first lines of its help.
    names : OptionNames
        Its options.
    needs_files : bool
        Whether it cannot do without input files.
    takes_files : bool
        Whether it has input files at all.
    """

    name: str
    arguments: str
    summary: str
    names: OptionNames[T]
    needs_files: bool = True
    takes_files: bool = True

    def read(self, arguments: Sequence[str]) -> CommandLine[T] | None:
        """Read arguments; None if they only asked for help, which has been given then.

        Raises
        ------
        UsageError
            If a flag, an option or a value is wrong, or there are no input files where some are needed.
        """
        flags = [item for item in arguments if _is_flag(item)]
        if {"-h", "--help"} & set(flags):
            write(help_text(self))
            return None
        if "--show-options" in flags:
            write(options_text(self.names.options))
            return None
        verbose = sum(_verbosity(flag) for flag in flags)
        parsed = parse_arguments([item for item in arguments if not _is_flag(item)], self.names)
        if self.needs_files and not parsed.files:
            raise UsageError(f"no input files: pyscale {self.name} {self.arguments} (--help lists the options)")
        if parsed.files and not self.takes_files:
            raise UsageError(f"pyscale {self.name} takes no files, only name=value: {parsed.files[0]}")
        return CommandLine(parsed, verbose)


def _is_flag(argument: str) -> bool:
    return argument.startswith("-") and len(argument) > 1


def _verbosity(flag: str) -> int:
    if flag == "--verbose":
        return 1
    if flag.strip("v") == "-":
        return len(flag) - 1
    near = get_close_matches(flag, _FLAGS, n=1)
    raise UsageError(f"unknown flag {flag[:60]}" + (f": did you mean {near[0]}?" if near else ""))


def help_text(frame: CommandFrame[T]) -> str:
    """The help of a command: the common options first, then the others by topic."""
    available = [option for option in frame.names.options if option.available]
    sections = [f"pyscale {frame.name} {frame.arguments}".rstrip(), frame.summary, "", _FLAG_HELP, ""]
    common = [option for option in available if option.common]
    topics = dict.fromkeys(option.topic for option in available)
    if common:
        sections += ["Common options (name=value; a unique last part of the name will do):", _listing(common)]
    for topic in topics:
        rest = [option for option in available if option.topic == topic and not option.common]
        if rest:
            sections += [f"{topic}:" if common else "Options (name=value):", _listing(rest)]
    return "\n".join(sections).rstrip()


def options_text(options: Iterable[Option]) -> str:
    """Every option with name, default, type, range and meaning."""
    lines: list[str] = []
    for option in options:
        lines += [f"{option.path} = {format_value(option.default)}"]
        lines += _wrapped(f"{option.type.description}{range_text(option)}. {sentence(option.help)}")
        lines += _wrapped(f"Also: {', '.join(option.aliases)}.") if option.aliases else []
        lines += [line for text in unavailable_notes(option) for line in _wrapped(text)]
    return "\n".join(lines)


def unavailable_notes(option: Option) -> list[str]:
    """Sentences on what is not available yet."""
    if isinstance(option.unavailable, str):
        return [f"Not yet available: {option.unavailable}."]
    by_advice: dict[str, list[str]] = {}
    for value, advice in (option.unavailable or {}).items():
        by_advice.setdefault(advice, []).append(str(value))
    return [f"Not yet available: {', '.join(values)}; {advice}." for advice, values in by_advice.items()]


def _listing(options: Iterable[Option]) -> str:
    lines: list[str] = []
    for option in options:
        lines += [f"  {option.path}={format_value(option.default)}", *_wrapped(sentence(option.help))]
    return "\n".join([*lines, ""])


def sentence(text: str) -> str:
    """A text with a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def range_text(option: Option) -> str:
    """The range of an option in words, to follow its type."""
    low, high = option.range or (None, None)
    if low is not None and high is not None:
        return f", {low:g} to {high:g}"
    if low is not None:
        return f", at least {low:g}"
    return "" if high is None else f", at most {high:g}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
