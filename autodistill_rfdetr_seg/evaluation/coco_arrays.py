"""Scores detections with hotcoco's COCOeval, and computes numbers from its arrays. Dictionaries in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .detection_matches import DetectionMatches, FloatArray, Matches, from_diagnostics, from_eval_images

# The indices of the area ranges in COCOeval.
ALL, SMALL, MEDIUM, LARGE = range(4)
# The indices of two of the IoU thresholds 0.5, 0.55 … 0.95 in COCOeval.
IOU50, IOU75 = 0, 5
# COCO's own, computed as in its evaluation: the last digits decide which of two neighbors a recall belongs to.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
# AR is also computed for so many detections per image and class.
_AR_COUNTS = (1, 10)


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


class CocoGold:
    """A gold set as a dataset dictionary, to score detections with. Its ids of images, annotations and categories must
    count from 1."""

    def __init__(self, dataset: dict[str, Any]) -> None:
        from hotcoco import COCO

        self.dataset = dataset
        self.coco = COCO(dataset)

    def evaluation(
        self, results: list[dict[str, Any]], iou_type: Literal["segm", "bbox"], limit: int
    ) -> CocoEvaluation:
        """The evaluation of result rows on masks ("segm") or boxes ("bbox").

        Rows have `image_id`, `category_id`, `score`, and `segmentation` for masks or `bbox` for boxes. The area of a
        detection is that of its mask or of its box, as in pycocotools' `loadRes`. At most `limit` detections count per
        image and class.
        """
        return CocoEvaluation(self, results, iou_type, limit)


class CocoEvaluation:
    """An evaluation of result rows on a gold set; see `CocoGold.evaluation`."""

    def __init__(
        self, gold: CocoGold, results: list[dict[str, Any]], iou_type: Literal["segm", "bbox"], limit: int
    ) -> None:
        self._gold, self._rows = gold, results
        self._found = gold.coco.load_res(results)
        self._iou_type, self._limit = iou_type, limit
        self._evaluated: Any = None
        self._shape = len(gold.dataset["categories"]), len(gold.dataset["images"])
        self._empty = not gold.dataset["annotations"] and not results

    def arrays(self) -> CocoArrays:
        """The arrays of COCOeval."""
        evaluator = self._evaluator()
        counts = sorted({*_AR_COUNTS, self._limit})
        evaluator.params.max_dets = counts
        if self._empty:  # hotcoco warns that there is nothing to accumulate
            shape = (10, len(RECALL_THRESHOLDS), self._shape[0], 4)
            precision, recall = np.full(shape, -1.0), np.full((shape[0], *shape[2:]), -1.0)
            return CocoArrays(precision, recall, recall, recall)
        evaluator.evaluate()
        evaluator.accumulate()
        self._evaluated = evaluator
        index_of = {count: at for at, count in enumerate(counts)}
        precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]
        return CocoArrays(
            precision=precision[..., index_of[self._limit]],
            recall=recall[..., index_of[self._limit]],
            recall_1=recall[..., index_of[1]],
            recall_10=recall[..., index_of[10]],
        )

    def matches(self) -> Matches:
        """What each detection is matched with at IoU 0.5."""
        if self._evaluated is None or self._limit < max(_AR_COUNTS):
            return self.matches_at((0.5,)).at()
        return from_diagnostics(self._evaluated.image_diagnostics(0.5, 0.0), self._rows, self._gold.dataset)

    def matches_at(self, thresholds: Sequence[float]) -> DetectionMatches:
        """What each detection is matched with at these IoU thresholds."""
        evaluator = self._evaluator()
        evaluator.params.max_dets = [self._limit]
        evaluator.params.area_rng, evaluator.params.area_rng_lbl = [[0.0, 1e10]], ["all"]
        evaluator.params.iou_thrs = list(thresholds)
        evaluator.evaluate()
        return from_eval_images(evaluator.eval_imgs, thresholds, *self._shape)

    def tide_errors(self) -> dict[str, Any] | None:
        """AP50 lost by kind of error, as hotcoco's `tide_errors`; None without a gold instance. After `arrays`."""
        return None if self._evaluated is None else dict(self._evaluated.tide_errors())

    def _evaluator(self) -> Any:
        from hotcoco import COCOeval

        return COCOeval(self._gold.coco, self._found, self._iou_type)


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
