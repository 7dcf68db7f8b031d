"""The experiment list (.expt) that describes a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..typing import FloatArray
from .crystal import TrueCrystal
from .geometry import Detector, Geometry, polarization_normal
from .options import SimulationOptions

__all__ = ["ExperimentModels", "experiment_document"]

MODELS = ("beam", "detector", "goniometer", "scan", "crystal", "profile", "imageset", "scaling_model")


@dataclass(frozen=True)
class ExperimentModels:
    """What differs between the experiments: identifier, beam and goniometer, and U."""

    identifier: str
    geometry: Geometry
    orientation: FloatArray


def experiment_document(
    options: SimulationOptions,
    crystal: TrueCrystal,
    detector: Detector,
    experiments: Sequence[ExperimentModels],
) -> dict[str, Any]:
    """An experiment list as DIALS writes it; beam, detector and profile are shared."""
    document: dict[str, Any] = {"__id__": "ExperimentList", "experiment": []}
    document.update({name: [] for name in MODELS})
    document["beam"].append(_beam(options, experiments[0].geometry))
    document["detector"].append(_detector(detector))
    document["profile"].append({"__id__": "gaussian_rs", "n_sigma": 3.0, "sigma_b": 0.03, "sigma_m": options.mosaicity})
    for number, models in enumerate(experiments):
        entry = {
            "__id__": "Experiment",
            "identifier": models.identifier,
            "beam": 0,
            "detector": 0,
            "crystal": 0 if options.same_crystal else number,
            "profile": 0,
            "imageset": number,
        }
        if number == 0 or not options.same_crystal:
            document["crystal"].append(_crystal(crystal, models.orientation))
        document["imageset"].append(_imageset(options.kind, number))
        if options.kind == "rotation":
            entry.update(goniometer=number, scan=number)
            document["goniometer"].append(_goniometer(models.geometry))
            document["scan"].append(_scan(options, number))
        document["experiment"].append(entry)
    return document


def _beam(options: SimulationOptions, geometry: Geometry) -> dict[str, Any]:
    return {
        "__id__": "monochromatic",
        "direction": geometry.direction.tolist(),
        "wavelength": geometry.wavelength,
        "divergence": 0.0,
        "sigma_divergence": 0.0,
        "polarization_normal": polarization_normal(geometry).tolist(),
        "polarization_fraction": options.polarization_fraction,
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


def _detector(detector: Detector) -> dict[str, Any]:
    panel = _panel("Panel", "SENSOR_PAD")
    panel.update(
        fast_axis=detector.fast.tolist(),
        slow_axis=detector.slow.tolist(),
        origin=detector.origin.tolist(),
        image_size=list(detector.image_size),
        pixel_size=[detector.pixel_size, detector.pixel_size],
        trusted_range=[-1.0, 1e7],
    )
    return {"panels": [panel], "hierarchy": {**_panel("", ""), "children": [{"panel": 0}]}}


def _goniometer(geometry: Geometry) -> dict[str, Any]:
    return {
        "rotation_axis": geometry.axis.tolist(),
        "fixed_rotation": geometry.fixed_rotation.ravel().tolist(),
        "setting_rotation": geometry.setting_rotation.ravel().tolist(),
    }


def _scan(options: SimulationOptions, sweep: int) -> dict[str, Any]:
    n = options.n_images
    return {
        "image_range": [1, n],
        "batch_offset": 0,
        "oscillation": [options.of_sweep("start_angles", sweep), options.oscillation_width],
        "exposure_time": [0.1] * n,
        "epochs": [0.0] * n,
        "valid_image_ranges": {},
    }


def _crystal(crystal: TrueCrystal, orientation: FloatArray) -> dict[str, Any]:
    real = np.linalg.inv(orientation @ crystal.b_matrix)
    return {
        "__id__": "crystal",
        "real_space_a": real[0].tolist(),
        "real_space_b": real[1].tolist(),
        "real_space_c": real[2].tolist(),
        "space_group_hall_symbol": " " + crystal.space_group.hall.strip(),
    }


def _imageset(kind: str, number: int) -> dict[str, Any]:
    common: dict[str, Any] = {
        "mask": None,
        "gain": None,
        "pedestal": None,
        "dx": None,
        "dy": None,
        "params": {},
    }
    if kind == "rotation":
        return {"__id__": "ImageSequence", "template": f"simulated_{number + 1}_#####.cbf", **common}
    return {"__id__": "ImageSet", "images": [f"simulated_{number + 1}.cbf"], **common}
