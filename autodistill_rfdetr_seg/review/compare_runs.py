"""Compares the datasets of two runs: labels gained, lost and changed, image by image."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import coco
from ..core import masks
from ..core.types import Rle
from ..dataset.dataset_index import read_dataset, read_index
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
class _Entry:
    """One image of a dataset."""

    split: str
    sha256: str
    masks: tuple[_Mask, ...]


def compare(run_a: RunFolder, run_b: RunFolder) -> Comparison:
    """Compares the dataset of `run_b` with that of `run_a`.

    Images are matched by path; labels by a mask IoU of at least 0.5, first within a class, then across classes, highest
    IoU first. A matched label counts as changed if the IoU of its masks is below 0.95, its class differs, or its score
    differs by more than 0.01.

    Raises:
        DataError: a run has no dataset, or its COCO file is invalid.
    """
    a, b = _read(run_a), _read(run_b)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    changes: list[ImageChange] = []
    for path in sorted(a.keys() & b.keys()):
        change = _compare_image(path, a[path], b[path])
        _count(counts, a[path].masks, b[path].masks, change)
        if change.size or change.content or change.split_a != change.split_b:
            changes.append(change)
    only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
    for side, kind, paths, entries in (("a", "lost", only_a, a), ("b", "gained", only_b, b)):
        for mask in (mask for path in paths for mask in entries[path].masks):
            counts[mask.label.class_name].update((side, kind))
    keys = ("a", "b", "same", "changed", "gained", "lost")
    return Comparison(
        images_in_both=len(a.keys() & b.keys()),
        totals={key: sum(count[key] for count in counts.values()) for key in keys},
        per_class={name: {key: counts[name][key] for key in keys} for name in _class_names(run_a, run_b)},
        images=tuple(changes),
        only_a=tuple(only_a),
        only_b=tuple(only_b),
        options=_options(run_a, run_b),
    )


def _read(run: RunFolder) -> dict[str, _Entry]:
    """The images of a dataset by path."""
    read_dataset(run.dataset)
    index = read_index(run.dataset)
    masks_of = {split: dict(_masks(run, split)) for split in index["counts"]}
    return {
        path: _Entry(entry["split"], entry["sha256"], masks_of[entry["split"]][entry["file_name"]])
        for path, entry in index["images"].items()
    }


def _masks(run: RunFolder, split: str) -> Iterator[tuple[str, tuple[_Mask, ...]]]:
    """(file name, labels) of each image of a split, in the order of the file."""
    folder = run.dataset / split
    rows = coco.read_rows(folder)
    truth = coco.read(folder)
    for image in truth.images:
        found = zip(image.instances, rows[image.image_id], strict=True)
        yield (
            image.image_id,
            tuple(
                _Mask(Label(f"{split}:{row['id']}", truth.classes.names[one.class_index], row.get("score")), one.rle)
                for one, row in found
            ),
        )


def _compare_image(path: str, a: _Entry, b: _Entry) -> ImageChange:
    pairs = _match(a.masks, b.masks)
    changes = [(i, j, _change(a.masks[i].label, b.masks[j].label, iou)) for i, j, iou in sorted(pairs)]
    changed = tuple(change for _, _, change in changes if change.what)
    of_a, of_b = {i for i, _, _ in pairs}, {j for _, j, _ in pairs}
    return ImageChange(
        path=path,
        split_a=a.split,
        split_b=b.split,
        content=a.sha256 != b.sha256,
        same=len(changes) - len(changed),
        gained=tuple(mask.label for j, mask in enumerate(b.masks) if j not in of_b),
        lost=tuple(mask.label for i, mask in enumerate(a.masks) if i not in of_a),
        changed=changed,
    )


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


def _count(counts: defaultdict[str, Counter[str]], a: Sequence[_Mask], b: Sequence[_Mask], change: ImageChange) -> None:
    for side, side_masks in (("a", a), ("b", b)):
        for mask in side_masks:
            counts[mask.label.class_name][side] += 1
    for kind, labels in (("gained", change.gained), ("lost", change.lost), ("changed", [c.a for c in change.changed])):
        for label in labels:
            counts[label.class_name][kind] += 1
    different = {label.reference for label in (*change.lost, *(c.a for c in change.changed))}
    for mask in a:
        counts[mask.label.class_name]["same"] += mask.label.reference not in different


def _class_names(run_a: RunFolder, run_b: RunFolder) -> list[str]:
    """The classes of A in their order, then those only in B."""
    return list(dict.fromkeys(n for run in (run_a, run_b) for n in read_dataset(run.dataset).classes.names))


def _options(run_a: RunFolder, run_b: RunFolder) -> dict[str, tuple[Any, Any]]:
    """The build options, bases and ontologies that differ: dotted key → (A's, B's)."""
    a, b = (dict(_flat(_settings(run))) for run in (run_a, run_b))
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def _settings(run: RunFolder) -> dict[str, Any]:
    settings = {"options": read_index(run.dataset)["options"]}
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
