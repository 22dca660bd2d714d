"""Boxes that people have already: a COCO file, or a YOLO `data.yaml` with its label files → boxes by image.

Of COCO objects the `bbox` is read and the `score`, where there is one; masks are not looked at. Nothing is guessed: a
row that is no box is refused with its annotation id, or with its file and line.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from ..coco.annotation import Row
from ..coco.parsing import Category, load, locate, unsafe_file_name, without_placeholders
from ..coco.problem import Problem, as_number, shown
from ..errors import DataError
from .weights import weights_sha256
from .yolo_boxes import YAML_SUFFIXES, read_yolo

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BoxRow:
    """What a file says of one image: `name` is its path in the file (POSIX; of YOLO without a suffix), `size` its
    (height, width) where the file tells.

    `xyxy` (N, 4) float64 are pixels, or shares of the image's sides where `shares`; `classes` (N,) are indices of the
    file's classes, `scores` (N,) are 0..1 and 1 where the file has none. `left_out` (reason → number) is what is no box
    of one object.
    """

    name: str
    size: tuple[int, int] | None
    xyxy: Floats
    classes: npt.NDArray[np.int64]
    scores: Floats
    shares: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BoxFile:
    """A file of boxes: its classes by name, in its order, and a row for each image that it knows."""

    path: Path
    classes: tuple[str, ...]
    rows: tuple[BoxRow, ...]


def read_boxes(source: str | Path) -> BoxFile:
    """The boxes of a COCO file, a folder that holds `_annotations.coco.json`, or a YOLO `data.yaml`.

    Raises:
        MissingInputError: it is not there.
        DataError: something in it is no box; file, annotation id or line are named.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() in YAML_SUFFIXES:
        classes, labels = read_yolo(path)
        return BoxFile(path, classes, tuple(BoxRow(name, None, *boxes, shares=True) for name, boxes in labels.items()))
    return _read_coco(locate(path))


def hash_of_boxes(source: str | Path) -> str:
    """What decides the boxes: the SHA-256 of a COCO file, or of the content of all label files of a `data.yaml`.

    Raises:
        MissingInputError, DataError: as `read_boxes`.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() not in YAML_SUFFIXES:
        return weights_sha256(locate(path))
    file = read_boxes(path)
    content = [(row.name, row.xyxy.tolist(), row.classes.tolist(), row.scores.tolist()) for row in file.rows]
    return hashlib.sha256(json.dumps([file.classes, content]).encode()).hexdigest()


def _read_coco(path: Path) -> BoxFile:
    document = load(path, _raise_error)
    if not isinstance(document, dict):
        raise DataError(f"{path} must hold a JSON object with images, annotations and categories.")
    rows = {key: list(_rows(document, key, path)) for key in ("categories", "images", "annotations")}
    named = {number: _category(row, path) for number, row in _by_id(rows["categories"], "category", path).items()}
    used = {row["category_id"] for row in rows["annotations"] if type(row.get("category_id")) is int}
    categories = without_placeholders(named, used, path, _raise_error)
    images = _by_id(rows["images"], "image", path)
    found = _boxes(rows["annotations"], images, {number: at for at, number in enumerate(categories)}, path)
    told = [_box_row(image, *found[number], path) for number, image in sorted(images.items())]
    if repeated := [name for name, count in Counter(row.name for row in told).items() if count > 1]:
        raise DataError(f"{path}: two images have the `file_name` {shown(repeated[0])}.")
    return BoxFile(path, tuple(one.name.strip() for one in categories.values()), tuple(told))


def _boxes(
    rows: list[Row], images: Mapping[int, Row], index: Mapping[int, int], path: Path
) -> dict[int, tuple[list[tuple[float, ...]], int]]:
    """Of each image by id: x0, y0, x1, y1, class and score of each box, and the number of crowds."""
    boxes: dict[int, list[tuple[float, ...]]] = {number: [] for number in images}
    crowds: Counter[int] = Counter()
    for row in rows:
        image_id, category_id, crowd = row.get("image_id"), row.get("category_id"), row.get("iscrowd", 0)
        score = as_number(row.get("score", 1.0))
        if type(image_id) is not int or image_id not in images:
            raise _error(path, row, f"`image_id` {shown(image_id)} is no image of the file")
        if type(category_id) is not int or category_id not in index:
            raise _error(path, row, f"`category_id` {shown(category_id)} is no category of the file")
        if crowd not in (0, 1):
            raise _error(path, row, f"`iscrowd` must be 0 or 1, not {shown(crowd)}")
        if score is None or not 0 <= score <= 1:
            raise _error(path, row, f"`score` must be a number from 0 to 1, not {shown(row['score'])}")
        corners = _corners(row, path)
        if crowd:
            crowds[image_id] += 1
        else:
            boxes[image_id].append((*corners, index[category_id], score))
    return {number: (some, crowds[number]) for number, some in boxes.items()}


def _corners(row: Row, path: Path) -> tuple[float, float, float, float]:
    stated = row.get("bbox")
    numbers = [as_number(side) for side in stated] if isinstance(stated, list) and len(stated) == 4 else []
    x, y, width, height = numbers or (None, None, None, None)
    if x is None or y is None or width is None or height is None or width < 0 or height < 0:
        raise _error(path, row, f"`bbox` must be [x, y, width, height], four numbers, not {shown(stated)}")
    return (x, y, x + width, y + height)


def _box_row(image: Row, found: list[tuple[float, ...]], crowds: int, path: Path) -> BoxRow:
    name = image.get("file_name")
    if (reason := unsafe_file_name(name)) is not None:
        raise _error(path, {"image_id": image["id"]}, reason)
    sides = [_side(image, key, path) for key in ("height", "width")]
    size = None if sides[0] is None or sides[1] is None else (sides[0], sides[1])
    table = np.array(found, dtype=np.float64).reshape(-1, 6)
    # What a Windows program wrote.
    posix = PurePosixPath(str(name).replace("\\", "/")).as_posix()
    left_out = {"crowd_box": crowds} if crowds else {}
    return BoxRow(posix, size, table[:, :4], table[:, 4].astype(np.int64), table[:, 5], left_out=left_out)


def _side(image: Row, key: str, path: Path) -> int | None:
    stated = image.get(key)
    number = as_number(stated)
    if stated is None:
        return None
    if number is None or number < 1 or not number.is_integer():
        raise _error(
            path, {"image_id": image["id"]}, f"`{key}` must be a whole number of at least 1, not {shown(stated)}"
        )
    return int(number)


def _category(row: Row, path: Path) -> Category:
    name, parent = row.get("name"), row.get("supercategory")
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{path}: `name` of category {shown(row['id'])} must be text, not {shown(name)}.")
    return Category(row["id"], name, parent if isinstance(parent, str) else None)


def _rows(document: Mapping[str, Any], key: str, path: Path) -> Iterator[Row]:
    rows = document.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        state = "is missing" if key not in document else "must be a list of objects"
        raise DataError(f"{path}: `{key}` {state}.", "A COCO file has images, annotations and categories.")
    yield from rows


def _by_id(rows: list[Row], kind: str, path: Path) -> dict[int, Row]:
    found: dict[int, Row] = {}
    for at, row in enumerate(rows):
        number = row.get("id")
        if type(number) is not int:
            raise DataError(f"{path}: the {kind} at index {at} has no integer `id`: {shown(number)}.")
        if number in found:
            raise DataError(f"{path}: the {kind} id {shown(number)} is used twice.")
        found[number] = row
    return found


def _error(path: Path, row: Row, message: str) -> DataError:
    place = Problem("error", message, path, row.get("image_id"), row.get("id")).place
    return DataError(f"{place}: {message}.", "Nothing of the file was used.")


def _raise_error(problem: Problem) -> None:
    if problem.severity == "error":
        raise DataError(f"{problem.place}: {problem.message}.", "Nothing of the file was used.")
