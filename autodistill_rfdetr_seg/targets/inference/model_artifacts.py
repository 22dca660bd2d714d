"""A trained model in whatever form it is: a checkpoint in torch, or exported; images in, instances with masks out.

An export's folder holds the artifact and `export.json`, which says what it is. All forms give the same answer in the
same shape, so that they can be held against each other, timed, scored, and used as a base.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...core.config import DISPLAY_CONFIDENCE, check_confidence
from ...core.errors import DataError, MissingInputError
from ...images.image_reader import RgbImage, file_sha256
from ...system.files import fingerprint, read_json
from .. import vendor
from ..export import vendor_export
from ..export.known_formats import known_formats
from ..training.training_folder import checkpoint_of
from . import export_runner as runner
from . import export_sessions as sessions

if TYPE_CHECKING:
    import supervision as sv

EXPORT_FILE = "export.json"


class Artifact(Protocol):
    """A model that can be asked: `kind` is `torch` or the format, `precision` `fp32` or `fp16`, `path` the file."""

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
        """The instances over `confidence`, best first, of RGB HWC uint8 images of whatever sizes.

        Everything from the decoded image to masks (N, H, W) bool at image size; `xyxy`, `confidence`, 0-based
        `class_id` and `data["class_name"]` are as `RFDETRSeg.predict` gives them.
        """
        ...


class TorchModel:
    """rfdetr's own model in torch; `checkpoint` is the file of its weights, None where they are in no file.

    `input_size` may differ from the model's own. It takes any number of images at once.
    """

    kind, precision, batch_size = "torch", "fp32", 0

    def __init__(self, detector: Any, checkpoint: Path | None, input_size: int | None = None) -> None:
        self.detector = detector
        self.path = checkpoint or Path()
        self.input_size = vendor_export.check_resolution(detector, input_size)

    @property
    def class_names(self) -> tuple[str, ...]:
        """As in `Artifact`."""
        return tuple(self.detector.class_names)

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """As in `Artifact`."""
        check_confidence(confidence)
        return vendor.detect(self.detector, images, confidence, self.input_size) if len(images) else []


class ExportedModel:
    """An exported model in its own runtime, without torch (save TensorRT's, which takes its input from there).

    Args:
        folder: an export's folder.
        device: `auto`, `cpu`, `cuda`, `cuda:N`; for OpenVINO also a name of its own, such as `GPU`.

    Raises:
        MissingInputError, DataError: there is no export, or it is damaged.
        DependencyError: its runtime is not installed.
        UsageError: the device is not to be had.
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
        """As in `Artifact`; the last batch is filled up to the size that the artifact is made for."""
        check_confidence(confidence)
        result: list[sv.Detections] = []
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            outputs = self._run(runner.preprocess(part, self.spec))
            for at, image in enumerate(part):
                found = runner.decode([one[at] for one in outputs], image.shape[:2], self.spec, confidence)
                result.append(self._detections(found, image))
        return result

    def _detections(self, found: Sequence[runner.Found], image: RgbImage) -> sv.Detections:
        import supervision as sv

        class_id = np.array([one.class_id for one in found], dtype=int)
        return sv.Detections(
            xyxy=np.array([one.xyxy for one in found], dtype=np.float32).reshape(-1, 4),
            mask=np.array([one.mask for one in found], dtype=bool).reshape(-1, *image.shape[:2]),
            confidence=np.array([one.score for one in found], dtype=np.float32),
            class_id=class_id,
            data={"class_name": np.array([self.class_names[i] for i in class_id], dtype=object)},
        )


def load_artifact(path: str | os.PathLike[str], device: str = "auto") -> Artifact:
    """The model of an export's folder (or its artifact file), of a run's folder, or of a checkpoint file.

    Raises:
        MissingInputError, DataError, TrainingError: there is none, or it is damaged.
        DependencyError: what it runs in is not installed.
        UsageError: the device is not to be had.
    """
    path = Path(path)
    if not path.exists():
        raise MissingInputError(f"There is no model {path}.", "Give a run's folder, a checkpoint or an export.")
    if (folder := export_folder(path)) is not None:
        return ExportedModel(folder, device)
    if path.name.endswith(tuple(suffix for one in known_formats().values() for suffix in one.suffixes)):
        raise DataError(
            f"There is no {EXPORT_FILE} of {path} beside it, so its classes and its input are not known.",
            "Give a folder that export wrote, as it is.",
        )
    checkpoint = checkpoint_of(path)
    return TorchModel(vendor.load_checkpoint(checkpoint, False, device), checkpoint)


def export_folder(path: Path) -> Path | None:
    """The folder of the export that `path`, a folder or an artifact's file, names; None where it names none."""
    if path.is_dir() and (path / EXPORT_FILE).is_file():
        return path
    if path.parent.joinpath(EXPORT_FILE).is_file() and path.name in read_export(path.parent)["files"]:
        return path.parent
    return None


def read_export(folder: Path) -> dict[str, Any]:
    """An export's record, its fields and file names checked.

    Raises:
        MissingInputError: there is none.
        DataError: it is damaged, or names a file outside its folder.
    """
    if not (folder / EXPORT_FILE).is_file():
        raise MissingInputError(f"There is no export in {folder}.", "Make one with: autodistill-seg export.")
    record = read_json(folder / EXPORT_FILE)
    try:
        names = [record["artifact"], *record["files"]]
        lacking = {"class_names", "slots", "num_select", "input_size", "batch_size", "mean", "std"} - set(
            record["model"]
        )
        sound = {"format", "precision"} <= set(record) and not lacking
        inside = all(not Path(name).is_absolute() and ".." not in Path(name).parts for name in names)
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / EXPORT_FILE} is not the record of an export ({error!r}).") from error
    if not (sound and inside):
        what = "names a file outside its folder" if sound else "is not the record of an export"
        raise DataError(f"{folder / EXPORT_FILE} {what}.")
    return dict(record)


def model_sha256(path: Path) -> str:
    """What names a model's content: a checkpoint's sha256, or a hash of all an export's files and their use."""
    folder = export_folder(path)
    if folder is None:
        return file_sha256(checkpoint_of(path))
    record = read_export(folder)
    prints = {name: file_sha256(folder / name) for name in record["files"]}
    return hashlib.sha256(fingerprint(prints, record["model"]).encode()).hexdigest()
