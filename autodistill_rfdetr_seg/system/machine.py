"""Main memory, cores and disk of this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def memory_gb() -> dict[str, float | None]:
    """Total and available main memory in GB; None if the system does not report it."""
    found: dict[str, float | None] = {"total": None, "available": None}
    path = Path("/proc/meminfo")
    if path.is_file():
        lines = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines())
        for key, name in (("total", "MemTotal"), ("available", "MemAvailable")):
            found[key] = round(int(lines[name].split()[0]) / 2**20, 1)
    elif hasattr(os, "sysconf"):
        found["total"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return found


def usable_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def disk_free(path: Path) -> int:
    """Free bytes of the disk that `path` is or would be on."""
    return shutil.disk_usage(_existing(path)).free


def same_disk(one: Path, other: Path) -> bool:
    """Whether both are, or would be, on one file system, so that a file can be hard-linked from one to the other."""
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(path: Path) -> Path:
    there = path.absolute()
    while not there.exists():
        there = there.parent
    return there
