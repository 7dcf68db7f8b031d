"""Models of an experiment list from plain numbers: beam, detector, goniometer, scan, crystal, image set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .typing import FloatArray

__all__ = [
    "beam_model",
    "crystal_model",
    "detector_model",
    "goniometer_model",
    "imageset_model",
    "scan_model",
]


def beam_model(
    wavelength: float, direction: FloatArray, polarization_normal: FloatArray, polarization_fraction: float
) -> dict[str, Any]:
    """A monochromatic beam: wavelength (A); unit vector from the sample to the source; polarisation."""
    return {
        "__id__": "monochromatic",
        "direction": direction.tolist(),
        "wavelength": wavelength,
        "divergence": 0.0,
        "sigma_divergence": 0.0,
        "polarization_normal": polarization_normal.tolist(),
        "polarization_fraction": polarization_fraction,
        "flux": 0.0,
        "transmission": 1.0,
    }


def _panel(name: str, kind: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "fast_axis": [1.0, 0.0, 0.0],
        "slow_axis": [0.0, 1.0, 0.0],
        "origin": [0.0, 0.0, 0.0],
        "raw_image_offset": [0, 0],
        "image_size": [0, 0],
        "pixel_size": [0.0, 0.0],
        "trusted_range": [0.0, 0.0],
        "thickness": 0.0,
        "material": "",
        "mu": 0.0,
        "identifier": "",
        "mask": [],
        "gain": 1.0,
        "pedestal": 0.0,
        "px_mm_strategy": {"type": "SimplePxMmStrategy"},
    }


def detector_model(
    fast: FloatArray,
    slow: FloatArray,
    origin: FloatArray,
    pixel_size: tuple[float, float],
    image_size: tuple[int, int],
) -> dict[str, Any]:
    """A flat detector of one panel: unit vectors of its axes, origin and pixel size (mm), numbers of pixels."""
    panel = _panel("Panel", "SENSOR_PAD")
    panel.update(
        fast_axis=fast.tolist(),
        slow_axis=slow.tolist(),
        origin=origin.tolist(),
        image_size=list(image_size),
        pixel_size=list(pixel_size),
        trusted_range=[-1.0, 1e7],
    )
    return {"panels": [panel], "hierarchy": {**_panel("", ""), "children": [{"panel": 0}]}}


def goniometer_model(axis: FloatArray, fixed_rotation: FloatArray, setting_rotation: FloatArray) -> dict[str, Any]:
    """A goniometer: unit vector of its axis (3,), rotations (3, 3) before and after that about the axis."""
    return {
        "rotation_axis": axis.tolist(),
        "fixed_rotation": fixed_rotation.ravel().tolist(),
        "setting_rotation": setting_rotation.ravel().tolist(),
    }


def scan_model(image_range: tuple[int, int], oscillation: tuple[float, float]) -> dict[str, Any]:
    """A scan: first and last image; angle at the start of the first image and width of an image (degrees)."""
    n = image_range[1] - image_range[0] + 1
    return {
        "image_range": list(image_range),
        "batch_offset": 0,
        "oscillation": list(oscillation),
        "exposure_time": [0.1] * n,
        "epochs": [0.0] * n,
        "valid_image_ranges": {},
    }


def crystal_model(real_space: FloatArray, hall_symbol: str | None) -> dict[str, Any]:
    """A crystal: vectors a, b, c (A) as rows of a (3, 3) array, at rotation angle zero; a Hall symbol if known."""
    model = {
        "__id__": "crystal",
        "real_space_a": real_space[0].tolist(),
        "real_space_b": real_space[1].tolist(),
        "real_space_c": real_space[2].tolist(),
    }
    return model if hall_symbol is None else model | {"space_group_hall_symbol": " " + hall_symbol.strip()}


def imageset_model(*, template: str | None = None, images: Sequence[str] = ()) -> dict[str, Any]:
    """An image sequence of a scan (by its template), or the image set of a still.

    DIALS does not read sequences whose template has no place for the number of an image; one gets it.
    """
    common: dict[str, Any] = {
        "mask": None,
        "gain": None,
        "pedestal": None,
        "dx": None,
        "dy": None,
        "params": {},
    }
    if template is not None:
        template = template if "#" in template else f"{template}_#####"
        return {"__id__": "ImageSequence", "template": template, **common}
    return {"__id__": "ImageSet", "images": list(images), **common}
