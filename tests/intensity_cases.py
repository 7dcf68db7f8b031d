"""Merged intensities of Wilson's distributions with known faults: twins, pseudo-translations, anisotropy, noise."""

from __future__ import annotations

from dataclasses import dataclass

import gemmi
import numpy as np

from pyscale.merging import SortedObservations, sort_observations
from pyscale.symmetry import (
    epsilon_and_centric,
    inverse_d_squared,
    possible_reflections,
    rotation_matrices,
    systematic_absences,
)

#: Residue of a protein, and the volume that it takes with its solvent, A^3.
RESIDUE, RESIDUE_VOLUME = {"C": 5.0, "N": 1.35, "O": 1.5, "H": 8.0}, 264.0


@dataclass(frozen=True)
class Case:
    """What intensities are made of; each is the default crystal but for one thing."""

    space_group: str = "P 41"
    unit_cell: tuple[float, ...] = (50.0, 50.0, 70.0, 90.0, 90.0, 90.0)
    d_min: float = 2.2
    b: float = 25.0
    twin_fraction: float = 0.0
    twin_law: tuple[tuple[int, ...], ...] = ((0, 1, 0), (1, 0, 0), (0, 0, -1))
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)
    alike: float = 0.0
    anisotropy: float = 0.0
    noise: float = 0.05
    label: str = ""
    ice: tuple[float, float] = (0.0, 0.0)
    seed: int = 1


def observations(case: Case, multiplicity: int = 4) -> SortedObservations:
    """Scaled observations of a case, labelled as its space group or another."""
    rng = np.random.default_rng(case.seed)
    label = case.label or case.space_group
    index = possible_reflections(case.unit_cell, label, case.d_min)
    intensity = true_intensities(case, index, rng)
    rows = np.repeat(np.arange(len(index)), multiplicity)
    sigma = np.sqrt((case.noise * intensity.mean()) ** 2 + case.noise * intensity[rows] * intensity.mean() * 0.1)
    observed = intensity[rows] + sigma * rng.normal(size=len(rows))
    return sort_observations(index[rows], observed, sigma**2, label)


def true_intensities(case: Case, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Intensities of reflections (n, 3), (n,) float64; all equivalents in the space group are alike."""
    group = case.space_group
    own = possible_reflections(case.unit_cell, group, case.d_min * 0.97)
    epsilon, centric = epsilon_and_centric(group, own)
    z = np.where(centric, rng.chisquare(1, len(own)), rng.exponential(size=len(own)))
    intensity = epsilon * expected(case, own) * z
    known = dict(zip(map(tuple, largest(own, group).tolist()), intensity.tolist(), strict=True))

    def found(h: np.ndarray) -> np.ndarray:
        absent = systematic_absences(group, h)
        keys = map(tuple, largest(h, group).tolist())
        return np.array([0.0 if a else known[k] for k, a in zip(keys, absent.tolist(), strict=True)])

    law = np.array(case.twin_law, np.int32)
    if case.twin_fraction == 0.0:
        return found(index)
    return (1 - case.twin_fraction) * found(index) + case.twin_fraction * found(index @ law)


def largest(index: np.ndarray, group: str) -> np.ndarray:
    """Lexicographically largest of the equivalents of each reflection, Friedel mates included."""
    images = np.stack([sign * (index @ r) for r in rotation_matrices(group) for sign in (1, -1)], axis=1)
    place = [max(range(images.shape[1]), key=lambda k, row=row: tuple(row[k])) for row in images.tolist()]
    return images[np.arange(len(index)), place]


def expected(case: Case, index: np.ndarray) -> np.ndarray:
    """Mean intensity: form factors of a protein, B factor, pseudo-translation, anisotropy, ice ring."""
    x = inverse_d_squared(case.unit_cell, index)
    mean = sum(n * np.array([gemmi.Element(e).it92.calculate_sf(v / 4) for v in x]) ** 2 for e, n in RESIDUE.items())
    mean *= gemmi.UnitCell(*case.unit_cell).volume / RESIDUE_VOLUME * np.exp(-case.b * x / 2)
    rotations = rotation_matrices(case.space_group)
    if case.alike:
        mean *= 1 + case.alike * np.mean(
            [np.cos(2 * np.pi * (index @ r) @ np.array(case.translation)) for r in rotations], axis=0
        )
    if case.anisotropy:
        mean *= np.exp(-case.anisotropy * (index[:, 2] / case.unit_cell[2]) ** 2 / 2)
    centre, height = case.ice
    if height:
        mean *= 1 + height * (np.abs(x**-0.5 - centre) < 0.03)
    return mean
