"""Restraint weights from the data: the evidence procedure of MacKay (1992).

A restraint lambda p^T R p is a Gaussian prior. Its most probable weight given the data satisfies

    lambda = gamma chi^2 / p^T R p,  gamma = lambda trace(A^-1 R) - lambda trace(N^-1 R),

where A is the sum of the component's restraints (trace(A^-1 lambda R) = rank R for a single one), N the normal matrix:
gamma is how many of the component's parameters the data determine. A surface that the data call for is then
hardly pulled towards zero, and a B factor that they do not is held there. Each round of the fit makes one step, or
where the matrix is at hand as many as it takes, the minimum meanwhile following the weights by the quadratic model.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .components import SMOOTH_FORMS, ComponentModel, ComponentRestraint, RestraintForm
from .joint_model import JointModel, PlacedComponent, restraint_rows
from .local_covariance import LocalCovariance
from .normal import DenseNormal, Normal
from .scaling_model import DataSetModel
from .typing import FloatArray

__all__ = ["settle_restraints", "update_restraints"]

_LARGEST_STEP = 100.0
_LARGEST_EXTRAPOLATION = 4.0
_LARGEST_SETTLED = 1000
"""Parameters up to which weights are settled within a round: each step inverts the matrix."""
_MOST_STEPS = 20

Steps = dict[tuple[int, str], float]
"""Last change of the logarithm of each weight, by the first parameter of its component and its form."""


def update_restraints(
    joint: JointModel,
    parameters: FloatArray,
    normal: Normal,
    chi_squared: float,
    steps: Steps | None = None,
) -> tuple[list[DataSetModel], float]:
    """Make one step towards the most probable restraint weights of all components that leave it to the data.

    Parameters
    ----------
    joint : JointModel
    parameters : (p,) float64
        At the minimum.
    normal : Normal
        Normal matrix there, restraints included.
    chi_squared : float
        Variance of an observation of unit weight.
    steps : dict
        Changes of the last call, which this one extrapolates where they shrink slowly, and replaces by its own.

    Returns
    -------
    models : list of DataSetModel
        With new restraints.
    change : float
        Largest change of the number of parameters that the data determine: that of ln(weight) times the number.
    """
    if not any(_is_free(r) for p in joint.own() for r in p.component.restraints):
        return joint.models, 0.0
    covariance = normal.covariance()
    steps = {} if steps is None else steps
    changes = [0.0]
    updated: dict[int, tuple[ComponentRestraint, ...]] = {}
    for placed in joint.own():
        restraints = []
        for r in placed.component.restraints:
            if placed.component.held or not _is_free(r):
                restraints.append(r)
                continue
            wanted, determined = _most_probable(placed, r, parameters, covariance, chi_squared)
            key = (placed.place.start, r.form)
            step = _step(float(np.log(wanted / r.weight)), steps.get(key))
            weight = float(np.clip(r.weight * np.exp(step), r.lowest, r.highest))
            steps[key] = float(np.log(weight / r.weight))
            changes.append(abs(steps[key]) * max(determined, 0.0))
            restraints.append(replace(r, weight=weight))
        updated[placed.place.start] = tuple(restraints)
    models = [
        model.with_components(
            [
                replace(c, restraints=updated.get(s.start, c.restraints))
                for c, s in zip(model.components, places, strict=True)
            ]
        )
        for model, places in zip(joint.models, joint.slices, strict=True)
    ]
    return models, max(changes)


def settle_restraints(
    joint: JointModel,
    parameters: FloatArray,
    normal: Normal,
    chi_squared: float,
    steps: Steps,
    around: FloatArray,
    tolerance: float,
) -> tuple[list[DataSetModel], float]:
    """Make steps until one changes less than `tolerance`, if the matrix is at hand and small; else one.

    Parameters and returns as for `update_restraints`, whose `change` is the sum of those of all steps here. The
    restraints in `normal` are linear around the parameters `around` (p,).
    """
    models, change = update_restraints(joint, parameters, normal, chi_squared, steps)
    if not isinstance(normal, DenseNormal) or normal.n_parameters > _LARGEST_SETTLED:
        return models, change
    before, last = joint.restraint_rows(around), change
    for _ in range(_MOST_STEPS):
        if last <= tolerance:
            break
        settled = JointModel(models)
        other, minimum = normal.restrained_otherwise(before, settled.restraint_rows(around), parameters)
        models, last = update_restraints(settled, minimum, other, chi_squared, steps)
        change += last
    steps.clear()
    return models, change


def _step(step: float, last: float | None) -> float:
    """Limit a change of a logarithm, and extrapolate it where it shrinks slowly from one call to the next."""
    limit = float(np.log(_LARGEST_STEP))
    if last and 0.0 < step / last < 1.0:
        step *= min(1.0 / (1.0 - step / last), _LARGEST_EXTRAPOLATION)
    return float(np.clip(step, -limit, limit))


def _is_free(restraint: ComponentRestraint) -> bool:
    return restraint.highest > restraint.lowest


def _most_probable(
    placed: PlacedComponent,
    r: ComponentRestraint,
    parameters: FloatArray,
    covariance: LocalCovariance,
    chi_squared: float,
) -> tuple[float, float]:
    """Most probable weight, and how many parameters the data determine."""
    rows = restraint_rows(placed, r.form, 1.0, parameters)
    square = float(np.sum(rows.deviations(parameters) ** 2))
    determined = _prior_share(placed.component, r.form) - r.weight * float(np.sum(rows.spreads(covariance)))
    wanted = max(determined, 1e-3) * chi_squared / square if square > 0.0 else np.inf
    return float(min(wanted, r.weight * _LARGEST_STEP)), determined


def _prior_share(component: ComponentModel, form: RestraintForm) -> float:
    """trace(A^-1 lambda R): how many parameters a restraint would hold if there were no data.

    The matrices of differences of neighbours along the axes of a grid commute; along n nodes the eigenvalues are
    2 - 2 cos(pi j / n). That of deviations from the null value is the identity.
    """
    shape = component.shape or (component.n_parameters,)
    own = total = np.full(shape, component.weight("null"))
    for k, n in enumerate(shape if component.shape else ()):
        eigenvalues = 2.0 - 2.0 * np.cos(np.pi * np.arange(n) / n)
        along = np.moveaxis(np.broadcast_to(eigenvalues, (*shape[:k], *shape[k + 1 :], n)), -1, k)
        term = component.weight(SMOOTH_FORMS[k]) * along
        total = total + term
        own = term if form == SMOOTH_FORMS[k] else own
    return float(np.sum(np.divide(own, total, out=np.zeros(shape), where=total > 0)))
