"""Files as bytes, packed with gzip or not."""

from __future__ import annotations

import gzip
import mmap
import zlib
from pathlib import Path

from ..errors import DataError, UsageError

__all__ = ["bytes_of", "unpacked_head"]

_MAGIC = b"\x1f\x8b"
_WINDOW_OF_GZIP = 31


def unpacked_head(head: bytes, size: int) -> bytes:
    """The first bytes (at most `size`) of what a file holds that begins with `head`."""
    if head[:2] != _MAGIC:
        return head[:size]
    try:
        return zlib.decompressobj(_WINDOW_OF_GZIP).decompress(head, size)
    except zlib.error:
        return b""


def bytes_of(path: Path) -> bytes | mmap.mmap:
    """All that a file holds; mapped into memory if it is not packed.

    Raises
    ------
    UsageError
        If it cannot be opened.
    DataError
        If it is packed and damaged, or does not fit into memory.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) != _MAGIC:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            file.seek(0)
            return gzip.GzipFile(fileobj=file).read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: truncated or corrupt gzip file ({error})") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory") from None
