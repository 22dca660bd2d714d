"""TensorRT: one engine for the GPU that it is built on, run by rfdetr's own runner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..export_format import ExportFormat, FloatArray, Session, cuda_index


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
        precisions={"fp32": {"fp16": False}, "fp16": {"fp16": True}},
        aliases=("trt",),
        open_session=open_session,
        devices=("cuda",),
        through_onnx=True,
    ),
)
