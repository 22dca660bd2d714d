"""The processes of this machine, as Linux lists them in /proc."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path


def parents_of(command: bytes) -> dict[int, int]:
    """Each process with `command` in its command line, and the one that started it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            if command in (stat.parent / "cmdline").read_bytes():
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    return parents


def is_there(number: int) -> bool:
    return Path(f"/proc/{number}").exists()


def are_gone(numbers: Iterable[int], seconds: float = 10.0) -> bool:
    """Whether none of the processes is there, within so many seconds."""
    until = time.monotonic() + seconds
    while (left := any(map(is_there, numbers))) and time.monotonic() < until:
        time.sleep(0.05)
    return not left
