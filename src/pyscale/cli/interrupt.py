"""Ctrl-C, SIGTERM and a closed terminal: the command stops at once, and leaves no unfinished files."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pyscale.io.journal import Journal, keep_journal

from .terminal import last_words

__all__ = ["Interrupted", "interruptible", "what_is_kept"]

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_MOST_NAMED = 4

_UNTIL_PYTHON = 0.15
"""Seconds in which the main thread may come back from the C++ core and end the command in good order."""

_UNTIL_END = 1.0
"""Seconds in which it must have ended it, threads and all."""


class Interrupted(KeyboardInterrupt):
    """A signal told the command to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_status = 128 + number


class _Watch:
    """Handlers of signals in the main thread, and a thread that ends the process where these are not reached."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._postponed: int | None = None
        self._handled, self._ended = threading.Event(), threading.Event()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._before: dict[int, Any] = {}
        journal.settled = self._settled

    def start(self) -> None:
        # A signal that is ignored, as under nohup, stays ignored.
        for number in _SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._handle)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, name="pyscale-signals", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._writer)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._handled.set()
        if self._journal.is_settling:
            self._postponed = number
        else:
            raise Interrupted(number)

    def _settled(self) -> None:
        number, self._postponed = self._postponed, None
        if number is not None:
            raise Interrupted(number)

    def _watch(self) -> None:
        """Wait for a signal; Python's own handlers run only when the main thread has come back from C++."""
        while received := os.read(self._reader, 1):
            if received[0] in self._before:
                handled = self._handled.wait(_UNTIL_PYTHON)
                if not handled or not self._ended.wait(_UNTIL_END):
                    self._end_process(received[0])
        os.close(self._reader)

    def _end_process(self, number: int) -> None:
        self._journal.abandon()
        if self._ended.is_set():
            return
        last_words(what_is_kept(self._journal))
        os._exit(128 + number)


@contextmanager
def interruptible(journal: Journal) -> Iterator[None]:
    """Let signals stop the block at once, even in the C++ core: temporary files go, finished outputs stay.

    Parameters
    ----------
    journal
        Which the files of the block are noted in.

    Raises
    ------
    Interrupted
        In the main thread. If that does not come back from C++ soon, the process ends without it, with the exit
        status 128 + number of the signal.
    """
    with keep_journal(journal):
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        watch = _Watch(journal)
        watch.start()
        try:
            yield
        finally:
            watch.stop()


def what_is_kept(journal: Journal) -> str:
    """Say what a command that was stopped leaves behind."""
    names = [os.path.relpath(path) for path in journal.written]
    if not names:
        return "interrupted: no output was written, and files from before are as they were"
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"interrupted: these outputs are complete and kept: {', '.join(names[:_MOST_NAMED])}{more}"
