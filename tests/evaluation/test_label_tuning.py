"""Rules that raise the F1 of labels are found, noise is not taken, and prompts that add nothing are named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autodistill_rfdetr_seg.core.config import RefineConfig
from autodistill_rfdetr_seg.evaluation.label_tuning import LabelCounts, tune_labels
from autodistill_rfdetr_seg.evaluation.rule_search import f1_of, paired_gain, search_rules
from autodistill_rfdetr_seg.evaluation.tuning_text import tuning_text
from helpers.slot_labels import Label, gold_of, labels_of

IMAGES = 24


def test_f1_and_its_interval() -> None:
    before = np.array([[1, 4, 2]] * 10)
    after = np.array([[2, 4, 2], [1, 4, 2]] * 5)
    assert f1_of(before) == pytest.approx(2 / 6) and f1_of(np.zeros((3, 3), int)) == 0.0
    gain = paired_gain(before, after)
    # The gain of an image is 1/3 or 0: its standard error is 1/6 / sqrt(10), and t of 9 degrees of freedom 2.262.
    assert gain.value == pytest.approx(1 / 6)
    assert gain.high - gain.value == pytest.approx(2.262 / 6 / 10**0.5, rel=0.1)
    assert paired_gain(before[:1], after[:1]).low < 0


def test_a_threshold_that_helps_is_found_and_what_does_not_is_left() -> None:
    rng = np.random.default_rng(0)
    labels: list[list[Label]] = [
        [(0, 0, 0.9), (0, 1, float(rng.uniform(0.7, 0.9))), (0, 40, float(rng.uniform(0.1, 0.5)))]
        for _ in range(IMAGES)
    ]
    found = tune_labels(gold_of([[(0, 0), (0, 1)]] * IMAGES), labels_of(labels), RefineConfig())
    assert isinstance(found.rules.confidence, float) and 0.4 < found.rules.confidence < 0.75
    assert found.rules.model_copy(update={"confidence": 0.0}) == RefineConfig()
    assert (found.search.start_f1, found.search.f1) == (pytest.approx(0.8), pytest.approx(1.0, abs=0.03))
    assert found.gain.low > 0 and found.changed
    text = tuning_text(found)
    assert "taken" in text and "F1 of the labels on 24 gold images: 0.800 before" in text


def test_a_class_without_gold_objects_is_not_tuned_away() -> None:
    labels: list[list[Label]] = [[(0, 0, 0.9), (1, 1, 0.5), (1, 2, 0.4)] for _ in range(IMAGES)]
    found = tune_labels(gold_of([[(0, 0)]] * IMAGES, ("dog", "cat")), labels_of(labels), RefineConfig())
    assert found.rules == RefineConfig() and found.search.start_f1 == 1.0 and found.left_out == ("cat",)
    assert not any(one.rule == "confidence of cat" for step in found.search.steps for one in step)
    assert "The gold set has no object of cat" in tuning_text(found)
    assert found.as_json()["left_out"] == ["cat"]


def test_noise_is_not_taken() -> None:
    """Right and wrong labels have the same scores, and as many are right as keep the F1 from falling."""
    taken = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        labels: list[list[Label]] = [
            [(0, int(rng.integers(0, 64)), float(rng.random())) for _ in range(4)] for _ in range(IMAGES)
        ]
        objects = [[(0, int(at)) for at in rng.choice(64, 20, replace=False)] for _ in range(IMAGES)]
        count = LabelCounts(gold_of(objects), labels_of(labels))
        values = [RefineConfig(confidence=one / 10) for one in range(1, 10)]
        found = search_rules(count, RefineConfig(), lambda _: {"confidence": values}, np.arange(IMAGES))  # noqa: B023
        taken += found.setting != RefineConfig()
    assert taken <= 1


def test_prompts_of_one_class_are_told_apart() -> None:
    truth = gold_of([[(0, 0), (0, 1)]] * IMAGES, ("dog", "cat"))
    labels = labels_of([[(0, 0, 0.9), (0, 1, 0.8), (0, 40, 0.85), (1, 50, 0.9)]] * IMAGES)
    # Of an image's labels: "dog" finds the first, "puppy" the second, "wolf" the third, which is wrong.
    labels = {
        name: dataclasses.replace(
            one, instances=tuple(dataclasses.replace(i, prompt_index=at) for at, i in enumerate(one.instances))
        )
        for name, one in labels.items()
    }
    prompts = [("dog", 0), ("puppy", 0), ("wolf", 0), ("cat", 1)]
    worth = tune_labels(truth, labels, RefineConfig(), prompts=prompts, not_annotated=["cat"]).prompts
    assert [one.prompt for one in worth] == ["dog", "puppy", "wolf"]
    assert worth[0].gain.low > 0 > worth[2].gain.high
    # With all three 4 of 5, without the wrong one 1.
    assert worth[2].gain.value == pytest.approx(0.8 - 1.0) and worth[2].labels == IMAGES


def test_no_label_and_one_image_change_nothing() -> None:
    for count in (1, 6):
        found = tune_labels(gold_of([[(0, 0)]] * count), labels_of([[]] * count), RefineConfig())
        assert not found.changed and found.rules == RefineConfig() and found.search.f1 == 0.0
        assert "none is taken" in tuning_text(found)
