"""rfdetr's exporters: which formats there are, what each needs, and how a model is written in one."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...core.errors import DependencyError, TrainingError, UnknownNameError, UsageError
from .. import vendor

_log = logging.getLogger(__name__)


class Format(NamedTuple):
    """What a format needs: the modules, the command that installs them, and rfdetr's arguments for each precision."""

    modules: tuple[str, ...]
    install: str
    precisions: Mapping[str, Mapping[str, Any]]


def _of_rfdetr(extra: str, module: str, fp32: Mapping[str, Any], fp16: Mapping[str, Any] | None) -> Format:
    return Format(
        (module,), f"pip install 'rfdetr[{extra}]'", {"fp32": fp32} | ({} if fp16 is None else {"fp16": fp16})
    )


FORMATS: Mapping[str, Format] = {
    "onnx": Format(("onnx", "onnxruntime"), "pip install 'autodistill-rfdetr-seg[onnx]'", {"fp32": {}, "fp16": {}}),
    "openvino": Format(
        ("openvino",),
        "pip install 'autodistill-rfdetr-seg[openvino]'",
        {"fp32": {"openvino_precision": "float32"}, "fp16": {"openvino_precision": "float16"}},
    ),
    "tensorrt": _of_rfdetr("tensorrt", "tensorrt", {"fp16": False}, {"fp16": True}),
    "coreml": _of_rfdetr("coreml", "coremltools", {"coreml_precision": "float32"}, {"coreml_precision": "float16"}),
    "coreai": _of_rfdetr("coreai", "coreai_torch", {"coreai_precision": "float32"}, {"coreai_precision": "float16"}),
    "executorch": _of_rfdetr("executorch", "executorch", {"backend": "xnnpack"}, None),
    "litert": _of_rfdetr("litert", "litert_torch", {}, None),
    "tflite": _of_rfdetr("tflite", "onnx2tf", {"quantization": "fp32"}, {"quantization": "fp16"}),
}
_ALIASES = {"trt": "tensorrt", "pte": "executorch"}
OPSET = 17
# What of rfdetr's configuration makes neither the computing nor the input another; the input's size is given beside.
_NOT_ARCHITECTURE = {
    *("num_classes", "model_name", "license", "pretrain_weights", "resolution", "positional_encoding_size", "device"),
    *("group_detr", "gradient_checkpointing", "compile", "cuda_graphs", "fused_optimizer", "amp", "ia_bce_loss"),
    *("freeze_encoder", "postprocess_trace_alpha"),
}


def check_format(name: str, precision: str) -> str:
    """The name of a format that can be written here, in that precision.

    Raises:
        UnknownNameError: there is no such format; the nearest is suggested.
        UsageError: it has no such precision.
        DependencyError: what it needs is not installed.
    """
    name = _ALIASES.get(name, name)
    if name not in FORMATS:
        raise UnknownNameError("export format", name, FORMATS)
    known = FORMATS[name]
    if precision not in known.precisions:
        raise UsageError(f"{name} has no precision {precision!r}.", f"It has {', '.join(known.precisions)}.")
    # Casting a graph is no part of what rfdetr needs for ONNX.
    modules = known.modules + (("onnxconverter_common",) if (name, precision) == ("onnx", "fp16") else ())
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise DependencyError(
                f"Exporting to {name} in {precision} needs {module}, which is not installed.",
                f"Install it with: {known.install}",
            )
    return name


def check_resolution(detector: Any, resolution: int | None) -> int:
    """The side of the model's input, its own by default.

    Raises:
        UsageError: it does not fit the model's patches.
    """
    config = detector.model_config
    if resolution is None:
        return int(detector.model.resolution)
    step = config.patch_size * config.num_windows
    if resolution < step or resolution % step:
        below = max(step, resolution // step * step)
        raise UsageError(
            f"Resolution {resolution} does not fit this model: it must be a multiple of {step}.",
            f"Use {below} or {below + step}.",
        )
    return resolution


def write(detector: Any, folder: Path, name: str, precision: str, batch_size: int, resolution: int) -> Path:
    """Writes the model in a format that `check_format` let through; the file or package to load it from.

    Raises:
        TrainingError: rfdetr or the format's own converter failed.
        DependencyError: a part of the converter is missing after all.
    """
    options = FORMATS[name].precisions[precision]
    try:
        # The traced example is random.
        with vendor.quiet(), vendor.seeded(0, None):
            path = Path(
                detector.export(
                    output_dir=str(folder),
                    output_name="model",
                    format=name,
                    verbose=False,
                    batch_size=batch_size,
                    shape=(resolution, resolution),
                    opset_version=OPSET,
                    **options,
                )
            )
            if (name, precision) == ("onnx", "fp16"):
                cast = vendor.vendor("rfdetr.export._tensorrt.exporter").fp16_source_graph
                with cast(str(path)) as half:
                    Path(half).replace(path)
    except ImportError as error:
        raise DependencyError(
            f"Exporting to {name} needs more than is installed: {vendor.first_line(error)}",
            f"Install it with: {FORMATS[name].install}",
        ) from error
    except vendor.VENDOR_ERRORS as error:
        raise TrainingError(f"The model could not be exported to {name}: {vendor.first_line(error)}") from error
    return path


def as_published(config: Any, input_size: int) -> bool:
    """Whether a model of that rfdetr configuration, at that side of its input, computes what its size's published one
    does: what was published of the size's speed says nothing of another."""
    own = type(config)()
    differs = own.model_dump(exclude=_NOT_ARCHITECTURE) != config.model_dump(exclude=_NOT_ARCHITECTURE)
    return input_size == own.resolution and not differs


def spec_of(detector: Any, resolution: int, batch_size: int) -> dict[str, Any]:
    """What a runner must know of the model: classes, the class of each logit, input and selection; JSON-ready."""
    names = list(detector.class_names)
    config = detector.model_config
    slots: list[int | None] = [None] * int(detector.model.model.class_embed.out_features)
    coco = vendor.vendor("rfdetr.assets.coco_classes")
    # Published weights have a logit for each of COCO's category ids, and names for those that are used.
    published = config.num_classes > len(names) and names == list(coco.COCO_CLASS_NAMES)
    for index, slot in enumerate(sorted(coco.COCO_CLASSES) if published else range(len(names))):
        slots[slot] = index
    return {
        "architecture": str(detector.size),
        "as_published": as_published(config, resolution),
        "class_names": names,
        "slots": slots,
        "num_select": int(detector.model.postprocess.num_select),
        "input_size": resolution,
        "batch_size": batch_size,
        "mean": list(detector.means),
        "std": list(detector.stds),
        "resize": "bilinear, half-pixel centres, no antialiasing, aspect ratio not kept",
        "score": "sigmoid",
        "mask": "logits, resized to the image as above; inside where above 0",
        "license": str(config.license),
    }
