"""Core ML: an `.mlpackage` for Apple's devices; it is not run here."""

from __future__ import annotations

from ..export_format import ExportFormat

FORMATS = (
    ExportFormat(
        "coreml",
        suffixes=(".mlpackage",),
        modules=("coremltools",),
        install="pip install 'rfdetr[coreml]'",
        precisions={"fp32": {"coreml_precision": "float32"}, "fp16": {"coreml_precision": "float16"}},
    ),
)
