"""Jobs of very many small data sets: make them, with their truth, and time programs on them.

python bench/many_data_sets.py make stills|wedges N_DATA_SETS N_OBSERVATIONS FOLDER
python bench/many_data_sets.py run [--dials] [--threads N] FOLDER [name=value ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from against_dials import find
from pyscale.experiment import ExperimentList
from pyscale.io.expt import write_expt
from pyscale.io.refl import read_refl, write_refl
from pyscale.reflections import Flag, ReflectionTable
from pyscale.symmetry import inverse_d_squared, possible_reflections, rotation_matrices

Floats = NDArray[np.float64]

CELL = (79.0, 79.0, 37.5, 90.0, 90.0, 90.0)
SPACE_GROUP = gemmi.SpaceGroup("P 43 21 2")
D_MIN, WAVELENGTH = 1.8, 0.9795
N_IMAGES, IMAGE_WIDTH = 80, 0.1
PIXEL, DISTANCE, N_PIXELS = 0.172, 150.0, 2527
MULTIPLICATIVE_ERROR, N_BACKGROUND_COUNTS = 0.03, 40.0
SCALE_SPREAD, B_SPREAD, DRIFT = 0.5, 4.0, 0.3
SEED = 1


def true_ln_g(kind: str, rng: np.random.Generator, data_set: Any, z: Floats, d_star_sq: Floats, n: int) -> Floats:
    """Logarithm of the inverse scale factor: one scale and B per data set, of wedges with a drift along them."""
    ln_k, b = rng.normal(0.0, SCALE_SPREAD, n), rng.normal(0.0, B_SPREAD, n)
    drift = rng.normal(0.0, DRIFT, n) if kind == "wedges" else np.zeros(n)
    along = z / N_IMAGES - 0.5
    result: Floats = ln_k[data_set] + drift[data_set] * along + 0.5 * b[data_set] * d_star_sq
    return result


def observations(kind: str, n_data_sets: int, n_each: int) -> tuple[ReflectionTable, Floats]:
    """Rows of all data sets, one after the other, and their true ln g."""
    rng = np.random.default_rng(SEED)
    unique = possible_reflections(CELL, SPACE_GROUP, D_MIN)
    d_star_sq = inverse_d_squared(CELL, unique)
    true = 2000.0 * rng.exponential(size=len(unique)) * np.exp(-9.0 * d_star_sq)
    n = n_data_sets * n_each
    data_set = np.repeat(np.arange(n_data_sets, dtype=np.int32), n_each)
    which = rng.integers(len(unique), size=n)
    rotations = rotation_matrices(SPACE_GROUP)
    sign = np.where(rng.integers(2, size=n) == 0, -1, 1).astype(np.int32)
    index = np.einsum("ij,ijk->ik", unique[which], rotations[rng.integers(len(rotations), size=n)]) * sign[:, None]
    z = rng.uniform(0.0, N_IMAGES, n) if kind == "wedges" else np.full(n, 0.5)
    ln_g = true_ln_g(kind, rng, data_set, z, d_star_sq[which], n_data_sets)
    partiality = rng.uniform(0.1, 1.0, n) if kind == "stills" else np.ones(n)
    expected = true[which] * np.exp(ln_g) * partiality
    wrong = rng.uniform(size=n) < 0.002
    factor = np.exp(rng.normal(0.0, MULTIPLICATIVE_ERROR, n)) * np.where(wrong, rng.uniform(3.0, 8.0, n), 1.0)
    counts = rng.poisson(expected * factor + N_BACKGROUND_COUNTS).astype(np.float64)
    table = ReflectionTable(identifiers={k: f"data-set-{k:06d}" for k in range(n_data_sets)})
    table["id"] = data_set
    table["imageset_id"] = data_set
    table["miller_index"] = index.astype(np.int32)
    table["intensity.sum.value"] = counts - N_BACKGROUND_COUNTS
    table["intensity.sum.variance"] = counts + 0.1 * N_BACKGROUND_COUNTS
    table["partiality"] = partiality
    bits = Flag.predicted | Flag.indexed | Flag.integrated_sum
    if kind == "wedges":
        bits |= Flag.integrated_prf
        table["intensity.prf.value"] = table["intensity.sum.value"]
        table["intensity.prf.variance"] = table["intensity.sum.variance"]
    table["flags"] = np.full(n, int(bits), np.uint64)
    add_places(table, rng, d_star_sq[which], z)
    return table, ln_g


def add_places(table: ReflectionTable, rng: np.random.Generator, d_star_sq: Floats, z: Floats) -> None:
    """Directions and places on the detector, and columns that integration always writes."""
    n = len(table)
    two_theta = 2.0 * np.arcsin(0.5 * WAVELENGTH * np.sqrt(d_star_sq))
    azimuth = rng.uniform(0.0, 2.0 * np.pi, n)
    sine = np.sin(two_theta)
    s1 = np.column_stack([sine * np.cos(azimuth), sine * np.sin(azimuth), -np.cos(two_theta)]) / WAVELENGTH
    radius = DISTANCE * np.tan(two_theta) / PIXEL
    centre = 0.5 * N_PIXELS
    place = np.column_stack([centre + radius * np.cos(azimuth), centre + radius * np.sin(azimuth), z])
    table["s1"] = s1
    table["xyzcal.px"] = table["xyzobs.px.value"] = place
    table["xyzobs.px.variance"] = np.full((n, 3), 0.1)
    table["lp"] = np.full(n, 1.0)
    table["qe"] = np.full(n, 0.9)
    table["d"] = d_star_sq**-0.5
    table["panel"] = table["partial_id"] = np.arange(n, dtype=np.uint64)
    table["panel"] = np.zeros(n, np.uint64)
    low = np.floor(place) - 4
    table["bbox"] = np.stack([low, low + 9], axis=2).reshape(n, 6).astype(np.int32)


def experiments(kind: str, n_data_sets: int) -> dict[str, Any]:
    """The document of the experiments, each with a crystal and images of its own."""
    rng = np.random.default_rng(SEED + 1)
    document: dict[str, Any] = {"__id__": "ExperimentList", "experiment": []}
    document |= {key: [] for key in ("beam", "detector", "goniometer", "scan", "crystal", "imageset")}
    document["beam"].append(
        {"__id__": "monochromatic", "direction": [0.0, 0.0, 1.0], "wavelength": WAVELENGTH, "divergence": 0.0}
        | {"sigma_divergence": 0.0, "polarization_normal": [0.0, 1.0, 0.0], "polarization_fraction": 0.999}
        | {"flux": 0.0, "transmission": 1.0}
    )
    document["detector"].append(detector())
    if kind == "wedges":
        unit = np.eye(3).ravel().tolist()
        document["goniometer"].append(
            {"rotation_axis": [1.0, 0.0, 0.0], "fixed_rotation": unit, "setting_rotation": unit}
        )
    rotations, _ = np.linalg.qr(rng.normal(size=(n_data_sets, 3, 3)))
    axes = np.einsum("nij,j->nji", rotations, CELL[:3])
    for k in range(n_data_sets):
        a, b, c = axes[k].tolist()
        hall = " " + SPACE_GROUP.hall.strip()
        document["crystal"].append(
            {"__id__": "crystal", "real_space_a": a, "real_space_b": b, "real_space_c": c}
            | {"space_group_hall_symbol": hall}
        )
        images = {"__id__": "ImageSet", "images": [f"image_{k}.cbf"]}
        entry = {"__id__": "Experiment", "identifier": f"data-set-{k:06d}", "beam": 0, "detector": 0, "crystal": k}
        entry["imageset"] = k
        if kind == "wedges":
            images = {"__id__": "ImageSequence", "template": f"wedge_{k}_####.cbf"}
            entry |= {"goniometer": 0, "scan": k}
            document["scan"].append(scan())
        document["imageset"].append(
            images | {"mask": None, "gain": None, "pedestal": None, "dx": None, "dy": None, "params": {}}
        )
        document["experiment"].append(entry)
    return document


def detector() -> dict[str, Any]:
    """A flat detector."""
    size, half = [N_PIXELS, N_PIXELS], 0.5 * N_PIXELS * PIXEL
    panel = {"name": "Panel", "type": "SENSOR_PAD", "fast_axis": [1.0, 0.0, 0.0], "slow_axis": [0.0, 1.0, 0.0]}
    panel |= {"origin": [-half, -half, -DISTANCE], "raw_image_offset": [0, 0], "image_size": size}
    panel |= {"pixel_size": [PIXEL, PIXEL], "trusted_range": [-1.0, 1e7], "thickness": 0.0, "material": "", "mu": 0.0}
    panel |= {"identifier": "", "mask": [], "gain": 1.0, "pedestal": 0.0}
    panel |= {"px_mm_strategy": {"type": "SimplePxMmStrategy"}}
    root = panel | {"name": "", "type": "", "origin": [0.0, 0.0, 0.0], "image_size": [0, 0], "pixel_size": [0.0, 0.0]}
    return {"panels": [panel], "hierarchy": root | {"children": [{"panel": 0}]}}


def scan() -> dict[str, Any]:
    """Images of a wedge."""
    return {
        "image_range": [1, N_IMAGES],
        "batch_offset": 0,
        "oscillation": [0.0, IMAGE_WIDTH],
        "exposure_time": [0.1] * N_IMAGES,
        "epochs": [0.0] * N_IMAGES,
        "valid_image_ranges": {},
    }


def make(kind: str, n_data_sets: int, n_each: int, folder: Path) -> None:
    """Write a job and its truth."""
    folder.mkdir(parents=True, exist_ok=True)
    table, ln_g = observations(kind, n_data_sets, n_each)
    write_refl(table, folder / "joint.refl")
    write_expt(ExperimentList(experiments(kind, n_data_sets)), folder / "joint.expt")
    np.savez(folder / "truth.npz", ln_g=ln_g)
    print(f"{n_data_sets} {kind}, {len(table)} observations in {folder}")


def timed(command: list[str], folder: str, threads: int) -> tuple[float, float]:
    """Wall seconds and peak memory in GiB of a command."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with (Path(folder) / "output").open("w") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit((Path(folder) / "output").read_text()[-2000:])
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 2**30


def rms_error(reflections: Path, truth: Path) -> float:
    """Rms error of ln g of the scaled rows, after the gauge: one factor and one B for the job."""
    table = read_refl(reflections)
    scaled = (np.asarray(table["flags"]) & np.uint64(int(Flag.scaled))) != 0
    with np.load(truth) as stored:
        error = np.log(np.asarray(table["inverse_scale_factor"])[scaled]) - stored["ln_g"][scaled]
    x = np.asarray(table["d"])[scaled] ** -2.0
    slope, start = np.polyfit(x, error, 1)
    return float(np.sqrt(np.mean((error - start - slope * x) ** 2)))


def run(folder: Path, options: list[str], threads: int, with_dials: bool) -> None:
    """Time pyscale, and dials.scale if wanted, and print what they took and reached."""
    files = [str((folder / name).resolve()) for name in ("joint.expt", "joint.refl")]
    common = [*files, *options, f"nproc={threads}"]
    commands = {"pyscale scale": [find("pyscale"), "scale", *common]}
    if with_dials:
        commands["dials.scale"] = [find("dials.scale"), *common]
    print(f"{'':<16}{'seconds':>9}{'GiB':>8}{'rms error of ln g':>20}")
    seconds = {}
    for label, command in commands.items():
        with tempfile.TemporaryDirectory() as place:
            seconds[label], memory = timed(command, place, threads)
            error = rms_error(Path(place) / "scaled.refl", folder / "truth.npz")
            print(f"{label:<16}{seconds[label]:>9.1f}{memory:>8.2f}{error:>20.4f}")
            document = Path(place) / "pyscale.scale.json"
            if document.exists():
                print("  " + stages(json.loads(document.read_text())))
    if with_dials:
        print(f"ratio: {seconds['dials.scale'] / seconds['pyscale scale']:.1f}")


def stages(document: dict[str, Any]) -> str:
    """Seconds of each stage."""
    return ", ".join(f"{name} {value:.1f} s" for name, value in document["fit"]["wall_seconds"].items())


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make")
    maker.add_argument("kind", choices=("stills", "wedges"))
    maker.add_argument("n_data_sets", type=int)
    maker.add_argument("n_observations", type=int)
    maker.add_argument("folder", type=Path)
    runner = commands.add_parser("run")
    runner.add_argument("--dials", action="store_true")
    runner.add_argument("--threads", type=int, default=2)
    runner.add_argument("folder", type=Path)
    runner.add_argument("options", nargs="*")
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments.kind, arguments.n_data_sets, arguments.n_observations, arguments.folder)
    else:
        run(arguments.folder, arguments.options, arguments.threads, arguments.dials)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
