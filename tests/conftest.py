"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real data sets: PYSCALE_DATA, by default `../shared/data` beside the repository."""
    default = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("PYSCALE_DATA", default))
    if not root.is_dir():
        message = f"the real data sets are missing: {root} (set PYSCALE_DATA)"
        if os.environ.get("PYSCALE_REQUIRE_DATA") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return root


@pytest.fixture(scope="session")
def run_oracle() -> Callable[..., None]:
    """Run a script of `tests/oracles` in a process of its own: cctbx and gemmi bring different C++ libraries.

    A missing oracle is a loud skip, or a failure with PYSCALE_REQUIRE_ORACLES=1.
    """
    if importlib.util.find_spec("iotbx") is None:
        message = "the oracle iotbx is not installed (pip install cctbx-base)"
        if os.environ.get("PYSCALE_REQUIRE_ORACLES") == "1":
            pytest.fail(message)
        pytest.skip(message)

    def run(script: str, *arguments: object) -> None:
        path = Path(__file__).parent / "oracles" / script
        command = [sys.executable, str(path), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]

    return run
