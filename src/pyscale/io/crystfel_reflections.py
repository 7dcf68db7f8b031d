"""The lists of reflections of a CrystFEL stream, many crystals at once."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..typing import FloatArray, IndexArray, IntArray

__all__ = ["ReflectionBlock", "StreamReflections", "parse_reflections"]

_MOST_BYTES = 1 << 22
"""Text that is taken apart at once."""
_MOST_OF_ONE = 1 << 24
"""Text of the list of one crystal, some 200 000 reflections."""
_LONGEST = 32
"""Letters of a number or of the name of a panel."""
_NUMBERS = ("h", "k", "l", "I", "sigma(I)", "fs/px", "ss/px")
_OPTIONAL = {"peak": "peak", "background": "background.mean"}


@dataclass
class ReflectionBlock:
    """Where the list of one crystal begins and ends, its titles, and how many rows it should have (-1: unknown)."""

    start: int
    stop: int
    titles: bytes
    n_rows: int


@dataclass(frozen=True)
class StreamReflections:
    """All reflections of a stream.

    Attributes
    ----------
    miller_index : (n, 3) int32
    intensity, sigma : (n,) float64
    place : (n, 2) float64
        fs and ss in the data block, pixels.
    panel : (n,) int64
        Number among `panel_names`; empty for streams without panels.
    panel_names : list of bytes
    others : dict of str to (n,) float64
    """

    miller_index: IntArray
    intensity: FloatArray
    sigma: FloatArray
    place: FloatArray
    panel: IndexArray
    panel_names: list[bytes]
    others: dict[str, FloatArray]


def parse_reflections(stream: mmap.mmap, blocks: Sequence[ReflectionBlock], where: str) -> StreamReflections:
    """Read the lists of some crystals; `n_rows` of each block is set to the rows that it has.

    Raises
    ------
    DataError
        If a list has other titles or another number of rows than it should, or a number is none.
    """
    titles = blocks[0].titles.split()
    names = [t.decode("ascii", "replace") for t in titles]
    lacking = [name for name in _NUMBERS if name not in names]
    if lacking:
        raise DataError(f"{where}: the lists of reflections have no column {lacking[0]} (but {' '.join(names)[:100]})")
    parts: list[dict[str, FloatArray]] = []
    panels: list[NDArray[np.bytes_]] = []
    for together in _portions(blocks):
        table = _words(stream, together, titles, where)
        wanted = [name for name in (*_NUMBERS, *_OPTIONAL) if name in names]
        parts.append({name: _numbers(table[:, names.index(name)], name, where) for name in wanted})
        if "panel" in names:
            panels.append(table[:, names.index("panel")])
    column = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found, panel = np.unique(np.concatenate(panels), return_inverse=True) if panels else (np.zeros(0), np.zeros(0))
    index = np.column_stack([column[name] for name in "hkl"])
    if not (np.abs(index) < 2**31).all() or (index != np.rint(index)).any():
        raise DataError(f"{where}: a Miller index is no integer")
    return StreamReflections(
        miller_index=index.astype(np.int32),
        intensity=column["I"],
        sigma=column["sigma(I)"],
        place=np.column_stack([column["fs/px"], column["ss/px"]]),
        panel=panel.astype(np.int64),
        panel_names=found.tolist(),
        others={new: column[old] for old, new in _OPTIONAL.items() if old in column},
    )


def _portions(blocks: Sequence[ReflectionBlock]) -> list[list[ReflectionBlock]]:
    """Consecutive blocks, some megabytes together."""
    portions: list[list[ReflectionBlock]] = []
    size = _MOST_BYTES
    for block in blocks:
        if size >= _MOST_BYTES:
            portions.append([])
            size = 0
        portions[-1].append(block)
        size += block.stop - block.start
    return portions


def _words(
    stream: mmap.mmap, blocks: Sequence[ReflectionBlock], titles: Sequence[bytes], where: str
) -> NDArray[np.bytes_]:
    """The words of all lines, (n_rows, n_titles)."""
    words: list[bytes] = []
    for block in blocks:
        if block.stop - block.start > _MOST_OF_ONE:
            raise DataError(f"{where}: the list of reflections of a crystal has no end: the stream is corrupt")
        text = stream[block.start : block.stop]
        own = text.split()
        n_rows = text.count(b"\n")
        if block.titles.split() != titles:
            raise DataError(f"{where}: the lists of reflections of two crystals have different columns")
        if len(own) != n_rows * len(titles) or (block.n_rows >= 0 and n_rows != block.n_rows):
            raise DataError(
                f"{where}: a list of {max(block.n_rows, 0) or n_rows} reflections has {n_rows} lines and {len(own)} "
                f"words, not {len(titles)} on each line: the stream is cut or corrupt"
            )
        block.n_rows = n_rows
        words += own
    longest = max(map(len, words), default=1)
    if longest > _LONGEST:
        raise DataError(f"{where}: a list of reflections holds a word of {longest} letters: the stream is corrupt")
    return np.array(words, np.bytes_).reshape(-1, len(titles))


def _numbers(words: NDArray[np.bytes_], name: str, where: str) -> FloatArray:
    try:
        return words.astype(np.float64)
    except ValueError as error:
        raise DataError(f"{where}: column {name} of the reflections: {error}") from None
