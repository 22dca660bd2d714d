"""Says of each wrong detection and each missed object what kind of error it is, by mask IoU.

The kinds are those of TIDE (Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", 2020).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.types import GroundTruth, ImagePredictions, Instance, TruthImage, TruthInstance

KINDS: Mapping[str, str] = {
    "class": "the mask fits an object of another class",
    "localization": "the mask overlaps an object of its class, but with an IoU below 0.5",
    "both": "the mask overlaps an object of another class, with an IoU below 0.5",
    "duplicate": "the object has a better detection already",
    "background": "there is no object",
    "missed": "the object has no detection at all",
}
"""The kinds of errors, with what each means."""

SIZES: Mapping[str, tuple[float, float]] = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, np.inf)}
"""COCO's sizes: the pixels of an object from the first number to below the second."""

FOUND_IOU, BACKGROUND_IOU = 0.5, 0.1


@dataclass(frozen=True, slots=True)
class DetectionError:
    """One error of one image.

    `class_index` is the class of the detection, or of the missed object; `other_class` that of the object which the
    detection overlaps most, None if there is none. `size` is that of the object, or of the detection if there is none.
    `bbox_xywh` is its box in pixels; `score` is None for a missed object, and `iou` is the best overlap.
    """

    image_id: str
    kind: str
    class_index: int
    other_class: int | None
    size: str
    bbox_xywh: tuple[float, float, float, float]
    score: float | None
    iou: float

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ImageErrors:
    """The errors of one image, and the pairs (class of the object, class of the detection) that count in the confusion
    matrix; None stands for the background."""

    errors: tuple[DetectionError, ...]
    pairs: tuple[tuple[int | None, int | None], ...]


def find_errors(
    truth: GroundTruth, predictions: Sequence[ImagePredictions], confidence: float, max_detections: int
) -> Iterator[ImageErrors]:
    """The errors of each image, of detections with at least this confidence, the best `max_detections` of each class.

    A detection is right as in COCO: by descending score, each takes the free object of its class with the highest IoU,
    of at least 0.5. Detections that lie in a crowd region are no errors. Objects of an image without predictions are
    missed.
    """
    found = {one.image_id: one.instances for one in predictions}
    for image in truth.images:
        kept = [one for one in found.get(image.image_id, ()) if one.score >= confidence]
        yield _of_image(image, _best_of_classes(kept, max_detections))


def _best_of_classes(instances: Iterable[Instance], most: int) -> list[Instance]:
    """The instances by descending score, at most so many of each class."""
    counts: dict[int, int] = {}
    kept = []
    for one in sorted(instances, key=lambda one: -one.score):
        counts[one.class_index] = counts.get(one.class_index, 0) + 1
        if counts[one.class_index] <= most:
            kept.append(one)
    return kept


def _of_image(image: TruthImage, detections: Sequence[Instance]) -> ImageErrors:
    objects = [one for one in image.instances if not one.crowd]
    iou = masks.iou_matrix([one.rle for one in detections], [one.rle for one in objects])
    same = np.array([[a.class_index == b.class_index for b in objects] for a in detections], dtype=bool)
    same = same.reshape(iou.shape)
    matched = _matched(np.where(same, iou, 0.0))
    ignored = _in_crowds(detections, [one for one in image.instances if one.crowd])
    errors: list[DetectionError] = []
    pairs: list[tuple[int | None, int | None]] = []
    nearly: set[int] = set()  # objects with a detection that only has another class or outline
    accounted = set(matched[matched >= 0].tolist())  # objects that are in the confusion matrix
    for at, one in enumerate(detections):
        if matched[at] >= 0:
            pairs.append((one.class_index, one.class_index))
        elif not ignored[at]:
            kind, near = _kind(iou[at], same[at], matched)
            errors.append(
                _wrong(image, kind, one, None if near is None else objects[near], float(iou[at].max(initial=0)))
            )
            if near is not None and kind in ("class", "localization"):
                nearly.add(near)
            if near is not None and kind == "class" and near not in accounted:
                accounted.add(near)
                pairs.append((objects[near].class_index, one.class_index))
            else:
                pairs.append((None, one.class_index))
    for index, truth in enumerate(objects):
        if index not in accounted:
            pairs.append((truth.class_index, None))
        if index not in nearly and index not in matched:
            errors.append(_missed(image, truth, float(iou[:, index].max(initial=0))))
    return ImageErrors(tuple(errors), tuple(pairs))


def _matched(iou: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The object that each detection (rows, by descending score) takes; -1 for none."""
    found = np.full(len(iou), -1)
    free = np.ones(iou.shape[1], dtype=bool)
    for at, row in enumerate(iou):
        of_free = np.where(free, row, 0.0)
        best = int(of_free.argmax()) if len(of_free) else -1
        if best >= 0 and of_free[best] >= FOUND_IOU:
            found[at], free[best] = best, False
    return found


def _kind(
    iou: npt.NDArray[np.float64], same: npt.NDArray[np.bool_], matched: npt.NDArray[np.int64]
) -> tuple[str, int | None]:
    """The kind of error of a detection that matches no object, and the object it belongs to."""
    of_class, of_others = np.where(same, iou, 0.0), np.where(same, 0.0, iou)
    own, other = of_class.max(initial=0.0), of_others.max(initial=0.0)
    if BACKGROUND_IOU <= own < FOUND_IOU:
        return "localization", int(of_class.argmax())
    if other >= FOUND_IOU:
        return "class", int(of_others.argmax())
    if own >= FOUND_IOU:
        return "duplicate", int(of_class.argmax())
    if other >= BACKGROUND_IOU:
        return "both", int(of_others.argmax())
    return "background", None


def _in_crowds(detections: Sequence[Instance], crowds: Sequence[TruthInstance]) -> npt.NDArray[np.bool_]:
    """Which detections lie, with half of their pixels, in a crowd region of their class."""
    inside = masks.covered_fraction([one.rle for one in detections], [one.rle for one in crowds])
    same = np.array([[a.class_index == b.class_index for b in crowds] for a in detections], dtype=bool)
    found: npt.NDArray[np.bool_] = ((inside >= FOUND_IOU) & same.reshape(inside.shape)).any(axis=1)
    return found


def _wrong(image: TruthImage, kind: str, found: Instance, near: TruthInstance | None, iou: float) -> DetectionError:
    size = size_of(masks.area(found.rle) if near is None else _area(near))
    other = None if near is None else near.class_index
    box = masks.bbox_xywh(found.rle)
    return DetectionError(image.image_id, kind, found.class_index, other, size, box, found.score, iou)


def _missed(image: TruthImage, truth: TruthInstance, iou: float) -> DetectionError:
    box = masks.bbox_xywh(truth.rle)
    return DetectionError(image.image_id, "missed", truth.class_index, None, size_of(_area(truth)), box, None, iou)


def _area(truth: TruthInstance) -> float:
    return masks.area(truth.rle) if truth.area is None else truth.area


def size_of(area: float) -> str:
    """The name of the size of an object of so many pixels."""
    return next(name for name, (low, high) in SIZES.items() if low <= area < high)
