"""In which crystal frame a stored absorption surface is: today's, or that of DIALS before the middle of 2021.

No file says so. `surface_frame` decides by what else tells the file's age, and `checked_frame` by the inverse scale
factors that are stored beside the model, where there are any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .experiment import Experiment
from .typing import FloatArray

__all__ = ["SurfaceFrame", "checked_frame", "is_legacy_model", "surface_frame"]

_SAME = 1e-6
_CLEARLY_NEARER = 0.1


@dataclass(frozen=True)
class SurfaceFrame:
    """The crystal frame of a stored absorption surface.

    Attributes
    ----------
    legacy : bool
        Whether it is the frame of DIALS before 2021 (`observations.beam_directions`).
    certain : bool
        Whether something in the files shows it; else it is presumed.
    reason : str
        What shows it, for the log.
    """

    legacy: bool
    certain: bool
    reason: str

    @property
    def name(self) -> str:
        """The frame in words."""
        return "the crystal frame of DIALS before 2021" if self.legacy else "today's crystal frame"


def surface_frame(experiment: Experiment) -> SurfaceFrame:
    """Decide by age in which frame the absorption surface of an experiment's stored scaling model is.

    In this order: models that pyscale wrote are in today's frame; those with the key `is_scaled` are of the old
    time, as are those beside images of kind `ImageSweep`, which later programs rename; dials.scale began to write
    its name into `history` after the change; and what bears no such mark is presumed to be of today.

    Parameters
    ----------
    experiment
        As it stood in the file of the model: the history of other files says nothing about it.

    Raises
    ------
    DataError
        If a reference of the experiment leads nowhere.
    """
    model = experiment.scaling_model or {}
    configuration = model.get("configuration_parameters")
    if isinstance(configuration, dict) and "pyscale" in configuration:
        return SurfaceFrame(False, True, "pyscale wrote the model")
    if "is_scaled" in model:
        return SurfaceFrame(True, True, "the model has the old key is_scaled")
    if (experiment.imageset or {}).get("__id__") == "ImageSweep":
        return SurfaceFrame(True, True, "its images are of the old kind ImageSweep")
    if any("|dials.scale|" in line for line in experiment.history):
        return SurfaceFrame(False, True, "the history names dials.scale")
    return SurfaceFrame(False, False, "no history, and no mark of an older program")


def is_legacy_model(experiment: Experiment) -> bool:
    """Whether an experiment's stored scaling model has an absorption surface in the frame of DIALS before 2021.

    Such a surface must not be used, nor be a start for a fit, in today's frame; scale and decay are the same in both.
    """
    model = experiment.scaling_model or {}
    return "absorption" in model and surface_frame(experiment).legacy


def checked_frame(frame: SurfaceFrame, scales: Callable[[bool], FloatArray], stored: FloatArray) -> SurfaceFrame:
    """Compare both frames with stored inverse scale factors, and return the one that reproduces them.

    Parameters
    ----------
    frame
        What the file's age says; it is kept where both frames are as good, or as bad.
    scales
        Gives g of some rows, (n,) float64, in the frame before 2021 (True) or today's (False).
    stored
        The stored g of these rows, (n,) float64, positive; n > 0.
    """
    deviation = {legacy: float(np.median(np.abs(scales(legacy) / stored - 1.0))) for legacy in (False, True)}
    own, other = deviation[frame.legacy], deviation[not frame.legacy]
    if own <= _SAME and other <= _SAME:
        return replace(frame, certain=True, reason=f"{frame.reason}; the stored scales are the same in both frames")
    if own <= _CLEARLY_NEARER * other:
        reason = f"{frame.reason}; the stored scales confirm it, with a deviation of {own:.1g}, else {other:.1g}"
        return replace(frame, certain=True, reason=reason)
    if other <= _CLEARLY_NEARER * own:
        reason = f"the stored scales show it, with a deviation of {other:.1g}, else {own:.1g}, although {frame.reason}"
        return SurfaceFrame(not frame.legacy, True, reason)
    reason = f"{frame.reason}; the stored scales are of no model here, with deviations of {own:.1g} and {other:.1g}"
    return replace(frame, reason=reason)
