"""What scaling makes of real data, beside what dials.scale (August 2026) made of the same.

The limits are dials.scale's figures or better; "put back" is the R_meas of the same scales with every rejected
observation returned, so that nobody gains by rejecting.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.dataset import read_files
from pyscale.statistics import merging_statistics

pytestmark = pytest.mark.data

_EXCLUDED = np.uint64((1 << 22) | (1 << 24))
_KEPT = np.uint64((1 << 23) | (1 << 26))


def scale(*files: Path, **options: Any) -> pyscale.ScalingResult:
    return pyscale.scale(pyscale.read(*files), **options)


def put_back_by_dials(folder: Path) -> float:
    """R_meas of dials.scale's own scales over scaled rows and its outliers together."""
    files = read_files([folder / "scaled.expt", folder / "scaled.refl"])
    (experiments,), (table,) = files.lists, files.tables
    flags = table["flags"]
    rows = ((flags & _EXCLUDED) == 0) & ((flags & _KEPT) != 0) & (table["partiality"] >= 0.25)
    rows &= table["intensity.scale.variance"] > 0
    g = table["inverse_scale_factor"][rows]
    cell = np.median([e.unit_cell for e in experiments], axis=0)
    return merging_statistics(
        np.ascontiguousarray(table["miller_index"][rows]),
        table["intensity.scale.value"][rows] / g,
        table["intensity.scale.variance"][rows] / g**2,
        tuple(cell),
        experiments[0].space_group,
    ).overall.r_meas


def test_four_sweeps_of_l_cysteine(data_root: Path) -> None:
    result = scale(*sorted((data_root / "l_cysteine").glob("*_integrated.*")))
    overall = result.statistics.overall
    assert overall.r_meas <= 0.036
    assert overall.r_pim <= 0.0115
    assert overall.cc_half >= 0.999
    assert overall.n_obs >= 11_600
    assert overall.n_unique >= 1_570
    limit = 1.02 * put_back_by_dials(data_root / "reference" / "lcys_4_physical")
    assert result.statistics_with_outliers.overall.r_meas <= limit
    assert result.fit.termination == "converged"


def test_quartz(data_root: Path) -> None:
    folder = data_root / "quartz_ed"
    result = scale(folder / "integrated.expt", folder / "integrated.refl")
    assert result.statistics.overall.r_meas <= 0.135
    assert result.statistics.overall.n_obs >= 1_390
    assert result.statistics_with_outliers.overall.r_meas <= 1.02 * put_back_by_dials(folder)


def test_small_molecule_electron_diffraction(data_root: Path) -> None:
    folder = data_root / "ed_p212121"
    result = scale(folder / "integrated.expt", folder / "integrated.refl")
    assert result.statistics.overall.r_meas <= 0.24
    assert result.statistics.overall.n_obs >= 7_000
    limit = 1.02 * put_back_by_dials(data_root / "reference" / "ed_p212121")
    assert result.statistics_with_outliers.overall.r_meas <= limit


@pytest.mark.parametrize("model", ["auto", "KB"])
def test_two_narrow_wedges_are_scaled_with_a_warning(
    data_root: Path, caplog: pytest.LogCaptureFixture, model: str
) -> None:
    """Of exactly 1 degree: not below it, so the rule takes a physical model of two nodes."""
    result = scale(*sorted((data_root / "l_cysteine_narrow").glob("*_integrated.*")), model=model)
    assert [m.model for m in result.models] == ["KB" if model == "KB" else "physical"] * 2
    assert np.isfinite(result.inverse_scale_factor).all()
    assert "too few for the model's" in caplog.text


@pytest.fixture(scope="module")
def sim1(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixed simulated set of an independent program."""
    folder = tmp_path_factory.mktemp("sim1")
    simulator = data_root.parent / "tools" / "simulate.py"
    command = [sys.executable, str(simulator), str(folder), "--dmin", "2.2"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    return folder


def test_the_independent_simulation(sim1: Path, data_root: Path) -> None:
    result = scale(sim1 / "sweep_000.expt", sim1 / "sweep_000.refl")
    result.write(sim1 / "scaled.expt", sim1 / "scaled.refl")
    truth = np.load(sim1 / "sweep_000_truth.npz")
    table = result.table
    half_inv_d2 = 0.5 / table["d"] ** 2
    error = np.log(table["inverse_scale_factor"] / truth["g"])
    design = np.stack([np.ones(len(table)), half_inv_d2], axis=1)
    residual = error - design @ np.linalg.lstsq(design, error, rcond=None)[0]
    assert residual.std() <= 0.0040
    rejected = (table["flags"] & np.uint64(1 << 23)) != 0
    assert (rejected & truth["outlier"]).sum() >= 372
    assert (rejected & ~truth["outlier"]).sum() < 0.001 * (~truth["outlier"]).sum()
    judge = [sys.executable, str(data_root.parent / "tools" / "judge.py"), str(sim1 / "scaled.refl")]
    judged = subprocess.run([*judge, str(sim1 / "sweep_000_truth.npz")], check=True, capture_output=True, text=True)
    pull = float(judged.stdout.partition("pull rms ")[2].split()[0])
    assert 0.95 <= pull <= 1.08


def test_the_document_of_a_real_job_is_json(data_root: Path) -> None:
    folder = data_root / "quartz_ed"
    document = scale(folder / "integrated.expt", folder / "integrated.refl").to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document


@pytest.mark.parametrize("fixed", [{"a": 1.3, "b": 0.2}, {"b": 0.2}], ids=["a and b", "b"])
def test_a_fixed_error_model_stays_where_the_data_cannot_tell(data_root: Path, fixed: dict[str, float]) -> None:
    folder = data_root / "ed_p212121"
    options = {f"weighting.error_model.basic.{name}": value for name, value in fixed.items()}
    fit = scale(folder / "integrated.expt", folder / "integrated.refl", **options).fit
    assert fit.error_model_fit is not None
    assert not fit.error_model_fit.reliable
    assert {name: getattr(fit.error_models.common, name) for name in fixed} == fixed


def test_a_protein_of_integrate_hkl(data_root: Path) -> None:
    """dials.scale has R_meas 0.383 without a correction for polarisation and 0.380 with it."""
    job = pyscale.read(data_root / "cry2pk" / "INTEGRATE.HKL")
    result = pyscale.scale(job)
    overall = result.statistics.overall
    assert overall.r_meas <= 0.383
    assert overall.n_obs >= 0.995 * 61_846
    assert overall.cc_half >= 0.991
    assert result.statistics_with_outliers.overall.r_meas <= 0.389
    unpolarised = pyscale.scale(pyscale.read(data_root / "cry2pk" / "INTEGRATE.HKL", polarization_fraction=0.5))
    assert overall.r_meas < unpolarised.statistics.overall.r_meas - 0.002
    found = {d.name: d for d in job.input_decisions[job.identifiers[0]]}
    assert found["slippage"].is_warning
    assert job.experiments[0].image_range == (1, 180)


@pytest.mark.parametrize(("name", "n_obs", "r_meas"), [("INTEGRATE.HKL", 1_990, 0.16), ("XDS_ASCII.HKL", 1_940, 0.14)])
def test_electron_diffraction_of_xds(data_root: Path, name: str, n_obs: int, r_meas: float) -> None:
    job = pyscale.read(data_root / "cinchonine_ed" / name)
    overall = pyscale.scale(job).statistics.overall
    assert overall.r_meas <= r_meas
    assert overall.n_obs >= n_obs
    found = {d.name: d for d in job.input_decisions[job.identifiers[0]]}
    assert not any(d.is_warning for d in found.values())
    assert ("flagged" in found) == (name == "XDS_ASCII.HKL")


def test_bijvoet_differences_as_outliers(data_root: Path) -> None:
    """A mercury derivative: dials.scale rejects 639 observations, true differences of mates among them."""
    job = pyscale.read(data_root / "hypf" / "hypf_unmerged.mtz")
    as_there = pyscale.scale(job, error_model="basic", outlier_mates="reject")
    assert as_there.statistics.overall.r_meas <= 0.080
    assert as_there.statistics.overall.n_obs >= 21_300
    kept = pyscale.scale(job, error_model="basic")
    assert kept.scaled.outlier.sum() < as_there.scaled.outlier.sum()
    for result in (as_there, kept):
        assert result.statistics_with_outliers.overall.r_meas <= 0.093
