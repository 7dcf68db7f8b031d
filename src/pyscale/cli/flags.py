"""Flags of all commands, those of DIALS programs among them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from pyscale.errors import UsageError

__all__ = ["FLAG_HELP", "Flags", "read_flags"]

FLAG_HELP = """Flags:
  -h, --help              this text
  --show-options[=FORM]   every option; FORM is text, toml or phil
  --options-schema        the JSON schema of the options
  -c, --show-config       the options as they would be used, as PHIL text
  -e, --expert-level N    with -c: options up to this expert level, 0 to 3
  -a, --attributes-level N  with -c: 1 adds help, 2 types and levels
  --phil FILE             options from a file; - is standard input
  -s, --sort              sort the input files by name
  -v, --verbose           say what is being done; -vv: everything
  -q, --quiet             say nothing but errors
  --version               the version"""

_COMPLETION = "pyscale has no completion for the shell; --show-options lists the names of all options"
_WITH_VALUE = {
    "-e": "expert",
    "--expert-level": "expert",
    "-a": "attributes",
    "--attributes-level": "attributes",
    "--phil": "phil",
}
_SWITCHES = {
    "-h": "help",
    "--help": "help",
    "-c": "config",
    "--show-config": "config",
    "--options-schema": "schema",
    "-s": "sort",
    "--sort": "sort",
    "-q": "quiet",
    "--quiet": "quiet",
    "--version": "version",
}
_FORMS = ("text", "toml", "phil")


@dataclass
class Flags:
    """What the flags of a command line ask for.

    Attributes
    ----------
    asked : set of str
        Of help, config, schema, sort, version, quiet.
    show : str or None
        Form in which all options are to be shown: text, toml or phil.
    expert, attributes : int
        Levels for the configuration.
    verbose : int
        How much is to be said; below zero: nothing but errors.
    option_files : list of str
        Files of options.
    """

    asked: set[str] = field(default_factory=set)
    show: str | None = None
    expert: int = 0
    attributes: int = 0
    verbose: int = 0
    option_files: list[str] = field(default_factory=list)


def read_flags(arguments: Sequence[str]) -> tuple[Flags, list[str]]:
    """Return the flags, and the arguments that are none.

    Raises
    ------
    UsageError
        If a flag is unknown, lacks its value, or is one that pyscale cannot honour; the message names it.
    """
    flags = Flags()
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        name, equals, value = argument.partition("=")
        short = re.fullmatch(r"(-[ea])=?(\S+)", argument)
        if not argument.startswith("-") or len(argument) < 2:
            rest.append(argument)
        elif name in _WITH_VALUE:
            _set_value(flags, name, value if equals else _next(name, waiting))
        elif short:
            _set_value(flags, short[1], short[2])
        elif name == "--show-options":
            flags.show = _form(value) if equals else "text"
        else:
            _set_switch(flags, argument)
    if "quiet" in flags.asked:
        if flags.verbose:
            raise UsageError("flags --quiet and --verbose contradict each other: give one of them")
        flags.verbose = -1
    return flags, rest


def _next(name: str, waiting: list[str]) -> str:
    if not waiting:
        raise UsageError(f"flag {name} needs a value (--help lists the flags)")
    return waiting.pop(0)


def _set_value(flags: Flags, name: str, value: str) -> None:
    kind = _WITH_VALUE[name]
    if kind == "phil":
        flags.option_files += [] if value in flags.option_files else [value]
    elif re.fullmatch(r"-?\d", value, re.ASCII):
        setattr(flags, kind, int(value))
    else:
        raise UsageError(f"flag {name} {value[:40]}: expected a level, 0 to 3")


def _set_switch(flags: Flags, argument: str) -> None:
    if argument in _SWITCHES:
        flags.asked.add(_SWITCHES[argument])
    elif argument == "--verbose":
        flags.verbose += 1
    elif argument.strip("v") == "-":
        flags.verbose += len(argument) - 1
    elif argument == "--export-autocomplete-hints":
        raise UsageError(f"flag {argument}: {_COMPLETION}")
    else:
        near = get_close_matches(argument, [*_SWITCHES, *_WITH_VALUE, "--show-options", "-v", "--verbose"], n=1)
        raise UsageError(f"unknown flag {argument[:60]}" + (f": did you mean {near[0]}?" if near else ""))


def _form(value: str) -> str:
    if value.lower() not in _FORMS:
        raise UsageError(f"flag --show-options={value[:40]}: expected one of {', '.join(_FORMS)}")
    return value.lower()
