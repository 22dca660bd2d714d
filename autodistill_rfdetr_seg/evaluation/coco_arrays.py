"""Scores detections with hotcoco's COCOeval, and computes numbers from its arrays. Dictionaries in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .detection_matches import DetectionMatches, Detections, FloatArray, Matches, from_eval_images, from_status

# The indices of the area ranges in COCOeval.
ALL, SMALL, MEDIUM, LARGE = range(4)
# The indices of two of the IoU thresholds 0.5, 0.55 … 0.95 in COCOeval.
IOU50, IOU75 = 0, 5
# COCO's own, computed as in its evaluation: the last digits decide which of two neighbors a recall belongs to.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
# COCO's ranges of areas in square pixels, in the order of the arrays' indices.
_SIZES = {"all": [0.0, 1e10], "small": [0.0, 32.0**2], "medium": [32.0**2, 96.0**2], "large": [96.0**2, 1e10]}
# Pairs of an image and a class that are evaluated at once, for which hotcoco needs some 200 MB.
_PAIRS_AT_ONCE = 5_000
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
    """A gold set to score detections with: `counts` (classes, images) are its instances that are not crowds."""

    def __init__(self, dataset: dict[str, Any]) -> None:
        """From a dataset dictionary, whose ids of images, annotations and categories must count from 1."""
        from hotcoco import COCO

        self.coco = COCO(dataset)
        self.counts = np.zeros((len(dataset["categories"]), len(dataset["images"])), dtype=np.int64)
        counted = [one for one in dataset["annotations"] if not one["iscrowd"]]
        places = [one["category_id"] - 1 for one in counted], [one["image_id"] - 1 for one in counted]
        np.add.at(self.counts, places, 1)
        self.is_empty = not dataset["annotations"]

    def on_masks(self, results: list[dict[str, Any]], limit: int) -> CocoEvaluation:
        """The evaluation of result rows with `image_id`, `category_id`, `score` and `segmentation`.

        The area of a detection is that of its mask. At most `limit` detections count per image and class.
        """
        columns = ([row[key] for row in results] for key in ("image_id", "category_id", "score"))
        return CocoEvaluation(self, self.coco.load_res(results), "segm", Detections.from_columns(*columns), limit)

    def on_boxes(self, results: FloatArray, limit: int) -> CocoEvaluation:
        """The evaluation of results (N, 7): id of the image, x, y, width, height, score, id of the category.

        The area of a detection is that of its box. At most `limit` detections count per image and class.
        """
        detections = Detections.from_columns(results[:, 0], results[:, 6], results[:, 5])
        return CocoEvaluation(self, self.coco.load_res(results), "bbox", detections, limit)


class CocoEvaluation:
    """An evaluation of detections on a gold set; see `CocoGold.on_masks`."""

    def __init__(
        self, gold: CocoGold, found: Any, iou_type: Literal["segm", "bbox"], detections: Detections, limit: int
    ) -> None:
        self._gold, self._detections, self._limit = gold, detections, limit
        self._found, self._iou_type = found, iou_type
        # Made once: hotcoco copies gold set and results for each.
        self._evaluator: Any = None

    def arrays(self) -> CocoArrays:
        """The arrays of COCOeval."""
        return self._arrays_and_status(with_status=False)[0]

    def arrays_and_matches(self) -> tuple[CocoArrays, Matches]:
        """`arrays` and `matches`, in less time than each alone."""
        if self._limit < max(_AR_COUNTS):  # the diagnostics are those of the largest number of detections
            return self.arrays(), self.matches()
        arrays, status = self._arrays_and_status(with_status=True)
        return arrays, from_status(status, self._detections, self._gold.counts)

    def matches(self) -> Matches:
        """What each detection is matched with at IoU 0.5."""
        return self.matches_at((0.5,)).at()

    def matches_at(self, thresholds: Sequence[float]) -> DetectionMatches:
        """What each detection is matched with at these IoU thresholds."""
        evaluator = self._evaluated(["all"], [self._limit], thresholds)
        return from_eval_images(evaluator.eval_imgs, thresholds, *self._gold.counts.shape)

    def tide_errors(self) -> dict[str, Any] | None:
        """AP50 lost by kind of error, as hotcoco's `tide_errors`; None without a gold instance and a detection."""
        if self._is_empty:
            return None
        return dict(self._evaluated(["all"], [self._limit]).tide_errors())

    def _arrays_and_status(self, with_status: bool) -> tuple[CocoArrays, dict[int, str]]:
        """The arrays, and the status of each result by its id.

        A few classes are evaluated at a time: hotcoco keeps all matches at 4 sizes and 10 IoU thresholds until then.
        """
        classes, images = self._gold.counts.shape
        counts = sorted({*_AR_COUNTS, self._limit})
        if self._is_empty:  # hotcoco warns that there is nothing to accumulate
            precision, recall = np.full((10, len(RECALL_THRESHOLDS), classes, 4), -1.0), np.full((10, classes, 4), -1.0)
            return CocoArrays(precision, recall, recall, recall), {}
        parts: list[tuple[FloatArray, ...]] = []
        status: dict[int, str] = {}
        at_once = max(1, _PAIRS_AT_ONCE // images)
        for start in range(1, classes + 1, at_once):
            part = range(start, min(start + at_once, classes + 1))
            evaluator = self._evaluated(list(_SIZES), counts, classes=part)
            evaluator.accumulate()
            parts.append(_arrays_of(evaluator.eval, counts, self._limit))
            if with_status:
                status |= evaluator.image_diagnostics(0.5, 0.0)["dt_status"]
        precision, *recalls = (np.concatenate(of_parts, axis=-2) for of_parts in zip(*parts, strict=True))
        return CocoArrays(precision, *recalls), status

    @property
    def _is_empty(self) -> bool:
        return self._gold.is_empty and not len(self._detections.scores)

    def _evaluated(
        self,
        sizes: Sequence[str],
        counts: Sequence[int],
        thresholds: Sequence[float] = IOU_THRESHOLDS.tolist(),
        classes: Sequence[int] | None = None,
    ) -> Any:
        """The COCOeval after `evaluate` of these area ranges, numbers of detections, IoU thresholds and classes (ids,
        None for all)."""
        if self._evaluator is None:
            from hotcoco import COCOeval

            self._evaluator = COCOeval(self._gold.coco, self._found, self._iou_type)
        params = self._evaluator.params
        params.max_dets, params.iou_thrs = list(counts), list(thresholds)
        params.area_rng, params.area_rng_lbl = [_SIZES[size] for size in sizes], list(sizes)
        params.cat_ids = list(range(1, len(self._gold.counts) + 1) if classes is None else classes)
        self._evaluator.evaluate()
        return self._evaluator


def _arrays_of(found: Mapping[str, Any], counts: Sequence[int], limit: int) -> tuple[FloatArray, ...]:
    """Precision, recall, recall of 1 and of 10 detections, as in `CocoArrays`."""
    index_of = {count: at for at, count in enumerate(counts)}
    precision, recall = found["precision"], found["recall"]
    recalls = (recall[..., index_of[count]] for count in (limit, *_AR_COUNTS))
    return precision[..., index_of[limit]], *recalls


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
