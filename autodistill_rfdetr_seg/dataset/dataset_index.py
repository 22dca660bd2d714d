"""`dataset.json`, which `build` writes beside a dataset: its options, its counts, and where each image went."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any

from .. import coco
from ..core.config import SplitConfig
from ..core.errors import DataError
from ..core.types import SPLITS, Classes, SegDataset
from ..system.file_hash import file_sha256
from ..system.files import fingerprint, read_json, replacing

INDEX = "dataset.json"
# How `write_index` starts the images, and an image's lines but its first and last.
_IMAGES_LINE = '  "images": {\n'
_INNER = "      "


def read_dataset(folder: Path) -> SegDataset:
    """The dataset that `build` made in `folder`; its fingerprint is of the annotations that are there now.

    Raises:
        DataError: there is none.
    """
    return dataset_of(folder, read_head(folder))


def dataset_of(folder: Path, index: Mapping[str, Any]) -> SegDataset:
    """As `read_dataset`, of an index that has been read."""
    return SegDataset(folder, Classes(tuple(index["classes"])), index["counts"], annotations_fingerprint(folder))


def annotations_fingerprint(folder: Path) -> str:
    """What names the annotations of a dataset's splits; other than its index says where they were edited since."""
    files = {split: folder / split / coco.ANNOTATIONS for split in SPLITS}
    return fingerprint({split: file_sha256(file) for split, file in files.items() if file.is_file()})


def read_index(folder: Path) -> dict[str, Any]:
    """What `build` wrote beside the dataset in `folder`: options, counts, and each image's place by its path; an image
    that is as a person left it has the `source` "human".

    Raises:
        DataError: there is none.
    """
    if not (folder / INDEX).is_file():
        raise DataError(f"There is no dataset in {folder}.", "Run `autodistill-seg build` first.")
    index: dict[str, Any] = read_json(folder / INDEX)
    return index


def read_head(folder: Path) -> dict[str, Any]:
    """As `read_index` without `images`, which is nearly all of it in a large dataset.

    Raises:
        DataError: there is none.
    """
    lines: list[str] = []
    if (folder / INDEX).is_file():
        with (folder / INDEX).open(encoding="utf-8") as file:
            for line in file:
                if line == _IMAGES_LINE:
                    head: dict[str, Any] = json.loads("".join(lines).rstrip(",\n") + "}")
                    return head
                lines.append(line)
    # There is none, it is written in another way, or it has no images.
    return {key: value for key, value in read_index(folder).items() if key != "images"}


def write_index(folder: Path, index: Mapping[str, Any], images: Iterable[tuple[str, Mapping[str, str]]]) -> None:
    """Writes the index of the dataset in `folder`; `images`, path and entry of each, are taken one by one.

    The text is that of `write_json`, which would hold all of it at once.
    """
    head = json.dumps({**index, "images": {}}, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(folder / INDEX) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(head.removesuffix("{}\n}"))
        between = "{"
        for path, entry in images:
            fields = ",\n".join(f"      {quoted(key)}: {quoted(value)}" for key, value in entry.items())
            file.write(f"{between}\n    {quoted(path)}: {{\n{fields}\n    }}")
            between = ","
        file.write("{}\n}\n" if between == "{" else "\n  }\n}\n")


@dataclass(frozen=True)
class EarlierPlaces:
    """Where the images of a dataset were before it is replaced: SHA-256 → (split, file name).

    `split` has the options that they were divided with.
    """

    split: Mapping[str, Any] | None
    places: Mapping[str, tuple[str, str]]

    @classmethod
    def of_index(cls, index: Mapping[str, Any] | None) -> EarlierPlaces:
        """The places in an index; none where there was no dataset."""
        if index is None:
            return cls(None, {})
        entries = index["images"].values()
        places = {entry["sha256"]: (sys.intern(entry["split"]), entry["file_name"]) for entry in entries}
        return cls(index["options"]["split"], places)

    def splits(self, split: SplitConfig) -> dict[str, str]:
        """SHA-256 of each image → its split, if it was divided as `split` says; else empty."""
        if self.split != split.model_dump(mode="json"):
            return {}
        return {sha256: place for sha256, (place, _) in self.places.items()}


@dataclass(frozen=True)
class BuiltDataset:
    """The dataset in `folder` without holding all of its index: `head` is the index with no `images`.

    `edited` says whether its annotations were changed since it was built.
    """

    folder: Path
    head: Mapping[str, Any]
    edited: bool

    @classmethod
    def of_folder(cls, folder: Path) -> BuiltDataset:
        """The dataset that `build` made in `folder`.

        Raises:
            DataError: there is none.
        """
        head = read_head(folder)
        return cls(folder, head, annotations_fingerprint(folder) != head["fingerprint"])

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that it has."""
        return tuple(self.head["counts"])

    def images(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Path and entry of each image of the index, by path."""
        yield from images_of_index(self.folder)

    def labels(self, split: str) -> coco.LabelFile:
        """The labels of a split.

        Raises:
            DataError: its file was edited, and has an error.
        """
        return coco.open_labels(self.folder / split / coco.ANNOTATIONS, edited=self.edited)


def images_of_index(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Path and entry of each image of the index in `folder`, which exists, by path, without holding all of them.

    Raises:
        DataError: it is incomplete.
    """
    with (folder / INDEX).open(encoding="utf-8") as file:
        if any(line == _IMAGES_LINE for line in file):
            lines: list[str] = []
            for line in file:
                if line == "  }\n":
                    return
                lines.append(line)
                if not line.startswith(_INNER) and line.lstrip().startswith("}"):
                    yield from json.loads("{" + "".join(lines).rstrip(",\n") + "}").items()
                    lines = []
            raise DataError(f"{folder / INDEX} is incomplete.", "Delete the dataset and build it again.")
    yield from read_index(folder)["images"].items()


def split_of_content(folder: Path) -> dict[str, str]:
    """SHA-256 of each original image → its split, where the folder is a dataset that `build` made; else empty."""
    if not (folder / INDEX).is_file():
        return {}
    return {entry["sha256"]: sys.intern(entry["split"]) for _, entry in images_of_index(folder)}
