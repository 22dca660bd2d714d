"""Tiles, a confidence for each class, and duplicates: the rules for every model, here with one that sees colors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import Instance
from autodistill_rfdetr_seg.dataset.refine_rules.mask_nms import nms
from autodistill_rfdetr_seg.runtime.duplicate_removal import DuplicateLimits, remove_duplicates
from autodistill_rfdetr_seg.runtime.instance_mask import Mask, masks_from_logits
from autodistill_rfdetr_seg.runtime.output_decoding import Detection
from autodistill_rfdetr_seg.runtime.prediction_rules import PredictionRules

NO_BOX = np.zeros(4, np.float32)


def see_colors(images: Sequence[np.ndarray[Any, Any]], least: float) -> list[list[Detection]]:
    """Every part of one color: red is the class + 1, green the score in percent, blue tells neighbors apart."""
    result = []
    for image in images:
        code = (image.astype(np.int32) * (65536, 256, 1)).sum(axis=2)
        found = []
        for value in np.unique(code[code > 0]).tolist():
            count, parts = cv2.connectedComponents((code == value).astype(np.uint8))
            for part in range(1, count):
                rows, columns = np.nonzero(parts == part)
                corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                box, score = np.array(corners, dtype=np.float32), value // 256 % 256 / 100
                if score > least:
                    found.append(Detection(value // 65536 - 1, score, box, Mask.from_pixels(parts == part)))
        result.append(sorted(found, key=lambda one: -one.score))
    return result


def content(found: Sequence[Detection]) -> list[tuple[Any, ...]]:
    return sorted((one.class_id, one.score, one.mask.tobytes(), tuple(one.xyxy.tolist())) for one in found)


@pytest.mark.parametrize("overlap", [0.15, 0.4])
def test_an_object_across_seams_is_one_instance_with_its_whole_box(overlap: float) -> None:
    image = np.zeros((150, 230, 3), np.uint8)
    image[10:14, 5:225] = (1, 90, 1)  # across all tiles of a row
    image[40:60, 60:70] = (2, 80, 1)  # inside one or two
    image[40:60, 70:80] = (2, 80, 2)  # its neighbor, without a gap
    image[100:150, 200:230] = (1, 70, 1)  # in the corner
    rules = PredictionRules(0.0, 64, overlap)
    (whole,), (tiled,) = see_colors([image], 0.0), rules.predict(see_colors, [image])
    assert len(whole) == 4 and content(tiled) == content(whole)
    assert [one.score for one in tiled] == sorted((one.score for one in tiled), reverse=True)
    # An image that fits into a tile is given to the model as it is.
    assert content(PredictionRules(0.0, 230).predict(see_colors, [image])[0]) == content(whole)


def test_tiles_keep_the_masks_of_a_model_in_its_own_resolution() -> None:
    """A network's mask in a tile is moved, not computed anew."""
    logits = np.random.default_rng(0).normal(0, 1, (3, 9, 9)).astype(np.float32)
    for mask in masks_from_logits(logits, 40, 50):
        moved = mask.moved(13, 7, 90, 70)
        wanted = np.zeros((90, 70), bool)
        wanted[13:53, 7:57] = mask.dense()
        assert np.array_equal(moved.dense(), wanted) and moved.area() == mask.area()
        again = moved.moved(2, 3, 99, 99)
        assert np.array_equal(again.dense()[2:92, 3:73], wanted) and again.grid() is not None


def test_each_class_has_its_confidence() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    for at, score in enumerate((30, 50, 70)):
        image[5:15, 5 + 20 * at : 15 + 20 * at] = (1, score, 1)
        image[35:45, 5 + 20 * at : 15 + 20 * at] = (2, score, 1)
    for tile in (None, 32):
        rules = PredictionRules((0.6, 0.4), tile)
        assert rules.lowest_confidence() == 0.4
        found = rules.predict(see_colors, [image])[0]
        assert Counter((one.class_id, one.score) for one in found) == Counter([(0, 0.7), (1, 0.5), (1, 0.7)])


def detections(stack: np.ndarray[Any, Any], classes: Sequence[int]) -> list[Detection]:
    rows = enumerate(zip(classes, stack, strict=True))
    return [Detection(c, 0.9 - at / 100, NO_BOX, Mask.from_pixels(mask)) for at, (c, mask) in rows]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    # Values that no two numbers of pixels give: the rules compute the same overlap in two ways.
    limits=st.tuples(*[st.sampled_from([None, 0.10007, 0.50007, 0.90007])] * 4),
)
def test_duplicates_are_those_of_the_labels_rule(seed: int, limits: tuple[float | None, ...]) -> None:
    random = np.random.default_rng(seed)
    stack = np.zeros((12, 40, 50), bool)
    for mask in stack:
        top, left = random.integers(0, 30), random.integers(0, 40)
        mask[top : top + random.integers(1, 20), left : left + random.integers(1, 20)] = True
    classes = random.integers(0, 2, 12).tolist()
    found = detections(stack, classes)
    kept = remove_duplicates(found, DuplicateLimits(*limits))
    labels = [Instance(c, masks.encode(m), one.score) for c, m, one in zip(classes, stack, found, strict=True)]
    wanted = nms(nms(labels, *limits[:2], per_class=True)[0], *limits[2:], per_class=False)[0]
    assert [one.score for one in kept] == [one.score for one in wanted]


def test_a_models_duplicates_are_found_in_its_own_resolution() -> None:
    rows, columns = np.mgrid[:40, :40]
    logits = np.array([9.0 - np.hypot(rows - y, columns - x) for y, x in ((10, 10), (10, 11), (28, 28), (10, 10.2))])
    made = masks_from_logits(logits.astype(np.float32), 1080, 1920)
    found = [Detection(0, 0.9 - at / 10, NO_BOX, mask) for at, mask in enumerate(made)]
    limits = DuplicateLimits(iou=0.6)
    removed: Counter[str] = Counter()
    rules = PredictionRules(0.0, duplicates=limits)
    (kept,) = rules.predict(lambda images, least: [found], [np.zeros((1080, 1920, 3), np.uint8)], removed)
    assert [one.score for one in kept] == [0.9, 0.9 - 0.2] and removed["duplicate"] == 2
    # The same with pixels, and with masks of so few cells that their pixels are compared.
    pixels = [one._replace(compact_mask=Mask.from_pixels(one.mask)) for one in found]
    assert [one.score for one in remove_duplicates(pixels, limits)] == [one.score for one in kept]
    small = masks_from_logits((logits - 7.5).astype(np.float32), 1080, 1920)
    few = [one._replace(compact_mask=mask) for one, mask in zip(found, small, strict=True)]
    few_pixels = [one._replace(compact_mask=Mask.from_pixels(one.mask)) for one in few]
    assert [one.score for one in remove_duplicates(few, limits)] == [
        one.score for one in remove_duplicates(few_pixels, limits)
    ]
    assert rules.predict(lambda images, least: [[]], [np.zeros((9, 9, 3), np.uint8)]) == [[]]
