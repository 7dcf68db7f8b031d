"""The columns that scaling adds: values by formula, flags by fate."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

import pyscale
from pyscale.dataset import make_job
from pyscale.fates import fate_number
from pyscale.merge_job import MergingRules
from pyscale.options.merge import MergeOptions
from pyscale.reflections import Flag
from pyscale.result import ScalingResult

ADDED = {
    "inverse_scale_factor",
    "inverse_scale_factor_variance",
    "intensity.scale.value",
    "intensity.scale.variance",
    "d",
    "n_records",
    "pyscale_fate",
    "pyscale_scale_correlation",
}


def flagged(flags: np.ndarray, flag: Flag) -> np.ndarray:
    return (flags & np.uint64(int(flag))) != 0


def test_flags_tell_the_fate(small_result: ScalingResult) -> None:
    result = small_result
    n_outliers = 0
    for k, (p, table) in enumerate(zip(result.prepared, result.tables, strict=True)):
        here = result.observations.data_set == k
        rows = result.observations.row[here]
        outlier, small, absent = (np.zeros(len(table), np.bool_) for _ in range(3))
        outlier[rows] = result.scaled.outlier[here]
        small[rows] = result.scaled.small_scale[here]
        absent[rows] = result.observations.absent[here]
        by_user, filtered = np.zeros(len(table), np.bool_), np.zeros(len(table), np.bool_)
        for fate in p.fates:
            if fate.kind == "user_excluded":
                by_user |= fate.rows
            else:
                filtered |= fate.rows
        flags = table["flags"]
        assert_array_equal(flagged(flags, Flag.user_excluded_in_scaling), by_user)
        assert_array_equal(flagged(flags, Flag.outlier_in_scaling), outlier)
        assert_array_equal(flagged(flags, Flag.excluded_for_scaling), filtered | small | absent)
        # every row has one fate: used, or one of those
        scaled = flagged(flags, Flag.scaled)
        assert_array_equal(scaled, ~(by_user | filtered | outlier | small | absent))
        assert by_user.any() and filtered.any()
        n_outliers += np.count_nonzero(outlier)
        assert_array_equal(table["pyscale_fate"][rows], result.fit.fate[here])
        for fate in p.fates:
            assert (table["pyscale_fate"][fate.rows] == fate_number(fate.kind, fate.reason)).all()
        # bits of integration stay
        bits = np.uint64(int(Flag.bad_for_scaling | Flag.scaled))
        assert_array_equal(flags & ~bits, p.table["flags"] & ~bits)
    assert n_outliers > 0


def test_values(small_result: ScalingResult) -> None:
    result = small_result
    scaled, fit = result.scaled, result.fit
    for k, (p, table) in enumerate(zip(result.prepared, result.tables, strict=True)):
        assert len(table) == len(p.table)
        here = result.observations.data_set == k
        rows = result.observations.row[here]
        assert_array_equal(table["intensity.scale.value"][rows], result.observations.intensity[here])
        assert_array_equal(table["inverse_scale_factor"][rows], scaled.g[here])
        merged = fit.expected[here] / scaled.g[here]
        total = fit.sigma_squared[here] + merged**2 * scaled.g_variance[here]
        plain = ~fit.disputed[here]
        assert_allclose(table["intensity.scale.variance"][rows][plain], total[plain], rtol=1e-12)
        assert (table["intensity.scale.variance"][rows] >= total * (1 - 1e-12)).all()
        assert_array_equal(table["d"][rows], result.observations.d_spacing[here])
        others = np.setdiff1d(np.arange(len(table)), rows)
        assert others.size > 0
        assert_array_equal(table["inverse_scale_factor"][others], 1.0)
        assert_array_equal(table["inverse_scale_factor_variance"][others], 0.0)
        for name in ADDED:
            assert np.isfinite(table[name]).all(), name


def test_scale_errors_as_dials_adds_them() -> None:
    data = pyscale.simulate(unit_cell=(20.0, 24.0, 30.0, 90.0, 90.0, 90.0), d_min=3.0, sweep_width=120.0)
    job = make_job(data.experiments(), [data.reflections()])
    result = pyscale.scale(job, output={"scale_errors": "linear"}, nproc=1)
    scaled, table = result.scaled, result.table
    variance = table["intensity.scale.variance"][result.observations.row]
    expected = result.fit.sigma_squared * (1 + np.sqrt(scaled.g_variance) / scaled.g)
    assert_allclose(variance, expected, rtol=1e-12)
    own = next(iter(result.experiments)).scaling_model["configuration_parameters"]["pyscale"]
    assert own["scale_errors"] == "linear"
    written = make_job(result.experiments, [table])
    assert not MergingRules(written, MergeOptions()).common_scale_errors


def test_columns(small_result: ScalingResult) -> None:
    for p, table in zip(small_result.prepared, small_result.tables, strict=True):
        assert set(table.names()) == set(p.table.names()) | ADDED
        assert not ADDED & (set(p.table.names()) - {"d", "n_records"})
        for name in ("miller_index", "intensity.sum.value", "partiality", "s1"):
            assert_array_equal(table[name], p.table[name])
