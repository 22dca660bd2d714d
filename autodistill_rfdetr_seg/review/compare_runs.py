"""Compares the datasets of two runs: labels gained, lost and changed, image by image."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.types import Rle
from ..dataset.dataset_index import BuiltDataset
from ..system.config_files import read_run_config
from ..system.run_folder import RunFolder

MATCH_IOU = 0.5
SAME_IOU = 0.95
SAME_SCORE = 0.01


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a dataset; `reference` (`train:12`) is the argument of `explain`. `score` is None if unknown."""

    reference: str
    class_name: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """A label in both datasets that differs in `what`: some of `class`, `mask`, `score`. `iou` compares the masks."""

    a: Label
    b: Label
    iou: float
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageChange:
    """The differences in one image; `same` counts the equal labels. `content` is True if the image file differs."""

    path: str
    split_a: str
    split_b: str
    content: bool
    same: int
    gained: tuple[Label, ...]
    lost: tuple[Label, ...]
    changed: tuple[Change, ...]

    @property
    def size(self) -> int:
        """The number of labels gained, lost and changed."""
        return len(self.gained) + len(self.lost) + len(self.changed)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences from dataset A to dataset B.

    `totals` and each of `per_class` count labels: a, b, same, changed, gained, lost (a changed label counts for its
    class in A). `images` are the images in both that differ, sorted by path. `only_a` and `only_b` are the paths in one
    dataset only; their labels count as lost or gained. `options` has the options that differ, key → (A's, B's).
    """

    images_in_both: int
    totals: Mapping[str, int]
    per_class: Mapping[str, Mapping[str, int]]
    images: tuple[ImageChange, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    options: Mapping[str, tuple[Any, Any]]

    @property
    def moved(self) -> tuple[ImageChange, ...]:
        """The images whose split differs."""
        return tuple(image for image in self.images if image.split_a != image.split_b)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data; `moved` is {path: [A's split, B's]}."""
        moved = {image.path: [image.split_a, image.split_b] for image in self.moved}
        return {**dataclasses.asdict(self), "moved": moved}


@dataclass(frozen=True, slots=True)
class _Mask:
    label: Label
    rle: Rle


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one image of a dataset is: its split, its number in the file of the split, and the SHA-256 of its file."""

    split: str
    number: int
    sha256: bytes


class _Side:
    """One of the two datasets: the places of its images by path; labels are read when they are asked for."""

    def __init__(self, run: RunFolder, files: contextlib.ExitStack) -> None:
        self.dataset = BuiltDataset.of_folder(run.dataset)
        self._files = {split: files.enter_context(self.dataset.labels(split)) for split in self.dataset.splits}
        numbers = {split: {name: at for at, name in enumerate(file.names)} for split, file in self._files.items()}
        self.places = {
            path: _Place(split, numbers[split][entry["file_name"]], bytes.fromhex(entry["sha256"]))
            for path, entry in self.dataset.images()
            for split in [sys.intern(entry["split"])]
        }

    def rows(self, place: _Place) -> list[dict[str, Any]]:
        """The annotations of an image as in its file."""
        return self._files[place.split].annotations(place.number)

    def labels(self, place: _Place, rows: Sequence[Mapping[str, Any]]) -> list[Label]:
        """The labels that these annotations of an image are."""
        names = self._files[place.split].class_names
        return [Label(f"{place.split}:{row['id']}", names[row["category_id"]], row.get("score")) for row in rows]

    def masks(self, place: _Place, labels: Sequence[Label]) -> list[_Mask]:
        """The labels of an image with their masks."""
        rles = self._files[place.split].rles(place.number)
        return [_Mask(label, rle) for label, rle in zip(labels, rles, strict=True)]


def compare(run_a: RunFolder, run_b: RunFolder, *, progress: bool = False) -> Comparison:
    """Compares the dataset of `run_b` with that of `run_a`.

    Images are matched by path; labels by a mask IoU of at least 0.5, first within a class, then across classes, highest
    IoU first. A matched label counts as changed if the IoU of its masks is below 0.95, its class differs, or its score
    differs by more than 0.01.

    Raises:
        DataError: a run has no dataset, or its COCO file is invalid.
    """
    with contextlib.ExitStack() as files:
        return _compare(_Side(run_a, files), _Side(run_b, files), (run_a, run_b), progress)


def _compare(a: _Side, b: _Side, runs: tuple[RunFolder, RunFolder], progress: bool) -> Comparison:
    from tqdm import tqdm

    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    changes: list[ImageChange] = []
    in_both = sorted(a.places.keys() & b.places.keys())
    for path in tqdm(in_both, desc="Comparing", unit="image", disable=not progress or None, delay=2):
        change = _compare_image(path, a, b, counts)
        if change.size or change.content or change.split_a != change.split_b:
            changes.append(change)
    only_a, only_b = (sorted(one.places.keys() - other.places.keys()) for one, other in ((a, b), (b, a)))
    for side, kind, paths, where in (("a", "lost", only_a, a), ("b", "gained", only_b, b)):
        for place in (where.places[path] for path in paths):
            for label in where.labels(place, where.rows(place)):
                counts[label.class_name].update((side, kind))
    keys = ("a", "b", "same", "changed", "gained", "lost")
    names = dict.fromkeys(name for side in (a, b) for name in side.dataset.head["classes"])
    return Comparison(
        images_in_both=len(in_both),
        totals={key: sum(count[key] for count in counts.values()) for key in keys},
        per_class={name: {key: counts[name][key] for key in keys} for name in names},
        images=tuple(changes),
        only_a=tuple(only_a),
        only_b=tuple(only_b),
        options=_options((runs[0], a.dataset), (runs[1], b.dataset)),
    )


def _compare_image(path: str, a: _Side, b: _Side, counts: defaultdict[str, Counter[str]]) -> ImageChange:
    """The differences in one image, whose labels are added to the `counts`."""
    at_a, at_b = a.places[path], b.places[path]
    rows_a, rows_b = a.rows(at_a), b.rows(at_b)
    of_a, of_b = a.labels(at_a, rows_a), b.labels(at_b, rows_b)
    if _content(rows_a, of_a) == _content(rows_b, of_b):
        pairs = [(at, at, 1.0) for at in range(len(of_a))]
    else:
        pairs = _match(a.masks(at_a, of_a), b.masks(at_b, of_b))
    changes = [(i, j, _change(of_a[i], of_b[j], iou)) for i, j, iou in sorted(pairs)]
    changed = tuple(change for _, _, change in changes if change.what)
    matched_a, matched_b = {i for i, _, _ in pairs}, {j for _, j, _ in pairs}
    change = ImageChange(
        path=path,
        split_a=at_a.split,
        split_b=at_b.split,
        content=at_a.sha256 != at_b.sha256,
        same=len(changes) - len(changed),
        gained=tuple(label for j, label in enumerate(of_b) if j not in matched_b),
        lost=tuple(label for i, label in enumerate(of_a) if i not in matched_a),
        changed=changed,
    )
    _count(counts, of_a, of_b, change)
    return change


def _content(rows: Sequence[Mapping[str, Any]], labels: Sequence[Label]) -> list[tuple[Any, ...]]:
    """What of the annotations of an image is compared; labels of equal masks match one by one in their order."""
    return [(row["segmentation"], one.class_name, one.score) for row, one in zip(rows, labels, strict=True)]


def _match(a: Sequence[_Mask], b: Sequence[_Mask]) -> list[tuple[int, int, float]]:
    """Greedy one-to-one matches (index in A, index in B, IoU): first within a class, then across, highest IoU first."""
    iou = _iou(a, b)
    candidates = sorted(
        (a[i].label.class_name != b[j].label.class_name, -float(iou[i, j]), int(i), int(j))
        for i, j in np.argwhere(iou >= MATCH_IOU)
    )
    free_a, free_b = set(range(len(a))), set(range(len(b)))
    pairs = []
    for _, negative, i, j in candidates:
        if i in free_a and j in free_b:
            free_a.remove(i)
            free_b.remove(j)
            pairs.append((i, j, -negative))
    return pairs


def _iou(a: Sequence[_Mask], b: Sequence[_Mask]) -> npt.NDArray[np.float64]:
    sizes = {(mask.rle.height, mask.rle.width) for mask in (*a, *b)}
    if len(sizes) > 1:  # the image file differs: masks of different sizes cannot be compared
        return np.zeros((len(a), len(b)))
    return masks.iou_matrix([mask.rle for mask in a], [mask.rle for mask in b])


def _change(a: Label, b: Label, iou: float) -> Change:
    score_differs = (a.score is None) != (b.score is None) or (
        # COCO files have six digits; without rounding, a difference of exactly the limit could exceed it.
        a.score is not None and b.score is not None and round(abs(a.score - b.score), 6) > SAME_SCORE
    )
    differs = {"class": a.class_name != b.class_name, "mask": iou < SAME_IOU, "score": score_differs}
    return Change(a, b, iou, tuple(name for name, value in differs.items() if value))


def _count(counts: defaultdict[str, Counter[str]], a: Sequence[Label], b: Sequence[Label], change: ImageChange) -> None:
    for side, all_of_side in (("a", a), ("b", b)):
        for label in all_of_side:
            counts[label.class_name][side] += 1
    for kind, labels in (("gained", change.gained), ("lost", change.lost), ("changed", [c.a for c in change.changed])):
        for label in labels:
            counts[label.class_name][kind] += 1
    different = {label.reference for label in (*change.lost, *(c.a for c in change.changed))}
    for label in a:
        counts[label.class_name]["same"] += label.reference not in different


def _options(a: tuple[RunFolder, BuiltDataset], b: tuple[RunFolder, BuiltDataset]) -> dict[str, tuple[Any, Any]]:
    """The build options, bases and ontologies that differ: dotted key → (A's, B's)."""
    of_a, of_b = (dict(_flat(_settings(run, dataset))) for run, dataset in (a, b))
    differ = (key for key in sorted(of_a.keys() | of_b.keys()) if of_a.get(key) != of_b.get(key))
    return {key: (of_a.get(key), of_b.get(key)) for key in differ}


def _settings(run: RunFolder, dataset: BuiltDataset) -> dict[str, Any]:
    settings = {"options": dataset.head["options"]}
    if run.config_file.is_file():
        config = read_run_config(run)
        settings |= {"base": config.base.model_dump(mode="json"), "ontology": config.ontology}
    return settings


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}".removeprefix("options."), value
