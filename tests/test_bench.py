"""The benchmarks run and measure what they say; their times are nobody's business here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_reference_loop_and_core_agree(repository: Path) -> None:
    command = [sys.executable, str(repository / "bench" / "assembly.py")]
    done = subprocess.run(
        [*command, "--observations", "5000", "--groups", "400", "--repeats", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "largest difference" in done.stdout


def test_dense_solver_agrees_with_lapack(repository: Path) -> None:
    command = [sys.executable, str(repository / "bench" / "dense_solver.py"), "--sizes", "90", "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GFlop/s" in done.stdout
