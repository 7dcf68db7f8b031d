"""A reader for the few msgpack types of a reflection table, which checks every length before it believes it.

Binary data are handed out as views of the buffer: nothing is copied, and a corrupt length allocates nothing.
"""

from __future__ import annotations

import mmap
import struct

import numpy as np

from ..typing import ByteArray

__all__ = ["MsgpackError", "MsgpackReader"]

_UNSIGNED = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}
_SIGNED = {0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
_TEXT = {0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
_BINARY = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
_ARRAY = {0xDC: ">H", 0xDD: ">I"}
_MAP = {0xDE: ">H", 0xDF: ">I"}


class MsgpackError(ValueError):
    """The bytes are not what they should be."""


class MsgpackReader:
    """Reads one item after the other from a buffer."""

    def __init__(self, buffer: bytes | mmap.mmap) -> None:
        self._bytes: ByteArray = np.frombuffer(buffer, np.uint8)
        self._position = 0

    def error(self, message: str) -> MsgpackError:
        """Return an error that tells the present position."""
        return MsgpackError(f"{message} (near byte {self._position} of {self._bytes.size})")

    def finish(self) -> None:
        """Check that nothing is left."""
        if self._position != self._bytes.size:
            raise self.error(f"{self._bytes.size - self._position} bytes too many")

    def _take(self, n: int, what: str) -> ByteArray:
        end = self._position + n
        if end > self._bytes.size:
            raise self.error(f"the file ends within {what}")
        taken = self._bytes[self._position : end]
        self._position = end
        return taken

    def _number(self, layout: str, what: str) -> int:
        (value,) = struct.unpack(layout, self._take(struct.calcsize(layout), what).tobytes())
        return int(value)

    def _length(self, layouts: dict[int, str], fix_tag: int | None, fix_mask: int, kind: str, what: str) -> int:
        tag = int(self._take(1, what)[0])
        if tag in layouts:
            return self._number(layouts[tag], what)
        if fix_tag is not None and tag & ~fix_mask & 0xFF == fix_tag:
            return tag & fix_mask
        raise self.error(f"{what} should be {kind}")

    def array_header(self, what: str) -> int:
        """Read the number of elements of an array that follow."""
        return self._length(_ARRAY, 0x90, 0x0F, "an array", what)

    def map_header(self, what: str) -> int:
        """Read the number of key-value pairs of a map that follow."""
        return self._length(_MAP, 0x80, 0x0F, "a map", what)

    def integer(self, what: str) -> int:
        """Read an integer that is not negative."""
        tag = int(self._take(1, what)[0])
        if tag < 0x80:
            return tag
        layout = _UNSIGNED.get(tag) or _SIGNED.get(tag)
        value = self._number(layout, what) if layout else -1
        if value < 0:
            raise self.error(f"{what} should be an integer that is not negative")
        return value

    def text(self, what: str) -> str:
        """Read a string."""
        raw = self._take(self._length(_TEXT, 0xA0, 0x1F, "text", what), what)
        try:
            return raw.tobytes().decode()
        except UnicodeDecodeError:
            raise self.error(f"{what} is not UTF-8 text") from None

    def binary(self, what: str) -> ByteArray:
        """Read binary data, as a view of the buffer: shape (n_bytes,), uint8."""
        return self._take(self._length(_BINARY, None, 0, "binary data", what), what)
