"""Intensities calculated from an atomic model, with bulk solvent and anomalous scattering, through gemmi."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import gemmi
import numpy as np

from .errors import DataError
from .reference import Reference
from .symmetry import inverse_d_squared
from .typing import IntArray

__all__ = ["ModelSettings", "model_intensities", "small_structure_model"]

_ELECTRONS_BELOW_ANGSTROM = 0.1
_LIGHT_ELEMENTS = frozenset((1, 6, 7, 8))
"""Atomic numbers of elements whose anomalous scattering is left out."""
_CHUNK = 2_000_000


@dataclass(frozen=True)
class ModelSettings:
    """How intensities are calculated from a model.

    Attributes
    ----------
    d_min, wavelength : float
        Angstrom. Below 0.1 A the form factors are those of electrons, without solvent and anomalous scattering.
    anomalous : bool
        Whether I(+) and I(-) differ.
    k_sol, b_sol : float
        Density (e/A^3) and B factor (A^2) of the bulk solvent.
    """

    d_min: float
    wavelength: float
    anomalous: bool = False
    k_sol: float = 0.35
    b_sol: float = 46.0

    def without_solvent(self) -> ModelSettings:
        """The same for crystals of small molecules."""
        return replace(self, k_sol=0.0)


def model_intensities(structure: Any, source: str, settings: ModelSettings) -> Reference:
    """Return |F|^2 of a structure (`gemmi.Structure`) for all unique reflections to `d_min`.

    F = F_atoms + k_sol exp(-b_sol / 4 d^2) F_mask, F_atoms from the density on a grid with f' of Cromer and Liberman,
    and the mask that of gemmi's flat solvent. With F'' the sum over the heavier atoms with f'' in the place of their
    form factors, |F(+/-)|^2 = |F +- i F''|^2.

    Raises
    ------
    DataError
        If the structure has no unit cell, no known space group, or no atoms.
    """
    space_group = gemmi.find_spacegroup_by_name(structure.spacegroup_hm)
    if not structure.cell.is_crystal() or space_group is None:
        raise DataError(f"{source}: the model has no unit cell or no known space group ({structure.spacegroup_hm!r})")
    if not len(structure) or structure[0].count_atom_sites() == 0:
        raise DataError(f"{source}: the model has no atoms")
    is_electrons = settings.wavelength < _ELECTRONS_BELOW_ANGSTROM
    miller, f = _structure_factors(structure, settings, is_electrons)
    if settings.k_sol > 0 and not is_electrons:
        f = f + _solvent(structure, settings, miller)
    intensity, index = np.abs(f) ** 2, miller
    if not is_electrons:
        f_double_prime = _anomalous_part(structure, space_group, settings.wavelength, miller)
        intensity = np.abs(f) ** 2 + np.abs(f_double_prime) ** 2
        if settings.anomalous:
            intensity = np.concatenate([np.abs(f + 1j * f_double_prime) ** 2, np.abs(f - 1j * f_double_prime) ** 2])
            index = np.concatenate([miller, -miller])
    return Reference(
        source=source,
        kind="model",
        labels=(),
        space_group=space_group,
        unit_cell=structure.cell,
        miller_index=np.ascontiguousarray(index, dtype=np.int32),
        intensity=np.ascontiguousarray(intensity),
        variance=np.full(len(intensity), np.nan),
    )


def small_structure_model(small: Any) -> Any:
    """A structure (`gemmi.Structure`) of the sites of a small molecule, with isotropic displacements."""
    small.change_occupancies_to_crystallographic()
    structure = gemmi.Structure()
    structure.cell = small.cell
    structure.spacegroup_hm = small.spacegroup.xhm() if small.spacegroup is not None else small.spacegroup_hm
    residue = gemmi.Residue()
    residue.name = "UNL"
    for site in small.sites:
        atom = gemmi.Atom()
        atom.name, atom.element, atom.occ = site.label[:4], site.element, site.occ
        atom.b_iso = 8.0 * np.pi**2 * max(site.u_iso, 0.0)
        atom.pos = small.cell.orthogonalize(site.fract)
        residue.add_atom(atom)
    chain, model = gemmi.Chain("A"), gemmi.Model(1)
    chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    structure.setup_cell_images()
    return structure


def _structure_factors(structure: Any, settings: ModelSettings, is_electrons: bool) -> tuple[IntArray, Any]:
    """Indices (n, 3) and structure factors of the atoms (n,), complex."""
    calculator = gemmi.DensityCalculatorE() if is_electrons else gemmi.DensityCalculatorX()
    calculator.d_min = settings.d_min
    if not is_electrons:
        calculator.addends.add_cl_fprime(gemmi.hc / settings.wavelength)
    calculator.set_refmac_compatible_blur(structure[0])
    calculator.set_grid_cell_and_spacegroup(structure)
    calculator.put_model_density_on_grid(structure[0])
    grid = gemmi.transform_map_to_f_phi(calculator.grid, half_l=True)
    data = grid.prepare_asu_data(dmin=settings.d_min, unblur=calculator.blur)
    return np.asarray(data.miller_array, dtype=np.int32), np.asarray(data.value_array, dtype=np.complex128)


def _solvent(structure: Any, settings: ModelSettings, miller: IntArray) -> Any:
    """Structure factors of the bulk solvent, (n,) complex."""
    grid = gemmi.FloatGrid()
    grid.setup_from(structure, spacing=min(0.6, settings.d_min / 3.0))
    gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx).put_mask_on_float_grid(grid, structure[0])
    data = gemmi.transform_map_to_f_phi(grid, half_l=True).prepare_asu_data(dmin=settings.d_min)
    if not np.array_equal(data.miller_array, miller):
        raise RuntimeError("gemmi lists other reflections for the solvent than for the atoms")
    fall = np.exp(-0.25 * settings.b_sol * inverse_d_squared(structure.cell, miller))
    return settings.k_sol * fall * np.asarray(data.value_array, dtype=np.complex128)


def _anomalous_part(structure: Any, space_group: Any, wavelength: float, miller: IntArray) -> Any:
    """F'' of the heavier atoms, (n,) complex, by direct summation over the unit cell."""
    atoms = list(_heavier_atoms(structure, gemmi.hc / wavelength))
    total = np.zeros(len(miller), np.complex128)
    if not atoms:
        return total
    position, strength, b_iso = (np.array(values, dtype=np.float64) for values in zip(*atoms, strict=True))
    quarter = 0.25 * inverse_d_squared(structure.cell, miller)
    step = max(_CHUNK // len(atoms), 1)
    for operator in space_group.operations():
        rotated = position @ np.array(operator.rot).T / operator.DEN + np.array(operator.tran) / operator.DEN
        for k in range(0, len(miller), step):
            part = slice(k, k + step)
            wave = np.exp(2j * np.pi * (miller[part] @ rotated.T) - quarter[part, None] * b_iso)
            total[part] += wave @ strength
    return total


def _heavier_atoms(structure: Any, energy: float) -> Iterator[tuple[list[float], float, float]]:
    """Fractional coordinates, occupancy times f'', and B of the atoms that scatter anomalously."""
    known: dict[int, float] = {}
    for site in structure[0].all():
        number = site.atom.element.atomic_number
        if number in _LIGHT_ELEMENTS or number == 0:
            continue
        if number not in known:
            known[number] = gemmi.cromer_liberman(z=number, energy=energy)[1]
        fractional = structure.cell.fractionalize(site.atom.pos)
        yield fractional.tolist(), site.atom.occ * known[number], site.atom.b_iso
