"""Writers of other programs' files, from the descriptions of the formats, and simulated data to put into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.spatial.transform import Rotation

from pyscale.reflections import ReflectionTable

CELL = (30.0, 40.0, 55.0, 90.0, 90.0, 90.0)
LENGTHS = np.array(CELL[:3])


def write_hdf5(path: Path, tables: Sequence[ReflectionTable], process: str = "processing") -> None:
    """Tables of DIALS as `/dials/PROCESS/group_N`."""
    with h5py.File(path, "w") as file:
        parent = file.require_group("dials").require_group(process)
        for k, table in enumerate(tables):
            group = parent.create_group(f"group_{k}")
            group.attrs["experiment_ids"] = np.array(list(table.identifiers), np.uint64)
            group.attrs["identifiers"] = list(table.identifiers.values())
            for name in table.names():
                values = table[name]
                if values.shape[1:] == (9,):
                    values = values.reshape(-1, 3, 3)
                group.create_dataset(name, data=values)


@dataclass
class Batches:
    """Unmerged intensities in batches with known scales, P222."""

    index: np.ndarray
    intensity: np.ndarray
    sigma: np.ndarray
    batch: np.ndarray
    scale: dict[int, float]
    unique: np.ndarray


def simulated_batches(n_batches: int = 4, n: int = 400, seed: int = 1) -> Batches:
    """Each batch measures random equivalents of the same reflections on its own scale, to 2 %."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(1, 9)] * 3, indexing="ij"), -1).reshape(-1, 3)
    true = random.exponential(2000.0, len(grid)) + 50.0
    scale = {k + 1: float(s) for k, s in enumerate(random.uniform(0.5, 2.0, n_batches))}
    signs = np.array([(1, 1, 1), (-1, -1, 1), (-1, 1, -1), (1, -1, -1)])
    parts = []
    for number, factor in scale.items():
        rows = random.choice(len(grid), n)
        sigma = 0.02 * factor * true[rows] + 1.0
        parts.append(
            (
                grid[rows] * signs[random.integers(0, 4, n)],
                factor * true[rows] + sigma * random.normal(size=n),
                sigma,
                np.full(n, number),
                rows,
            )
        )
    return Batches(
        *(np.concatenate(x) for x in list(zip(*parts, strict=True))[:4]), scale, np.concatenate([p[4] for p in parts])
    )


def hklf4_text(index: Any, intensity: Any, sigma: Any, batch: Any = None, tail: str = "") -> str:
    """The format 3I4,2F8.2,I4 with its last line of zeros."""
    lines = []
    for k, (h, i, s) in enumerate(zip(index, intensity, sigma, strict=True)):
        number = "" if batch is None else f"{int(batch[k]):4d}"
        lines.append("".join(f"{x:4d}" for x in h) + f"{i:8.2f}{s:8.2f}" + number)
    return "\n".join([*lines, "   0   0   0    0.00    0.00   0", tail])


GEOMETRY = """photon_energy = /LCLS/photon_energy_eV
clen = /LCLS/encoder
coffset = 0.5
res = 10000
rigid_group_q0 = a,b
bad_edge/min_x = -10
a/min_fs = 0
a/max_fs = 999
a/min_ss = 0
a/max_ss = 1999
a/fs = +0.8x +0.6y
a/ss = -0.6x +0.8y
a/corner_x = 100
a/corner_y = -700.5
b/min_fs = 1000
b/max_fs = 1999
b/min_ss = 0
b/max_ss = 1999
b/fs = -1.0x
b/ss = -1.000000y
b/corner_x = -100
b/corner_y = 900
"""
PANELS = {
    "a": (np.array([[0.8, 0.6], [-0.6, 0.8]]), np.array([100.0, -700.5]), 0),
    "b": (np.array([[-1.0, 0.0], [0.0, -1.0]]), np.array([-100.0, 900.0]), 1000),
}
DISTANCE, RESOLUTION, ENERGY = 0.12, 10000.0, 9500.0


@dataclass
class Still:
    """One crystal of a stream."""

    reciprocal: np.ndarray
    index: np.ndarray
    intensity: np.ndarray
    sigma: np.ndarray
    place: np.ndarray
    panel: np.ndarray
    direction: np.ndarray
    scale: float


def simulated_stills(n: int = 40, seed: int = 2, n_rows: int = 200) -> list[Still]:
    """Crystals in random orientation, of reflections near the Ewald sphere that hit one of the two panels."""
    random = np.random.default_rng(seed)
    wavelength = 12398.41984 / ENERGY
    grid = np.stack(np.meshgrid(*[np.arange(-14, 15)] * 3, indexing="ij"), -1).reshape(-1, 3)
    grid = grid[(grid != 0).any(axis=1)]
    true = random.exponential(1000.0, (15, 15, 15)) + 20.0
    stills = []
    for rotation in Rotation.random(n, random_state=seed).as_matrix():
        reciprocal = (rotation @ np.diag(1.0 / LENGTHS)).T
        beam = grid @ reciprocal + [0.0, 0.0, 1.0 / wavelength]
        near = np.abs(np.linalg.norm(beam, axis=1) - 1.0 / wavelength) < 0.004
        index, beam = grid[near], beam[near] / np.linalg.norm(beam[near], axis=1)[:, None]
        at = beam[:, :2] / beam[:, 2:] * DISTANCE * RESOLUTION
        panel = np.where(random.random(len(at)) < 0.5, "a", "b")
        place = np.zeros((len(at), 2))
        for name, (axes, corner, first) in PANELS.items():
            rows = panel == name
            place[rows] = (at[rows] - corner) @ np.linalg.inv(axes) + [first, 0]
        rows = random.permutation(len(index))[:n_rows]
        scale = float(np.exp(random.normal(0.0, 0.5)))
        h, k, l = np.abs(index[rows]).T
        polarisation = 1.0 - beam[rows, 0] ** 2
        sigma = 0.05 * true[h, k, l] + 2.0
        measured = scale * polarisation * (true[h, k, l] + sigma * random.normal(size=len(rows)))
        stills.append(
            Still(
                reciprocal,
                index[rows],
                measured,
                scale * polarisation * sigma,
                place[rows],
                panel[rows],
                beam[rows],
                scale,
            )
        )
    return stills


def stream_text(
    stills: Sequence[Still],
    *,
    geometry: str = GEOMETRY,
    lattice: str = "orthorhombic",
    centring: str = "P",
    per_chunk: int = 2,
    with_axes: bool = True,
) -> str:
    """A CrystFEL stream with several crystals in a chunk, and chunks without any."""
    lines = ["CrystFEL stream format 2.3", "Generated by a test", "----- Begin geometry file -----", geometry.rstrip()]
    lines += ["----- End geometry file -----"]
    for start in range(0, len(stills), per_chunk):
        if start % 3 == 0:
            lines += ["----- Begin chunk -----", "Image filename: empty.h5", "hit = 0", "----- End chunk -----"]
        lines += ["----- Begin chunk -----", f"Image filename: run/{start}.h5", "Event: tag-5//1"]
        lines += [f"photon_energy_eV = {ENERGY:f}", f"average_camera_length = {DISTANCE:f} m", "num_peaks = 1"]
        lines += ["Peaks from peak search", "  fs/px   ss/px (1/d)/nm^-1   Intensity  Panel", "  1.0 2.0 2.35 -78.5 a"]
        lines += ["End of peak list"]
        for still in stills[start : start + per_chunk]:
            lines += ["--- Begin crystal", "Cell parameters 3.0 4.0 5.5 nm, 90.0 90.0 90.0 deg"]
            if with_axes:
                rows = 10.0 * still.reciprocal
                lines += [
                    f"{x}star = {r[0]:+.9f} {r[1]:+.9f} {r[2]:+.9f} nm^-1" for x, r in zip("abc", rows, strict=True)
                ]
            lines += [f"lattice_type = {lattice}", f"centering = {centring}", "unique_axis = b"]
            lines += [f"num_reflections = {len(still.index)}", "Reflections measured after indexing"]
            lines += ["   h    k    l          I   sigma(I)       peak background  fs/px  ss/px panel"]
            for k, (h, at) in enumerate(zip(still.index, still.place, strict=True)):
                numbers = f"{still.intensity[k]:10.2f} {still.sigma[k]:10.2f} {100.0:10.2f} {7.5:10.2f}"
                lines += [" ".join(f"{x:4d}" for x in h) + f" {numbers} {at[0]:8.3f} {at[1]:8.3f} {still.panel[k]}"]
            lines += ["End of reflections", "--- End crystal"]
        lines += ["----- End chunk -----"]
    return "\n".join(lines) + "\n"
