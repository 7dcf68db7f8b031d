"""One iteration of the fit (cost, gradient, normal matrix): the core beside a plain loop, on the same synthetic data.

    python bench/assembly.py [--observations N] [--groups N] [--repeats N]

PYSCALE_SIMD=baseline|avx2|avx512 forces an instruction set of the core. bench/README.md says how to read the output.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyscale import _core

ROOT = Path(__file__).resolve().parent.parent
N_SCALE, N_DECAY, LMAX, N_IMAGES = 26, 20, 4, 1800
LENGTHS = np.array([3, 3, LMAX * (LMAX + 2)], dtype=np.int32)
AGREEMENT = 1e-9

Array = NDArray[Any]


@dataclass(frozen=True)
class Data:
    """A synthetic sweep, sorted by group."""

    offsets: Array
    image_z: Array
    half_inv_d2: Array
    s0: Array
    s1: Array
    intensity: Array
    weight: Array

    @property
    def n(self) -> int:
        """Number of observations."""
        return int(self.intensity.size)


def synthetic_data(n_observations: int, n_groups: int, seed: int = 1) -> Data:
    """Make Wilson-distributed intensities under a smooth scale, with counting and relative errors."""
    random = np.random.default_rng(seed)
    inner = np.sort(random.choice(np.arange(1, n_observations), n_groups - 1, replace=False))
    offsets = np.concatenate([[0], inner, [n_observations]]).astype(np.int64)
    group = np.repeat(np.arange(n_groups), np.diff(offsets))
    half_inv_d2 = (0.5 * random.uniform(0.01, 0.2, n_groups))[group]
    image_z = random.uniform(0.0, N_IMAGES, n_observations)
    s0, s1 = (v / np.linalg.norm(v, axis=1)[:, None] for v in random.normal(size=(2, n_observations, 3)))
    phase = 2 * np.pi * image_z / N_IMAGES
    g = (1 + 0.3 * np.sin(phase)) * np.exp(-3 * half_inv_d2 * image_z / N_IMAGES) * (1 + 0.1 * s1[:, 0])
    expected = g * random.exponential(1000.0, n_groups)[group]
    variance = 20.0 + expected + (0.03 * expected) ** 2
    intensity = random.normal(expected, np.sqrt(variance))
    return Data(offsets, image_z, half_inv_d2, s0, s1, intensity, 1.0 / variance)


def axes() -> tuple[_core.SmootherAxis, _core.SmootherAxis]:
    """Nodes of scale and decay."""

    def axis(n: int) -> _core.SmootherAxis:
        return _core.make_smoother_axis((n - 2) / N_IMAGES * 0.999, n, 0.0, N_IMAGES)

    return axis(N_SCALE), axis(N_DECAY)


def core_problem(data: Data, n_threads: int) -> _core.FitProblem:
    """The core's problem."""
    model = _core.JobModel()
    scale, decay = axes()
    model.add_data_set()
    for component in (
        _core.Component.smooth_scale(scale),
        _core.Component.smooth_decay(decay),
        _core.Component.absorption(LMAX),
    ):
        model.add(0, component)
    observations = _core.Observations(np.zeros(data.n, np.int32), data.image_z, data.half_inv_d2, data.s0, data.s1)
    problem = _core.FitProblem(model, observations, data.intensity, data.offsets, n_threads)
    problem.set_weights(data.weight)
    return problem


def build_reference() -> Path:
    """Build the reference loop; returns where its libraries lie."""
    directory = ROOT / "build" / "reference_loop"

    def tool(name: str) -> str:
        found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
        if found is None:
            raise SystemExit(f"{name} is missing: pip install '.[test]'")
        return found

    package = subprocess.run(
        [tool("pyscale"), "--cmake-dir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    options = ["-DCMAKE_BUILD_TYPE=Release", f"-Dpyscale_DIR={package}", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    for arguments in (
        ["-S", str(ROOT / "bench" / "reference_loop"), "-B", str(directory), "-G", "Ninja", *options],
        ["--build", str(directory), "-j", "2"],
    ):
        done = subprocess.run([tool("cmake"), *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
    return directory


def pointer(array: Array) -> ctypes.c_void_p:
    """Address of an array's first element."""
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


class ReferenceLoop:
    """The plain loop. Basis values are rounded to single precision, as the core keeps them, to compare the sums."""

    def __init__(self, library: Path, data: Data, *, single: bool) -> None:
        self.functions = ctypes.CDLL(str(library))
        for name in ("read_bandwidth", "peak_flops"):
            getattr(self.functions, name).restype = ctypes.c_double
        self.data = data
        row = int(LENGTHS.sum())
        self.value, self.column = np.zeros((data.n, row)), np.zeros((data.n, row), np.int32)
        scale, decay = (np.array([a.factor, a.origin, a.spacing, a.n_nodes]) for a in axes())
        inputs = (data.image_z, data.half_inv_d2, data.s0, data.s1, scale, decay)
        self.functions.reference_rows(
            ctypes.c_int64(data.n),
            *map(pointer, inputs),
            ctypes.c_int32(LMAX),
            pointer(self.value),
            pointer(self.column),
        )
        if single:
            self.value = self.value.astype(np.float32).astype(np.float64)

    def normal_equations(self, parameters: Array) -> tuple[float, Array, Array]:
        """Cost, half gradient, and the matrix' upper triangle."""
        d, p = self.data, parameters.size
        cost, gradient, matrix = np.zeros(1), np.zeros(p), np.zeros((p, p))
        inputs = (d.offsets, d.intensity, d.weight, self.value, self.column, LENGTHS)
        self.functions.reference_normal_equations(
            ctypes.c_int64(d.offsets.size - 1),
            *map(pointer, inputs),
            ctypes.c_int32(p),
            *map(pointer, (parameters, cost, gradient, matrix)),
        )
        return float(cost[0]), gradient, matrix

    def read_bandwidth(self) -> float:
        """Bytes per second of one thread from main memory."""
        large = np.ones(1 << 25)
        return float(self.functions.read_bandwidth(pointer(large), ctypes.c_int64(large.size)))

    def peak_flops(self) -> float:
        """Operations per second of one thread."""
        return float(self.functions.peak_flops())


def seconds(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, Array]:
    """Wall seconds of each function, called in turns so that a busy machine disturbs all alike."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            taken[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in taken.items()}


def difference(ours: tuple[float, Array, Array], other: tuple[float, Array, Array]) -> dict[str, float]:
    """Largest differences; gradient and matrix relative to their scale, the matrix' diagonal."""
    root = np.sqrt(np.diag(ours[2]))
    return {
        "cost": abs(ours[0] / other[0] - 1),
        "gradient": float(np.max(np.abs(ours[1] - other[1]) / root) / np.sqrt(ours[0])),
        "matrix": float(np.max(np.abs(np.triu(ours[2] - other[2])) / np.outer(root, root))),
    }


def floor_table(data: Data, p: int, loop: ReferenceLoop) -> str:
    """What the machine needs at least, from counted bytes and operations."""
    row = int(LENGTHS.sum())
    n_bytes = 4 * row + 4 * LENGTHS.size + 8 + 8 + 4
    n_groups = data.offsets.size - 1
    per_row = 2 * row + row + 4 * row + row * (row + 1)
    per_group = 2 * p * (p + 1) * n_groups / data.n
    flops = per_row + per_group
    bandwidth, peak = loop.read_bandwidth(), loop.peak_flops()
    from_memory, from_arithmetic = 1e9 * n_bytes / bandwidth, 1e9 * flops / peak
    return "\n".join(
        [
            f"floor: {n_bytes} bytes read per observation ({row} basis values in single precision, first parameters of "
            f"{LENGTHS.size} runs, I, w, data set)",
            f"       at {bandwidth / 1e9:.1f} GB/s (one thread summing 256 MB): {from_memory:.1f} ns",
            f"       {flops:.0f} operations per observation: {per_row} for its row (g, dg/dp, a and c, the upper "
            f"triangle of dg dg^T), {per_group:.0f} its share of a a^T and c c^T of the group",
            f"       at {peak / 1e9:.1f} Gflop/s (one thread, independent multiply-adds): {from_arithmetic:.1f} ns",
            f"       the larger is the bound: {max(from_memory, from_arithmetic):.1f} ns per observation",
        ]
    )


def report_speed(data: Data, parameters: Array, loops: dict[str, ReferenceLoop], repeats: int) -> float:
    """Print times on one thread, ratios and agreement; returns the largest difference."""
    problem = core_problem(data, 1)
    functions: dict[str, Callable[[], object]] = {"core": lambda: problem.normal_equations(parameters)}
    for name, loop in loops.items():
        functions[name] = lambda loop=loop: loop.normal_equations(parameters)  # type: ignore[misc]
    taken = seconds(functions, repeats)
    print(f"{'one thread':<46}{'ns per observation':>20}{'(median)':>10}{'ratio to core':>15}")
    for name, values in taken.items():
        label = f"core, {_core.simd_name()}" if name == "core" else f"reference loop, {name}"
        best, median = 1e9 * values.min() / data.n, 1e9 * np.median(values) / data.n
        print(f"{label:<46}{best:>20.1f}{median:>10.1f}{values.min() / taken['core'].min():>15.2f}")
    exact = next(iter(loops.values()))
    found = difference(problem.normal_equations(parameters), exact.normal_equations(parameters))
    print("largest difference: " + ", ".join(f"{name} {value:.1e}" for name, value in found.items()))
    return max(found.values())


def report_threads(data: Data, parameters: Array, repeats: int) -> None:
    """Print how the core scales with threads."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    counts = sorted({1, n_cores, *(n for n in (2, 4, 8, 16, 32) if n <= n_cores)})
    problems = {n: core_problem(data, n) for n in counts}
    taken = seconds({str(n): (lambda q=q: q.normal_equations(parameters)) for n, q in problems.items()}, repeats)  # type: ignore[misc]
    one = taken["1"].min()
    for name, values in taken.items():
        best = values.min()
        print(f"threads {name:>3}: {1e9 * best / data.n:8.1f} ns per observation, speed-up {one / best:.2f}")


def main() -> int:
    """Run; exit status 1 when the results disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observations", type=int, default=180_000)
    parser.add_argument("--groups", type=int, default=6400)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    data = synthetic_data(arguments.observations, arguments.groups)
    libraries = build_reference()
    loops = {
        "-O3": ReferenceLoop(libraries / "reference_loop_portable.so", data, single=True),
        "-O3 -march=native": ReferenceLoop(libraries / "reference_loop_native.so", data, single=True),
    }
    random = np.random.default_rng(2)
    parameters = np.concatenate([np.ones(N_SCALE), np.zeros(N_DECAY), np.zeros(LMAX * (LMAX + 2))])
    parameters += 0.05 * random.normal(size=parameters.size)
    print(f"{data.n} observations in {data.offsets.size - 1} groups, {parameters.size} parameters, lmax {LMAX}")
    worst = report_speed(data, parameters, loops, arguments.repeats)
    rounded = core_problem(data, 1).normal_equations(parameters)
    full = ReferenceLoop(libraries / "reference_loop_portable.so", data, single=False).normal_equations(parameters)
    effects = ", ".join(f"{name} {value:.1e}" for name, value in difference(rounded, full).items())
    print(f"the same against basis values in double precision (those of the core are single): {effects}")
    report_threads(data, parameters, arguments.repeats)
    print(floor_table(data, parameters.size, loops["-O3 -march=native"]))
    if worst > AGREEMENT:
        print(f"the results disagree: {worst:.1e} > {AGREEMENT:g}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
