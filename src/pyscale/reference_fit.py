"""A reference in the fit: where parameters start, what it ties together, its weights, how well data agree with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .joint_model import JointModel
from .observations import JobObservations
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = [
    "NO_REFERENCE",
    "Agreement",
    "agreement",
    "agreement_table",
    "centred_decay",
    "merged_by_group",
    "moved_to_reference",
    "reference_components",
    "weighted_reference",
]

NO_REFERENCE = (np.zeros(0), np.zeros(0))
"""Intensities and weights of a job without a reference."""

_STRONG = 2.0
_ROUNDS = 5
_LEAST_SPREAD = 0.1
_GROUPS_FOR_B = 50
_LEAST_MOVE = 0.1


@dataclass(frozen=True)
class Agreement:
    """How the intensities of a data set agree with a reference.

    Attributes
    ----------
    n_observations, n_groups : int
        Observations whose group has a reference, and their groups.
    cc_before, r_before, cc, r : float
        Correlation, and sum |I - T| / sum |T| over groups: with one scale factor for the data set, and scaled.
    """

    n_observations: int
    n_groups: int
    cc_before: float
    r_before: float
    cc: float
    r: float


def merged_by_group(observations: JobObservations, g: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """I_h = sum w g I / S and S = sum w g^2 of the groups that the fit uses, two (n_groups,); 0 where S = 0."""
    first = observations.target_offsets[:-1]
    precision = np.add.reduceat(weight * g * g, first)
    product = np.add.reduceat(weight * g * observations.intensity, first)
    return np.divide(product, precision, out=np.zeros_like(product), where=precision > 0), precision


def weighted_reference(
    observations: JobObservations, g: FloatArray, weight: FloatArray
) -> tuple[tuple[FloatArray, FloatArray], FloatArray]:
    """Intensities and weights (n_groups,) of a job's reference, and the error u of its shells, with some scales.

    Parameters
    ----------
    g, weight : (n,) float64
        Inverse scale factors, and weights 1/sigma'^2 (0: left out).
    """
    reference = observations.reference
    assert reference is not None
    merged = reference.levelled(*merged_by_group(observations, np.maximum(g, 0.0), weight))
    error = reference.error_by_shell(*merged)
    return reference.observed(error, *merged), error


def reference_components(observations: JobObservations, label: IntArray) -> tuple[IntArray, BoolArray]:
    """Join the components of data sets that a reference links; also which data sets it ties, (n_data_sets,) bool."""
    if observations.reference is None:
        return label, np.zeros(label.size, np.bool_)
    known = np.repeat(observations.reference.known, np.diff(observations.target_offsets))
    linked = np.unique(label[observations.data_set[known & ~observations.absent]])
    joined = np.where(np.isin(label, linked), linked.min(initial=label.size), label)
    _, new = np.unique(joined, return_inverse=True)
    return new.astype(np.int32), np.isin(label, linked)


def moved_to_reference(
    observations: JobObservations, joint: JointModel, parameters: FloatArray, g: FloatArray, label: IntArray
) -> FloatArray:
    """Move overall scale and B of each component of data sets to where its strong intensities meet the reference.

    ln(I_h / T) is fitted by k + B / 2d^2, least squares reweighted against outliers. Where that is less than a tenth
    nothing moves: these scales come from the reference already.

    Parameters
    ----------
    parameters : (p,) float64
    g : (n,) float64
        Inverse scale factors of these parameters.
    label : (n_data_sets,) int32
        Components that are linked by reflections.
    """
    reference = observations.reference
    assert reference is not None
    weight = np.where(observations.absent, 0.0, 1.0 / observations.variance)
    merged, precision = merged_by_group(observations, np.maximum(g, 0.0), weight)
    use = reference.known & (precision > 0)
    use &= (merged > _STRONG / np.sqrt(np.where(use, precision, 1.0))) & (merged > 0)
    use &= np.nan_to_num(reference.intensity) > _STRONG * np.sqrt(reference.variance)
    component = label[observations.data_set[observations.target_offsets[:-1]]][use]
    y, x = np.log(merged[use] / reference.intensity[use]), 0.5 / reference.d_spacing[use] ** 2
    n_components = int(label.max(initial=-1)) + 1
    data_set = joint.data_set_of_parameters()
    without_decay = np.ones(label.size, np.bool_)
    without_decay[data_set[joint.decay_like()]] = False
    with_b = np.bincount(component, minlength=n_components) >= _GROUPS_FOR_B
    with_b[label[without_decay]] = False
    k, b = _robust_lines(component, x, y, with_b)
    moves = _typical_move(component, x, k, b) > _LEAST_MOVE
    moves[label[joint.scale_is_held()]] = False
    k, b = np.where(moves, k, 0.0)[label[data_set]], np.where(moves, b, 0.0)[label[data_set]]
    moved = np.where(joint.scale_like(), parameters * np.exp(k), parameters)
    return np.where(joint.decay_like(), moved + b, moved)


def centred_decay(
    joint: JointModel, parameters: FloatArray, of_data_sets: BoolArray, known: BoolArray | None = None
) -> JointModel:
    """Let the restraints of the B's of some data sets (n_data_sets,) pull to the mean B of those whose B is known.

    A restraint to zero chooses the overall B, which is right where nothing else knows it: neither a reference, nor an
    earlier fit, after which B's were moved to the gauge. Without `known` the mean is over all of them.
    """
    data_set = joint.data_set_of_parameters()
    own = joint.decay_like() & (of_data_sets if known is None else of_data_sets & known)[data_set]
    weight = joint.restraint_rows(parameters).diagonal(parameters.size)[own]
    if not weight.sum() > 0:
        return joint
    centre = float(weight @ parameters[own] / weight.sum())
    decays = ("smooth_decay", "constant_decay")
    models = [
        m.with_components([replace(c, centre=centre) if c.kind in decays else c for c in m.components]) if is_one else m
        for m, is_one in zip(joint.models, of_data_sets.tolist(), strict=True)
    ]
    return JointModel(models)


def _robust_lines(
    component: IntArray, x: FloatArray, y: FloatArray, with_slope: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Intercept and slope (0 where not wanted) of y over x in each component, two (n_components,)."""
    n = with_slope.size
    weight = np.ones(x.size)
    k, b = np.zeros(n), np.zeros(n)
    for _ in range(_ROUNDS):
        total = np.maximum(np.bincount(component, weight, n), 1e-300)
        mean_x, mean_y = (np.bincount(component, weight * v, n) / total for v in (x, y))
        dx, dy = x - mean_x[component], y - mean_y[component]
        square = np.bincount(component, weight * dx**2, n)
        product = np.bincount(component, weight * dx * dy, n)
        b = np.divide(product, square, out=np.zeros(n), where=with_slope & (square > 0))
        k = mean_y - b * mean_x
        residual = y - k[component] - b[component] * x
        spread = 1.4826 * float(np.median(np.abs(residual))) if residual.size else 0.0
        weight = 1.0 / (1.0 + (residual / (2.0 * max(spread, _LEAST_SPREAD))) ** 2)
    return k, b


def _typical_move(component: IntArray, x: FloatArray, k: FloatArray, b: FloatArray) -> FloatArray:
    """Mean size of a change k + b x of ln g in each component."""
    size = np.bincount(component, np.abs(k[component] + b[component] * x), k.size)
    return np.divide(size, np.bincount(component, minlength=k.size), out=np.zeros(k.size), where=size > 0)


def agreement(
    observations: JobObservations,
    known: FloatArray,
    g: FloatArray,
    weight: FloatArray,
    n_data_sets: int,
) -> list[Agreement]:
    """Agreement of each data set with intensities that are known of the groups of the fit.

    Parameters
    ----------
    known : (n_groups,) float64
        NaN where nothing is known.
    g, weight : (n,) float64
        Final scales, and weights 1/sigma'^2 (0: left out).
    """
    n_groups = known.size
    group = np.repeat(np.arange(n_groups), np.diff(observations.target_offsets))
    use = (weight > 0) & (g > 0) & np.isfinite(known)[group]
    pair, number = np.unique(observations.data_set[use].astype(np.int64) * n_groups + group[use], return_inverse=True)
    data_set, target = pair // n_groups, known[pair % n_groups]
    merged = [_weighted_means(number, observations.intensity[use], f[use], weight[use]) for f in (np.ones_like(g), g)]
    factor = _ratio(data_set, merged[0] * target, target**2, n_data_sets)
    before = merged[0] / np.where(factor > 0, factor, 1.0)[data_set]
    counts = (np.bincount(number, minlength=n_data_sets) for number in (observations.data_set[use], data_set))
    numbers = []
    for value in (before, merged[1]):
        numbers.append(_correlation(data_set, value, target, n_data_sets))
        numbers.append(_ratio(data_set, np.abs(value - target), np.abs(target), n_data_sets))
    return [
        Agreement(n, n_groups, *row)
        for n, n_groups, row in zip(*(c.tolist() for c in counts), np.transpose(numbers).tolist(), strict=True)
    ]


def _weighted_means(number: IndexArray, intensity: FloatArray, g: FloatArray, weight: FloatArray) -> FloatArray:
    means: FloatArray = np.bincount(number, weight * g * intensity) / np.bincount(number, weight * g * g)
    return means


def _ratio(number: IndexArray, top: FloatArray, bottom: FloatArray, n: int) -> FloatArray:
    total = np.bincount(number, bottom, n)
    result: FloatArray = np.divide(np.bincount(number, top, n), total, out=np.full(n, np.nan), where=total > 0)
    return result


def _correlation(number: IndexArray, a: FloatArray, b: FloatArray, n: int) -> FloatArray:
    count = np.maximum(np.bincount(number, minlength=n), 1)
    da, db = (v - (np.bincount(number, v, n) / count)[number] for v in (a, b))
    square = np.sqrt(np.bincount(number, da**2, n) * np.bincount(number, db**2, n))
    result: FloatArray = np.divide(np.bincount(number, da * db, n), square, out=np.full(n, np.nan), where=square > 0)
    return result


def agreement_table(identifiers: Sequence[str], found: Sequence[Agreement]) -> str:
    """Return the agreement of all data sets as text."""
    lines = [f"{'data set':<40}{'observations':>13}{'groups':>9}{'CC before':>11}{'R before':>10}{'CC':>8}{'R':>8}"]
    lines += [
        f"{name[:39]:<40}{a.n_observations:>13}{a.n_groups:>9}{a.cc_before:>11.4f}{a.r_before:>10.4f}{a.cc:>8.4f}{a.r:>8.4f}"
        for name, a in zip(identifiers, found, strict=True)
    ]
    return "\n".join(lines)
