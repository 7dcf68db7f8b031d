"""Outputs appear whole or not at all: written beside their place under another name, renamed at the end."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from ..errors import UsageError
from .journal import journal_in_use

__all__ = ["OutputSet", "PathLike", "write_atomically"]

PathLike: TypeAlias = "str | os.PathLike[str]"


@contextlib.contextmanager
def write_atomically(path: PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path`, which takes its place at the end, or vanishes on failure.

    Raises
    ------
    UsageError
        If the directory does not exist or cannot be written to, or `path` is no regular file.
    """
    with OutputSet() as outputs:
        yield outputs.stage(path)


class OutputSet:
    """Several outputs that appear together at the end of the `with` block, or not at all.

    Parameters
    ----------
    inputs
        Files that were read: they are overwritten only by outputs named explicitly.
    """

    def __init__(self, inputs: Iterable[PathLike] = ()) -> None:
        self._inputs = {Path(p).resolve() for p in inputs}
        self._staged: dict[Path, Path] = {}
        self._journal = journal_in_use()

    def __enter__(self) -> OutputSet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._journal.settling():
            try:
                if kind is None:
                    self._commit()
                elif isinstance(error, OSError):
                    self._blame(error)
            finally:
                for temporary in self._staged.values():
                    temporary.unlink(missing_ok=True)
                self._journal.temporary.difference_update(self._staged.values())
                self._staged.clear()

    def stage(self, path: PathLike, *, named_as_output: bool = False) -> Path:
        """Return an empty temporary file, in the directory of `path`, to be written in its place.

        Parameters
        ----------
        path
            Where the output is to appear.
        named_as_output
            Whether the user named this very path as output, so that it may replace an input.

        Raises
        ------
        UsageError
            If the path is an input or an output already, is no regular file, or cannot be written to.
        """
        target = Path(path).resolve()
        if target in self._inputs and not named_as_output:
            raise UsageError(f"{path}: is an input file and is not overwritten; name another output file")
        if target in self._staged:
            raise UsageError(f"{path}: is named for two outputs; name another file for one of them")
        if target.exists() and not target.is_file():
            raise UsageError(f"{path}: is not a regular file; name another output file")
        if target.exists() and not os.access(target, os.W_OK):
            raise UsageError(f"{path}: no permission to overwrite this file; name another output file")
        temporary = target.with_name(f".{target.name[:80]}.{secrets.token_hex(6)}.tmp")
        with self._journal.settling():
            _create(temporary, path)
            self._staged[target] = temporary
            self._journal.temporary.add(temporary)
        return temporary

    def _blame(self, error: OSError) -> None:
        """Name the file that was being written when the disk failed: the last one, unless the error knows better."""
        *_, (target, temporary) = self._staged.items() or [(Path(), Path())]
        if error.filename in (None, str(temporary)) and self._staged:
            reason = error.strerror or str(error)
            raise UsageError(f"{target}: cannot be written ({reason}); no output was written") from None

    def _commit(self) -> None:
        undo: list[tuple[Path, Path | None]] = []
        try:
            for target, temporary in self._staged.items():
                backup = _back_up(target) if len(self._staged) > 1 else None
                undo.append((target, backup))
                temporary.replace(target)
        except BaseException as error:
            for done, backup in reversed(undo):
                _put_back(done, backup, self._staged[done])
            if isinstance(error, OSError):
                raise UsageError(f"{target}: cannot be written ({error.strerror}); no output was written") from None
            raise
        for _, backup in undo:
            if backup is not None:
                backup.unlink(missing_ok=True)
        # A writer may put its file into the place of another set's temporary one.
        self._journal.written.extend(target for target in self._staged if target not in self._journal.temporary)


def _create(temporary: Path, path: PathLike) -> None:
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise UsageError(f"{path}: the directory does not exist; make it first") from None
        reason = "no permission to write" if error.errno in (errno.EACCES, errno.EPERM) else str(error.strerror)
        raise UsageError(f"{path}: {reason} in directory {temporary.parent}; name another place") from None


def _back_up(target: Path) -> Path | None:
    """Give an existing file a second name, so that it can be put back."""
    if not target.exists():
        return None
    backup = target.with_name(f".{target.name[:80]}.{secrets.token_hex(6)}.old")
    try:
        backup.hardlink_to(target)
    except OSError:  # a file system without hard links
        target.rename(backup)
    return backup


def _put_back(target: Path, backup: Path | None, temporary: Path) -> None:
    with contextlib.suppress(OSError):
        if backup is not None:
            backup.replace(target)
        elif not temporary.exists():
            target.unlink(missing_ok=True)
