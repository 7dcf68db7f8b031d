"""Fixtures shared by all tests."""

from __future__ import annotations

import os
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
