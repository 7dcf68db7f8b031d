"""Resolution shells, detector regions, and reflections that are scaled without being fitted."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.dataset import Job, make_job
from pyscale.dataset_selection import DataSetNames, assign_identifiers
from pyscale.errors import UsageError
from pyscale.exclude_reflections import parse_regions, parse_shells
from pyscale.reflections import Flag
from pyscale.result import ScalingResult

NAMES = DataSetNames(("a", "b"))


@pytest.fixture(scope="module")
def job() -> Job:
    """Two sweeps, called a and b."""
    data = pyscale.simulate(d_min=4.0, sweep_width=40.0, oscillation_width=1.0, n_sweeps=2, seed=6)
    return assign_identifiers(make_job(data.experiments(), [data.reflections()]), ["a", "b"])


def flagged(result: ScalingResult) -> list[np.ndarray]:
    return [(t["flags"] & np.uint64(int(Flag.user_excluded_in_scaling))) != 0 for t in result.tables]


@given(st.floats(0.5, 50).map(lambda x: round(x, 3)), st.floats(0.5, 50).map(lambda x: round(x, 3)))
def test_limits_of_a_shell_in_any_order(first: float, second: float) -> None:
    if first == second:
        return
    (shell,) = parse_shells([f"{first}:{second}"])
    assert (shell.d_min, shell.d_max) == (min(first, second), max(first, second))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3.9", "expected two resolutions"),
        ("3.9:x", "expected two resolutions"),
        ("3.9:nan", "expected two resolutions"),
        ("3.9:3.8:3.7", "expected two resolutions"),
        ("-3:4", "resolutions are positive"),
        ("0:4", "resolutions are positive"),
        ("4:4.0", "the shell has no width"),
    ],
)
def test_wrong_shells(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"option cut_data.exclude_resolution={text}: {reason}"):
        parse_shells([text])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0:1:2:3", "expected panel"),
        ("0:1:2:3:y", "expected panel"),
        ("-1:1:2:3:4", "expected panel"),
        ("0:5:5:0:9", "each upper limit must be greater"),
        ("0:0:9:7:5", "each upper limit must be greater"),
        ("c:0:0:9:0:9", "there is no data set c"),
        ("2:0:0:9:0:9", "there is no data set 2"),
    ],
)
def test_wrong_regions(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"option cut_data.exclude_regions.*{reason}"):
        parse_regions([text], NAMES)


def test_forms_of_regions() -> None:
    texts = ["0:10:20.5:0:9.25,b:1:0:9:0:9", "*:0:0:9:-3:9 #0:2:0:9:0:9"]
    found = [(r.identifier, r.panel, r.x, r.y) for r in parse_regions(texts, NAMES)]
    assert found == [
        (None, 0, (10.0, 20.5), (0.0, 9.25)),
        ("b", 1, (0.0, 9.0), (0.0, 9.0)),
        (None, 0, (0.0, 9.0), (-3.0, 9.0)),
        ("a", 2, (0.0, 9.0), (0.0, 9.0)),
    ]


def test_shells(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        result = pyscale.scale(job, exclude_resolution="6.0:5.0 4.4:4.2,300:200", nproc=1)
    n_removed = 0
    for table, rows in zip(result.tables, flagged(result), strict=True):
        d = table["d"]
        assert_array_equal(rows, ((d >= 5.0) & (d <= 6.0)) | ((d >= 4.2) & (d <= 4.4)))
        n_removed += int(rows.sum())
    assert sum(e.user_excluded["exclude_resolution"] for e in result.ledger) == n_removed > 100
    told = [r.getMessage() for r in caplog.records if "exclude_resolution=" in r.getMessage()]
    assert len(told) == 3
    assert sum(int(text.split()[-2]) for text in told[:2]) == n_removed
    assert told[2] == "cut_data.exclude_resolution=300:200: no reflection was there to remove"


def test_regions(job: Job) -> None:
    result = pyscale.scale(job, exclude_regions=["0:0:1100:0:5000", "b:0:1100:1200:0:1100"], nproc=1)
    for table, rows, identifier in zip(result.tables, flagged(result), "ab", strict=True):
        x, y, _ = table["xyzobs.px.value"].T
        expected = x <= 1100
        if identifier == "b":
            expected = expected | ((x <= 1200) & (y <= 1100))
        assert_array_equal(rows, expected)
    assert all(e.user_excluded["exclude_regions"] > 10 for e in result.ledger)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1:0:9:0:9", "the detector has only panels 0 to 0"),
        ("0:90000:90001:0:9", "lies wholly outside panel 0, which has"),
        ("0:0:9:-9:-1", "lies wholly outside panel 0"),
    ],
)
def test_regions_off_the_detector(job: Job, text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=f"exclude_regions={text}: {reason}"):
        pyscale.scale(job, exclude_regions=text)


def test_region_without_reflections(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        pyscale.scale(job, exclude_regions="0:0:0.5:0:0.5", nproc=1)
    (record,) = [r for r in caplog.records if "exclude_regions=" in r.getMessage()]
    assert "no reflection was there to remove" in record.getMessage()
    assert record.notice


def test_an_excluded_data_set_has_no_regions(job: Job) -> None:
    result = pyscale.scale(job, exclude_regions="b:0:0:1100:0:5000", exclude_datasets="b", nproc=1)
    assert not flagged(result)[0].any()


def test_least_partiality_of_the_fit(job: Job) -> None:
    """Below min_partiality rows are scaled and merged, but the fit is that without them."""
    partial = job.select([0, 1])
    rng = np.random.default_rng(1)
    low = []
    for data_set in partial.data_sets:
        z = data_set.reflections["xyzobs.px.value"][:, 2]
        # First and last images stay, so that the nodes do.
        rows = (rng.random(len(z)) < 0.2) & (z > 5) & (z < 35)
        data_set.reflections["partiality"] = np.where(rows, 0.5, 1.0)
        data_set.reflections["partial_id"] = np.arange(len(z), dtype=np.uint64)
        low.append(rows)
    fixed: dict[str, Any] = {"intensity_choice": "profile", "outlier_rejection": None, "emax": None, "nproc": 1}
    ours = pyscale.scale(partial, min_partiality=0.6, **fixed)
    theirs = pyscale.scale(partial, partiality_cutoff=0.6, **fixed)
    assert ours.fit.n_observations == theirs.fit.n_observations
    # Variances of expected counts are estimated from all rows.
    assert_allclose(ours.fit.parameters, theirs.fit.parameters, rtol=1e-4, atol=1e-4)
    for table, rows in zip(ours.tables, low, strict=True):
        assert ((table["flags"][rows] & np.uint64(int(Flag.scaled))) != 0).all()
        assert (table["inverse_scale_factor_variance"][rows] > 0).all()
    n_low = sum(int(rows.sum()) for rows in low)
    assert n_low > 100
    assert ours.statistics.overall.n_obs == theirs.statistics.overall.n_obs + n_low
    assert [e.used_in_fit for e in ours.ledger] == [e.used_in_fit for e in theirs.ledger]
    default = pyscale.scale(partial, **fixed)
    assert sum(e.used_in_fit for e in default.ledger) > sum(e.used_in_fit for e in ours.ledger)
