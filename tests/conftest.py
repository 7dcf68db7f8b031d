"""What tests need from outside the repository: real data, DIALS, independent programs as oracles.

A missing piece skips its tests, and a loud line at the end says how to get it. In CI the variables
PYSCALE_REQUIRE_DATA, PYSCALE_REQUIRE_DIALS and PYSCALE_REQUIRE_ORACLES (= 1) make it a failure instead.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ADVICE = {
    "DATA": "set PYSCALE_DATA to the directory of the real data sets (default: ../shared/data)",
    "DIALS": "install DIALS (Debian and Ubuntu: apt-get install dials) so that dials.scale is on the PATH",
    "ORACLES": "install the optional test requirements: pip install '.[test]'",
}


def missing(kind: str, what: str) -> NoReturn:
    """Skip the test, or fail it where the piece is required."""
    if os.environ.get(f"PYSCALE_REQUIRE_{kind}", "") not in ("", "0"):
        pytest.fail(f"{what}, and PYSCALE_REQUIRE_{kind} is set: {ADVICE[kind]}", pytrace=False)
    pytest.skip(f"[no {kind}] {what}")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Directory of the real data sets."""
    root = Path(os.environ.get("PYSCALE_DATA") or REPOSITORY.parent / "shared" / "data").resolve()
    if not root.is_dir():
        missing("DATA", f"no directory of real data at {root}")
    return root


@pytest.fixture(scope="session")
def require_dials() -> Path:
    """Directory of the DIALS commands (dials.scale, dials.merge, ...)."""
    found = shutil.which("dials.scale")
    if found is None:
        missing("DIALS", "dials.scale is not on the PATH")
    return Path(found).parent


@pytest.fixture(scope="session")
def run_oracle() -> Callable[..., None]:
    """Run a script of `tests/oracles` in a process of its own: cctbx and gemmi bring different C++ libraries."""
    if importlib.util.find_spec("iotbx") is None:
        missing("ORACLES", "iotbx is not installed")

    def run(script: str, *arguments: object) -> None:
        path = Path(__file__).parent / "oracles" / script
        command = [sys.executable, str(path), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for kind, advice in ADVICE.items():
        count = sum(f"[no {kind}]" in reason for reason in reasons)
        if count:
            terminalreporter.section(f"{count} tests NOT RUN: no {kind}", sep="!", red=True, bold=True)
            terminalreporter.write_line(f"To run them: {advice}.")
