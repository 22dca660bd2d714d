"""What an export format is: how a model is written in it, what must be installed, and how it is run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ...core.errors import UnknownNameError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FloatArray: TypeAlias = "npt.NDArray[np.float32]"
# A batch (N, 3, S, S) float32, ready for the model → boxes (N, queries, 4), logits (N, queries, slots), mask logits
# (N, queries, h, w), all float32 and the caller's to keep.
Session: TypeAlias = "Callable[[FloatArray], Sequence[FloatArray]]"
# (file, precision, device) → the model, loaded. `device` is "auto", "cpu", "cuda" or "cuda:N", or a name of the
# runtime's own. Raises UsageError where there is no such device.
OpenSession: TypeAlias = Callable[[Path, str, str], Session]


@dataclass(frozen=True)
class ExportRequest:
    """What is to be written: the `precision`, the side of the input in pixels (`resolution`), and how many images it
    takes at once: `batch_size`, or 0 for any number up to `most_images` (None: without a limit).

    `calibration` gives inputs (N, 3, S, S) of training images, of which int8 learns the ranges of values.
    """

    precision: str
    resolution: int
    batch_size: int = 1
    most_images: int | None = None
    calibration: Callable[[], Iterator[FloatArray]] | None = None


# (rfdetr's model, folder, what is wanted) → the file or package that was written.
Write: TypeAlias = Callable[[Any, Path, ExportRequest], Path]


@dataclass(frozen=True)
class ExportFormat:
    """A format: its `name`, and everything that the package must know about it.

    `precisions` maps each precision, "fp32" first, to rfdetr's arguments for it. `modules` must be importable to write
    and to run it, `precision_modules` also for some precisions; `install` is the command that installs them. The name
    of an artifact ends with one of `suffixes`. Where `write` is None, rfdetr's exporter writes it. Where `open_session`
    is None, it cannot be run here, so it is not compared with torch. `devices` are those that it runs on, the fastest
    first. `dynamic_batch` means that an artifact can take any number of images at once, up to `most_images` where that
    is not None. `through_onnx` means that it is made from an ONNX graph, whose opset is recorded.
    """

    name: str
    suffixes: tuple[str, ...]
    modules: tuple[str, ...]
    install: str
    precisions: Mapping[str, Mapping[str, Any]]
    precision_modules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    write: Write | None = None
    open_session: OpenSession | None = None
    devices: tuple[str, ...] = ("cpu",)
    through_onnx: bool = False
    dynamic_batch: bool = False
    most_images: int | None = None

    @property
    def exact_device(self) -> str:
        """Where a comparison with torch is exact: the CPU, or what else it runs on."""
        return "cpu" if "cpu" in self.devices else "auto"

    def missing_module(self, precision: str) -> str | None:
        """The first module that a precision needs and that is not installed; None where all are."""
        modules = self.modules + self.precision_modules.get(precision, ())
        return next((name for name in modules if importlib.util.find_spec(name) is None), None)


def cuda_index(device: str) -> int | None:
    """The CUDA device that a name means, None for the CPU.

    Raises:
        UnknownNameError: it means neither.
    """
    name, _, index = device.partition(":")
    if name not in ("auto", "cpu", "cuda") or (index and not index.isdigit()):
        raise UnknownNameError("device", device, ("auto", "cpu", "cuda", "cuda:N"))
    return None if name == "cpu" else int(index or 0)
