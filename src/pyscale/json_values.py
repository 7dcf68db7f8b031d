"""Checked access to the values of a JSON object, with messages that tell where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import DataError
from .typing import FloatArray

__all__ = ["JsonObject"]


@dataclass(frozen=True)
class JsonObject:
    """A JSON object and its place, as in `scaled.expt: experiment 0: beam`. All methods raise `DataError`."""

    values: dict[str, Any]
    where: str

    def error(self, key: str, message: str) -> DataError:
        """Return an error about the value of a key."""
        return DataError(f"{self.where}: {key} {message}")

    def required(self, key: str) -> Any:
        """Return a value that must be there."""
        value = self.values.get(key)
        if value is None:
            raise self.error(key, "is missing")
        return value

    def vector(self, key: str, n: int | None = None) -> FloatArray:
        """Return a list of n finite numbers (any number if None), shape (n,)."""
        value = self.required(key)
        if not isinstance(value, list) or not all(_is_number(x) for x in value):
            raise self.error(key, "must be a list of numbers")
        if n is not None and len(value) != n:
            raise self.error(key, f"must hold {n} numbers, not {len(value)}")
        try:
            array = np.array(value, np.float64)
        except OverflowError:
            array = np.array([np.inf])
        if not np.isfinite(array).all():
            raise self.error(key, "holds a number that is not finite")
        return array

    def unit_vector(self, key: str) -> FloatArray:
        """Return a list of three numbers scaled to length one, shape (3,)."""
        vector = self.vector(key, 3)
        with np.errstate(over="ignore"):
            length = float(np.linalg.norm(vector))
        if not 1e-150 < length < 1e150:
            raise self.error(key, "has no direction")
        return vector / length

    def number(self, key: str) -> float:
        """Return a finite number, alone or as a list of one."""
        value = self.required(key)
        values = value if isinstance(value, list) else [value]
        return float(JsonObject({key: values}, self.where).vector(key, 1)[0])

    def integer_range(self, key: str, value: Any = None) -> tuple[int, int]:
        """Return two integers, the first not greater than the second (of `value`, by default of the key)."""
        pair = self.required(key) if value is None else value
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(x) is int for x in pair):
            raise self.error(key, "must be two integers")
        first, last = pair
        if first > last or max(-first, last) >= 10**7:
            raise self.error(key, f"{first} to {last} is no range of images")
        return first, last

    def objects(self, key: str) -> list[dict[str, Any]]:
        """Return a list of JSON objects."""
        value = self.required(key)
        if not isinstance(value, list) or not all(isinstance(x, dict) for x in value):
            raise self.error(key, "must be a list of objects")
        return value

    def object(self, key: str) -> JsonObject:
        """Return the object of a key; an empty one if it is missing or null."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.error(key, "must be an object")
        return JsonObject(value or {}, f"{self.where}: {key}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
