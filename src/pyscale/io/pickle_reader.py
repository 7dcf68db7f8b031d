"""A reader of pickles that builds plain values only: it imports nothing, calls nothing and recurses nowhere.

A pickle is a program for a stack machine. This machine knows its instructions for numbers, text, bytes and
containers; an object is kept as the name of its class, its arguments and its state, for the caller to understand.
Strings of bytes are views of the buffer, every length is checked against what is left of it, and the number
of instructions is limited, so that a hostile file can neither run code nor take unreasonable time or memory.
The instructions are those of Python's documentation of `pickletools`.
"""

from __future__ import annotations

import codecs
import mmap
import struct
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeAlias

__all__ = ["ClassName", "PickleError", "PickleReader", "PickledObject"]

Buffer: TypeAlias = "bytes | mmap.mmap"

_MAX_INSTRUCTIONS = 1_000_000
_MAX_LINE = 256
_MAX_INTEGER_BYTES = 9
_LAST_PROTOCOL = 5


class PickleError(ValueError):
    """The bytes are not what they should be."""


@dataclass(frozen=True)
class ClassName:
    """A class that the pickle refers to, as `module.name`."""

    name: str


@dataclass(eq=False)
class PickledObject:
    """An object: its class, the arguments of its constructor, and the state it was given, if any."""

    class_name: str
    arguments: tuple[Any, ...]
    state: Any = None


_MARK = object()
"""Stands on the stack where the items of a container start."""


class PickleReader:
    """Reads one pickle of protocol 0 to 5.

    Parameters
    ----------
    buffer
        The pickle. Byte strings that are read stay views of it.
    known
        The classes and functions, as `module.name`, that it may refer to.
    """

    def __init__(self, buffer: Buffer, known: Collection[str]) -> None:
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._known = known
        self._position = 0
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def error(self, message: str) -> PickleError:
        """Return an error that tells the present position."""
        return PickleError(f"{message} (near byte {self._position} of {len(self._view)})")

    def read(self) -> Any:
        """Return the value that the pickle describes.

        Integers, texts, tuples, lists and dicts are those of Python; bytes are memoryviews, and what Python 2 wrote
        as str is one too; objects are `PickledObject`.

        Raises
        ------
        PickleError
            If the pickle is truncated or corrupt, needs an instruction that no reflection table needs, or refers to
            a class that is not known.
        """
        for _ in range(_MAX_INSTRUCTIONS):
            code = self._take(1)[0]
            if code == _STOP:
                return self._finish()
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise self.error(f"instruction {code:#04x} has no place in a reflection table")
            instruction(self)
        raise self.error(f"more than {_MAX_INSTRUCTIONS} instructions, which no reflection table needs")

    def _finish(self) -> Any:
        value = self._pop()
        if self._stack or self._position != len(self._view):
            raise self.error("something is left after the end of the pickle")
        return value

    def _take(self, n: int) -> memoryview:
        end = self._position + n
        if end > len(self._view):
            raise self.error("the file is cut off")
        taken = self._view[self._position : end]
        self._position = end
        return taken

    def _line(self, limit: int | None = _MAX_LINE) -> bytes:
        bound = len(self._view) if limit is None else min(self._position + limit, len(self._view))
        end = self._buffer.find(b"\n", self._position, bound)
        if end < 0:
            raise self.error("a line has no end")
        line = bytes(self._take(end + 1 - self._position))
        return line[:-1]

    def _number(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self._take(struct.calcsize(layout)))
        return int(value)

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise self.error("a value is missing")
        return self._stack.pop()

    def _pop_items(self) -> list[Any]:
        """Values since the last mark."""
        items: list[Any] = []
        while self._stack:
            value = self._stack.pop()
            if value is _MARK:
                return items[::-1]
            items.append(value)
        raise self.error("a mark is missing")

    def _text(self, raw: bytes | memoryview, encoding: str) -> str:
        try:
            return codecs.decode(raw, encoding)
        except UnicodeError:
            raise self.error("a text is not valid") from None

    def _check_protocol(self) -> None:
        protocol = self._number("<B")
        if protocol > _LAST_PROTOCOL:
            raise self.error(f"pickles of protocol {protocol} are unknown")

    def _push_line_integer(self) -> None:
        line = self._line().removesuffix(b"L")
        if line in (b"00", b"01"):
            self._push(line == b"01")
            return
        try:
            self._push(int(line))
        except ValueError:
            raise self.error("a number is not valid") from None

    def _push_long(self, layout: str) -> None:
        n = self._number(layout)
        if not 0 <= n <= _MAX_INTEGER_BYTES:
            raise self.error(f"an integer of {n} bytes")
        self._push(int.from_bytes(self._take(n), "little", signed=True))

    def _push_quoted(self) -> None:
        line = self._line(None)
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise self.error("a text is not valid")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # escapes that Python 2 never wrote
                text, _ = codecs.escape_decode(line[1:-1])
        except (ValueError, DeprecationWarning, SyntaxWarning):
            raise self.error("a text is not valid") from None
        self._push(memoryview(text))  # type: ignore[arg-type]  # these are bytes

    def _push_bytes(self, layout: str) -> None:
        n = self._number(layout)
        if n < 0:
            raise self.error("a negative length")
        self._push(self._take(n))

    def _push_unicode(self, layout: str) -> None:
        self._push(self._text(self._take(self._number(layout)), "utf-8"))

    def _push_class(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.error("the name of a class is not text")
        found = f"{module}.{name}"
        if found not in self._known:
            raise self.error(
                f"it names {found[:_MAX_LINE]!r}, which is no part of a reflection table; nothing in it was run"
            )
        self._push(ClassName(found))

    def _push_class_from_lines(self) -> None:
        module, name = self._line(), self._line()
        self._push_class(self._text(module, "utf-8"), self._text(name, "utf-8"))

    def _push_class_from_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self._push_class(module, name)

    def _reduce(self) -> None:
        arguments, name = self._pop(), self._pop()
        if not isinstance(name, ClassName) or not isinstance(arguments, tuple):
            raise self.error("an object is made of something that is no class")
        self._push(PickledObject(name.name, arguments))

    def _build(self) -> None:
        state, made = self._pop(), self._pop()
        if not isinstance(made, PickledObject) or made.state is not None:
            raise self.error("a state is given to what is no new object")
        made.state = state
        self._push(made)

    def _push_tuple(self, n: int) -> None:
        self._push(tuple([self._pop() for _ in range(n)][::-1]))

    def _push_dict(self) -> None:
        items = self._pop_items()
        self._push({})
        self._set_items(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise self.error("keys and values have no dictionary to go to")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, int) and (not isinstance(key, str | memoryview) or len(key) > _MAX_LINE):
                # The hash of nested tuples can take for ever.
                raise self.error("the key of a dictionary is neither a short text nor a number")
            plain = self._text(key, "latin-1") if isinstance(key, memoryview) else key
            if plain in target:
                raise self.error(f"the key {plain!r} occurs twice")
            target[plain] = value
        self._push(target)

    def _append(self, items: list[Any]) -> None:
        target = self._pop()
        if not isinstance(target, list):
            raise self.error("items have no list to go to")
        target.extend(items)
        self._push(target)

    def _memoise(self, key: int) -> None:
        value = self._pop()
        self._memo[key] = value
        self._push(value)

    def _recall(self, key: int) -> None:
        if key not in self._memo:
            raise self.error("it refers to a value that was not read before")
        self._push(self._memo[key])

    def _line_key(self) -> int:
        self._push_line_integer()
        return int(self._pop())


_STOP = ord(".")
_Instruction: TypeAlias = Callable[[PickleReader], None]

_INSTRUCTIONS: dict[int, _Instruction] = {
    code[0]: instruction
    for code, instruction in (
        (b"\x80", PickleReader._check_protocol),
        (b"\x95", lambda r: r._number("<Q") and None),
        (b"(", lambda r: r._push(_MARK)),
        (b"0", lambda r: r._pop() and None),
        (b"N", lambda r: r._push(None)),
        (b"\x88", lambda r: r._push(True)),
        (b"\x89", lambda r: r._push(False)),
        (b"I", PickleReader._push_line_integer),
        (b"L", PickleReader._push_line_integer),
        (b"J", lambda r: r._push(r._number("<i"))),
        (b"K", lambda r: r._push(r._number("<B"))),
        (b"M", lambda r: r._push(r._number("<H"))),
        (b"\x8a", lambda r: r._push_long("<B")),
        (b"\x8b", lambda r: r._push_long("<i")),
        (b"S", PickleReader._push_quoted),
        (b"T", lambda r: r._push_bytes("<i")),
        (b"U", lambda r: r._push_bytes("<B")),
        (b"B", lambda r: r._push_bytes("<I")),
        (b"C", lambda r: r._push_bytes("<B")),
        (b"\x8e", lambda r: r._push_bytes("<Q")),
        (b"V", lambda r: r._push(r._text(r._line(None), "raw-unicode-escape"))),
        (b"X", lambda r: r._push_unicode("<I")),
        (b"\x8c", lambda r: r._push_unicode("<B")),
        (b"\x8d", lambda r: r._push_unicode("<Q")),
        (b"c", PickleReader._push_class_from_lines),
        (b"\x93", PickleReader._push_class_from_stack),
        (b"R", PickleReader._reduce),
        (b"b", PickleReader._build),
        (b")", lambda r: r._push(())),
        (b"\x85", lambda r: r._push_tuple(1)),
        (b"\x86", lambda r: r._push_tuple(2)),
        (b"\x87", lambda r: r._push_tuple(3)),
        (b"t", lambda r: r._push(tuple(r._pop_items()))),
        (b"]", lambda r: r._push([])),
        (b"l", lambda r: r._push(r._pop_items())),
        (b"a", lambda r: r._append([r._pop()])),
        (b"e", lambda r: r._append(r._pop_items())),
        (b"}", lambda r: r._push({})),
        (b"d", PickleReader._push_dict),
        (b"s", lambda r: r._set_items(list(reversed([r._pop(), r._pop()])))),
        (b"u", lambda r: r._set_items(r._pop_items())),
        (b"p", lambda r: r._memoise(r._line_key())),
        (b"q", lambda r: r._memoise(r._number("<B"))),
        (b"r", lambda r: r._memoise(r._number("<I"))),
        (b"\x94", lambda r: r._memoise(len(r._memo))),
        (b"g", lambda r: r._recall(r._line_key())),
        (b"h", lambda r: r._recall(r._number("<B"))),
        (b"j", lambda r: r._recall(r._number("<I"))),
    )
}
