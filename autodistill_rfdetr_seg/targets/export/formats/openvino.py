"""OpenVINO: `.xml` and `.bin`, run by OpenVINO on the devices that it has, such as CPU and GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....core.errors import UsageError
from ....system.cpu_threads import thread_limit
from ..export_format import ExportFormat, ExportRequest, FloatArray, Session


def write(detector: Any, folder: Path, request: ExportRequest) -> Path:
    """Writes it with rfdetr; int8 is made of the ONNX graph in 8 bits."""
    from ..int8_quantization import quantize
    from ..vendor_export import export_with_rfdetr

    if request.precision != "int8":
        precision = {"fp32": "float32", "fp16": "float16"}[request.precision]
        return export_with_rfdetr(detector, folder, "openvino", request, openvino_precision=precision)
    import openvino

    source = export_with_rfdetr(detector, folder, "onnx", request)
    quantize(source, request)
    path = folder / "model.xml"
    openvino.save_model(openvino.convert_model(str(source)), str(path), compress_to_fp16=False)
    source.unlink()
    return path


def open_session(path: Path, precision: str, device: str) -> Session:
    """The file in OpenVINO, computing in the precision that it was written in."""
    import openvino

    name = {"auto": "AUTO", "cpu": "CPU"}.get(device, device)
    core = openvino.Core()
    if name != "AUTO" and name.partition(".")[0] not in core.available_devices:
        raise UsageError(f"OpenVINO has no device {device!r} here.", f"It has {', '.join(core.available_devices)}.")
    # By itself it computes in bfloat16 where the CPU can, whatever the model's weights are:
    # https://github.com/openvinotoolkit/openvino/issues/28032
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32" if precision != "fp16" or name == "CPU" else "f16"}
    if (threads := thread_limit()) is not None and name in ("CPU", "AUTO"):
        options["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(core.read_model(str(path)), name, options)

    def run(batch: FloatArray) -> Sequence[FloatArray]:
        outputs = compiled(batch)
        # They have no names of ours: rfdetr gives boxes, logits and masks in this order.
        return [outputs[at] for at in range(3)]

    return run


FORMATS = (
    ExportFormat(
        "openvino",
        suffixes=(".xml",),
        modules=("openvino",),
        install="pip install 'autodistill-rfdetr-seg[openvino]'",
        precisions={"fp32": {}, "fp16": {}, "int8": {}},
        # The 8 bits are those of an ONNX graph.
        precision_modules={"int8": ("onnx", "onnxruntime")},
        write=write,
        open_session=open_session,
    ),
)
