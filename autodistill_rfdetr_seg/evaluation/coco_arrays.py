"""Runs COCOeval of pycocotools and computes numbers from its arrays. Dictionaries in, arrays and floats out."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .matching import match_image

FloatArray = npt.NDArray[np.float64]

# The indices of the area ranges in COCOeval.
ALL, SMALL, MEDIUM, LARGE = range(4)
# The indices of two of the IoU thresholds 0.5, 0.55 … 0.95 in COCOeval.
IOU50, IOU75 = 0, 5


@dataclass(frozen=True, slots=True)
class Matches:
    """The matches of COCOeval between detections and gold set at IoU 0.5, for all sizes.

    Per detection (N,): `scores`, `classes` and `images` (indices), `matched`. Detections that match a crowd are left
    out. `gold` (classes, images) counts the instances that are not crowds.
    """

    scores: FloatArray
    classes: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    matched: npt.NDArray[np.bool_]
    gold: npt.NDArray[np.int64]

    def with_classes(self, chosen: npt.NDArray[np.bool_]) -> Matches:
        """The matches of the classes where `chosen` (classes,) is true; the gold counts of the others are 0."""
        kept = chosen[self.classes]
        parts = (self.scores[kept], self.classes[kept], self.images[kept], self.matched[kept])
        return Matches(*parts, np.where(chosen[:, None], self.gold, 0))


@dataclass(frozen=True, slots=True)
class CocoArrays:
    """The arrays of COCOeval; -1 means undefined.

    `precision` (10 IoU thresholds, 101 recalls, classes, 4 sizes) and `recall` (10, classes, 4) are for the maximum
    number of detections; `recall_1` and `recall_10` are for 1 and 10 detections.
    """

    precision: FloatArray
    recall: FloatArray
    recall_1: FloatArray
    recall_10: FloatArray
    recall_thresholds: FloatArray
    matches: Matches


def run_coco(
    dataset: Mapping[str, Any], results: Sequence[Mapping[str, Any]], iou_type: Literal["segm", "bbox"], limit: int
) -> CocoArrays:
    """Runs COCOeval on a dataset dictionary and result rows with masks, with `limit` detections per image and class.

    The area of a detection is that of its mask for "segm" and that of its box for "bbox", as in `COCO.loadRes`.
    """
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluator = COCOeval(_indexed(dataset), _indexed(_detections(dataset, results, iou_type)), iou_type)
        evaluator.params.maxDets = sorted({1, 10, limit})
        evaluator.evaluateImg = partial(match_image, evaluator)
        evaluator.evaluate()
        evaluator.accumulate()
    index_of = {count: at for at, count in enumerate(evaluator.params.maxDets)}
    precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]
    return CocoArrays(
        precision=precision[..., index_of[limit]],
        recall=recall[..., index_of[limit]],
        recall_1=recall[..., index_of[1]],
        recall_10=recall[..., index_of[10]],
        recall_thresholds=evaluator.params.recThrs,
        matches=_matches(evaluator, limit),
    )


def class_summary(arrays: CocoArrays, index: int) -> dict[str, float | None]:
    """AP, AP50, AP75 and AR of one class."""
    precision = arrays.precision[:, :, index, ALL]
    return {
        "ap": mean(precision),
        "ap50": mean(precision[IOU50]),
        "ap75": mean(precision[IOU75]),
        "ar": mean(arrays.recall[:, index, ALL]),
    }


def mean(values: FloatArray) -> float | None:
    """The mean of the defined values (those above -1), or None if there are none."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None


def curves(arrays: CocoArrays, index: int | None) -> dict[str, list[float] | None]:
    """Precision at the 101 recalls and IoU 0.5 and 0.75, of one class, or the mean of all defined classes (None)."""
    found: dict[str, list[float] | None] = {}
    for name, iou in (("iou50", IOU50), ("iou75", IOU75)):
        lines = arrays.precision[iou, :, :, ALL] if index is None else arrays.precision[iou, :, [index], ALL].T
        lines = lines[:, lines[0] > -1]
        found[name] = lines.mean(axis=1).tolist() if lines.size else None
    return found


def _indexed(dataset: Mapping[str, Any]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def _detections(
    dataset: Mapping[str, Any], results: Sequence[Mapping[str, Any]], iou_type: Literal["segm", "bbox"]
) -> dict[str, Any]:
    """The results as a dataset; `loadRes` would fail on an empty list and change the rows."""
    from pycocotools import mask as coco_mask

    rles = [row["segmentation"] for row in results]
    mask_boxes = coco_mask.toBbox(rles).tolist() if rles else []
    boxes = [row.get("bbox", box) for row, box in zip(results, mask_boxes, strict=True)]
    # One call per mask: for a list of more than 255 masks `area` overflows a uint8 with numpy 2 (pycocotools 2.0.11).
    areas = [float(coco_mask.area(rle)) for rle in rles]
    if iou_type == "bbox":
        areas = [width * height for _, _, width, height in boxes]
    rows = [
        {**row, "id": at, "area": area, "bbox": box, "iscrowd": 0}
        for at, (row, area, box) in enumerate(zip(results, areas, boxes, strict=True), start=1)
    ]
    return {**dataset, "annotations": rows}


def _matches(evaluator: Any, limit: int) -> Matches:
    """The matches at the first IoU threshold and area range; `evalImgs` is a flat list over classes, sizes, images."""
    params = evaluator.params
    sizes, images = len(params.areaRng), len(params.imgIds)
    gold = np.zeros((len(params.catIds), images), dtype=np.int64)
    parts: list[tuple[FloatArray, npt.NDArray[np.int64], npt.NDArray[np.bool_]]] = []
    for class_index in range(len(params.catIds)):
        for image_index in range(images):
            found = evaluator.evalImgs[(class_index * sizes + ALL) * images + image_index]
            if found is None:
                continue
            gold[class_index, image_index] = np.count_nonzero(np.asarray(found["gtIgnore"]) == 0)
            scored = ~found["dtIgnore"][IOU50, :limit].astype(bool)
            scores = np.asarray(found["dtScores"][:limit], dtype=np.float64)[scored]
            indices = np.tile(np.array([[class_index, image_index]]), (len(scores), 1))
            parts.append((scores, indices, found["dtMatches"][IOU50, :limit][scored] > 0))
    empty = (np.zeros(0), np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=bool))
    scores, indices, matched = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
    return Matches(scores, indices[:, 0], indices[:, 1], matched, gold)
