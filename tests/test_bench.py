"""The benchmarks run and measure what they say; their times are nobody's business here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyscale


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


def run(repository: Path, script: str, *arguments: str) -> str:
    """Standard output of a bench."""
    command = [sys.executable, str(repository / "bench" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_recovery_tells_the_right_model(repository: Path) -> None:
    text = run(repository, "model_recovery.py", "--seeds", "1", "--kinds", "B decay", "--models", "KB", "smooth")
    constant, smooth = (float(cell.strip(" *")) for cell in text.splitlines()[3].split("|")[2:4])
    assert constant > 10.0
    assert 0.0 < smooth < 1.0


def test_random_jobs_are_judged_beside_the_rules(repository: Path) -> None:
    text = run(repository, "cross_validated.py", "--first", "5", "--sets", "1", "--models", "smooth")
    assert "| 5 | " in text
    assert "| none |" in text
    assert "error ≤ 1.02 × that of the rules" in text


def test_dense_solver_agrees_with_lapack(repository: Path) -> None:
    assert "GFlop/s" in run(repository, "dense_solver.py", "--sizes", "90", "--repeats", "1")


def test_jobs_beside_each_other_and_cancelled_ones(repository: Path, tmp_path: Path) -> None:
    pyscale.simulate(d_min=4.0).write(tmp_path)
    files = [str(tmp_path / "simulated.expt"), str(tmp_path / "simulated.refl")]
    text = run(repository, "in_process.py", "threads", *files, "--repeats", "1")
    assert "results are identical" in text
    assert "time to its end" in run(repository, "in_process.py", "cancel", *files, "--moments", "4")
