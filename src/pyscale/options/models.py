"""Options of the scaling models, one scope per model."""

# Options and scopes are immutable, so they may be defaults of dataclass fields.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .option import AUTO, Auto, option
from .tree import OptionScope

__all__ = ["AbsorptionLevel", "ArrayOptions", "DoseDecayOptions", "KBOptions", "PhysicalOptions"]

AbsorptionLevel = Literal["low", "medium", "high"]

_FIX_INITIAL = "leave it at True; no parameter is held, pyscale removes undetermined directions explicitly"


@dataclass(frozen=True, kw_only=True)
class CorrectionOptions(OptionScope, scope="correction"):
    """Components kept constant."""

    fix: tuple[str, ...] | None = option(
        None,
        "components kept as they are in a stored model: scale, decay, absorption, modulation, relative_B, image_scale",
    )


@dataclass(frozen=True, kw_only=True)
class SharedAbsorptionOptions(OptionScope, scope="physical.share"):
    """Components shared by all data sets."""

    absorption: bool = option(False, "one absorption surface for all data sets (same crystal)")


@dataclass(frozen=True, kw_only=True)
class PhysicalOptions(OptionScope, scope="physical"):
    """Physical model: smooth scale, smooth relative B factor, absorption surface."""

    scale_correction: bool = option(
        True, "smooth scale along the rotation; False: one constant scale per data set", own=True
    )
    scale_interval: float | Auto = option(
        AUTO,
        "degrees between parameters of the scale; auto: by the rotation range",
        range=(1.0, None),
        common=True,
    )
    decay_correction: bool = option(True, "smooth relative B factor along the rotation", common=True)
    decay_interval: float | Auto = option(
        AUTO, "degrees between parameters of B; auto: by the rotation range", range=(1.0, None), common=True
    )
    decay_restraint: float | Auto = option(
        AUTO,
        "weight of the restraint of every B to zero; auto: the most probable one given the data, at least 0.1 "
        "(dials.scale: 0.1)",
        range=(0.0, None),
    )
    absorption_correction: bool | Auto = option(
        AUTO, "surface of spherical harmonics; auto: for wide rotation ranges", common=True
    )
    absorption_level: AbsorptionLevel | None = option(
        None,
        "switch absorption on with (lmax, surface_weight) = low (4, 5e5), medium (6, 5e4), high (6, 5e3); "
        "wins over lmax and surface_weight",
        common=True,
    )
    lmax: int | Auto = option(
        AUTO,
        "highest order of the harmonics: lmax(lmax+2) parameters; auto: 4; more than 6 rarely helps",
        range=(2, 12),
    )
    surface_weight: float | Auto = option(
        AUTO,
        "weight of the restraint of the surface to zero; auto: the most probable one given the data, at most 5e5 "
        "(dials.scale: 5e5)",
        range=(0.0, None),
    )
    share: SharedAbsorptionOptions = SharedAbsorptionOptions()
    image_scale: bool | Auto = option(
        AUTO,
        "one scale per image, smooth from image to image, on top of the smooth scale: for electron diffraction and "
        "unstable beams; auto: only if model=cross_validated finds that it helps",
        own=True,
    )
    image_scale_weight: float | Auto = option(
        AUTO,
        "weight of the restraint of the scales of neighbouring images to each other; auto: the most probable one "
        "given the data",
        range=(0.0, None),
        own=True,
    )
    fix_initial: bool = option(True, "hold the first scale parameter for the uncertainties", unavailable=_FIX_INITIAL)
    correction: CorrectionOptions = CorrectionOptions()
    analytical_correction: bool = option(False, "multiply the model by the column analytical_correction")


@dataclass(frozen=True, kw_only=True)
class ArrayOptions(OptionScope, scope="array"):
    """Array model: corrections on grids."""

    decay_correction: bool = option(True, "correction over rotation and resolution")
    decay_interval: float = option(20.0, "degrees between parameters of the decay", range=(1.0, None))
    n_resolution_bins: int = option(10, "resolution bins of the decay correction", range=(1, 1000))
    absorption_correction: bool = option(True, "correction over rotation and detector position")
    n_absorption_bins: int = option(3, "bins along each detector axis of the absorption correction", range=(1, 1000))
    modulation_correction: bool = option(False, "correction over detector position")
    n_modulation_bins: int = option(20, "bins along each detector axis of the modulation correction", range=(1, 1000))
    correction: CorrectionOptions = CorrectionOptions()
    analytical_correction: bool = option(False, "multiply the model by the column analytical_correction")


@dataclass(frozen=True, kw_only=True)
class KBOptions(OptionScope, scope="KB"):
    """KB model: one scale and one B factor per data set."""

    decay_correction: bool = option(True, "one relative B factor per data set", common=True)
    decay_restraint: float = option(
        0.0025,
        "weight of the restraint of the relative B to zero, as if it were known to be 0 +- 1/sqrt(weight) Å²: what "
        "keeps it where a data set shares hardly any reflections with others; 0: none",
        range=(0.0, None),
        own=True,
    )
    correction: CorrectionOptions = CorrectionOptions()
    analytical_correction: bool = option(False, "multiply the model by the column analytical_correction")


@dataclass(frozen=True, kw_only=True)
class SharedDecayOptions(OptionScope, scope="dose_decay.share"):
    """Components shared by all data sets."""

    decay: bool = option(True, "one decay rate for all data sets")


@dataclass(frozen=True, kw_only=True)
class DoseDecayOptions(OptionScope, scope="dose_decay"):
    """Dose decay model: decay by a physical law of the dose."""

    scale_interval: float = option(2.0, "degrees between parameters of the scale", range=(1.0, None))
    relative_B_correction: bool = option(True, "one B factor per data set")
    decay_correction: bool = option(True, "decay with dose")
    share: SharedDecayOptions = SharedDecayOptions()
    resolution_dependence: Literal["quadratic", "linear"] = option("quadratic", "dependence of the decay on 1/d")
    dose_per_image: tuple[float, ...] | None = option(
        None,
        "dose that the crystal takes up in one image (any unit), one number for all data sets or one for each; None: "
        "the image number is the dose",
        range=(0.0, None),
        own=True,
    )
    dose_at_start: tuple[float, ...] | None = option(
        None,
        "dose before the first image, one number for all data sets or one for each",
        range=(0.0, None),
        aliases=("starting_doses",),
        own=True,
    )
    absorption_correction: bool = option(False, "surface of spherical harmonics")
    lmax: int = option(4, "highest order of the harmonics", range=(2, 12))
    surface_weight: float = option(1e6, "weight of the restraint of the surface to zero", range=(0.0, None))
    fix_initial: bool = option(True, "hold the first scale parameter for the uncertainties", unavailable=_FIX_INITIAL)
    correction: CorrectionOptions = CorrectionOptions()
    analytical_correction: bool = option(False, "multiply the model by the column analytical_correction")
