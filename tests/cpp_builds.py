"""Builds of the C++ code that tests share: one tree for each way to build, kept from run to run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
_BUILDS = ROOT / "build" / "cpp-tests"
# The kernels keep their own -O3: only what is compiled but once and runs briefly is optimised less.
_QUICKLY = ("-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O2 -DNDEBUG")


def run(*command: str | Path) -> str:
    """Run a command and return its output, which the failure shows when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\n{done.stdout}", pytrace=False)
    return done.stdout


def tool(name: str) -> str:
    """Path of a build tool, that of the running environment first."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is missing; the test requirements install it: pip install '.[test]'", pytrace=False)
    return found


def default_build() -> Path:
    """The library as a shared one, its tests and the example, from the source tree."""
    options = ("-DPYSCALE_TESTS=ON", "-DPYSCALE_EXAMPLES=ON", "-DBUILD_SHARED_LIBS=ON")
    return _build("default", ROOT, ("all",), *_QUICKLY, *options)


def consumer_of_source() -> Path:
    """The consumer project with this source tree inside it: a static library, without OpenMP, Eigen by hand."""
    eigen = distribution("cmeel-eigen").locate_file("cmeel.prefix/include/eigen3")
    options = (f"-DPYSCALE_SOURCE={ROOT}", "-DPYSCALE_OPENMP=OFF", "-DPYSCALE_TESTS=ON", f"-DPYSCALE_EIGEN_DIR={eigen}")
    targets = ("consumer", "pyscale_checksum")
    return _build("source", ROOT / "tests" / "cpp_consumer", targets, *_QUICKLY, *options)


def consumer_of_installation() -> Path:
    """The consumer project against the installed package, by a compiler that is said to have no OpenMP."""
    package = run(tool("pyscale"), "--cmake-dir").strip()
    options = ("-DCMAKE_CXX_FLAGS=-O1", f"-Dpyscale_DIR={package}", "-DCMAKE_DISABLE_FIND_PACKAGE_OpenMP=ON")
    return _build("installed", ROOT / "tests" / "cpp_consumer", ("consumer",), *options)


def _build(name: str, source: Path, targets: tuple[str, ...], *options: str) -> Path:
    directory = _BUILDS / name
    with _alone(name):
        configuration = (f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}", f"-DPython_EXECUTABLE={sys.executable}", *options)
        run(tool("cmake"), "-S", source, "-B", directory, "-G", "Ninja", *configuration)
        run(tool("cmake"), "--build", directory, "--target", *targets, "--parallel", str(os.cpu_count() or 1))
    return directory


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Keep tests that run beside each other out of the same tree."""
    _BUILDS.mkdir(parents=True, exist_ok=True)
    with (_BUILDS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
