"""A model in torch that rfdetr has made faster: in half precision, or compiled."""

from __future__ import annotations

import re
from pathlib import Path

from ...core.errors import TrainingError, UnknownNameError, UsageError
from ...system.devices import resolve_device
from .. import vendor
from ..rfdetr_import import VENDOR_ERRORS, first_line
from ..vendor_output import quiet
from .model_artifacts import TorchModel

# rfdetr's names of its compilers.
COMPILERS = ("torchscript", "inductor")
TORCH = ("torch", *COMPILERS)
_TYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
# Flags of a CPU (x86, Arm) that computes in the type instead of emulating it.
_CPU_FLAGS = {"fp16": {"avx512_fp16", "amx_fp16", "fphp"}, "bf16": {"avx512_bf16", "amx_bf16", "bf16"}}


class OptimizedModel(TorchModel):
    """A checkpoint in torch after rfdetr's `inference()`. It loads its own copy, which can be used for nothing else.

    Args:
        checkpoint: the file.
        kind: `torch`, or a compiler: `torchscript` (seconds), `inductor` (minutes; needs a C++ compiler).
        precision: `fp32`, `fp16` or `bf16`.
        batch_size: the batch size of a compiled model.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.

    Raises:
        MissingInputError, TrainingError: there is no such checkpoint, it is damaged, or it cannot be compiled.
        UsageError: the device is not available, or does not compute in that precision.
    """

    def __init__(self, checkpoint: Path, kind: str, precision: str, batch_size: int, device: str) -> None:
        if kind not in TORCH:
            raise UnknownNameError("compiler", kind, TORCH)
        if precision not in _TYPES:
            raise UsageError(f"torch has no precision {precision!r} here.", f"It has {', '.join(_TYPES)}.")
        place = resolve_device(device)
        if not computes_in(place, precision):
            raise UsageError(f"{place} does not compute in {precision} here.")
        super().__init__(vendor.load_checkpoint(checkpoint, False, place), checkpoint)
        self.kind, self.precision = kind, precision
        self.spec = {**self.spec, "batch_size": batch_size if kind in COMPILERS else 0}
        backend = {"compile_backend": kind} if kind in COMPILERS else {}
        try:
            with quiet():
                self.detector.inference(
                    compile=bool(backend), batch_size=batch_size, dtype=_TYPES[precision], **backend
                )
        except VENDOR_ERRORS as error:
            raise TrainingError(
                f"The model could not be prepared with {kind} in {precision}: {first_line(error)}"
            ) from error


def computes_in(device: str, precision: str, cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether a resolved device has instructions for a precision; without `cpu_info` a CPU counts as fp32 only."""
    import torch

    if precision == "fp32":
        return True
    if device.startswith("cuda"):
        return precision == "fp16" or torch.cuda.get_device_capability(device) >= (8, 0)
    if device == "mps":
        return precision == "fp16"
    if not cpu_info.is_file():
        return False
    flags = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpu_info.read_text(encoding="utf-8"), re.MULTILINE)
    return bool(_CPU_FLAGS[precision] & set(" ".join(flags[:1]).split()))
