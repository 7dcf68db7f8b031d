"""The suitable observations of a job, sorted by groups of symmetry equivalents, as the core wants them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gemmi
import numpy as np

from . import _core
from .errors import DataError
from .experiment import Experiment
from .intensity_choice import IntegratedIntensities, combined_intensities
from .preparation import PreparedDataSet
from .reflections import ReflectionTable
from .symmetry import rotation_matrices
from .typing import BoolArray, FloatArray, IndexArray, IntArray

__all__ = ["JobObservations", "beam_directions", "collect", "max_scattering_angle_deg"]


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
        Place on the detector, and the factor of g that no parameter changes.
    offsets, anomalous_offsets : (n_groups + 1,) int64
        First observation of each group: Friedel mates together, or apart.
    target_offsets : (n_groups + 1,) int64
        Those of the two that the fit and the outlier test use.
    group : (n,) int64
        Number of the Friedel-merged group.
    absent : (n,) bool
        Systematic absences, which are left out of fit and merging.
    not_fitted : (n,) bool or None
        Observations that are scaled and merged, but take no part in the fit; None if there are none.
    was_outlier : (n,) bool or None
        Observations that an earlier job rejected; None if there are none.
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
    not_fitted: BoolArray | None = None
    was_outlier: BoolArray | None = None

    def __len__(self) -> int:
        return int(self.data_set.size)

    def with_imid(self, imid: float) -> JobObservations:
        """Return the observations with the intensities of another crossover (`intensity_choice`)."""
        intensity, variance = combined_intensities(self.integrated, imid)
        return replace(self, intensity=intensity, variance=variance)

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
    n_threads: int,
) -> JobObservations:
    """Gather and sort the suitable rows of all data sets.

    Raises
    ------
    DataError
        If no row is suitable.
    """
    rows = [np.flatnonzero(p.suitable).astype(np.int64) for p in prepared]
    data_set = np.repeat(np.arange(len(prepared), dtype=np.int32), [r.size for r in rows])
    if data_set.size == 0:
        raise DataError("no reflection of any data set can be scaled: see the ledger of reasons in the log")
    miller = np.concatenate([p.table["miller_index"][r] for p, r in zip(prepared, rows, strict=True)])
    intensity = np.concatenate([p.intensity[r] for p, r in zip(prepared, rows, strict=True)])
    image_z = np.concatenate([p.image_z[r] for p, r in zip(prepared, rows, strict=True)])
    groups = _core.group_reflections(
        np.ascontiguousarray(miller, dtype=np.int32),
        rotation_matrices(space_group),
        _core.canonical_rank(data_set, image_z, intensity, len(prepared), n_threads),
        n_threads,
    )
    order, offsets, anomalous_offsets = groups["order"], groups["offsets"], groups["anomalous_offsets"]
    s0, s1 = _directions(prepared, rows, needs_directions, n_threads)

    def joined(name: str) -> Any:
        arrays = [getattr(p, name)[r] for p, r in zip(prepared, rows, strict=True)]
        return np.ascontiguousarray(np.concatenate(arrays)[order])

    partial = np.concatenate([_below(p, min_partiality)[r] for p, r in zip(prepared, rows, strict=True)])[order]
    earlier = joined("was_outlier")
    return JobObservations(
        data_set=data_set[order],
        row=np.concatenate(rows)[order],
        intensity=intensity[order],
        variance=joined("variance"),
        d_spacing=joined("d_spacing"),
        image_z=image_z[order],
        s0_crystal=s0[order] if s0.size else s0,
        s1_crystal=s1[order] if s1.size else s1,
        x_px=joined("x_px"),
        y_px=joined("y_px"),
        given_factor=joined("given_factor"),
        offsets=offsets,
        anomalous_offsets=anomalous_offsets,
        target_offsets=anomalous_offsets if anomalous else offsets,
        group=np.repeat(np.arange(offsets.size - 1), np.diff(offsets)),
        absent=np.concatenate([p.absent[r] for p, r in zip(prepared, rows, strict=True)])[order],
        miller_index=np.ascontiguousarray(miller[order], dtype=np.int32),
        integrated=IntegratedIntensities.concatenate(
            [p.integrated.select(r) for p, r in zip(prepared, rows, strict=True)]
        ).select(order),
        not_fitted=partial if partial.any() else None,
        was_outlier=earlier if earlier.any() else None,
    )


def _below(p: PreparedDataSet, min_partiality: float) -> BoolArray:
    """Rows recorded to a smaller part, (n,) bool."""
    partiality = p.table.get("partiality")
    below: BoolArray = np.zeros(len(p.table), np.bool_) if partiality is None else partiality < min_partiality
    return below


def _directions(
    prepared: Sequence[PreparedDataSet],
    rows: Sequence[IndexArray],
    needed: Sequence[bool],
    n_threads: int,
) -> tuple[FloatArray, FloatArray]:
    if not any(needed):
        return np.zeros((0, 3)), np.zeros((0, 3))
    parts = []
    for p, r, need in zip(prepared, rows, needed, strict=True):
        if need:
            part = p.table.select(r)
            parts.append(beam_directions(part, p.data_set.experiment, p.image_z[r], n_threads))
        else:
            parts.append((np.zeros((r.size, 3)), np.zeros((r.size, 3))))
    return np.concatenate([s0 for s0, _ in parts]), np.concatenate([s1 for _, s1 in parts])
