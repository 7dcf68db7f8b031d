"""Columns over consecutive rows of others, which they share until they are replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

__all__ = ["SharedColumns", "joined_columns"]


class _Column(Protocol):
    def __len__(self) -> int: ...
    def part(self: _C, start: int, stop: int) -> _C: ...


_C = TypeVar("_C", bound=_Column)


class SharedColumns(Generic[_C]):
    """Columns by name: those of its own, and rows `start` to `stop` of others, which are never changed.

    Threads may read the same columns at once, and take parts of them.
    """

    def __init__(self) -> None:
        self._own: dict[str, _C] = {}
        self._others: dict[str, _C] = {}
        self._hidden: frozenset[str] = frozenset()
        self._start = self._stop = 0
        self._whole: list[SharedColumns[_C]] = []

    @property
    def n_rows(self) -> int:
        """Rows of each column."""
        if self._others:
            return self._stop - self._start
        return len(next(iter(self._own.values()))) if self._own else 0

    def names(self) -> Iterator[str]:
        """Names of all columns, in no order."""
        yield from self._own
        yield from (n for n in self._others if n not in self._own and n not in self._hidden)

    def has_others(self, name: str) -> bool:
        """Whether there are columns besides one."""
        return any(n != name for n in self.names())

    def __contains__(self, name: object) -> bool:
        return name in self._own or (name in self._others and name not in self._hidden)

    def whole(self, name: str) -> _C:
        """Return the column that a column is rows of."""
        if name in self._own or name in self._hidden:
            return self._own[name]
        return self._others[name]

    def __getitem__(self, name: str) -> _C:
        column = self.whole(name)
        if name in self._own or (self._start == 0 and self._stop == len(column)):
            return column
        return column.part(self._start, self._stop)

    def __setitem__(self, name: str, column: _C) -> None:
        self._own, self._whole = {**self._own, name: column}, []

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._own, self._whole = {n: c for n, c in self._own.items() if n != name}, []
        self._hidden |= self._others.keys() & {name}

    def copy(self) -> SharedColumns[_C]:
        """Return the same columns; replacing one of the copy's leaves this one alone."""
        # A subscript would be evaluated at each of very many calls.
        result: SharedColumns[_C] = SharedColumns()
        result.__dict__ = self.__dict__.copy()
        return result

    def part(self, start: int, stop: int) -> SharedColumns[_C]:
        """Return some rows of all columns, which are shared."""
        if self._own and self._start == 0 and all(len(c) == self._stop for c in self._others.values()):
            return self._as_whole().part(start, stop)
        result = self.copy()
        result._whole = []
        if self._others:
            result._own = {name: column.part(start, stop) for name, column in self._own.items()}
        result._start, result._stop = self._start + start, self._start + stop
        return result

    def _as_whole(self) -> SharedColumns[_C]:
        """The same columns as others: parts of a table whose columns are all whole share these, those of its own, too.

        They are made once, since parts follow each other in the same ones.
        """
        if not self._whole:
            whole: SharedColumns[_C] = SharedColumns()
            whole._others, whole._stop = {name: self.whole(name) for name in self.names()}, self.n_rows
            self._whole.append(whole)
        return self._whole[0]

    def follows(self, previous: SharedColumns[_C]) -> bool:
        """Whether the rows follow others in the same columns; those that were replaced have to be the same ones."""
        return (
            bool(self._others)
            and self._others is previous._others
            and previous._stop == self._start
            and self._hidden == previous._hidden
            and self._own.keys() == previous._own.keys()
        )


def joined_columns(
    parts: Sequence[SharedColumns[_C]], join: Callable[[str], _C]
) -> tuple[SharedColumns[_C], list[str]]:
    """Join rows: columns that all have, and the names of the others.

    Parameters
    ----------
    parts
        At least one.
    join
        Joins all columns of a name; not called where these are consecutive rows of one column.
    """
    result: SharedColumns[_C] = SharedColumns()
    first = parts[0]
    untouched: set[str] = set()
    names = set().union(*(p._own for p in parts), *(p._hidden for p in parts))
    if all(p._others is q._others and p._stop == q._start for p, q in pairwise(parts)):
        result._others, result._start, result._stop = first._others, first._start, parts[-1]._stop
        untouched = first._others.keys() - names
    else:
        names = set().union(*(p.names() for p in parts))
    kept = {name for name in names if all(name in p for p in parts)}
    result._hidden = frozenset(result._others.keys() - untouched)
    result._own = {name: join(name) for name in sorted(kept)}
    return result, sorted(name for name in names - kept if any(name in p for p in parts))
