"""Checks rfdetr's options, and builds, loads and calls its models.

Faults of rfdetr and Lightning, the part of this package that works around each, and the thread that explains it, where
there is one:

- They log to stdout from their import on, and warn about intended use: `quiet`.
- rfdetr sets torch's matmul precision for the process, when it is imported and for each trainer: `quiet`.
- They seed the process for good, each rank with another seed, and leave PL_GLOBAL_SEED in the environment: `seeded`.
  https://github.com/roboflow/rf-detr/pull/808 https://github.com/Lightning-AI/pytorch-lightning/pull/18846
- Ctrl-C becomes `SystemExit`, with SIGINT ignored from then on: `trainer`.
  https://github.com/Lightning-AI/pytorch-lightning/pull/19976
- Checkpoints pass through the system's temporary folder, which may be another disk, and a kill or a full disk then
  leaves half of one; the best ones and the metrics are written in place: `safe_writes`.
  https://github.com/Lightning-AI/pytorch-lightning/issues/21253
- A checkpoint has no random generator's state, so a resumed run draws other numbers: `trainer`.
  https://github.com/Lightning-AI/pytorch-lightning/issues/17543
- `train()` takes no callback: `trainer` builds the trainer. https://github.com/roboflow/rf-detr/issues/96
- For several devices the user's whole script runs again for each: `device_launcher`.
  https://github.com/Lightning-AI/pytorch-lightning/issues/13276
- The encoder has layers that no part of a small model reads: `encoder_depth`.
- Training leaves four to six copies of the weights: `training_folder`. https://github.com/roboflow/rf-detr/issues/192
- A best checkpoint is written only once mask AP is above 0, and an older one may be taken for it: `training_folder`.
  https://github.com/roboflow/rf-detr/issues/83
- Some old checkpoints load only by running code in them: `load_checkpoint`.
  https://github.com/roboflow/rf-detr/pull/1179
- The no-object class is predicted like a class: `output_decoding`. https://github.com/roboflow/rf-detr/pull/970
- Published weights predict COCO's category ids, with gaps: `output_decoding`, `vendor_export`.
  https://github.com/roboflow/rf-detr/issues/85
- `predict` converts whole images to floats, and resizes every mask to the whole image: `run_network` calls the network
  alone, `model_input` and `output_decoding` do the rest for every form of a model. What they give is rfdetr's result.
- EXIF orientation is not applied: this package's reader does it, and datasets have turned pixels (`image_opening`).
  https://github.com/roboflow/rf-detr/issues/189
- A category without annotations that is another's supercategory is not a class: `dataset_survey`.
  https://github.com/roboflow/rf-detr/pull/1303
- Crowds are background instead of ignored: `dataset_survey` and `training_data` do not count them; datasets built
  here have none.
- An export takes batches of one size only: `model_artifacts` fills them up. https://github.com/roboflow/rf-detr/issues/376
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.errors import DependencyError, MissingInputError, TrainingError, UnknownNameError, UsageError
from ..system.devices import resolve_device
from .encoder_depth import short_encoder
from .random_seed import seeded
from .rfdetr_import import INSTALL_HINT, VENDOR_ERRORS, first_line, import_rfdetr
from .vendor_output import quiet, quiet_logs

SIZES = {
    "preview": "RFDETRSegPreview",
    "nano": "RFDETRSegNano",
    "small": "RFDETRSegSmall",
    "medium": "RFDETRSegMedium",
    "large": "RFDETRSegLarge",
    "xlarge": "RFDETRSegXLarge",
    "2xlarge": "RFDETRSeg2XLarge",
}
CHECKPOINT = "checkpoint_best_total.pth"
LAST = "last.ckpt"

# Options that train()'s own arguments set, or that have no effect here.
_OWN_ARGUMENTS = {
    "dataset_dir",
    "dataset_file",
    "output_dir",
    "resume",
    "class_names",
    "accelerator",
    "devices",
    "num_nodes",
    "clearml",
    "fp16_eval",
}
# Of these, what a training gives to `train_config`.
_PASSED_ON = {"dataset_dir", "dataset_file", "output_dir", "resume", "accelerator", "devices", "num_nodes"}
# Held while a model is built, which seeds the process for a moment, and while it is checked whether one is built.
BUILD_LOCK = threading.RLock()


def model_config(size: str, options: Mapping[str, Any]) -> Any:
    """rfdetr's model configuration of a size, with its values checked.

    rfdetr sets `positional_encoding_size` from `resolution` itself, and interpolates pretrained encodings to it.

    Raises:
        UnknownNameError: there is no such option.
        UsageError: a value is of the wrong kind, or the resolution does not fit the patches.
        DependencyError: the installed rfdetr has no model of that size.
    """
    kind = getattr(import_rfdetr("rfdetr.config"), SIZES[size] + "Config", None)
    if kind is None:
        raise DependencyError(f"rfdetr {metadata.version('rfdetr')} has no RF-DETR Seg {size}.", INSTALL_HINT)
    for name in options:
        if name not in kind.model_fields:
            raise UnknownNameError("model option", name, kind.model_fields)
    config = _validated(kind, options, f"RF-DETR Seg {size}")
    step = config.patch_size * config.num_windows
    if config.resolution % step:
        below = max(step, config.resolution // step * step)
        raise UsageError(
            f"Resolution {config.resolution} does not fit size {size!r}: it must be a multiple of {step}.",
            f"Use {below} or {below + step}.",
        )
    return config


def train_config(options: Mapping[str, Any]) -> Any:
    """rfdetr's training configuration, with its values checked; raises as `model_config`."""
    config = import_rfdetr("rfdetr.config")
    known = set(config.SegmentationTrainConfig.model_fields) - _OWN_ARGUMENTS
    for name in options:
        if name in config.RFDETRSegNanoConfig.model_fields and name not in known:
            raise UsageError(f"{name!r} is an option of the model, not of train().", f"Use RFDETRSeg(size, {name}=…).")
        if name not in known | _PASSED_ON:
            raise UnknownNameError("train option", name, known)
    return _validated(config.SegmentationTrainConfig, options, "training")


def check_train_options(options: Mapping[str, Any]) -> None:
    """Refuses options that rfdetr's training does not have, or that train()'s own arguments set."""
    for name in _OWN_ARGUMENTS & set(options):
        raise UsageError(f"{name!r} cannot be passed to train(): its own arguments set it.")
    train_config({"dataset_dir": None, **options})


def _validated(kind: Any, options: Mapping[str, Any], where: str) -> Any:
    from pydantic import ValidationError

    with quiet():
        try:
            return kind(**options)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"])) or "the options"
            raise UsageError(f"{name!r} of {where}: {first['msg']} (got {first.get('input')!r}).") from error


def build(size: str, options: Mapping[str, Any]) -> Any:
    """rfdetr's model of a size, with published weights (downloaded on first use) unless `pretrain_weights` is given."""
    model_config(size, options)
    try:
        # Building draws random weights, even where a checkpoint then replaces them.
        with BUILD_LOCK, quiet(), seeded(0, "cpu"), short_encoder():
            return getattr(import_rfdetr(), SIZES[size])(**options)
    except VENDOR_ERRORS as error:
        raise TrainingError(
            f"The RF-DETR Seg {size} model could not be built: {first_line(error)}",
            "Without network, give a checkpoint as pretrain_weights, or pretrain_weights=None to start from scratch.",
        ) from error


def load_checkpoint(path: Path, trust: bool, device: str) -> Any:
    """rfdetr's model from a checkpoint, read without running code that the file may hold unless `trust` is set.

    Raises:
        MissingInputError: there is no such file.
        TrainingError: it is not a checkpoint of an RF-DETR segmentation model, or it is damaged.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no checkpoint {path}.")
    # A bare name would mean a file in rfdetr's own cache.
    full = str(path.resolve())
    try:
        with BUILD_LOCK, quiet(), seeded(0, "cpu"), short_encoder():
            detector = import_rfdetr().RFDETR.from_checkpoint(
                full, trust_checkpoint=trust, device=resolve_device(device)
            )
    except VENDOR_ERRORS as error:
        hint = None if trust else "If it is an old checkpoint from a source that you trust, pass trust=True."
        raise TrainingError(f"{path} cannot be read as an RF-DETR checkpoint: {first_line(error)}", hint) from error
    if not detector.model_config.segmentation_head:
        raise TrainingError(f"{path} holds {type(detector).__name__}, which finds boxes but no masks.")
    return detector


def size_of(detector: Any) -> str:
    """This package's name of the size of rfdetr's segmentation model."""
    return str(detector.size).removeprefix("rfdetr-seg-")


def run_network(detector: Any, batch: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """The raw output of rfdetr's network, optimized or not, for an input (N, 3, S, S): boxes (N, queries, 4), logits
    (N, queries, slots) and mask logits (N, queries, h, w), float32.

    This is the part of rfdetr's `predict` between its own reading of images and its own post-processing.
    """
    import torch

    context = detector.model
    with torch.inference_mode(), quiet_logs():
        # As rfdetr's `predict` does first: the weights may still be elsewhere, or in training mode.
        import_rfdetr("rfdetr.detr")._move_model_context_to_device(context)
        detector._ensure_eval_mode_for_unoptimized_inference()
        images = torch.from_numpy(batch).to(context.device)
        if context.inference_model is None:
            output = context.model(images)
        else:
            output = context.inference_model(images.to(detector._optimized_dtype))
        if not isinstance(output, tuple):
            output = (output["pred_boxes"], output["pred_logits"], output["pred_masks"])
        return [one.float().cpu().numpy() for one in output]


def export_for_roboflow(detector: Any, folder: Path) -> str:
    """Writes rfdetr's upload bundle into `folder`; returns Roboflow's name of the model's size."""
    with quiet():
        detector.export_for_roboflow(folder)
    return str(detector.size)
