"""What the machine is, and whether it slows itself down while it is measured, as far as it tells."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# NVML's bits for what lowers the clocks that is not a user's own setting, idleness or a display:
# https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
_REASONS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
# The same under its name since driver 535, and before.
_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# A CPU whose clock falls by less is only sharing its turbo.
_FALL = 0.1


class Watch:
    """Samples clocks while something else is measured, in another process.

    Args:
        gpu: the GPU's number for nvidia-smi, None where none is at work.
        root: where `proc` and `sys` are.
        command: nvidia-smi.
    """

    def __init__(self, gpu: str | None = None, root: Path = Path("/"), command: str = "nvidia-smi") -> None:
        self._gpu, self._root, self._command = gpu, root, command
        self._cpu_mhz: list[float] = []
        self._gpu_mhz: list[float] = []
        self._reasons: set[str] = set()
        self._throttled = _throttle_count(root)
        self._field: str | None = _FIELDS[0]

    def sample(self) -> None:
        """Asks the devices once."""
        self._cpu_mhz += [mean for mean in [cpu_mhz(self._root)] if mean is not None]
        if self._gpu is not None:
            self._sample_gpu()

    def _sample_gpu(self) -> None:
        for field in _FIELDS[_FIELDS.index(self._field) :] if self._field else ():
            row = _ask(self._command, self._gpu or "0", f"clocks.sm,{field}").split(",")
            if len(row) == 2 and row[0].strip().isdigit():
                self._field = field
                self._gpu_mhz.append(float(row[0]))
                self._reasons |= reasons(row[1].strip())
                return
        self._field = None

    def result(self) -> dict[str, Any]:
        """JSON-ready: least and greatest clocks (MHz; None where not told), what lowered them, and a `note`."""
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
    said = []
    if found["gpu_mhz"]:
        said.append(f"GPU {', '.join(found['gpu_reasons'])}" if found["gpu_reasons"] else "GPU steady")
    cpu = found["cpu_mhz"]
    if found["cpu_throttle_events"]:
        said.append(f"CPU throttled {found['cpu_throttle_events']} times")
    elif cpu and cpu[0] < (1 - _FALL) * cpu[1]:
        said.append(f"CPU between {cpu[0]:.0f} and {cpu[1]:.0f} MHz")
    elif cpu:
        said.append(f"CPU steady at {cpu[1]:.0f} MHz")
    return "; ".join(said) or "not told"


def reasons(mask: str) -> set[str]:
    """What slows a GPU down, of the bit mask that nvidia-smi prints."""
    try:
        bits = int(mask, 16)
    except ValueError:
        return set()
    return {name for bit, name in _REASONS.items() if bits & bit}


def cpu_mhz(root: Path = Path("/")) -> float | None:
    """The mean clock of the CPUs in MHz; None where the system does not tell."""
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


def _ask(command: str, gpu: str, query: str) -> str:
    """What nvidia-smi says of one GPU; empty where there is none."""
    args = [command, f"--query-gpu={query}", "--format=csv,noheader,nounits", "-i", gpu]
    try:
        return subprocess.run(args, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def gpu_number(device: str) -> str:
    """How nvidia-smi numbers the device that torch calls `cuda` or `cuda:N`."""
    index = int(device.partition(":")[2] or 0)
    visible = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    return visible[index] if index < len(visible) else str(index)


def machine() -> dict[str, Any]:
    """This machine, JSON-ready: processor, cores this process may use, GPU and driver, how busy it is already."""
    names = re.findall(r"^model name\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    may_use = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": platform.platform(),
        "cpu": names[0].strip() if names else platform.processor() or platform.machine(),
        "cores": may_use,
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "gpu": _ask("nvidia-smi", "0", "name,driver_version") or None,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
