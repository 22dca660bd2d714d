"""Surveys the splits of a training dataset: counts, classes, sizes, and problems of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ... import coco
from ...core import masks
from ...core.types import Classes, GroundTruth


@dataclass
class SplitSurvey:
    """One split. Arrays have one entry for each image, in the order of `names`; `sizes` are (N, 2) pixels, height and
    width.

    `instances` and `per_class` (by name) count what training learns from: no crowds, no masks without a pixel. `boxes`
    are width and height of each object's box relative to its image, (M, 2), 0..1. `problems` are in groups of one kind,
    errors first.
    """

    split: str
    names: list[str]
    sizes: npt.NDArray[np.int64]
    instances: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    per_class: Counter[str]
    boxes: npt.NDArray[np.float64]
    problems: list[list[coco.Problem]]

    @classmethod
    def empty(cls, split: str, classes: Classes, problems: Sequence[coco.Problem]) -> SplitSurvey:
        """The survey of a split without images."""
        no_sizes, no_counts = np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
        groups = coco.by_kind(problems)
        return cls(split, [], no_sizes, no_counts, classes.names, Counter(), np.zeros((0, 2)), groups)

    def largest_batch(self, count: int) -> int:
        """Instances of the `count` images that have the most."""
        return int(np.sort(self.instances)[::-1][:count].sum())

    def largest_images(self, count: int) -> list[tuple[int, int]]:
        """Height and width of the `count` images with the most pixels."""
        order = np.argsort(-self.sizes.prod(axis=1), kind="stable")[:count]
        return [(int(height), int(width)) for height, width in self.sizes[order]]


def survey_split(truth: GroundTruth, split: str, classes: Classes, problems: Sequence[coco.Problem]) -> SplitSurvey:
    """The survey of a split; `classes` are those of the whole dataset."""
    found = SplitSurvey.empty(split, classes, problems)
    counts, boxes = [], []
    for image in truth.images:
        kept = [one for one in image.instances if not one.crowd]
        sides = [(one, masks.bbox_xywh(one.rle)[2:]) for one in kept]
        drawn = [(one, width, height) for one, (width, height) in sides if width]
        found.per_class.update(truth.classes.names[one.class_index] for one, _, _ in drawn)
        boxes += [(width / image.width, height / image.height) for _, width, height in drawn]
        counts.append(len(drawn))
    found.names = [image.image_id for image in truth.images]
    found.sizes = np.array([(image.height, image.width) for image in truth.images], np.int64).reshape(-1, 2)
    found.instances = np.array(counts, dtype=np.int64)
    found.boxes = np.array(boxes, dtype=np.float64).reshape(-1, 2)
    return found
