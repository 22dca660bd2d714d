"""Reads a COCO file that `write` wrote, one image at a time: memory grows with the number of images only.

`write` puts each annotation and each image on a line of its own, the annotations first, in the order of the images, all
ids from 1. So the place of an image's annotations in the file is found without parsing them.
"""

from __future__ import annotations

import json
import mmap
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ..core.types import Rle
from . import segmentation as segmentations

_START = b'{"annotations":[\n'
_CATEGORIES = b'\n],"categories":'
_IMAGES = b',"images":[\n'
_INFO = b'\n],"info":'
_END = b"}\n"
_IMAGE_ID = b'"image_id":'


_File = TypeVar("_File", bound="LabelFile")


class LabelFile(ABC):
    """A COCO file of labels, image by image; a context manager that closes it.

    Attributes:
        names: the file name of each image, in the order of their ids.
        sizes: height and width of each in pixels, (N, 2) int32.
        class_names: the name of each category by its id.
    """

    path: Path
    names: list[str]
    sizes: npt.NDArray[np.int32]
    class_names: dict[Any, str]

    def __len__(self) -> int:
        return len(self.names)

    def __enter__(self: _File) -> _File:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file, where one is open."""
        return

    @abstractmethod
    def annotations(self, at: int) -> list[dict[str, Any]]:
        """The annotations of image number `at`, counted from 0, as they are in the file."""

    @abstractmethod
    def rles(self, at: int) -> list[Rle]:
        """The masks of the annotations of image number `at`."""

    @abstractmethod
    def image_of(self, annotation_id: int) -> int | None:
        """The number of the image that has this annotation; None if there is no such annotation."""


class WrittenFile(LabelFile):
    """A COCO file of `write`, which nobody has edited since.

    `categories` and `info` are the JSON texts of these values.
    """

    def __init__(self, path: Path) -> None:
        """Finds the images and where their annotations are.

        Raises:
            DataError: `write` did not write the file so.
        """
        self.path = path
        self.names = []
        sizes = array("i")
        self._file: IO[bytes] = path.open("rb")
        try:
            parts = _Parts.of_file(path, self._file)
            self.categories, self.info = parts.categories, parts.info
            self.class_names = {row["id"]: row["name"] for row in json.loads(parts.categories)}
            lines = array("q", [parts.images])
            for line in _lines(self._file, parts.images, parts.images_end):
                row = json.loads(line.rstrip(b",\n"))
                self.names.append(row["file_name"])
                sizes.extend((row["height"], row["width"]))
                lines.append(lines[-1] + len(line))
            self._image_offsets = np.array(lines, dtype=np.int64)
            self.sizes = np.array(sizes, dtype=np.int32).reshape(-1, 2)
            self._offsets, self._first_ids = self._annotation_places(parts.annotations_end)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def annotations(self, at: int) -> list[dict[str, Any]]:
        """The annotations of image number `at`, counted from 0, as they are in the file."""
        found: list[dict[str, Any]] = json.loads(b"[" + self.annotation_lines(at) + b"]")
        return found

    def annotation_lines(self, at: int) -> bytes:
        """The text of these annotations, with a comma and a line break between two."""
        return self._between(*self._offsets[at : at + 2].tolist())

    def image_lines(self, first: int, end: int) -> bytes:
        """The text of the images from number `first` to `end`, exclusive, with a comma and a line break between two."""
        return self._between(int(self._image_offsets[first]), int(self._image_offsets[end]))

    def _between(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        return self._file.read(end - start).rstrip(b",\n")

    def rles(self, at: int) -> list[Rle]:
        """The masks of the annotations of image number `at`."""
        height, width = self.sizes[at].tolist()
        return [segmentations.parse(row["segmentation"], height, width) for row in self.annotations(at)]

    def image_of(self, annotation_id: int) -> int | None:
        """The number of the image that has this annotation; None if there is no such annotation."""
        if not 1 <= annotation_id < self._first_ids[-1]:
            return None
        return int(np.searchsorted(self._first_ids, annotation_id, side="right")) - 1

    def _annotation_places(self, end: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Where in the file the annotations of each image begin, and the id of the first; both with an end."""
        offsets = array("q")
        ids = array("q")
        offset, number = len(_START), 1
        for line in _lines(self._file, offset, end):
            at = line.index(_IMAGE_ID) + len(_IMAGE_ID)
            image = int(line[at : line.index(b",", at)])
            while len(offsets) < image:  # images before it without annotations have the same place
                offsets.append(offset)
                ids.append(number)
            offset += len(line)
            number += 1
        while len(offsets) <= len(self.names):
            offsets.append(offset)
            ids.append(number)
        if len(offsets) != len(self.names) + 1:
            raise DataError(f"{self.path} has annotations of images that it does not list.")
        return np.array(offsets, dtype=np.int64), np.array(ids, dtype=np.int64)


@dataclass(frozen=True)
class _Parts:
    """The parts of a file: the offset after its annotations, the texts of categories and info, and the offsets of the
    lines of its images and of what follows them."""

    annotations_end: int
    categories: bytes
    images: int
    images_end: int
    info: bytes

    @classmethod
    def of_file(cls, path: Path, file: IO[bytes]) -> _Parts:
        """Finds the parts; a line break and a quote without an escape are in no text of a JSON file."""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            middle, info = data.rfind(_CATEGORIES), data.rfind(_INFO)
            images = data.find(_IMAGES, middle)
            if data[: len(_START)] != _START or not 0 < middle < images < info or data[-2:] != _END:
                raise DataError(f"{path} is not a COCO file as this package writes it.")
            categories = data[middle + len(_CATEGORIES) : images]
            info_text = data[info + len(_INFO) : -len(_END)]
            return cls(middle + 1, categories, images + len(_IMAGES), info, info_text)


def _lines(file: IO[bytes], start: int, end: int) -> Iterator[bytes]:
    """The lines from `start` to `end`."""
    file.seek(start)
    while start < end:
        line = file.readline()
        start += len(line)
        yield line
