"""Whether positions on the detector, indices and orientation of a sweep agree; what is wrong where they do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..typing import BoolArray, FloatArray, IntArray
from .geometry import RotationGeometry, oriented_cell
from .imported import InputDecision

__all__ = ["CheckedGeometry", "check_geometry"]

_MOST_ROWS = 20_000
_LEAST_ROWS = 20
_TOLERANCE_DEG = 0.2
_LEAST_LAG, _LAG_SPREAD = 0.4, 0.1
_WRONG_DETECTOR, _RIGHT_INDICES = 0.05, 0.005
_USELESS_DEG = 2.0
_BLOCKS = 18


@dataclass(frozen=True)
class CheckedGeometry:
    """A geometry, repaired where it could be; whether s1 is better taken from the indices; what was found."""

    geometry: RotationGeometry
    beams_from_indices: bool
    decisions: tuple[InputDecision, ...]


@dataclass(frozen=True)
class _Spots:
    """Some reflections: indices (n, 3), array coordinates z (n,), s1 (n, 3) by their place on the detector."""

    miller_index: IntArray
    z: FloatArray
    s1: FloatArray

    def disagreement_deg(self, geometry: RotationGeometry, real_space: FloatArray) -> FloatArray:
        """Angles (degrees) between scattering vectors s1 - s0 by place and by index, (n,)."""
        by_place = geometry.in_crystal_frame(self.s1, self.z)
        by_index = self.miller_index @ np.linalg.inv(real_space).T
        cosine = np.einsum("ij,ij->i", by_place, by_index)
        sine = np.linalg.norm(np.cross(by_place, by_index), axis=1)
        return np.asarray(np.degrees(np.arctan2(sine, cosine)))


def check_geometry(
    geometry: RotationGeometry,
    unit_cell: tuple[float, ...],
    miller_index: IntArray,
    z: FloatArray,
    s1: FloatArray,
) -> CheckedGeometry:
    """Compare R(-phi) (s1 - s0), s1 from the detector, with A h, and mend what is wrong with the geometry.

    Parameters
    ----------
    geometry
        As the file tells it. Without `real_space` the orientation is fitted.
    unit_cell
        In A and degrees; stays what it is.
    miller_index, z, s1
        Of all reflections: (n, 3), array coordinates (n,), and s1 (n, 3) by `beams_from_detector`.

    Notes
    -----
    In the crystal's frame R(-phi) (s1 - s0) = A h, linear in A, so that an orientation is fitted in one step; a crystal
    that has turned by a small vector w since the orientation was determined has R(-phi) (s1 - s0) - A h = w x A h.
    """
    spots = _some(miller_index, z, s1)
    if spots.miller_index.shape[0] < _LEAST_ROWS or np.linalg.matrix_rank(spots.miller_index.astype(float)) < 3:
        few = InputDecision("geometry", "unchecked", "too few reflections to compare positions with indices")
        return CheckedGeometry(geometry, False, (few,))
    fitted = oriented_cell(unit_cell, _fitted_axes(geometry, spots))
    if geometry.real_space is None:
        angle = float(np.median(spots.disagreement_deg(geometry, fitted)))
        reason = f"the file has no axes of the cell; fitted to the positions, met within {angle:.2g} degrees (median)"
        found = InputDecision("orientation", "fitted", reason, is_warning=angle > _TOLERANCE_DEG)
        return CheckedGeometry(replace(geometry, real_space=fitted), False, (found,))
    return _mended(geometry, geometry.real_space, fitted, spots)


def _mended(geometry: RotationGeometry, real_space: FloatArray, fitted: FloatArray, spots: _Spots) -> CheckedGeometry:
    if _detector_is_wrong(geometry, real_space, spots):
        text = "the detector in the header does not lie where indices, cell and orientation predict the spots"
        found = InputDecision("s1", "from indices", text, is_warning=True)
        return CheckedGeometry(geometry, True, (found,))
    before = float(np.median(spots.disagreement_deg(geometry, real_space)))
    lag = _lag(geometry, real_space, spots)
    for name, value, other, text in _alternatives(geometry, fitted, lag):
        assert other.real_space is not None
        after = float(np.median(spots.disagreement_deg(other, other.real_space)))
        if (before > _TOLERANCE_DEG or name == "start_angle") and after < min(0.5 * before, _USELESS_DEG):
            if name == "orientation" and (slip := _slip(geometry, real_space, spots)) is not None:
                return CheckedGeometry(geometry, False, (slip,))
            reason = f"{text}; the median angle between them falls from {before:.3g} to {after:.2g} degrees"
            return CheckedGeometry(other, False, (InputDecision(name, value, reason, is_warning=True),))
    if before > _TOLERANCE_DEG:
        text = f"positions and indices with the header's orientation disagree by {before:.3g} degrees (median)"
        slip = _slip(geometry, real_space, spots)
        useless = InputDecision("geometry", "in doubt", f"{text}; s1 is taken from the positions", is_warning=True)
        return CheckedGeometry(geometry, False, (slip or useless,))
    reason = f"positions agree with indices and the header's orientation within {before:.2g} degrees (median)"
    return CheckedGeometry(geometry, False, (InputDecision("geometry", "as in the header", reason),))


def _alternatives(
    geometry: RotationGeometry, fitted: FloatArray, lag: float
) -> Iterator[tuple[str, str, RotationGeometry, str]]:
    if lag:
        angle = geometry.angle_at_zero + lag * geometry.width
        text = f"positions and indices agree when images are counted {lag:+.2f} from the header's STARTING_ANGLE"
        yield "start_angle", f"{lag:+.2f} images", replace(geometry, angle_at_zero=angle), text
    text = "positions and indices agree when the crystal turns the other way about the header's axis"
    yield "rotation_axis", "reversed", replace(geometry, axis=-geometry.axis), text
    text = "the header's orientation does not lead to the positions of the spots; it was fitted to them"
    yield "orientation", "fitted", replace(geometry, real_space=fitted), text


def _some(miller_index: IntArray, z: FloatArray, s1: FloatArray) -> _Spots:
    """At most about 20 000 reflections, chosen by index and image, so that their order does not matter."""
    n = len(z)
    rows: BoolArray | slice = slice(None)
    if n > _MOST_ROWS:
        h, k, l = miller_index.T.astype(np.int64)
        mixed = h * 7919 + k * 104_729 + l * 1_299_709 + np.rint(10 * z).astype(np.int64) * 15_485_863
        rows = mixed % (n // _MOST_ROWS + 1) == 0
    return _Spots(miller_index[rows], z[rows], s1[rows])


def _fitted_axes(geometry: RotationGeometry, spots: _Spots) -> FloatArray:
    """Axes a, b, c as rows, from A of least squares over all reflections."""
    vectors = geometry.in_crystal_frame(spots.s1, spots.z)
    transposed = np.linalg.lstsq(spots.miller_index.astype(np.float64), vectors, rcond=None)[0]
    return np.linalg.pinv(transposed.T)


def _detector_is_wrong(geometry: RotationGeometry, real_space: FloatArray, spots: _Spots) -> bool:
    """Whether indices and orientation meet the Ewald sphere, but lengths s1 - s0 are not those of the cell."""
    predicted = geometry.beams_from_indices(spots.miller_index, spots.z, real_space)
    off_sphere = np.abs(np.linalg.norm(predicted, axis=1) * geometry.wavelength - 1.0)
    reciprocal = np.linalg.norm(spots.miller_index @ np.linalg.inv(real_space).T, axis=1)
    lengths = np.linalg.norm(spots.s1 - geometry.s0, axis=1) / np.maximum(reciprocal, 1e-12)
    # Against the chance that short vectors are on the sphere wherever the crystal stands.
    limit = _RIGHT_INDICES * float(np.median(reciprocal)) * geometry.wavelength
    return bool(np.median(np.abs(lengths - 1.0)) > _WRONG_DETECTOR and np.median(off_sphere) < min(limit, 1e-3))


def _lag(geometry: RotationGeometry, real_space: FloatArray, spots: _Spots) -> float:
    """By how many images positions run ahead of indices; 0 if that is less than 0.4, or differs among the spots."""
    vectors = geometry.beams_from_indices(spots.miller_index, spots.z, real_space) - geometry.s0
    tangent = np.cross(geometry.axis, vectors)
    square = np.einsum("ij,ij->i", tangent, tangent)
    fast = square > np.median(square)
    if not fast.any():
        return 0.0
    ahead = np.einsum("ij,ij->i", spots.s1 - geometry.s0 - vectors, tangent)[fast] / square[fast]
    images = np.degrees(ahead) / geometry.width
    lag = float(np.median(images))
    return lag if abs(lag) > _LEAST_LAG and np.median(np.abs(images - lag)) < _LAG_SPREAD * max(abs(lag), 1) else 0.0


def _slip(geometry: RotationGeometry, real_space: FloatArray, spots: _Spots) -> InputDecision | None:
    """What to say if the crystal turned in the course of the sweep; None if it did not, or that explains nothing."""
    expected = spots.miller_index @ np.linalg.inv(real_space).T
    difference = geometry.in_crystal_frame(spots.s1, spots.z) - expected
    edges = np.linspace(spots.z.min(), spots.z.max(), _BLOCKS + 1)
    block = np.clip(np.searchsorted(edges, spots.z, side="right") - 1, 0, _BLOCKS - 1)
    turns = np.full((_BLOCKS, 3), np.nan)
    rest = np.linalg.norm(difference, axis=1)
    before = float(np.median(rest))
    for b in np.unique(block):
        rows = block == b
        r, d = expected[rows], difference[rows]
        if len(r) < _LEAST_ROWS:
            continue
        turns[b] = np.linalg.lstsq(np.eye(3) * np.sum(r * r) - r.T @ r, np.cross(r, d).sum(axis=0), rcond=None)[0]
        rest[rows] = np.linalg.norm(d - np.cross(turns[b], r), axis=1)
    degrees = np.degrees(turns[np.isfinite(turns[:, 0])])
    if len(degrees) < 2 or not np.median(rest) < 0.5 * before:
        return None
    largest = float(np.linalg.norm(degrees, axis=1).max())
    drift = float(np.linalg.norm(degrees - degrees[0], axis=1).max())
    if drift < max(_TOLERANCE_DEG, 0.5 * largest):
        return None
    text = (
        f"the crystal turns by {drift:.2f} degrees in the course of the sweep and is up to {largest:.2f} off the "
        "header's orientation; s1 is taken from the positions on the detector, which follow it"
    )
    return InputDecision("slippage", f"{drift:.2f} degrees", text, is_warning=True)
