"""Observed Miller indices of an unmerged MTZ file: ISYM numbers, checked by where the spots were recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np

from ..typing import BoolArray, FloatArray, IndexArray, IntArray
from .mtz_geometry import Reading, Spots, fitted_reading, header_readings
from .mtz_sweeps import Sweep

__all__ = ["EXPLAINED", "Explanation", "by_symmetry_records", "explain", "observed_indices", "sample_rows"]

EXPLAINED = 1e-3
"""Spots this near to the Ewald sphere, in median, are where a reading says; the sphere is missed by some 0.1 else."""

_BEST_SUPPORTED = 3.0
"""A less usual reading must be this many times nearer."""

_SAMPLE = 4000
_N_CODES = 256


@dataclass(frozen=True)
class Explanation:
    """How the spots of a sweep are best understood.

    Attributes
    ----------
    reading : Reading
    to_observed : (256, 3, 3) int32
        Matrix of each ISYM number: h = h_asu M.
    deviation : float
        Distance from the Ewald sphere: the median of each ISYM number, averaged over the spots.
    angle_offset : float
        What the angles ROT must be diminished by, degrees.
    reassigned : sequence of int
        ISYM numbers whose operator is not that of the SYMM records.
    """

    reading: Reading
    to_observed: IntArray
    deviation: float
    angle_offset: float
    reassigned: tuple[int, ...]


def by_symmetry_records(rotations: IntArray) -> IntArray:
    """Matrices M with h = h_asu M of the ISYM numbers 0 to 255, as the SYMM records (n, 3, 3) have it.

    Numbers without a record are taken for the identity.
    """
    matrices = np.broadcast_to(np.eye(3, dtype=np.int32), (_N_CODES, 3, 3)).copy()
    for code in range(1, min(_N_CODES, 2 * len(rotations) + 1)):
        inverse = np.rint(np.linalg.inv(rotations[(code - 1) // 2])).astype(np.int32)
        matrices[code] = inverse if code % 2 else -inverse
    return np.asarray(matrices)


def observed_indices(asu_index: IntArray, isym: IntArray, to_observed: IntArray) -> IntArray:
    """Undo the reduction to the asymmetric unit, (n, 3) int32."""
    index, h = np.zeros(asu_index.shape, np.int32), np.ascontiguousarray(asu_index.T)
    for column in range(3):
        for row in range(3):
            elements = to_observed[:, row, column]
            if elements.any():
                index[:, column] += elements[isym] * h[row]
    return index


def sample_rows(spots: Spots) -> IndexArray:
    """Rows to judge readings by: some thousand, whichever order rows are in."""
    n = len(spots)
    if n <= _SAMPLE:
        return np.arange(n, dtype=np.int64)
    h, k, l = spots.asu_index.T.astype(np.int64)
    mixed = (h * 73856093) ^ (k * 19349663) ^ (l * 83492791) ^ (spots.image * 2654435761) ^ (spots.isym * 40503)
    mixed = (mixed * 0x9E3779B1) & 0x7FFFFFFF
    return np.flatnonzero(mixed % (n // _SAMPLE + 1) == 0).astype(np.int64)


def explain(
    spots: Spots,
    sweep: Sweep,
    rotations: IntArray,
    unit_cell: FloatArray,
    wavelength: float | None,
    angle_offset: float,
) -> Explanation | None:
    """Find the reading of headers, ISYM numbers and angles that explains where spots were recorded.

    Readings are tried in the order of how usual they are, and the search ends with the first that is exact; one that
    deviates more from the conventions must be clearly better than those before it.

    Parameters
    ----------
    spots : Spots
        At most some thousand of them.
    sweep : Sweep
    rotations : (n, 3, 3) int32
        Of the SYMM records.
    unit_cell : (6,) float64
        For orientations that must be fitted.
    wavelength : float or None
        In A; None: unknown, to be fitted.
    angle_offset : float
        By how much ROT, as a whole, is off the angles of the headers, degrees; both are tried.

    Returns
    -------
    Explanation or None
        None where nothing can be tried. The caller looks at `deviation`.
    """
    best: Explanation | None = None
    offsets = [0.0] if angle_offset == 0.0 else [angle_offset, 0.0]
    tried = 1 if sweep.is_still else None
    headers = [] if wavelength is None else list(islice(header_readings(sweep, wavelength), tried))
    # A still has no angles to judge by, and its spots are off the sphere anyway.
    for readings in (headers[:1],) if sweep.is_still else (headers[:1], headers[1:], None):
        for offset in offsets:
            shifted = replace(spots, angle=spots.angle - np.radians(offset))
            if readings is None:
                found = _by_fit(shifted, rotations, unit_cell, wavelength)
            else:
                found = chain.from_iterable(_with_indices(r, shifted, rotations) for r in readings)
            for explanation in found:
                best = _better(best, replace(explanation, angle_offset=offset))
        if best is not None and best.deviation <= EXPLAINED:
            return best
    return best


def _better(old: Explanation | None, new: Explanation) -> Explanation:
    return new if old is None or new.deviation * _BEST_SUPPORTED < old.deviation else old


def _with_indices(reading: Reading, spots: Spots, rotations: IntArray) -> Iterator[Explanation]:
    """The reading with ISYM by the SYMM records, and where these miss the sphere, with operators that reach it."""
    to_observed = by_symmetry_records(rotations)
    medians = _medians(reading, to_observed, spots)
    yield Explanation(reading, to_observed, _mean(medians, spots), 0.0, ())
    missed = [code for code, median in medians.items() if median > EXPLAINED]
    if not missed or len(rotations) < 2:
        return
    found, changed = _operators_by_geometry(reading, spots, rotations, to_observed, missed)
    if changed:
        yield Explanation(reading, found, _mean(_medians(reading, found, spots), spots), 0.0, tuple(changed))


def _medians(reading: Reading, to_observed: IntArray, spots: Spots) -> dict[int, float]:
    """Median distance from the Ewald sphere of the spots of each ISYM number."""
    deviation = reading.deviation(observed_indices(spots.asu_index, spots.isym, to_observed), spots)
    return {code: float(np.median(deviation[spots.isym == code])) for code in np.unique(spots.isym).tolist()}


def _mean(medians: dict[int, float], spots: Spots) -> float:
    counts = np.bincount(spots.isym)
    return sum(median * int(counts[code]) for code, median in medians.items()) / len(spots)


def _operators_by_geometry(
    reading: Reading, spots: Spots, rotations: IntArray, to_observed: IntArray, codes: list[int]
) -> tuple[IntArray, list[int]]:
    """For each of some ISYM numbers the operator that brings its spots nearest to the Ewald sphere."""
    found, changed = to_observed.copy(), []
    inverses = np.rint(np.linalg.inv(rotations)).astype(np.int32)
    for code in codes:
        mine = spots.take(np.flatnonzero(spots.isym == code))
        sign = 1 if code % 2 else -1
        medians = [float(np.median(reading.deviation(sign * mine.asu_index @ inverse, mine))) for inverse in inverses]
        stored = float(np.median(reading.deviation(mine.asu_index @ to_observed[code], mine)))
        k = int(np.argmin(medians))
        if medians[k] * _BEST_SUPPORTED < stored:
            found[code] = sign * inverses[k]
            changed.append(code)
    return found, changed


def _by_fit(
    spots: Spots, rotations: IntArray, unit_cell: FloatArray, wavelength: float | None
) -> Iterator[Explanation]:
    """Orientations fitted to the angles: to all spots, and to those of the commonest operator."""
    to_observed = by_symmetry_records(rotations)
    reading = fitted_reading(observed_indices(spots.asu_index, spots.isym, to_observed), spots, unit_cell, wavelength)
    if reading is not None:
        yield from _with_indices(reading, spots, rotations)
    pair = (spots.isym - 1) // 2
    commonest = int(np.bincount(np.maximum(pair, 0)).argmax())
    rows: BoolArray = pair == commonest
    some = spots.take(np.flatnonzero(rows))
    reading = fitted_reading(observed_indices(some.asu_index, some.isym, to_observed), some, unit_cell, wavelength)
    if reading is not None and not rows.all():
        for explanation in _with_indices(reading, spots, rotations):
            yield _anchored(explanation)


def _anchored(explanation: Explanation) -> Explanation:
    """The equivalent indexing in which ISYM 1 is the identity."""
    first = explanation.to_observed[1]
    back = np.rint(np.linalg.inv(first)).astype(np.int32)
    setting = explanation.reading.setting @ first.T
    return replace(
        explanation,
        reading=replace(explanation.reading, setting=setting),
        to_observed=explanation.to_observed @ back,
        reassigned=tuple(code for code in explanation.reassigned if code > 2),
    )
