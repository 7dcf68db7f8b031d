"""The reflection columns of one experiment, under the names and types of integration output."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..reflections import Flag
from ..typing import FloatArray, IndexArray
from .crystal import TrueCrystal
from .geometry import Detector
from .noise import N_BACKGROUND, N_FOREGROUND, Measurement
from .options import SimulationOptions
from .rotation import Spots

__all__ = ["QUANTUM_EFFICIENCY", "Columns", "make_columns"]

Columns: TypeAlias = dict[str, NDArray[np.generic]]

QUANTUM_EFFICIENCY = 0.9
HALF_BOX = 4
"""Pixels from a spot's centre to the edge of its box."""


def make_columns(
    options: SimulationOptions,
    crystal: TrueCrystal,
    detector: Detector,
    spots: Spots,
    rows: IndexArray,
    partiality: FloatArray,
    measurement: Measurement,
    number: int,
    analytical_correction: FloatArray | None,
) -> Columns:
    """Columns for the given rows.

    Parameters
    ----------
    rows : (n,) int64
        Spot of each row; a partial reflection has two.
    partiality : (n,) float64
        Recorded fraction of each row.
    measurement : Measurement
        Of each row.
    number : int
        Position of the experiment.
    analytical_correction : (n,) float64 or None
        Known factor of g of each row.

    Returns
    -------
    dict
        Column name to array with n rows. Stills have no profile-fitted intensities.
    """
    columns = {
        **_positions(options, detector, spots, rows),
        **_intensities(options, measurement),
        **_constants(options, len(rows), number),
        "d": crystal.d[spots.reflection[rows]],
        "entering": spots.zeta[rows] < 0.0,
        "lp": spots.lp[rows],
        "miller_index": crystal.miller_index[spots.reflection[rows]],
        "partial_id": rows.astype(np.uint64),
        "partiality": partiality,
        "s1": spots.s1[rows],
        "zeta": spots.zeta[rows],
    }
    if analytical_correction is not None:
        columns["analytical_correction"] = analytical_correction
    return dict(sorted(columns.items()))


def _positions(options: SimulationOptions, detector: Detector, spots: Spots, rows: IndexArray) -> Columns:
    spot_mm = spots.position[rows]
    mm = np.column_stack([spot_mm, spots.phi[rows]])
    px = np.column_stack([spot_mm / detector.pixel_size, spots.z[rows]])
    return {
        "bbox": _bounding_boxes(options, detector, px, spots.rocking_width[rows]),
        "xyzcal.mm": mm,
        "xyzcal.px": px,
        "xyzobs.mm.value": mm.copy(),
        "xyzobs.mm.variance": np.full((len(rows), 3), 1e-3),
        "xyzobs.px.value": px.copy(),
        "xyzobs.px.variance": np.full((len(rows), 3), 0.1),
    }


def _intensities(options: SimulationOptions, measurement: Measurement) -> Columns:
    background = measurement.background_mean
    columns: Columns = {
        "background.mean": background,
        "background.sum.value": background * N_FOREGROUND,
        "background.sum.variance": background * N_FOREGROUND * (1.0 + N_FOREGROUND / N_BACKGROUND),
        "intensity.sum.value": measurement.sum_value,
        "intensity.sum.variance": measurement.sum_variance,
    }
    if options.kind == "rotation":
        signal = np.maximum(measurement.profile_value, 0.0)
        columns["intensity.prf.value"] = measurement.profile_value
        columns["intensity.prf.variance"] = measurement.profile_variance
        columns["profile.correlation"] = 0.95 * signal / (signal + np.sqrt(measurement.profile_variance))
    return columns


def _constants(options: SimulationOptions, n: int, number: int) -> Columns:
    integrated = Flag.integrated_sum if options.kind == "stills" else Flag.integrated
    return {
        "flags": np.full(n, int(Flag.predicted | Flag.indexed | integrated), np.uint64),
        "id": np.full(n, number, np.int32),
        "imageset_id": np.full(n, number, np.int32),
        "num_pixels.background": np.full(n, N_BACKGROUND, np.int32),
        "num_pixels.foreground": np.full(n, N_FOREGROUND, np.int32),
        "panel": np.zeros(n, np.uint64),
        "qe": np.full(n, QUANTUM_EFFICIENCY),
    }


def _bounding_boxes(
    options: SimulationOptions, detector: Detector, px: FloatArray, rocking_width: FloatArray
) -> NDArray[np.int32]:
    """(n, 6) half-open boxes, cut at the detector's edges and the ends of the scan."""
    n_images = options.n_images if options.kind == "rotation" else 1
    size = np.array([*detector.image_size, n_images])
    half = np.column_stack([np.full((len(px), 2), HALF_BOX), 3.0 * rocking_width])
    low = np.clip(np.floor(px - half), 0, size - 1)
    high = np.clip(np.ceil(px + half), low + 1, size)
    return np.stack([low, high], axis=2).reshape(len(px), 6).astype(np.int32)
