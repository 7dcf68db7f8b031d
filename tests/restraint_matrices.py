"""The normal matrix of restraints, row by row, beside the core's own."""

from __future__ import annotations

import numpy as np

from pyscale.joint_model import RestraintRows
from pyscale.typing import FloatArray


def restraint_matrix(rows: RestraintRows, n_parameters: int) -> FloatArray:
    """Sum of weight a a^T over restraints, (p, p) float64."""
    matrix = np.zeros((n_parameters, n_parameters))
    for k in range(len(rows)):
        own = slice(rows.row_offsets[k], rows.row_offsets[k + 1])
        row = np.zeros(n_parameters)
        np.add.at(row, rows.column[own], rows.value[own])
        matrix += rows.weight[k] * np.outer(row, row)
    return matrix
