"""What all commands share: their flags, their help and the reading of their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import pyscale
from pyscale.errors import UsageError
from pyscale.option_documents import json_text, phil_text, toml_text
from pyscale.option_text import ParsedArguments, format_value, parse_arguments
from pyscale.options import Option, OptionNames

from .flags import FLAG_HELP, Flags, read_flags
from .terminal import terminal_width, wrapped, write

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


@dataclass(frozen=True)
class CommandLine(Generic[T]):
    """The arguments of a command, read."""

    parsed: ParsedArguments[T]
    verbose: int

    def write(self, text: str) -> None:
        """Write lines to standard output, unless the user wants to hear of errors only."""
        if self.verbose >= 0:
            write(text)


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
        flags, rest = read_flags(arguments)
        shown = self._shown(flags)
        if shown is None:
            parsed = parse_arguments(rest, self.names, flags.option_files)
            if "sort" in flags.asked:
                parsed = replace(parsed, files=tuple(sorted(parsed.files)))
            if "config" in flags.asked:
                shown = phil_text(parsed.options, flags.expert, flags.attributes)
        if shown is not None:
            write(shown)
            return None
        if self.needs_files and not parsed.files:
            raise UsageError(f"no input files: pyscale {self.name} {self.arguments} (--help lists the options)")
        if parsed.files and not self.takes_files:
            raise UsageError(f"pyscale {self.name} takes no files, only name=value: {parsed.files[0]}")
        return CommandLine(parsed, flags.verbose)

    def _shown(self, flags: Flags) -> str | None:
        """The text that flags ask for, whatever else is on the command line; None if they ask for none."""
        if "help" in flags.asked:
            return help_text(self)
        if "version" in flags.asked:
            return f"pyscale {pyscale.__version__}"
        tree: Any = self.names.tree
        if "schema" in flags.asked:
            return json_text(tree, f"Options of pyscale {self.name}")
        if flags.show == "text":
            return options_text(self.names.options)
        if flags.show is not None:
            return toml_text(tree()) if flags.show == "toml" else phil_text(tree(), attributes=1)
        return None


def help_text(frame: CommandFrame[T]) -> str:
    """The help of a command: the common options first, then the others by topic."""
    available = [option for option in frame.names.options if option.available]
    summary = [line for text in frame.summary.split("\n") for line in wrapped(text, terminal_width())]
    sections = [f"pyscale {frame.name} {frame.arguments}".rstrip(), *summary, "", FLAG_HELP, ""]
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
    return wrapped(text, terminal_width(), " " * 6, " " * 6)
