"""What people see: output, errors, progress on a terminal, and the log file."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pyscale.errors import PyscaleError
from pyscale.io.atomic import write_atomically

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.status import Status

__all__ = ["JobLog", "UnexpectedError", "close_output", "setup_logging", "write", "write_error"]

_LOGGER = logging.getLogger("pyscale")
_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class UnexpectedError(Exception):
    """An error in pyscale itself; its cause has the traceback, which is in the log file too."""

    def __init__(self, log_path: Path) -> None:
        super().__init__(f"unexpected error, see {log_path}")
        self.log_path = log_path


def write(text: str) -> None:
    """Write lines to standard output; a reader who has gone (`| head`) does not end the job."""
    _write(sys.stdout, text)


def write_error(text: str) -> None:
    """Write one line to standard error."""
    _write(sys.stderr, f"pyscale: {' '.join(text.split())}")


def close_output() -> None:
    """Flush standard output; quiet if its reader has gone."""
    _write(sys.stdout, None)


def _write(stream: TextIO, text: str | None) -> None:
    try:
        if text is not None:
            encoding = getattr(stream, "encoding", None) or "utf-8"
            stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        stream.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would complain then.
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), stream.fileno())


class JobLog(logging.Handler):
    """All records of a job, kept in memory until it has succeeded, so that a failed one leaves no file."""

    def __init__(self, level: int = logging.INFO) -> None:
        super().__init__(level)
        self.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self._lines.append(self.format(record))

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
        if not getattr(record, "console", True):
            return
        if record.levelno >= logging.WARNING:
            write_error(f"{record.levelname.lower()}: {record.getMessage()}")
        elif getattr(record, "notice", False):
            write_error(f"note: {record.getMessage()}")
        elif self._verbose:
            write(record.getMessage())


class _StatusHandler(logging.Handler):
    """Shows the latest record beside a spinner, and a bar if the record has a `fraction` (0 to 1)."""

    def __init__(self, status: Status) -> None:
        super().__init__(logging.INFO)
        self._status = status

    def emit(self, record: logging.LogRecord) -> None:
        from rich.markup import escape

        if not getattr(record, "console", True):
            return
        fraction = getattr(record, "fraction", None)
        bar = "" if fraction is None else f" {_bar(float(fraction))}"
        line = record.getMessage().partition("\n")[0][:100]
        self._status.update(escape(line) + bar)


def _bar(fraction: float) -> str:
    filled = round(20 * min(max(fraction, 0.0), 1.0))
    return "━" * filled + "╌" * (20 - filled) + f" {100 * fraction:.0f}%"


def _status(verbose: int) -> AbstractContextManager[Status | None]:
    if verbose or not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console

    return Console(stderr=True).status("starting")


@contextmanager
def setup_logging(log_path: str | os.PathLike[str] | None, verbose: int = 0) -> Iterator[JobLog]:
    """Log a job: to its log file, to the terminal as progress, and with -v line by line.

    The library logs to children of the logger `pyscale`; a record with `extra={"fraction": x}` moves a bar.

    Parameters
    ----------
    log_path
        The log file, written when the block ends well; None for none. After wrong usage, bad data or an
        interruption nothing is written; after an unexpected error the log holds the traceback.
    verbose
        0: warnings only; 1: lines worth reading; 2 or more: everything, in the log file too.

    Yields
    ------
    JobLog
        The lines so far.

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
        with _status(verbose) as status, _staged(log_path) as staged:
            handlers += [_StatusHandler(status)] if status is not None else []
            for handler in handlers:
                _LOGGER.addHandler(handler)
            yield log
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
