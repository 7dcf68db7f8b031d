"""Nothing depends on the unit of the intensities: no parameter, outlier, statistic or verdict, on real data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyscale
from pyscale.dataset import Job, load_job
from pyscale.result import ScalingResult

SETS = (
    "gamma_xe/descaled_unmerged.mtz",
    "cry2pk/INTEGRATE.HKL",
    "quartz_ed/integrated.*",
    "l_cysteine/2?_integrated.*",
)


def in_other_unit(job: Job, unit: float) -> Job:
    """Multiply intensities by a factor, variances by its square."""
    for data_set in job.data_sets:
        table = data_set.reflections
        for which in ("sum", "prf"):
            for what, factor in (("value", unit), ("variance", unit**2)):
                name = f"intensity.{which}.{what}"
                if name in table:
                    table[name] = table[name] * factor
    return job


def verdicts(result: ScalingResult) -> dict[str, Any]:
    """What analyses conclude."""
    analyses = result.analyses.to_dict()
    names = (("twinning", "verdict"), ("anisotropy", "verdict"), ("radiation_damage", "site_specific"))
    return {name: (analyses[name] or {}).get(key) for name, key in names}


@pytest.mark.parametrize("files", SETS)
def test_another_unit_changes_nothing(data_root: Path, files: str) -> None:
    paths = sorted(data_root.glob(files))
    plain = pyscale.scale(load_job(paths))
    for unit in (1e-4, 1e4):
        other = pyscale.scale(in_other_unit(load_job(paths), unit))
        np.testing.assert_array_equal(other.fit.outlier, plain.fit.outlier)
        np.testing.assert_allclose(other.fit.g, plain.fit.g, rtol=1e-8)
        found, expected = other.fit.error_models.common, plain.fit.error_models.common
        assert (found.a, found.b, found.c) == pytest.approx((expected.a, expected.b, expected.c * unit), rel=1e-6)
        before, after = (r.statistics.overall.to_dict() for r in (plain, other))
        before["mean_intensity"] *= unit
        assert after == pytest.approx(before, rel=1e-8, abs=1e-9, nan_ok=True)
        assert verdicts(other) == verdicts(plain)
        assert other.warnings() == plain.warnings()
    assert plain.fit.error_model_fit is not None
    assert plain.fit.error_model_fit.converged
