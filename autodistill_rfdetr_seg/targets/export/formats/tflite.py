"""TensorFlow Lite: a `.tflite` file converted from ONNX; it is not run here."""

from __future__ import annotations

from ..export_format import ExportFormat

FORMATS = (
    ExportFormat(
        "tflite",
        suffixes=(".tflite",),
        modules=("onnx2tf",),
        install="pip install 'rfdetr[tflite]'",
        precisions={"fp32": {"quantization": "fp32"}, "fp16": {"quantization": "fp16"}},
        through_onnx=True,
    ),
)
