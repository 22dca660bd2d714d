"""ONNX: one `.onnx` file, run by onnxruntime on a CPU or a CUDA GPU."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ....core.errors import UsageError
from ....system.onnx_sessions import CPU, load_session
from ..export_format import ExportFormat, ExportRequest, Session, cuda_index


def write(detector: Any, folder: Path, request: ExportRequest) -> Path:
    """Writes it with rfdetr. fp16 is the same graph with its weights and operations cast; int8 is it with its matrix
    products and convolutions in 8 bits."""
    from ...rfdetr_import import import_rfdetr
    from ..int8_quantization import quantize
    from ..vendor_export import export_with_rfdetr

    path = export_with_rfdetr(detector, folder, "onnx", request)
    if request.precision == "fp16":
        cast = import_rfdetr("rfdetr.export._tensorrt.exporter").fp16_source_graph
        with cast(str(path)) as half:
            Path(half).replace(path)
    elif request.precision == "int8":
        quantize(path, request)
    return path


def open_session(path: Path, precision: str, device: str) -> Session:
    """The file in onnxruntime, on CUDA where `device` allows it and this onnxruntime has it."""
    import onnxruntime

    index = cuda_index(device)
    session = None
    if index is not None and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        # RuntimeError: CUDA is installed and finds no GPU.
        with contextlib.suppress(RuntimeError):
            session = load_session(path, [("CUDAExecutionProvider", {"device_id": index}), CPU])
    if device.startswith("cuda") and (session is None or "CUDAExecutionProvider" not in session.get_providers()):
        hint = "Install onnxruntime-gpu, with the CUDA that it is made for."
        raise UsageError(f"This onnxruntime has no device {device!r} here.", hint)
    session = session or load_session(path)
    return lambda batch: session.run(["dets", "labels", "masks"], {"input": batch})


FORMATS = (
    ExportFormat(
        "onnx",
        suffixes=(".onnx",),
        modules=("onnx", "onnxruntime"),
        install="pip install 'autodistill-rfdetr-seg[onnx]'",
        precisions={"fp32": {}, "fp16": {}, "int8": {}},
        # rfdetr's own requirements for ONNX do not include casting.
        precision_modules={"fp16": ("onnxconverter_common",)},
        write=write,
        open_session=open_session,
        devices=("cuda", "cpu"),
        through_onnx=True,
        dynamic_batch=True,
    ),
)
