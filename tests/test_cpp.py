"""The tests of the C++ core, built and run from here, so that one command tests everything."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

import pytest

from cpp_builds import consumer_of_source, default_build, run

THREADS = (1, 2, 3, 8)


@pytest.fixture(scope="module")
def programs() -> Path:
    return default_build() / "cpp" / "tests"


@pytest.fixture(scope="module")
def checksums(programs: Path) -> dict[int, str]:
    """What pyscale_checksum prints for each number of threads."""
    return {n: run(programs / "pyscale_checksum", str(n)) for n in THREADS}


def test_core(programs: Path) -> None:
    run(programs / "pyscale_tests", "--color_output=no", "--report_level=short")


def test_core_tests_are_there(programs: Path) -> None:
    listed = run(programs / "pyscale_tests", "--list_content")
    suites = {path.stem.removeprefix("test_") for path in Path(__file__).parent.parent.glob("cpp/tests/test_*.cpp")}
    assert suites
    assert suites <= {line.strip().rstrip("*") for line in listed.splitlines()}


@pytest.mark.parametrize("n_threads", THREADS[1:])
def test_bits_do_not_depend_on_threads(checksums: dict[int, str], n_threads: int) -> None:
    assert checksums[1].strip()
    assert checksums[n_threads] == checksums[1]


def test_bits_do_not_depend_on_openmp(checksums: dict[int, str]) -> None:
    serial = consumer_of_source() / "pyscale" / "cpp" / "tests"
    assert run(serial / "pyscale_checksum", "2") == checksums[1]


def test_only_dispatched_kernels_use_wide_registers(programs: Path) -> None:
    """Everything else runs on any x86-64, so must not hold, nor take from those, code for newer processors."""
    if platform.machine() not in ("x86_64", "AMD64") or not shutil.which("objdump"):
        pytest.skip("needs x86-64 and objdump")
    objects = sorted((programs.parent.parent / "CMakeFiles" / "pyscale_core.dir").rglob("*.o"))
    wide = [o.name for o in objects if re.search(r"%[yz]mm", run("objdump", "-d", "--no-show-raw-insn", o))]
    assert wide == ["kernels_avx2.cpp.o", "kernels_avx512.cpp.o"]
    for path in (o for o in objects if o.name in wide):
        weak = [line for line in run("nm", "-C", path).splitlines() if re.match(r"\w+ [WVuvw] ", line)]
        assert weak == [], "functions that the linker may choose for all of the program"
