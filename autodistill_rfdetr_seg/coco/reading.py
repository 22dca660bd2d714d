"""COCO files as gold sets, and as the labels that `write` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..records import Classes, GroundTruth, Instance, TruthImage, TruthInstance
from .alignment import ground_truth
from .annotation import Annotation
from .parsing import load, locate, parse
from .problem import Problem


def read(source: str | Path) -> GroundTruth:
    """The gold set of a COCO file, or of a folder that holds `_annotations.coco.json`.

    Classes come in the order of their category ids, images in that of their ids; a row that only names other rows'
    supercategory is no class. `area` and `bbox` are as stated, crowds are kept, images need not exist.

    Raises:
        MissingInputError: there is no such file.
        DataError: something in it is wrong; the message names the file, image id and annotation id.
    """
    path = locate(source)
    file = parse(path, raise_error)
    index = {category_id: index for index, category_id in enumerate(file.categories)}
    instances: dict[int, list[TruthInstance]] = {image_id: [] for image_id in file.images}
    for row in file.annotations:
        instances[row.image_id].append(_truth_instance(row, index))
    images = tuple(
        TruthImage(
            image.file_name,
            path.parent / image.file_name,
            image.height,
            image.width,
            tuple(instances[image.id]),
            image.id,
        )
        for image in file.images.values()
    )
    return ground_truth(Classes(tuple(row.name for row in file.categories.values())), images, tuple(file.categories))


def read_rows(source: str | Path) -> dict[str, list[dict[str, Any]]]:
    """What `read` has no place for: the annotation rows of each image of a sound COCO file, by file name.

    Rows (`id`, `score` …, their masks left out) are in the order of `read`'s instances.

    Raises:
        MissingInputError, DataError: the file is missing, or cannot be read.
    """
    data = load(locate(source), raise_error)
    names = {row["id"]: row["file_name"] for row in data["images"]}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for row in data["annotations"]:
        rows[names[row["image_id"]]].append({key: value for key, value in row.items() if key != "segmentation"})
    return rows


def label_of(one: TruthInstance, row: Mapping[str, Any]) -> Instance:
    """The label that `write` wrote, from its instance in `read` and its row in `read_rows`: scores and source as they
    were. A row without a score, which `write` makes none of, counts as sure."""
    further = {name: row[name] for name in ("mask_score", "stability", "source") if name in row}
    return Instance(one.class_index, one.rle, row.get("score", 1.0), **further)


def raise_error(problem: Problem) -> None:
    """A `Note` that raises DataError for the first error, and lets warnings pass."""
    if problem.severity == "error":
        raise DataError(f"{problem.place}: {problem.message}.", "`coco.validate` lists every problem of a file.")


def _truth_instance(row: Annotation, index: Mapping[int, int]) -> TruthInstance:
    return TruthInstance(index[row.category_id], row.rle, row.crowd, row.area, row.bbox_xywh, row.polygons, row.id)
