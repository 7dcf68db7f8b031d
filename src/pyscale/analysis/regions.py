"""Regions of the data that deviate systematically: of the detector, of rotation, of resolution."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..typing import BoolArray, FloatArray

__all__ = ["DeviationMap", "Region", "Regions", "rectangles"]

_MOST_LOGGED = 10
_MOST_WARNED = 5
_WHAT = {"low": "too low", "high": "too high", "scattered": "scattered"}


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the data that deviates.

    Attributes
    ----------
    kind : str
        detector, images or resolution.
    finding : str
        low, high (intensities against their equivalents elsewhere) or scattered.
    data_set : str or None
        None for all.
    panel : int or None
    rectangles : list of [x_min, x_max, y_min, y_max]
        Pixels; empty unless on the detector.
    images : [int, int] or None
        First and last image.
    d_range : [float, float] or None
        d_max and d_min, Angstrom.
    n_observations, n_rejected : int
    fraction : float
        Of all observations.
    relative_intensity : float or None
        Median of I/g over the mean of equivalents elsewhere, where these exceed 3 sigma; None without such.
    mean_deviation : float
        Mean of limited deviations, in standard deviations.
    relative_mean_square : float
        Mean square deviation over that elsewhere at the same resolution.
    significance : float
        In standard deviations, of the most significant cell.
    ice : float or None
        Spacing of hexagonal ice that lies in the ring, Angstrom.
    secondary : bool
        Whether it was found beside stronger ones, to which the scales were fitted, so that it may follow from them.
    options : list of str
        Options that would leave the region out.
    """

    kind: str
    finding: str
    data_set: str | None
    panel: int | None = None
    rectangles: list[list[int]]
    images: list[int] | None = None
    d_range: list[float] | None = None
    n_observations: int
    n_rejected: int
    fraction: float
    relative_intensity: float | None
    mean_deviation: float
    relative_mean_square: float
    significance: float
    ice: float | None = None
    secondary: bool = False
    options: list[str]

    def place(self) -> str:
        """Where it is, for people."""
        of = "" if self.data_set is None else f" of data set {self.data_set}"
        if self.images is not None:
            return f"images {self.images[0]} to {self.images[1]}{of}"
        if self.d_range is not None:
            ice = "" if self.ice is None else f" (ice at {self.ice:.3f} Å)"
            return f"resolution {self.d_range[0]:.3f} to {self.d_range[1]:.3f} Å{ice}"
        x0, y0 = (min(r[k] for r in self.rectangles) for k in (0, 2))
        x1, y1 = (max(r[k] for r in self.rectangles) for k in (1, 3))
        return f"detector panel {self.panel}, x {x0} to {x1}, y {y0} to {y1}{of}"

    def finding_text(self) -> str:
        """What is wrong, for people."""
        rejected = 100.0 * self.n_rejected / max(self.n_observations, 1)
        ratio = self.relative_intensity
        by = "" if ratio is None or self.finding == "scattered" else f" by {100.0 * abs(ratio - 1.0):.0f} %"
        return (
            f"{_WHAT[self.finding]}{by}, mean deviation {self.mean_deviation:+.2f} sigma, mean square "
            f"{self.relative_mean_square:.1f} times as usual, {rejected:.1f} % of {self.n_observations} rejected"
        )


@dataclass(frozen=True, kw_only=True)
class DeviationMap:
    """Mean deviations over one panel.

    Attributes
    ----------
    data_set : str or None
        None: all that share the detector.
    panel : int
    x, y : list of float
        Edges of the blocks, pixels.
    mean_deviation : list of list of float or None
        A row for each block along y; None where there are too few observations.
    """

    data_set: str | None
    panel: int
    x: list[float]
    y: list[float]
    mean_deviation: list[list[float | None]]


@dataclass(frozen=True, kw_only=True)
class Regions:
    """What was looked at and found; nothing is ever left out by itself.

    Attributes
    ----------
    n_cells : dict of str to int
        Blocks, ranges of images and rings that were tested.
    regions : list of Region
        The most significant first, by kind as they were found.
    map : DeviationMap or None
        Of the detector.
    """

    n_cells: dict[str, int]
    regions: list[Region]
    map: DeviationMap | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def text(self) -> str:
        """Lines for the log."""
        if not self.regions:
            return ""
        lines = ["Regions that deviate systematically (kept; the options would leave them out)"]
        for region in self.primary[:_MOST_LOGGED]:
            lines += [f"  {region.place()}: {region.finding_text()}", f"    {' '.join(region.options)}"]
        if len(self.primary) > _MOST_LOGGED:
            lines.append(f"  and {len(self.primary) - _MOST_LOGGED} more in the JSON file")
        others = [region for region in self.regions if region.secondary]
        if others:
            lines.append("  These may only follow from what is above, since the scales were fitted with it:")
            lines += [f"  {region.place()}: {region.finding_text()}" for region in others[:_MOST_LOGGED]]
        return "\n".join(lines)

    @property
    def primary(self) -> list[Region]:
        """Those that stand out most."""
        return [region for region in self.regions if not region.secondary]

    def warnings(self) -> list[str]:
        """One for each of the first regions."""
        told = []
        for region in self.primary[:_MOST_WARNED]:
            place = region.place()
            told.append(
                f"{place[0].upper()}{place[1:]}: {region.finding_text()}. If there is a cause (shadow, ice, bad "
                f"images), leave it out and scale again: {' '.join(region.options)}"
            )
        if (left := len(self.regions) - len(told)) > 0:
            told.append(f"Regions that deviate less, or only follow from these: {left}; see the log")
        return told


def rectangles(mask: BoolArray) -> list[tuple[slice, slice]]:
    """Cover a mask (ny, nx) by rectangles: its bounding box if that is nearly full, else the largest first."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    if mask[box].mean() > 0.8:
        return [box]
    left, found = mask.copy(), []
    while left.any():
        best = _largest_rectangle(left)
        left[best] = False
        found.append(best)
    return found


def _largest_rectangle(mask: BoolArray) -> tuple[slice, slice]:
    best, area = (slice(0, 0), slice(0, 0)), 0
    for top in range(mask.shape[0]):
        full = np.ones(mask.shape[1], np.bool_)
        for bottom in range(top, mask.shape[0]):
            full &= mask[bottom]
            edges = np.flatnonzero(np.diff(np.concatenate([[0], full.astype(np.int8), [0]])))
            if not edges.size:
                break
            start, stop = edges[::2], edges[1::2]
            k = int(np.argmax(stop - start))
            if (size := int(stop[k] - start[k]) * (bottom - top + 1)) > area:
                best, area = (slice(top, bottom + 1), slice(int(start[k]), int(stop[k]))), size
    return best


def rounded_map(values: FloatArray, known: BoolArray) -> list[list[float | None]]:
    """Values with three decimals, None where unknown."""
    return [
        [round(float(v), 3) if k else None for v, k in zip(line, row, strict=True)]
        for line, row in zip(values.tolist(), known.tolist(), strict=True)
    ]
