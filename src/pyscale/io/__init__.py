"""Reading and writing of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from ..dataset import Job

__all__ = ["read"]


def read(*paths: str | os.PathLike[str]) -> Job:
    """Read experiments and reflections of a job; the kind of each file is told by its content.

    Raises
    ------
    UsageError
        If a file cannot be opened.
    DataError
        If a file is corrupt or of no known kind, or experiments and reflections do not match.
    """
    from ..dataset import load_job

    return load_job(paths)
