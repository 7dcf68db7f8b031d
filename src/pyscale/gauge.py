"""What a scaling model cannot know, found and fixed in one stated gauge (docs/mathematics.md, "Gauge").

The factors c and exp(b / 2 d^2), the same for all data sets that share reflections, change nothing but the overall
scale and B factor of the merged intensities. Parameters and uncertainties are reported in the gauge in which, over
the observations of the fit, the weighted mean of ln g and (where nothing restrains B) its slope against 1/(2 d^2)
are zero; weights are w (g I_h)^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import _core
from .joint_model import JointModel
from .typing import BoolArray, FloatArray, IntArray

__all__ = [
    "Gauge",
    "GaugeDirection",
    "ParameterCovariance",
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
class ParameterCovariance:
    """Covariance of the parameters in the gauge.

    Attributes
    ----------
    covariance : (p, p) float64
        chi^2_red times the inverse of the undamped normal matrix.
    sigmas : (p,) float64
        Infinite for parameters that the data leave undetermined.
    chi_squared : float
        Phi / (observations - groups - effective parameters).
    effective_parameters : float
        What the data determine, not the restraints.
    undetermined : list of str
        Names of the undetermined combinations.
    condition : float
        Condition number of the scaled matrix.
    """

    covariance: FloatArray
    sigmas: FloatArray
    chi_squared: float
    effective_parameters: float
    undetermined: list[str]
    condition: float


def find_gauge(
    joint: JointModel,
    sums: dict[str, FloatArray],
    matrix: FloatArray,
    parameters: FloatArray,
    label: IntArray,
) -> Gauge:
    """Find the gauge directions of a fit and check each against the normal matrix of the data.

    Parameters
    ----------
    joint : JointModel
    sums : dict
        Result of `FitProblem.gauge_sums`.
    matrix : (p, p) float64
        Normal matrix without restraints.
    parameters : (p,) float64
    label : (n_data_sets,) int32
        Connected component of each data set.
    """
    component_of = label[joint.data_set_of_parameters()]
    scale, decay = joint.scale_like(), joint.decay_like()
    directions = []
    for k in range(int(label.max(initial=-1)) + 1):
        weight = sums["weight"][k]
        if not weight > 0:
            continue
        here = component_of == k
        mean = sums["mean"][k] / weight
        mean_x = sums["x"][k] / weight
        spread = sums["x_squared"][k] / weight - mean_x**2
        of = f" of component {k}" if label.max() > 0 else ""
        candidates = [(f"overall scale{of}", np.where(here & scale, parameters, 0.0), mean, weight)]
        if spread > 0:
            slope = (sums["first"][k] / weight - mean_x * mean) / spread
            candidates.append((f"overall B{of}", np.where(here & decay, 1.0, 0.0), slope, sums["x_squared"][k]))
        directions += [
            # What is held has no part in a functional: it does not vary.
            GaugeDirection(name, k, direction, np.where(joint.held, 0.0, functional))
            for name, direction, functional, known in candidates
            if _is_null(matrix, direction, known)
        ]
    return Gauge(tuple(directions))


def _is_null(matrix: FloatArray, direction: FloatArray, known: float) -> bool:
    """Whether data say nothing of a direction, against `known`: what they would say if intensities were known."""
    return bool(direction.any()) and float(direction @ matrix @ direction) < _NULL_TOLERANCE * known


def fix_gauge(gauge: Gauge, sums: dict[str, FloatArray], parameters: FloatArray, restrained: BoolArray) -> FloatArray:
    """Move parameters along unrestrained gauge directions until ln g has mean (and slope) zero."""
    moved: FloatArray = parameters.copy()
    for k in {d.component for d in gauge.directions}:
        weight = sums["weight"][k]
        mean, mean_x = sums["ln_g"][k] / weight, sums["x"][k] / weight
        spread = sums["x_squared"][k] / weight - mean_x**2
        for d in (d for d in gauge.directions if d.component == k and d.name.startswith("overall B")):
            if not restrained[d.direction != 0].any():
                slope = (sums["x_ln_g"][k] / weight - mean_x * mean) / spread
                moved -= slope * d.direction
                mean -= slope * mean_x
        for d in (d for d in gauge.directions if d.component == k and d.name.startswith("overall scale")):
            moved[d.direction != 0] *= np.exp(-mean)
    return moved


def parameter_covariance(
    joint: JointModel,
    gauge: Gauge,
    matrix: FloatArray,
    restraints: FloatArray,
    cost: float,
    n_observations: int,
    n_groups: int,
    n_threads: int = 1,
) -> ParameterCovariance:
    """Covariance from the undamped normal matrix, projected on the gauge.

    Parameters
    ----------
    joint : JointModel
    gauge : Gauge
    matrix, restraints : (p, p) float64
        Normal matrix, restraints included, and their part of it.
    cost : float
    n_observations, n_groups : int
    """
    direction, functional = gauge.arrays(joint.n_parameters)
    result = _core.gauge_covariance(np.ascontiguousarray(matrix), direction, functional, n_threads=n_threads)
    unit, held = result["covariance"], joint.held
    unit[held] = 0.0
    unit[:, held] = 0.0
    unknown = [v for v in result["undetermined"] if not _is_gauge(v, gauge)]
    free = joint.n_parameters - int(held.sum()) - len(gauge.directions) - len(unknown)
    effective = free - float(np.sum(unit * restraints))
    freedom = n_observations - n_groups - effective
    chi_squared = cost / freedom if freedom > 0 else 1.0
    covariance = np.ascontiguousarray(chi_squared * unit)
    sigmas = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    names = joint.names
    undetermined = []
    for vector in unknown:
        part = np.abs(vector) > _TAKES_PART
        sigmas[part] = np.inf
        strongest = np.argsort(-np.abs(vector))[:3]
        undetermined.append(" / ".join(names[i] for i in strongest if part[i]))
    return ParameterCovariance(covariance, sigmas, chi_squared, effective, undetermined, float(result["condition"]))


def _is_gauge(vector: FloatArray, gauge: Gauge) -> bool:
    """Whether an undetermined direction is one that the gauge has fixed, alone of its parameters."""
    part = np.abs(vector) > _TAKES_PART
    return any(np.array_equal(d.direction != 0.0, part) for d in gauge.directions)
