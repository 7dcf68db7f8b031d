"""The tests of the C++ core, built and run from here, so that one command tests everything."""

from __future__ import annotations

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
