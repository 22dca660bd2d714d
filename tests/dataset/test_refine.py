from __future__ import annotations

import numpy as np
import pytest

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.config import RefineConfig
from autodistill_rfdetr_seg.core.errors import UnknownNameError
from autodistill_rfdetr_seg.core.types import Classes, ImageLabels, ImageRecord, Instance
from autodistill_rfdetr_seg.dataset.refine import refine
from helpers.shapes import disc

CLASSES = Classes(("bolt", "nut"), (("a bolt", 0), ("a nut", 1)))
OFF = {"nms_iou": None, "nms_iom": None, "agnostic_nms_iou": None}


def labels(*instances: tuple[int, np.ndarray, float]) -> ImageLabels:
    record = ImageRecord("0" * 16, "x.png", 100, 100, "0" * 64)
    return ImageLabels(record, tuple(Instance(c, masks.encode(m), s) for c, m, s in instances))


def outcome(found: ImageLabels, **options: object) -> tuple[list[float], dict[float, str]]:
    """Scores kept, and reason by score of those rejected."""
    result = refine(found, RefineConfig(**options), CLASSES)  # type: ignore[arg-type]
    return [i.score for i in result.instances], {r.instance.score: r.reason for r in result.rejected}


def test_confidence_global_and_by_class() -> None:
    found = labels((0, disc(100, 100, 20, 20, 9), 0.4), (1, disc(100, 100, 70, 70, 9), 0.45))
    assert outcome(found, confidence=0.42) == ([0.45], {0.4: "confidence"})
    assert outcome(found, confidence={"nut": 0.5}) == ([0.4], {0.45: "confidence"})
    with pytest.raises(UnknownNameError, match="did you mean 'nut'"):
        outcome(found, confidence={"nutt": 0.5})


def test_score_at_the_threshold_is_kept() -> None:
    assert outcome(labels((0, disc(100, 100, 20, 20, 9), 0.5)), confidence=0.5)[0] == [0.5]


def test_nms_within_a_class_only() -> None:
    one, shifted = disc(100, 100, 40, 40, 20), disc(100, 100, 43, 40, 20)
    assert outcome(labels((0, one, 0.5), (0, shifted, 0.9)), agnostic_nms_iou=None) == ([0.9], {0.5: "mask_nms"})
    assert outcome(labels((0, one, 0.5), (1, shifted, 0.9)), agnostic_nms_iou=None) == ([0.9, 0.5], {})
    assert outcome(labels((0, one, 0.5), (1, shifted, 0.9)), agnostic_nms_iou=0.7) == ([0.9], {0.5: "agnostic_nms"})


def test_nested() -> None:
    found = labels((0, disc(100, 100, 50, 50, 30), 0.9), (0, disc(100, 100, 50, 50, 10), 0.8))
    assert outcome(found) == ([0.9], {0.8: "nested"})
    assert outcome(found, nms_iom=None) == ([0.9, 0.8], {})


def test_area_in_pixels_and_share() -> None:
    found = labels((0, disc(100, 100, 20, 20, 3), 0.9), (0, disc(100, 100, 60, 60, 35), 0.8))
    small, large = (masks.area(i.rle) for i in found.instances)
    assert outcome(found, min_area=small + 1) == ([0.8], {0.9: "too_small"})
    assert outcome(found, min_area=small) == ([0.9, 0.8], {})
    assert outcome(found, max_area=(large - 1) / 10_000) == ([0.9], {0.8: "too_large"})


def test_cleaning_comes_before_area_and_nms() -> None:
    ring = disc(100, 100, 50, 50, 20) & ~disc(100, 100, 50, 50, 5)
    loose = ring | disc(100, 100, 90, 90, 2)
    result = refine(labels((0, loose, 0.9)), RefineConfig(hole_area=100, island_area=30), CLASSES)
    assert np.array_equal(masks.decode(result.instances[0].rle), disc(100, 100, 50, 50, 20))


def test_empty_masks_and_the_best_few() -> None:
    discs = [(0, disc(100, 100, 10 + 20 * i, 20, 5), 0.1 * (i + 1)) for i in range(4)]
    kept, rejected = outcome(labels(*discs, (0, np.zeros((100, 100), bool), 0.99)), max_instances=2)
    assert kept == pytest.approx([0.4, 0.3])
    assert sorted(rejected.values()) == ["empty", "max_instances", "max_instances"]


def test_nothing_is_lost_or_doubled() -> None:
    rng = np.random.default_rng(3)
    discs = [(int(rng.integers(2)), disc(100, 100, *rng.integers(5, 95, 2), 12), float(s)) for s in rng.random(40)]
    result = refine(labels(*discs), RefineConfig(confidence=0.2, min_area=200, max_instances=9), CLASSES)
    assert len(result.instances) + len(result.rejected) == 40
    assert len({i.score for i in result.instances} | {r.instance.score for r in result.rejected}) == 40


def test_equal_scores_keep_their_order() -> None:
    first, second = disc(100, 100, 40, 40, 20), disc(100, 100, 42, 40, 20)
    result = refine(labels((0, first, 0.5), (0, second, 0.5)), RefineConfig(), CLASSES)
    assert np.array_equal(masks.decode(result.instances[0].rle), first)


def test_cleaning_a_mask_in_its_box_is_cleaning_it_in_the_whole_image() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        mask = np.zeros((37, 41), bool)
        top, left = rng.integers(0, 30, 2)
        # Blocks of noise: islands and holes of many sizes, equal ones among them, at the image's edge and within.
        part = mask[top : top + rng.integers(3, 25), left : left + rng.integers(3, 25)]
        part[:] = rng.random(part.shape) < rng.choice([0.3, 0.5, 0.7])
        whole = masks.fill_holes(masks.remove_islands(mask, 6), 4)
        found = refine(labels_of(mask), RefineConfig(island_area=6, hole_area=4, **OFF), CLASSES)
        kept = [i.instance if hasattr(i, "instance") else i for i in (*found.instances, *found.rejected)]
        assert kept[0].rle == masks.encode(whole)


def labels_of(mask: np.ndarray) -> ImageLabels:
    record = ImageRecord("0" * 16, "x.png", *mask.shape, "0" * 64)
    return ImageLabels(record, (Instance(0, masks.encode(mask), 0.5),))
