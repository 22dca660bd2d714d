"""A trained model in any form, a checkpoint in torch or an export: images come in, instances with masks go out.

All forms give the same result in the same shape, so that they can be compared, timed, scored and used as a base.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...core.compact_detections import to_detections
from ...core.config import DISPLAY_CONFIDENCE, check_confidence
from ...core.errors import DataError, MissingInputError
from ...images.rgb_image import RgbImage
from ...runtime.model_input import make_input
from ...runtime.output_decoding import decode_output
from .. import vendor
from ..export import vendor_export
from ..export.export_format import Session
from ..export.known_formats import known_formats
from ..training.training_folder import checkpoint_of
from . import export_sessions as sessions
from .export_record import EXPORT_FILE, export_folder, read_export

if TYPE_CHECKING:
    import supervision as sv


class Artifact(Protocol):
    """A model that predicts: `kind` is `torch` or the export format, `precision` is `fp32` or `fp16`, `path` the file.

    `input_size` is the side of the model's square input, `batch_size` how many images it takes at once (0: any number).
    """

    kind: str
    precision: str
    path: Path
    input_size: int
    batch_size: int

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of `class_id`."""
        ...

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """The instances of RGB HWC uint8 images of any sizes, scored above `confidence`, best first.

        Masks are (N, H, W) bool at image size, computed when `mask` is first read; `xyxy`, `confidence`, 0-based
        `class_id` and `data["class_name"]` are as `RFDETRSeg.predict` gives them.
        """
        ...


class TorchModel:
    """rfdetr's own model in torch; `checkpoint` is the file of its weights, None where they are in no file.

    `input_size` may differ from the model's own. Takes any number of images at once.
    """

    kind, precision, batch_size = "torch", "fp32", 0

    def __init__(self, detector: Any, checkpoint: Path | None, input_size: int | None = None) -> None:
        self.detector = detector
        self.path = checkpoint or Path()
        self.input_size = vendor_export.check_resolution(detector, input_size)
        self.spec: Mapping[str, Any] = vendor_export.spec_of(detector, self.input_size, self.batch_size)

    @property
    def class_names(self) -> tuple[str, ...]:
        """As in `Artifact`."""
        return tuple(self.detector.class_names)

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """As in `Artifact`."""
        check_confidence(confidence)
        return predict_with(partial(vendor.run_network, self.detector), self.spec, images, confidence)


class ExportedModel:
    """An exported model in the runtime of its format, without torch (except TensorRT, whose input torch copies).

    Args:
        folder: an export's folder.
        device: `auto`, `cpu`, `cuda`, `cuda:N`; for OpenVINO also a name of its own, such as `GPU`.

    Raises:
        MissingInputError, DataError: there is no export, or it is damaged.
        DependencyError: its runtime is not installed.
        UsageError: the device is not available.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        record = read_export(folder)
        self.kind, self.precision = record["format"], record["precision"]
        self.path = folder / record["artifact"]
        self.spec: Mapping[str, Any] = record["model"]
        self.input_size, self.batch_size = self.spec["input_size"], self.spec["batch_size"]
        self._run = sessions.open_session(self.kind, self.path, self.precision, device)

    @property
    def class_names(self) -> tuple[str, ...]:
        """As in `Artifact`."""
        return tuple(self.spec["class_names"])

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """As in `Artifact`; the last batch is filled up to the artifact's batch size."""
        check_confidence(confidence)
        return predict_with(self._run, self.spec, images, confidence)


def predict_with(
    run: Session, spec: Mapping[str, Any], images: Sequence[RgbImage], confidence: float
) -> list[sv.Detections]:
    """The instances of images that a network finds: `run` gives its raw output, `spec` says how to read it.

    A network of a fixed batch size is run as often as needed, one of any size once.
    """
    result: list[sv.Detections] = []
    size = spec["batch_size"] or max(len(images), 1)
    for start in range(0, len(images), size):
        part = images[start : start + size]
        outputs = run(make_input(part, spec))
        for at, image in enumerate(part):
            found = decode_output([one[at] for one in outputs], image.shape[:2], spec, confidence)
            result.append(to_detections(found, image.shape, spec["class_names"]))
    return result


def load_artifact(path: str | os.PathLike[str], device: str = "auto") -> Artifact:
    """The model of an export's folder (or its artifact file), of a run's folder, or of a checkpoint file.

    Raises:
        MissingInputError, DataError, TrainingError: there is no model, or it is damaged.
        DependencyError: the runtime of its format is not installed.
        UsageError: the device is not available.
    """
    path = Path(path)
    if not path.exists():
        raise MissingInputError(f"There is no model {path}.", "Give a run's folder, a checkpoint or an export.")
    if (folder := export_folder(path)) is not None:
        return ExportedModel(folder, device)
    if path.name.endswith(tuple(suffix for one in known_formats().values() for suffix in one.suffixes)):
        raise DataError(
            f"There is no {EXPORT_FILE} of {path} beside it, so its classes and its input are not known.",
            "Keep the files that export writes in one folder.",
        )
    checkpoint = checkpoint_of(path)
    return TorchModel(vendor.load_checkpoint(checkpoint, False, device), checkpoint)
