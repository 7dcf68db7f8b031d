"""The number of threads: what was asked for, else the tightest of three limits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyscale import threads
from pyscale.options import AUTO


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 CPUs, no OMP_NUM_THREADS, and control groups in a folder that is still empty."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "_MEMBERSHIP", tmp_path / "membership")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_was_asked_for(machine: Path) -> None:
    assert threads.thread_count(3) == 3
    assert threads.thread_count(AUTO) == 8


@pytest.mark.parametrize(("text", "expected"), [("4", 4), ("2,4", 2), ("0", 8), ("many", 8), ("16", 8), ("", 8)])
def test_omp_num_threads(machine: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert threads.thread_count() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000", 8),
        ("300000 100000", 3),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("rubbish", 8),
        ("", 8),
    ],
)
def test_quota_version_2(machine: Path, text: str, expected: int) -> None:
    put(machine / "cgroup" / "cpu.max", text)
    assert threads.thread_count() == expected


def test_quota_of_a_parent_group(machine: Path) -> None:
    put(machine / "membership", "0::/jobs/mine\n")
    put(machine / "cgroup" / "jobs" / "mine" / "cpu.max", "600000 100000")
    put(machine / "cgroup" / "jobs" / "cpu.max", "200000 100000")
    assert threads.thread_count() == 2


@pytest.mark.parametrize(("quota", "expected"), [("400000", 4), ("-1", 8)])
def test_quota_version_1(machine: Path, quota: str, expected: int) -> None:
    put(machine / "membership", "5:memory:/other\n3:cpu,cpuacct:/job\n")
    put(machine / "cgroup" / "cpu,cpuacct" / "job" / "cpu.cfs_quota_us", f"{quota}\n")
    put(machine / "cgroup" / "cpu,cpuacct" / "job" / "cpu.cfs_period_us", "100000\n")
    assert threads.thread_count() == expected


def test_without_affinity(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert threads.thread_count() == 5
