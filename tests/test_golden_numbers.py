"""Golden numbers of dials.scale (specification, section M) that no other test has, each with the number of its section.

The tables of M.1 to M.3 and the complete reflections of M.4 are in test_core_components.py, M.5 in test_outliers.py.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyscale
from pyscale import _core
from pyscale.integration import integrated_intensities
from pyscale.intensity_choice import PROFILE, combined_intensities
from pyscale.io.refl import read_refl


@pytest.fixture(scope="module")
def quartz_model(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The model of 100 degrees in 100 images as it stands in scaled.expt."""
    folder = tmp_path_factory.mktemp("quartz")
    data = pyscale.read(data_root / "quartz_ed" / "integrated.expt", data_root / "quartz_ed" / "integrated.refl")
    result = pyscale.scale(data, model="physical", scale_interval=15.0, decay_interval=20.0)
    result.write(folder / "scaled.expt", folder / "scaled.refl")
    document: dict[str, Any] = json.loads((folder / "scaled.expt").read_text(encoding="utf-8"))
    model: dict[str, Any] = document["scaling_model"][0]
    return model


def test_m1_parameters_and_intervals_in_the_file(quartz_model: dict[str, Any]) -> None:
    """M.1: 100 degrees at 15 and 20 degrees give 9 and 7 parameters, 100/7 and 20 degrees apart."""
    assert quartz_model["scale"]["n_parameters"] == 9
    assert quartz_model["decay"]["n_parameters"] == 7
    stored = quartz_model["configuration_parameters"]
    assert stored["scale_rot_interval"] == pytest.approx(14.285714, abs=5e-7)
    assert stored["decay_rot_interval"] == pytest.approx(20.0, rel=1e-12)


def test_m1_normalisation_factors_in_the_file(quartz_model: dict[str, Any]) -> None:
    """M.1: 0.999 images over the actual interval."""
    stored = quartz_model["configuration_parameters"]
    assert stored["s_norm_fac"] == pytest.approx(0.06993, rel=1e-12)
    assert stored["d_norm_fac"] == pytest.approx(0.04995, rel=1e-12)


@given(st.lists(st.floats(-10.0, 10.0), min_size=4, max_size=30))
def test_m2_first_place_is_the_mean_of_two_parameters(parameters: list[float]) -> None:
    """M.2: from four parameters on, x = 0 uses only the first two, alike."""
    axis = _core.SmootherAxis(1.0, 0.0, 1.0, len(parameters))
    first, weights = _core.smoother_window(axis, 0.0)
    assert first == 0
    assert np.dot(weights, parameters[: len(weights)]) == pytest.approx(sum(parameters[:2]) / 2, abs=1e-12)


@given(st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda v: math.hypot(*v) > 0.1))
def test_m3_order_and_signs_of_harmonics(vector: tuple[float, float, float]) -> None:
    """M.3: l = 1 is (y, z, x) and l = 2 is (xy, yz, 3z² - 1, zx, x² - y²), each with its constant of the table."""
    x, y, z = (component / math.hypot(*vector) for component in vector)
    first, mixed, axial = 0.488602512, 4 * 0.273137108, 0.630783131 / 2
    expected = (first * y, first * z, first * x)
    expected += (mixed * x * y, mixed * y * z, axial * (3 * z * z - 1), mixed * z * x, 0.546274215 * (x * x - y * y))
    np.testing.assert_allclose(_core.real_harmonics(2, (x, y, z)), expected, atol=5e-9)


# Row, variance before the error model, variance in the file, variance of the inverse scale factor.
VARIANCES = {
    5: (5.06782543, 37.6501232807, 0.0011554050349860648),
    835: (5421.116676007848 * 0.009800894858110292**2, 4.048839167444739, 0.004023971433290305),
}
A_OF_QUARTZ = 2.6806589628976236


@pytest.mark.parametrize("row", list(VARIANCES))
def test_m4_variances(data_root: Path, row: int) -> None:
    """M.4: LP and efficiency in the variance; a²V(1 + sigma_g/g) in the file."""
    table = read_refl(data_root / "quartz_ed" / "scaled.refl")
    before, stored, of_scale = VARIANCES[row]
    _, variance = combined_intensities(integrated_intensities(table), PROFILE)
    assert variance[row] == pytest.approx(before, rel=2e-9)
    assert table["inverse_scale_factor_variance"][row] == pytest.approx(of_scale, rel=1e-12)
    g = table["inverse_scale_factor"][row]
    in_file = A_OF_QUARTZ**2 * variance[row] * (1 + math.sqrt(of_scale) / g)
    assert in_file == pytest.approx(stored, rel=1e-9)
    assert table["intensity.scale.variance"][row] == pytest.approx(stored, rel=1e-9)
