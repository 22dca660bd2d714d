"""Gold sets and predictions as pycocotools' own dictionaries, and as COCO results files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .. import masks
from ..errors import DataError
from ..files import write_text
from ..records import GroundTruth, ImagePredictions, Instance
from . import segmentation as segmentations
from .parsing import load, locate, parse
from .problem import as_number
from .reading import raise_error
from .writing import category_rows, dumps


def to_dataset(truth: GroundTruth, area_from: Literal["file", "mask"] = "file") -> dict[str, Any]:
    """The gold set as pycocotools' dataset dictionary: ids from 1 in the order of `truth`, masks as compressed RLE.

    `area` and `bbox` are the stated ones where there are any; with `area_from` "mask" `area` is always the mask's.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(truth.images, start=1):
        images.append({"id": image_id, "file_name": image.image_id, "height": image.height, "width": image.width})
        for instance in image.instances:
            stated = instance.area if area_from == "file" else None
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": instance.class_index + 1,
                    "segmentation": segmentations.to_json(instance.rle),
                    "area": masks.area(instance.rle) if stated is None else stated,
                    "bbox": list(instance.bbox_xywh or masks.bbox_xywh(instance.rle)),
                    "iscrowd": int(instance.crowd),
                }
            )
    categories = category_rows(truth.classes)
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def to_results(predictions: Sequence[ImagePredictions], gold: GroundTruth | str | Path) -> list[dict[str, Any]]:
    """Predictions as COCO results rows, without `bbox`: pycocotools' `loadRes` would take `area` from it
    (https://github.com/cocodataset/cocoapi/issues/36).

    The ids are those of `to_dataset(gold)`, or, where `gold` names a COCO file, those of the file.

    Raises:
        DataError: an image or class is not in the gold set.
    """
    ids = _Ids.of(gold)
    rows = []
    for prediction in predictions:
        if prediction.image_id not in ids.images:
            raise DataError(f"Image {prediction.image_id!r} of the predictions is not in the gold set.")
        for instance in prediction.instances:
            if not 0 <= instance.class_index < len(ids.categories):
                raise DataError(
                    f"Image {prediction.image_id!r}: the gold set has {len(ids.categories)} classes, "
                    f"and a prediction is of class index {instance.class_index}."
                )
            rows.append(
                {
                    "image_id": ids.images[prediction.image_id][0],
                    "category_id": ids.categories[instance.class_index],
                    "segmentation": segmentations.to_json(instance.rle),
                    "score": float(instance.score),
                }
            )
    return rows


def write_results(path: Path, predictions: Sequence[ImagePredictions], gold: GroundTruth | str | Path) -> None:
    """Write predictions as a COCO results file, with the ids of `to_results`.

    Raises:
        DataError: as `to_results`.
    """
    rows = ",\n".join(dumps(row) for row in to_results(predictions, gold))
    write_text(path, f"[\n{rows}\n]\n")


def read_results(path: str | Path, gold: GroundTruth | str | Path) -> tuple[ImagePredictions, ...]:
    """The predictions of a COCO results file for every image of the gold set, in its order.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is not a results file with masks, or not one of this gold set.
    """
    path = locate(path)
    rows = load(path, raise_error)
    if not isinstance(rows, list):
        raise DataError(f"{path} must hold a list of results, not {type(rows).__name__}.")
    ids = _Ids.of(gold)
    sizes = {image_id: (name, height, width) for name, (image_id, height, width) in ids.images.items()}
    index = {category_id: index for index, category_id in enumerate(ids.categories)}
    found: dict[str, list[Instance]] = {name: [] for name in ids.images}
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(f"{path}: result {number} must be an object, not {type(row).__name__}.")
        image_id, category_id, score = row.get("image_id"), row.get("category_id"), as_number(row.get("score"))
        if type(image_id) is not int or image_id not in sizes:
            raise DataError(f"{path}: `image_id` of result {number} is not in the gold set.")
        if type(category_id) is not int or category_id not in index:
            raise DataError(f"{path}, image id {image_id}: `category_id` of result {number} is not in the gold set.")
        if score is None:
            raise DataError(f"{path}, image id {image_id}: `score` of result {number} must be a number.")
        name, height, width = sizes[image_id]
        try:
            rle = segmentations.parse(row.get("segmentation"), height, width)
        except ValueError as error:
            raise DataError(f"{path}, image id {image_id}, result {number}: {error}.") from error
        found[name].append(Instance(index[category_id], rle, score))
    return tuple(ImagePredictions(name, tuple(instances)) for name, instances in found.items())


@dataclass(frozen=True, slots=True)
class _Ids:
    """A gold set's ids: {image's file name: (image id, height, width)}, and each class index's category id."""

    images: Mapping[str, tuple[int, int, int]]
    categories: Sequence[int]

    @classmethod
    def of(cls, gold: GroundTruth | str | Path) -> _Ids:
        """Those of `to_dataset`, or those that stand in a file."""
        if isinstance(gold, GroundTruth):
            sizes = {image.image_id: (at, image.height, image.width) for at, image in enumerate(gold.images, start=1)}
            return cls(sizes, [row["id"] for row in category_rows(gold.classes)])
        file = parse(locate(gold), raise_error)
        stated = {image.file_name: (image.id, image.height, image.width) for image in file.images.values()}
        return cls(stated, list(file.categories))
