"""Jobs of files of other programs: what does not go together, copies, damage, and what results keep."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import other_formats
import pyscale
from pyscale.dataset import load_job
from pyscale.errors import DataError
from pyscale.options.importing import InputOptions
from xds_files import small_sweep, write_integrate

CELL = (30.0, 40.0, 55.0, 90.0, 90.0, 90.0)


def write_hklf4(path: Path, n_batches: int = 2) -> Path:
    b = other_formats.simulated_batches(n_batches)
    path.write_text(other_formats.hklf4_text(b.index, b.intensity, b.sigma, b.batch))
    return path


@pytest.mark.parametrize(("group", "angle"), [("P 2 3", 90.0), ("P 2 2 2", 100.0), ("P 4", 90.0)])
def test_space_groups_that_the_cell_excludes_are_refused(tmp_path: Path, group: str, angle: float) -> None:
    path = write_hklf4(tmp_path / "x.hkl")
    job = pyscale.read(path, unit_cell=(*CELL[:4], angle, 90.0), space_group=group)
    with pytest.raises(DataError, match=r"x\.hkl: the unit cell 30\.00 40\.00 55\.00 .* does not go with space group"):
        pyscale.scale(job)


def test_cells_nearly_of_the_symmetry_are_taken(tmp_path: Path) -> None:
    path = write_hklf4(tmp_path / "x.hkl")
    job = pyscale.read(path, unit_cell=(30.0, 30.5, 55.0, 91.0, 89.0, 90.5), space_group="P 4")
    assert pyscale.scale(job).statistics.overall.n_obs > 0


def test_all_data_sets_without_a_suitable_reflection_are_named(tmp_path: Path) -> None:
    b = other_formats.simulated_batches(4)
    index = np.where(b.batch[:, None] % 2 == 0, 9, 1) * b.index
    path = tmp_path / "x.hkl"
    path.write_text(other_formats.hklf4_text(index, b.intensity, b.sigma, b.batch))
    job = pyscale.read(path, unit_cell=CELL, space_group="P 2 2 2")
    two, four = job.identifiers[1], job.identifiers[3]
    with pytest.raises(DataError, match=rf"data set {two} .*, nor of 1 more; .*exclude_datasets={two},{four}$"):
        pyscale.scale(job, d_min=3.4)
    chosen = {"exclude_datasets": [two, four]}
    assert pyscale.scale(job, d_min=3.4, dataset_selection=chosen).statistics.overall.n_obs > 0


def test_copies_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_hklf4(tmp_path / "x.hkl")
    options = InputOptions(unit_cell=CELL, space_group="P 2 2 2")
    pyscale.scale(load_job([path], options))
    assert "a copy of" not in caplog.text
    pyscale.scale(load_job([path, path], options))
    assert "Data set 0 is a copy of batch_1_" in caplog.text and "and 1 more are copies" in caplog.text


def test_results_of_a_mixed_job_can_be_scaled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Profile-fitted intensities with polarisation factors and beams, beside sums that have neither."""
    monkeypatch.chdir(tmp_path)
    data = small_sweep()
    truth = write_integrate(tmp_path / "INTEGRATE.HKL", data)
    (tmp_path / "x.hkl").write_text(other_formats.hklf4_text(truth["hkl"], truth["intensity"], truth["sigma"]))
    experiment = data.experiments()[0]
    options = InputOptions(
        unit_cell=tuple(experiment.unit_cell), space_group=experiment.space_group.xhm(), polarization_fraction=0.99
    )
    job = load_job(["INTEGRATE.HKL", "x.hkl"], options)
    result = pyscale.scale(job, reflection_selection={"method": "use_all"})
    result.write(experiments="scaled.expt", reflections="scaled.refl")
    written = pyscale.read("scaled.expt", "scaled.refl")
    xds, shelx = (d.reflections for d in written.data_sets)
    for name in ("lp", "s1", "intensity.prf.value"):
        assert_array_equal(xds[name], job.data_sets[0].reflections[name])
    assert_array_equal(shelx["intensity.sum.value"], job.data_sets[1].reflections["intensity.sum.value"])
    assert_array_equal(shelx["lp"], 1.0)
    again = pyscale.scale(written, reflection_selection={"method": "use_all"})
    assert again.statistics.overall.n_obs == result.statistics.overall.n_obs
    ratio = np.asarray(again.inverse_scale_factor) / np.asarray(result.inverse_scale_factor)
    assert_allclose(ratio / np.median(ratio), 1.0, atol=0.02)


def test_packed_files_that_cannot_be_read_so_are_named(tmp_path: Path) -> None:
    packed = tmp_path / "x.hkl.gz"
    packed.write_bytes(gzip.compress(write_hklf4(tmp_path / "x.hkl").read_bytes()))
    with pytest.raises(DataError, match="unpack it"):
        pyscale.read(packed)
