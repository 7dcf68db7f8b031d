"""Where the C++ library of an installation is, for CMake projects that link it (docs/cpp.md)."""

from __future__ import annotations

from pathlib import Path

from . import _core
from .errors import UsageError

__all__ = ["cmake_dir"]


def cmake_dir() -> Path:
    """Directory that holds `pyscale-config.cmake`.

    It is found by the compiled module, beside which it is installed: the sources may be elsewhere.

    Raises
    ------
    UsageError
        If this installation was made without the C++ library.
    """
    assert _core.__file__ is not None
    directory = Path(_core.__file__).resolve().parent / "lib" / "cmake" / "pyscale"
    if not (directory / "pyscale-config.cmake").is_file():
        raise UsageError(f"this installation has no C++ library: there is no pyscale-config.cmake in {directory}")
    return directory
