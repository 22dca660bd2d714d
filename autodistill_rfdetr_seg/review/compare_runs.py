"""What two builds of a dataset differ in: labels gained, lost and changed, image by image."""

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
from ..core.plain_text import short_list, table
from ..core.types import Rle
from ..dataset.dataset_index import read_dataset, read_index
from ..system.config_files import read_run_config
from ..system.run_folder import RunFolder

MATCH_IOU = 0.5
SAME_IOU = 0.95
SAME_SCORE = 0.01
_SHOWN_IMAGES = 10
_SHOWN_NAMES = 5


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a dataset; `reference` (`train:12`) is what `explain` takes. A score may be unknown (None)."""

    reference: str
    class_name: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """A label that is in both builds and differs in `what`: some of `class`, `mask`, `score`. `iou` is of the masks."""

    a: Label
    b: Label
    iou: float
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageChange:
    """What differs in one image; `same` counts the labels that do not. `content` tells that the file is another."""

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
    """From build A to build B.

    `totals` and each of `per_class` count labels: a, b, same, changed, gained, lost (a changed label counts for the
    class it has in A). `images` are those in both that differ, by path; `only_a` and `only_b` the paths in one alone,
    whose labels count as lost or gained. `options` holds the options that differ, key → (A's, B's).
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
    """One image of a build."""

    split: str
    sha256: str
    masks: tuple[_Mask, ...]


def compare(run_a: RunFolder, run_b: RunFolder) -> Comparison:
    """What was gained, lost and changed from the dataset of `run_a` to that of `run_b`.

    Images are the same by path, labels by mask IoU of at least 0.5: first within a class, then across, highest first.
    A matched label is changed where its masks' IoU is under 0.95, its class differs or its score by more than 0.01.

    Raises:
        DataError: one of them has no dataset, or its COCO file is not sound.
    """
    a, b = _read(run_a), _read(run_b)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    found: list[ImageChange] = []
    for path in sorted(a.keys() & b.keys()):
        change = _compare_image(path, a[path], b[path])
        _count(counts, a[path].masks, b[path].masks, change)
        if change.size or change.content or change.split_a != change.split_b:
            found.append(change)
    only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
    for side, lacking, paths, entries in (("a", "lost", only_a, a), ("b", "gained", only_b, b)):
        for mask in (mask for path in paths for mask in entries[path].masks):
            counts[mask.label.class_name].update((side, lacking))
    keys = ("a", "b", "same", "changed", "gained", "lost")
    return Comparison(
        images_in_both=len(a.keys() & b.keys()),
        totals={key: sum(count[key] for count in counts.values()) for key in keys},
        per_class={name: {key: counts[name][key] for key in keys} for name in _class_names(run_a, run_b)},
        images=tuple(found),
        only_a=tuple(only_a),
        only_b=tuple(only_b),
        options=_options(run_a, run_b),
    )


def comparison_text(comparison: Comparison) -> str:
    """The comparison for reading in a terminal: totals, options that differ, and the images that changed most."""
    c = comparison
    head = ["", "A", "B", "same", "changed", "gained", "lost"]
    rows = [[name, *map(str, count.values())] for name, count in (*c.per_class.items(), ("all", c.totals))]
    lines = [table(head, rows), "", f"{c.images_in_both} images in both, {len(c.images)} of them differ"]
    for words, paths in (
        ("only in A", c.only_a),
        ("only in B", c.only_b),
        ("in another split", [f"{i.path} ({i.split_a} → {i.split_b})" for i in c.moved]),
        ("with other content", [i.path for i in c.images if i.content]),
    ):
        if paths:
            lines.append(f"{len(paths)} {words}: {short_list(paths)}")
    lines += [f"option {key}: {old} → {new}" for key, (old, new) in c.options.items()]
    most = sorted((i for i in c.images if i.size), key=lambda i: (-i.size, i.path))[:_SHOWN_IMAGES]
    if most:
        rows = [[i.path, *(str(len(part)) for part in (i.changed, i.gained, i.lost))] for i in most]
        lines += ["", table(["most changed", "changed", "gained", "lost"], rows)]
    return "\n".join(lines)


def _read(run: RunFolder) -> dict[str, _Entry]:
    """The images of a build by path, masks as RLE."""
    read_dataset(run.dataset)
    index = read_index(run.dataset)
    masks_of = {split: dict(_masks(run, split)) for split in index["counts"]}
    return {
        path: _Entry(entry["split"], entry["sha256"], masks_of[entry["split"]][entry["file_name"]])
        for path, entry in index["images"].items()
    }


def _masks(run: RunFolder, split: str) -> Iterator[tuple[str, tuple[_Mask, ...]]]:
    """The labels of each image of a split by file name, in the file's order."""
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
    """Greedy one-to-one matches (place in A, place in B, IoU): within a class first, then across, highest IoU first."""
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
    if len(sizes) > 1:  # the file is another: no mask of one size is one of the other
        return np.zeros((len(a), len(b)))
    return masks.iou_matrix([mask.rle for mask in a], [mask.rle for mask in b])


def _change(a: Label, b: Label, iou: float) -> Change:
    score_moved = (a.score is None) != (b.score is None) or (
        # COCO files hold six digits: a difference of exactly the limit is not more than it.
        a.score is not None and b.score is not None and round(abs(a.score - b.score), 6) > SAME_SCORE
    )
    differs = {"class": a.class_name != b.class_name, "mask": iou < SAME_IOU, "score": score_moved}
    return Change(a, b, iou, tuple(what for what, yes in differs.items() if yes))


def _count(counts: defaultdict[str, Counter[str]], a: Sequence[_Mask], b: Sequence[_Mask], change: ImageChange) -> None:
    for side, found in (("a", a), ("b", b)):
        for mask in found:
            counts[mask.label.class_name][side] += 1
    for kind, labels in (("gained", change.gained), ("lost", change.lost), ("changed", [c.a for c in change.changed])):
        for label in labels:
            counts[label.class_name][kind] += 1
    unlike = {label.reference for label in (*change.lost, *(c.a for c in change.changed))}
    for mask in a:
        counts[mask.label.class_name]["same"] += mask.label.reference not in unlike


def _class_names(run_a: RunFolder, run_b: RunFolder) -> list[str]:
    """A's classes in their order, then those of B alone."""
    return list(dict.fromkeys(n for run in (run_a, run_b) for n in read_dataset(run.dataset).classes.names))


def _options(run_a: RunFolder, run_b: RunFolder) -> dict[str, tuple[Any, Any]]:
    """The options of the builds, and the bases and ontologies, that differ: dotted key → (A's, B's)."""
    a, b = (dict(_flat(_made_of(run))) for run in (run_a, run_b))
    return {key: (a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)}


def _made_of(run: RunFolder) -> dict[str, Any]:
    made = {"options": read_index(run.dataset)["options"]}
    if run.config_file.is_file():
        config = read_run_config(run)
        made |= {"base": config.base.model_dump(mode="json"), "ontology": config.ontology}
    return made


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}".removeprefix("options."), value
