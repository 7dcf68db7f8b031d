"""Reading and writing of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from ..dataset import Job

__all__ = ["read"]


def read(*paths: str | os.PathLike[str], **keywords: Any) -> Job:
    """Read experiments and reflections of a job; the kind of each file is told by its content.

    Parameters
    ----------
    paths
        Files of DIALS (experiments and reflections), and of other integrators (docs/reference/formats.md).
    keywords
        Fields of `pyscale.options.importing.InputOptions` (`space_group`, `unit_cell`, `polarization_fraction`,
        ...), which matter for files of other integrators only.

    Raises
    ------
    UsageError
        If a file cannot be opened, or a keyword is none of those or its value is impossible.
    DataError
        If a file is corrupt or of no known kind, or experiments and reflections do not match.
    """
    from ..dataset import load_job
    from ..errors import UsageError
    from ..options.importing import InputOptions

    try:
        options = InputOptions(**keywords)
    except TypeError as error:
        raise UsageError(f"read: {error}") from None
    return load_job(paths, options)
