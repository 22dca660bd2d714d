"""Converts gold sets and predictions to pycocotools' own dictionaries, and writes predictions as COCO results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core import masks
from ..core.errors import DataError
from ..core.types import FileId, GroundTruth, ImagePredictions, TruthImage, TruthInstance
from ..system.files import write_text
from . import segmentation as segmentations
from .parts import Box
from .reading import read
from .writing import dumps

# "file": those of the gold set's file. "dense": from 1, images in the order of the file's ids, for COCOeval.
IdKind = Literal["file", "dense"]


@dataclass(frozen=True, slots=True)
class Ids:
    """The id of each image of a gold set, by its `image_id`, and of each class, in the order of its classes.

    `named`: the gold set has no ids of its own. They count from 1, and only names identify images and classes.
    """

    images: dict[str, FileId]
    categories: tuple[FileId, ...]
    named: bool

    @classmethod
    def from_gold(cls, gold: GroundTruth, kind: IdKind = "file") -> Ids:
        """The ids of the gold set's file, or ids from 1."""
        ordered = in_id_order(gold.images)
        classes = len(gold.classes.names)
        named = not has_file_ids(gold) or len(gold.category_ids) != classes
        if named or kind == "dense":
            images: dict[str, FileId] = {image.image_id: at for at, image in enumerate(ordered, start=1)}
            return cls(images, tuple(range(1, classes + 1)), named)
        own = {image.image_id: image.file_id for image in gold.images if image.file_id is not None}
        return cls(own, gold.category_ids, named)


def has_file_ids(gold: GroundTruth) -> bool:
    """Whether every image has an id of its own in the gold set's file; a gold set of several files has none."""
    ids = [image.file_id for image in gold.images]
    return None not in ids and len(set(ids)) == len(ids)


def in_id_order(images: Sequence[TruthImage]) -> list[TruthImage]:
    """Images in the order in which COCOeval takes them, which decides between detections of equal score.

    Sorted by ids: numbers by value, then text. Images without an id come last, in their own order.
    """

    def place(image: TruthImage) -> tuple[int, int, str]:
        if image.file_id is None:
            return (2, 0, "")
        return (0, image.file_id, "") if isinstance(image.file_id, int) else (1, 0, image.file_id)

    return sorted(images, key=place)


def to_dataset(truth: GroundTruth, area_from: Literal["file", "mask"] = "file", ids: IdKind = "file") -> dict[str, Any]:
    """The gold set as pycocotools' dataset dictionary, masks as compressed RLE.

    Images and categories have the ids of the gold set's file, or with `ids` "dense" (and where there is no file) from
    1; annotation ids always count from 1, as pycocotools takes an object of id 0 for unmatched. `area` and `bbox` are
    the stated ones where there are any; with `area_from` "mask" `area` is always the mask's.
    """
    found = Ids.from_gold(truth, ids)
    ordered = in_id_order(truth.images)
    images = [
        {"id": found.images[image.image_id], "file_name": image.image_id, "height": image.height, "width": image.width}
        for image in ordered
    ]
    instances = [(found.images[image.image_id], one) for image in ordered for one in image.instances]
    areas, boxes = areas_and_boxes([one for _, one in instances], area_from)
    annotations = [
        {
            "id": number,
            "image_id": image_id,
            "category_id": found.categories[one.class_index],
            "segmentation": segmentations.to_json(one.rle),
            "area": area,
            "bbox": list(box),
            "iscrowd": int(one.crowd),
        }
        for number, ((image_id, one), area, box) in enumerate(zip(instances, areas, boxes, strict=True), start=1)
    ]
    categories = [
        {"id": number, "name": name, "supercategory": "none"}
        for number, name in zip(found.categories, truth.classes.names, strict=True)
    ]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def areas_and_boxes(
    objects: Sequence[TruthInstance], area_from: Literal["file", "mask"]
) -> tuple[list[float], list[Box]]:
    """The area and the box (xywh) that each object is scored with, in pixels: see `to_dataset`."""
    stated = [one.area if area_from == "file" else None for one in objects]
    areas = iter(masks.areas([one.rle for one, area in zip(objects, stated, strict=True) if area is None]))
    boxes = masks.given_or_own_boxes_xywh([one.rle for one in objects], [one.bbox_xywh for one in objects])
    return [next(areas) if area is None else area for area in stated], boxes


def to_results(
    predictions: Sequence[ImagePredictions], gold: GroundTruth | str | Path, ids: IdKind = "file"
) -> list[dict[str, Any]]:
    """Predictions as COCO results rows, with the ids of `to_dataset` of the same gold set (or of the file it is in).

    They are without `bbox`: pycocotools' `loadRes` would take `area` from it
    (https://github.com/cocodataset/cocoapi/issues/36). Where the gold set has no ids, each row says `file_name` and
    `category_name` too.

    Raises:
        DataError: an image or class is not in the gold set.
    """
    truth = gold if isinstance(gold, GroundTruth) else read(gold)
    names = truth.classes.names
    found = Ids.from_gold(truth, ids)
    rows = []
    for prediction in predictions:
        if prediction.image_id not in found.images:
            raise DataError(f"Image {prediction.image_id!r} of the predictions is not in the gold set.")
        for instance in prediction.instances:
            if not 0 <= instance.class_index < len(names):
                raise DataError(
                    f"Image {prediction.image_id!r}: the gold set has {len(names)} classes, "
                    f"and a prediction is of class index {instance.class_index}."
                )
            row = {
                "image_id": found.images[prediction.image_id],
                "category_id": found.categories[instance.class_index],
                "segmentation": segmentations.to_json(instance.rle),
                "score": float(instance.score),
            }
            if found.named and ids == "file":
                row |= {"file_name": prediction.image_id, "category_name": names[instance.class_index]}
            rows.append(row)
    return rows


def write_results(path: Path, predictions: Sequence[ImagePredictions], gold: GroundTruth | str | Path) -> None:
    """Write predictions as a COCO results file, with the ids of `to_results`.

    Raises:
        DataError: as `to_results`.
    """
    rows = ",\n".join(dumps(row) for row in to_results(predictions, gold))
    write_text(path, f"[\n{rows}\n]\n")
