"""An encoder of reflection tables as Python 2 pickled them, written from the description of the format."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

START = b"\x80\x02cdials_array_family_flex_ext\nreflection_table\n)R"
FLEX = {
    "bool": "scitbx_array_family_flex_ext bool",
    "int": "scitbx_array_family_flex_ext int",
    "std::size_t": "scitbx_array_family_flex_ext size_t",
    "double": "scitbx_array_family_flex_ext double",
    "vec2<double>": "scitbx_array_family_flex_ext vec2_double",
    "vec3<double>": "scitbx_array_family_flex_ext vec3_double",
    "mat3<double>": "scitbx_array_family_flex_ext mat3_double",
    "cctbx::miller::index<>": "cctbx_array_family_flex_ext miller_index",
    "int6": "dials_array_family_flex_ext int6",
    "Shoebox<>": "dials_array_family_flex_ext shoebox",
}


def integer(value: int) -> bytes:
    """Sign and total length in one byte, then the digits to base 256, lowest first."""
    if value == 0:
        return b"\x00"
    digits = abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "little")
    return bytes([len(digits) + 1 + 128 * (value < 0)]) + digits


def double(value: float) -> bytes:
    """Sign and length, the fraction in [1/2, 1) to base 256, highest digit first, and the exponent."""
    if value == 0:
        return b"\x00"
    fraction, exponent = math.frexp(abs(value))
    digits = bytearray()
    while fraction:
        fraction *= 256
        digits.append(int(fraction))
        fraction -= int(fraction)
    return bytes([len(digits) + 1 + 128 * (value < 0)]) + bytes(digits) + integer(exponent)


def column_bytes(values: np.ndarray) -> bytes:
    """The number of rows and all values."""
    flat = values.ravel().tolist()
    if values.dtype == np.bool_:
        body: Iterable[bytes] = (b"1" if v else b"0" for v in flat)
    else:
        body = map(double if values.dtype.kind == "f" else integer, flat)
    return integer(len(values)) + b"".join(body)


def text(value: str) -> bytes:
    raw = value.encode("latin-1")
    return b"U" + bytes([len(raw)]) + raw


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def string(raw: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(raw)) + raw


def global_name(name: str) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


def flex_array(kind: str, n_rows: int, raw: bytes) -> bytes:
    grid = global_name("scitbx_array_family_flex_ext grid") + number(0) + b"\x85" + number(n_rows) + b"\x85\x88\x87R"
    grid += number(n_rows) + b"\x85b"
    return global_name(kind) + b")R" + grid + string(raw) + b"\x86b"


def table_pickle(
    columns: Mapping[str, tuple[str, np.ndarray]], n_rows: int, identifiers: Mapping[int, str] | None = None
) -> bytes:
    """Pickle columns of (DIALS type, values); version 2 of the state where there are identifiers, else 1."""
    state = number(1)
    if identifiers is not None:
        state = number(2) + b"}(" + b"".join(number(k) + text(v) for k, v in identifiers.items()) + b"u"
    items = [text(name) + flex_array(FLEX[kind], n_rows, column_bytes(v)) for name, (kind, v) in columns.items()]
    state += number(n_rows) + number(len(columns)) + b"}(" + b"".join(items) + b"u"
    return START + b"(" + state + b"tb."


def table_of_state(state: bytes) -> bytes:
    """A table with any state."""
    return START + state + b"b."


def small_columns(n_rows: int = 3) -> dict[str, Any]:
    """A column of every type."""
    rng = np.random.default_rng(5)
    return {
        "entering": ("bool", rng.random(n_rows) < 0.5),
        "id": ("int", rng.integers(-1, 3, n_rows).astype(np.int32)),
        "flags": ("std::size_t", rng.integers(0, 2**40, n_rows).astype(np.uint64)),
        "d": ("double", rng.normal(size=n_rows)),
        "shift": ("vec2<double>", rng.normal(size=(n_rows, 2))),
        "s1": ("vec3<double>", rng.normal(size=(n_rows, 3))),
        "matrix": ("mat3<double>", rng.normal(size=(n_rows, 9))),
        "miller_index": ("cctbx::miller::index<>", rng.integers(-300, 300, (n_rows, 3)).astype(np.int32)),
        "bbox": ("int6", rng.integers(-5, 70000, (n_rows, 6)).astype(np.int32)),
    }
