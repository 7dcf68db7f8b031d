"""Batch headers of MTZ files as plain values that travel with an experiment, and back."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

__all__ = ["pack_batches", "unpack_batches"]

_N_INTS, _N_FLOATS = 29, 156


def pack_batches(batches: list[Any]) -> dict[str, Any]:
    """Return batch headers (`gemmi.Mtz.Batch`) as JSON values.

    `number` is the list of batch numbers, `titles` and `axes` those of each batch or the one of all; `ints` (29 to a
    batch) and `floats` (156) are little-endian int32 and float32, position after position, compressed by zlib and in
    base64.
    """
    ints = np.array([list(b.ints) for b in batches], "<i4")
    floats = np.array([list(b.floats) for b in batches], "<f4")
    return {
        "number": [int(b.number) for b in batches],
        "titles": _few([_readable(b, "title", "").strip() for b in batches]),
        "axes": _few([list(_readable(b, "axes", [])) for b in batches]),
        "ints": _text(ints.T),
        "floats": _text(floats.T),
    }


def unpack_batches(packed: Mapping[str, Any]) -> list[Any]:
    """Return the batch headers of `pack_batches`, as `gemmi.Mtz.Batch`."""
    numbers = packed["number"]
    ints = np.frombuffer(_bytes(packed["ints"]), "<i4").reshape(_N_INTS, -1).T
    floats = np.frombuffer(_bytes(packed["floats"]), "<f4").reshape(_N_FLOATS, -1).T
    batches = []
    for k, number in enumerate(numbers):
        batch = gemmi.Mtz.Batch()
        for position in range(_N_INTS):
            batch.ints[position] = int(ints[k, position])
        for position in range(_N_FLOATS):
            batch.floats[position] = float(floats[k, position])
        batch.number = number
        batch.title = packed["titles"][min(k, len(packed["titles"]) - 1)]
        batch.axes = packed["axes"][min(k, len(packed["axes"]) - 1)]
        batches.append(batch)
    return batches


def _readable(batch: Any, name: str, default: Any) -> Any:
    """Text of a header, or a default in place of bytes that are no UTF-8."""
    try:
        return getattr(batch, name)
    except UnicodeDecodeError:
        return default


def _few(values: list[Any]) -> list[Any]:
    return values[:1] if all(v == values[0] for v in values) else values


def _text(values: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(values).tobytes())).decode("ascii")


def _bytes(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))
