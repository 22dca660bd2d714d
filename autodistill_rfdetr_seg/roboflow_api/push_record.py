"""RUN/roboflow.json: which images and annotations of a run a project has, by content. It never contains the key."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..system.files import read_json, write_json

FILE = "roboflow.json"
# Seconds between two writes: a kill loses no more than that, and the server knows its images by content as well.
_WRITE_INTERVAL = 2.0


class PushRecord:
    """What one project has of a run; safe to use from several threads.

    Raises:
        DataError: the file is damaged.
    """

    def __init__(self, root: Path, workspace: str, project: str) -> None:
        self._path = root / FILE
        data = read_json(self._path) if self._path.is_file() else {}
        if not isinstance(data, dict) or not all(isinstance(one, dict) for one in data.values()):
            raise DataError(f"{self._path} is damaged.", "Remove it: the project is then asked what it has.")
        self._data: dict[str, dict[str, Any]] = data
        self._mine = data.setdefault(f"{workspace}/{project}", {})
        self._lock = threading.Lock()
        self._written = time.monotonic()

    def image(self, sha256: str) -> dict[str, Any]:
        """`id` and `annotation` (a fingerprint, None if it has none of ours) of an image; empty if it is not there."""
        with self._lock:
            return dict(self._mine.get("images", {}).get(sha256, {}))

    def set_image(self, sha256: str, image_id: str, annotation: str | None) -> None:
        """Records an image that the project has."""
        with self._lock:
            self._mine.setdefault("images", {})[sha256] = {"id": image_id, "annotation": annotation}
            if time.monotonic() - self._written > _WRITE_INTERVAL:
                self._write()

    @property
    def training(self) -> dict[str, Any]:
        """`version` and `training_id` of the last training; empty if there was none."""
        return dict(self._mine.get("training", {}))

    def set_training(self, version: int, training_id: str | None) -> None:
        """Records a training that was started."""
        with self._lock:
            self._mine["training"] = {"version": version, "training_id": training_id}
            self._write()

    def save(self) -> None:
        """Writes the record to disk."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        write_json(self._path, self._data)
        self._written = time.monotonic()
