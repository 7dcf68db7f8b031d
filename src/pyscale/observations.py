"""The suitable observations of a job, sorted by groups of symmetry equivalents, as the core wants them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import gemmi
import numpy as np
from numpy.typing import NDArray

from . import _core
from .errors import DataError
from .experiment import Experiment
from .intensity_choice import IntegratedIntensities, combined_intensities
from .prepared import PreparedDataSet, PreparedRows, blocks_of
from .progress import checkpoint
from .reflections import ReflectionTable
from .symmetry import rotation_matrices
from .typing import BoolArray, FloatArray, IndexArray, IntArray
from .unit_cells import wavelengths

if TYPE_CHECKING:
    from .reference import GroupReference

__all__ = ["JobObservations", "beam_directions", "collect", "max_scattering_angle_deg"]

_T = TypeVar("_T", bound=np.generic)
_LONGEST_OF_ELECTRONS = 0.1
"""Angstrom; 15 kV, where no X-rays are used."""


@dataclass(frozen=True)
class JobObservations:
    """Arrays over all suitable rows of a job in canonical order: by group, I(+) first, then data set and image.

    Attributes
    ----------
    data_set : (n,) int32
    row : (n,) int64
        Row in the table of that data set.
    intensity, variance, d_spacing, image_z : (n,) float64
    s0_crystal, s1_crystal : (n, 3) float64
        Or shape (0, 3) when no model needs them.
    x_px, y_px, given_factor : (n,) float64
        Place on the detector, and the factor of g that no parameter changes; shape (0,) when no model needs them.
    offsets, anomalous_offsets : (n_groups + 1,) int64
        First observation of each group: Friedel mates together, or apart.
    target_offsets : (n_groups + 1,) int64
        Those of the two that the fit and the outlier test use.
    group : (n,) int64
        Number of the Friedel-merged group.
    absent : (n,) bool
        Systematic absences, which are left out of fit and merging.
    has_bijvoet : bool
        Whether Friedel mates may differ: not in electron diffraction.
    not_fitted : (n,) bool or None
        Observations that are scaled and merged, but take no part in the fit; None if there are none.
    was_outlier : (n,) bool or None
        Observations that an earlier job rejected; None if there are none.
    selected : (n,) bool or None
        Observations that the minimisation is limited to (`reflection_selection`); None if it is not.
    reference : GroupReference or None
        Intensities that are known beforehand, of the groups of `target_offsets`.
    """

    data_set: IntArray
    row: IndexArray
    intensity: FloatArray
    variance: FloatArray
    d_spacing: FloatArray
    image_z: FloatArray
    s0_crystal: FloatArray
    s1_crystal: FloatArray
    x_px: FloatArray
    y_px: FloatArray
    given_factor: FloatArray
    offsets: IndexArray
    anomalous_offsets: IndexArray
    target_offsets: IndexArray
    group: IndexArray
    absent: BoolArray
    miller_index: IntArray
    integrated: IntegratedIntensities
    has_bijvoet: bool = True
    not_fitted: BoolArray | None = None
    was_outlier: BoolArray | None = None
    selected: BoolArray | None = None
    reference: GroupReference | None = None
    of_stills: bool = False

    def __len__(self) -> int:
        return int(self.data_set.size)

    @property
    def usable(self) -> BoolArray:
        """Observations that a fit may use, (n,) bool."""
        usable: BoolArray = ~self.absent
        return usable if self.not_fitted is None else usable & ~self.not_fitted

    def with_imids(self, imids: FloatArray) -> JobObservations:
        """Return the observations with the intensities of other crossovers of the data sets (`intensity_choice`)."""
        alike = bool((imids == imids[0]).all())
        intensity, variance = combined_intensities(self.integrated, imids[0] if alike else imids[self.data_set])
        return replace(self, intensity=intensity, variance=variance)

    def of_data_sets(self, chosen: BoolArray) -> tuple[JobObservations, BoolArray]:
        """Return the observations of some data sets (n_data_sets,), renumbered, and which these are, (n,) bool.

        The reference and groups without an observation are left out.
        """
        rows = chosen[self.data_set]
        number = (np.cumsum(chosen) - 1).astype(np.int32)

        def kept(offsets: IndexArray) -> IndexArray:
            sizes = np.add.reduceat(rows.astype(np.int64), offsets[:-1])
            return np.concatenate([[0], np.cumsum(sizes[sizes > 0])]).astype(np.int64)

        offsets, anomalous = kept(self.offsets), kept(self.anomalous_offsets)
        names = ("row", "intensity", "variance", "d_spacing", "image_z", "absent", "miller_index")
        arrays: dict[str, Any] = {name: getattr(self, name)[rows] for name in names}
        for name in ("s0_crystal", "s1_crystal", "x_px", "y_px", "given_factor"):
            column = getattr(self, name)
            arrays[name] = column[rows] if column.size else column
        for name in ("not_fitted", "was_outlier"):
            mask = getattr(self, name)
            arrays[name] = None if mask is None else mask[rows]
        selected = replace(
            self,
            **arrays,
            data_set=number[self.data_set[rows]],
            offsets=offsets,
            anomalous_offsets=anomalous,
            target_offsets=anomalous if self.is_anomalous else offsets,
            group=np.repeat(np.arange(offsets.size - 1), np.diff(offsets)),
            integrated=self.integrated.select(rows),
            reference=None,
        )
        return selected, rows

    @property
    def is_anomalous(self) -> bool:
        """Whether I(+) and I(-) are apart in the fit."""
        return self.target_offsets is self.anomalous_offsets

    def core(self) -> _core.Observations:
        """Return what a scaling model looks at."""
        return _core.Observations(
            self.data_set,
            self.image_z,
            0.5 / self.d_spacing**2,
            self.s0_crystal,
            self.s1_crystal,
            self.x_px,
            self.y_px,
            self.given_factor,
        )


def beam_directions(
    table: ReflectionTable, experiment: Experiment, image_z: FloatArray, n_threads: int = 1, *, legacy: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Directions towards the source and of the diffracted beam in the crystal frame, two (n, 3) float64.

    The `legacy` frame is the one in which DIALS expressed absorption surfaces before 2021: the first direction is that
    of the incident beam, and the only rotation is that about the axis in the laboratory, by the angle from array
    coordinate 0, without start angle and fixed and setting rotations.

    Raises
    ------
    DataError
        If the table has no `s1`.
    """
    oscillation, axis = experiment.oscillation, experiment.rotation_axis
    image_range = experiment.image_range
    assert oscillation is not None and axis is not None and image_range is not None
    s1 = np.require(table.require("s1"), dtype=np.float64, requirements=["C", "A"])
    if legacy:
        incident, axis = -experiment.beam_direction, experiment.setting_rotation @ axis
        return _core.crystal_frame_beams(
            incident.tolist(), axis.tolist(), np.eye(3), np.eye(3), 0.0, oscillation[1], 0.0, s1, image_z, n_threads
        )
    return _core.crystal_frame_beams(
        [float(x) for x in experiment.beam_direction],
        [float(x) for x in axis],
        np.ascontiguousarray(experiment.fixed_rotation, dtype=np.float64),
        np.ascontiguousarray(experiment.setting_rotation, dtype=np.float64),
        oscillation[0],
        oscillation[1],
        float(image_range[0] - 1),
        s1,
        image_z,
        n_threads,
    )


def max_scattering_angle_deg(table: ReflectionTable, experiment: Experiment, rows: BoolArray) -> float:
    """Largest angle between incident and diffracted beam among some rows, degrees; 0 without rows or `s1`."""
    s1 = table.get("s1")
    if s1 is None or not rows.any():
        return 0.0
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lengths = np.linalg.norm(s1[rows], axis=1)
        cosines = -(s1[rows] @ np.asarray(experiment.beam_direction)) / lengths
    cosines = cosines[np.isfinite(cosines)]
    if cosines.size == 0:
        return 0.0
    return float(np.degrees(np.arccos(np.clip(cosines.min(), -1.0, 1.0))))


def collect(
    prepared: Sequence[PreparedDataSet],
    needs_directions: Sequence[bool],
    space_group: gemmi.SpaceGroup,
    *,
    anomalous: bool,
    min_partiality: float = 0.0,
    needs_place: bool = True,
    n_threads: int,
) -> JobObservations:
    """Gather and sort the suitable rows of all data sets.

    Raises
    ------
    DataError
        If no row is suitable.
    """
    blocks = blocks_of(prepared)
    rows = [np.flatnonzero(b.suitable) for b in blocks]
    if not any(r.size for r in rows):
        raise DataError("no reflection of any data set can be scaled: see the ledger of reasons in the log")
    first = np.cumsum([0, *(len(b.data_sets) for b in blocks)])
    checkpoint()
    data_set = _joined([b.numbers()[r] + np.int32(k) for b, r, k in zip(blocks, rows, first, strict=False)])
    image_z = _joined([b.image_z[r] for b, r in zip(blocks, rows, strict=True)])
    intensity = _joined([b.chosen[0][r] for b, r in zip(blocks, rows, strict=True)])
    miller = _joined([b.table["miller_index"][r] for b, r in zip(blocks, rows, strict=True)])
    groups = _core.group_reflections(
        np.ascontiguousarray(miller, dtype=np.int32),
        rotation_matrices(space_group),
        _core.canonical_rank(data_set, image_z, intensity, len(prepared), n_threads),
        n_threads,
    )
    order, offsets, anomalous_offsets = groups["order"], groups["offsets"], groups["anomalous_offsets"]
    data_set, image_z, intensity = data_set[order], image_z[order], intensity[order]
    checkpoint()
    miller = miller[order]
    sorted_rows = _SortedRows(blocks, rows, order)
    s0, s1 = _directions(prepared, needs_directions, sorted_rows, n_threads)
    partial = sorted_rows.take(lambda b: _below(b, min_partiality))
    earlier = sorted_rows.take(lambda b: b.was_outlier)
    place = sorted_rows.take(lambda b: b.table.centroids()[:, :2]) if needs_place else np.zeros((0, 2))
    is_given = any(b.given_factor is not None for b in blocks)
    return JobObservations(
        data_set=data_set,
        row=sorted_rows.take(lambda b: np.arange(len(b.table)) - np.repeat(b.offsets[:-1], np.diff(b.offsets))),
        intensity=intensity,
        variance=sorted_rows.take(lambda b: b.chosen[1]),
        d_spacing=sorted_rows.take(lambda b: b.d_spacing),
        image_z=image_z,
        s0_crystal=s0,
        s1_crystal=s1,
        x_px=np.ascontiguousarray(place[:, 0]),
        y_px=np.ascontiguousarray(place[:, 1]),
        given_factor=sorted_rows.take(PreparedRows.factors) if is_given else np.zeros(0),
        offsets=offsets,
        anomalous_offsets=anomalous_offsets,
        target_offsets=anomalous_offsets if anomalous else offsets,
        group=np.repeat(np.arange(offsets.size - 1), np.diff(offsets)),
        absent=sorted_rows.take(lambda b: b.absent),
        miller_index=np.ascontiguousarray(miller, dtype=np.int32),
        integrated=IntegratedIntensities(
            profile=sorted_rows.take(lambda b: b.integrated.profile),
            profile_variance=sorted_rows.take(lambda b: b.integrated.profile_variance),
            summation=sorted_rows.take(lambda b: b.integrated.summation),
            summation_variance=sorted_rows.take(lambda b: b.integrated.summation_variance),
            conversion=sorted_rows.take(lambda b: b.integrated.conversion),
        ),
        has_bijvoet=_has_bijvoet(prepared),
        not_fitted=partial if partial.any() else None,
        was_outlier=earlier if earlier.any() else None,
        of_stills=bool(prepared) and prepared[0].data_set.experiment.is_still,
    )


def _has_bijvoet(prepared: Sequence[PreparedDataSet]) -> bool:
    """Whether any data set is of a wavelength that no electrons for diffraction have."""
    found = wavelengths(p.data_set.experiment for p in prepared)
    return not found or max(found) > _LONGEST_OF_ELECTRONS


def _joined(parts: Sequence[NDArray[_T]]) -> NDArray[_T]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class _SortedRows:
    """The suitable rows of some blocks in another order."""

    def __init__(self, blocks: Sequence[PreparedRows], rows: Sequence[IndexArray], order: IndexArray) -> None:
        self._blocks, self._order = blocks, order
        self._rows = list(rows)
        if len(blocks) == 1:
            self._rows = [rows[0][order]]

    def take(self, column: Callable[[PreparedRows], NDArray[_T]]) -> NDArray[_T]:
        """Return a column of the blocks' rows."""
        checkpoint()
        parts = [column(b).take(r, axis=0) for b, r in zip(self._blocks, self._rows, strict=True)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)[self._order]


def _below(block: PreparedRows, min_partiality: float) -> BoolArray:
    """Rows recorded to a smaller part, (n,) bool."""
    partiality = block.table.get("partiality")
    below: BoolArray = np.zeros(len(block.table), np.bool_) if partiality is None else partiality < min_partiality
    return below


def _directions(
    prepared: Sequence[PreparedDataSet], needed: Sequence[bool], sorted_rows: _SortedRows, n_threads: int
) -> tuple[FloatArray, FloatArray]:
    """Beams in the crystal frame of the data sets that need them, zero elsewhere; two (n, 3) float64, or (0, 3)."""
    if not any(needed):
        return np.zeros((0, 3)), np.zeros((0, 3))
    beams = {id(b): (np.zeros((len(b.table), 3)), np.zeros((len(b.table), 3))) for b in blocks_of(prepared)}
    for p, need in zip(prepared, needed, strict=True):
        if need:
            found = beam_directions(p.table, p.data_set.experiment, p.image_z, n_threads)
            for whole, part in zip(beams[id(p.block)], found, strict=True):
                whole[p.part] = part
    return sorted_rows.take(lambda b: beams[id(b)][0]), sorted_rows.take(lambda b: beams[id(b)][1])
