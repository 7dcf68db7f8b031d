"""The log of a job: its log file, and what of it people see while it runs."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyscale.errors import PyscaleError
from pyscale.io.atomic import write_atomically

from .progress import shown_progress
from .terminal import write, write_error

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pyscale.progress import Progress

__all__ = ["QUIET", "JobLog", "UnexpectedError", "setup_logging"]

QUIET = -1
"""Verbosity at which nothing is shown but errors."""

_LOGGER = logging.getLogger("pyscale")
_CONTINUED = " " * 10
"""Before the further lines of a record: they start below the message."""


class UnexpectedError(Exception):
    """An error in pyscale itself; its cause has the traceback, which is in the log file too."""

    def __init__(self, log_path: Path) -> None:
        super().__init__(f"unexpected error, see {log_path}")
        self.log_path = log_path


class _LogFormatter(logging.Formatter):
    """Time and message; the level of warnings; stages as headings, of which all that belongs to them is below."""

    def __init__(self) -> None:
        super().__init__(datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        time = self.formatTime(record, self.datefmt)
        text = record.getMessage()
        if getattr(record, "stage", None) is not None:
            return f"\n{time}  {text} " + "-" * max(66 - len(text), 3)
        if record.levelno >= logging.WARNING:
            text = f"{record.levelname}: {text}"
        first, *rest = text.split("\n")
        return "\n".join([f"{time}  {first}", *(f"{_CONTINUED}{line}".rstrip() for line in rest)])


class JobLog(logging.Handler):
    """All records of a job, kept in memory until it has succeeded, so that a failed one leaves no file."""

    def __init__(self, level: int = logging.INFO) -> None:
        super().__init__(level)
        self.setFormatter(_LogFormatter())
        self._lines: list[str] = []
        self._heading: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record; a heading only if something follows it."""
        text = self.format(record)
        if getattr(record, "stage", None) is not None:
            self._heading = text
            return
        self._lines += [text] if self._heading is None else [self._heading, text]
        self._heading = None

    @property
    def text(self) -> str:
        """All lines so far."""
        return "".join(f"{line}\n" for line in self._lines)


class _LineHandler(logging.Handler):
    """Warnings and notices go to standard error, with -v everything else to standard output.

    A record with `extra={"notice": True}` is a notice; one with `extra={"console": False}` is for the log
    file alone.
    """

    def __init__(self, verbose: int) -> None:
        super().__init__()
        self._verbose = verbose

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, "console", True) or self._verbose <= QUIET:
            return
        if record.levelno >= logging.WARNING:
            write_error(f"{record.levelname.lower()}: {record.getMessage()}")
        elif getattr(record, "notice", False):
            write_error(f"note: {record.getMessage()}")
        elif self._verbose:
            write(record.getMessage())


@contextmanager
def setup_logging(log_path: str | os.PathLike[str] | None, verbose: int = 0) -> Iterator[Callable[[Progress], None]]:
    """Log a job: to its log file, to the terminal as progress, and with -v line by line.

    The library logs to children of the logger `pyscale`; attributes of records that move the line of progress are
    those of `JobProgress.update`.

    Parameters
    ----------
    log_path
        The log file, written when the block ends well; None for none. After wrong usage, bad data or an
        interruption nothing is written; after an unexpected error the log holds the traceback.
    verbose
        QUIET: nothing; 0: warnings and progress; 1: lines worth reading; 2 or more: everything, in the log file too.

    Yields
    ------
    Callable
        Takes the `Progress` of the job.

    Raises
    ------
    UnexpectedError
        If the block raises anything that is not meant for a user.
    """
    level = logging.DEBUG if verbose > 1 else logging.INFO
    log = JobLog(level)
    handlers: list[logging.Handler] = [log, _LineHandler(verbose)]
    before = (_LOGGER.level, _LOGGER.propagate)
    _LOGGER.setLevel(level)
    _LOGGER.propagate = False
    try:
        with shown_progress(is_wanted=verbose == 0) as progress, _staged(log_path) as staged:
            handlers.append(progress)
            for handler in handlers:
                _LOGGER.addHandler(handler)
            yield progress.progress.report
            if staged is not None:
                staged.write_text(log.text, encoding="utf-8", errors="backslashreplace")
    except (PyscaleError, OSError, MemoryError):
        raise
    except Exception as error:
        if log_path is None:
            raise
        _write_traceback(Path(log_path), log, error)
        raise UnexpectedError(Path(log_path)) from error
    finally:
        for handler in handlers:
            _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(before[0])
        _LOGGER.propagate = before[1]


def _staged(log_path: str | os.PathLike[str] | None) -> AbstractContextManager[Path | None]:
    """The log file to be: whether it can be written is known before the work begins."""
    return nullcontext() if log_path is None else write_atomically(log_path)


def _write_traceback(log_path: Path, log: JobLog, error: Exception) -> None:
    with suppress(PyscaleError, OSError):
        _write_text(log_path, log.text + "".join(traceback.format_exception(error)))


def _write_text(path: Path, text: str) -> None:
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
