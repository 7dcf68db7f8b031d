"""The ways in which a job can end early; the command line turns them into exit codes."""

from __future__ import annotations

__all__ = ["Cancelled", "DataError", "PyscaleError", "UsageError"]


class PyscaleError(Exception):
    """Base of all errors meant for a user. The message is one line that says what, where and what to do."""

    exit_status = 1


class DataError(PyscaleError, ValueError):
    """The data cannot be read or scaled (exit status 1). The message names file, column, row or data set."""

    exit_status = 1


class UsageError(PyscaleError, ValueError):
    """Wrong options or arguments (exit status 2). The message names the option and the nearest valid ones."""

    exit_status = 2


class Cancelled(PyscaleError):
    """The caller has stopped the job (exit status 130). Nothing was changed or written."""

    exit_status = 130
