"""The correction for a polarised beam, beside independent formulas and gemmi."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest
from numpy.testing import assert_allclose

import pyscale
from pyscale.errors import UsageError
from pyscale.io.polarization import (
    assumed_fraction,
    chosen_polarization,
    polarization_correction,
    polarization_factor,
)
from pyscale.options.importing import InputOptions
from xds_files import polarization, small_sweep, write_integrate

Y = np.array([0.0, 1.0, 0.0])


def directions(seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(200, 3))


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 0.99, 1.0])
def test_factor_is_the_mean_over_both_polarisations(fraction: float) -> None:
    beam, normal = np.array([0.1, -0.2, -3.0]), np.array([0.5, 0.6, 0.1])
    expected = polarization(directions(), beam, fraction, normal)
    assert_allclose(polarization_factor(directions(), beam, fraction, normal), expected, rtol=1e-12)


def test_unpolarised_beam_has_the_usual_factor_and_needs_no_normal() -> None:
    u = directions()
    cos_two_theta = u[:, 2] / np.linalg.norm(u, axis=1)
    found = polarization_factor(u, np.array([0.0, 0.0, 1.0]), 0.5, np.zeros(3))
    assert_allclose(found, (1 + cos_two_theta**2) / 2, rtol=1e-12)
    assert_allclose(polarization_correction(u, np.array([0.0, 0.0, 1.0]), 0.5, np.zeros(3)), 1.0)


def test_a_beam_scattered_along_its_polarisation_vanishes() -> None:
    along_x = np.array([[1.0, 0.0, 0.0]])
    assert_allclose(polarization_factor(along_x, np.array([0.0, 0.0, 1.0]), 1.0, Y), 0.0, atol=1e-15)
    assert_allclose(polarization_factor(along_x, np.array([0.0, 0.0, 1.0]), 0.0, Y), 1.0)


def test_sense_of_beam_and_normal_does_not_matter() -> None:
    beam = np.array([0.1, 0.0, 1.0])
    expected = polarization_correction(directions(), beam, 0.9, Y)
    assert_allclose(polarization_correction(directions(), -beam, 0.9, -Y), expected, rtol=1e-12)


def test_correction_is_that_of_gemmi(tmp_path: Path) -> None:
    data = small_sweep(beam_direction=(0.0, 0.0, 1.0))
    write_integrate(tmp_path / "INTEGRATE.HKL", data)
    other = gemmi.read_xds_ascii(str(tmp_path / "INTEGRATE.HKL"))
    before = other.iobs_array.copy()
    other.apply_polarization_correction(0.97, gemmi.Vec3(0, 1, 0))
    job = pyscale.read(tmp_path / "INTEGRATE.HKL", polarization_fraction=0.97)
    lp = job.data_sets[0].reflections["lp"]
    assert lp.max() - lp.min() > 0.02
    assert_allclose(lp, other.iobs_array / before, rtol=5e-5)


@pytest.mark.parametrize("wavelength", [0.0251, 0.5609, 0.7107, 1.5406, 1.5418, 1.3401])
def test_anodes_and_electrons_are_taken_for_unpolarised(wavelength: float) -> None:
    assert assumed_fraction(wavelength)[0] == 0.5


@pytest.mark.parametrize("wavelength", [0.6889, 0.9795, 1.0, 1.2819, 1.9])
def test_other_wavelengths_are_of_synchrotrons(wavelength: float) -> None:
    assert assumed_fraction(wavelength)[0] > 0.9


def test_options_win_over_what_is_assumed() -> None:
    options = InputOptions(polarization_fraction=0.8, polarization_normal=(2.0, 0.0, 1.0))
    fraction, normal, reason = chosen_polarization(options, 1.5418, np.array([0.0, 0.0, 1.0]), Y)
    assert (fraction, reason) == (0.8, "option polarization_fraction")
    assert_allclose(normal, [1.0, 0.0, 0.0])


@pytest.mark.parametrize("normal", [(0.0, 0.0, 2.0), (0.0, 0.0, 0.0), (0.0, 1e300, 0.0)])
def test_a_normal_along_the_beam_is_refused(normal: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError, match=r"input\.polarization_normal: .* across the beam"):
        chosen_polarization(InputOptions(polarization_normal=normal), 1.0, np.array([0.0, 0.0, 1.0]), Y)
