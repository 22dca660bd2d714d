"""The torch devices of this machine: what a name such as `auto` or `cuda:1` means, and the memory of GPUs."""

from __future__ import annotations

from ..core.errors import UsageError


def resolve_device(device: str) -> str:
    """The torch device for `auto` (the accelerator if there is one, else the CPU), `cpu`, `cuda`, `cuda:N` …

    Raises:
        UsageError: there is no such kind of device, or none on this machine.
    """
    import torch

    if device == "auto":
        return _best_device()
    try:
        kind = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"There is no device {device!r}.", "Use auto, cpu, cuda or cuda:N.") from error
    if kind.type == "cuda" and (kind.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"Device {device!r} was asked for; torch sees {torch.cuda.device_count()} CUDA devices.", "Use auto or cpu."
        )
    return device


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    # Others, such as xpu; torch before 2.6 does not tell.
    accelerator = getattr(torch, "accelerator", None)
    return str(accelerator.current_accelerator()) if accelerator is not None and accelerator.is_available() else "cpu"


def gpu_memory(device: str) -> int | None:
    """Bytes of memory of a CUDA device; None for any other torch device."""
    import torch

    if not device.startswith("cuda"):
        return None
    return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)


def gpu_count() -> int:
    """The number of CUDA devices that torch sees."""
    import torch

    return int(torch.cuda.device_count())
