"""Anisotropy against known truth: tensors that symmetry allows, fall-off, ellipsoid, verdict, and the cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from scipy.stats import chi2

import pyscale
from pyscale.analysis.anisotropy import Anisotropy
from pyscale.analysis.falloff import fit_anisotropic_b, fit_surface
from pyscale.analysis.merged_groups import reciprocal_vectors
from pyscale.analysis.tensors import direction_text, principal_axes, quadratic_terms, tensor_basis
from pyscale.errors import UsageError
from pyscale.quantiles import chi_squared_probability
from pyscale.reflections import Flag
from pyscale.report import render_report
from pyscale.result import ScalingResult
from pyscale.symmetry import epsilon_and_centric, possible_reflections, rotation_matrices

CELLS = {
    "P 1": ((25.0, 30.0, 33.0, 80.0, 95.0, 100.0), 6),
    "P 1 21 1": ((35.0, 42.0, 40.0, 90.0, 105.0, 90.0), 4),
    "P 21 21 21": ((38.0, 48.0, 62.0, 90.0, 90.0, 90.0), 3),
    "P 43 21 2": ((57.0, 57.0, 40.0, 90.0, 90.0, 90.0), 2),
    "P 31 2 1": ((45.0, 45.0, 70.0, 90.0, 90.0, 120.0), 2),
    "R 3 2:R": ((50.0, 50.0, 50.0, 75.0, 75.0, 75.0), 2),
    "P 61 2 2": ((45.0, 45.0, 60.0, 90.0, 90.0, 120.0), 2),
    "P 2 3": ((50.0, 50.0, 50.0, 90.0, 90.0, 90.0), 1),
}


@pytest.mark.parametrize("name", CELLS)
def test_allowed_tensors(name: str) -> None:
    cell, k = CELLS[name]
    basis = tensor_basis(cell, name)
    assert len(basis) == k
    assert np.einsum("aij,bij->ab", basis, basis) == pytest.approx(np.eye(k), abs=1e-9)
    index = np.random.default_rng(1).integers(-9, 10, (50, 3)).astype(np.int32)
    values = quadratic_terms(reciprocal_vectors(cell, index), basis)
    for rotation in rotation_matrices(name):
        assert quadratic_terms(reciprocal_vectors(cell, index @ rotation), basis) == pytest.approx(values, abs=1e-9)
    tensor = np.tensordot(np.random.default_rng(2).normal(size=k), basis, axes=1)
    axes = principal_axes(tensor, basis, cell)
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-8)
    assert np.linalg.det(axes) == pytest.approx(1.0)
    turned = axes @ tensor @ axes.T
    assert turned == pytest.approx(np.diag(np.diag(turned)), abs=1e-8)


def test_a_cell_a_little_off_its_symmetry_has_no_more_tensors() -> None:
    assert len(tensor_basis((38.0, 48.0, 62.0, 90.1, 89.9, 90.05), "C 2 2 2")) == 3


def test_directions_in_words() -> None:
    cell = CELLS["P 61 2 2"][0]
    basis = tensor_basis(cell, "P 61 2 2")
    axes = principal_axes(np.eye(3), basis, cell)
    assert [direction_text(a, cell) for a in axes] == ["a*", "- 0.45 a* + 0.89 b*", "c*"]
    cell = CELLS["P 1 21 1"][0]
    assert direction_text(np.array([0.0, 1.0, 0.0]), cell) == "b*"


def test_chi_squared() -> None:
    for freedom in (1, 2, 3, 4, 5):
        for value in (0.1, 1.0, 5.0, 40.0):
            assert chi_squared_probability(value, freedom) == pytest.approx(chi2.sf(value, freedom), rel=1e-9)
    assert chi_squared_probability(0.0, 3) == 1.0


@pytest.mark.parametrize("name", ["P 1 21 1", "P 21 21 21", "P 43 21 2"])
def test_fall_off_is_recovered_with_right_errors(name: str) -> None:
    cell, _ = CELLS[name]
    rng, basis = np.random.default_rng(5), tensor_basis(cell, name)
    index = possible_reflections(cell, name, 2.4)
    vectors = reciprocal_vectors(cell, index)
    centric = epsilon_and_centric(name, index)[1]
    true = np.array([0.0, 8.0, -5.0, 4.0])[: len(basis)]
    mean = 50.0 * np.exp(-10.0 * np.sum(vectors**2, axis=1) - 0.5 * quadratic_terms(vectors, basis) @ true)
    pulls = []
    for _ in range(40):
        z = np.where(centric, rng.chisquare(1, len(mean)), rng.exponential(size=len(mean)))
        observed = mean * z + 2.0 * rng.normal(size=len(mean))
        fit = fit_anisotropic_b(observed, np.full(len(mean), 2.0), np.where(centric, 2.0, 1.0), vectors, basis)
        assert fit is not None
        pulls.append((fit.coefficients - true[1:]) / np.sqrt(np.diag(fit.covariance)))
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.6)
    assert 0.75 < np.sqrt(np.mean(np.square(pulls))) < 1.3


def noisy_sphere(rng: np.random.Generator, limits: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """I/sigma whose mean is 1.2 on the ellipsoid of these limits."""
    cell, _ = CELLS["P 21 21 21"]
    vectors = reciprocal_vectors(cell, possible_reflections(cell, "P 21 21 21", 1.8))
    mean = 1.2 * np.exp(3.0 * (1.0 - np.sum((vectors * limits) ** 2, axis=1)))
    return vectors, mean * rng.exponential(size=len(mean)) + rng.normal(size=len(mean))


def test_ellipsoid_with_right_errors_and_an_unmeasured_cone() -> None:
    basis = tensor_basis(*CELLS["P 21 21 21"][:1], "P 21 21 21")
    limits = (2.8, 2.3, 2.0)
    pulls = []
    for seed in range(40):
        vectors, z = noisy_sphere(np.random.default_rng(seed), limits)
        if seed % 2:  # not measured within 40 degrees of the weak direction, and of nothing else
            measured = vectors[:, 0] ** 2 < 0.59 * np.sum(vectors**2, axis=1)
            vectors, z = vectors[measured], z[measured]
        surface = fit_surface(z, vectors, basis, 1.2)
        assert surface is not None
        square, error = surface.along(np.eye(3))
        pulls.append((square - np.square(limits)) / error)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 0.8)
    assert 0.7 < np.std(pulls) < 1.35


def test_no_ellipsoid_in_strong_or_weak_data() -> None:
    rng, basis = np.random.default_rng(7), tensor_basis(*CELLS["P 21 21 21"][:1], "P 21 21 21")
    vectors, z = noisy_sphere(rng, (0.5, 0.5, 0.5))
    assert fit_surface(z, vectors, basis, 1.2) is None
    assert fit_surface(rng.normal(size=len(z)), vectors, basis, 1.2) is None
    assert fit_surface(z[:50], vectors[:50], basis, 1.2) is None


SMALL = {"d_min": 2.2, "wilson_b": 30.0, "mean_intensity": 20.0, "sweep_width": 120.0, "seed": 5}


def scaled(folder: Path, keywords: dict[str, Any], **options: Any) -> ScalingResult:
    files = pyscale.simulate(**{**SMALL, **keywords}).write(folder)[:2]
    return pyscale.scale(pyscale.read(*files), **options)


def anisotropy_of(result: ScalingResult) -> Anisotropy:
    found = result.analyses.anisotropy
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "b"),
    [
        ("P 21 21 21", (0.0, 30.0, 0.0)),
        ("P 61 2 2", (25.0, 25.0, 0.0)),
        ("P 1 21 1", (0.0, 0.0, 30.0)),
        ("P 1", (30.0, 0.0, 0.0)),
    ],
)
def test_verdicts(tmp_path: Path, name: str, b: tuple[float, float, float]) -> None:
    crystal = {"unit_cell": CELLS[name][0], "space_group": name}
    clean = anisotropy_of(scaled(tmp_path / "clean", crystal))
    assert clean.verdict in ("isotropic", "slight") and clean.warnings() == []
    result = scaled(tmp_path / "anisotropic", crystal | {"anisotropic_b": b})
    found = anisotropy_of(result)
    assert found.verdict == "anisotropic" and found.p_fall is not None and found.p_fall < 1e-3
    truth = np.load(tmp_path / "anisotropic" / "truth.npz")["crystal/anisotropic_b"]
    for d in found.directions:
        axis = np.array(d.axis)
        assert d.delta_b is not None and d.delta_b_sigma is not None
        assert abs(d.delta_b - (axis @ truth @ axis - np.trace(truth) / 3)) < 5 * d.delta_b_sigma
    assert max(found.directions, key=lambda d: d.delta_b or 0.0).d_min == max(d.d_min or 0.0 for d in found.directions)


def test_cubic_crystals_are_isotropic_by_symmetry(tmp_path: Path) -> None:
    found = anisotropy_of(scaled(tmp_path, {"unit_cell": CELLS["P 2 3"][0], "space_group": "P 2 3", "d_min": 3.0}))
    assert found.verdict == "by_symmetry" and found.p_fall is None


def test_the_simulation_refuses_tensors_that_break_the_symmetry() -> None:
    with pytest.raises(UsageError, match="anisotropic_b"):
        pyscale.simulate(unit_cell=CELLS["P 2 3"][0], space_group="P 2 3", anisotropic_b=(1.0, 0.0, 0.0), d_min=5.0)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[ScalingResult, ScalingResult]:
    """An anisotropic set, whole and cut."""
    folder, strong = tmp_path_factory.mktemp("cut"), {"anisotropic_b": (0.0, 40.0, 0.0)}
    whole = scaled(folder, strong)
    files = [folder / "simulated.expt", folder / "simulated.refl"]
    return whole, pyscale.scale(pyscale.read(*files), anisotropic_cut=True, d_min="auto")


def test_the_cut(both: tuple[ScalingResult, ScalingResult]) -> None:
    whole, cut = both
    assert anisotropy_of(whole).warnings() and not anisotropy_of(cut).warnings()
    assert np.array_equal(whole.inverse_scale_factor, cut.inverse_scale_factor)
    surface = anisotropy_of(cut).surface
    assert surface is not None
    flags = cut.table["flags"].astype(np.int64)
    merged = (flags & int(Flag.scaled)) != 0
    excluded = (flags & int(Flag.user_excluded_in_scaling)) != 0
    vectors = reciprocal_vectors(cut.unit_cell, cut.table["miller_index"])
    inside = np.einsum("ij,jk,ik->i", vectors, surface.tensor, vectors) <= 1.0
    assert not np.any(merged & ~inside) and not np.any(excluded & inside) and not np.any(excluded & merged)
    (entry,) = cut.ledger
    assert entry.user_excluded == {"anisotropic_cut": int(excluded.sum())}
    gone = [entry.partials_merged, *entry.filtered.values(), *entry.user_excluded.values(), *entry.rejected.values()]
    assert entry.read == sum(gone) + entry.merged
    assert entry.merged == int(merged.sum()) == pyscale.merge(cut).data_sets[0].statistics.overall.n_obs
    assert cut.limits.decisions["cut_data.d_min"].value == "ellipsoid"


def test_completeness_of_the_ellipsoid(both: tuple[ScalingResult, ScalingResult]) -> None:
    cut = both[1]
    found, overall = anisotropy_of(cut), cut.statistics.overall
    assert found.inside is not None and found.surface is not None
    limits = (overall.d_min * (1 - 1e-7), overall.d_max * (1 + 1e-7))
    possible = possible_reflections(cut.unit_cell, cut.space_group, *limits)
    vectors = reciprocal_vectors(cut.unit_cell, possible)
    n = int(np.sum(np.einsum("ij,jk,ik->i", vectors, found.surface.tensor, vectors) <= 1.0))
    assert found.inside.overall["n_possible_ellipsoidal"] == n
    assert found.inside.overall["completeness"] == overall.completeness
    assert overall.completeness < found.inside.overall["completeness_ellipsoidal"] <= 1.0
    assert sum(s["n_possible_ellipsoidal"] for s in found.inside.shells) == pytest.approx(n, abs=2)


def test_mmcif_tells_of_the_ellipsoid(both: tuple[ScalingResult, ScalingResult], tmp_path: Path) -> None:
    whole, cut = both
    for result, wanted in ((whole, False), (cut, True)):
        pyscale.export(result, tmp_path / "out.mmcif", format="mmcif")
        block = gemmi.cif.read(str(tmp_path / "out.mmcif"))[0]
        assert (block.find_value("_reflns.pdbx_aniso_diffraction_limit_1") is not None) == wanted
    inside = anisotropy_of(cut).inside
    assert inside is not None
    share = float(block.find_value("_reflns.pdbx_percent_possible_ellipsoidal"))
    assert share == pytest.approx(100 * inside.overall["completeness_ellipsoidal"], abs=1e-3)
    column = list(block.find_loop("_reflns_shell.pdbx_percent_possible_ellipsoidal"))
    assert len(column) == len(inside.shells) and "?" not in column
    axes = [float(block.find_value(f"_reflns.pdbx_aniso_diffraction_limit_axis_2_ortho[{i}]")) for i in (1, 2, 3)]
    assert axes == pytest.approx(anisotropy_of(cut).directions[1].axis, abs=1e-4)


def test_document_and_report(both: tuple[ScalingResult, ScalingResult]) -> None:
    cut = both[1]
    document = cut.to_dict()
    json.dumps(document, allow_nan=False)
    assert document["analyses"]["anisotropy"]["inside_ellipsoid"]["overall"]["completeness_ellipsoidal"] <= 1.0
    page = render_report(cut, document)
    assert "Inside the ellipsoid" in page and '"limit-cc"' in page and '"anisotropy"' in page


def test_units_do_not_matter(tmp_path: Path) -> None:
    files = pyscale.simulate(**{**SMALL, "anisotropic_b": (0.0, 30.0, 0.0)}).write(tmp_path)[:2]
    found = []
    for factor in (1.0, 1e4):
        data = pyscale.read(*files)
        for data_set in data.data_sets:
            for name in ("intensity.prf", "intensity.sum"):
                table = data_set.reflections
                table[f"{name}.value"] = table[f"{name}.value"] * factor
                table[f"{name}.variance"] = table[f"{name}.variance"] * factor**2
        result = pyscale.scale(data, intensity_choice="profile")
        resolution = result.analyses.resolution
        assert resolution is not None
        found.append([limit.d_min for limit in resolution.limits] + [d.d_min for d in anisotropy_of(result).directions])
    assert found[1] == pytest.approx(found[0], rel=2e-3)
