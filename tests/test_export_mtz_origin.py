"""Unmerged MTZ files in and out again: batches, indices, history and columns are what they were."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mtz_files import simulate_sweep, write_mtz
from pyscale.cli import main


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sweeps whose batches do not begin at 1, complete reflections only, with columns of their own."""
    path = tmp_path_factory.mktemp("mtz") / "in.mtz"
    sweeps = [
        simulate_sweep(1, first_batch=201, n_images=40),
        simulate_sweep(2, first_batch=11, n_images=30, start=90.0),
    ]
    rng = np.random.default_rng(7)

    def more(records: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        n = len(records["H"])
        return records | {"TIME": rng.permutation(n) / 8.0, "BG": rng.random(n), "LP": rng.uniform(0.1, 1.0, n)}

    write_mtz(path, sweeps, partials=False, columns=more, history=["From MOSFLM, version 7", "second line"])
    return path


def by_time(path: Path) -> tuple[gemmi.Mtz, dict[str, np.ndarray]]:
    """Columns with the indices as observed, sorted by the column TIME, of which no two are alike."""
    mtz = gemmi.read_mtz_file(str(path))
    assert mtz.switch_to_original_hkl()
    columns = {label: np.array(mtz.column_with_label(label).array) for label in mtz.column_labels()}
    order = np.argsort(columns["TIME"])
    return mtz, {label: values[order] for label, values in columns.items()}


@pytest.mark.parametrize("scaled", [False, True])
def test_mtz_in_and_out(scaled: bool, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if scaled:
        assert main(["scale", str(original), "nproc=1", "output.unmerged_mtz=out.mtz"]) == 0
    else:
        assert main(["export", str(original), "hklout=out.mtz"]) == 0
    before, old = by_time(original)
    after, new = by_time(tmp_path / "out.mtz")
    rows = np.searchsorted(old["TIME"], new["TIME"])
    assert_array_equal(old["TIME"][rows], new["TIME"])
    assert len(rows) > 0.9 * len(old["TIME"])
    for label in ("H", "K", "L", "BATCH", "XDET", "YDET", "ROT", "BG", "LP"):
        if label in old:
            assert_allclose(new[label], old[label][rows], rtol=1e-6, atol=1e-3, err_msg=label)
    if not scaled:
        assert_allclose(new["I"], old["I"][rows], rtol=1e-6)
        assert_allclose(new["SIGI"], old["SIGI"][rows], rtol=1e-6)
    headers = {b.number: b for b in before.batches}
    assert {b.number for b in after.batches} == headers.keys()
    for batch in after.batches:
        assert_array_equal(list(batch.floats), list(headers[batch.number].floats))
    assert after.history[0].startswith("From pyscale") and after.history[1:3] == before.history
    assert {c.label for c in after.columns} >= {"TIME", "BG", "LP"}


def test_headers_of_another_indexing_are_not_taken_over(original: Path, tmp_path: Path) -> None:
    """Where the crystal is described anew, its old orientation is not true any more."""
    from pyscale.dataset import load_job
    from pyscale.exporting import export_job
    from pyscale.options.export import ExportOptions

    job = load_job([original])
    crystal = dict(job.experiments[0].crystal or {})
    turned = {f"real_space_{x}": [-v for v in crystal[f"real_space_{x}"]] for x in "ab"}
    job.experiments.set_model(0, "crystal", {**crystal, **turned})
    job = job.replaced(job.experiments, [d.reflections for d in job.data_sets])
    export_job(job, ExportOptions(hklout=str(tmp_path / "out.mtz"))).write()
    before = {b.number: list(b.floats) for b in gemmi.read_mtz_file(str(original)).batches}
    after = {b.number: list(b.floats) for b in gemmi.read_mtz_file(str(tmp_path / "out.mtz")).batches}
    turned_first = job.data_sets[0].experiment.image_range
    assert turned_first is not None
    other = next(n for n in (11, 201) if n != turned_first[0])
    u = np.array([found[turned_first[0]][6:15] for found in (before, after)])
    assert np.abs(u[0] - u[1]).max() > 0.1
    assert_array_equal(before[other], after[other])
