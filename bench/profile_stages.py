"""Where the time of `pyscale scale` goes: start-up, then the stages of the job, over repeated runs.

python bench/profile_stages.py [--repeats N] FILE.expt FILE.refl ... [name=value ...]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMPORTS = {
    "interpreter alone": "pass",
    "with numpy": "import numpy",
    "with all of scaling": "import pyscale.cli.scale, pyscale.scaler, pyscale.exports",
}


def wall(command: list[str], folder: str) -> float:
    """Seconds of one command."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-2000:])
    return time.perf_counter() - start


def show(name: str, values: list[float]) -> None:
    """Print one line, milliseconds."""
    print(f"  {name:<34}{1e3 * np.median(values):>9.1f}{1e3 * min(values):>9.1f}")


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("arguments", nargs="+")
    arguments = parser.parse_args()
    given = [a if "=" in a else str(Path(a).resolve()) for a in arguments.arguments]
    scale = [sys.executable, "-c", "import sys; from pyscale.cli import main; sys.exit(main())", "scale", *given]
    total: list[float] = []
    stages: dict[str, list[float]] = {}
    imports: dict[str, list[float]] = {name: [] for name in IMPORTS}
    with tempfile.TemporaryDirectory() as folder:
        wall(scale, folder)  # warms the file cache and the byte code
        for _ in range(arguments.repeats):
            for name, code in IMPORTS.items():
                imports[name].append(wall([sys.executable, "-c", code], folder))
            total.append(wall(scale, folder))
            document = json.loads((Path(folder) / "pyscale.scale.json").read_text())
            for name, value in document["fit"]["wall_seconds"].items():
                stages.setdefault(name, []).append(value)
    print(f"{'milliseconds':<36}{'median':>9}{'least':>9}")
    show("the whole command", total)
    for name, values in imports.items():
        show(name, values)
    inside = stages.pop("total")
    for name, values in stages.items():
        show(f"stage: {name}", values)
    start_up = np.array(imports["with all of scaling"])
    show("the rest: writing, summary", list(np.array(total) - start_up - np.array(inside)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
