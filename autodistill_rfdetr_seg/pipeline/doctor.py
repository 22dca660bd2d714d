"""What this machine can do: device, memory, versions, and the optional parts that are installed or missing."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..bases.inventory import ListedBase, inventory
from ..core.plain_text import number
from ..system.devices import resolve_device
from ..system.machine import disk_free, memory_gb
from ..system.versions import importable, versions


@dataclass(frozen=True)
class Part:
    """An optional part: whether it is installed and can run, its purpose, how to install it, why it is refused if it
    cannot run, and the GB of weights that are downloaded on first use (0 if none are missing)."""

    name: str
    present: bool
    purpose: str
    install: str
    problem: str = ""
    fetches_gb: float = 0


def optional_parts() -> list[Part]:
    """Every optional part, installed or missing; nothing is imported."""
    parts = [_part(known) for known in inventory()]
    others = [
        ("onnx", "ONNX export", "pip install 'autodistill-rfdetr-seg[onnx]'"),
        ("onnxruntime", "running an exported model without torch", "pip install 'autodistill-rfdetr-seg[onnx]'"),
        ("tensorrt", "TensorRT export on an NVIDIA GPU", "pip install 'rfdetr[tensorrt]'"),
        ("openvino", "OpenVINO export", "pip install 'autodistill-rfdetr-seg[openvino]'"),
        ("pillow_heif", "HEIC photos", "pip install 'autodistill-rfdetr-seg[heic]'"),
    ]
    return parts + [Part(name, importable(name), purpose, install) for name, purpose, install in others]


def _part(known: ListedBase) -> Part:
    fetches = sum(one.bytes for one in known.weights if not one.here) / 1e9
    present = known.installed and not known.problem
    name = f"{known.kind} {known.name}"
    return Part(name, present, known.summary, known.install, known.problem, round(fetches, 2))


def device() -> dict[str, Any]:
    """The device that `auto` chooses: its kind, name and memory in GB. Imports torch."""
    try:
        import torch
    except ImportError as error:
        return {"kind": "none", "name": f"torch cannot be imported: {error}", "memory_gb": None}
    kind = resolve_device("auto")
    if kind == "cuda":
        properties = torch.cuda.get_device_properties(0)
        gb = round(properties.total_memory / 2**30, 1)
        return {"kind": "cuda", "name": properties.name, "memory_gb": gb, "count": torch.cuda.device_count()}
    if kind == "mps":
        return {"kind": "mps", "name": platform.processor() or "Apple GPU", "memory_gb": None}
    return {
        "kind": "cpu",
        "name": f"{os.cpu_count()} cores (to train published sizes, use a GPU)",
        "memory_gb": None,
    }


def examine() -> dict[str, Any]:
    """Everything that `doctor` shows, JSON-ready."""
    return {
        "platform": platform.platform(),
        "device": device(),
        "memory_gb": memory_gb(),
        "disk_free_gb": round(disk_free(Path()) / 2**30, 1),
        "versions": versions(),
        "parts": [asdict(part) for part in optional_parts()],
        "keys": {"ROBOFLOW_API_KEY": "ROBOFLOW_API_KEY" in os.environ},
    }


def doctor_table(found: Mapping[str, Any]) -> str:
    """What `doctor` found, as text."""
    device, memory = found["device"], found["memory_gb"]
    on_device = f", {device['memory_gb']} GB" if device["memory_gb"] else ""
    lines = [
        f"platform  {found['platform']}",
        f"device    {device['kind']}: {device['name']}{on_device}",
        f"memory    {number(memory['total'], '.1f')} GB, {number(memory['available'], '.1f')} GB available",
        f"disk      {found['disk_free_gb']} GB free here",
        "",
        *(f"{name:<26}{version}" for name, version in found["versions"].items()),
        "",
    ]
    for part in found["parts"]:
        state = "present" if part["present"] else "refused" if part["problem"] else "missing"
        how = f"  → {part['install']}" if part["install"] and not part["present"] else ""
        lines.append(f"{part['name']:<26}{state:<9}{part['problem'] or part['purpose']}{how}")
        if part["fetches_gb"]:
            lines.append(f"{'':<35}its weights are missing: {part['fetches_gb']:.2f} GB, downloaded on first use")
    for name, present in found["keys"].items():
        lines.append(f"{name:<26}{'set' if present else 'not set'}")
    return "\n".join(lines)
