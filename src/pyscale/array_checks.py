"""Arrays that a caller gives: of the right shape and type, or a message that names array and row."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import DataError
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["checked_indices", "checked_mask", "checked_numbers", "checked_offsets", "checked_vectors"]

_LARGEST_INDEX = 10_000


def checked_indices(name: str, values: ArrayLike) -> IntArray:
    """Miller indices, (n, 3) int32.

    Raises
    ------
    DataError
        If the shape is another one, there are none, or they are not all integers of a possible size.
    """
    array = _array(name, values)
    if array.ndim != 2 or array.shape[1] != 3:
        raise DataError(f"{name}: has shape {array.shape}, not (n, 3)")
    if not len(array):
        raise DataError(f"{name}: has no rows")
    with np.errstate(invalid="ignore"):
        sound = ((array == np.rint(array)) & (np.abs(array) <= _LARGEST_INDEX)).all(axis=1)
    _require(name, array, sound, "Miller indices are integers")
    _require(name, array, (array != 0).any(axis=1), "this index has no reflection: leave such rows out")
    return np.ascontiguousarray(array, dtype=np.int32)


def checked_numbers(name: str, values: ArrayLike, n: int, *, positive: bool = False) -> FloatArray:
    """One number for each of n rows, (n,) float64.

    Raises
    ------
    DataError
        If the shape is another one, or a number is not finite or, where it must be, not positive.
    """
    array = _array(name, values)
    if array.shape != (n,):
        raise DataError(f"{name}: has shape {array.shape}, not ({n},), one number for each row")
    array = np.ascontiguousarray(array, dtype=np.float64)
    _require(name, array, np.isfinite(array), "leave out rows that were not measured")
    if positive:
        _require(name, array, array > 0, "must be positive: leave out rows that were not measured")
    return array


def checked_vectors(name: str, values: ArrayLike, n: int, width: int) -> FloatArray:
    """Finite vectors, (n, width) float64.

    Raises
    ------
    DataError
        If the shape is another one, or a number is not finite.
    """
    array = _array(name, values)
    if array.shape != (n, width):
        raise DataError(f"{name}: has shape {array.shape}, not ({n}, {width}), one vector for each row")
    array = np.ascontiguousarray(array, dtype=np.float64)
    _require(name, array, np.isfinite(array).all(axis=1), "every component must be finite")
    return array


def checked_mask(name: str, values: ArrayLike | None, n: int) -> BoolArray | None:
    """A mask, (n,) bool, or none.

    Raises
    ------
    DataError
        If it is anything else.
    """
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != (n,) or array.dtype != np.bool_:
        raise DataError(f"{name}: has shape {array.shape} and dtype {array.dtype}, not ({n},) and bool")
    return np.ascontiguousarray(array)


def checked_offsets(name: str, values: ArrayLike, n: int) -> IndexArray:
    """First row of each group and the end, (n_groups + 1,) int64 from 0 to n.

    Raises
    ------
    DataError
        If it is anything else.
    """
    array = _array(name, values)
    sound = array.ndim == 1 and array.size > 0 and array[0] == 0 and array[-1] == n and bool((np.diff(array) > 0).all())
    if not sound:
        raise DataError(f"{name}: is not ascending from 0 to the number of rows, {n}")
    return np.ascontiguousarray(array, dtype=np.int64)


def _array(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{name}: is no array of numbers ({error})") from None
    if array.dtype.kind not in "iufb":
        raise DataError(f"{name}: has dtype {array.dtype}, not numbers")
    return array


def _require(name: str, array: NDArray[Any], sound: BoolArray, advice: str) -> None:
    if not sound.all():
        row = int(np.argmin(sound))
        more = int(np.count_nonzero(~sound)) - 1
        others = f", and {more} other rows" if more else ""
        raise DataError(f"{name}: row {row} is {np.array2string(array[row], separator=', ')}{others}: {advice}")
