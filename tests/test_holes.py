"""A hole in the middle of a sweep: the fit goes on as if nothing had happened elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pyscale
from pyscale.reflections import Flag
from pyscale.result import ScalingResult


def changes_in_sigmas(before: ScalingResult, after: ScalingResult) -> np.ndarray:
    """Change of ln g of the rows scaled in both, in the same gauge, in units of its uncertainty."""
    old, new = before.table, after.table
    scaled = np.uint64(int(Flag.scaled))
    both = ((old["flags"].astype(np.uint64) & new["flags"].astype(np.uint64)) & scaled) != 0
    change = np.log(new["inverse_scale_factor"][both] / old["inverse_scale_factor"][both])
    gauge = np.stack([np.ones(change.size), 0.5 / new["d"][both] ** 2], axis=1)
    change -= gauge @ np.linalg.lstsq(gauge, change, rcond=None)[0]
    sigma = np.sqrt(new["inverse_scale_factor_variance"][both]) / new["inverse_scale_factor"][both]
    deviations: np.ndarray = change / sigma
    return deviations


@pytest.fixture(scope="module")
def sweep(data_root: Path) -> pyscale.Job:
    folder = data_root / "l_cysteine"
    return pyscale.read(folder / "20_integrated.expt", folder / "20_integrated.refl")


def test_hole_as_wide_as_the_spacing(sweep: pyscale.Job) -> None:
    whole = pyscale.scale(sweep)
    interval = whole.models[0].components[0].interval_deg
    n_images = round(interval / 0.1)
    holed = pyscale.scale(sweep, exclude_images=(f"826:{825 + n_images}",))
    assert holed.fit.termination in ("converged", "no_further_decrease")
    assert holed.fit.covariance.undetermined == []
    z = changes_in_sigmas(whole, holed)
    assert np.sqrt(np.mean(z**2)) < 1.0 and np.abs(z).max() < 4.0


def test_parameters_in_a_wide_hole_follow_their_neighbours_and_are_named(sweep: pyscale.Job) -> None:
    first, last = 301, 1300
    holed = pyscale.scale(sweep, exclude_images=(f"{first}:{last}",))
    scale = holed.models[0].component("scale")
    assert scale is not None
    named = holed.fit.without_data["scale of data set 0"]
    nodes = scale.axes[0].node_coordinates()
    reach = 1.5 * (nodes[1] - nodes[0])
    empty = [k for k, z in enumerate(nodes) if first + reach < z < last - reach]
    assert len(empty) >= 3 and set(empty) <= set(named)
    assert all(first < nodes[k] < last for k in named)
    steps = np.diff(scale.parameters[[empty[0] - 1, *empty, empty[-1] + 1]])
    assert (steps > 0).all() or (steps < 0).all()
    assert holed.fit.covariance.undetermined == []


def test_without_smoothness_the_hole_is_reported_as_undetermined(sweep: pyscale.Job) -> None:
    holed = pyscale.scale(sweep, exclude_images=("301:1300",), smoothness=0.0)
    assert any("data set 0 scale" in name for name in holed.fit.covariance.undetermined)
