"""Gold images and labels made of small squares in slots: a label is right where its slot has a gold object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import (
    Classes,
    GroundTruth,
    ImageLabels,
    ImageRecord,
    Instance,
    Rle,
    TruthImage,
    TruthInstance,
)

SIDE, SLOTS = 64, 64
# Class index, slot, score.
Label = tuple[int, int, float]


def slot(number: int, shift: int = 0) -> Rle:
    """The mask of a slot: a square of 6 x 6 pixels, moved right by `shift`."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    row, column = divmod(number, 8)
    mask[8 * row : 8 * row + 6, 8 * column + shift : 8 * column + 6 + shift] = True
    return masks.encode(mask)


def gold_of(
    objects: Sequence[Sequence[tuple[int, int]]], names: Sequence[str] = ("a",), crowd: bool = False
) -> GroundTruth:
    """A gold set: for each image the (class index, slot) of its objects."""
    images = tuple(
        TruthImage(
            f"{at}.png",
            Path(f"{at}.png"),
            SIDE,
            SIDE,
            tuple(TruthInstance(index, slot(number), crowd) for index, number in one),
        )
        for at, one in enumerate(objects)
    )
    return coco.ground_truth(Classes(tuple(names)), images)


def labels_of(labels: Sequence[Sequence[Label]]) -> dict[str, ImageLabels]:
    """The labels of each image."""
    found = {}
    for at, one in enumerate(labels):
        record = ImageRecord(str(at), f"{at}.png", SIDE, SIDE, str(at))
        instances = tuple(Instance(index, slot(number), score) for index, number, score in one)
        found[f"{at}.png"] = ImageLabels(record, instances)
    return found
