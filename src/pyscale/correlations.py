"""Correlations of the parameters of a fit, as far as people can look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .local_covariance import LocalCovariance
from .parameter_numbers import parameter_numbers
from .plain_numbers import plain_list
from .typing import FloatArray, IndexArray

if TYPE_CHECKING:
    from .components import ComponentModel
    from .scaling_model import DataSetModel

__all__ = ["correlation_entry"]

_MOST_DATA_SETS, _MOST_LISTED, _MOST_SEARCHED = 4, 20, 100
_MOST_ENTRIES = 12_000
"""Of all matrices together, half of each being given."""
_WORTH = 0.5
_FEWEST = 4
"""Parameters whose matrix is worth a picture."""


def correlation_entry(
    models: Sequence[DataSetModel], identifiers: Sequence[str], covariance: LocalCovariance | None
) -> dict[str, Any] | None:
    """Correlations inside data sets: matrices of the first ones if they are small, and the strongest pairs.

    Parameters
    ----------
    models : sequence of DataSetModel
        Those of the fit, in its order.
    identifiers : sequence of str
        Of the data sets.
    covariance : LocalCovariance or None
        Of their parameters.

    Returns
    -------
    dict or None
        `matrices` of the first data sets, and `strongest`, pairs of parameters of different components of the
        first 100 data sets whose correlation exceeds 1/2; None without covariances. What belongs to parameters
        without variance, which are held or undetermined, is null.
    """
    if covariance is None:
        return None
    matrices: list[dict[str, Any]] = []
    strongest: list[dict[str, Any]] = []
    left = _MOST_ENTRIES
    for k, placed in enumerate(parameter_numbers(models[:_MOST_SEARCHED], covariance.layout)):
        numbers = np.concatenate([np.zeros(0, np.int64), *(n for _, n in placed)])
        matrix = _correlations(covariance, numbers)
        strongest += _strong_pairs(matrix, placed, identifiers[k], is_first=k == 0)
        size = len(numbers) * (len(numbers) + 1) // 2
        if k < _MOST_DATA_SETS and len(numbers) >= _FEWEST and size <= left:
            left -= size
            matrices.append(_matrix_entry(matrix, placed, identifiers[k]))
    strongest.sort(key=lambda pair: -abs(float(pair["correlation"])))
    return {"matrices": matrices, "strongest": strongest[:_MOST_LISTED]}


def _correlations(covariance: LocalCovariance, numbers: IndexArray) -> FloatArray:
    block = covariance.entries(numbers[:, None], numbers)
    sigma = np.sqrt(np.maximum(np.diag(block), 0.0))
    product = np.outer(sigma, sigma)
    result: FloatArray = np.divide(block, product, out=np.full_like(block, np.nan), where=product > 0)
    return result


def _strong_pairs(
    matrix: FloatArray, placed: Sequence[tuple[ComponentModel, IndexArray]], identifier: str, *, is_first: bool
) -> list[dict[str, Any]]:
    """Strongest pairs of a data set; those of two shared parameters belong to the first one.

    Neighbours along a smooth component always go together, so that pairs of one component are left out.
    """
    sizes = [c.n_parameters for c, _ in placed]
    names = [f"{c.name}[{i}]" for c, _ in placed for i in range(c.n_parameters)]
    number = np.repeat(np.arange(len(placed)), sizes)
    counted = np.tril(np.abs(np.nan_to_num(matrix)) > _WORTH, -1) & (number[:, None] != number)
    if not is_first:
        shared = np.repeat([c.shared for c, _ in placed], sizes)
        counted &= ~np.logical_and.outer(shared, shared)
    rows, columns = np.nonzero(counted)
    order = np.argsort(-np.abs(matrix[rows, columns]), kind="stable")[:_MOST_LISTED]
    return [
        {"data_set": identifier, "first": names[j], "second": names[i], "correlation": round(float(matrix[i, j]), 3)}
        for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True)
    ]


def _matrix_entry(
    matrix: FloatArray, placed: Sequence[tuple[ComponentModel, IndexArray]], identifier: str
) -> dict[str, Any]:
    return {
        "data_set": identifier,
        "components": [{"name": c.name, "n_parameters": c.n_parameters} for c, _ in placed],
        "lower": [plain_list(np.round(row[: k + 1], 2)) for k, row in enumerate(matrix)],
    }
