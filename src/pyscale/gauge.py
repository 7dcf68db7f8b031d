"""What a scaling model cannot know, found and fixed in one stated gauge (docs/theory/uncertainty.md, "Gauge").

The factors c and exp(b / 2 d^2), the same for all data sets that share reflections, change nothing but the overall
scale and B factor of the merged intensities. Parameters and uncertainties are reported in the gauge in which, over
the observations of the fit, the weighted mean of ln g and (where nothing restrains B) its slope against 1/(2 d^2)
are zero; weights are w (g I_h)^2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import _core
from .joint_model import JointModel, RestraintRows
from .local_covariance import BlockLayout, LocalCovariance
from .typing import FloatArray, IndexArray, IntArray

__all__ = [
    "Gauge",
    "GaugeDirection",
    "ParameterCovariance",
    "UnitCovariance",
    "dense_covariance",
    "find_gauge",
    "fix_gauge",
    "parameter_covariance",
]

_NULL_TOLERANCE = 1e-6
_TAKES_PART = 1e-3


@dataclass(frozen=True)
class GaugeDirection:
    """A change of the parameters without effect on the data's cost, and the functional that is held at zero."""

    name: str
    component: int
    direction: FloatArray
    functional: FloatArray


@dataclass(frozen=True)
class Gauge:
    """The gauge directions of a fit."""

    directions: tuple[GaugeDirection, ...]

    def arrays(self, n_parameters: int) -> tuple[FloatArray, FloatArray]:
        """Directions and functionals, two (k, p) float64."""
        if not self.directions:
            return np.zeros((0, n_parameters)), np.zeros((0, n_parameters))
        return (
            np.ascontiguousarray([d.direction for d in self.directions]),
            np.ascontiguousarray([d.functional for d in self.directions]),
        )


@dataclass(frozen=True)
class UnitCovariance:
    """Covariances in the gauge for observations of unit weight.

    Attributes
    ----------
    local : LocalCovariance
        Inside each data set.
    undetermined : list of (k,) int64
        Parameters that take part in each combination of which the data say nothing, the strongest first.
    condition : float
        Condition number of the scaled matrix; NaN where it was not found.
    standard_error : float
        Relative standard error of the variances; 0 where they are exact.
    dense : (p, p) float64 or None
        Between all parameters, where the normal matrix was inverted.
    """

    local: LocalCovariance
    undetermined: list[IndexArray]
    condition: float = np.nan
    standard_error: float = 0.0
    dense: FloatArray | None = None


@dataclass(frozen=True)
class ParameterCovariance:
    """Covariance of the parameters in the gauge.

    Attributes
    ----------
    local : LocalCovariance or None
        chi^2_red times the inverse of the undamped normal matrix, inside each data set; None where it was not asked
        for.
    sigmas : (p,) float64 or None
        Infinite for parameters that the data leave undetermined.
    chi_squared : float
        Phi / (observations - groups - effective parameters).
    effective_parameters : float
        What the data determine, not the restraints; without covariances all that are free.
    undetermined : list of str
        Names of the undetermined combinations.
    condition, standard_error : float
        As in `UnitCovariance`.
    """

    local: LocalCovariance | None
    sigmas: FloatArray | None
    chi_squared: float
    effective_parameters: float
    undetermined: list[str]
    condition: float
    standard_error: float = 0.0


def find_gauge(
    joint: JointModel,
    sums: dict[str, FloatArray],
    data_forms: Callable[[FloatArray], FloatArray],
    parameters: FloatArray,
    label: IntArray,
) -> Gauge:
    """Find the gauge directions of a fit and check each against the normal matrix of the data.

    Parameters
    ----------
    joint : JointModel
    sums : dict
        Result of `FitProblem.gauge_sums`.
    data_forms : callable
        From directions d (k, p) to d^T N d (k,), N the normal matrix without restraints.
    parameters : (p,) float64
    label : (n_data_sets,) int32
        Connected component of each data set.
    """
    component_of = label[joint.data_set_of_parameters()]
    scale, decay = joint.scale_like(), joint.decay_like()
    found: list[tuple[GaugeDirection, float]] = []
    for k in range(int(label.max(initial=-1)) + 1):
        weight = sums["weight"][k]
        if not weight > 0:
            continue
        here = component_of == k
        mean = sums["mean"][k] / weight
        of = f" of component {k}" if label.max() > 0 else ""
        candidates = [(f"overall scale{of}", np.where(here & scale, parameters, 0.0), mean, weight)]
        if sums["x_squared"][k] > 0:
            slope = sums["first"][k] / sums["x_squared"][k]
            candidates.append((f"overall B{of}", np.where(here & decay, 1.0, 0.0), slope, sums["x_information"][k]))
        found += [
            # What is held has no part in a functional: it does not vary.
            (GaugeDirection(name, k, direction, np.where(joint.held, 0.0, functional)), known)
            for name, direction, functional, known in candidates
            if direction.any()
        ]
    if not found:
        return Gauge(())
    # Data say nothing of a gauge direction, against `known`: what they would say if intensities were known.
    said = data_forms(np.ascontiguousarray([d.direction for d, _ in found]))
    return Gauge(tuple(d for (d, known), form in zip(found, said, strict=True) if form < _NULL_TOLERANCE * known))


def fix_gauge(
    gauge: Gauge,
    sums: dict[str, FloatArray],
    parameters: FloatArray,
    joint: JointModel,
    *,
    trusts_surfaces: bool = True,
) -> FloatArray:
    """Move parameters along gauge directions until ln g has mean zero and, but for what B's give it, slope zero.

    B's without a restraint give nothing: then it is the slope of ln g that is zero. Where the user has fixed the weight
    of their restraint they stay where it has pulled them; so do restrained ones where surfaces are not to be trusted.
    """
    moved: FloatArray = parameters.copy()
    fixed, free = joint.pulled_to_null(fixed=True), joint.pulled_to_null(fixed=False)
    pulled = parameters - joint.centres()
    for k in {d.component for d in gauge.directions}:
        weight = sums["weight"][k]
        mean, mean_x = sums["ln_g"][k] / weight, sums["x"][k] / weight
        for d in (d for d in gauge.directions if d.component == k and d.name.startswith("overall B")):
            here = d.direction != 0
            if fixed[here].any() or (free[here].any() and not trusts_surfaces):
                continue
            of_decay = float(sums["first"][k][here] @ pulled[here]) if free[here].any() else 0.0
            slope = (sums["x_ln_g"][k] - of_decay) / sums["x_squared"][k]
            moved -= slope * d.direction
            mean -= slope * mean_x
        for d in (d for d in gauge.directions if d.component == k and d.name.startswith("overall scale")):
            moved[d.direction != 0] *= np.exp(-mean)
    return moved


def dense_covariance(joint: JointModel, gauge: Gauge, matrix: FloatArray, n_threads: int = 1) -> UnitCovariance:
    """Exact covariances from the undamped normal matrix (p, p), restraints included, projected on the gauge."""
    direction, functional = gauge.arrays(joint.n_parameters)
    result = _core.gauge_covariance(np.ascontiguousarray(matrix), direction, functional, n_threads=n_threads)
    unit, held = result["covariance"], joint.held
    unit[held] = 0.0
    unit[:, held] = 0.0
    undetermined = []
    for vector in np.abs(result["undetermined"]):
        order = np.argsort(-vector)
        undetermined.append(order[vector[order] > _TAKES_PART])
    local = LocalCovariance.from_dense(BlockLayout.of(joint.core), unit)
    return UnitCovariance(local, undetermined, float(result["condition"]), dense=unit)


def parameter_covariance(
    joint: JointModel,
    gauge: Gauge,
    unit: UnitCovariance | None,
    restraints: RestraintRows,
    cost: float,
    n_observations: int,
    n_groups: int,
) -> ParameterCovariance:
    """Covariances for the scatter of the observations, and what the data determine.

    Parameters
    ----------
    joint : JointModel
    gauge : Gauge
    unit : UnitCovariance or None
        None where no uncertainties were asked for.
    restraints : RestraintRows
    cost : float
    n_observations, n_groups : int
    """
    free = joint.n_parameters - int(joint.held.sum()) - len(gauge.directions)
    if unit is None:
        chi_squared = _chi_squared(cost, n_observations - n_groups - free)
        return ParameterCovariance(None, None, chi_squared, float(free), [], np.nan)
    unknown = [numbers for numbers in unit.undetermined if not _is_gauge(numbers, gauge)]
    effective = free - len(unknown) - float(restraints.weight @ restraints.spreads(unit.local))
    chi_squared = _chi_squared(cost, n_observations - n_groups - effective)
    local = unit.local.scaled(chi_squared)
    sigmas = np.sqrt(np.maximum(local.diagonal(), 0.0))
    names = joint.names if unknown else []
    for numbers in unknown:
        sigmas[numbers] = np.inf
    return ParameterCovariance(
        local=local,
        sigmas=sigmas,
        chi_squared=chi_squared,
        effective_parameters=effective,
        undetermined=[" / ".join(names[i] for i in numbers[:3]) for numbers in unknown],
        condition=unit.condition,
        standard_error=unit.standard_error,
    )


def _chi_squared(cost: float, freedom: float) -> float:
    return cost / freedom if freedom > 0 else 1.0


def _is_gauge(numbers: IndexArray, gauge: Gauge) -> bool:
    """Whether an undetermined direction is one that the gauge has fixed, alone of its parameters."""
    return any(np.array_equal(np.flatnonzero(d.direction), np.sort(numbers)) for d in gauge.directions)
