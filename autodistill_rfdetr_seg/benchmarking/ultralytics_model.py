"""A YOLO segmentation model beside ours, by ultralytics, where that is installed; it is no dependency (AGPL-3.0)."""

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

LICENSE = "YOLO is ultralytics', under AGPL-3.0 (or their own licence); nothing of it is part of this package."


def check(path: Path) -> None:
    """Whether that model can be asked.

    Raises:
        MissingInputError: there is no such file.
        DependencyError: ultralytics is not installed.
    """
    if importlib.util.find_spec("ultralytics") is None:
        raise DependencyError(
            "A YOLO model needs ultralytics, which is not installed.",
            "Install it with: pip install ultralytics (AGPL-3.0), in an environment of its own if you like.",
        )
    if not path.is_file():
        raise MissingInputError(f"There is no YOLO weights file {path}.", "Fetch it first: nothing is downloaded here.")


class YoloModel:
    """A YOLO segmentation model that answers as an `Artifact` does.

    Its masks are asked for at image size (`retina_masks`), as ours are, so that its time holds their assembly. The
    file is ultralytics' own, a pickle: give only one that you trust.

    Raises:
        MissingInputError, DependencyError: as `check`.
        DataError: it is no segmentation model.
    """

    kind, batch_size = "yolo", 0

    def __init__(self, path: Path, precision: str, device: str) -> None:
        check(path)
        threads = os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1)
        # When imported it otherwise allows itself one thread, looks for updates, and installs what it misses.
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
        # Its first call sets the number of threads.
        self.predict_batch([np.zeros((64, 64, 3), np.uint8)])
        torch.set_num_threads(int(threads))

    def predict_batch(self, images: Sequence[RgbImage], confidence: float = DISPLAY_CONFIDENCE) -> list[sv.Detections]:
        """As in `Artifact`."""
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
        none = np.empty((0, *image.shape[:2]), dtype=bool)
        return sv.Detections(
            xyxy=found.xyxy.cpu().numpy().astype(np.float32).reshape(-1, 4),
            mask=none if result.masks is None else result.masks.data.cpu().numpy() > 0.5,
            confidence=found.conf.cpu().numpy().astype(np.float32),
            class_id=class_id,
            data={"class_name": np.array([self.class_names[at] for at in class_id], dtype=object)},
        )
