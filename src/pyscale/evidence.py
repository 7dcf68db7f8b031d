"""Restraint weights from the data: the evidence procedure of MacKay (1992).

A restraint sum lambda p^2 is a Gaussian prior of variance 1/lambda. Its most probable value given the data satisfies

    lambda = gamma chi^2 / sum p^2,  gamma = n - lambda trace(N^-1 over the component),

where gamma is how many of the component's n parameters the data determine. A surface that the data call for is then
hardly pulled towards zero, and a B factor that they do not is held there. One step is made in each round of the fit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from . import _core
from .scaling_model import ComponentModel, DataSetModel, JointModel
from .typing import FloatArray

__all__ = ["update_restraints"]

_LARGEST_STEP = 100.0


def update_restraints(
    joint: JointModel, parameters: FloatArray, matrix: FloatArray, chi_squared: float, n_threads: int = 1
) -> tuple[list[DataSetModel], float]:
    """Make one step towards the most probable restraint weights of all components that leave it to the data.

    Parameters
    ----------
    joint : JointModel
    parameters : (p,) float64
        At the minimum.
    matrix : (p, p) float64
        Normal matrix there, restraints included.
    chi_squared : float
        Variance of an observation of unit weight.
    n_threads : int

    Returns
    -------
    models : list of DataSetModel
        With new restraints.
    change : float
        Largest |ln(new / old)|.
    """
    if not any(c.restraint_range[1] > c.restraint_range[0] for m in joint.models for c in m.components):
        return joint.models, 0.0
    variances = np.diag(_core.inverse(matrix, n_threads=n_threads))
    changes = [0.0]

    def updated(c: ComponentModel, place: slice) -> ComponentModel:
        low, high = c.restraint_range
        if high <= low:
            return c
        wanted = _most_probable(c.restraint, parameters[place], variances[place], chi_squared)
        step = np.clip(wanted, c.restraint / _LARGEST_STEP, c.restraint * _LARGEST_STEP)
        new = float(np.clip(step, low, high))
        changes.append(abs(np.log(new / c.restraint)))
        return replace(c, restraint=new)

    models = [
        replace(m, components=tuple(updated(c, place) for c, place in zip(m.components, places, strict=True)))
        for m, places in zip(joint.models, joint.slices, strict=True)
    ]
    return models, max(changes)


def _most_probable(restraint: float, parameters: FloatArray, variances: FloatArray, chi_squared: float) -> float:
    determined = parameters.size - restraint * float(variances.sum())
    square = float(np.sum(parameters**2))
    if square <= 0.0:
        return np.inf
    return max(determined, 1e-3) * chi_squared / square
