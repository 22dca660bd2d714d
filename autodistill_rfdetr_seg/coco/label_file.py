"""The labels of a COCO file that this package wrote, image by image: read from the disk while nobody has edited it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.types import Rle
from .json_documents import load
from .reading import raise_error, read
from .written_file import LabelFile, WrittenFile


class EditedFile(LabelFile):
    """A COCO file that was edited since this package wrote it; all of it is in memory."""

    def __init__(self, path: Path) -> None:
        """Reads the file.

        Raises:
            DataError: something in it is wrong.
        """
        self.path = path
        self._truth = read(path)
        document = load(path, raise_error)
        self.names = [image.image_id for image in self._truth.images]
        self.sizes = np.array([(image.height, image.width) for image in self._truth.images], np.int32).reshape(-1, 2)
        self.class_names = {row["id"]: row["name"] for row in document["categories"]}
        at_of = {image.file_id: at for at, image in enumerate(self._truth.images)}
        self._rows: list[list[dict[str, Any]]] = [[] for _ in self.names]
        for row in document["annotations"]:
            self._rows[at_of[row["image_id"]]].append(row)
        self._image_of = {row["id"]: at for at, rows in enumerate(self._rows) for row in rows}

    def annotations(self, at: int) -> list[dict[str, Any]]:
        """The annotations of image number `at`, counted from 0, as they are in the file."""
        return self._rows[at]

    def rles(self, at: int) -> list[Rle]:
        """The masks of the annotations of image number `at`."""
        return [one.rle for one in self._truth.images[at].instances]

    def image_of(self, annotation_id: int) -> int | None:
        """The number of the image that has this annotation; None if there is no such annotation."""
        return self._image_of.get(annotation_id)


def open_labels(path: Path, *, edited: bool) -> LabelFile:
    """The labels of a COCO file that this package wrote; `edited` says whether somebody has changed it since.

    Raises:
        DataError: it is not such a file, or an edited one has an error.
    """
    return EditedFile(path) if edited else WrittenFile(path)
