"""TensorRT: one engine for the GPU that it is built on, run by rfdetr's own runner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..export_format import ExportFormat, ExportRequest, FloatArray, Session, cuda_index


def write(detector: Any, folder: Path, request: ExportRequest) -> Path:
    """Builds it with rfdetr: for `batch_size` images, or for 1 to `most_images` at once."""
    from ..vendor_export import export_with_rfdetr

    options: dict[str, Any] = {"fp16": request.precision == "fp16"}
    if not request.batch_size:
        options["max_batch_size"] = request.most_images
    return export_with_rfdetr(detector, folder, "tensorrt", request, **options)


def open_session(path: Path, precision: str, device: str) -> Session:
    """The engine on a GPU; its input is copied there by torch."""
    import torch

    from ...rfdetr_import import import_rfdetr

    engine = import_rfdetr("rfdetr.export._tensorrt.inference").TRTInference(
        str(path), device=f"cuda:{cuda_index(device) or 0}", sync_mode=True
    )

    def run(batch: FloatArray) -> Sequence[FloatArray]:
        outputs = engine({"input": torch.from_numpy(batch).to(engine.engine_device)})
        return [outputs[name].float().cpu().numpy() for name in ("dets", "labels", "masks")]

    return run


FORMATS = (
    ExportFormat(
        "tensorrt",
        suffixes=(".trt",),
        modules=("tensorrt",),
        install="pip install 'rfdetr[tensorrt]'",
        precisions={"fp32": {}, "fp16": {}},
        write=write,
        aliases=("trt",),
        open_session=open_session,
        devices=("cuda",),
        through_onnx=True,
        dynamic_batch=True,
        most_images=8,
    ),
)
