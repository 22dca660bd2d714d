"""A trained model in any form, a checkpoint in torch or an export: images come in, instances with masks go out.

All forms give the same result in the same shape, so that they can be compared, timed, scored and used as a base.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...core.compact_detections import to_detections
from ...core.config import DISPLAY_CONFIDENCE, check_confidence
from ...core.errors import DataError, MissingInputError
from ...images.rgb_image import RgbImage
from ...runtime.network_prediction import StageTimes, predict_with_network
from .. import vendor
from ..export import vendor_export
from ..export.export_format import FloatArray
from ..export.known_formats import known_formats
from ..training.training_folder import checkpoint_of, read_class_names
from . import export_sessions as sessions
from .export_record import EXPORT_FILE, export_folder, read_export
from .image_predictor import ImagePredictor

if TYPE_CHECKING:
    import supervision as sv


class Artifact(Protocol):
    """A model that predicts: `kind` is `torch` or the export format, `precision` such as `fp32`, `path` the file."""

    kind: str
    precision: str
    path: Path

    @property
    def input_size(self) -> int:
        """The side of the model's square input in pixels."""
        ...

    @property
    def batch_size(self) -> int:
        """How many images it takes at once; 0 for any number."""
        ...

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


class NetworkModel(ImagePredictor):
    """A network with the input and the decode around it; a subclass opens it, and says in `spec` how to read it."""

    kind: str
    precision: str
    path: Path
    spec: Mapping[str, Any]

    def run_network(self, batch: FloatArray) -> Sequence[FloatArray]:
        """The raw output for an input, as for `export_format.Session`."""
        raise NotImplementedError

    @property
    def class_names(self) -> tuple[str, ...]:
        """As in `Artifact`."""
        return tuple(self.spec["class_names"])

    @property
    def input_size(self) -> int:
        """As in `Artifact`."""
        return int(self.spec["input_size"])

    @property
    def batch_size(self) -> int:
        """As in `Artifact`."""
        return int(self.spec["batch_size"])

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """As in `Artifact`; the last batch of a network of a fixed batch size is filled up."""
        return self.predict_timed(images, confidence)[0]

    def predict_timed(self, images: Sequence[RgbImage], confidence: float) -> tuple[list[sv.Detections], StageTimes]:
        """As `predict_batch`, with the seconds of its stages."""
        check_confidence(confidence)
        found, times = predict_with_network(self.run_network, images, self.spec, confidence)
        detections = [
            to_detections(one, image.shape, self.class_names) for one, image in zip(found, images, strict=True)
        ]
        return detections, times


class TorchModel(NetworkModel):
    """rfdetr's own model in torch; `checkpoint` is the file of its weights, None where they are in no file.

    `input_size` may differ from the model's own. Takes any number of images at once.
    """

    kind, precision = "torch", "fp32"

    def __init__(self, detector: Any, checkpoint: Path | None, input_size: int | None = None) -> None:
        self.detector = detector
        self.path = checkpoint or Path()
        self.spec = vendor_export.spec_of(detector, vendor_export.check_resolution(detector, input_size), 0)

    def run_network(self, batch: FloatArray) -> Sequence[FloatArray]:
        """As in `NetworkModel`."""
        return vendor.run_network(self.detector, batch)


class ExportedModel(NetworkModel):
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
        self.spec = record["model"]
        self._session = sessions.open_session(self.kind, self.path, self.precision, device)

    def run_network(self, batch: FloatArray) -> Sequence[FloatArray]:
        """As in `NetworkModel`."""
        return self._session(batch)


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


def read_classes(path: Path) -> tuple[str, ...]:
    """The class names of such a model, from its record; a checkpoint is loaded only where it has none.

    Raises as `load_artifact`.
    """
    if (folder := export_folder(path)) is not None:
        return tuple(read_export(folder)["model"]["class_names"])
    return read_class_names(checkpoint_of(path)) or load_artifact(path, "cpu").class_names
