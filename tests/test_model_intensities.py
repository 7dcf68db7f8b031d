"""Intensities calculated from models against direct summation, and as a reference for simulated data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

import pyscale
from pyscale.dataset import make_job
from pyscale.errors import DataError
from pyscale.io.reference import read_reference
from pyscale.model_intensities import ModelSettings, model_intensities
from pyscale.symmetry import inverse_d_squared, rotation_matrices
from pyscale.typing import FloatArray, IntArray

CELL = (20.0, 24.0, 30.0, 90.0, 90.0, 90.0)
GROUP = "P 21 21 21"
WAVELENGTH = 0.9795


def structure(n_atoms: int = 40, occupancy: float = 1.0) -> Any:
    """Atoms at random places of the asymmetric unit, some of them selenium."""
    rng = np.random.default_rng(7)
    result = gemmi.Structure()
    result.cell, result.spacegroup_hm = gemmi.UnitCell(*CELL), GROUP
    chain, residue = gemmi.Chain("A"), gemmi.Residue()
    residue.name = "UNL"
    for k in range(n_atoms):
        atom = gemmi.Atom()
        atom.element = gemmi.Element("Se" if k % 10 == 0 else "CNO"[k % 3])
        atom.name, atom.b_iso, atom.occ = f"A{k}", 8.0 + 10.0 * rng.uniform(), occupancy
        atom.pos = result.cell.orthogonalize(gemmi.Fractional(*rng.uniform(0.0, 0.5, 3).tolist()))
        residue.add_atom(atom)
    chain.add_residue(residue)
    model = gemmi.Model(1)
    model.add_chain(chain)
    result.add_model(model)
    result.setup_cell_images()
    return result


def direct_sum(of: Any, miller_index: IntArray) -> np.ndarray:
    """Structure factors, anomalous scattering included, atom by atom in the whole cell."""
    operators = [(np.array(op.rot) / op.DEN, np.array(op.tran) / op.DEN) for op in gemmi.SpaceGroup(GROUP).operations()]
    s_squared = inverse_d_squared(CELL, miller_index)
    total = np.zeros(len(miller_index), complex)
    for site in of[0].all():
        atom = site.atom
        table = atom.element.it92
        f = np.array([table.calculate_sf(x / 4.0) for x in s_squared])
        prime, double_prime = gemmi.cromer_liberman(z=atom.element.atomic_number, energy=gemmi.hc / WAVELENGTH)
        x = np.array(of.cell.fractionalize(atom.pos).tolist())
        phases = sum(np.exp(2j * np.pi * (miller_index @ (rotation @ x + shift))) for rotation, shift in operators)
        total += atom.occ * (f + prime + 1j * double_prime) * np.exp(-atom.b_iso * s_squared / 4.0) * phases
    return total


def settings(**changes: Any) -> ModelSettings:
    values: dict[str, Any] = {"d_min": 2.0, "wavelength": WAVELENGTH, "k_sol": 0.0}
    return ModelSettings(**(values | changes))


def test_atoms_and_anomalous_scattering_are_those_of_direct_summation() -> None:
    model = structure()
    found = model_intensities(model, "model", settings(anomalous=True))
    expected = np.abs(direct_sum(model, found.miller_index)) ** 2
    assert len(found.intensity) > 500
    np.testing.assert_allclose(found.intensity, expected, atol=0.003 * expected.mean(), rtol=0.01)
    half = len(expected) // 2
    assert np.abs(expected[:half] / expected[half:] - 1.0).max() > 0.1
    merged = model_intensities(model, "model", settings())
    mean = 0.5 * (expected[:half] + expected[half:])
    np.testing.assert_allclose(merged.intensity, mean, atol=0.003 * mean.mean(), rtol=0.01)


def test_the_solvent_is_a_mask_of_a_density_and_a_b_factor() -> None:
    """Atoms that hardly scatter leave the solvent alone."""
    ghost = structure(n_atoms=12, occupancy=1e-4)
    first, second, third = (
        model_intensities(ghost, "model", settings(d_min=3.0, k_sol=k, b_sol=b))
        for k, b in ((0.4, 20.0), (0.8, 20.0), (0.4, 60.0))
    )
    fall = np.exp(-40.0 * inverse_d_squared(CELL, first.miller_index) / 2.0)
    strong = first.intensity > 0.01 * first.intensity.mean()
    np.testing.assert_allclose(second.intensity[strong], 4.0 * first.intensity[strong], rtol=0.02)
    np.testing.assert_allclose(third.intensity[strong], (fall * first.intensity)[strong], rtol=0.05)
    assert not np.isfinite(first.variance).any()


def small_molecule_cif(path: Path, of: Any) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_small", f"_space_group_name_H-M_alt '{GROUP}'"]
    lines += [f"_cell_{name} {x}" for name, x in zip(names, CELL, strict=True)]
    lines += ["loop_", *(f"_atom_site_{x}" for x in ("label", "type_symbol", "fract_x", "fract_y", "fract_z"))]
    lines += ["_atom_site_U_iso_or_equiv"]
    for site in of[0].all():
        x = of.cell.fractionalize(site.atom.pos).tolist()
        u = site.atom.b_iso / (8.0 * np.pi**2)
        lines.append(f"{site.atom.name} {site.atom.element.name} {x[0]:.6f} {x[1]:.6f} {x[2]:.6f} {u:.6f}")
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_models_in_pdb_mmcif_and_small_molecule_cif(tmp_path: Path) -> None:
    model = structure()
    expected = model_intensities(model, "model", settings())
    (tmp_path / "a.pdb").write_text(model.make_pdb_string())
    (tmp_path / "b.cif").write_text(model.make_mmcif_document().as_string())
    paths = [str(tmp_path / "a.pdb"), str(tmp_path / "b.cif"), small_molecule_cif(tmp_path / "c.cif", model)]
    for path in paths:
        found = read_reference(path, settings())
        assert found.kind == "model" and found.space_group.xhm() == GROUP
        np.testing.assert_array_equal(found.miller_index, expected.miller_index)
        # coordinates and B are rounded in files
        np.testing.assert_allclose(
            found.intensity, expected.intensity, atol=0.01 * expected.intensity.mean(), rtol=0.02
        )


def test_a_model_without_a_cell_is_refused(tmp_path: Path) -> None:
    model = structure()
    model.cell = gemmi.UnitCell(1, 1, 1, 90, 90, 90)
    with pytest.raises(DataError, match="no unit cell"):
        model_intensities(model, "model.pdb", settings())
    for text in ("HEADER    NOTHING\nEND\n", "data_x\n_atom_site.id 1\n"):
        path = tmp_path / "none"
        path.write_text(text)
        with pytest.raises(DataError, match="none"):
            read_reference(str(path), settings())


def with_intensities(true: FloatArray, data: Any) -> Any:
    """The simulated table with other true intensities: values and sigmas in proportion."""
    table = data.reflections()
    ratio = true / data.truth["I"]
    for name in ("prf", "sum"):
        table[f"intensity.{name}.value"] = table[f"intensity.{name}.value"] * ratio
        table[f"intensity.{name}.variance"] = table[f"intensity.{name}.variance"] * ratio**2
    return table


def canonical(miller_index: IntArray) -> IntArray:
    """Index of the group of equivalents, Friedel mates together: the largest equivalent."""
    rotations = rotation_matrices(GROUP)
    equivalents = np.concatenate([miller_index @ r for r in np.concatenate([rotations, -rotations])])
    key = equivalents @ np.array([1_000_000, 1000, 1])
    best = np.argmax(key.reshape(-1, len(miller_index)), axis=0)
    result: IntArray = equivalents.reshape(-1, len(miller_index), 3)[best, np.arange(len(miller_index))]
    return result


@pytest.mark.parametrize("error", [0.0, 0.25])
def test_data_are_put_on_the_absolute_scale_of_a_model(tmp_path: Path, error: float) -> None:
    """The truth is a model with solvent; the reference is that model, or one without some of its atoms."""
    model = structure()
    known = model_intensities(model, "model", settings(d_min=1.95, k_sol=0.35, b_sol=46.0))
    data = pyscale.simulate(
        unit_cell=CELL, n_sweeps=2, sweep_width=90.0, d_min=2.0, truth="model", wavelength=WAVELENGTH, seed=3
    )
    where = {tuple(h): k for k, h in enumerate(canonical(known.miller_index).tolist())}
    miller_index = data.reflections()["miller_index"]
    place = np.array([where[tuple(h)] for h in canonical(miller_index).tolist()])
    job = make_job(data.experiments(), [with_intensities(known.intensity[place], data)])
    if error:
        residue = model[0]["A"][0]
        # Missing oxygen atoms, as in a model that is not complete.
        for k in reversed(range(len(residue))):
            if residue[k].element.name == "O" and k % 2 == 0:
                del residue[k]
    (tmp_path / "model.pdb").write_text(model.make_pdb_string())
    result = pyscale.scale(job, reference=str(tmp_path / "model.pdb"))
    deviation = np.log(result.inverse_scale_factor / data.truth["g"])
    x = 0.5 * inverse_d_squared(CELL, miller_index)
    assert result.reference is not None and result.reference.kind == "model"
    assert result.fit.gauge.directions == ()
    u = np.mean([s.u for s in result.reference.shells])
    assert (u < 0.02) if not error else (0.03 < u < 0.5)
    assert abs(np.median(deviation)) < (0.15 if error else 0.015)
    assert abs(np.polyfit(x, deviation, 1)[0]) < (3.0 if error else 0.3)
