"""A YOLO segmentation model to compare with, if ultralytics is installed; it is not a dependency (AGPL-3.0)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.config import DISPLAY_CONFIDENCE
from ..core.errors import DataError, DependencyError, MissingInputError
from ..images.rgb_image import RgbImage

if TYPE_CHECKING:
    import supervision as sv

LICENSE = "YOLO is from ultralytics, under AGPL-3.0 (or their own license); this package contains no part of it."


def check(path: Path) -> None:
    """Checks that the model can be loaded.

    Raises:
        MissingInputError: the file does not exist.
        DependencyError: ultralytics is not installed.
    """
    if importlib.util.find_spec("ultralytics") is None:
        raise DependencyError(
            "A YOLO model needs ultralytics, which is not installed.",
            "Install it with: pip install ultralytics (AGPL-3.0), in an environment of its own if you like.",
        )
    if not path.is_file():
        raise MissingInputError(f"There is no YOLO weights file {path}.", "Download it first: the benchmark does not.")


class YoloModel:
    """A YOLO segmentation model with the interface of `Artifact`.

    It returns masks of the size of the image (`retina_masks`), as RF-DETR does, so its time includes making them. The
    file is a pickle: only load files that you trust.

    Raises:
        MissingInputError, DependencyError: see `check`.
        DataError: it is not a segmentation model.
    """

    kind, batch_size = "yolo", 0

    def __init__(self, path: Path, precision: str, device: str) -> None:
        check(path)
        threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1)
        # Without these, ultralytics sets one thread, checks for updates and installs missing packages when imported.
        os.environ |= {"OMP_NUM_THREADS": threads, "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
        import torch
        import ultralytics

        self.path, self.precision = path, precision
        self._model: Any = ultralytics.YOLO(str(path))
        if self._model.task != "segment":
            raise DataError(f"{path} is a YOLO model for {self._model.task!r}, not for masks.", "Give a -seg model.")
        self._device = device
        self.input_size = int(self._model.overrides.get("imgsz", 640))
        self.class_names = tuple(self._model.names[at] for at in sorted(self._model.names))
        self._ids = {class_id: at for at, class_id in enumerate(sorted(self._model.names))}
        # The first prediction of ultralytics changes the number of threads, so it is set again afterwards.
        self.predict_batch([np.zeros((64, 64, 3), np.uint8)])
        torch.set_num_threads(int(threads))

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """See `Artifact.predict_batch`."""
        if not len(images):
            return []
        results = self._model.predict(
            [np.ascontiguousarray(image[..., ::-1]) for image in images],
            conf=confidence,
            imgsz=self.input_size,
            half=self.precision == "fp16",
            device=self._device,
            retina_masks=True,
            verbose=False,
        )
        return [self._detections(one, image) for one, image in zip(results, images, strict=True)]

    def _detections(self, result: Any, image: RgbImage) -> sv.Detections:
        import supervision as sv

        found = result.boxes
        class_id = np.array([self._ids[int(one)] for one in found.cls.cpu().numpy()], dtype=int)
        no_masks = np.empty((0, *image.shape[:2]), dtype=bool)
        return sv.Detections(
            xyxy=found.xyxy.cpu().numpy().astype(np.float32).reshape(-1, 4),
            mask=no_masks if result.masks is None else result.masks.data.cpu().numpy() > 0.5,
            confidence=found.conf.cpu().numpy().astype(np.float32),
            class_id=class_id,
            data={"class_name": np.array([self.class_names[at] for at in class_id], dtype=object)},
        )
