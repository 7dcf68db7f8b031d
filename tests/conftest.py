"""What tests need from outside the repository: real data, DIALS, independent programs as oracles; and small jobs.

A missing piece skips its tests, and a loud line at the end says how to get it. In CI the variables
PYSCALE_REQUIRE_DATA, PYSCALE_REQUIRE_DIALS, PYSCALE_REQUIRE_ORACLES and PYSCALE_REQUIRE_BROWSER (= 1) make it a
failure instead.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

# Before anything loads OpenMP: tests run beside each other, so threads neither spin nor outnumber the processors.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

import pyscale
from browser import Browser, find_browser
from pyscale.dataset import make_job
from pyscale.intensity_choice import IntegratedIntensities
from pyscale.observations import JobObservations
from pyscale.result import ScalingResult

REPOSITORY = Path(__file__).resolve().parent.parent
ADVICE = {
    "DATA": "set PYSCALE_DATA to the directory of the real data sets (default: ../shared/data)",
    "DIALS": "install DIALS (Debian and Ubuntu: apt-get install dials) so that dials.scale is on the PATH",
    "ORACLES": "install the optional test requirements: pip install '.[test]'",
    "BROWSER": "install Chromium (Debian: apt-get install chromium), or set PYSCALE_BROWSER to one",
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
def browser() -> Iterator[Browser]:
    """A headless Chromium with one page."""
    command = find_browser()
    if command is None:
        missing("BROWSER", "there is no Chromium")
    with Browser(command) as found:
        yield found


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


@pytest.fixture(scope="session")
def make_observations() -> Callable[..., JobObservations]:
    """Build observations from their groups, data sets and intensities: what stages on groups look at, no geometry."""

    def make(group: np.ndarray, data_set: np.ndarray, intensity: np.ndarray, variance: np.ndarray) -> JobObservations:
        order = np.lexsort((data_set, group))
        n = order.size
        offsets = np.concatenate([[0], np.cumsum(np.bincount(group))]).astype(np.int64)
        value, spread = intensity[order].astype(np.float64), variance[order].astype(np.float64)
        missing_value = np.full(n, np.nan)
        return JobObservations(
            data_set=data_set[order].astype(np.int32),
            row=np.arange(n),
            intensity=value,
            variance=spread,
            d_spacing=np.full(n, 2.0),
            image_z=np.zeros(n),
            s0_crystal=np.zeros((0, 3)),
            s1_crystal=np.zeros((0, 3)),
            x_px=np.zeros(n),
            y_px=np.zeros(n),
            given_factor=np.ones(n),
            offsets=offsets,
            anomalous_offsets=offsets,
            target_offsets=offsets,
            group=group[order].astype(np.int64),
            absent=np.zeros(n, np.bool_),
            miller_index=np.ones((n, 3), np.int32),
            integrated=IntegratedIntensities(missing_value, missing_value, value, spread, np.ones(n)),
        )

    return make


@pytest.fixture(scope="session")
def small_result() -> ScalingResult:
    """Two scaled sweeps with planted outliers, partials, rows that are not integrated, and a resolution cut."""
    data = pyscale.simulate(
        d_min=4.0, sweep_width=80.0, oscillation_width=1.0, n_sweeps=2, partials=0.1, outlier_fraction=0.01, seed=11
    )
    table = data.reflections()
    flags = table["flags"].copy()
    flags[::50] &= ~np.uint64(0x300)
    table["flags"] = flags
    return pyscale.scale(make_job(data.experiments(), [table]), d_min=4.2, nproc=1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    for kind, advice in ADVICE.items():
        count = sum(f"[no {kind}]" in reason for reason in reasons)
        if count:
            terminalreporter.section(f"{count} tests NOT RUN: no {kind}", sep="!", red=True, bold=True)
            terminalreporter.write_line(f"To run them: {advice}.")
