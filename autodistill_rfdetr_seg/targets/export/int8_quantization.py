"""Puts the matrix products and convolutions of an ONNX graph into 8 bits, with onnxruntime's own quantizer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .export_format import ExportRequest

# What takes the time. Normalization, softmax and the sums around them stay in fp32: in 8 bits they cost accuracy.
_OPERATIONS = ["MatMul", "Gemm", "Conv"]


def quantize(path: Path, request: ExportRequest) -> None:
    """Replaces the graph in `path`: weights in signed 8 bits by channel, activations by the ranges of values that the
    calibration images give."""
    from onnxruntime import quantization

    assert request.calibration is not None
    batches: Iterator[Any] = request.calibration()

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Any:
            batch = next(batches, None)
            return None if batch is None else {"input": batch}

    written = path.with_name("int8.onnx")
    root, level = logging.getLogger(), logging.getLogger().level
    # It logs to the root logger about a preparation that changes nothing here.
    root.setLevel(logging.ERROR)
    try:
        quantization.quantize_static(
            str(path),
            str(written),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=_OPERATIONS,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QInt8,
        )
    finally:
        root.setLevel(level)
    written.replace(path)
