"""A crystal's unique reflections with Wilson-distributed true intensities, and their equivalents."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import gemmi
import numpy as np

from ..errors import UsageError
from ..typing import BoolArray, FloatArray, IndexArray, IntArray
from .disorder import translation_modulation, twin_partners, twinned
from .options import MAX_OBSERVATIONS, SimulationOptions

__all__ = ["TrueCrystal", "make_crystal", "random_rotation"]


@dataclass(frozen=True)
class TrueCrystal:
    """Every reflection of the resolution sphere with its true intensity.

    Attributes
    ----------
    space_group
        gemmi's space group.
    b_matrix : (3, 3)
        Columns a*, b*, c* (1/Å) of the unrotated crystal.
    miller_index : (n, 3) int32
        All reflections of the sphere, systematic absences left out.
    group : (n,) int64
        Number of the unique reflection (Friedel mates together).
    friedel_plus : (n,) bool
        True where a proper operator (no inversion) leads from the unique reflection here.
    reciprocal : (n, 3) float64
        Reciprocal vectors (1/Å) of the unrotated crystal.
    d : (n,) float64
        Resolution in Å.
    intensity : (n,) float64
        True intensity of this reflection, its own Friedel mate.
    merged_intensity : (n,) float64
        Mean of the two mates: the true merged intensity of the unique reflection.
    anisotropic_b : (3, 3) float64
        What is added to the Wilson B factor along directions of the unrotated crystal, Å².
    untwinned_intensity : (n,) float64
        Intensity of this reflection from one domain alone; `intensity` where there is no twin.
    twin_law : str
        Its triplet; empty without a twin.
    centric, epsilon : (n_unique,) bool and int64
        Centric flag and multiplicity factor (without centring) of each unique reflection.
    """

    space_group: Any
    b_matrix: FloatArray
    miller_index: IntArray
    group: IndexArray
    friedel_plus: BoolArray
    reciprocal: FloatArray
    d: FloatArray
    intensity: FloatArray
    merged_intensity: FloatArray
    anisotropic_b: FloatArray
    untwinned_intensity: FloatArray
    twin_law: str
    centric: BoolArray
    epsilon: IndexArray


def make_crystal(options: SimulationOptions, rng: np.random.Generator) -> TrueCrystal:
    """Reflections within d_min and their true intensities.

    Raises
    ------
    UsageError
        Cell or space group are impossible or do not fit, or no reflection lies within d_min.
    """
    cell, space_group = _checked_symmetry(options)
    unique = gemmi.make_miller_array(cell, space_group, options.d_min).astype(np.int64).reshape(-1, 3)
    if len(unique) == 0:
        raise UsageError(f"no reflection within d_min={options.d_min:g} for unit_cell={options.unit_cell}")
    rotations = [np.array(op.rot, np.int64) // op.DEN for op in space_group.operations().sym_ops]
    b_matrix = np.array(cell.frac.mat.tolist()).T
    epsilon = sum(np.all(unique @ r == unique, axis=1).astype(np.int64) for r in rotations)
    centric = np.any([np.all(unique @ r == -unique, axis=1) for r in rotations], axis=0)
    anisotropic_b = _anisotropic_tensor(options, b_matrix, rotations)
    expected = _wilson_mean(options, unique @ b_matrix.T, anisotropic_b)
    normalised = np.where(centric, rng.chisquare(1.0, len(unique)), rng.exponential(size=len(unique)))
    mean = epsilon * expected * translation_modulation(options, unique, rotations) * normalised
    # <|N(0, 1)|> = sqrt(2 / pi); the clip keeps both mates positive
    difference = options.anomalous * math.sqrt(math.pi / 2.0) * rng.normal(size=len(unique))
    half_difference = np.where(centric, 0.0, 0.5 * mean * np.clip(difference, -1.8, 1.8))

    index, group, plus = _expand(unique, rotations)
    reciprocal = index @ b_matrix.T
    own = mean[group] + np.where(plus, 1.0, -1.0) * half_difference[group]
    name, partner = twin_partners(options, index, space_group)
    intensity, merged = (twinned(values, partner, options.twin_fraction) for values in (own, mean[group]))
    return TrueCrystal(
        space_group=space_group,
        b_matrix=b_matrix,
        miller_index=index.astype(np.int32),
        group=group,
        friedel_plus=plus,
        reciprocal=reciprocal,
        d=1.0 / np.linalg.norm(reciprocal, axis=1),
        intensity=intensity,
        merged_intensity=merged,
        anisotropic_b=anisotropic_b,
        untwinned_intensity=own,
        twin_law=name,
        centric=centric,
        epsilon=np.asarray(epsilon, np.int64),
    )


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """(3, 3) rotation matrix, uniform over all orientations (normalised Gaussian quaternion)."""
    quaternion = rng.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _anisotropic_tensor(options: SimulationOptions, b_matrix: FloatArray, rotations: list[IndexArray]) -> FloatArray:
    """The option `anisotropic_b` as a tensor (3, 3) in the frame of `b_matrix`.

    Raises
    ------
    UsageError
        If the space group does not allow it.
    """
    first, last = b_matrix[:, 0], np.linalg.inv(b_matrix)[2]
    first, last = first / np.linalg.norm(first), last / np.linalg.norm(last)
    axes = np.stack([first, np.cross(last, first), last])
    tensor: FloatArray = axes.T @ np.diag(options.anisotropic_b) @ axes
    for rotation in rotations:
        operation = b_matrix @ rotation.T @ np.linalg.inv(b_matrix)
        if not np.allclose(operation @ tensor @ operation.T, tensor, atol=1e-6 * max(1.0, np.abs(tensor).max())):
            raise UsageError(
                f"anisotropic_b={options.anisotropic_b} breaks the symmetry of space_group={options.space_group}: "
                "the first two are alike in trigonal, tetragonal and hexagonal crystals, all three in cubic ones"
            )
    return tensor


def _checked_symmetry(options: SimulationOptions) -> tuple[Any, Any]:
    lengths, angles = options.unit_cell[:3], options.unit_cell[3:]
    cosines = [math.cos(math.radians(a)) for a in angles]
    squared = 1.0 - sum(c * c for c in cosines) + 2.0 * math.prod(cosines)
    if min(lengths) <= 0.1 or min(angles) <= 0.0 or max(angles) >= 180.0 or squared <= 1e-6:
        raise UsageError(f"unit_cell={options.unit_cell} has no volume: check lengths and angles")
    space_group = gemmi.find_spacegroup_by_name(options.space_group)
    if space_group is None:
        raise UsageError(f"space_group={options.space_group} is not known: give a symbol such as P 21 21 21")
    cell = gemmi.UnitCell(*options.unit_cell)
    if not cell.is_compatible_with_spacegroup(space_group):
        raise UsageError(
            f"unit_cell={options.unit_cell} does not fit space_group={options.space_group}: "
            "its lengths or angles break the symmetry"
        )
    _check_size(options, cell.volume)
    return cell, space_group


def _check_size(options: SimulationOptions, volume: float) -> None:
    """Refuse what would not fit into memory, before anything is allocated."""
    sphere = 4.0 / 3.0 * math.pi * volume / options.d_min**3
    if options.kind == "rotation":
        recorded, remedy = options.n_sweeps * options.sweep_width / 180.0 * sphere, "fewer or narrower sweeps"
    else:
        # the Ewald sphere's cap within d_min has the area π/d_min²; a still records a shell around it
        width = math.hypot(0.5 / options.mosaic_block_size, math.radians(options.mosaicity) / options.d_min)
        shell = min(4.0 * width * math.pi / options.d_min**2 * volume, sphere)
        recorded, remedy = options.n_stills * shell, "fewer stills"
    if max(sphere, recorded) > MAX_OBSERVATIONS:
        raise UsageError(
            f"d_min={options.d_min:g} gives about {max(sphere, recorded):.2g} reflections, more than "
            f"{MAX_OBSERVATIONS:.2g}: raise d_min or ask for {remedy}"
        )


def _wilson_mean(options: SimulationOptions, q: FloatArray, anisotropic_b: FloatArray) -> FloatArray:
    """Expected intensity of an acentric reflection: exp(−qᵀBq/2), with the asked mean over all."""
    b = options.wilson_b * np.eye(3) + anisotropic_b
    falloff = np.exp(-0.5 * np.einsum("ij,jk,ik->i", q, b, q))
    return np.asarray(options.mean_intensity * falloff / falloff.mean())


def _expand(unique: IndexArray, rotations: list[IndexArray]) -> tuple[IndexArray, IndexArray, BoolArray]:
    """All equivalents of the unique reflections, each once; proper operators win over inversions."""
    proper = np.concatenate([unique @ r for r in rotations])
    index = np.concatenate([proper, -proper])
    offset = int(np.abs(index).max())
    key = ((index[:, 0] + offset) * (2 * offset + 1) + index[:, 1] + offset) * (2 * offset + 1) + index[:, 2]
    _, first = np.unique(key, return_index=True)
    return index[first], first % len(unique), first < len(proper)
