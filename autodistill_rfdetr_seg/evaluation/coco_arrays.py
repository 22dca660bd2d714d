"""Scores detections with vernier, and computes numbers from its arrays, which are those of COCOeval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .. import coco
from ..core import masks
from ..core.types import GroundTruth, ImagePredictions
from ..system.machine import usable_cores
from .detection_matches import DetectionMatches, Matches, from_cells, from_tables
from .detections import Detections, FloatArray, places_of

# The indices of the area ranges in COCOeval.
ALL, SMALL, MEDIUM, LARGE = range(4)
# The indices of two of the IoU thresholds 0.5, 0.55 … 0.95 in COCOeval.
IOU50, IOU75 = 0, 5
# COCO's own, computed as in its evaluation: the last digits decide which of two neighbors a recall belongs to.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
# Pairs of an image and a class that are evaluated at once, for which vernier needs some 100 MB.
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


def _vernier() -> Any:
    """vernier's module of instances. Its `__all__` lacks what gives arrays, such as `evaluate_segm_grid`; rfdetr calls
    that too."""
    import vernier.instance

    return vernier.instance


class CocoGold:
    """A gold set to score detections with: `counts` (classes, images) are its instances that are not crowds.

    Images are numbered in the order of `coco.in_id_order`, in which COCOeval takes them.
    """

    def __init__(self, truth: GroundTruth, area_from: Literal["file", "mask"] = "file") -> None:
        """With `area_from` "mask" the size of an object is that of its mask, even if the file states an area."""
        images = coco.in_id_order(truth.images)
        self._place = {image.image_id: at for at, image in enumerate(images)}
        self._objects = [one for image in images for one in image.instances]
        self._sizes = np.array([(image.height, image.width) for image in images], dtype=np.int64).reshape(-1, 2)
        self._of_image = np.repeat(np.arange(len(images)), [len(image.instances) for image in images])
        self._classes = np.array([one.class_index for one in self._objects], dtype=np.int64)
        self._crowd = np.array([one.crowd for one in self._objects], dtype=bool)
        areas, boxes = coco.areas_and_boxes(self._objects, area_from)
        self._areas, self._boxes = np.array(areas, dtype=np.float64), np.array(boxes, dtype=np.float64).reshape(-1, 4)
        self.counts = np.zeros((len(truth.classes.names), len(images)), dtype=np.int64)
        np.add.at(self.counts, (self._classes[~self._crowd], self._of_image[~self._crowd]), 1)
        self.is_empty = not self._objects

    def dataset(self, classes: range | None = None, with_masks: bool = True) -> Any:
        """The instances of these classes (indices), or of all, in vernier's form."""
        if classes is None:
            classes = range(len(self.counts))
        kept = places_of(classes, self._classes)
        # vernier takes an object of id 0 for unmatched, as pycocotools does: all ids count from 1.
        return _vernier().CocoDataset.from_arrays(
            {
                "id": np.arange(1, len(self._sizes) + 1),
                "height": self._sizes[:, 0].copy(),
                "width": self._sizes[:, 1].copy(),
            },
            {
                "id": kept + 1,
                "image_id": self._of_image[kept] + 1,
                "category_id": self._classes[kept] + 1,
                "bbox": self._boxes[kept],
                "area": self._areas[kept],
                "iscrowd": self._crowd[kept],
                "segmentation": [masks.to_coco(self._objects[at].rle) if with_masks else None for at in kept.tolist()],
            },
            [{"id": index + 1, "name": str(index)} for index in classes],
        )

    def detections(self, predictions: Sequence[ImagePredictions]) -> Detections:
        """The predictions for images of this gold set."""
        return Detections.from_predictions(predictions, self._place)

    def on_masks(self, detections: Detections, limit: int) -> CocoEvaluation:
        """The evaluation of masks; the area of a detection is that of its mask.

        At most `limit` detections count per image and class.
        """
        return CocoEvaluation(self, "segm", detections, limit)

    def on_boxes(self, detections: Detections, limit: int) -> CocoEvaluation:
        """The evaluation of boxes; the area of a detection is that of its box. `limit` as in `on_masks`."""
        return CocoEvaluation(self, "bbox", detections, limit)


class CocoEvaluation:
    """An evaluation of detections on a gold set; see `CocoGold.on_masks`."""

    def __init__(self, gold: CocoGold, iou_type: Literal["segm", "bbox"], detections: Detections, limit: int) -> None:
        self._gold, self._iou_type, self._detections, self._limit = gold, iou_type, detections, limit

    def arrays(self) -> CocoArrays:
        """The arrays of COCOeval."""
        return self._arrays_and_tables(with_tables=False)[0]

    def arrays_and_matches(self) -> tuple[CocoArrays, Matches]:
        """`arrays` and `matches`, in less time than each alone."""
        if self._limit < max(_AR_COUNTS):  # the tables are those of the largest number of detections
            return self.arrays(), self.matches()
        arrays, tables = self._arrays_and_tables(with_tables=True)
        return arrays, from_tables(tables, self._detections, self._gold.counts)

    def matches(self) -> Matches:
        """What each detection is matched with at IoU 0.5."""
        return self.matches_at((0.5,)).at()

    def matches_at(self, thresholds: Sequence[float]) -> DetectionMatches:
        """What each detection is matched with at these IoU thresholds."""
        every = _vernier().Breakdown.from_ranges("area", [("all", 0.0, 1e10)])
        options = {"iou_thresholds": list(thresholds), "area_ranges": every, "retain_meta": True}

        def cells() -> Iterator[tuple[Detections, dict[str, Any] | None]]:
            for classes in self._parts():
                found = self._detections.of_classes(classes)
                yield from ((found, cell) for cell in self._grid(classes, found, self._limit, options).eval_imgs())

        return from_cells(cells(), thresholds, *self._gold.counts.shape)

    def _arrays_and_tables(self, with_tables: bool) -> tuple[CocoArrays, list[tuple[Detections, Any]]]:
        """The arrays, and where asked for vernier's tables of some detections each."""
        counts = sorted({*_AR_COUNTS, self._limit})
        shape = (len(IOU_THRESHOLDS), len(RECALL_THRESHOLDS), len(self._gold.counts), 4)
        precision, recalls = np.full(shape, -1.0), np.full((3, shape[0], *shape[2:]), -1.0)
        tables = []
        for classes in self._parts():
            found = self._detections.of_classes(classes)
            grid = self._grid(classes, found, counts[-1], {"retain_iou": with_tables})
            arrays = grid.accumulate(counts)
            part = slice(classes.start, classes.stop)
            precision[:, :, part] = arrays.precision[..., counts.index(self._limit)]
            for recall, count in zip(recalls, (self._limit, *_AR_COUNTS), strict=True):
                recall[:, part] = arrays.recall[..., counts.index(count)]
            if with_tables:
                tables.append((found, _vernier().per_detection_to_arrow_pycapsule(grid, False)))
            del grid, arrays  # before the next ones take memory
        return CocoArrays(precision, *recalls), tables

    def _parts(self) -> list[range]:
        """The classes (indices) that are evaluated at once; none where there is neither an instance nor a detection."""
        if self._gold.is_empty and not len(self._detections.scores):
            return []
        classes, images = self._gold.counts.shape
        at_once = max(1, _PAIRS_AT_ONCE // images)
        return [range(start, min(start + at_once, classes)) for start in range(0, classes, at_once)]

    def _grid(self, classes: range, found: Detections, most: int, options: Mapping[str, Any]) -> Any:
        """vernier's evaluation of these classes, of at most so many detections per image and class."""
        gold = self._gold.dataset(classes, with_masks=self._iou_type == "segm")
        # "strict": as pycocotools does it.
        rules: dict[str, Any] = {"parity_mode": "strict", "use_cats": True, "num_threads": usable_cores(), **options}
        if self._iou_type == "bbox":
            return _vernier().evaluate_bbox_grid(
                gold, found.as_matrix(), max_dets_per_image=most, dt_area="bbox", **rules
            )
        return _vernier().evaluate_segm_grid(gold, found.by_image(), max_dets_per_image=most, dt_area="mask", **rules)


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
