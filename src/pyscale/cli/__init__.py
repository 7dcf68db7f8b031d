"""The command `pyscale`."""

from __future__ import annotations

__all__ = ["main"]


def main() -> int:
    """Run the command line and return its exit status."""
    return 0
