"""Reads predictions from a file: COCO results (a list), or a COCO file with scores, as `predict --output` writes it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core import masks
from ..core.bulk_objects import many_objects
from ..core.errors import DataError
from ..core.types import FileId, GroundTruth, ImagePredictions, Instance, Rle
from . import problem_kinds as kinds
from . import segmentation as segmentations
from .json_documents import load
from .layout import locate
from .mask_forms import plain_form
from .parts import Box, Row
from .plain_rows import plain_boxes, plain_masks, plain_numbers
from .problems import Kind, as_number, shown
from .reading import raise_error, read
from .result_ids import ClassNames, FileNames, as_id, listed, match_categories, match_images

PREDICTIONS = "predictions.json"

_log = logging.getLogger(__name__)


@many_objects()
def read_results(path: str | Path, gold: GroundTruth | str | Path) -> tuple[ImagePredictions, ...]:
    """The predictions of a file for every image of the gold set, in its order.

    The file is a list of COCO results with masks, whose ids are those of the gold set's file, or are read as
    `result_ids` says; or a COCO file with a `score` for each annotation, matched by file names and class names.
    `predict --output` writes one, and the folder that it lies in may be named instead. A row's `bbox` counts as its
    box. The log reports what is read differently from COCO's definition, and what is ignored.

    Raises:
        MissingInputError: there is no such file.
        DataError: it has no predictions with masks, or not those of this gold set; both sides' ids are shown.
    """
    path = Path(path)
    path = locate(path / PREDICTIONS if (path / PREDICTIONS).is_file() else path)
    document = load(path, raise_error)
    if isinstance(document, dict) and not document.keys() & {"images", "categories"}:
        document = document.get("annotations", document)
    truth = gold if isinstance(gold, GroundTruth) else read(gold)
    images: Sequence[str | None]
    classes: Sequence[int | None]
    if isinstance(document, list):
        rows = _objects(path, document, "result")
        if not rows:
            _log.warning("%s: the file has no result: nothing was detected in any image.", path)
        images = match_images(path, rows, truth)
        classes = match_categories(path, rows, truth)
    elif isinstance(document, dict) and isinstance(document.get("annotations"), list):
        rows, images, classes = _of_coco_file(path, document, truth)
    else:
        raise DataError(
            f"{path} must be a list of results, or a COCO file with scores, not {shown(document)}.",
            'A result is {"image_id", "category_id", "segmentation", "score"}.',
        )
    by_image: dict[str, list[tuple[Instance, Box | None]]] = {image.image_id: [] for image in truth.images}
    sizes = {image.image_id: (image.height, image.width) for image in truth.images}
    changed: Counter[Kind] = Counter()
    masks_read, _ = plain_masks(
        [row.get("segmentation") for row in rows], [None if name is None else sizes[name] for name in images]
    )
    scores, boxes = _plain_scores(rows), plain_boxes([row.get("bbox") for row in rows])
    if scores is not None and boxes is not None and None not in masks_read:
        # All is read: without the document, what is made of it takes its place in memory.
        rows, document = [{}] * len(rows), None
    for number, (row, name, index, rle) in enumerate(zip(rows, images, classes, masks_read, strict=True)):
        if name is not None and index is not None:
            score = _score(path, number, row) if scores is None else scores[number]
            rle = rle or _mask(path, number, row, sizes[name], changed)
            box = _box(row.get("bbox")) if boxes is None else boxes[number]
            by_image[name].append((Instance(index, rle, score), box))
    for kind, count in changed.items():
        _log.warning("%s: %d x %s: %s.", path, count, kind.name, kind.treatment)
    return tuple(_of_image(name, found) for name, found in by_image.items())


def _plain_scores(rows: Sequence[Row]) -> list[float] | None:
    """The scores of the rows, if all are numbers from 0 to 1."""
    scores = plain_numbers([row.get("score") for row in rows])
    return None if scores is None or ((scores < 0) | (scores > 1)).any() else scores.tolist()


def _score(path: Path, number: int, row: Row) -> float:
    score = as_number(row.get("score"))
    if score is None or not 0 <= score <= 1:
        raise DataError(
            f"{path}, image id {row['image_id']}: `score` of result {number} must be a number from 0 to 1, not "
            f"{shown(row.get('score'))}.",
            "Write the model's confidence; divide percentages by 100.",
        )
    return score


def _mask(path: Path, number: int, row: Row, size: tuple[int, int], changed: Counter[Kind]) -> Rle:
    """The mask of one row in any form; `changed` counts the kinds of changes to it."""
    segmentation, changes = plain_form(row.get("segmentation"))
    try:
        rle = segmentations.parse(segmentation, *size)
    except ValueError as error:
        raise DataError(
            f"{path}, image id {row['image_id']}, result {number}: {error}.",
            None if segmentation else "Only masks are scored: each result needs a `segmentation`.",
        ) from error
    if isinstance(segmentation, list) and segmentations.leaves(segmentation, *size):
        changes = {*changes, kinds.MASK_OUTSIDE}
    changed.update(changes)
    return rle


def _box(stated: object) -> Box | None:
    """The box that a row states; None if it is not four numbers."""
    if not isinstance(stated, list) or len(stated) != 4:
        return None
    x, y, width, height = map(as_number, stated)
    if x is None or y is None or width is None or height is None:
        return None
    return x, y, width, height


def _of_image(name: str, found: Sequence[tuple[Instance, Box | None]]) -> ImagePredictions:
    instances = tuple(instance for instance, _ in found)
    if all(box is None for _, box in found):
        return ImagePredictions(name, instances)
    boxes = tuple(box or masks.bbox_xywh(instance.rle) for instance, box in found)
    return ImagePredictions(name, instances, boxes_xywh=boxes)


def _of_coco_file(
    path: Path, document: Row, truth: GroundTruth
) -> tuple[list[Row], list[str | None], list[int | None]]:
    """Annotations as rows, and the gold image and class of each by the file's own names, None if there is none."""
    lists = {
        key: _objects(path, document.get(key) or [], f"`{key}` row") for key in ("images", "categories", "annotations")
    }
    names = {number: row.get("file_name") for row in lists["images"] if (number := as_id(row.get("id"))) is not None}
    rows = lists["annotations"]
    if strange := [row.get("image_id") for row in rows if _id(row, "image_id") not in names]:
        raise DataError(
            f"{path}: {len(strange)} annotations are of an `image_id` that its `images` do not list "
            f"({listed(strange)}).",
            "List each image with its `id` and `file_name`; or write the annotations alone, as a list of results.",
        )
    images = _match_names(path, names, truth)
    _check_sizes(path, lists["images"], images, truth)
    classes: dict[FileId, int] = {}
    of_name = ClassNames(truth.classes.names)
    for row in lists["categories"]:
        number, index = as_id(row.get("id")), of_name.find(row.get("name"))
        if number is not None and index is not None:
            classes[number] = index
    if rows and not classes:
        own = [row.get("name") for row in lists["categories"]]
        none = (
            f"none of its classes {listed(own)} is in the gold set, which" if own else "it has no class; the gold set"
        )
        raise DataError(
            f"{path}: {none} has {listed(truth.classes.names)}.",
            "They are matched by name; case and spaces are ignored.",
        )
    _say_left_out(path, rows, names, images, classes, truth)
    if rows and all(row.get("score") is None for row in rows):
        _log.warning("%s: no annotation has a `score`; each counts with a score of 1.", path)
        rows = [{**row, "score": 1.0} for row in rows]
    of_rows = [images.get(_id(row, "image_id")) for row in rows]
    return rows, of_rows, [classes.get(_id(row, "category_id")) for row in rows]


def _id(row: Row, key: str) -> FileId:
    value = as_id(row.get(key))
    return "" if value is None else value


def _match_names(path: Path, names: Mapping[FileId, object], truth: GroundTruth) -> dict[FileId, str]:
    """Image id → the gold image of the same file name; if none has exactly that name, of the same last part or stem."""
    gold = {image.image_id for image in truth.images}
    images = {number: str(name) for number, name in names.items() if name in gold}
    files = FileNames(gold - set(images.values()))
    for number, name in names.items():
        meant = None if number in images else files.find(name)
        if meant is not None:
            images[number] = meant
    if len(set(images.values())) < len(images):
        twice = next(name for name, count in Counter(images.values()).items() if count > 1)
        raise DataError(f"{path}: two of its images are the gold image {twice!r}.", "Name each image once.")
    if names and not images:
        raise DataError(
            f"{path}: none of its images {listed(names.values())} is in the gold set, which has "
            f"{listed(image.image_id for image in truth.images)}.",
            "They are matched by file name.",
        )
    return images


def _check_sizes(path: Path, rows: Sequence[Row], images: Mapping[FileId, str], truth: GroundTruth) -> None:
    """Refuses predictions on images of another size: their polygons would cover the wrong pixels."""
    gold = {image.image_id: (image.width, image.height) for image in truth.images}
    for row in rows:
        name = images.get(_id(row, "id"))
        width, height = as_number(row.get("width")), as_number(row.get("height"))
        if name is not None and width is not None and height is not None and (width, height) != gold[name]:
            raise DataError(
                f"{path}: its image {shown(row.get('file_name'))} has {width:g} x {height:g} pixels, and the gold "
                f"image {name!r} {gold[name][0]} x {gold[name][1]}.",
                "Predict on the image as it is stored, without rotating or resizing it.",
            )


def _say_left_out(
    path: Path,
    rows: Sequence[Row],
    names: Mapping[FileId, object],
    images: Mapping[FileId, str],
    classes: Mapping[FileId, int],
    truth: GroundTruth,
) -> None:
    """Logs what of a COCO file is ignored."""
    if others := [name for number, name in names.items() if number not in images]:
        _log.warning(
            "%s: %d of its %d images are not in the gold set and are left out: %s.",
            path,
            len(others),
            len(names),
            listed(others),
        )
    there = set(images.values())
    if absent := [image.image_id for image in truth.images if image.image_id not in there]:
        _log.warning(
            "%s: %d of the %d gold images are not in the file and count as images without detections: %s.",
            path,
            len(absent),
            len(truth.images),
            listed(absent),
        )
    strange = sum(_id(row, "category_id") not in classes for row in rows)
    if strange:
        _log.warning("%s: %d predictions are of classes that the gold set lacks and are left out.", path, strange)


def _objects(path: Path, rows: Any, what: str) -> list[Row]:
    if not isinstance(rows, list):
        raise DataError(f"{path}: the file must be a list of {what}s, not {shown(rows)}.")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}: {what} {number} must be an object, not {type(row).__name__}.")
    return rows
