"""What an export takes from rfdetr: its exporters, the input sizes that fit, and what a runner must know of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...core.errors import DependencyError, TrainingError, UsageError
from ..random_seed import seeded
from ..rfdetr_import import VENDOR_ERRORS, first_line, import_rfdetr
from ..vendor_output import quiet
from .export_format import ExportFormat, ExportRequest

OPSET = 17
# What of rfdetr's configuration makes neither the computing nor the input another; the input's size is given beside.
_NOT_ARCHITECTURE = {
    *("num_classes", "model_name", "license", "pretrain_weights", "resolution", "positional_encoding_size", "device"),
    *("group_detr", "gradient_checkpointing", "compile", "cuda_graphs", "fused_optimizer", "amp", "ia_bce_loss"),
    *("freeze_encoder", "postprocess_trace_alpha"),
}


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


def write(format: ExportFormat, detector: Any, folder: Path, request: ExportRequest) -> Path:
    """Writes the model in a format that `check_format` let through; the file or package to load it from.

    Raises:
        TrainingError: rfdetr or the format's own converter failed.
        DependencyError: a part of the converter is missing after all.
    """
    try:
        # The traced example is random.
        with quiet(), seeded(0, None):
            if format.write is not None:
                return format.write(detector, folder, request)
            options = format.precisions[request.precision]
            return export_with_rfdetr(detector, folder, format.name, request, **options)
    except ImportError as error:
        raise DependencyError(
            f"Exporting to {format.name} needs more than is installed: {first_line(error)}",
            f"Install it with: {format.install}",
        ) from error
    except VENDOR_ERRORS as error:
        raise TrainingError(f"The model could not be exported to {format.name}: {first_line(error)}") from error


def export_with_rfdetr(detector: Any, folder: Path, name: str, request: ExportRequest, **options: Any) -> Path:
    """Writes the model with rfdetr's exporter of that name; what is written."""
    return Path(
        detector.export(
            output_dir=str(folder),
            output_name="model",
            format=name,
            verbose=False,
            batch_size=request.batch_size or 1,
            dynamic_batch=not request.batch_size,
            shape=(request.resolution, request.resolution),
            opset_version=OPSET,
            **options,
        )
    )


def as_published(config: Any, input_size: int) -> bool:
    """Whether a model of that rfdetr configuration, at that side of its input, computes what the published model of its
    size does, so that its published speed applies."""
    own = type(config)()
    differs = own.model_dump(exclude=_NOT_ARCHITECTURE) != config.model_dump(exclude=_NOT_ARCHITECTURE)
    return input_size == own.resolution and not differs


def spec_of(detector: Any, resolution: int, batch_size: int) -> dict[str, Any]:
    """What a runner must know of the model: classes, the class of each logit, input and selection; JSON-ready."""
    names = list(detector.class_names)
    config = detector.model_config
    slots: list[int | None] = [None] * int(detector.model.model.class_embed.out_features)
    coco = import_rfdetr("rfdetr.assets.coco_classes")
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
