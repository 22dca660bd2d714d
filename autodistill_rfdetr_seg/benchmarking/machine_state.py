"""The machine, and whether it throttles its clocks during the measurement, if the system reports it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..system.machine import usable_cores

# NVML's bits for the reasons of lower clocks, without those that are a user's setting, idleness or a display:
# https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
# The name of the same field since driver 535, and before.
_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# A smaller change of a CPU's clock is normal: its cores share the turbo.
_CLOCK_DROP = 0.1


class ClockMonitor:
    """Samples the clocks while another process is measured.

    Args:
        gpu: the number of the GPU for nvidia-smi; None if no GPU is used.
        root: the folder with `proc` and `sys`.
        command: the nvidia-smi program.
    """

    def __init__(self, gpu: str | None = None, root: Path = Path("/"), command: str = "nvidia-smi") -> None:
        self._gpu, self._root, self._command = gpu, root, command
        self._cpu_mhz: list[float] = []
        self._gpu_mhz: list[float] = []
        self._reasons: set[str] = set()
        self._throttled = _throttle_count(root)
        self._field: str | None = _FIELDS[0]

    def sample(self) -> None:
        """Reads the clocks once."""
        self._cpu_mhz += [mean for mean in [cpu_mhz(self._root)] if mean is not None]
        if self._gpu is not None:
            self._sample_gpu()

    def _sample_gpu(self) -> None:
        for field in _FIELDS[_FIELDS.index(self._field) :] if self._field else ():
            row = _query_gpu(self._command, self._gpu or "0", f"clocks.sm,{field}").split(",")
            if len(row) == 2 and row[0].strip().isdigit():
                self._field = field
                self._gpu_mhz.append(float(row[0]))
                self._reasons |= throttle_reasons(row[1].strip())
                return
        self._field = None

    def result(self) -> dict[str, Any]:
        """JSON-ready data: lowest and highest clocks (MHz; None if not reported), the reasons, and a `note`."""
        count = _throttle_count(self._root)
        events = None if count is None or self._throttled is None else count - self._throttled
        found: dict[str, Any] = {
            "cpu_mhz": _range(self._cpu_mhz),
            "cpu_throttle_events": events,
            "gpu_mhz": _range(self._gpu_mhz),
            "gpu_reasons": sorted(self._reasons),
        }
        return {**found, "note": _note(found)}


def _note(found: dict[str, Any]) -> str:
    notes = []
    if found["gpu_mhz"]:
        notes.append(f"GPU {', '.join(found['gpu_reasons'])}" if found["gpu_reasons"] else "GPU steady")
    cpu = found["cpu_mhz"]
    if found["cpu_throttle_events"]:
        notes.append(f"CPU throttled {found['cpu_throttle_events']} times")
    elif cpu and cpu[0] < (1 - _CLOCK_DROP) * cpu[1]:
        notes.append(f"CPU between {cpu[0]:.0f} and {cpu[1]:.0f} MHz")
    elif cpu:
        notes.append(f"CPU steady at {cpu[1]:.0f} MHz")
    return "; ".join(notes) or "not reported"


def throttle_reasons(mask: str) -> set[str]:
    """The reasons why a GPU lowers its clocks, from the bit mask that nvidia-smi prints."""
    try:
        bits = int(mask, 16)
    except ValueError:
        return set()
    return {name for bit, name in _REASONS.items() if bits & bit}


def cpu_mhz(root: Path = Path("/")) -> float | None:
    """The mean clock of the CPUs in MHz; None if the system does not report it."""
    found = []
    for path in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"):
        found += [int(text) / 1000 for text in [_read(path).strip()] if text.isdigit()]
    if not found:
        text = _read(root / "proc" / "cpuinfo")
        found = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text, re.MULTILINE)]
    return sum(found) / len(found) if found else None


def _throttle_count(root: Path) -> int | None:
    files = root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")
    counts = [int(text) for text in (_read(path).strip() for path in files) if text.isdigit()]
    return sum(counts) if counts else None


def _range(values: Iterable[float]) -> list[float] | None:
    ordered = sorted(values)
    return [ordered[0], ordered[-1]] if ordered else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _query_gpu(command: str, gpu: str, query: str) -> str:
    """The answer of nvidia-smi for one GPU; empty if there is no GPU."""
    args = [command, f"--query-gpu={query}", "--format=csv,noheader,nounits", "-i", gpu]
    try:
        return subprocess.run(args, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def gpu_number(device: str) -> str:
    """The number for nvidia-smi of the device that torch calls `cuda` or `cuda:N`."""
    index = int(device.partition(":")[2] or 0)
    visible = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    return visible[index] if index < len(visible) else str(index)


def machine() -> dict[str, Any]:
    """This machine, JSON-ready: processor, cores this process may use, GPU and driver, and the load."""
    names = re.findall(r"^model name\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return {
        "platform": platform.platform(),
        "cpu": names[0].strip() if names else platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "gpu": _query_gpu("nvidia-smi", "0", "name,driver_version") or None,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
