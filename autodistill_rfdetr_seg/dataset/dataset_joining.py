"""Joins datasets that `build` made, for training after several rounds of labeling."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import coco
from ..core.errors import DataError
from ..core.types import SPLITS, Classes, ImageLabels, ImageRecord, SegDataset
from ..labels.stored_labels import HUMAN
from ..system.files import link_or_copy, replacing_folder, write_json
from .dataset_index import INDEX, annotations_fingerprint, read_dataset, read_index


@dataclass(frozen=True)
class Part:
    """The dataset of a run, and the minimum confidence and stability (0..1) that every label of an image must have.

    A label without a stability counts as stable. An image that a person has corrected is always taken.
    """

    run: Path
    confidence: float = 0.0
    stability: float = 0.0

    @property
    def dataset(self) -> Path:
        """The folder of the run's dataset."""
        return self.run / "dataset"


@dataclass(frozen=True)
class Joined:
    """A joined dataset, and the number of images left out: with an unsure label, or already in an earlier part."""

    dataset: SegDataset
    unsure: int
    repeated: int


def join(parts: Sequence[Part], folder: Path) -> Joined:
    """Writes the images of all parts, each in its split, as one dataset into `folder`, which is replaced.

    The same content is taken once, from the first part that has it, sure or not: an image in the test split of an
    earlier part gets into no other split. Images are hard-linked; annotations keep score, stability and source.

    Raises:
        DataError: a part is not built, or its classes differ from those of the first part.
    """
    classes = read_dataset(parts[0].dataset).classes
    taken = _Taken(parts, classes)
    index: dict[str, dict[str, str]] = {}
    counts: dict[str, dict[str, int]] = {}
    with replacing_folder(folder) as partial:

        def entries(split: str) -> Iterator[tuple[str, ImageLabels]]:
            for number, source, labels in taken.images_of_split(split):
                name = f"{number}__{source.name}"
                link_or_copy(source, partial / split / name)
                index[f"{number}/{labels.image.path}"] = {
                    "split": split,
                    "file_name": name,
                    "sha256": labels.image.sha256,
                    "id": labels.image.id,
                }
                yield name, labels

        for split in SPLITS:
            (partial / split).mkdir()
            count = coco.write(partial / split / coco.ANNOTATIONS, entries(split), classes, _info(parts))
            if count["images"]:
                counts[split] = count
            else:
                shutil.rmtree(partial / split)
        written = {
            "fingerprint": annotations_fingerprint(partial),
            "classes": list(classes.names),
            "counts": counts,
            "kept": sum(count["instances"] for count in counts.values()),
            "rejected": {},
            # Not in the COCO files: other limits that take the same images give the same dataset.
            "bounds": [{"confidence": part.confidence, "stability": part.stability} for part in parts],
            "images": {path: index[path] for path in sorted(index)},
        }
        write_json(partial / INDEX, written)
    return Joined(read_dataset(folder), taken.unsure, taken.repeated)


def _info(parts: Sequence[Part]) -> dict[str, Any]:
    return {
        "description": "Joined by autodistill-rfdetr-seg from datasets of several runs.",
        "version": "1.0",
        "parts": [read_dataset(part.dataset).fingerprint for part in parts],
    }


class _Taken:
    """The images that are taken from the parts; counts the others while the splits are read."""

    def __init__(self, parts: Sequence[Part], classes: Classes) -> None:
        self.unsure = self.repeated = 0
        self._classes = classes
        self._parts: list[tuple[Part, dict[str, Any], set[str]]] = []
        # Content → the part it is taken from.
        self._owner: dict[str, int] = {}
        for number, part in enumerate(parts):
            index = read_index(part.dataset)
            if set(index["classes"]) != set(classes.names):
                raise DataError(
                    f"The dataset {part.dataset} has the classes {index['classes']}, the first {list(classes.names)}.",
                    "Label all parts with the same classes.",
                )
            by_people = {path for path, entry in index["images"].items() if entry.get("source") == HUMAN}
            self._parts.append((part, index["images"], by_people))
            for entry in index["images"].values():
                self._owner.setdefault(entry["sha256"], number)

    def images_of_split(self, split: str) -> Iterator[tuple[int, Path, ImageLabels]]:
        """Part number from 1, image file and labels of each image that is taken."""
        for number, (part, index, by_people) in enumerate(self._parts):
            path_of_file = {entry["file_name"]: path for path, entry in index.items() if entry["split"] == split}
            if not path_of_file:
                continue
            rows = coco.read_rows(part.dataset / split)
            for image in coco.align(coco.read(part.dataset / split), self._classes).images:
                path = path_of_file[image.image_id]
                entry = index[path]
                if self._owner[entry["sha256"]] != number:
                    self.repeated += 1
                    continue
                annotations = rows[image.image_id]
                if path not in by_people and not all(_sure(row, part) for row in annotations):
                    self.unsure += 1
                    continue
                record = ImageRecord(entry["id"], path, image.height, image.width, entry["sha256"])
                instances = (coco.label_of(i, row) for i, row in zip(image.instances, annotations, strict=True))
                yield number + 1, image.path, ImageLabels(record, tuple(instances))


def _sure(row: dict[str, Any], part: Part) -> bool:
    return bool(row["score"] >= part.confidence and row.get("stability", 1.0) >= part.stability)
