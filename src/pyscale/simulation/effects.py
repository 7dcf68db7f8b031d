"""Distortions beyond the physical model, each on its own and with its own random numbers.

The true inverse scale factor of a row is the base scale (`distortions`) times the exponential of the sum of all
effects. One that is off takes no random numbers, so that switching one on changes nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..typing import FloatArray, IndexArray
from .absorption import SampleView, make_sample
from .distortions import TrueScale, wave
from .options import SimulationOptions
from .rotation import Spots

__all__ = ["apply_effects", "dose_of_spots", "site_damage"]

_ANALYTICAL_STREAM, _FIRST_STREAM, _SITE_STREAM = 7, 8, 1007
"""Random streams; those below belong to crystal, geometry, spots, base scale, outliers, noise and shared sample."""
_WAVE_RMS = math.sqrt(0.5 * (0.6**2 + 0.25**2 + 0.15**2))
"""Root mean square of `wave` with amplitude 1 over whole turns."""
_N_MODES = 12
_POWER_OF_D = {"quadratic": 2, "linear": 1}


@dataclass(frozen=True)
class _View:
    """What effects look at: position is −1 to 1 over the part of the detector that records."""

    options: SimulationOptions
    number: int
    spots: Spots
    d: FloatArray
    position: FloatArray

    @property
    def turned(self) -> FloatArray:
        """Degrees since the start of the sweep."""
        return self.spots.z * self.options.oscillation_width

    @property
    def image(self) -> IndexArray:
        """Index of the image that holds each centroid."""
        return np.clip(self.spots.z.astype(np.int64), 0, self.options.n_images - 1)


_Outcome: TypeAlias = tuple[FloatArray, dict[str, FloatArray]]
_Effect: TypeAlias = Callable[[_View, np.random.Generator], _Outcome]


def apply_effects(
    options: SimulationOptions, number: int, view: SampleView, sample: SampleView, d: FloatArray, base: TrueScale
) -> TrueScale:
    """The base scale times all effects that are switched on, for the spots of one experiment.

    Parameters
    ----------
    view, sample : SampleView
        Geometry and spots of the experiment, and of the one that defines its sample.
    d : (n,) float64
        Resolution of each spot in Å.
    base : TrueScale
        Without effects.
    """
    seen = _View(options, number, view.spots, d, _scaled_position(options, view.spots.position))
    ln_factors: dict[str, FloatArray] = {}
    parameters = dict(base.parameters)
    for stream, (name, effect) in enumerate(_EFFECTS.items(), _FIRST_STREAM):
        if getattr(options, name) > 0.0:
            rng = np.random.default_rng([options.seed, stream, 0 if name == "modulation" else number])
            ln_factors[name], found = effect(seen, rng)
            parameters.update(found)
    analytical = None
    if options.analytical > 0.0:
        analytical = _analytical(options, number, view, sample)
        ln_factors["analytical"] = np.log(analytical)
    return TrueScale(base.g * np.exp(sum(ln_factors.values())), parameters, ln_factors, analytical)


def _analytical(options: SimulationOptions, number: int, view: SampleView, sample: SampleView) -> FloatArray:
    rng = np.random.default_rng([options.seed, _ANALYTICAL_STREAM, 0 if options.same_crystal else number])
    if len(view.spots) == 0:
        return np.ones(0)
    return make_sample(options.analytical, sample, rng).transmission(view.geometry, view.spots)


def dose_of_spots(options: SimulationOptions, number: int, spots: Spots) -> FloatArray:
    """Dose at the centroid of each spot of a sweep, (n,) float64."""
    start = options.of_sweep("dose_at_start", number)
    return np.asarray(start + options.of_sweep("dose_per_image", number) * spots.z)


def site_damage(options: SimulationOptions, number: int, spots: Spots, group: IndexArray) -> FloatArray:
    """Factor of the true intensity of each spot: 1 + k_h dose, not below 0, k_h normal with mean 0, (n,) float64.

    Equal for the symmetry equivalents of a unique reflection (`group`), and for all sweeps.
    """
    if options.site_damage == 0.0 or len(spots) == 0:
        return np.ones(len(spots))
    rng = np.random.default_rng([options.seed, _SITE_STREAM, 0])
    k = options.site_damage * rng.normal(size=int(group.max()) + 1)
    return np.asarray(np.maximum(1.0 + k[group] * dose_of_spots(options, number, spots), 0.0))


def _scaled_position(options: SimulationOptions, position: FloatArray) -> FloatArray:
    """Detector coordinates, 0 at its centre and ±1 at the edge of the detector or of the resolution sphere."""
    size = options.pixel_size * np.array(options.image_size)
    two_theta = 2.0 * math.asin(options.wavelength / (2.0 * options.d_min))
    radius = options.detector_distance * math.tan(two_theta) if two_theta < 1.5 else math.inf
    half = np.minimum(0.5 * size, radius + np.abs(options.detector_offset))
    return np.asarray((position - 0.5 * size) / half)


def _dose_decay(view: _View, _rng: np.random.Generator) -> _Outcome:
    """−C · dose / d² (or / d), dose at the centroid."""
    options = view.options
    per_image, start = options.of_sweep("dose_per_image", view.number), options.of_sweep("dose_at_start", view.number)
    dose = dose_of_spots(options, view.number, view.spots)
    ln = -options.dose_decay * dose / view.d ** _POWER_OF_D[options.dose_law]
    return ln, {"dose": np.array([start, per_image])}


def _modulation(view: _View, rng: np.random.Generator) -> _Outcome:
    """Sensitivity of the detector, the same for all experiments: random waves, or blocks."""
    amplitude, bins = view.options.modulation, view.options.modulation_bins
    if view.options.modulation_pattern == "blocky":
        blocks = amplitude * rng.normal(size=(bins, bins))
        block = np.clip((0.5 * (view.position + 1.0) * bins).astype(np.int64), 0, bins - 1)
        return blocks[block[:, 0], block[:, 1]], {"modulation_blocks": blocks}
    # half a wave is at least as long as a block
    vectors = rng.uniform(-0.5 * np.pi * bins, 0.5 * np.pi * bins, (_N_MODES, 2))
    phases = rng.uniform(0.0, 2.0 * np.pi, _N_MODES)
    ln = amplitude * math.sqrt(2.0 / _N_MODES) * np.cos(view.position @ vectors.T + phases).sum(axis=1)
    return ln, {"modulation_waves": np.column_stack([vectors, phases])}


def _resolution_variation(view: _View, rng: np.random.Generator) -> _Outcome:
    """Waves over rotation whose size oscillates with resolution, which no B factor does.

    The waves have no mean: what is a function of resolution alone belongs to the intensities.
    """
    u = (view.options.d_min / view.d) ** 2
    ln = np.zeros(len(u))
    for k in (1, 2):
        along = wave(1.0, view.turned, rng)
        ln += (along - along.mean() if len(along) else along) * np.cos(2.0 * np.pi * k * u)
    return view.options.resolution_variation / _WAVE_RMS * ln, {}


def _position_variation(view: _View, rng: np.random.Generator) -> _Outcome:
    """Waves over rotation times low powers of the detector coordinates: absorption unlike any crystal's."""
    u, v = view.position.T
    shapes = (2.0 * u, 2.0 * v, 4.0 * u * v, 2.0 * (u**2 - v**2))
    ln = sum(wave(1.0, view.turned, rng) * shape for shape in shapes)
    return view.options.position_variation / (2.0 * _WAVE_RMS) * np.asarray(ln), {}


def _jitter(view: _View, rng: np.random.Generator) -> _Outcome:
    """Gaussian ln of every image's scale; correlation falls by e over `jitter_correlation` images."""
    from scipy.signal import lfilter

    options = view.options
    rho = math.exp(-1.0 / options.jitter_correlation) if options.jitter_correlation > 0.0 else 0.0
    steps = rng.normal(size=options.n_images)
    steps[1:] *= math.sqrt(1.0 - rho**2)
    ln_scale = options.jitter * np.asarray(lfilter([1.0], [1.0, -rho], steps))
    return ln_scale[view.image], {"jitter": ln_scale}


def _beam_loss(view: _View, rng: np.random.Generator) -> _Outcome:
    """Runs of images recorded with a weaker beam."""
    options = view.options
    first = rng.integers(0, options.n_images, options.n_beam_losses)
    length = 1 + rng.poisson(0.02 * options.n_images, options.n_beam_losses)
    lost = np.zeros(options.n_images, bool)
    for start, n in zip(first, length, strict=True):
        lost[start : start + n] = True
    ln_scale = np.where(lost, math.log1p(-options.beam_loss), 0.0)
    return ln_scale[view.image], {"beam_loss": ln_scale}


_EFFECTS: dict[str, _Effect] = {
    "dose_decay": _dose_decay,
    "modulation": _modulation,
    "resolution_variation": _resolution_variation,
    "position_variation": _position_variation,
    "jitter": _jitter,
    "beam_loss": _beam_loss,
}
"""By the option that holds the strength. The order numbers the random streams: new ones go to the end."""
