"""What may become of an observation: kinds and reasons, by the numbers of the column `pyscale_fate`.

The numbers are part of the file format (docs/reference/formats.md): none changes its meaning, new reasons get free
ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .observations import JobObservations
from .typing import BoolArray, ByteArray

__all__ = [
    "FATES",
    "FATE_COLUMN",
    "FILTERED",
    "NOT_USED",
    "REJECTED",
    "USED",
    "USER",
    "FateReason",
    "fate_number",
    "observation_fates",
]

FATE_COLUMN = "pyscale_fate"


class FateReason(NamedTuple):
    """Kind, reason as the ledger names it, and what it means, as the end of a sentence."""

    kind: str
    reason: str
    text: str


USED, NOT_USED, REJECTED, FILTERED, USER = "used_in_fit", "not_used_in_fit", "rejected", "filtered", "user_excluded"

FATES: Mapping[int, FateReason] = {
    1: FateReason(USED, "", "merged, used in the fit"),
    2: FateReason(NOT_USED, "no_equivalent", "merged; not in the fit: no other observation to compare with"),
    3: FateReason(NOT_USED, "free_set", "merged; not in the fit: of the free set"),
    4: FateReason(NOT_USED, "min_partiality", "merged; not in the fit: recorded to less than min_partiality"),
    5: FateReason(NOT_USED, "not_selected", "merged; not in the fit: not among the selected reflections"),
    6: FateReason(NOT_USED, "disputed", "merged; not in the fit: disagrees with its only equivalent"),
    9: FateReason(NOT_USED, "other", "merged; not in the fit for another reason"),
    10: FateReason(REJECTED, "standard", "rejected: deviates from its equivalents (outlier_zmax)"),
    11: FateReason(REJECTED, "wilson", "rejected: too strong for Wilson statistics (emax)"),
    12: FateReason(REJECTED, "pair", "rejected: the one of two equivalents that all else says is wrong"),
    19: FateReason(REJECTED, "other", "rejected by another rule"),
    20: FateReason(FILTERED, "incomplete", "filtered: not all of its parts are in the file"),
    21: FateReason(FILTERED, "flagged_by_integration", "filtered: flagged by the integration program"),
    22: FateReason(FILTERED, "not_integrated", "filtered: no valid intensity"),
    23: FateReason(FILTERED, "not_indexed", "filtered: not indexed"),
    24: FateReason(FILTERED, "no_detector_efficiency", "filtered: no positive detector efficiency"),
    25: FateReason(FILTERED, "no_lorentz_polarisation", "filtered: no positive Lorentz-polarisation factor"),
    26: FateReason(FILTERED, "no_partiality", "filtered: no positive partiality"),
    27: FateReason(FILTERED, "not_finite", "filtered: intensity, sigma or image is no finite number"),
    28: FateReason(FILTERED, "outside_scan", "filtered: outside the scan"),
    29: FateReason(FILTERED, "impossible_resolution", "filtered: a resolution that the wavelength cannot reach"),
    30: FateReason(FILTERED, "min_isigi", "filtered: I/sigma below min_isigi"),
    31: FateReason(FILTERED, "no_beam_direction", "filtered: no direction of the diffracted beam (s1)"),
    32: FateReason(FILTERED, "no_analytical_correction", "filtered: no analytical correction"),
    33: FateReason(FILTERED, "overloaded", "filtered: overloaded"),
    34: FateReason(FILTERED, "overlapped", "filtered: overlapped"),
    40: FateReason(FILTERED, "small_scale", "filtered: the scale is too small to be trusted (small_scale_cutoff)"),
    41: FateReason(FILTERED, "systematic_absence", "filtered: systematically absent; scaled, not merged"),
    49: FateReason(FILTERED, "other", "filtered for another reason"),
    50: FateReason(USER, "exclude_images", "excluded by the user: exclude_images, now or in an earlier job"),
    51: FateReason(USER, "delta_cc_half", "excluded: on images that filtering removed (filtering.method)"),
    52: FateReason(USER, "d_min", "excluded by the user: d_min"),
    53: FateReason(USER, "d_max", "excluded by the user: d_max"),
    54: FateReason(USER, "partiality_cutoff", "excluded: recorded to less than partiality_cutoff"),
    55: FateReason(USER, "exclude_resolution", "excluded by the user: exclude_resolution"),
    56: FateReason(USER, "exclude_regions", "excluded by the user: exclude_regions"),
    57: FateReason(USER, "d_min_auto", "excluded: beyond the limit of d_min=auto"),
    58: FateReason(USER, "anisotropic_cut", "excluded: outside the ellipsoid of anisotropic_cut"),
    59: FateReason(USER, "other", "excluded by another option"),
}
"""By number; 0 is for rows that pyscale has not judged."""

_NUMBERS = {(fate.kind, fate.reason): number for number, fate in FATES.items()}


def fate_number(kind: str, reason: str) -> int:
    """Number of a reason; that of the kind's `other` if it has none of its own."""
    return _NUMBERS[(kind, reason) if (kind, reason) in _NUMBERS else (kind, "other")]


def observation_fates(
    observations: JobObservations,
    *,
    filtered: Mapping[str, BoolArray],
    rejected: Mapping[str, BoolArray],
    not_used: Mapping[str, BoolArray],
) -> ByteArray:
    """What became of every observation.

    Parameters
    ----------
    observations : JobObservations
    filtered, rejected : mapping of str to (n,) bool
        Those that are not merged, by reason and by rule; the first that applies counts, filtered ones first.
    not_used : mapping of str to (n,) bool
        Others that took no part in the fit. What `observations` says of this comes first; observations that are
        left without an equivalent in the fit, a reference counted as one, come last.

    Returns
    -------
    (n,) uint8
        Numbers of `FATES`.
    """
    fate = np.zeros(len(observations), np.uint8)

    def mark(kind: str, reason: str, rows: BoolArray) -> None:
        fate[rows & (fate == 0)] = fate_number(kind, reason)

    for kind, by_reason in ((FILTERED, filtered), (REJECTED, rejected)):
        for reason, rows in by_reason.items():
            mark(kind, reason, rows)
    if observations.not_fitted is not None:
        mark(NOT_USED, "min_partiality", observations.not_fitted)
    for reason, rows in not_used.items():
        mark(NOT_USED, reason, rows)
    if observations.selected is not None:
        mark(NOT_USED, "not_selected", ~observations.selected)
    offsets = observations.target_offsets
    in_group = np.add.reduceat((fate == 0).astype(np.int64), offsets[:-1])
    if observations.reference is not None:
        in_group += observations.reference.known
    mark(NOT_USED, "no_equivalent", np.repeat(in_group < 2, np.diff(offsets)))
    fate[fate == 0] = fate_number(USED, "")
    return fate
