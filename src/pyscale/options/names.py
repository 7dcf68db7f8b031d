"""From the names that people write to the options that they mean."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

from pyscale.errors import UsageError

from .option import AUTO, Option
from .tree import options_of, with_changes

__all__ = ["Assignment", "OldName", "OptionNames"]

T = TypeVar("T")
Convert = Callable[[Option, Any], Any]


@dataclass(frozen=True, kw_only=True)
class OldName:
    """What became of an option of older programs.

    Attributes
    ----------
    now : str or None
        The name to use instead; None if the option has no effect any more.
    advice : str
        Why it has no effect, or what to do instead.
    translate : callable or None
        From an old value to the new one.
    forbidden : bool
        Whether ignoring it would change results, so that it is an error.
    """

    now: str | None = None
    advice: str = ""
    translate: Callable[[Any], Any] | None = None
    forbidden: bool = False


@dataclass(frozen=True)
class Assignment:
    """What `name=value` means: checked values by dotted name, and a note for the user if there is one."""

    values: Mapping[str, Any]
    note: str | None = None


@dataclass(frozen=True)
class OptionNames(Generic[T]):
    """The names by which the options of one command are known.

    Attributes
    ----------
    tree : type
        The dataclass of all options.
    parallel_scopes : tuple of str
        Scopes of alternatives (the scaling models): a name that only they share sets it in each of them.
    old_names : mapping of str to OldName
        Dotted names of older programs, matched by suffix too.
    """

    tree: type[T]
    parallel_scopes: tuple[str, ...] = ()
    old_names: Mapping[str, OldName] = field(default_factory=dict)

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """All options of the tree."""
        tree: Any = self.tree
        return options_of(tree)

    def resolve(self, name: str) -> tuple[Option, ...]:
        """Return the options that a name stands for.

        A full dotted name wins over a suffix that begins after a dot, that over one after an underscore, then any
        suffix and at last any part of a name if only one has it. Options that dials.scale lacks never take the place
        of one of its own.

        Raises
        ------
        UsageError
            If there is no such option, or several; the message names the nearest ones.
        """
        matches = self._matches(name) or self._loose_matches(name)
        if not matches:
            raise UsageError(f"unknown option {_shown(name)}{self._suggestions(name)}")
        if len(matches) == 1:
            return matches
        scopes = {match.path.partition(".")[0] for match in matches}
        if scopes <= set(self.parallel_scopes):
            return tuple(match for match in matches if match.available) or matches[:1]
        paths = " or ".join(match.path for match in matches[:6])
        raise UsageError(f"option {name} is ambiguous: write {paths}")

    def assign(self, name: str, value: Any, convert: Convert = Option.check) -> Assignment:
        """Return what `name=value` means.

        Parameters
        ----------
        name
            Dotted name, its suffix, or a name of older programs.
        value
            Value as it was given.
        convert
            From the option and the value to a checked value.

        Raises
        ------
        UsageError
            If name or value are wrong, or the option is not available.
        """
        old = None if self._matches(name) else self._old_name(name)
        if old is None:
            chosen = _that_know_auto(self.resolve(name), value)
            return Assignment({option.path: convert(option, value) for option in chosen})
        if old.forbidden:
            raise UsageError(f"option {name} does not exist any more: {old.advice}")
        if old.now is None:
            return Assignment({}, f"option {name} has no effect any more: {old.advice}")
        if old.translate is not None:
            value = old.translate(value)
        options = _that_know_auto(self.resolve(old.now), value)
        note = f"option {name} was renamed to {' and '.join(option.path for option in options)}"
        return Assignment({option.path: convert(option, value) for option in options}, note)

    def from_keywords(self, keywords: Mapping[str, Any]) -> tuple[T, tuple[str, ...]]:
        """Return the options that Python keywords mean, and notes for the user.

        Names are matched like text, and a scope may be given as a mapping.

        Raises
        ------
        UsageError
            If a name or value is wrong.
        """
        values: dict[str, Any] = {}
        notes: list[str] = []
        for name, value in _flattened(keywords):
            assignment = self.assign(name, value)
            values |= assignment.values
            notes += [assignment.note] if assignment.note else []
        return with_changes(self.tree(), values), tuple(notes)

    def given_by(self, keywords: Mapping[str, Any]) -> frozenset[str]:
        """Dotted names of the options that Python keywords set, also if the value is the default."""
        return frozenset(path for name, value in _flattened(keywords) for path in self.assign(name, value).values)

    @cached_property
    def _names(self) -> tuple[tuple[str, Option], ...]:
        return tuple((name, option) for option in self.options for name in option.names)

    def _matches(self, name: str) -> tuple[Option, ...]:
        for mark in ("", ".", "_"):
            found = {
                option.path: option
                for full, option in self._names
                if (full.endswith(mark + name) if mark else full == name)
            }
            dials = tuple(match for match in found.values() if not match.own)
            if dials or (found and mark != "_"):
                return dials or tuple(found.values())
        return ()

    def _loose_matches(self, name: str) -> tuple[Option, ...]:
        """The only option whose name ends with these letters, else the only one that has them; our own come last."""
        if not name:
            return ()
        for options in ([option for option in self.options if not option.own], self.options):
            for fits in (str.endswith, str.__contains__):
                found = tuple(option for option in options if fits(option.path, name))
                if found:
                    return found if len(found) == 1 else ()
        return ()

    def _old_name(self, name: str) -> OldName | None:
        for full, old in self.old_names.items():
            if full == name or full.endswith(f".{name}"):
                return old
        return None

    def _suggestions(self, name: str) -> str:
        wanted = name.lower()[:80]
        by_name: dict[str, str] = {}
        for full, option in self._names:
            by_name.setdefault(full.lower(), option.path)
            by_name.setdefault(full.rpartition(".")[2].lower(), option.path)
        near = [by_name[key] for key in difflib.get_close_matches(wanted, by_name, n=6, cutoff=0.6)]
        near += [path for key, path in by_name.items() if len(wanted) > 2 and wanted in key]
        paths = list(dict.fromkeys(near))[:3]
        return f": did you mean {' or '.join(paths)}?" if paths else " (--show-options lists all)"


def _that_know_auto(options: tuple[Option, ...], value: Any) -> tuple[Option, ...]:
    """Those of several models' options that may be auto, if the value is auto and there are any."""
    if value is not AUTO and str(value).strip().lower() != AUTO.value:
        return options
    return tuple(option for option in options if option.type.auto) or options


def _shown(name: str) -> str:
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)
    return printable if len(printable) <= 80 else printable[:77] + "..."


def _flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
