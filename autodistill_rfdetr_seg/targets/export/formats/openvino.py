"""OpenVINO: `.xml` and `.bin`, run by OpenVINO on the devices that it has, such as CPU and GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ....core.errors import UsageError
from ..export_format import ExportFormat, FloatArray, Session


def open_session(path: Path, precision: str, device: str) -> Session:
    """The file in OpenVINO, computing in the precision that it was written in."""
    import openvino

    name = {"auto": "AUTO", "cpu": "CPU"}.get(device, device)
    core = openvino.Core()
    if name != "AUTO" and name.partition(".")[0] not in core.available_devices:
        raise UsageError(f"OpenVINO has no device {device!r} here.", f"It has {', '.join(core.available_devices)}.")
    # By itself it computes in bfloat16 where the CPU can, whatever the model's weights are:
    # https://github.com/openvinotoolkit/openvino/issues/28032
    hint = {"INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" or name == "CPU" else "f16"}
    compiled = core.compile_model(core.read_model(str(path)), name, hint)

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
        precisions={"fp32": {"openvino_precision": "float32"}, "fp16": {"openvino_precision": "float16"}},
        open_session=open_session,
    ),
)
