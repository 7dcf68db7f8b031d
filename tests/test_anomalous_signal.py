"""The anomalous signal of simulated crystals, absences, and what anomalous=True keeps apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.analysis.anomalous_signal import AnomalousSignal
from pyscale.io.refl import read_refl, write_refl
from pyscale.result import ScalingResult
from pyscale.simulation import SimulatedData, SimulationOptions, simulate

CELL = (30.0, 40.0, 45.0, 90.0, 90.0, 90.0)


@cache
def simulated(**options: Any) -> SimulatedData:
    known = {"unit_cell": CELL, "d_min": 2.4, "sweep_width": 360.0, "oscillation_width": 1.0, "mean_intensity": 1000.0}
    return simulate(SimulationOptions(**(known | {"multiplicative_error": 0.02} | options)))


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ScalingResult]:
    """Scale simulated data, the options of which may hold `apart` for anomalous=True."""

    @cache
    def scale(apart: bool = False, **options: Any) -> ScalingResult:
        files = simulated(**options).write(tmp_path_factory.mktemp("simulated"))
        return pyscale.scale(pyscale.read(*files[:2]), anomalous=apart, nproc=1)

    return scale


def signal(result: ScalingResult) -> AnomalousSignal:
    analysis = result.analyses.anomalous_signal
    assert analysis is not None and analysis.applicable
    (found,) = analysis.wavelengths
    return found


def test_a_strong_signal_is_clear_and_advice_is_given(scaled: Callable[..., ScalingResult]) -> None:
    result = scaled(anomalous=0.1)
    found = signal(result)
    assert found.verdict == "clear"
    assert found.d_min is not None and found.d_min < 3.0
    (warning,) = [w for w in result.warnings() if "anomalous" in w]
    assert "anomalous=True" in warning


def test_the_size_of_the_signal_is_found(scaled: Callable[..., ScalingResult]) -> None:
    found = signal(scaled(anomalous=0.1, apart=True)).overall
    truth = simulated(anomalous=0.1).truth
    _, first = np.unique(truth["group"], return_index=True)
    mean, half = truth["I"][first], (truth["I_own"] - truth["I"])[first]
    acentric = half != 0
    expected = 2 * np.sqrt((half[acentric] ** 2).mean()) / mean[acentric].mean()
    assert found.bijvoet_ratio == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_a_signal_there_is_none(scaled: Callable[..., ScalingResult], apart: bool, seed: int) -> None:
    result = scaled(apart=apart, seed=seed)
    found = signal(result)
    assert found.verdict == "none"
    assert not [w for w in result.warnings() if "anomalous" in w]
    overall = found.overall
    assert overall.difference_over_sigma == pytest.approx(overall.without_signal, rel=0.08)
    assert overall.cc_normalised == pytest.approx(0.0, abs=4 / np.sqrt(overall.n_half_pairs))


def test_mates_that_are_apart_are_no_outliers_and_no_errors(scaled: Callable[..., ScalingResult]) -> None:
    together, apart = (scaled(anomalous=0.2, apart=value, outlier_fraction=0.0) for value in (False, True))
    rejected = [int(r.fit.outlier.sum()) for r in (together, apart)]
    assert rejected[1] < 0.3 * rejected[0]
    assert apart.fit.error_models.common.b < 0.03
    truth = simulated(anomalous=0.2, outlier_fraction=0.0).truth
    obs = apart.observations
    own = truth["I_own"][obs.row] * truth["g"][obs.row]
    ratio = apart.fit.expected / own
    strong = truth["I_own"][obs.row] > np.median(truth["I_own"])
    # Expected intensities are those of the own mate, up to the arbitrary scale and B.
    scale = np.median(ratio[strong])
    mixed = together.fit.expected / (truth["I_own"][together.observations.row] * truth["g"][together.observations.row])
    assert np.median(np.abs(ratio[strong] / scale - 1)) < 0.6 * np.median(np.abs(mixed[strong] / np.median(mixed) - 1))


def test_what_cannot_have_a_signal_says_so(scaled: Callable[..., ScalingResult]) -> None:
    inversion = scaled(space_group="P -1", unit_cell=(9.0, 11.0, 13.0, 80.0, 85.0, 95.0), d_min=0.9, wavelength=0.7)
    electrons = scaled(wavelength=0.025, d_min=3.0, detector_distance=1500.0)
    for result, reason in ((inversion, "inversion"), (electrons, "electrons")):
        found = result.analyses.anomalous_signal
        assert found is not None and not found.applicable
        assert reason in found.reason
        assert "not applicable" in found.text()


def test_absences_of_another_space_group_are_told(tmp_path: Path) -> None:
    data = simulated(space_group="P 2 2 2")
    _, path, _ = data.write(tmp_path)
    table = read_refl(path)
    index = table["miller_index"]
    axial = (np.count_nonzero(index, axis=1) == 1) & (np.abs(index).sum(axis=1) % 2 == 1)
    noise = np.random.default_rng(1).normal(size=len(index))
    for kind in ("prf", "sum"):
        value = table[f"intensity.{kind}.value"].copy()
        value[axial] = (noise * np.sqrt(table[f"intensity.{kind}.variance"]))[axial]
        table[f"intensity.{kind}.value"] = value
    write_refl(table, tmp_path / "absent.refl")
    job = pyscale.read(str(tmp_path / "simulated.expt"), str(tmp_path / "absent.refl"))
    for label, expected in (("P 2 2 2", ("P 21 21 21",)), ("P 21 21 21", ())):
        absences = pyscale.scale(job, space_group=label, nproc=1).analyses.absences
        assert absences is not None and absences.suggestions == expected and not absences.contradicted
        assert len(absences.warnings()) == len(expected)


def test_forbidden_reflections_that_are_present_contradict_the_space_group(tmp_path: Path) -> None:
    files = simulated(space_group="P 2 2 2").write(tmp_path)
    result = pyscale.scale(pyscale.read(*files[:2]), space_group="P 21 21 21", nproc=1)
    absences = result.analyses.absences
    assert absences is not None and absences.contradicted
    assert absences.suggestions == ("P 2 2 2",)
    assert any("forbids" in warning and '"P 2 2 2"' in warning for warning in result.warnings())
