"""Overloaded and overlapped reflections: used, in part, or left out, as the options say."""

from __future__ import annotations

import numpy as np
import pytest

import pyscale
from pyscale.dataset import make_job
from pyscale.flags import Flag


def scaled(flags_of, **options):
    """Scale a sweep whose first rows carry flags; a quarter of them have no profile-fitted intensity."""
    data = pyscale.simulate(d_min=4.0, sweep_width=90.0, oscillation_width=1.0, outlier_fraction=0.0, seed=3)
    table = data.reflections()
    flags = table["flags"].copy()
    flags[:40] |= np.uint64(int(flags_of))
    flags[:10] &= ~np.uint64(int(Flag.integrated_prf))
    table["flags"] = flags
    spoiled = table["intensity.sum.value"].copy()
    spoiled[:40] *= 0.1
    table["intensity.sum.value"] = spoiled
    return pyscale.scale(make_job(data.experiments(), [table]), nproc=1, **options)


@pytest.mark.parametrize(("choice", "gone"), [("profile", 10), ("keep", 0), ("drop", 40)])
def test_overloaded(choice, gone):
    result = scaled(Flag.overloaded, overloaded=choice)
    assert result.ledger[0].filtered.get("overloaded", 0) == gone
    entry = result.ledger[0]
    parts = (entry.filtered, entry.user_excluded, entry.rejected)
    assert entry.read == entry.merged + sum(sum(p.values()) for p in parts)


def test_profile_is_the_default_and_uses_no_sum_over_saturated_pixels():
    default = scaled(Flag.overloaded, intensity_choice="sum")
    obs = default.observations
    overloaded = obs.row < 40
    profile = obs.integrated.profile
    assert np.isnan(obs.integrated.summation[overloaded]).all()
    assert not np.isnan(obs.integrated.summation[~overloaded]).any()
    assert overloaded.sum() == 30
    converted = (profile * obs.integrated.conversion)[overloaded]
    np.testing.assert_allclose(obs.intensity[overloaded], converted)


@pytest.mark.parametrize(
    ("flag", "choice", "gone"),
    [
        (Flag.overlapped_fg, "keep", 0),
        (Flag.overlapped_fg, "drop_foreground", 40),
        (Flag.overlapped_fg, "drop", 40),
        (Flag.overlapped_bg, "keep", 0),
        (Flag.overlapped_bg, "drop_foreground", 0),
        (Flag.overlapped_bg, "drop", 40),
    ],
)
def test_overlapped(flag, choice, gone):
    result = scaled(flag, overlapped=choice)
    assert result.ledger[0].filtered.get("overlapped", 0) == gone
