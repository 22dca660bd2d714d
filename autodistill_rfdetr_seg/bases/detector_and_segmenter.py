"""Boxes become masks: a detector and a segmenter, which together are a base."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from autodistill.detection import DetectionBaseModel

from ..core.types import ImageRecord
from .base_images import bgr_of
from .contract import BgrImage, Boxes, ImageInput, Masks, Segmenter


class SegmentedBase(DetectionBaseModel):  # type: ignore[misc]
    """A base of a `detector` (any `DetectionBaseModel`; masks it may give are not used) and a `segmenter`.

    Classes, scores and their order are the detector's; the segmenter's own scores are kept beside them, as
    `mask_score`. Boxes are cut to the image; what then has no area is left out and counted (`box_without_area` in the
    detections' metadata). A mask may be empty: labeling drops and counts it. It answers by image, and has
    `for_images` and `expect`, where the detector has (`contract`).

    The detector is shown HWC uint8 BGR arrays; one that wants something else (`image_input` `path` or `pil`) gets
    images as they are given.
    """

    ontology: Any

    def __init__(self, detector: Any, segmenter: Segmenter, image_input: ImageInput = "bgr") -> None:
        self.detector = detector
        self.segmenter = segmenter
        self._as_given = image_input != "bgr"
        self.ontology = detector.ontology

    @property
    def preferred_batch(self) -> int:
        """How many images at a time suit the detector, or else the segmenter."""
        return int(getattr(self.detector, "preferred_batch", getattr(self.segmenter, "preferred_batch", 1)))

    @property
    def for_images(self) -> Callable[[Sequence[ImageRecord]], SegmentedBase]:
        """The same about images that the detector knows; raises AttributeError where it answers by pixels."""
        ask = self.detector.for_images

        def about(records: Sequence[ImageRecord]) -> SegmentedBase:
            told = copy.copy(self)
            told.detector = ask(records)
            return told

        return about

    @property
    def expect(self) -> Callable[[Sequence[tuple[Path, str]]], Sequence[str]]:
        """The detector's own; raises AttributeError where it has none."""
        return self.detector.expect  # type: ignore[no-any-return]

    def predict(self, input: Any) -> Any:
        """The `sv.Detections` of one image: an HWC uint8 BGR array, a path, or a PIL image."""
        return self.predict_batch([input])[0]

    def predict_batch(self, images: Sequence[Any]) -> list[Any]:
        """One `sv.Detections` an image, (N, H, W) bool masks and `mask_score` in its data."""
        arrays = [bgr_of(image) for image in images]
        shown = images if self._as_given else arrays
        found = [_within(said, image) for said, image in zip(self._boxes(shown), arrays, strict=True)]
        made = self._masks(arrays, [np.asarray(one.xyxy, dtype=np.float64) for one in found])
        return [_with_masks(one, masks) for one, masks in zip(found, made, strict=True)]

    def segment(self, image: BgrImage, boxes_xyxy: Boxes) -> Masks:
        """Masks for boxes (N, 4), XYXY pixels."""
        return self.segmenter.segment(image, boxes_xyxy)

    def _boxes(self, images: Sequence[Any]) -> Sequence[Any]:
        if callable(getattr(self.detector, "predict_batch", None)):
            found: Sequence[Any] = self.detector.predict_batch(images)
            return found
        return [self.detector.predict(image) for image in images]

    def _masks(self, images: Sequence[BgrImage], boxes: Sequence[Boxes]) -> Sequence[Masks]:
        if callable(together := getattr(self.segmenter, "segment_batch", None)):
            made: Sequence[Masks] = together(images, boxes)
            return made
        return [self.segmenter.segment(image, mine) for image, mine in zip(images, boxes, strict=True)]


def _within(detections: Any, image: BgrImage) -> Any:
    """The detections with their boxes inside the image, those without area left out."""
    import supervision as sv

    if detections is None:
        return sv.Detections.empty()
    if len(detections) == 0:
        return dataclasses.replace(sv.Detections.empty(), metadata=detections.metadata)
    height, width = image.shape[:2]
    xyxy = np.clip(np.asarray(detections.xyxy, dtype=np.float64), 0, [width, height, width, height])
    keep = np.isfinite(xyxy).all(axis=1) & (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    metadata = dict(detections.metadata)
    if lost := int((~keep).sum()):
        metadata["dropped"] = dict(Counter(metadata.get("dropped", {})) + Counter(box_without_area=lost))
    return dataclasses.replace(detections[keep], xyxy=xyxy[keep], mask=None, metadata=metadata)


def _with_masks(detections: Any, masks: Masks) -> Any:
    if len(detections) == 0:
        return detections
    data = {**detections.data, "mask_score": np.asarray(masks.scores, dtype=np.float64)}
    return dataclasses.replace(detections, mask=masks.masks, data=data)
