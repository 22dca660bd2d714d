"""`dataset.json`, which `build` writes beside a dataset: its options, its counts, and where each image went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import coco
from ..core.errors import DataError
from ..core.types import SPLITS, Classes, SegDataset
from ..system.file_hash import file_sha256
from ..system.files import fingerprint, read_json

INDEX = "dataset.json"


def read_dataset(folder: Path) -> SegDataset:
    """The dataset that `build` made in `folder`; its fingerprint is of the annotations that are there now.

    Raises:
        DataError: there is none.
    """
    index = read_index(folder)
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


def split_of_content(folder: Path) -> dict[str, str]:
    """SHA-256 of each original image → its split, where the folder is a dataset that `build` made; else empty."""
    if not (folder / INDEX).is_file():
        return {}
    return {entry["sha256"]: entry["split"] for entry in read_json(folder / INDEX)["images"].values()}
