"""Scores detections with hotcoco's COCOeval, and computes numbers from its arrays. Dictionaries in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .detection_matches import DetectionMatches, FloatArray, from_eval_images

# The indices of the area ranges in COCOeval.
ALL, SMALL, MEDIUM, LARGE = range(4)
# The indices of two of the IoU thresholds 0.5, 0.55 … 0.95 in COCOeval.
IOU50, IOU75 = 0, 5


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


class CocoEvaluation:
    """The evaluation of result rows on a dataset dictionary, on masks ("segm") or boxes ("bbox").

    Ids of images, annotations and categories must count from 1. Rows have `image_id`, `category_id`, `score`, and
    `segmentation` for masks or `bbox` for boxes. The area of a detection is that of its mask or of its box, as in
    pycocotools' `loadRes`. At most `limit` detections count per image and class.
    """

    def __init__(
        self,
        dataset: Mapping[str, Any],
        results: Sequence[Mapping[str, Any]],
        iou_type: Literal["segm", "bbox"],
        limit: int,
    ) -> None:
        from hotcoco import COCO

        self._gold = COCO(dict(dataset))
        self._found = self._gold.load_res([dict(row) for row in results])
        self._iou_type, self._limit = iou_type, limit
        self._shape = len(dataset["categories"]), len(dataset["images"])
        self._empty = not dataset["annotations"] and not results

    def arrays(self) -> CocoArrays:
        """The arrays of COCOeval."""
        evaluator = self._evaluator()
        counts = sorted({1, 10, self._limit})
        evaluator.params.max_dets = counts
        recalls = np.asarray(evaluator.params.rec_thrs, dtype=np.float64)
        if self._empty:  # hotcoco warns that there is nothing to accumulate
            shape = (10, len(recalls), self._shape[0], 4)
            precision, recall = np.full(shape, -1.0), np.full((shape[0], *shape[2:]), -1.0)
            return CocoArrays(precision, recall, recall, recall, recalls)
        evaluator.evaluate()
        evaluator.accumulate()
        index_of = {count: at for at, count in enumerate(counts)}
        precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]
        return CocoArrays(
            precision=precision[..., index_of[self._limit]],
            recall=recall[..., index_of[self._limit]],
            recall_1=recall[..., index_of[1]],
            recall_10=recall[..., index_of[10]],
            recall_thresholds=recalls,
        )

    def matches(self, thresholds: Sequence[float] = (0.5,)) -> DetectionMatches:
        """What each detection is matched with at these IoU thresholds."""
        evaluator = self._evaluator()
        evaluator.params.max_dets = [self._limit]
        evaluator.params.area_rng, evaluator.params.area_rng_lbl = [[0.0, 1e10]], ["all"]
        evaluator.params.iou_thrs = list(thresholds)
        evaluator.evaluate()
        return from_eval_images(evaluator.eval_imgs, thresholds, *self._shape)

    def _evaluator(self) -> Any:
        from hotcoco import COCOeval

        return COCOeval(self._gold, self._found, self._iou_type)


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
