"""Simulated sweeps as Mosflm, AIMLESS and others write them to unmerged MTZ files, with their truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from scipy.spatial.transform import Rotation

from pyscale.symmetry import possible_reflections, rotation_matrices, to_asu

CELL = (32.0, 40.0, 51.0, 90.0, 90.0, 90.0)
GROUP = "P 21 21 21"
WAVELENGTH = 1.1
DISTANCE, PIXEL, CENTRE = 90.0, 0.1, (1010.0, 990.0)
REFLECTING_RANGE = 0.7


@dataclass
class SimulatedSweep:
    """Spots of a sweep in the Cambridge frame: beam along x, rotation about z, angles in degrees."""

    miller_index: np.ndarray
    angle: np.ndarray
    s1: np.ndarray
    place: np.ndarray
    intensity: np.ndarray
    first_batch: int
    n_images: int
    start: float
    width: float
    orientation: np.ndarray
    misset: np.ndarray
    wavelength: float = WAVELENGTH
    dataset: int = 1
    extra: dict[str, np.ndarray] = field(default_factory=dict)


def busing_levy(cell: Sequence[float]) -> np.ndarray:
    """Reciprocal basis with a* along x and c along z."""
    real = np.array(gemmi.UnitCell(*cell).orth.mat.tolist())
    _, r = np.linalg.qr(np.linalg.inv(real).T)
    return np.diag(np.sign(np.diag(r))) @ r


def simulate_sweep(
    seed: int = 0,
    *,
    cell: Sequence[float] = CELL,
    group: str = GROUP,
    first_batch: int = 1,
    n_images: int = 60,
    start: float = 20.0,
    width: float = 1.0,
    wavelength: float = WAVELENGTH,
    dataset: int = 1,
    d_min: float = 3.0,
) -> SimulatedSweep:
    """All spots whose centres are within the sweep: each index crosses the Ewald sphere where
    (R(phi) r) . x = -lambda |r|^2 / 2."""
    rng = np.random.default_rng(seed)
    orientation = Rotation.random(random_state=rng).as_matrix()
    misset = rng.uniform(-0.4, 0.4, 3)
    turn = Rotation.from_euler("xyz", misset, degrees=True).as_matrix()
    unique = possible_reflections(cell, group, d_min)
    index = np.concatenate([s * unique @ r for r in rotation_matrices(group) for s in (1, -1)])
    index = np.unique(index, axis=0).astype(np.int32)
    r = index @ (turn @ orientation @ busing_levy(cell)).T
    rho = np.hypot(r[:, 0], r[:, 1])
    cosine = -0.5 * wavelength * (r**2).sum(axis=1) / np.where(rho > 0, rho, np.inf)
    hit = np.abs(cosine) < 0.999
    both = []
    for sign in (1.0, -1.0):
        angle = np.degrees(sign * np.arccos(cosine[hit]) - np.arctan2(r[hit, 1], r[hit, 0]))
        both.append((index[hit], start + (angle - start) % 360.0, r[hit]))
    index, angle, r = (np.concatenate(parts) for parts in zip(*both, strict=True))
    inside = angle < start + n_images * width
    index, angle, r = index[inside], angle[inside], r[inside]
    s1 = Rotation.from_euler("z", angle[:, None], degrees=True).apply(r) + np.array([1 / wavelength, 0, 0])
    place = CENTRE + DISTANCE / PIXEL * s1[:, 1:] / s1[:, :1]
    order = np.argsort(angle)
    keep = order[(s1[order, 0] > 0.2 / wavelength)]
    asu, _ = to_asu(group, index[keep])
    mixed = (asu.astype(np.int64) @ [73, 1009, 9973]) % 997
    intensity = 200.0 + 20.0 * mixed.astype(float)
    return SimulatedSweep(
        index[keep], angle[keep], s1[keep], place[keep], intensity, first_batch, n_images, start, width, orientation,
        misset, wavelength, dataset,
    )  # fmt: skip


def parts_of(sweep: SimulatedSweep) -> dict[str, np.ndarray]:
    """Records of the spots: a spot is recorded evenly over its reflecting range, as far as there are images."""
    first = np.floor((sweep.angle - REFLECTING_RANGE / 2 - sweep.start) / sweep.width).astype(int)
    last = np.floor((sweep.angle + REFLECTING_RANGE / 2 - sweep.start) / sweep.width).astype(int)
    n = last - first + 1
    spot = np.repeat(np.arange(n.size), n)
    part = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    image = first[spot] + part
    edge = sweep.start + image * sweep.width - (sweep.angle[spot] - REFLECTING_RANGE / 2)
    fraction = (
        np.clip(edge + sweep.width, 0, REFLECTING_RANGE) - np.clip(edge, 0, REFLECTING_RANGE)
    ) / REFLECTING_RANGE
    mpart = np.where(n[spot] > 1, 100 * n[spot] + part + 1, 0)
    on_image = (image >= 0) & (image < sweep.n_images)
    return {k: v[on_image] for k, v in (("spot", spot), ("image", image), ("fraction", fraction), ("mpart", mpart))}


def write_mtz(
    path: Path,
    sweeps: Sequence[SimulatedSweep],
    *,
    group: str = GROUP,
    cell: Sequence[float] = CELL,
    partials: bool = True,
    isym: Callable[[np.ndarray], np.ndarray] = lambda numbers: numbers,
    rot_offset: float = 0.0,
    headers: bool | Callable[[int], bool] = True,
    edit_header: Callable[[Any], None] = lambda batch: None,
    columns: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] = lambda records: records,
    history: Sequence[str] = ("From MOSFLM",),
    wavelength_in_header: bool = True,
    without: Sequence[str] = (),
    seed: int = 5,
) -> dict[str, np.ndarray]:
    """Write sweeps; returns the records. `columns` changes them, `isym` the ISYM numbers."""
    mtz = gemmi.Mtz(with_base=True)
    mtz.history, mtz.spacegroup = list(history), gemmi.find_spacegroup_by_name(group)
    mtz.set_cell_for_all(gemmi.UnitCell(*cell))
    for number in sorted({s.dataset for s in sweeps}):
        entry = mtz.add_dataset(f"set{number}")
        mine = next(s for s in sweeps if s.dataset == number)
        entry.wavelength = mine.wavelength if wavelength_in_header else 0.0
        entry.cell = gemmi.UnitCell(*cell)
    found = [_records(sweep, group, partials, np.random.default_rng([seed, k])) for k, sweep in enumerate(sweeps)]
    records = {name: np.concatenate([f[name] for f in found]) for name in found[0]}
    records["ROT"] = records["ROT"] + rot_offset
    records["M/ISYM"] = records["M/ISYM"] // 256 * 256 + isym(records["M/ISYM"] % 256)
    records = columns(records)
    records = {k: v for k, v in records.items() if k not in without}
    kinds = {"M/ISYM": "Y", "BATCH": "B", "I": "J", "SIGI": "Q", "IPR": "J", "SIGIPR": "Q", "MPART": "I", "FLAG": "I"}
    names = [n for n in records if n not in ("H", "K", "L")]
    for name in names:
        mtz.add_column(name, kinds.get(name, "R"), dataset_id=1, expand_data=False)
    mtz.set_data(np.column_stack([records[n] for n in ("H", "K", "L", *names)]).astype(np.float32))
    for sweep in sweeps:
        for image in range(sweep.n_images):
            number = sweep.first_batch + image
            if headers is True or (callable(headers) and headers(number)):
                batch = _header(sweep, image, cell, wavelength_in_header)
                edit_header(batch)
                mtz.batches.append(batch)
    mtz.write_to_file(str(path))
    return records


def _records(sweep: SimulatedSweep, group: str, partials: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    asu, isym = to_asu(group, sweep.miller_index)
    if partials:
        parts = parts_of(sweep)
    else:
        n = len(isym)
        image = np.floor((sweep.angle - sweep.start) / sweep.width).astype(int)
        parts = {"spot": np.arange(n), "image": image, "fraction": np.ones(n), "mpart": np.zeros(n, int)}
    spot = parts["spot"]
    value = sweep.intensity[spot] * parts["fraction"]
    sigma = np.sqrt(np.maximum(value, 1.0)) * 0.5 + 1.0
    records = {name: asu[spot, k] for k, name in enumerate("HKL")} | {
        "M/ISYM": isym[spot] + 256 * (parts["mpart"] > 0),
        "BATCH": parts["image"] + sweep.first_batch,
        "I": value + 3.0,
        "SIGI": sigma * 1.5,
        "IPR": value,
        "SIGIPR": sigma,
        "FRACTIONCALC": parts["fraction"],
        "XDET": sweep.place[spot, 0],
        "YDET": sweep.place[spot, 1],
        "ROT": sweep.angle[spot],
        "WIDTH": np.full(spot.size, REFLECTING_RANGE),
        "MPART": parts["mpart"],
        "FLAG": np.zeros(spot.size),
        "SPOT": spot,
    }
    order = rng.permutation(spot.size)
    return {name: np.asarray(values)[order] for name, values in records.items()}


def _header(sweep: SimulatedSweep, image: int, cell: Sequence[float], wavelength: bool) -> Any:
    batch = gemmi.Mtz.Batch()
    batch.number, batch.title, batch.dataset_id = sweep.first_batch + image, "simulated", sweep.dataset
    batch.cell, batch.axes = gemmi.UnitCell(*cell), ["PHI"]
    batch.ints[12] = 1
    values = {
        6: sweep.orientation.T.ravel(),
        15: sweep.misset,
        18: sweep.misset,
        36: [sweep.start + image * sweep.width, sweep.start + (image + 1) * sweep.width],
        38: [0, 0, 1],
        59: [0, 0, 1],
        80: [-1, 0, 0],
        83: [-1, 0, 0],
        86: [sweep.wavelength if wavelength else 0.0],
        111: [DISTANCE],
        113: [0, 2048, 0, 2048],
    }
    for position, numbers in values.items():
        for k, number in enumerate(numbers):
            batch.floats[position + k] = float(number)
    return batch
