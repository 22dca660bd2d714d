"""Thresholds for a label precision: what counts as right, the rules of the build, and classes without a promise."""

from __future__ import annotations

import pytest

from autodistill_rfdetr_seg.core.config import RefineConfig
from autodistill_rfdetr_seg.core.errors import UsageError
from autodistill_rfdetr_seg.evaluation.calibration_text import calibration_text
from autodistill_rfdetr_seg.evaluation.label_calibration import calibrate_labels
from autodistill_rfdetr_seg.evaluation.label_matches import class_image_counts, match_labels
from helpers.slot_labels import Label, gold_of, labels_of

IMAGES = 80
RULES = RefineConfig()


def falling(image: int) -> list[Label]:
    """Of class 0: a right label of 0.9 and a wrong one of 0.5, and in every image another pair of scores."""
    return [(0, 0, 0.9 - image / 1000), (0, 1, 0.8 - image / 1000), (0, 40, 0.5 - image / 1000)]


def test_the_threshold_is_between_right_and_wrong_labels() -> None:
    truth = gold_of([[(0, 0), (0, 1), (0, 2)]] * IMAGES)
    found = calibrate_labels(truth, labels_of([falling(at) for at in range(IMAGES)]), RULES, 0.9)
    (one,) = found.classes
    assert one.calibrated and found.failing == () and 0.4 < one.threshold < 0.75
    assert one.lower is not None and 0.9 <= one.lower < (one.after.precision or 0)
    assert one.before.precision == pytest.approx(2 / 3) and one.before.recall == pytest.approx(2 / 3)
    assert one.before.labels == 3 * IMAGES and one.gold_objects == 3 * IMAGES
    assert found.confidence == {"a": one.threshold}
    text = calibration_text(found)
    assert "drawn alike and independently" in text and "with probability 95%" in text


def test_a_label_on_a_crowd_is_neither_right_nor_wrong() -> None:
    labels = labels_of([[(0, 0, 0.9), (0, 40, 0.9)]])
    crowd = match_labels(gold_of([[(0, 0)]], crowd=True), labels, RULES)
    assert [int(one.sum()) for one in class_image_counts(crowd)] == [0, 1, 0]
    plain = match_labels(gold_of([[(0, 0)]]), labels, RULES)
    assert [int(one.sum()) for one in class_image_counts(plain)] == [1, 2, 1]


def test_more_than_a_hundred_labels_of_an_image_all_count() -> None:
    labels = labels_of([[(0, at % 64, 0.5) for at in range(130)]])
    rules = RefineConfig(nms_iou=None, nms_iom=None, agnostic_nms_iou=None)
    assert len(match_labels(gold_of([[(0, 0)]]), labels, rules).scores) == 130


def test_a_class_without_a_promise_keeps_its_threshold_and_says_why() -> None:
    names = ("few", "wrong", "none", "unknown", "unfound")
    objects = [[(1, 8), (4, 32)] + ([(0, 0)] if at < 8 else []) for at in range(IMAGES)]
    labels = [[(1, 40, 0.9), (2, 50, 0.9), (3, 60, 0.9)] + ([(0, 0, 0.9)] if at < 8 else []) for at in range(IMAGES)]
    rules = RefineConfig(confidence={"few": 0.3, "wrong": 0.2})
    found = calibrate_labels(gold_of(objects, names), labels_of(labels), rules, 0.9, not_annotated=("unknown",))
    rows = {one.name: one for one in found.classes}
    assert found.failing == names
    assert found.confidence == {"few": 0.3, "wrong": 0.2, "none": 0.0, "unknown": 0.0, "unfound": 0.0}
    # 29 independent labels are the least: 0.9 ** 29 < 0.05; 8 are worth less than 8, as they are few.
    assert "too few" in (rows["few"].reason or "") and 21 <= (rows["few"].missing_gold or 0) <= 35
    assert "too low: 0.000" in (rows["wrong"].reason or "") and rows["wrong"].missing_gold is None
    assert "no object" in (rows["none"].reason or "") and rows["none"].before.precision is None
    assert "does not have this class" in (rows["unknown"].reason or "")
    assert "labels none" in (rows["unfound"].reason or "") and rows["unfound"].before.recall == 0
    assert "no promise for 'few'" in calibration_text(found) and "the threshold stays 0.3" in calibration_text(found)
    dropped = calibrate_labels(gold_of(objects, names), labels_of(labels), rules, 0.9, drop_failing=True)
    assert set(dropped.confidence.values()) == {1.0} and dropped.classes[0].after.labels == 0


def test_a_label_that_another_class_removed_comes_back_and_counts() -> None:
    """Wrong labels of `a` lie under labels of `b`; where the threshold of `b` drops these, `a` must not promise."""
    objects = [[(0, 0), (1, 8)] for _ in range(IMAGES)]
    # `b` is right at 0.9 and wrong at 0.6, on the slot of a wrong label of `a` with 0.55.
    labels = [[(0, 0, 0.5), (0, 40, 0.55), (1, 8, 0.9), (1, 40, 0.6)] for _ in range(IMAGES)]
    found = calibrate_labels(gold_of(objects, ("a", "b")), labels_of(labels), RULES, 0.9)
    assert found.failing == ("a",)
    assert found.classes[1].threshold == pytest.approx(0.75)
    assert found.classes[0].after.precision == pytest.approx(0.5)


@pytest.mark.parametrize("target", [0.0, 1.0, 95.0])
def test_a_target_that_is_no_fraction_is_refused(target: float) -> None:
    with pytest.raises(UsageError, match=r"above 0 and below 1"):
        calibrate_labels(gold_of([[(0, 0)]]), labels_of([[]]), RULES, target)
