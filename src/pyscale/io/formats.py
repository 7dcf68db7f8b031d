"""Which kind of file is this: told by its content, never by its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..options.importing import InputOptions
from .imported import ImportedDataSet

__all__ = ["FORMATS", "HEAD_SIZE", "FileFormat", "format_of"]

HEAD_SIZE = 4096
"""How many bytes of a file its kind is told by."""


@dataclass(frozen=True)
class FileFormat:
    """A kind of files of reflections that other programs write.

    Attributes
    ----------
    name : str
        For people.
    begins : callable
        Whether a file that begins with these bytes (at most `HEAD_SIZE`) is of this kind.
    module, function : str
        Where it is read, by `function(path, options)`, which returns the data sets of the file. Imported when
        a file of this kind is met.
    """

    name: str
    begins: Callable[[bytes], bool]
    module: str
    function: str

    def read(self, path: Path, options: InputOptions) -> Sequence[ImportedDataSet]:
        """Read a file of this kind.

        Raises
        ------
        DataError
            If the file is corrupt, or lacks what a data set needs.
        """
        reader: Any = getattr(importlib.import_module(f"pyscale.io.{self.module}"), self.function)
        data_sets: Sequence[ImportedDataSet] = reader(path, options)
        return data_sets


FORMATS: tuple[FileFormat, ...] = (
    FileFormat("unmerged MTZ", lambda head: head.startswith(b"MTZ "), "unmerged_mtz", "read_unmerged_mtz"),
)


def format_of(head: bytes) -> FileFormat | None:
    """The format of a file that begins with these bytes; None for those of DIALS and unknown ones."""
    return next((f for f in FORMATS if f.begins(head)), None)
