"""Merging of scaled data and reading of other programs' files, beside plain numpy and gemmi.

python bench/merge_and_read.py merge [--rows N] [--threads N ...] [--repeats N]
python bench/merge_and_read.py mtz|xds|stills [--records N] [--repeats N]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import pyscale  # noqa: E402
from pyscale.dataset import Job, make_job  # noqa: E402
from pyscale.experiment import ExperimentList  # noqa: E402
from pyscale.io.refl import read_refl, write_refl  # noqa: E402
from pyscale.io.unmerged_mtz import read_unmerged_mtz  # noqa: E402
from pyscale.io.xds_integrate import read_integrate_hkl  # noqa: E402
from pyscale.options.importing import InputOptions  # noqa: E402
from pyscale.reflections import Flag, ReflectionTable  # noqa: E402
from pyscale.simulation import SimulationOptions, simulate  # noqa: E402
from pyscale.symmetry import possible_reflections, rotation_matrices, to_asu  # noqa: E402

CELL = (79.0, 79.0, 37.5, 90.0, 90.0, 90.0)
N_SWEEPS, D_MIN, OUTLIERS = 8, 1.5, 0.002
SEED = 1


def measured(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall and processor seconds of one call, and what it returned."""
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - wall, time.process_time() - processor, result


def scaled_job(folder: Path, n: int) -> Job:
    """Sweeps of a crystal that has been scaled, in any order of rows, read from a file as users' data are."""
    data = simulate(
        SimulationOptions(n_sweeps=N_SWEEPS, space_group="P 43 21 2", unit_cell=CELL, d_min=8.0, sweep_width=60.0)
    )
    experiments = ExperimentList(data.document)
    first = experiments[0]
    rng = np.random.default_rng(SEED)
    unique = possible_reflections(first.unit_cell, first.space_group, D_MIN)
    rotations = np.concatenate([s * rotation_matrices(first.space_group) for s in (1, -1)])
    which, operator = rng.integers(len(unique), size=n), rng.integers(len(rotations), size=n)
    true = rng.exponential(1000.0, len(unique))[which]
    g = rng.uniform(0.5, 1.5, n)
    variance = (20.0 + true) * g
    table = ReflectionTable(identifiers=dict(enumerate(data.identifiers)))
    table["id"] = np.sort(rng.integers(N_SWEEPS, size=n)).astype(np.int32)
    table["miller_index"] = np.einsum("ni,nij->nj", unique[which], rotations[operator]).astype(np.int32)
    table["intensity.scale.value"] = rng.normal(true * g, np.sqrt(variance))
    table["intensity.scale.variance"] = variance
    table["inverse_scale_factor"] = g
    table["inverse_scale_factor_variance"] = (0.01 * g) ** 2
    table["partiality"] = rng.uniform(0.9, 1.0, n)
    flags = np.full(n, int(Flag.integrated | Flag.scaled), np.uint64)
    flags[rng.random(n) < OUTLIERS] |= np.uint64(int(Flag.outlier_in_scaling))
    table["flags"] = flags
    images = float(experiments[0].image_range[1])
    table["xyzobs.px.value"] = np.column_stack([rng.uniform(0, 2000, (n, 2)), rng.uniform(0, images, n)])
    write_refl(table, folder / "scaled.refl")
    return make_job(experiments, [read_refl(folder / "scaled.refl")])


def with_numpy(job: Job) -> np.ndarray:
    """The weighted means of groups alone, as one would write them in numpy; asymmetric unit by gemmi."""
    table = ReflectionTable.concatenate([d.reflections for d in job.data_sets])
    kept = (table["flags"] & np.uint64(int(Flag.outlier_in_scaling))) == 0
    g = table["inverse_scale_factor"][kept]
    index, _ = to_asu(job.data_sets[0].experiment.space_group, table["miller_index"][kept])
    order = np.lexsort((table["id"][kept], *index.T))
    index = index[order]
    starts = np.flatnonzero(np.concatenate([[True], (index[1:] != index[:-1]).any(axis=1)]))
    weight = (g * g / table["intensity.scale.variance"][kept])[order]
    total = np.add.reduceat(weight * (table["intensity.scale.value"][kept] / g)[order], starts)
    return np.asarray(total / np.add.reduceat(weight, starts))


def bench_merge(folder: Path, n: int, threads: list[int], repeats: int) -> None:
    """All that merging does after the file has been read, per stage."""
    job = scaled_job(folder, n)
    reference, _, means = measured(lambda: with_numpy(job))
    print(f"{n} rows; numpy (asymmetric unit, lexsort, weighted means alone): {reference:.2f} s")
    keywords: dict[str, Any] = {"d_min": D_MIN, "merging": {"scale_errors": "common"}}
    for n_threads in threads:
        best: tuple[float, float, Any] | None = None
        for _ in range(repeats):
            found = measured(lambda: pyscale.merge(job, nproc=n_threads, **keywords))  # noqa: B023
            best = found if best is None or found[0] < best[0] else best
        assert best is not None
        wall, processor, result = best
        merged = result.data_sets[0].merged
        if len(merged.intensity) != len(means):
            sys.exit("numpy finds another number of reflections")
        stages = ", ".join(f"{name} {1e3 * s:.0f}" for name, s in result.seconds.items() if s > 5e-4)
        print(
            f"{n_threads} threads: {wall:.2f} s wall, {processor:.2f} s of processors, {reference / wall:.1f} times as "
            f"fast as numpy, {wall * 5e6 / n:.2f} s per five million; ms: {stages}; sum {merged.intensity.sum():.17g}"
        )


def compare(name: str, ours: Callable[[], Any], gemmis: Callable[[], Any] | None, n: int, repeats: int) -> None:
    """Least times in turns."""
    least = np.full((2, 2), np.inf)
    for _ in range(repeats):
        for k, function in enumerate((ours, gemmis)):
            if function is not None:
                wall, processor, _ = measured(function)
                least[k] = np.minimum(least[k], (wall, processor))
    text = f"{name}, {n} records: {least[0, 0]:.3f} s wall, {least[0, 1]:.3f} s of processors"
    if gemmis is not None:
        text += (
            f"; gemmi's read alone {least[1, 0]:.3f} s and {least[1, 1]:.3f} s, ratio {least[0, 1] / least[1, 1]:.1f}"
        )
    print(text)


def bench_mtz(folder: Path, n: int, repeats: int) -> None:
    """Mosflm's unmerged file with partials."""
    from mtz_files import simulate_sweep, write_mtz

    cell, path = (78.0, 78.0, 150.0, 90.0, 90.0, 90.0), folder / "mosflm.mtz"
    sweeps = [
        simulate_sweep(k, cell=cell, d_min=1.9, n_images=360, first_batch=1 + 1000 * k, width=0.5)
        for k in range(max(1, round(n / 1_300_000)))
    ]
    written = len(write_mtz(path, sweeps, cell=cell)["H"])
    compare(
        "unmerged MTZ",
        lambda: read_unmerged_mtz(path, InputOptions()),
        lambda: gemmi.read_mtz_file(str(path)),
        written,
        repeats,
    )


def bench_stills(folder: Path, n: int, repeats: int) -> None:
    """An unmerged MTZ file with a batch for each still."""
    from mtz_files import simulate_sweep, write_mtz

    path = folder / "stills.mtz"
    sweeps = [
        simulate_sweep(k, n_images=1, width=1.0, first_batch=1 + 2 * k, d_min=3.0) for k in range(max(1, n // 60))
    ]

    def as_still(batch: Any) -> None:
        batch.floats[37] = batch.floats[36]

    written = len(write_mtz(path, sweeps, partials=False, edit_header=as_still)["H"])
    compare(
        f"{len(sweeps)} stills, MTZ",
        lambda: pyscale.read(path),
        lambda: gemmi.read_mtz_file(str(path)),
        written,
        repeats,
    )


def bench_xds(folder: Path, n: int, repeats: int) -> None:
    """INTEGRATE.HKL."""
    from xds_files import small_sweep, sweep_columns, write_integrate

    data, path = small_sweep(d_min=1.6, sweep_width=360.0), folder / "INTEGRATE.HKL"
    columns = sweep_columns(data)
    again = np.resize(np.arange(len(columns["hkl"])), n)
    write_integrate(path, data, {name: values[again] for name, values in columns.items()})
    compare(
        "INTEGRATE.HKL",
        lambda: read_integrate_hkl(path, InputOptions()),
        lambda: gemmi.read_xds_ascii(str(path)),
        n,
        repeats,
    )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("merge", "mtz", "xds", "stills"))
    parser.add_argument("--rows", "--records", type=int, default=None)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.what == "merge":
            bench_merge(folder, chosen.rows or 5_000_000, chosen.threads, chosen.repeats)
        elif chosen.what == "mtz":
            bench_mtz(folder, chosen.rows or 1_000_000, chosen.repeats)
        elif chosen.what == "xds":
            bench_xds(folder, chosen.rows or 1_000_000, chosen.repeats)
        else:
            bench_stills(folder, chosen.rows or 30_000, chosen.repeats)


if __name__ == "__main__":
    main()
