"""Jobs of the Python library beside each other in one process, and how soon a cancelled one ends.

python bench/in_process.py threads|cancel FILE.expt FILE.refl [--repeats N] [--moments N] [name=value ...]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from hashlib import sha256
from multiprocessing import get_context

import numpy as np

import pyscale
from pyscale.dataset import Job
from pyscale.option_text import parse_arguments
from pyscale.options import SCALING_NAMES, ScalingOptions

SEED = 1
OF_PROCESS: dict[str, tuple[Job, ScalingOptions]] = {}


def scaled(job: Job, options: ScalingOptions) -> str:
    """The scales of one job on one thread, bit for bit."""
    return sha256(pyscale.scale(job, options=options).inverse_scale_factor.tobytes()).hexdigest()


def read_in_process(files: list[str], options: ScalingOptions) -> None:
    """Give a process the data that its calls scale."""
    OF_PROCESS["arguments"] = pyscale.read(*files), options


def scaled_in_process(_: int) -> str:
    """The same in a process of its own."""
    return scaled(*OF_PROCESS["arguments"])


def beside_each_other(job: Job, options: ScalingOptions, repeats: int) -> int:
    """Time one job, two in two threads, and two in two processes, in turns."""
    files, results = job.sources, set()
    threads = ThreadPoolExecutor(2)
    processes = ProcessPoolExecutor(2, get_context("spawn"), read_in_process, (files, options))
    contestants: dict[str, Callable[[], Iterable[str]]] = {
        "one job": lambda: [scaled(job, options)],
        "two threads": lambda: threads.map(lambda _: scaled(job, options), range(2)),
        "two processes": lambda: processes.map(scaled_in_process, range(2)),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(repeats + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            results |= set(run())
            if repeat > 0:
                times[name].append(time.perf_counter() - start)
    least, median = ({name: f(t) for name, t in times.items()} for f in (min, statistics.median))
    for name in contestants:
        ratios = f"{least[name] / least['one job']:.2f}, {median[name] / median['one job']:.2f}"
        print(f"{name:13}: least {least[name]:6.2f} s, median {median[name]:6.2f} s; beside one job {ratios}")
    print("results are", "identical" if len(results) == 1 else "NOT identical")
    return int(len(results) != 1)


def cancelled_after(job: Job, options: ScalingOptions, moment: float) -> tuple[float, float] | None:
    """Wall and processor seconds from cancelling to the end of the job; None if it had ended before."""
    cancellation = pyscale.Cancellation()
    asked: list[tuple[float, float]] = []

    def cancel() -> None:
        asked.append((time.perf_counter(), time.process_time()))
        cancellation.cancel()

    timer = threading.Timer(moment, cancel)
    timer.start()
    try:
        pyscale.scale(job, options=options, cancel=cancellation)
    except pyscale.Cancelled:
        return time.perf_counter() - asked[0][0], time.process_time() - asked[0][1]
    finally:
        timer.cancel()
    return None


def cancel(job: Job, options: ScalingOptions, moments: int) -> int:
    """Cancel a job at moments spread over its whole length."""
    start = time.perf_counter()
    pyscale.scale(job, options=options)
    length = time.perf_counter() - start
    rng = np.random.default_rng(SEED)
    when = (np.arange(moments) + rng.random(moments)) / moments * length
    found = [(t, took) for t in when.tolist() if (took := cancelled_after(job, options, t)) is not None]
    worst, (wall, processor) = max(found, key=lambda item: item[1][0])
    print(f"a job of {length:.1f} s cancelled at {len(found)} moments")
    median = statistics.median(wall for _, (wall, _) in found)
    print(f"time to its end: median {median:.3f} s, greatest {wall:.3f} s", end=" ")
    print(f"(at {worst:.2f} s; the processors worked {processor:.3f} s)")
    return 0


def main() -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("threads", "cancel"))
    parser.add_argument("arguments", nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--moments", type=int, default=40)
    given = parser.parse_args()
    threads = ["nproc=1"] if given.what == "threads" else []
    parsed = parse_arguments([*given.arguments, *threads], SCALING_NAMES)
    job = pyscale.read(*parsed.files)
    print(f"{sum(len(d.reflections) for d in job.data_sets):,} rows")
    if given.what == "threads":
        return beside_each_other(job, parsed.options, given.repeats)
    return cancel(job, parsed.options, given.moments)


if __name__ == "__main__":
    sys.exit(main())
