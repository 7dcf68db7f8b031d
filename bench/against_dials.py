"""`pyscale scale` beside `dials.scale` on the same files: whole commands, in turns, wall time.

    python bench/against_dials.py [--repeats N] [--threads N] [FILE.expt FILE.refl ...] [name=value ...]

Without files: the four l_cysteine sweeps below PYSCALE_DATA (default ../shared/data). name=value goes to both programs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Program:
    """One contestant and what its runs gave."""

    label: str
    command: list[str]
    seconds: list[float] = field(default_factory=list)
    r_meas: float = float("nan")
    n_obs: int = 0


def default_files() -> list[str]:
    """The l_cysteine sweeps."""
    folder = Path(os.environ.get("PYSCALE_DATA") or ROOT.parent / "shared" / "data") / "l_cysteine"
    files = sorted(str(path) for suffix in ("expt", "refl") for path in folder.glob(f"*_integrated.{suffix}"))
    if not files:
        raise SystemExit(f"no files given, and none in {folder}: set PYSCALE_DATA")
    return files


def find(name: str) -> str:
    """Path of a program, that of the running environment first."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is not on the PATH")
    return found


def run(program: Program, threads: int) -> None:
    """Run once in a folder of its own, and keep time and statistics."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = subprocess.run(program.command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        program.seconds.append(time.perf_counter() - start)
        if done.returncode:
            raise SystemExit(f"{program.label} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        read = read_pyscale if (Path(folder) / "pyscale.scale.json").exists() else read_dials
        program.r_meas, program.n_obs = read(Path(folder))


def read_pyscale(folder: Path) -> tuple[float, int]:
    """R_meas and number of observations from our document."""
    overall = json.loads((folder / "pyscale.scale.json").read_text())["merging_statistics"]["overall"]
    return overall["r_meas"], overall["n_obs"]


def read_dials(folder: Path) -> tuple[float, int]:
    """R_meas and number of observations from the summary in dials.scale.log."""
    text = (folder / "dials.scale.log").read_text()

    def overall(label: str) -> float:
        match = re.search(rf"^{label}\s+([0-9.]+)", text, re.MULTILINE)
        return float(match.group(1)) if match else float("nan")

    n_obs = overall("Total observations")
    return overall(r"Rmeas\(I\)"), int(n_obs) if np.isfinite(n_obs) else 0


def dials_version() -> str:
    """What `dials.version` prints, on one line."""
    done = subprocess.run([find("dials.version")], capture_output=True, text=True, check=False)
    return "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip())


def report(ours: Program, theirs: Program) -> None:
    """Print medians, ratio and quality."""
    print(f"{'':<14}{'median s':>10}{'least s':>10}{'R_meas':>9}{'n_obs':>10}")
    for p in (ours, theirs):
        median, least = np.median(p.seconds), min(p.seconds)
        print(f"{p.label:<14}{median:>10.2f}{least:>10.2f}{p.r_meas:>9.4f}{p.n_obs:>10}")
    ratios = np.median(theirs.seconds) / np.median(ours.seconds)
    print(f"ratio of medians: {ratios:.1f}, of {len(ours.seconds)} and {len(theirs.seconds)} runs")


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="runs of dials.scale")
    parser.add_argument("--per-run", type=int, default=3, help="runs of pyscale scale before each of dials.scale")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("arguments", nargs="*")
    arguments = parser.parse_args()
    options = [a for a in arguments.arguments if "=" in a]
    files = [str(Path(a).resolve()) for a in arguments.arguments if "=" not in a] or default_files()
    common = [*files, *options, f"nproc={arguments.threads}"]
    ours = Program("pyscale scale", [find("pyscale"), "scale", *common])
    theirs = Program("dials.scale", [find("dials.scale"), *common])
    print(f"dials: {dials_version()}")
    print(f"files: {' '.join(Path(f).name for f in files)}; {' '.join(options)} {arguments.threads} threads")
    for _ in range(arguments.repeats):
        for _ in range(arguments.per_run):
            run(ours, arguments.threads)
        run(theirs, arguments.threads)
    report(ours, theirs)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
