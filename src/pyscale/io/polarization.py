"""Polarisation of the beam: correction of intensities that were corrected for an unpolarised one."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from ..options.importing import InputOptions
from ..typing import FloatArray

__all__ = [
    "UNPOLARISED",
    "XDS_NORMAL",
    "assumed_fraction",
    "chosen_polarization",
    "polarization_correction",
    "polarization_factor",
]

UNPOLARISED = 0.5

XDS_NORMAL = np.array([0.0, 1.0, 0.0])
"""Normal of the plane of polarisation where XDS is not told another."""

_SYNCHROTRON = 0.99
_ELECTRONS = 0.1
_ANODES = {"Ag": 0.5608, "Mo": 0.7107, "Ga": 1.3414, "Cu": 1.5418, "Co": 1.7902, "Fe": 1.9373, "Cr": 2.2909}
_ANODE_TOLERANCE = 0.002


def polarization_factor(
    directions: FloatArray, beam_direction: FloatArray, fraction: float, normal: FloatArray
) -> FloatArray:
    """Share of the beam's intensity that its polarisation lets through, (n,) float64.

    Kahn et al. (1982), J. Appl. Cryst. 15, 330: with u the diffracted beam, k the incident one, n the normal of the
    plane of polarisation and p the fraction that is polarised in it, P = (1 - 2p)(1 - (u.n)^2) + p (1 + (u.k)^2),
    which is (1 + cos^2 2theta)/2 for p = 1/2.

    Parameters
    ----------
    directions : (n, 3) float64
        Diffracted beams, of any length.
    beam_direction : (3,)
        Direction of the beam or against it, of any length.
    fraction : float
        p, 0 to 1.
    normal : (3,)
        n; what it has along the beam is left out. Not looked at for p = 1/2.
    """
    return _factors(directions, beam_direction, fraction, normal)[0]


def _factors(
    directions: FloatArray, beam_direction: FloatArray, fraction: float, normal: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """`polarization_factor`, and what it is for an unpolarised beam."""
    k = np.asarray(beam_direction, np.float64) / np.linalg.norm(beam_direction)
    length = np.sqrt(np.einsum("ij,ij->i", directions, directions))
    both_planes = 1.0 + (directions @ k / length) ** 2
    factor: FloatArray = fraction * both_planes
    if fraction != UNPOLARISED:
        across = np.asarray(normal, np.float64) - (normal @ k) * k
        across /= np.linalg.norm(across)
        factor += (1.0 - 2.0 * fraction) * (1.0 - (directions @ across / length) ** 2)
    return factor, UNPOLARISED * both_planes


def polarization_correction(
    directions: FloatArray, beam_direction: FloatArray, fraction: float, normal: FloatArray
) -> FloatArray:
    """What multiplies intensities that were corrected for an unpolarised beam: P(1/2) / P(p), (n,) float64.

    For parameters see `polarization_factor`. For a column `lp`, which multiplies intensities.
    """
    factor, unpolarised = _factors(directions, beam_direction, fraction, normal)
    return unpolarised / factor


def assumed_fraction(wavelength: float) -> tuple[float, str]:
    """Fraction of polarisation to assume for a wavelength (A) when nobody tells it, and why."""
    if wavelength < _ELECTRONS:
        return UNPOLARISED, f"electrons (wavelength {wavelength:g} A) are not polarised"
    for element, line in _ANODES.items():
        if abs(wavelength - line) <= _ANODE_TOLERANCE:
            return UNPOLARISED, f"wavelength {wavelength:g} A is that of an {element} anode, taken for unpolarised"
    return _SYNCHROTRON, f"wavelength {wavelength:g} A is of no usual anode, so a synchrotron is assumed"


def chosen_polarization(
    options: InputOptions, wavelength: float, beam_direction: FloatArray, default_normal: FloatArray
) -> tuple[float, FloatArray, str]:
    """Fraction of polarisation, normal of its plane (unit vector across the beam), and where they are from.

    Raises
    ------
    UsageError
        If the option `polarization_normal` is along the beam or no direction.
    """
    fraction, reason = assumed_fraction(wavelength)
    if options.polarization_fraction is not None:
        fraction, reason = options.polarization_fraction, "option polarization_fraction"
    given = options.polarization_normal
    normal = np.array(default_normal if given is None else given, np.float64)
    k = np.asarray(beam_direction, np.float64) / np.linalg.norm(beam_direction)
    with np.errstate(over="ignore", invalid="ignore"):
        across = normal - (normal @ k) * k
        length, whole = np.linalg.norm(across), np.linalg.norm(normal)
    if not (np.isfinite(whole) and length > 0.01 * whole):
        if given is None and fraction == UNPOLARISED:
            return fraction, normal, reason
        raise UsageError(f"option input.polarization_normal: {tuple(normal.tolist())} has no direction across the beam")
    return fraction, np.asarray(across / length), reason
