"""The experiment list (.expt) that describes a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..experiment_document import MODEL_KEYS
from ..experiment_models import (
    beam_model,
    crystal_model,
    detector_model,
    goniometer_model,
    imageset_model,
    scan_model,
)
from ..typing import FloatArray
from .crystal import TrueCrystal
from .geometry import Detector, Geometry, polarization_normal
from .options import SimulationOptions

__all__ = ["ExperimentModels", "experiment_document"]


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
    document.update({name: [] for name in MODEL_KEYS})
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
            real_space: FloatArray = np.linalg.inv(models.orientation @ crystal.b_matrix).astype(np.float64, copy=False)
            document["crystal"].append(crystal_model(real_space, crystal.space_group.hall))
        if options.kind == "rotation":
            entry.update(goniometer=number, scan=number)
            g = models.geometry
            document["goniometer"].append(goniometer_model(g.axis, g.fixed_rotation, g.setting_rotation))
            angles = (options.of_sweep("start_angles", number), options.oscillation_width)
            document["scan"].append(scan_model((1, options.n_images), angles))
            document["imageset"].append(imageset_model(template=f"simulated_{number + 1}_#####.cbf"))
        else:
            document["imageset"].append(imageset_model(images=[f"simulated_{number + 1}.cbf"]))
        document["experiment"].append(entry)
    return document


def _beam(options: SimulationOptions, geometry: Geometry) -> dict[str, Any]:
    normal = polarization_normal(geometry)
    return beam_model(geometry.wavelength, geometry.direction, normal, options.polarization_fraction)


def _detector(detector: Detector) -> dict[str, Any]:
    size = (detector.pixel_size, detector.pixel_size)
    return detector_model(detector.fast, detector.slow, detector.origin, size, detector.image_size)
