"""Many data sets: prepared together as apart, in whatever order and number of files, and told of in few words."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.dataset import Job, make_job
from pyscale.options import ScalingOptions
from pyscale.preparation import median_unit_cell, prepare, prepare_all
from pyscale.prepared import blocks_of
from pyscale.reflections import Flag, ReflectionTable
from pyscale.report import render_report
from pyscale.unit_cells import unit_cells, wavelengths

N = 70


@pytest.fixture(scope="module")
def job() -> Job:
    data = pyscale.simulate(kind="stills", n_stills=N, d_min=3.0, seed=5)
    return make_job(data.experiments(), [data.reflections()])


def spoilt(job: Job) -> Job:
    """Rows that are not indexed, not integrated or weak, and partials, scattered over all data sets."""
    table = ReflectionTable.concatenate([d.reflections for d in job.data_sets])
    n = len(table)
    index, flags = table["miller_index"].copy(), table["flags"].copy()
    index[::17] = 0
    flags[::13] &= ~np.uint64(int(Flag.integrated))
    partial_id = table["partial_id"].copy()
    partial_id[1::11], index[1::11] = partial_id[0:-1:11][: len(partial_id[1::11])], index[0:-1:11][: len(index[1::11])]
    for name in ("xyzcal.px", "entering", "panel"):
        if name in table:
            values = table[name].copy()
            values[1::11] = values[0:-1:11][: len(values[1::11])]
            table[name] = values
    table["miller_index"], table["flags"], table["partial_id"] = index, flags, partial_id
    table["partiality"] = np.where(np.arange(n) % 29 == 0, 0.0, 0.6 * table["partiality"])
    return make_job(job.experiments, [table])


@pytest.mark.parametrize("arrangement", ["one table", "shuffled", "a table each"])
def test_prepared_together_as_apart(job: Job, arrangement: str) -> None:
    job = spoilt(job)
    options = ScalingOptions()
    cell = median_unit_cell(job.experiments)
    apart = [prepare(d, cell, options) for d in job.data_sets]
    table = ReflectionTable.concatenate([d.reflections for d in job.data_sets])
    tables = [table]
    if arrangement == "shuffled":
        # data sets interleaved, each in its order: the first part of a reflection is the one that stays
        order = np.empty(len(table), np.int64)
        order[np.argsort(np.random.default_rng(1).permutation(table["id"]), kind="stable")] = np.arange(len(table))
        tables = [table.select(order)]
    elif arrangement == "a table each":
        tables = [table.select(np.flatnonzero(table["id"] == k)) for k in range(N)]
        for k, part in enumerate(tables):
            part.identifiers = {k: table.identifiers[k]}
    together = prepare_all(make_job(job.experiments, tables).data_sets, cell, options)
    assert len(blocks_of(together)) == 1
    assert sum(p.n_partials_merged for p in apart) > N
    for one, other in zip(apart, together, strict=True):
        assert (one.identifier, one.n_read, one.n_partials_merged) == (
            other.identifier,
            other.n_read,
            other.n_partials_merged,
        )
        for name in ("intensity", "variance", "d_spacing", "image_z", "suitable", "absent"):
            assert_array_equal(getattr(one, name), getattr(other, name))
        fates = [{f.reason: int(f.rows.sum()) for f in p.fates} for p in (one, other)]
        assert fates[0] == fates[1]
        assert len(fates[0]) >= 3 or one.n_rows < 40
    counts = blocks_of(together)[0].counts().sum(axis=0)
    reasons = [reason for _, reason in blocks_of(together)[0].reasons]
    for k, reason in enumerate(reasons):
        assert counts[k] == sum(int(f.rows.sum()) for p in apart for f in p.fates if f.reason == reason)


def test_scales_do_not_depend_on_how_the_data_sets_are_stored(job: Job) -> None:
    tables = [d.reflections.copy() for d in job.data_sets]
    one = pyscale.scale(job, nproc=1)
    each = pyscale.scale(make_job(job.experiments, [t.select(np.arange(len(t))) for t in tables]), nproc=1)
    assert_array_equal(one.inverse_scale_factor, each.inverse_scale_factor)
    assert_array_equal(one.table["flags"], each.table["flags"])
    assert_array_equal(one.table["id"], np.repeat(np.arange(N), [len(t) for t in tables]))
    assert [len(t) for t in one.tables] == [len(t) for t in tables]


def test_logs_and_report_name_the_first_ones(
    job: Job, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyscale.ledger._MOST_LISTED", 50)
    monkeypatch.setattr("pyscale.report.tables._MAX_ROWS", 50)
    caplog.set_level(logging.INFO, "pyscale")
    result = pyscale.scale(make_job(job.experiments, [d.reflections.copy() for d in job.data_sets]), nproc=1)
    assert f"({N} in all)" in caplog.text
    assert caplog.text.count("The scaling model of") == 1
    assert f"The scaling model of {N} data sets" in caplog.text
    assert "all together" in caplog.text
    assert caplog.text.count(job.identifiers[-1]) == 0
    assert "20 more data sets are in the JSON file" in render_report(result)
    result.write(tmp_path / "a.expt", tmp_path / "a.refl")
    assert pyscale.read(tmp_path / "a.expt", tmp_path / "a.refl").identifiers == job.identifiers


def test_cells_and_wavelengths_of_many_are_those_of_each(job: Job) -> None:
    assert_allclose(unit_cells(job.experiments), [e.unit_cell for e in job.experiments], rtol=1e-14)
    assert wavelengths(job.experiments) == [e.wavelength for e in job.experiments]
