"""Detections of an evaluation as arrays, and in vernier's forms."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.types import ImagePredictions, Rle

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def places_of(chosen: range, classes: IntArray) -> IntArray:
    """Where `classes` (N,) are those of a range."""
    return np.flatnonzero((classes >= chosen.start) & (classes < chosen.stop))


@dataclass(frozen=True, slots=True)
class Detections:
    """Detections (N,), those of an image one after the other: `rows`, their indices among all predictions, `scores`,
    `classes` and `images` (indices), `boxes` (N, 4) in pixels (x, y, width, height), and their masks."""

    rows: IntArray
    scores: FloatArray
    classes: IntArray
    images: IntArray
    boxes: FloatArray
    rles: Sequence[Rle]

    @classmethod
    def from_predictions(cls, predictions: Sequence[ImagePredictions], images: Mapping[str, int]) -> Detections:
        """From predictions for `images` (id → index); a box is the one that the model gave, or that of the mask."""
        found = [one for prediction in predictions for one in prediction.instances]
        given = [box for one in predictions for box in (one.boxes_xywh or [None] * len(one.instances))]
        rles = [one.rle for one in found]
        places = np.array([images[one.image_id] for one in predictions], dtype=np.int64)
        return cls(
            rows=np.arange(len(found)),
            scores=np.array([one.score for one in found], dtype=np.float64),
            classes=np.array([one.class_index for one in found], dtype=np.int64),
            images=np.repeat(places, [len(one.instances) for one in predictions]),
            boxes=np.array(masks.given_or_own_boxes_xywh(rles, given), dtype=np.float64).reshape(-1, 4),
            rles=rles,
        )

    def of_classes(self, classes: range) -> Detections:
        """The detections of these classes (indices)."""
        kept = places_of(classes, self.classes)
        if len(kept) == len(self.rows):
            return self
        parts = (self.rows[kept], self.scores[kept], self.classes[kept], self.images[kept], self.boxes[kept])
        return Detections(*parts, [self.rles[at] for at in kept.tolist()])

    def as_matrix(self) -> FloatArray:
        """For boxes: (N, 7), the id of the image, the box, the score and the id of the class; ids count from 1."""
        return np.column_stack((self.images + 1, self.boxes, self.scores, self.classes + 1))

    def by_image(self) -> list[Any]:
        """For masks: the arrays of each image, with ids that count from 1."""
        starts = np.flatnonzero(np.diff(self.images, prepend=-1)).tolist()
        return [
            {
                "image_id": int(self.images[start]) + 1,
                "boxes": self.boxes[start:stop],
                "scores": self.scores[start:stop],
                "labels": self.classes[start:stop] + 1,
                "rles": [masks.to_coco(rle) for rle in self.rles[start:stop]],
            }
            for start, stop in itertools.pairwise([*starts, len(self.images)])
        ]
