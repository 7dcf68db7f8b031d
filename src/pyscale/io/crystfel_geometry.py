"""The detector geometry that CrystFEL writes into streams: where a pixel of a panel lies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..typing import FloatArray, IndexArray
from .shelx_symmetry import NUMBER

__all__ = ["PanelGeometry", "parse_geometry"]

_TERM = re.compile(r"([-+]?)\s*(\d*\.?\d*(?:[eE][-+]?\d+)?)\s*([xyz])")
_LENGTH = re.compile(rf"{NUMBER}\s*(mm|m)?")
_LONGEST = 200
"""Letters of a value that is taken apart."""
_NOT_PANELS = ("bad", "rigid_group", "group")
_VECTORS = ("fs", "ss")
_NUMBERS = ("min_fs", "min_ss", "corner_x", "corner_y", "res", "coffset")


@dataclass(frozen=True)
class PanelGeometry:
    """Panels of a detector, in CrystFEL's laboratory frame: z along the beam, y up.

    Attributes
    ----------
    number : mapping of bytes to int
        Number of a panel by its name.
    first_pixel : (n_panels, 2) float64
        Smallest fs and ss of each panel in the data block (pixels).
    axes : (n_panels, 2, 3) float64
        What one pixel along fs and ss adds (pixels).
    corner : (n_panels, 2) float64
        x and y of the first pixel's corner (pixels).
    resolution : (n_panels,) float64
        Pixels per metre.
    distance : (n_panels,) float64
        Along the beam (m), NaN where the file refers to the images' own headers.
    offset : (n_panels,) float64
        What is to be added to distances of the images' headers (m).
    """

    number: Mapping[bytes, int]
    first_pixel: FloatArray
    axes: FloatArray
    corner: FloatArray
    resolution: FloatArray
    distance: FloatArray
    offset: FloatArray

    def directions(self, panel: IndexArray, fs: FloatArray, ss: FloatArray, camera_length: FloatArray) -> FloatArray:
        """Unit vectors from the sample to pixels, (n, 3); NaN where a panel or a distance is not known.

        Parameters
        ----------
        panel : (n,) int64
            Number of the panel, -1 for one that is not known.
        fs, ss : (n,) float64
            Place in the data block, pixels.
        camera_length : (n,) float64
            Mean distance of the panels on this image (m), NaN if unknown.
        """
        known = panel >= 0
        k = np.where(known, panel, 0)
        pixel = np.stack([fs, ss], axis=1) - self.first_pixel[k]
        place = np.einsum("ni,nij->nj", pixel, self.axes[k])
        place[:, :2] += self.corner[k]
        place /= self.resolution[k, None]
        by_header = camera_length + (self.offset - self.offset.mean())[k]
        place[:, 2] += np.where(np.isnan(self.distance[k]), by_header, self.distance[k])
        place[~known] = np.nan
        with np.errstate(invalid="ignore", divide="ignore"):
            unit: FloatArray = place / np.linalg.norm(place, axis=1, keepdims=True)
        return unit


def parse_geometry(text: str) -> PanelGeometry | None:
    """The panels of a geometry file; None if they are not all described."""
    general: dict[str, str] = {}
    panels: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        name, equals, value = line.split(";", 1)[0].partition("=")
        if not equals:
            continue
        panel, slash, key = name.strip().partition("/")
        if not slash:
            general[panel] = value.strip()
        elif not panel.startswith(_NOT_PANELS):
            # What is general holds for the panels that follow.
            panels.setdefault(panel, dict(general))[key.strip()] = value.strip()
    try:
        return _panels(panels) if panels else None
    except (KeyError, ValueError):
        return None


def _panels(panels: Mapping[str, Mapping[str, str]]) -> PanelGeometry | None:
    numbers = {key: np.array([float(p.get(key, "0")) for p in panels.values()]) for key in _NUMBERS}
    resolution = np.array([float(p["res"]) for p in panels.values()])
    axes = np.array([[_vector(p[key]) for key in _VECTORS] for p in panels.values()])
    distance = np.array([_metres(p.get("clen", "")) for p in panels.values()]) + numbers["coffset"]
    if not (np.isfinite(axes).all() and np.isfinite(resolution).all() and (resolution > 0).all()):
        return None
    return PanelGeometry(
        number={name.encode(): k for k, name in enumerate(panels)},
        first_pixel=np.stack([numbers["min_fs"], numbers["min_ss"]], axis=1),
        axes=axes,
        corner=np.stack([numbers["corner_x"], numbers["corner_y"]], axis=1),
        resolution=resolution,
        distance=distance,
        offset=numbers["coffset"],
    )


def _vector(text: str) -> list[float]:
    """The components of a vector such as `+0.005x -0.999y`; ValueError where it has none."""
    terms = _TERM.findall(text) if len(text) <= _LONGEST else []
    if not terms:
        raise ValueError(text)
    found = {axis: float(sign + (size or "1")) for sign, size, axis in terms}
    return [found.get(axis, 0.0) for axis in "xyz"]


def _metres(text: str) -> float:
    """A length in metres; NaN for the path of a number in the images' headers."""
    found = _LENGTH.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        return float("nan")
    return float(found.group(1)) * (1e-3 if found.group(2) == "mm" else 1.0)
