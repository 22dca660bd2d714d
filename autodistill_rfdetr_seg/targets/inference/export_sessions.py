"""The runtimes of exported models, behind one function: a batch in, boxes, logits and masks out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...core.errors import (
    AutodistillSegError,
    DataError,
    DependencyError,
    MissingInputError,
    UnknownNameError,
    UsageError,
)
from ...system.onnx_sessions import CPU, load_session
from .. import vendor
from ..export import vendor_export
from .export_runner import Array

# A batch (N, 3, S, S) float32, ready for the model → boxes (N, queries, 4), logits (N, queries, slots), mask logits
# (N, queries, h, w), all float32 and the caller's to keep.
Session = Callable[[Array], Sequence[Array]]


def runs(kind: str) -> bool:
    """Whether there is a runner for models of that format."""
    return kind in _SESSIONS


def open_session(kind: str, path: Path, precision: str, device: str) -> Session:
    """An exported model, loaded on a device (`auto`, `cpu`, `cuda`, `cuda:N`; for OpenVINO also its own names).

    Raises:
        UsageError: there is no runner for the format, or no such device.
        MissingInputError: the file is not there.
        DependencyError: the runtime is not installed.
        DataError: the file is damaged.
    """
    if kind not in _SESSIONS:
        raise UsageError(f"There is no runner for {kind} here.", f"There are for {', '.join(_SESSIONS)}.")
    if not path.exists():
        raise MissingInputError(f"There is no {path}, which the export's record names.")
    try:
        return _SESSIONS[kind](path, precision, device)
    except ImportError as error:
        raise DependencyError(
            f"{kind} models need a package that is not installed ({vendor.first_line(error)})",
            f"Install it with: {vendor_export.FORMATS[kind].install}",
        ) from error
    except AutodistillSegError:
        raise
    except Exception as error:  # each runtime has its own, without a common root
        raise DataError(f"{path} cannot be loaded as {kind}: {vendor.first_line(error)}") from error


def _cuda_index(device: str) -> int | None:
    """The CUDA device that is meant, None for the CPU.

    Raises:
        UnknownNameError: neither.
    """
    name, _, index = device.partition(":")
    if name not in ("auto", "cpu", "cuda") or (index and not index.isdigit()):
        raise UnknownNameError("device", device, ("auto", "cpu", "cuda", "cuda:N"))
    return None if name == "cpu" else int(index or 0)


def _onnx(path: Path, precision: str, device: str) -> Session:
    import onnxruntime

    index = _cuda_index(device)
    session = None
    if index is not None and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        # RuntimeError: CUDA is installed and finds no GPU.
        with contextlib.suppress(RuntimeError):
            session = load_session(path, [("CUDAExecutionProvider", {"device_id": index}), CPU])
    if device.startswith("cuda") and (session is None or "CUDAExecutionProvider" not in session.get_providers()):
        hint = "Install onnxruntime-gpu, with the CUDA that it is made for."
        raise UsageError(f"Device {device!r} was asked for; this onnxruntime has none here.", hint)
    session = session or load_session(path)
    return lambda batch: session.run(["dets", "labels", "masks"], {"input": batch})


def _openvino(path: Path, precision: str, device: str) -> Session:
    import openvino

    name = {"auto": "AUTO", "cpu": "CPU"}.get(device, device)
    core = openvino.Core()
    if name != "AUTO" and name.partition(".")[0] not in core.available_devices:
        raise UsageError(f"OpenVINO has no device {device!r} here.", f"It has {', '.join(core.available_devices)}.")
    # By itself it computes in bfloat16 where the CPU can, whatever the model's weights are:
    # https://github.com/openvinotoolkit/openvino/issues/28032
    hint = {"INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" or name == "CPU" else "f16"}
    compiled = core.compile_model(core.read_model(str(path)), name, hint)

    def run(batch: Array) -> Sequence[Array]:
        outputs = compiled(batch)
        # They have no names of ours: rfdetr gives boxes, logits and masks in this order.
        return [outputs[at] for at in range(3)]

    return run


def _tensorrt(path: Path, precision: str, device: str) -> Session:
    import torch

    engine = vendor.vendor("rfdetr.export._tensorrt.inference").TRTInference(
        str(path), device=f"cuda:{_cuda_index(device) or 0}", sync_mode=True
    )

    def run(batch: Array) -> Sequence[Array]:
        outputs = engine({"input": torch.from_numpy(batch).to(engine.engine_device)})
        return [outputs[name].float().cpu().numpy() for name in ("dets", "labels", "masks")]

    return run


_SESSIONS: Mapping[str, Callable[[Path, str, str], Session]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
}
