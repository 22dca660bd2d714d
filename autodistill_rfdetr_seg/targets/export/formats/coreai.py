"""Core AI: an `.aimodel` for Apple's devices; it is not run here."""

from __future__ import annotations

from ..export_format import ExportFormat

FORMATS = (
    ExportFormat(
        "coreai",
        suffixes=(".aimodel",),
        modules=("coreai_torch",),
        install="pip install 'rfdetr[coreai]'",
        precisions={"fp32": {"coreai_precision": "float32"}, "fp16": {"coreai_precision": "float16"}},
    ),
)
