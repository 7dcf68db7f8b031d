"""Observations of a sweep of an MTZ file in the laboratory: observed indices, centroids, beams, orientation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..typing import FloatArray, IndexArray, IntArray
from .imported import FlatDetector, InputDecision
from .mtz_detector import fit_detector
from .mtz_geometry import Reading, Spots, laboratory_frame, reciprocal_basis
from .mtz_indices import Explanation, by_symmetry_records, explain, observed_indices, sample_rows
from .mtz_records import Observations
from .mtz_sweeps import Sweep

__all__ = ["Placement", "place_spots"]

_UNEXPLAINED = 0.01
"""Median distance from the Ewald sphere, relative, beyond which a geometry is not believed."""

_LAG = 0.75
_EDGE = 1e-3
_FAR = 1.0
_DISTANCE, _LIMITS = 111, slice(113, 117)
_UNKNOWN_DISTANCE = 200.0
_WORST_PLACE = 20.0


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the observations of a sweep are; see `ImportedDataSet`.

    Attributes
    ----------
    miller_index : (n, 3) int32
        As observed.
    centroid : (n, 3) float64
        Pixel, pixel, image.
    s1 : (n, 3) float64 or None
        None where no reading of the file explains the spots.
    wavelength : float or None
        In A; None where it is unknown.
    """

    miller_index: IntArray
    centroid: FloatArray
    s1: FloatArray | None
    wavelength: float | None
    image_range: tuple[int, int] | None
    oscillation: tuple[float, float] | None
    beam_direction: FloatArray = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))
    real_space: FloatArray | None = None
    detector: FlatDetector | None = None
    decisions: tuple[InputDecision, ...] = ()


def place_spots(
    observed: Observations, sweep: Sweep, rotations: IntArray, unit_cell: FloatArray, wavelength: float | None
) -> Placement:
    """Find observed indices and geometry, and repair what is wrong in the file where that is safe.

    Parameters
    ----------
    observed : Observations
        Of one sweep.
    sweep : Sweep
    rotations : (n, 3, 3) int32
        Of the SYMM records.
    unit_cell : (6,) float64
    wavelength : float or None
        In A; None: unknown.
    """
    angle, lag, decisions = _angles(observed, sweep)
    spots = _spots(observed, sweep, angle - lag)
    spots = replace(spots, angle=np.radians(angle))
    sample = np.flatnonzero(observed.complete & np.isfinite(angle)).astype(np.int64)
    sample = sample[sample_rows(spots.take(sample))]
    best = None
    if observed.angle is not None and sample.size:
        best = explain(spots.take(sample), sweep, rotations, unit_cell, wavelength, lag)
    decisions += _about(best, lag, sweep)
    place, image_range, edge = _centroids(observed, sweep, angle - lag)
    plain = Placement(
        miller_index=np.zeros((0, 3), np.int32),
        centroid=place,
        s1=None,
        wavelength=wavelength,
        image_range=image_range,
        oscillation=_oscillation(sweep, 0.0 if best is None else lag - best.angle_offset),
        decisions=(*decisions, *edge),
    )
    if best is None or best.deviation > _UNEXPLAINED:
        to_observed = by_symmetry_records(rotations)
        return replace(plain, miller_index=observed_indices(observed.miller_index, observed.isym, to_observed))
    spots = replace(spots, angle=spots.angle - np.radians(best.angle_offset))
    return _in_laboratory(plain, best, spots, observed, sweep, unit_cell, sample)


def _angles(observed: Observations, sweep: Sweep) -> tuple[FloatArray, float, list[InputDecision]]:
    """Angles near those of the batches, and by how many whole images, in degrees, they are off as a whole."""
    middle = sweep.middle(observed.batch)
    if observed.angle is None or sweep.is_still:
        warn = InputDecision("rotation_angles", "middle of the batch", "the file has no column ROT", is_warning=True)
        return middle, 0.0, [] if sweep.is_still else [warn]
    angle = observed.angle + 360.0 * np.rint((middle - observed.angle) / 360.0)
    off = (angle - middle)[observed.complete & np.isfinite(angle)] / sweep.width
    shift = float(np.median(off)) if off.size else 0.0
    return angle, float(np.rint(shift)) * sweep.width if abs(shift) > _LAG else 0.0, []


def _spots(observed: Observations, sweep: Sweep, angle: FloatArray) -> Spots:
    """Spots with the orientation of the batch in which their angle lies, the nearest where that has no header."""
    if sweep.is_still:
        image = np.zeros(len(angle), np.int64)
    else:
        with np.errstate(invalid="ignore"):
            batch = np.floor((angle - sweep.start) / sweep.width) + sweep.number[0]
        batch = np.where(np.isfinite(batch), batch, sweep.number[0])
        has_gaps = sweep.n_images != len(sweep.number)
        image = np.searchsorted(sweep.number, batch) if has_gaps else batch - sweep.number[0]
        image = np.clip(image, 0, len(sweep.number) - 1).astype(np.int64)
    return Spots(observed.miller_index, observed.isym, np.radians(angle), image)


def _centroids(
    observed: Observations, sweep: Sweep, angle: FloatArray
) -> tuple[FloatArray, tuple[int, int] | None, list[InputDecision]]:
    """Pixel, pixel and image; spots beyond the first or last image are put just inside."""
    place = np.nan_to_num(observed.place)
    if sweep.is_still:
        return np.column_stack([place, np.full(len(angle), 0.5)]), None, []
    first = max(int(sweep.number[0]), 1)
    z = (angle - sweep.start) / sweep.width
    inside = np.clip(z, _EDGE, sweep.n_images - _EDGE)
    moved = (np.abs(z - inside) > _EDGE) & observed.complete
    decisions = []
    if moved.any():
        farthest = float(np.abs(z - inside)[moved].max())
        reason = f"{int(moved.sum())} complete reflections lie up to {farthest:.2g} images beyond the scan"
        value = "moved to the edge"
        decisions.append(InputDecision("beyond_scan", value, reason, is_warning=farthest > _FAR))
    images = (first, first + sweep.n_images - 1)
    return np.column_stack([place, inside + (first - 1)]), images, decisions


def _oscillation(sweep: Sweep, shift: float) -> tuple[float, float] | None:
    """Angle at the start and width; of a sweep whose angles fall, about the reversed axis."""
    if sweep.is_still:
        return None
    sign = np.sign(sweep.width)
    return float(sign * (sweep.start + shift)), float(abs(sweep.width))


def _about(best: Explanation | None, lag: float, sweep: Sweep) -> list[InputDecision]:
    if best is None or best.deviation > _UNEXPLAINED:
        why = (
            "there is nothing to find it from"
            if best is None
            else (f"the best reading, {best.reading.name}, misses the Ewald sphere by {best.deviation:.2g} in median")
        )
        reason = f"{why}; there can be no absorption correction, and observed indices follow the SYMM records"
        return [InputDecision("geometry", "unknown", reason, is_warning=not sweep.is_still)]
    found = []
    misses = f"spots miss the Ewald sphere by {best.deviation:.2g} in median (relative)"
    usual = sweep.headers is None or best.reading.name.startswith("batch headers (U by columns")
    found.append(InputDecision("geometry", best.reading.name, misses, is_warning=not usual or sweep.headers is None))
    if best.reassigned:
        value = {str(code): _operator_text(best.to_observed[code]) for code in best.reassigned}
        reason = (
            "these ISYM numbers do not count the SYMM records of the file; the operators (h = h_asu M) were found "
            "from where the spots were recorded"
        )
        found.append(InputDecision("symmetry_numbers", value, reason, is_warning=True))
    if lag:
        images = lag / sweep.width
        what = "ROT is" if best.angle_offset else "the angles of the batch headers are"
        off = images if best.angle_offset else -images
        reason = f"{what} off by {off:+.0f} images, by the orientation in the headers; repaired"
        found.append(InputDecision("rotation_angles", off * abs(sweep.width), reason, is_warning=True))
    return found


def _operator_text(matrix: IntArray) -> str:
    """h = h_asu M as text in h, k, l."""
    words = []
    for column in matrix.T:
        terms = [f"{'-' if m < 0 else '+'}{name}" for m, name in zip(column.tolist(), "hkl", strict=True) if m]
        words.append("".join(terms).removeprefix("+"))
    return ",".join(words)


def _in_laboratory(
    plain: Placement,
    best: Explanation,
    spots: Spots,
    observed: Observations,
    sweep: Sweep,
    unit_cell: FloatArray,
    sample: IndexArray,
) -> Placement:
    """Complete a placement by what an explanation tells; `sample` are rows to fit a detector to."""
    index = observed_indices(observed.miller_index, observed.isym, best.to_observed)
    reading = best.reading
    if sweep.width < 0:
        reading = replace(reading, axis=-reading.axis)
        spots = replace(spots, angle=-spots.angle)
    reading = reading.in_frame(laboratory_frame(reading))
    s1 = reading.s1(index, spots)
    length = np.linalg.norm(s1, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        s1 = s1 / (length * reading.wavelength)[:, None]
    detector, told = _detector(s1[sample], observed.place[sample], observed.place, sweep)
    return replace(
        plain,
        miller_index=index,
        s1=s1,
        wavelength=reading.wavelength,
        beam_direction=-reading.beam,
        real_space=_real_space(reading, unit_cell),
        detector=detector,
        decisions=(*plain.decisions, *told),
    )


def _real_space(reading: Reading, unit_cell: FloatArray) -> FloatArray:
    """Axes a, b, c as rows: of the cell of the data set, in the orientation of the middle image."""
    basis = reciprocal_basis(unit_cell)
    setting = reading.setting[len(reading.setting) // 2]
    left, _, right = np.linalg.svd(setting @ np.linalg.inv(basis))
    return np.asarray(np.linalg.inv(left @ right @ basis))


def _detector(
    s1: FloatArray, place: FloatArray, all_places: FloatArray, sweep: Sweep
) -> tuple[FlatDetector | None, list[InputDecision]]:
    distance, size = _UNKNOWN_DISTANCE, np.zeros(2)
    if sweep.headers is not None:
        distance = float(sweep.headers[0, _DISTANCE]) or _UNKNOWN_DISTANCE
        size = sweep.headers[0, _LIMITS][[1, 3]]
    size = np.maximum(np.nan_to_num(size), np.ceil(np.nan_to_num(all_places).max(axis=0) + 1))
    found = fit_detector(s1, place, abs(distance), (int(size[0]), int(size[1]))) if (size < 1e6).all() else None
    if found is None:
        return None, []
    detector, off = found
    pixel = detector.pixel_size
    reason = f"a plane at {abs(distance):.4g} mm with pixels of {pixel[0]:.4g} mm puts spots {off:.2g} pixels "
    reason += "from XDET, YDET in median"
    if off > _WORST_PLACE or not 0.5 < pixel[0] / pixel[1] < 2.0:
        return None, [InputDecision("detector", "unknown", reason, is_warning=True)]
    return detector, [InputDecision("detector", "fitted", reason)]
