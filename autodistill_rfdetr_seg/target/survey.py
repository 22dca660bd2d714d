"""What a training dataset holds, one split at a time: counts, classes, sizes, and what is wrong with masks and images.

Everything that needs no mask is counted for every annotation, from columns of the JSON file. Masks and image headers
are looked at for a seeded sample of images where there are many, so that 50,000 images take seconds.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import coco
from ..coco.parsing import Category, without_placeholders
from ..errors import DataError
from ..files import read_json

# Images of a split whose masks and headers are looked at.
LOOKED_AT = 1000
_SEED = 0


@dataclass
class Fault:
    """How often something is wrong, and where first."""

    count: int = 0
    first: str = ""

    def note(self, place: str) -> None:
        """One more, at `place`."""
        self.count += 1
        self.first = self.first or place


@dataclass
class Survey:
    """One split. Arrays have one entry an image, in the order of `names`; sides are pixels, (N, 2) height, width."""

    split: str
    names: list[str]
    sizes: npt.NDArray[np.int64]
    instances: npt.NDArray[np.int64]
    classes: dict[int, str]
    per_class: Counter[int]
    # Width and height of each object's box as shares of its image, (N, 2).
    boxes: npt.NDArray[np.float64]
    box_images: npt.NDArray[np.int64]
    crowds: int = 0
    unmasked: int = 0
    faults: dict[str, Fault] = field(default_factory=dict)
    looked_at: tuple[int, int] = (0, 0)

    def fault(self, kind: str, place: str) -> None:
        """Notes that something is wrong at `place`."""
        self.faults.setdefault(kind, Fault()).note(place)

    def largest_batch(self, count: int) -> int:
        """Instances of the `count` images that have most."""
        return int(np.sort(self.instances)[::-1][:count].sum())

    def largest_images(self, count: int) -> list[tuple[int, int]]:
        """Height and width of the `count` images of most pixels."""
        order = np.argsort(-self.sizes.prod(axis=1), kind="stable")[:count]
        return [(int(height), int(width)) for height, width in self.sizes[order]]


def survey_coco(file: Path, split: str, looked_at: int = LOOKED_AT) -> Survey:
    """The survey of a COCO file, its images beside it.

    Raises:
        DataError: it cannot be read, or is no COCO file.
    """
    data = read_json(file)
    try:
        images, rows = data["images"], data["annotations"]
        names = [str(image["file_name"]) for image in images]
        stated = [(image.get("height"), image.get("width")) for image in images]
        sizes = np.array([one if _are_sides(one) else (0, 0) for one in stated], dtype=np.int64).reshape(-1, 2)
        place = {image["id"]: at for at, image in enumerate(images)}
        used = {row["category_id"] for row in rows}
        listed = {
            row["id"]: Category(row["id"], str(row["name"]), row.get("supercategory")) for row in data["categories"]
        }
        # rfdetr leaves out a row that only names others' supercategory, as Roboflow's export writes it.
        kept_rows = without_placeholders(listed, used, file, lambda _: None)
        classes = {number: one.name for number, one in kept_rows.items()}
        found = Survey(split, names, sizes, np.zeros(len(names), np.int64), classes, Counter(), *_no_boxes())
        for name, size in zip(names, sizes, strict=True):
            if not size.all():
                found.fault("image size is not two numbers over 0", repr(name))
        if len(place) < len(images):
            found.fault("image id used twice", f"{file.name}: {len(images) - len(place)} ids")
        kept = [row for row in rows if not row.get("iscrowd")]
        found.crowds = len(rows) - len(kept)
        _count(found, kept, place)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise DataError(f"{file} is no COCO file ({type(error).__name__}: {error}).") from error
    chosen = _chosen(len(names), looked_at)
    by_image: dict[int, list[dict[str, Any]]] = {at: [] for at in chosen}
    for row in kept:
        at = place.get(row["image_id"], -1)
        if at in by_image and row.get("segmentation") and _has_box_or_none(row):
            by_image[at].append(row)
    for at, masked in by_image.items():
        if sizes[at].all():
            _look(found, file, images[at], masked)
    found.looked_at = (len(chosen), sum(map(len, by_image.values())))
    return found


def _are_numbers(values: Any, count: int) -> bool:
    """Whether it is a list of so many finite numbers."""
    return (
        isinstance(values, list | tuple)
        and len(values) == count
        and all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    )


def _are_sides(values: Any) -> bool:
    return _are_numbers(values, 2) and min(values) >= 1


def _has_box_or_none(row: Mapping[str, Any]) -> bool:
    return not row.get("bbox") or _are_numbers(row["bbox"], 4)


def _no_boxes() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    return np.zeros((0, 2)), np.zeros(0, np.int64)


def _count(found: Survey, rows: Sequence[Mapping[str, Any]], place: Mapping[Any, int]) -> None:
    at = np.array([place.get(row["image_id"], -1) for row in rows], dtype=np.int64)
    masked = np.array([bool(row.get("segmentation")) for row in rows], dtype=bool)
    for row in (row for row, index in zip(rows, at, strict=True) if index < 0):
        found.fault("unknown image id", f"annotation id {row.get('id')}, image id {row['image_id']}")
    known = at >= 0
    found.unmasked = int((known & ~masked).sum())
    found.instances = np.bincount(at[known], minlength=len(found.names)).astype(np.int64)
    found.per_class = Counter(row["category_id"] for row in rows)
    for row in (row for row in rows if row["category_id"] not in found.classes):
        found.fault("unknown category id", f"annotation id {row.get('id')}, category id {row['category_id']}")
    boxed = []
    for row, index in zip(rows, at, strict=True):
        if not _has_box_or_none(row):
            found.fault("box is not four numbers", f"annotation id {row.get('id')}")
        elif row.get("bbox") and index >= 0 and found.sizes[index].all():
            boxed.append((index, row["bbox"][2:]))
    if boxed:
        found.box_images = np.array([index for index, _ in boxed])
        found.boxes = np.array([box for _, box in boxed], dtype=np.float64) / found.sizes[found.box_images][:, ::-1]


def _chosen(count: int, most: int) -> list[int]:
    """All images, or a seeded sample of them, ascending."""
    return list(range(count)) if count <= most else sorted(random.Random(_SEED).sample(range(count), most))


def _look(found: Survey, file: Path, image: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Holds an image's rows against its masks, and its stated size against its file."""
    for problem in coco.look_at_image(file, image):
        found.fault(problem, f"{image['file_name']!r}")
    for row in rows:
        wrong = coco.look_at_mask(row, image["height"], image["width"])
        if wrong:
            found.fault(wrong, f"{image['file_name']!r}, annotation id {row.get('id')}")


def survey_yolo(images: Sequence[Path], labels: Sequence[Path], split: str, names: Mapping[int, str]) -> Survey:
    """The survey of a YOLO-seg split, images and label files pairwise; a line is `class x y x y …` in shares."""
    from PIL import Image

    counts, sizes, boxes, owners = [], [], [], []
    found = Survey(split, [path.name for path in images], *_empty(names))
    for at, (image, label) in enumerate(zip(images, labels, strict=True)):
        try:
            with Image.open(image) as opened:
                sizes.append((opened.height, opened.width))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            sizes.append((0, 0))
            found.fault("image file cannot be opened", repr(image.name))
        rows = list(_yolo_rows(found, label))
        counts.append(len(rows))
        found.per_class.update(number for number, _ in rows)
        boxes += [points.max(axis=0) - points.min(axis=0) for _, points in rows]
        owners += [at] * len(rows)
    found.sizes = np.array(sizes, dtype=np.int64).reshape(-1, 2)
    found.instances = np.array(counts, dtype=np.int64)
    found.boxes, found.box_images = np.array(boxes).reshape(-1, 2), np.array(owners, dtype=np.int64)
    found.looked_at = (len(counts), sum(counts))
    return found


def _empty(names: Mapping[int, str]) -> tuple[Any, ...]:
    return np.zeros((0, 2), np.int64), np.zeros(0, np.int64), dict(names), Counter(), *_no_boxes()


def yolo_lines(label: Path) -> list[str]:
    """The lines of a label file, which need not be there.

    Raises:
        DataError: it is not text.
    """
    try:
        return label.read_text(encoding="utf-8").splitlines() if label.is_file() else []
    except UnicodeDecodeError as error:
        raise DataError(f"{label} is not UTF-8 text.", "Write `class x y x y …` in each line.") from error


def _yolo_rows(found: Survey, label: Path) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    for number, line in enumerate(yolo_lines(label), start=1):
        where = f"{label.name!r}, line {number}"
        try:
            values = [float(text) for text in line.split()]
        except ValueError:
            values = [math.nan]
        if not all(map(math.isfinite, values)):
            found.fault("line is not numbers", where)
            continue
        if len(values) == 5:
            found.unmasked += 1
        if values and values[0] not in found.classes:
            found.fault("unknown category id", where)
        elif len(values) >= 7 and len(values) % 2:
            points = np.array(values[1:]).reshape(-1, 2)
            if points.min() < -0.01 or points.max() > 1.01:
                found.fault("polygon reaches outside of the image", where)
            yield int(values[0]), points
        elif len(values) != 5 and values:
            found.fault("mask cannot be read", where)
