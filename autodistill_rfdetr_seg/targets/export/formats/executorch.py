"""ExecuTorch: a `.pte` program with the XNNPACK backend; it is not run here."""

from __future__ import annotations

from ..export_format import ExportFormat

FORMATS = (
    ExportFormat(
        "executorch",
        suffixes=(".pte",),
        modules=("executorch",),
        install="pip install 'rfdetr[executorch]'",
        precisions={"fp32": {"backend": "xnnpack"}},
        aliases=("pte",),
    ),
)
