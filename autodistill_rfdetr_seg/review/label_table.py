"""The labels of a run's dataset in columns of some 50 bytes a label; masks stay on the disk."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import coco
from ..core.config import RefineConfig, options
from ..core.types import Classes, Instance
from ..dataset.dataset_index import INDEX, BuiltDataset
from ..dataset.refine_rules.minimum_confidence import class_thresholds
from ..labels.stored_labels import HUMAN
from ..system.run_folder import RunFolder

# Limits for the reasons shown with a label; the order does not depend on them.
UNSTABLE = 0.5
NEAR_THRESHOLD = 0.1
POOR_MASK = 0.5


@dataclass(frozen=True, slots=True)
class Entry:
    """One label; `image` is the path of the user's file, `annotation_id` the id in the COCO file of the split.

    `reasons` are none or some of `unstable`, `near_threshold` (the score is just above the threshold of the class) and
    `poor_mask` (the segmenter gave the mask a low score). In the order of an audit, the kind of its suspicion comes
    first: see `label_suspicions.Kind`. An object that has no label (`missed`) has no `annotation_id`, and the score of
    the student that found it.
    """

    split: str
    image: str
    annotation_id: int | None
    class_name: str
    score: float
    stability: float | None
    mask_score: float | None
    reasons: tuple[str, ...]

    @property
    def reference(self) -> str:
        """The argument of `explain`; for an object without a label, its split and a dash."""
        return f"{self.split}:{'–' if self.annotation_id is None else self.annotation_id}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A label or an object without one, its margin (score minus threshold), its mask, and the image file to draw on."""

    entry: Entry
    margin: float
    instance: Instance
    file: Path


@dataclass(frozen=True)
class _Split:
    """The labels of a split: the file, the user's path of each image (None where a person corrected it), and the number
    in the table of each image's first label, with an end."""

    name: str
    folder: Path
    file: coco.LabelFile
    paths: Sequence[str | None]
    first: Sequence[int]


class LabelTable:
    """The labels of a run's dataset, without those in images that a person corrected, in the order of the files.

    A context manager that closes the files. `margins` (score minus threshold), `stability` and `scores` are float64
    (N,), NaN where there is none.
    """

    def __init__(self, run: RunFolder, *, progress: bool = False) -> None:
        """Reads the labels, image by image; `progress` shows a bar where that takes over two seconds.

        Raises:
            DataError: the run has no dataset, or its annotations were edited and have an error.
        """
        from tqdm import tqdm

        dataset = BuiltDataset.of_folder(run.dataset)
        self._names: list[str] = dataset.head["classes"]
        self._thresholds = label_thresholds(run, dataset.head)
        self._files = contextlib.ExitStack()
        # Columns: the number of the split and of the image in it, the id and class of the annotation, its scores.
        self._split, self._image, self._id, self._class = array("b"), array("i"), array("q"), array("h")
        columns = {name: array("d") for name in ("score", "stability", "mask_score")}
        paths = _paths_of_images(dataset)
        self._splits: list[_Split] = []
        try:
            for split in dataset.splits:
                file = self._files.enter_context(dataset.labels(split))
                of_split = [paths[split][name] for name in file.names]
                bar = tqdm(of_split, desc=f"Reading {split}", unit="image", disable=not progress or None, delay=2)
                first = self._read(file, bar, columns)
                self._splits.append(_Split(split, run.dataset / split, file, of_split, first))
        except BaseException:
            self._files.close()
            raise
        self.scores, self.stability, self._mask_score = (np.array(column) for column in columns.values())
        of_class = np.array([self._thresholds[name] for name in self._names], dtype=np.float64)
        self.margins: npt.NDArray[np.float64] = self.scores - of_class[np.array(self._class, dtype=np.intp)]

    def _read(
        self, file: coco.LabelFile, paths: Iterable[str | None], columns: Mapping[str, array[float]]
    ) -> array[int]:
        """Adds the labels of a split to the columns; returns the number of each image's first label, with an end."""
        at = len(self._splits)
        class_of = {id_: self._names.index(name) for id_, name in file.class_names.items()}
        first = array("q")
        for number, path in enumerate(paths):
            first.append(len(self._id))
            for row in file.annotations(number) if path is not None else ():
                self._split.append(at)
                self._image.append(number)
                self._id.append(row["id"])
                self._class.append(class_of[row["category_id"]])
                columns["score"].append(row["score"])
                columns["stability"].append(row.get("stability", np.nan))
                columns["mask_score"].append(row.get("mask_score", np.nan))
        first.append(len(self._id))
        return first

    def __len__(self) -> int:
        return len(self._id)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the dataset."""
        return tuple(self._names)

    def __enter__(self) -> LabelTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def entry(self, at: int) -> Entry:
        """Label number `at`."""
        split = self._splits[self._split[at]]
        name = self._names[self._class[at]]
        stability, mask_score = (_known(column[at]) for column in (self.stability, self._mask_score))
        reasons = _reasons(stability, mask_score, float(self.margins[at]) if self._thresholds[name] else None)
        path = split.paths[self._image[at]]
        assert path is not None
        return Entry(split.name, path, self._id[at], name, float(self.scores[at]), stability, mask_score, reasons)

    def candidate(self, at: int) -> Candidate:
        """Label number `at` with its mask."""
        split, image = self._splits[self._split[at]], self._image[at]
        return self._of_image(split, image)[at - split.first[image]]

    def candidates(self) -> Iterator[Candidate]:
        """All labels with their masks."""
        for split in self._splits:
            for image in range(len(split.file)):
                yield from self._of_image(split, image)

    def in_file(self, file: Path) -> list[Candidate]:
        """The labels of the image whose file in the dataset is `file`."""
        split = next(one for one in self._splits if one.folder == file.parent)
        return self._of_image(split, split.file.names.index(file.name))

    def _of_image(self, split: _Split, image: int) -> list[Candidate]:
        first, end = split.first[image], split.first[image + 1]
        if first == end:
            return []
        file = split.folder / split.file.names[image]
        return [
            Candidate(
                self.entry(at),
                float(self.margins[at]),
                Instance(self._class[at], rle, float(self.scores[at])),
                file,
            )
            for at, rle in zip(range(first, end), split.file.rles(image), strict=True)
        ]


def label_thresholds(run: RunFolder, index: Mapping[str, Any]) -> dict[str, float]:
    """The score threshold of each class name that the run's dataset was built with."""
    refine = options(RefineConfig, index["options"]["refine"], str(run.dataset / INDEX))
    names = tuple(index["classes"])
    return dict(zip(names, class_thresholds(refine, Classes(names)), strict=True))


def _paths_of_images(dataset: BuiltDataset) -> dict[str, dict[str, str | None]]:
    """For each split, file name → path of the user's file; None where a person corrected the labels."""
    paths: dict[str, dict[str, str | None]] = {split: {} for split in dataset.splits}
    for path, entry in dataset.images():
        paths[entry["split"]][entry["file_name"]] = None if entry.get("source") == HUMAN else path
    return paths


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _reasons(stability: float | None, mask_score: float | None, margin: float | None) -> tuple[str, ...]:
    applies = {
        "unstable": stability is not None and stability < UNSTABLE,
        "near_threshold": margin is not None and margin < NEAR_THRESHOLD,
        "poor_mask": mask_score is not None and mask_score < POOR_MASK,
    }
    return tuple(reason for reason, yes in applies.items() if yes)
