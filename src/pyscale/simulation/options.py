"""What a simulation is made of: one frozen dataclass, the source of names, defaults, ranges and help."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError

__all__ = ["OUTLIER_KINDS", "SimulationOptions"]

OUTLIER_KINDS = ("zinger", "shadowed", "swapped", "sigma")
"""Kinds of planted outliers; `outlier_kind` in the truth is 1 + the position here, 0 for none."""

MAX_OBSERVATIONS = 50_000_000
MAX_IMAGES = 5_000_000

VARIABLE_LENGTH = ("start_angles", "outlier_kinds", "dose_per_image", "dose_at_start")
PER_SWEEP = ("start_angles", "dose_per_image", "dose_at_start")
ROTATION_ONLY = ("dose_decay", "site_damage", "resolution_variation", "position_variation", "jitter", "beam_loss")


def _option(default: Any, text: str, range: tuple[float, float] | None = None, choices: tuple[str, ...] = ()) -> Any:
    metadata: dict[str, Any] = {"help": text}
    if range is not None:
        metadata["range"] = range
    if choices:
        metadata["choices"] = choices
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class SimulationOptions:
    """Options of `pyscale simulate`.

    Raises
    ------
    UsageError
        A value is out of its range, or the options contradict each other.
    """

    kind: str = _option("rotation", "rotation sweeps or stills", choices=("rotation", "stills"))
    unit_cell: tuple[float, float, float, float, float, float] = _option(
        (38.0, 48.0, 62.0, 90.0, 90.0, 90.0), "unit cell: three lengths (Å) and three angles (degrees)"
    )
    space_group: str = _option("P 21 21 21", "space group symbol")
    d_min: float = _option(2.0, "high-resolution limit (Å)", (0.1, 100.0))
    wavelength: float = _option(0.9795, "wavelength (Å)", (0.001, 10.0))
    n_sweeps: int = _option(1, "number of rotation sweeps", (1, 100_000))
    same_crystal: bool = _option(
        False, "all sweeps or stills are of one crystal with one absorbing sample; else each has its own"
    )
    sweep_width: float = _option(180.0, "rotation range of each sweep (degrees)", (0.01, 3600.0))
    oscillation_width: float = _option(0.5, "rotation of one image (degrees)", (1e-4, 360.0))
    start_angles: tuple[float, ...] = _option(
        (), "first angle of each sweep (degrees); one value: the same for all; none: 0"
    )
    n_stills: int = _option(100, "number of stills (kind=stills)", (1, 1_000_000))
    rotation_axis: tuple[float, float, float] = _option((1.0, 0.0, 0.0), "goniometer axis in the laboratory")
    beam_direction: tuple[float, float, float] = _option((0.0, 0.0, 1.0), "direction from sample to source")
    random_goniometer: bool = _option(False, "random fixed and setting rotations instead of identities")
    detector_distance: float = _option(200.0, "distance from sample to detector (mm)", (1.0, 1e6))
    pixel_size: float = _option(0.172, "edge of a detector pixel (mm)", (1e-4, 10.0))
    image_size: tuple[int, int] = _option((2463, 2527), "pixels of the detector, fast and slow")
    detector_offset: tuple[float, float] = _option(
        (0.0, 0.0), "shift of the detector along its fast and slow axes (mm)"
    )
    polarization_fraction: float = _option(0.999, "fraction of the beam polarised in the plane", (0.0, 1.0))
    mosaicity: float = _option(0.1, "standard deviation of the rocking curve (degrees)", (1e-3, 5.0))
    mosaic_block_size: float = _option(1500.0, "size of the mosaic blocks (Å), widens stills", (10.0, 1e6))
    zeta_min: float = _option(0.05, "reflections closer to the rotation axis than this are left out", (0.0, 1.0))
    mean_intensity: float = _option(100.0, "mean true intensity, corrected for LP (counts)", (1e-3, 1e9))
    wilson_b: float = _option(20.0, "overall Wilson B factor (Å²)", (0.0, 500.0))
    anisotropic_b: tuple[float, float, float] = _option(
        (0.0, 0.0, 0.0), "added to wilson_b along a*, c x a* and c (Å²), as the symmetry allows", (-200.0, 500.0)
    )
    anomalous: float = _option(0.0, "mean |I(+) − I(−)| over mean I of acentric reflections", (0.0, 0.5))
    twin_fraction: float = _option(0.0, "share of the second domain of a twin; 0: no twin", (0.0, 0.5))
    twin_law: str = _option(
        "", "twin law as new h, k, l in terms of the old, such as h,-h-k,-l; empty: the first that the lattice has"
    )
    pseudo_translation: tuple[float, float, float] = _option(
        (0.0, 0.0, 0.0), "vector (fractional) by which copies of a molecule are related (pseudo_translation_fraction)"
    )
    pseudo_translation_fraction: float = _option(
        0.0,
        "how alike the copies are: expected intensities are 1 + this times cos(2π h·vector); 0: no copies",
        (0.0, 1.0),
    )
    background: float = _option(2.0, "background (counts per pixel)", (0.0, 1e6))
    multiplicative_error: float = _option(0.03, "relative error of every intensity", (0.0, 0.5))
    outlier_fraction: float = _option(0.002, "fraction of planted outliers", (0.0, 0.5))
    outlier_kinds: tuple[str, ...] = _option(OUTLIER_KINDS, "kinds of planted outliers", choices=OUTLIER_KINDS)
    truth: str = _option(
        "smooth",
        "true scales inside the physical model's basis (model) or smooth functions outside it (smooth)",
        choices=("model", "smooth"),
    )
    scale_variation: float = _option(0.2, "relative variation of the incident scale in a sweep", (0.0, 0.8))
    scale_spread: float = _option(0.3, "spread of ln(scale) between sweeps or stills", (0.0, 3.0))
    refill_jump: float = _option(0.0, "relative jump of the beam in mid-sweep (truth=smooth)", (0.0, 2.0))
    decay: float = _option(8.0, "fall of the B factor over 360 degrees (Å²)", (0.0, 200.0))
    absorption: float = _option(0.05, "relative rms variation of the absorption correction", (0.0, 0.5))
    lmax: int = _option(4, "degree of the absorption surface (truth=model)", (1, 12))
    scale_interval: float = _option(0.0, "spacing of scale nodes in degrees (truth=model); 0: auto", (0.0, 360.0))
    decay_interval: float = _option(0.0, "spacing of B nodes in degrees (truth=model); 0: auto", (0.0, 360.0))
    dose_decay: float = _option(
        0.0, "fall of ln(scale) per unit of dose at d = 1 Å, radiation damage (rotation)", (0.0, 1e6)
    )
    dose_law: str = _option(
        "quadratic", "radiation damage goes with 1/d² (quadratic) or 1/d (linear)", choices=("quadratic", "linear")
    )
    dose_per_image: tuple[float, ...] = _option((1.0,), "dose of one image: one value or one per sweep", (0.0, 1e9))
    dose_at_start: tuple[float, ...] = _option(
        (0.0,), "dose before the first image: one value or one per sweep", (0.0, 1e12)
    )
    site_damage: float = _option(
        0.0,
        "rms relative change of a unique reflection's intensity per unit of dose, as by site-specific radiation damage "
        "(rotation)",
        (0.0, 1e6),
    )
    modulation: float = _option(0.0, "rms of ln(detector sensitivity) over the detector", (0.0, 1.0))
    modulation_pattern: str = _option(
        "smooth", "the detector's sensitivity varies smoothly or in blocks", choices=("smooth", "blocky")
    )
    modulation_bins: int = _option(6, "features of the sensitivity along each edge of the detector", (1, 1000))
    resolution_variation: float = _option(
        0.0, "rms of ln(scale) that varies with rotation and resolution unlike a B factor (rotation)", (0.0, 1.0)
    )
    position_variation: float = _option(
        0.0, "rms of ln(scale) that varies with rotation and detector position (rotation)", (0.0, 1.0)
    )
    jitter: float = _option(0.0, "standard deviation of ln(scale) from image to image (rotation)", (0.0, 2.0))
    jitter_correlation: float = _option(0.0, "images over which the jitter stays alike; 0: independent", (0.0, 1e6))
    beam_loss: float = _option(0.0, "relative loss of intensity in runs of images (rotation)", (0.0, 0.99))
    n_beam_losses: int = _option(3, "runs of images with less beam in a sweep", (1, 1000))
    analytical: float = _option(
        0.0, "like absorption, but told by the column analytical_correction, a factor of g", (0.0, 0.5)
    )
    gap: tuple[int, int] = _option(
        (0, 0), "first and last image (from 1) of a hole without reflections in every sweep; 0 0: none"
    )
    partials: float = _option(0.0, "fraction of reflections recorded as two partial rows", (0.0, 1.0))
    keep: float = _option(1.0, "fraction of the predicted reflections kept", (1e-6, 1.0))
    seed: int = _option(0, "random seed: same seed, same bytes", (0, 2**63 - 1))

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            _check_field(item.name, value, item.metadata)
            if isinstance(item.default, tuple) and item.name not in VARIABLE_LENGTH:
                _check_length(item.name, value, len(item.default))
        if self.d_min <= self.wavelength / 2.0:
            raise UsageError(
                f"d_min={self.d_min:g} is beyond the limit of wavelength={self.wavelength:g}: "
                f"nothing diffracts below {self.wavelength / 2.0:g} Å"
            )
        if self.oscillation_width > self.sweep_width * (1.0 + 1e-9):
            raise UsageError(f"oscillation_width={self.oscillation_width:g} exceeds sweep_width={self.sweep_width:g}")
        if self.kind == "rotation" and self.n_images * self.n_sweeps > MAX_IMAGES:
            raise UsageError(
                f"oscillation_width={self.oscillation_width:g} gives {self.n_images * self.n_sweeps} images, "
                f"more than {MAX_IMAGES}: give wider images or fewer sweeps"
            )
        for name in PER_SWEEP:
            given = getattr(self, name)
            if len(given) > 1 and len(given) != self.n_sweeps:
                raise UsageError(
                    f"{name} has {len(given)} values for n_sweeps={self.n_sweeps}: give none, one, or one per sweep"
                )
        if self.pseudo_translation_fraction > 0.0 and not any(self.pseudo_translation):
            raise UsageError("pseudo_translation_fraction needs pseudo_translation, the vector between the copies")
        self._check_effects()
        if min(self.image_size) < 1:
            raise UsageError(f"image_size={self.image_size} must be positive")
        for name in ("rotation_axis", "beam_direction"):
            if math.hypot(*getattr(self, name)) < 1e-6:
                raise UsageError(f"{name} must not be the zero vector")

    @property
    def n_experiments(self) -> int:
        """Number of experiments written: sweeps or stills."""
        return self.n_sweeps if self.kind == "rotation" else self.n_stills

    @property
    def n_images(self) -> int:
        """Number of images of one sweep (at least one; the sweep is cut to whole images)."""
        return max(round(self.sweep_width / self.oscillation_width), 1)

    def of_sweep(self, name: str, sweep: int) -> float:
        """Value of `start_angles`, `dose_per_image` or `dose_at_start` for a sweep; 0 if none was given."""
        values: tuple[float, ...] = getattr(self, name)
        if not values:
            return 0.0
        return values[sweep] if len(values) > 1 else values[0]

    def _check_effects(self) -> None:
        if self.kind == "stills":
            for name in ROTATION_ONLY:
                if getattr(self, name) > 0.0:
                    raise UsageError(f"{name}={getattr(self, name):g} needs a rotation: give kind=rotation")
        first, last = self.gap
        if self.gap != (0, 0) and not 1 <= first <= last <= (self.n_images if self.kind == "rotation" else 0):
            raise UsageError(
                f"gap={first} {last} is no range of images: give first and last within 1 to n_images={self.n_images} "
                "of a rotation"
            )


def _check_length(name: str, value: Any, length: int) -> None:
    if len(value) != length:
        raise UsageError(f"{name} takes {length} values, not {len(value)}")


def _check_field(name: str, value: Any, metadata: Any) -> None:
    values = value if isinstance(value, tuple) else (value,)
    for item in values:
        if isinstance(item, (int, float)) and not math.isfinite(item):
            raise UsageError(f"{name}={value} is not a finite number")
        if "choices" in metadata and item not in metadata["choices"]:
            raise UsageError(f"{name}={item} is not one of {', '.join(metadata['choices'])}")
        if "range" in metadata and not metadata["range"][0] <= item <= metadata["range"][1]:
            low, high = metadata["range"]
            raise UsageError(f"{name}={item:g} is outside {low:g} to {high:g}")
