"""The table of the worst observations."""

from __future__ import annotations

import numpy as np

import pyscale
from pyscale.dataset import make_job
from pyscale.result import ScalingResult
from pyscale.symmetry import to_asu


def test_every_entry_by_hand(small_result: ScalingResult) -> None:
    result = small_result
    obs, rogues = result.observations, result.analyses.rogues
    assert rogues.n_rejected == result.scaled.outlier.sum()
    assert sum(r.rejected is not None for r in rogues.worst) == min(50, rogues.n_rejected)
    names = [p.identifier for p in result.prepared]
    x = obs.intensity / result.scaled.g
    sigma = np.sqrt(result.fit.sigma_squared) / result.scaled.g
    for r in rogues.worst:
        (i,) = np.flatnonzero((obs.data_set == names.index(r.data_set)) & (obs.row == r.row))
        group = np.flatnonzero(obs.group == obs.group[i])
        others = [k for k in group if k != i and not (result.scaled.outlier | result.scaled.small_scale)[k]]
        weight = sigma[others] ** -2.0
        assert r.n_others == len(others)
        np.testing.assert_allclose([r.intensity, r.sigma], [x[i], sigma[i]])
        if others:
            mean = np.average(x[others], weights=weight)
            z = (x[i] - mean) / np.sqrt(sigma[i] ** 2 + 1 / weight.sum())
            np.testing.assert_allclose([r.mean_of_others, r.deviation], [mean, z], rtol=1e-9)
        else:
            assert r.mean_of_others is None and r.deviation is None
        table = result.prepared[names.index(r.data_set)].table
        np.testing.assert_array_equal([r.x, r.y, r.image], table.centroids()[r.row])
        assert r.panel == 0 and r.miller_index == table["miller_index"][r.row].tolist()
        assert r.asu_miller_index == to_asu(result.space_group, obs.miller_index[i : i + 1])[0][0].tolist()
        assert (r.rejected is not None) == bool(result.scaled.outlier[i])
        assert r.disputed == bool(result.fit.disputed[i])
    text = rogues.text().splitlines()
    assert len(text) == 2 + min(10, len(rogues.worst))


def test_worst_first_and_as_many_as_wanted() -> None:
    data = pyscale.simulate(d_min=4.0, sweep_width=80.0, oscillation_width=1.0, outlier_fraction=0.02, seed=4)
    job = make_job(data.experiments(), [data.reflections()])
    few = pyscale.scale(job, nproc=1, rogues=3).analyses.rogues
    many = pyscale.scale(job, nproc=1, rogues=1000).analyses.rogues
    assert few.worst == many.worst[:3]
    assert sum(r.rejected is not None for r in many.worst) == many.n_rejected > 10
    size = [max(abs(r.deviation or 0.0) / 6.0, r.e / 10.0) for r in many.worst]
    assert size == sorted(size, reverse=True)
    assert pyscale.scale(job, nproc=1, rogues=0).analyses.rogues is None


def test_nothing_to_tell() -> None:
    data = pyscale.simulate(d_min=4.0, sweep_width=80.0, oscillation_width=1.0, outlier_fraction=0.0, seed=4)
    clean = pyscale.scale(make_job(data.experiments(), [data.reflections()]), nproc=1)
    assert clean.analyses.rogues.worst == [] and clean.analyses.rogues.text() == ""
