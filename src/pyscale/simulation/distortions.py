"""True inverse scale factors g = incident scale × exp(B / 2d²) × absorption.

Either inside the physical model's basis, or smooth functions outside it. Like `basis`, independent of the C++
core on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..typing import FloatArray
from .absorption import SampleView, make_sample
from .basis import Smoother, make_smoother, real_spherical_harmonics
from .geometry import Geometry
from .options import SimulationOptions
from .rotation import Spots

__all__ = [
    "TrueScale",
    "absorption_basis",
    "automatic_intervals",
    "model_scale",
    "smooth_scale",
    "still_scale",
    "wave",
]

ABSORPTION_WIDTH = 60.0
"""The automatic physical model has an absorption surface for sweeps wider than this (degrees)."""


@dataclass(frozen=True)
class TrueScale:
    """g of every row of an experiment and the parameters that made it.

    Attributes
    ----------
    g : (n,) float64
        Inverse scale factor: recorded × lp = g × true intensity.
    parameters : dict
        Name (scale, decay, absorption, scale_layout, ...) to array, as stored in the truth file.
    ln_factors : dict of (n,) float64
        By name of the effect: its share of ln g.
    analytical_correction : (n,) float64 or None
        The part of g that a column of the reflections tells.
    """

    g: FloatArray
    parameters: dict[str, FloatArray] = field(default_factory=dict)
    ln_factors: dict[str, FloatArray] = field(default_factory=dict)
    analytical_correction: FloatArray | None = None


def automatic_intervals(width: float) -> tuple[float, float]:
    """Node spacing of scale and decay (degrees) that a sweep of this width gets by default."""
    for limit, intervals in ((5.0, (1.0, 1.5)), (10.0, (2.0, 3.0)), (25.0, (4.0, 5.0)), (90.0, (8.0, 10.0))):
        if width < limit:
            return intervals
    return 15.0, 20.0


def absorption_basis(lmax: int, geometry: Geometry, spots: Spots) -> FloatArray:
    """(n, lmax (lmax + 2)) half sums of the harmonics of both crystal-frame beam directions."""
    source = np.broadcast_to(geometry.direction, spots.s1.shape)
    both = (
        real_spherical_harmonics(lmax, _aligned(geometry.to_crystal(v, spots.phi)))
        for v in (source, spots.s1 * geometry.wavelength)
    )
    return np.asarray(0.5 * sum(both))


def model_scale(
    options: SimulationOptions,
    view: SampleView,
    sample: SampleView,
    d: FloatArray,
    overall: float,
    rng: np.random.Generator,
    sample_rng: np.random.Generator,
) -> TrueScale:
    """A scale that the physical model can reproduce exactly, with its parameters.

    The surface's strength is that over the spots of `sample`, which may be another experiment of the same crystal.
    """
    spots = view.spots
    width = options.n_images * options.oscillation_width
    automatic = automatic_intervals(width)
    scale, decay = (
        make_smoother(width, asked or auto, options.oscillation_width, spots.z)
        for asked, auto in zip((options.scale_interval, options.decay_interval), automatic, strict=True)
    )
    incident = overall * (1.0 + wave(options.scale_variation, _node_angles(scale), rng))
    fall = _node_angles(decay) / 360.0
    b = -options.decay * (fall + 0.05 * rng.normal(size=decay.n_parameters))
    parameters = {
        "scale": incident,
        "decay": b,
        "scale_layout": _layout(scale),
        "decay_layout": _layout(decay),
    }
    g = scale.evaluate(incident, spots.z) * np.exp(decay.evaluate(b, spots.z) / (2.0 * d**2))
    if options.absorption > 0.0 and width > ABSORPTION_WIDTH:
        basis = absorption_basis(options.lmax, view.geometry, spots)
        defining = basis if sample is view else absorption_basis(options.lmax, sample.geometry, sample.spots)
        coefficients = _surface(options, defining, sample_rng)
        parameters["absorption"] = coefficients
        g = g * (1.0 + basis @ coefficients)
    return TrueScale(g, parameters)


def smooth_scale(
    options: SimulationOptions,
    view: SampleView,
    sample: SampleView,
    d: FloatArray,
    overall: float,
    rng: np.random.Generator,
    sample_rng: np.random.Generator,
) -> TrueScale:
    """A scale that the model merely approximates: Fourier beam, decay with dose, ray-traced absorption."""
    spots = view.spots
    turned = spots.z * options.oscillation_width
    incident = overall * np.exp(wave(options.scale_variation, turned, rng))
    refill = rng.uniform(0.3, 0.7) * options.n_images
    incident = np.where(spots.z > refill, 1.0 + options.refill_jump, 1.0) * incident
    exponent = rng.uniform(0.7, 1.3)
    dose = (turned / 180.0) ** exponent
    b = -options.decay * (1.0 - np.exp(-dose)) / (1.0 - np.exp(-(2.0**exponent)))
    g = incident * np.exp(b / (2.0 * d**2))
    if options.absorption > 0.0:
        g = g * make_sample(options.absorption, sample, sample_rng).transmission(view.geometry, spots)
    return TrueScale(g, {"refill_image": np.array([refill]), "dose_exponent": np.array([exponent])})


def still_scale(options: SimulationOptions, d: FloatArray, overall: float, rng: np.random.Generator) -> TrueScale:
    """One factor and one B for a still (the KB model)."""
    b = -options.decay * float(rng.uniform())
    g = overall * np.exp(b / (2.0 * d**2))
    return TrueScale(g, {"scale": np.asarray(overall), "decay": np.asarray(b)})


def _aligned(vectors: FloatArray) -> FloatArray:
    """Permute axes so that the goniometer's x becomes the polar axis z, as DIALS does."""
    return np.stack([-vectors[:, 2], vectors[:, 1], vectors[:, 0]], axis=1)


def _layout(smoother: Smoother) -> FloatArray:
    """Interval (degrees), norm_fac, origin and extent, as stored."""
    return np.array([smoother.interval, smoother.norm_fac, smoother.origin, smoother.extent])


def _node_angles(smoother: Smoother) -> FloatArray:
    shift = 0.5 if smoother.n_parameters > 3 else 0.0
    return np.asarray((np.arange(smoother.n_parameters) - shift) * smoother.interval)


def wave(amplitude: float, degrees: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A random Fourier series over rotation, with 1, 2 and 4 waves a turn; its peak is at most amplitude."""
    phases = rng.uniform(0.0, 2.0 * np.pi, 3)
    shares = np.array([0.6, 0.25, 0.15])
    turns = np.outer(np.radians(degrees), [1.0, 2.0, 4.0])
    return np.asarray(amplitude * np.sin(turns + phases) @ shares)


def _surface(options: SimulationOptions, basis: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Random coefficients, falling with l, of a positive surface with the asked rms variation."""
    degree = np.repeat(np.arange(1, options.lmax + 1), 2 * np.arange(1, options.lmax + 1) + 1)
    coefficients = rng.normal(size=len(degree)) / degree**1.5
    deviation = basis @ coefficients
    factor = options.absorption / max(float(deviation.std()), 1e-12)
    # a transmission near zero has no logarithm: the surface stays above a fifth
    factor = min(factor, 0.8 / max(float(np.abs(deviation).max()), 1e-12))
    return np.asarray(coefficients * factor)
