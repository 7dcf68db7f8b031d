"""Which data sets share an error model."""

from __future__ import annotations

import numpy as np

from .errors import UsageError
from .options import AUTO
from .options.error_model import ErrorModelOptions
from .typing import IntArray

__all__ = ["error_model_groups"]

_ONE_GROUP: IntArray = np.zeros(0, np.int32)


def error_model_groups(options: ErrorModelOptions, n_data_sets: int) -> IntArray:
    """Number of the group of each data set by `error_model.grouping`, (n_data_sets,) int32; empty: all are in one.

    Groups of `error_model_group` come first, in the order given; data sets that they do not name form one more.

    Raises
    ------
    UsageError
        If a data set does not exist or is in two groups, or groups are given but not asked for.
    """
    grouping = options.grouping
    if grouping is AUTO:
        grouping = "individual" if options.error_model == "likelihood" else "combined"
    if options.error_model_group and grouping != "grouped":
        raise UsageError("option weighting.error_model.error_model_group needs error_model.grouping=grouped")
    if options.error_model is None or n_data_sets < 2 or grouping == "combined":
        return _ONE_GROUP
    if grouping == "individual":
        return np.arange(n_data_sets, dtype=np.int32)
    return _named_groups(options.error_model_group, n_data_sets)


def _named_groups(groups: tuple[tuple[int, ...], ...], n_data_sets: int) -> IntArray:
    option = "option weighting.error_model.error_model_group"
    if not groups:
        raise UsageError(f"error_model.grouping=grouped needs {option}, for example error_model_group=1,2")
    first = 0 if any(0 in group for group in groups) else 1
    number = np.full(n_data_sets, len(groups), np.int32)
    for k, group in enumerate(groups):
        for data_set in group:
            if not 0 <= data_set - first < n_data_sets:
                last = n_data_sets - 1 + first
                raise UsageError(f"{option}: there is no data set {data_set}; they are {first} to {last}")
            if number[data_set - first] not in (k, len(groups)):
                raise UsageError(f"{option}: data set {data_set} is in two groups")
            number[data_set - first] = k
    return np.unique(number, return_inverse=True)[1].astype(np.int32)
