"""LiteRT: a `.tflite` file converted from torch; it is not run here."""

from __future__ import annotations

from ..export_format import ExportFormat

FORMATS = (
    ExportFormat(
        "litert",
        suffixes=(".tflite",),
        modules=("litert_torch",),
        install="pip install 'rfdetr[litert]'",
        precisions={"fp32": {}},
    ),
)
