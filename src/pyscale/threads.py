"""How many threads a job may use."""

from __future__ import annotations

import os
from pathlib import Path

from .options.option import AUTO, Auto

__all__ = ["thread_count"]

_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def thread_count(asked: int | Auto = AUTO) -> int:
    """Return the number of threads to use.

    Parameters
    ----------
    asked
        A number, which is taken as it is; AUTO for the least of OMP_NUM_THREADS, the CPU affinity and the
        quota of the control group (container).

    Returns
    -------
    int
        At least 1.
    """
    if asked is not AUTO:
        return max(int(asked), 1)
    limits = (_omp_threads(), _affinity(), _cgroup_quota())
    return max(min((limit for limit in limits if limit is not None), default=1), 1)


def _omp_threads() -> int | None:
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) <= 1024 else None


def _affinity() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _cgroup_quota() -> int | None:
    """CPUs that the control group allows, rounded down but at least 1; None without a quota."""
    quotas = [quota for folder in _cgroup_folders() if (quota := _quota(folder)) is not None]
    return max(int(min(quotas)), 1) if quotas else None


def _cgroup_folders() -> list[Path]:
    """Folders of this process's control groups, versions 1 and 2, each with its parents."""
    roots = [_CGROUP, _CGROUP / "cpu", _CGROUP / "cpu,cpuacct"]
    folders = list(roots)
    for line in _read(_MEMBERSHIP).splitlines():
        controllers, _, group = line.partition(":")[2].partition(":")
        relative = Path(group.lstrip("/"))
        if ".." in relative.parts or (controllers and "cpu" not in controllers.split(",")):
            continue
        folders += [root / part for root in roots for part in (relative, *relative.parents)]
    return list(dict.fromkeys(folders))


def _quota(folder: Path) -> float | None:
    parts = _read(folder / "cpu.max").split()
    if len(parts) != 2:
        parts = [_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()]
    if not all(part.isdigit() for part in parts) or int(parts[1]) == 0 or int(parts[0]) == 0:
        return None
    return int(parts[0]) / int(parts[1])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
