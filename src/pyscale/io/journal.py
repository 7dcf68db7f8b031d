"""What output sets are about to write and have written, for a command that may be stopped at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

__all__ = ["Journal", "journal_in_use", "keep_journal"]

_LONGEST_WAIT = 5.0
"""Seconds for which files that are being renamed are waited for."""


class Journal:
    """Files of a command.

    Attributes
    ----------
    temporary : set of Path
        Files that are not at their place yet.
    written : list of Path
        Outputs that are, in their order.
    is_settling : bool
        Whether files are being moved to their places or removed, which must not be cut short.
    settled : callable or None
        Called, by the thread that moved files, whenever this is over.
    """

    def __init__(self) -> None:
        self.temporary: set[Path] = set()
        self.written: list[Path] = []
        self.is_settling = False
        self.settled: Callable[[], None] | None = None
        self._lock = threading.Lock()

    @contextmanager
    def settling(self) -> Iterator[None]:
        """Move or remove files in the block."""
        try:
            with self._lock:
                self.is_settling = True
                try:
                    yield
                finally:
                    self.is_settling = False
        finally:
            if self.settled is not None:
                self.settled()

    def abandon(self) -> None:
        """Remove all temporary files for good, from any thread; whoever moves files afterwards waits for ever."""
        self._lock.acquire(timeout=_LONGEST_WAIT)
        for temporary in list(self.temporary):
            temporary.unlink(missing_ok=True)


_in_use: ContextVar[Journal | None] = ContextVar("journal", default=None)


def journal_in_use() -> Journal:
    """Return the journal of the command that is running, or one that nobody reads."""
    return _in_use.get() or Journal()


@contextmanager
def keep_journal(journal: Journal) -> Iterator[None]:
    """Note in a journal what all output sets that are made in the block do."""
    token = _in_use.set(journal)
    try:
        yield
    finally:
        _in_use.reset(token)
