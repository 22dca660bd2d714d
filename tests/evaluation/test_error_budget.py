"""Kinds of errors, the confusion matrix, calibration, outlines, and AP by the distance to training images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import (
    Classes,
    GroundTruth,
    ImagePredictions,
    Instance,
    Rle,
    TruthImage,
    TruthInstance,
)
from autodistill_rfdetr_seg.evaluation import evaluate
from autodistill_rfdetr_seg.evaluation.detection_matches import Matches
from autodistill_rfdetr_seg.evaluation.error_budget import calibration, tide_errors
from autodistill_rfdetr_seg.evaluation.error_kinds import find_errors, size_of
from autodistill_rfdetr_seg.evaluation.gold_look_alikes import LookAlike
from autodistill_rfdetr_seg.evaluation.training_distance import distance_sentences, distance_table

SIDE = 200
CLASSES = Classes(("cat", "dog"))


def box(x: int, y: int, width: int = 40, height: int = 40) -> Rle:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[y : y + height, x : x + width] = True
    return masks.encode(mask)


def one_image(objects: list[TruthInstance], found: list[Instance]) -> tuple[GroundTruth, list[ImagePredictions]]:
    image = TruthImage("a.png", Path("a.png"), SIDE, SIDE, tuple(objects), 1)
    return GroundTruth(CLASSES, (image,), "p"), [ImagePredictions("a.png", tuple(found))]


@pytest.mark.parametrize(
    ("found", "kinds"),
    [
        ([Instance(0, box(10, 10), 0.9)], []),
        ([], ["missed"]),
        ([Instance(0, box(10, 10), 0.4)], ["missed"]),  # below the confidence
        ([Instance(0, box(10, 10), 0.9), Instance(0, box(12, 10), 0.8)], ["duplicate"]),
        ([Instance(0, box(30, 10), 0.9)], ["localization"]),  # IoU 1/3
        ([Instance(1, box(10, 10), 0.9)], ["class"]),
        ([Instance(1, box(30, 10), 0.9)], ["both", "missed"]),
        ([Instance(0, box(120, 120), 0.9)], ["background", "missed"]),
        ([Instance(0, box(47, 10), 0.9)], ["background", "missed"]),  # IoU 0.04
    ],
)
def test_each_error_has_its_kind(found: list[Instance], kinds: list[str]) -> None:
    truth, predictions = one_image([TruthInstance(0, box(10, 10))], found)
    errors = [one for image in find_errors(truth, predictions, 0.5, 100) for one in image.errors]
    assert [one.kind for one in errors] == kinds
    for one in errors:
        assert (one.score is None) == (one.kind == "missed") and one.size == "medium"


def test_a_detection_in_a_crowd_is_no_error_and_a_crowd_is_not_missed() -> None:
    crowd = TruthInstance(0, box(0, 0, 150, 150), crowd=True)
    inside, other_class = Instance(0, box(20, 20), 0.9), Instance(1, box(20, 20), 0.9)
    truth, predictions = one_image([crowd], [inside, other_class])
    (found,) = find_errors(truth, predictions, 0.5, 100)
    assert [(one.kind, one.class_index) for one in found.errors] == [("background", 1)]
    assert found.pairs == ((None, 1),)


def test_the_confusion_matrix_has_every_object_once() -> None:
    objects = [TruthInstance(0, box(10, 10)), TruthInstance(0, box(80, 10)), TruthInstance(1, box(10, 80))]
    found = [
        Instance(0, box(10, 10), 0.9),
        Instance(1, box(80, 10), 0.8),
        Instance(1, box(81, 10), 0.7),  # the same object again: the object counts once
        Instance(0, box(150, 150), 0.6),
    ]
    truth, predictions = one_image(objects, found)
    budget = evaluate(truth, predictions, errors=True).errors
    assert budget["confidence"] is not None and budget["confidence"] > 0.5
    report = evaluate(truth, predictions, errors=True)
    (image,) = find_errors(truth, predictions, 0.5, 100)
    assert sorted(image.pairs, key=str) == sorted([(0, 0), (0, 1), (None, 1), (None, 0), (1, None)], key=str)
    assert report.errors["confusion"]["names"] == ["cat", "dog", "background"]
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_tide(seed: int) -> None:
    """Without a threshold: the counts of hotcoco's own `tide_errors`."""
    rng = np.random.default_rng(seed)
    truths, predictions = [], []
    for at in range(6):
        objects = [
            TruthInstance(int(rng.integers(2)), box(*rng.integers(0, 140, 2), *rng.integers(20, 60, 2)))
            for _ in range(4)
        ]
        found = []
        for number, one in enumerate([*objects, *objects]):
            x, y, width, height = (int(side) for side in masks.bbox_xywh(one.rle))
            moved = np.clip(np.array([x, y]) + rng.integers(-20, 21, 2), 0, 140)
            label = one.class_index if rng.random() < 0.7 else 1 - one.class_index
            found.append(Instance(label, box(*moved, width, height), 0.9 - 0.05 * number - 0.001 * at))
        truths.append(TruthImage(f"{at}.png", Path(f"{at}.png"), SIDE, SIDE, tuple(objects), at + 1))
        predictions.append(ImagePredictions(f"{at}.png", tuple(found)))
    truth = GroundTruth(CLASSES, tuple(truths), "p")
    theirs = tide_errors(truth, predictions, "file", 100)["counts"]
    names = {"Cls": "class", "Loc": "localization", "Both": "both", "Dupe": "duplicate", "Bkg": "background"}
    kinds = [one.kind for image in find_errors(truth, predictions, 0.0, 100) for one in image.errors]
    assert {name: kinds.count(kind) for name, kind in names.items()} == {name: theirs[name] for name in names}
    assert len(set(kinds)) >= 3


def test_errors_cost_ap_and_kinds_without_errors_do_not() -> None:
    objects = [TruthInstance(0, box(10, 10)), TruthInstance(0, box(80, 10)), TruthInstance(1, box(10, 80))]
    found = [Instance(0, box(10, 10), 0.9), Instance(1, box(80, 10), 0.8), Instance(1, box(10, 80), 0.7)]
    report = evaluate(*one_image(objects, found), errors=True)
    lost = report.errors["ap50_lost"]
    assert lost["class"] > 0.2 and lost["duplicate"] == lost["background"] == 0
    assert report.errors["by_class"]["dog"]["class"] == 1 and report.errors["by_class"]["cat"]["class"] == 0
    assert report.details["errors"][0]["kind"] == "class" and report.details["errors"][0]["other_class"] == 0
    assert evaluate(*one_image(objects, found)).errors == {}


@pytest.mark.parametrize("objects", [[], [TruthInstance(0, box(10, 10), crowd=True)]])
def test_nothing_to_score_has_no_budget(objects: list[TruthInstance]) -> None:
    report = evaluate(*one_image(objects, [Instance(0, box(120, 120), 0.9)]), errors=True)
    assert set(report.errors["ap50_lost"].values()) == {None}
    assert report.errors["confidence"] is None and set(report.errors["counts"].values()) == {0}
    assert report.errors["boundary"] == {"ap": None, "ap50": None}
    json.dumps(report.to_dict(), allow_nan=False)


def test_calibration_compares_scores_with_the_fraction_that_is_right() -> None:
    def matches(scores: list[float], right: list[bool]) -> Matches:
        zeros = np.zeros(len(scores), dtype=np.int64)
        return Matches(np.array(scores), zeros, zeros, zeros, np.array(right), np.ones((1, 1), dtype=np.int64))

    found = calibration(matches([0.95, 0.95, 0.92, 0.15, 1.0], [True, True, False, False, True]))
    assert [(one["count"], one["right"]) for one in found["bins"]] == [(1, 0.0), (4, 0.75)]
    assert found["ece"] == pytest.approx((1 * 0.15 + 4 * (0.955 - 0.75)) / 5)
    equal = calibration(matches([0.5, 0.5], [True, False]))
    assert equal["ece"] is None and equal["bins"][0]["right"] == 0.5
    assert calibration(matches([], [])) == {"bins": [], "ece": None}


def test_outlines_that_do_not_fit_lower_boundary_ap_alone() -> None:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[20:180, 20:180] = True
    ragged = mask.copy()
    ragged[18:182:4, 16:184] = True
    truth, exact = one_image([TruthInstance(0, masks.encode(mask))], [Instance(0, masks.encode(mask), 0.9)])
    rough = [ImagePredictions("a.png", (Instance(0, masks.encode(ragged), 0.9),))]
    perfect, worse = evaluate(truth, exact, errors=True), evaluate(truth, rough, errors=True)
    assert perfect.errors["boundary"] == {"ap": pytest.approx(1), "ap50": pytest.approx(1)}
    assert worse.errors["boundary"]["ap"] < (worse.mask["ap"] or 0) - 0.1


def test_sizes_are_those_of_coco() -> None:
    assert [size_of(area) for area in (0, 1023, 1024, 9215, 9216, 1e9)] == [
        *["small"] * 2,
        *["medium"] * 2,
        *["large"] * 2,
    ]


def test_scores_by_the_distance_to_training_images() -> None:
    images, found, nearest = [], [], {}
    for at in range(20):
        name = f"{at:02d}.png"
        objects = (TruthInstance(0, box(10, 10)), TruthInstance(0, box(90, 90)))
        images.append(TruthImage(name, Path(name), SIDE, SIDE, objects, at + 1))
        seen = [Instance(0, box(10, 10), 0.9), Instance(0, box(90, 90), 0.8)]
        found.append(ImagePredictions(name, tuple(seen if at < 10 else seen[:1])))
        nearest[name] = LookAlike(name, "train/a.jpg", 4 if at < 10 else 20)
    truth = GroundTruth(CLASSES, tuple(images), "p")
    report = evaluate(truth, found, intervals=True, replicates=20)
    table = distance_table(truth, nearest, {"base": None, "target": report})
    assert [(row["low"], row["high"], row["images"], row["instances"]) for row in table] == [
        (4, 4, 10, 20),
        (20, 20, 10, 20),
    ]
    assert table[0]["target"] == pytest.approx(1) and table[1]["target"] == pytest.approx(51 / 101)
    assert table[0]["base"] is None
    (sentence,) = distance_sentences(table, one_view=False)
    assert "1.000 on the 10 gold images nearest to training images and 0.505 on the 10 farthest" in sentence
    assert len(distance_sentences([], one_view=True)) == 1
    assert distance_table(truth, {}, {"target": report}) == []
    assert (
        distance_sentences(distance_table(truth, dict.fromkeys(nearest, nearest["00.png"]), {"target": report}), False)
        == ()
    )
