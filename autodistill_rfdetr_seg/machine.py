"""Main memory and disk of this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def memory_gb() -> dict[str, float | None]:
    """Total and available main memory in GB; None where the system does not say."""
    found: dict[str, float | None] = {"total": None, "available": None}
    path = Path("/proc/meminfo")
    if path.is_file():
        lines = dict(line.split(":", 1) for line in path.read_text(encoding="ascii").splitlines())
        for key, name in (("total", "MemTotal"), ("available", "MemAvailable")):
            found[key] = round(int(lines[name].split()[0]) / 2**20, 1)
    elif hasattr(os, "sysconf"):
        found["total"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return found


def disk_free(path: Path) -> int:
    """Free bytes of the disk that `path` is or would be on."""
    there = path.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free
