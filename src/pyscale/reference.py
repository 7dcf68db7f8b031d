"""Intensities to scale against: matched with the groups of a job, and weighted by how far they agree with it.

How well a reference foretells the true intensities is found from the data, by shells of resolution
(docs/theory/reference.md): one number u per shell, 0 for the same crystal and 1 for what has only the mean in
common.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _core
from .errors import DataError
from .observations import JobObservations
from .symmetry import epsilon_and_centric, rotation_matrices, systematic_absences
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["GroupReference", "Reference", "ReferenceShell", "group_reference"]

_logger = logging.getLogger(__name__)

_PER_SHELL, _MAX_SHELLS = 100, 20
_MAX_LENGTH_CHANGE, _MAX_ANGLE_CHANGE = 0.04, 4.0
_LEAST_ERROR, _LARGEST_ERROR = 1e-3, 0.95
_LARGEST_DEVIATION = 25.0
_CERTAIN = 5.0


@dataclass(frozen=True)
class Reference:
    """What is known of intensities before scaling, on a scale of its own.

    Attributes
    ----------
    source : str
    kind : str
        intensities, amplitudes (squared) or model.
    labels : tuple of str
        Columns.
    space_group, unit_cell
        `gemmi.SpaceGroup` and `gemmi.UnitCell`, None if the file does not tell.
    miller_index : (n, 3) int32
    intensity, variance : (n,) float64
        NaN for an unknown variance.
    """

    source: str
    kind: str
    labels: tuple[str, ...]
    space_group: Any
    unit_cell: Any
    miller_index: IntArray
    intensity: FloatArray
    variance: FloatArray


@dataclass(frozen=True)
class ReferenceShell:
    """Agreement of a reference in a shell: number of groups, and u as the error of E^2 of the reference."""

    d_max: float
    d_min: float
    n_groups: int
    u: float


@dataclass(frozen=True)
class GroupReference:
    """A reference over the groups of a job.

    Attributes
    ----------
    reference : Reference
    intensity, variance : (n_groups,) float64
        NaN for groups without one; the variance is 0 where the file has none.
    mean : (n_groups,) float64
        Expected intensity of a reflection at that resolution, epsilon <T / epsilon>.
    shell : (n_groups,) int64
        Resolution shell, -1 for groups without a reference.
    spread : (n_groups,) float64
        Variance of E^2 by Wilson's statistics: 1, or 2 for centric reflections.
    d_spacing : (n_groups,) float64
    """

    reference: Reference
    intensity: FloatArray
    variance: FloatArray
    mean: FloatArray
    shell: IndexArray
    spread: FloatArray
    d_spacing: FloatArray

    @property
    def known(self) -> BoolArray:
        """Groups that have a reference, (n_groups,) bool."""
        return self.shell >= 0

    @property
    def judges(self) -> bool:
        """Whether it can tell outliers: errors of calculated intensities are too far from Gaussian."""
        return self.reference.kind != "model"

    @property
    def n_shells(self) -> int:
        """Number of resolution shells."""
        return int(self.shell.max()) + 1

    def levelled(self, merged: FloatArray, precision: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Merged intensities with the scale and B of the reference, from the means of shells, and their precisions.

        What is found from these does not depend on scale and B of the job, on which it acts in turn.
        """
        use = self.known & (precision > 0)
        shell, n = self.shell[use], self.n_shells
        own, theirs = (np.bincount(shell, v[use], n) for v in (merged, self.intensity))
        certain = (own > _CERTAIN * np.sqrt(np.bincount(shell, 1.0 / precision[use], n))) & (theirs > 0)
        ratio = np.log(theirs[certain] / own[certain])
        x = np.bincount(shell, self.d_spacing[use] ** -2.0, n)[certain] / np.bincount(shell, minlength=n)[certain]
        line = np.polyfit(x, ratio, 1 if x.size > 2 else 0) if x.size else np.zeros(1)
        factor = np.exp(np.polyval(line, np.where(self.known, self.d_spacing, np.inf) ** -2.0))
        return merged * factor, precision / factor**2

    def error_by_shell(self, merged: FloatArray, precision: FloatArray) -> FloatArray:
        """Share u of the variance of E^2 that the reference does not foretell, (n_shells,) float64 in 0 ... 0.95.

        From the mean square of merged - T in each shell, less what the variances of both explain: with E^2 of the data
        and of the reference correlated by 1 - u, it is 2 u <I>^2 (4 u for centric reflections).

        Parameters
        ----------
        merged, precision : (n_groups,) float64
            Merged intensities of the job (`levelled`) and their inverse variances.
        """
        use = self.known & (precision > 0)
        mean = self.mean[use]
        noise = (1.0 / precision[use] + self.variance[use]) / mean**2
        square = np.minimum(((merged[use] - self.intensity[use]) / mean) ** 2, _LARGEST_DEVIATION + 9.0 * noise)
        weight = 1.0 / (1.0 + noise) ** 2
        excess = np.bincount(self.shell[use], weight * (square - noise) / (2.0 * self.spread[use]), self.n_shells)
        total = np.bincount(self.shell[use], weight, self.n_shells)
        u: FloatArray = np.clip(
            np.divide(excess, total, out=np.ones(self.n_shells), where=total > 0), 0.0, _LARGEST_ERROR
        )
        return u

    def observed(self, error: FloatArray, merged: FloatArray, precision: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The reference as an observation of the true intensities I: values and weights (0: none), two (n_groups,).

        Given I, that of the reference has the mean (1 - u) I + u <I> and the variance of `_scatter`. So
        (T - u <I>) / (1 - u) is an observation of I of that variance over (1 - u)^2, whatever u is. One that is
        right on average given T instead would draw the scale towards zero.

        Parameters
        ----------
        error : (n_shells,) float64
            u of each shell.
        merged, precision : (n_groups,) float64
            As for `error_by_shell`; they tell the variance, not the value.
        """
        known = self.known
        u, mean, t = error[self.shell[known]], self.mean[known], self.intensity[known]
        own = self.variance[known] + (_LEAST_ERROR * (np.maximum(t, 0.0) + mean)) ** 2
        spread, best = self.spread[known], (1.0 - u) * t + u * mean
        certainty = 1.0 / (own + _scatter(u, t, mean, spread))
        total = precision[known] + certainty
        best = (precision[known] * merged[known] + certainty * best) / total
        value, weight = np.zeros(known.size), np.zeros(known.size)
        value[known] = (t - u * mean) / (1.0 - u)
        weight[known] = (1.0 - u) ** 2 / (own + _scatter(u, best, mean, spread))
        return value, weight

    def shells(self, error: FloatArray) -> list[ReferenceShell]:
        """What was found in each shell."""
        found = []
        for k, u in enumerate(error.tolist()):
            d = self.d_spacing[self.shell == k]
            found.append(ReferenceShell(float(d.max()), float(d.min()), int(d.size), u))
        return found


def _scatter(u: FloatArray, intensity: FloatArray, mean: FloatArray, spread: FloatArray) -> FloatArray:
    """Variance of one intensity given the other when E^2 of both are correlated by 1 - u.

    s <I>^2 (u^2 + 2 u (1 - u) E^2), s = 1, or 2 for centric reflections (Srinivasan & Ramachandran 1965).
    """
    scatter: FloatArray = spread * mean * (u**2 * mean + 2.0 * u * (1.0 - u) * np.maximum(intensity, 0.0))
    return scatter


def group_reference(
    reference: Reference, observations: JobObservations, space_group: Any, unit_cell: Any, n_threads: int = 1
) -> GroupReference:
    """Match a reference with the groups of equivalents that the fit uses.

    Parameters
    ----------
    reference : Reference
    observations : JobObservations
    space_group : gemmi.SpaceGroup
    unit_cell : (6,) sequence of float
        Of the job.

    Raises
    ------
    DataError
        If symmetry or cell are not those of the data, or no reflection is in both.
    """
    _require_same_crystal_form(reference, space_group, unit_cell)
    first = observations.target_offsets[:-1]
    index = observations.miller_index[first]
    n_groups = len(index)
    group = _groups_of(reference.miller_index, index, observations, space_group, n_threads)
    here = (group >= 0) & ~systematic_absences(space_group, reference.miller_index)
    here &= ~observations.absent[first][np.maximum(group, 0)]
    group, value, variance = group[here], reference.intensity[here], reference.variance[here]
    if group.size == 0:
        raise DataError(
            f"{reference.source}: has no reflection in common with the data ({len(reference.intensity)} reflections); "
            "check indexing and resolution of both"
        )
    intensity, merged_variance = _merged(group, value, variance, n_groups)
    matched = np.isfinite(intensity)
    epsilon, centric = epsilon_and_centric(space_group, index)
    d_spacing = observations.d_spacing[first]
    shell, mean = _shells(intensity, d_spacing, epsilon.astype(np.float64), matched, reference.source)
    _logger.info(
        "%s: %d reflections (%s), of which %d of the data's %d groups have one",
        reference.source,
        len(reference.intensity),
        " ".join((reference.kind, *reference.labels)),
        int(matched.sum()),
        n_groups,
    )
    return GroupReference(
        reference=reference,
        intensity=intensity,
        variance=merged_variance,
        mean=mean,
        shell=shell,
        spread=np.where(centric, 2.0, 1.0),
        d_spacing=d_spacing,
    )


def _merged(group: IndexArray, value: FloatArray, variance: FloatArray, n_groups: int) -> tuple[FloatArray, FloatArray]:
    """Weighted mean of each group (NaN: none) and its variance (0 where unknown), two (n_groups,) float64."""
    weight = 1.0 / np.where(variance > 0, variance, 1.0)
    total = np.bincount(group, weight, n_groups)
    matched = total > 0
    intensity = np.full(n_groups, np.nan)
    intensity[matched] = np.bincount(group, weight * value, n_groups)[matched] / total[matched]
    unknown = np.bincount(group, ~(variance > 0), n_groups) > 0
    return intensity, np.where(matched & ~unknown, 1.0 / np.where(matched, total, 1.0), 0.0)


def _groups_of(
    miller: IntArray, index: IntArray, observations: JobObservations, space_group: Any, n_threads: int
) -> IndexArray:
    """Group of each reflection of the reference, -1 for none, (n,) int64."""
    n_groups = len(index)
    sorted_together = _core.group_reflections(
        np.ascontiguousarray(np.concatenate([index, miller]), dtype=np.int32),
        rotation_matrices(space_group),
        np.zeros(0, np.int64),
        n_threads,
    )
    offsets = sorted_together["anomalous_offsets" if observations.is_anomalous else "offsets"]
    of_row = np.empty(len(sorted_together["order"]), np.int64)
    of_row[sorted_together["order"]] = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    group_of = np.full(offsets.size - 1, -1, np.int64)
    group_of[of_row[:n_groups]] = np.arange(n_groups)
    result: IndexArray = group_of[of_row[n_groups:]]
    return result


def _shells(
    intensity: FloatArray, d_spacing: FloatArray, epsilon: FloatArray, matched: BoolArray, source: str
) -> tuple[IndexArray, FloatArray]:
    """Shells of equal numbers of groups, and the mean intensity expected of each group."""
    rows = np.flatnonzero(matched)
    n_shells = int(np.clip(rows.size // _PER_SHELL, 1, _MAX_SHELLS))
    order = rows[np.argsort(-d_spacing[rows], kind="stable")]
    shell = np.full(matched.size, -1, np.int64)
    shell[order] = np.arange(order.size) * n_shells // order.size
    total = np.bincount(shell[rows], intensity[rows] / epsilon[rows], n_shells)
    mean = np.zeros(matched.size)
    mean[rows] = epsilon[rows] * (total / np.bincount(shell[rows], minlength=n_shells))[shell[rows]]
    overall = float(np.mean(intensity[rows]))
    if not overall > 0:
        raise DataError(f"{source}: the mean intensity of the reference is not positive: nothing determines the scale")
    # Shells in which the reference measures nothing at all have no use.
    mean = np.maximum(mean, 1e-6 * overall)
    return shell, mean


def _require_same_crystal_form(reference: Reference, space_group: Any, unit_cell: Any) -> None:
    theirs = reference.space_group
    if theirs is not None and _laue_operators(theirs) != _laue_operators(space_group):
        raise DataError(
            f"{reference.source}: the reference has space group {theirs.xhm()}, the data {space_group.xhm()}, of "
            "another point group or setting; reindex one of them, for example with dials.reindex"
        )
    if reference.unit_cell is None:
        return
    cell = np.array(reference.unit_cell.parameters)
    change = cell - np.asarray(unit_cell, dtype=np.float64)
    lengths = np.abs(change[:3]) > _MAX_LENGTH_CHANGE * np.asarray(unit_cell)[:3]
    if lengths.any() or (np.abs(change[3:]) > _MAX_ANGLE_CHANGE).any():
        theirs, own = (" ".join(f"{x:.2f}" for x in parameters) for parameters in (cell, unit_cell))
        raise DataError(
            f"{reference.source}: the unit cell of the reference ({theirs}) is not that of the data ({own}): lengths "
            f"may differ by {100 * _MAX_LENGTH_CHANGE:g} %, angles by {_MAX_ANGLE_CHANGE:g} degrees"
        )


def _laue_operators(space_group: Any) -> set[bytes]:
    rotations = rotation_matrices(space_group)
    return {r.tobytes() for r in np.concatenate([rotations, -rotations])}
