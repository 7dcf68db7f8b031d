"""A user's program is checked by `mypy --strict` against the package as installed, and runs."""

from __future__ import annotations

import os
import runpy
import site
import subprocess
import sys
from pathlib import Path

import pytest

import pyscale

PROGRAM = Path(__file__).parent / "typing" / "user_program.py"
MISTAKES = {
    "figures_of_merit(result)": "figures_of_merit(data)",
    "overall.r_pim": "overall.r_pym",
    "written: str": "written: int",
}


def strict_mypy(program: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    package = Path(pyscale.__file__).parent.parent
    environment = {name: value for name, value in os.environ.items() if name != "MYPYPATH"}
    if package not in map(Path, site.getsitepackages()):
        environment["MYPYPATH"] = str(package)  # an editable installation, which mypy does not find
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", f"--cache-dir={cache}"]
    return subprocess.run(
        [*command, "--config-file=", program.name],
        cwd=program.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def test_a_users_program_passes_strict_mypy(cache: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed (pip install '.[lint]')")
    done = strict_mypy(PROGRAM, cache)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mistakes_in_it_are_found(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed (pip install '.[lint]')")
    text = PROGRAM.read_text(encoding="utf-8")
    for right, wrong in MISTAKES.items():
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    (tmp_path / "wrong.py").write_text(text, encoding="utf-8")
    done = strict_mypy(tmp_path / "wrong.py", cache)
    assert done.stdout.count("error:") == len(MISTAKES), done.stdout + done.stderr


def test_a_users_program_runs(tmp_path: Path) -> None:
    program = runpy.run_path(str(PROGRAM))
    r_pim, n = program["from_memory"]()
    assert 0 < r_pim < 0.1 and n > 1000
    figures = program["from_files"](tmp_path)
    assert 0.0 < figures["r_pim"] < 0.1
    assert 0.9 < figures["completeness"] <= 1.0
    assert (tmp_path / "merged.mtz").is_file()
