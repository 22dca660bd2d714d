"""What must be known of rfdetr, and worked around in it. Only this module imports it, for `target`.

What rfdetr and Lightning do that is undone or allowed for, where, and the thread that explains it; where none was
found, the fault is all that is said.

- They log to stdout from their import on, and warn about what is meant: `quiet`.
- rfdetr sets torch's matmul precision for the process, as it is imported and for each trainer: `quiet`.
- The process is seeded for good, each rank otherwise, and PL_GLOBAL_SEED stays in the environment: `seeded`.
  https://github.com/roboflow/rf-detr/pull/808 https://github.com/Lightning-AI/pytorch-lightning/pull/18846
- Ctrl-C becomes `SystemExit`, with SIGINT ignored from then on: `trainer`.
  https://github.com/Lightning-AI/pytorch-lightning/pull/19976
- A checkpoint holds no random generator's state, so that a resumed run draws otherwise: `trainer`.
  https://github.com/Lightning-AI/pytorch-lightning/issues/17543
- `train()` takes no callback: `trainer` builds the trainer. https://github.com/roboflow/rf-detr/issues/96
- For several devices the user's whole script runs again on each: `device_launcher`.
  https://github.com/Lightning-AI/pytorch-lightning/issues/13276
- Four to six copies of the weights are left: `training_folder`. https://github.com/roboflow/rf-detr/issues/192
- A best checkpoint is written only once mask AP is over 0, and one of an earlier run taken for it: `training_folder`.
  https://github.com/roboflow/rf-detr/issues/83
- Some old checkpoints load only by running code that is in them: `load_checkpoint`.
  https://github.com/roboflow/rf-detr/pull/1179
- The no-object class is predicted as one more: `detect`. https://github.com/roboflow/rf-detr/pull/970
- Published weights predict COCO's category ids, with gaps: `detect`, `vendor_export`.
  https://github.com/roboflow/rf-detr/issues/85
- Detections carry a copy of their image unless told not to: `detect`. https://github.com/roboflow/rf-detr/pull/892
- EXIF orientation is not applied: our one reader does, and datasets hold turned pixels (`image_opening`).
  https://github.com/roboflow/rf-detr/issues/189
- A category without annotations that others name as their supercategory is no class: `dataset_survey`.
  https://github.com/roboflow/rf-detr/pull/1303
- Crowds are background, not ignored: `dataset_survey` and `training_data` do not count them; our datasets have
  none.
- An export takes batches of one size alone: `model_artifacts` fills them up. https://github.com/roboflow/rf-detr/issues/376
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import pickle
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..core.errors import DependencyError, MissingInputError, TrainingError, UnknownNameError, UsageError
from ..system.devices import resolve_device
from ..system.versions import ReleaseRange
from .vendor_output import hushed
from .vendor_output import quiet as quiet

if TYPE_CHECKING:
    import supervision as sv

_log = logging.getLogger(__name__)

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
# Of what later releases are to remove, none is used here up to 2.0 (1.12: `datasets.aug_config`, 1.13: `eval_ema_only`,
# 1.14: `ModelConfig.amp`, `fp16_eval`); 2.0 is to remove `RFDETRSegPreview`.
TESTED = ReleaseRange("rfdetr", "1.11.2", "1.12")
_PIP = f"pip install 'rfdetr[train]{TESTED.requirement}'"
_INSTALL = f"Install it with: {_PIP}"

# Given by train()'s own arguments, or without a meaning here.
_OURS = {
    "dataset_dir",
    "dataset_file",
    "output_dir",
    "resume",
    "class_names",
    "accelerator",
    "devices",
    "clearml",
    "fp16_eval",
}
VENDOR_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OSError,
    EOFError,
    AssertionError,
    pickle.UnpicklingError,
)
# Building seeds the process for a moment, so it is done one at a time; whoever asks whether a model is built holds it.
MAKING = threading.RLock()


def check_release() -> None:
    """Refuses a release of rfdetr that is known to be wrong; warns once of one that was not tested.

    Raises:
        DependencyError: it is older than the tested releases.
        PackageNotFoundError: none is installed.
    """
    found, version = TESTED.installed(), metadata.version("rfdetr")
    if found == "older":
        raise DependencyError(
            f"rfdetr {version} is installed; {TESTED.oldest} or newer is needed: earlier ones can corrupt the weights "
            "without an error when two threads predict at once, and lose the input size of a stripped checkpoint.",
            _INSTALL,
        )
    if found == "newer":
        _warn_untested(version)


@functools.cache
def _warn_untested(version: str) -> None:
    _log.warning(
        "rfdetr %s has not been tested with this package; rfdetr%s has. If something fails, install that: %s",
        *(version, TESTED.requirement, _PIP),
    )


def vendor(module: str = "rfdetr") -> Any:
    """The module of rfdetr of that name, imported quietly.

    Raises:
        DependencyError: rfdetr, or what it trains with, is not installed, or is too old.
    """
    try:
        check_release()
        with quiet():
            return importlib.import_module(module)
    except (ImportError, metadata.PackageNotFoundError) as error:
        raise DependencyError(f"rfdetr cannot be imported ({error}).", _INSTALL) from error


@contextlib.contextmanager
def seeded(seed: int, device: str | None) -> Iterator[None]:
    """Inside, Python's, numpy's and torch's generators start from `seed`; after, all is as it was before.

    A model built from scratch draws its weights at once, so building belongs inside as well. `device` None stands for
    no computing: OpenVINO cannot convert what torch traces in the way that is exact on a CPU.
    """
    import torch

    keys = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    environment = {key: os.environ.get(key) for key in keys}
    python, legacy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    # rfdetr's mask losses are scripted: torch runs them one way at first and, optimised, another way later. On a CPU,
    # where all else is exact, the second training of a process would end in other weights than the first.
    optimised = torch.jit.optimized_execution(device != "cpu")
    with torch.random.fork_rng(devices=devices), optimised:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
            for key, value in environment.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value


def gpu_memory(place: str) -> int | None:
    """Bytes of the GPU that a torch device names; None where it is no CUDA device."""
    import torch

    if not place.startswith("cuda"):
        return None
    return int(torch.cuda.get_device_properties(torch.device(place)).total_memory)


def gpu_count() -> int:
    """How many CUDA devices torch sees."""
    import torch

    return int(torch.cuda.device_count())


def model_config(size: str, options: Mapping[str, Any]) -> Any:
    """rfdetr's model configuration of that size, its values checked.

    rfdetr sets `positional_encoding_size` from `resolution` itself, and interpolates pretrained encodings to it.

    Raises:
        UnknownNameError: there is no such option.
        UsageError: a value is of the wrong kind, or the resolution does not fit the patches.
        DependencyError: the installed rfdetr has no model of that size.
    """
    kind = getattr(vendor("rfdetr.config"), SIZES[size] + "Config", None)
    if kind is None:
        raise DependencyError(f"rfdetr {metadata.version('rfdetr')} has no RF-DETR Seg {size}.", _INSTALL)
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
    """rfdetr's training configuration, its values checked; errors as in `model_config`."""
    config = vendor("rfdetr.config")
    known = set(config.SegmentationTrainConfig.model_fields) - _OURS
    for name in options:
        if name in config.RFDETRSegNanoConfig.model_fields and name not in known:
            raise UsageError(f"{name!r} is an option of the model, not of train().", f"Use RFDETRSeg(size, {name}=…).")
        if name not in known | {"dataset_dir", "dataset_file", "output_dir", "resume", "accelerator", "devices"}:
            raise UnknownNameError("train option", name, known)
    return _validated(config.SegmentationTrainConfig, options, "training")


def check_train_options(options: Mapping[str, Any]) -> None:
    """Refuse what is no training option of rfdetr, or is one that train()'s own arguments give."""
    for name in _OURS & set(options):
        raise UsageError(f"{name!r} cannot be given to train(); its own arguments set it.")
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
    """rfdetr's model of that size, its published weights fetched on first use unless `pretrain_weights` says else."""
    model_config(size, options)
    try:
        # Building draws random weights, even where a checkpoint then replaces them.
        with MAKING, quiet(), seeded(0, "cpu"):
            return getattr(vendor(), SIZES[size])(**options)
    except VENDOR_ERRORS as error:
        raise TrainingError(
            f"The RF-DETR Seg {size} model could not be built: {first_line(error)}",
            "Without network, give a checkpoint as pretrain_weights, or pretrain_weights=None to start from scratch.",
        ) from error


def load_checkpoint(path: Path, trust: bool, device: str) -> Any:
    """rfdetr's model from a checkpoint, read without running code that the file may hold unless `trust` is set.

    Raises:
        MissingInputError: there is no such file.
        TrainingError: it is no checkpoint of a RF-DETR segmentation model, or a damaged one.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no checkpoint {path}.")
    # A bare name would mean a file in rfdetr's own cache.
    full = str(path.resolve())
    try:
        with MAKING, quiet(), seeded(0, "cpu"):
            detector = vendor().RFDETR.from_checkpoint(full, trust_checkpoint=trust, device=resolve_device(device))
    except VENDOR_ERRORS as error:
        hint = None if trust else "If it is an old checkpoint from a source that you trust, pass trust=True."
        raise TrainingError(f"{path} cannot be read as an RF-DETR checkpoint: {first_line(error)}", hint) from error
    if not detector.model_config.segmentation_head:
        raise TrainingError(f"{path} holds {type(detector).__name__}, which gives boxes and no masks.")
    return detector


def size_of(detector: Any) -> str:
    """Our name of the size of one of rfdetr's segmentation models."""
    return str(detector.size).removeprefix("rfdetr-seg-")


def detect(
    detector: Any, images: Sequence[npt.NDArray[np.uint8]], confidence: float, resolution: int | None = None
) -> list[sv.Detections]:
    """Instances of RGB HWC uint8 images, each with its mask at image size and a 0-based class_id into `class_names`.

    `resolution` is the side of the model's input, where it is not the model's own.

    rfdetr also gives the no-object slot (one above the last class) and, with published weights, COCO's category ids:
    the first is dropped, the second are turned into indices.
    """
    import supervision as sv

    shape = None if resolution is None else (resolution, resolution)
    # torch warns of arrays that cannot be written to.
    given = [image if image.flags.writeable else image.copy() for image in images]
    with hushed():
        found = detector.predict(given, threshold=confidence, shape=shape, include_source_image=False)
    index = {name: place for place, name in reversed(list(enumerate(detector.class_names)))}
    classes = len(detector.class_names)
    published = detector.model_config.num_classes > classes
    result = []
    for one in found:
        names = one.data.get("class_name", np.empty(0, dtype=object))
        ids = [index.get(name, classes) for name in names] if published else one.class_id
        ids = np.asarray(ids, dtype=int)
        keep = ids < classes
        named = np.array([detector.class_names[i] for i in ids[keep]], dtype=object)
        result.append(
            sv.Detections(
                xyxy=one.xyxy[keep],
                mask=one.mask[keep],
                confidence=one.confidence[keep],
                class_id=ids[keep],
                data={"class_name": named},
            )
        )
    return result


def export_for_roboflow(detector: Any, folder: Path) -> str:
    """Writes rfdetr's upload bundle into `folder`; returns Roboflow's name of the model's size."""
    with quiet():
        detector.export_for_roboflow(folder)
    return str(detector.size)


def first_line(error: BaseException) -> str:
    """The first line of a vendor's message, as a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".") + "."
