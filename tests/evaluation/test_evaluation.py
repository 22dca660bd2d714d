"""evaluation: pycocotools' own numbers, and cases worked out by hand."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import DataError
from autodistill_rfdetr_seg.core.types import (
    Classes,
    GroundTruth,
    ImagePredictions,
    Instance,
    Rle,
    TruthImage,
    TruthInstance,
)
from autodistill_rfdetr_seg.evaluation import evaluate, recovery
from autodistill_rfdetr_seg.evaluation.coco_arrays import CocoGold
from helpers.coco_results import NAMES, same, theirs_evaluated

SIZE = 200


# against pycocotools


def shaken(theirs: COCO, rng: np.random.Generator, copies: int = 2) -> list[dict[str, Any]]:
    """Results made of shifted, dropped, rescored and relabelled copies of a file's own annotations."""
    results = []
    categories = theirs.getCatIds()
    for annotation in theirs.dataset["annotations"]:
        rle = theirs.annToRLE(annotation)
        mask = coco_mask.decode(rle)
        for _ in range(copies):
            if rng.random() < 0.2:
                continue
            moved = np.roll(mask, rng.integers(-6, 7, 2), (0, 1))
            if annotation["iscrowd"]:
                moved[:, : moved.shape[1] // 2] = 0  # a part of the crowd is as good as the whole
            if not moved.any():
                continue
            encoded = coco_mask.encode(np.asfortranarray(moved))
            category = annotation["category_id"] if rng.random() < 0.9 else int(rng.choice(categories))
            results.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": category,
                    "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()},
                    "score": round(float(rng.random()), 2),  # ties
                }
            )
    return results


def as_predictions(theirs: COCO, results: list[dict[str, Any]], classes: Classes) -> list[ImagePredictions]:
    found = defaultdict(list)
    for row in results:
        index = classes.names.index(theirs.cats[row["category_id"]]["name"])
        rle = Rle(*row["segmentation"]["size"], row["segmentation"]["counts"].encode())
        found[theirs.imgs[row["image_id"]]["file_name"]].append(Instance(index, rle, row["score"]))
    return [ImagePredictions(name, tuple(instances)) for name, instances in found.items()]


@pytest.mark.parametrize("split", ["train", "valid"])
def test_metrics_are_pycocotools_own(shared_data: Path, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = shared_data / "coco_permissive" / split / "_annotations.coco.json"
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(source))
        results = shaken(theirs, np.random.default_rng(3))
        expected = {kind: theirs_evaluated(theirs, results, kind) for kind in ("segm", "bbox")}
        for evaluator in expected.values():
            evaluator.summarize()
    truth = coco.read(source)
    report = evaluate(source, as_predictions(theirs, results, truth.classes))
    for found, kind in ((report.mask, "segm"), (report.box, "bbox")):
        assert tuple(found) == NAMES
        wrong = {
            name: (found[name], value)
            for name, value in zip(NAMES, expected[kind].stats.tolist(), strict=True)
            if not same(found[name], value)
        }
        assert not wrong
    assert 0.1 < (report.mask["ap"] or 0) < 0.9 and 0.01 < (report.mask["ap_small"] or 0) < 0.9
    precision = expected["segm"].eval["precision"]
    for index, name in enumerate(truth.classes.names):
        assert same(report.per_class[name]["ap"], precision[:, :, index, 0, 2].mean())
    assert report.instances == sum(not row["iscrowd"] for row in theirs.dataset["annotations"])
    assert capsys.readouterr().out == ""


def test_500_detections_count_where_100_do_not(shared_data: Path) -> None:
    source = shared_data / "mushrooms" / "test" / "_annotations.coco.json"
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(source))
        image = max(theirs.getImgIds(), key=lambda image: len(theirs.getAnnIds(imgIds=[image])))
        kept = [row | {"id": row["id"] + 1} for row in theirs.dataset["annotations"] if row["image_id"] == image]
        theirs.dataset = {**theirs.dataset, "images": [theirs.imgs[image]], "annotations": kept}
        theirs.createIndex()
        results = shaken(theirs, np.random.default_rng(4), copies=1)
        for row in results:
            row["category_id"] = 1
        evaluator = theirs_evaluated(theirs, results, "segm", 500)
    assert len(results) > 200
    precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]
    whole = coco.read(source)
    name = theirs.imgs[image]["file_name"]
    truth = dataclasses.replace(whole, images=tuple(i for i in whole.images if i.image_id == name))
    predictions = as_predictions(theirs, results, truth.classes)
    report = evaluate(truth, predictions, max_detections=500)
    used = theirs.getCatIds().index(1)
    assert report.mask["ap"] == pytest.approx(precision[:, :, used, 0, 2].mean(), abs=1e-9)
    assert report.mask["ap50"] == pytest.approx(precision[0, :, used, 0, 2].mean(), abs=1e-9)
    assert report.mask["ap_small"] == pytest.approx(precision[:, :, used, 1, 2].mean(), abs=1e-9)
    assert report.mask["ar"] == pytest.approx(recall[:, used, 0, 2].mean(), abs=1e-9)
    assert (report.mask["ar"] or 0) > (evaluate(truth, predictions).mask["ar"] or 1) + 0.1
    assert report.max_detections == 500


@pytest.mark.parametrize("seed", range(25))
def test_matching_is_pycocotools_on_crowded_scraps(tmp_path: Path, seed: int) -> None:
    """Overlapping boxes with equal scores and IoUs, crowds and odd areas: where the order of things matters."""
    rng = np.random.default_rng(seed)
    rows, results = [], []
    for image in (1, 2):
        for _ in range(int(rng.integers(1, 7))):
            x, y, w, h = rng.integers(0, 6), rng.integers(0, 6), rng.integers(2, 8), rng.integers(2, 8)
            mask = np.zeros((14, 14), dtype=np.uint8, order="F")
            mask[y : y + h, x : x + w] = 1
            encoded = coco_mask.encode(mask)
            segmentation = {"size": [14, 14], "counts": encoded["counts"].decode()}
            row = {"image_id": image, "category_id": int(rng.integers(1, 3)), "segmentation": segmentation}
            box = {"bbox": coco_mask.toBbox(encoded).tolist(), "area": float(rng.choice([10, 2000, 20000]))}
            rows.append({**row, **box, "id": len(rows) + 1, "iscrowd": int(rng.random() < 0.3)})
            for _ in range(int(rng.integers(1, 4))):
                moved = coco_mask.encode(np.asfortranarray(np.roll(mask, rng.integers(-1, 2, 2), (0, 1))))
                moved = {"size": [14, 14], "counts": moved["counts"].decode()}
                results.append({**row, "segmentation": moved, "score": float(rng.choice([0.25, 0.5, 0.75]))})
    images = [{"id": at, "file_name": f"{at}.png", "height": 14, "width": 14} for at in (1, 2)]
    categories = [{"id": at, "name": f"c{at}"} for at in (1, 2)]
    path = tmp_path / "gold.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(path))
        evaluators = {kind: theirs_evaluated(theirs, results, kind) for kind in ("segm", "bbox")}
        for evaluator in evaluators.values():
            evaluator.summarize()
    report = evaluate(path, as_predictions(theirs, results, Classes(("c1", "c2"))))
    for found, kind in ((report.mask, "segm"), (report.box, "bbox")):
        assert all(same(found[name], value) for name, value in zip(NAMES, evaluators[kind].stats.tolist(), strict=True))


# worked out by hand


def box(x: int, y: int, side: int = 20) -> Rle:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[y : y + side, x : x + side] = True
    return masks.encode(mask)


def gold(*images: list[TruthInstance], names: tuple[str, ...] = ("a", "b")) -> GroundTruth:
    found = (
        TruthImage(f"{at}.png", Path(f"{at}.png"), SIZE, SIZE, tuple(instances)) for at, instances in enumerate(images)
    )
    return GroundTruth(Classes(names), tuple(found), "print")


def predicted(*images: list[Instance], milliseconds: float | None = None) -> list[ImagePredictions]:
    return [ImagePredictions(f"{at}.png", tuple(found), milliseconds) for at, found in enumerate(images)]


A, B, FAR = box(10, 10), box(60, 60), box(120, 120)
TWO = gold([TruthInstance(0, A), TruthInstance(0, B)])
# Hit, false alarm, hit, false alarm.
FOUR = [Instance(0, A, 0.9), Instance(0, FAR, 0.8), Instance(0, B, 0.7), Instance(0, FAR, 0.5)]


def test_perfect_predictions() -> None:
    truth = gold([TruthInstance(0, A), TruthInstance(1, B)], [])
    report = evaluate(truth, predicted([Instance(0, A, 1.0), Instance(1, B, 1.0)], []))
    for metrics in (report.mask, report.box):
        defined = {name: value for name, value in metrics.items() if not name.endswith(("medium", "large"))}
        assert defined == dict.fromkeys(defined, pytest.approx(1.0))
        assert [metrics[name] for name in ("ap_medium", "ap_large", "ar_medium", "ar_large")] == [None] * 4
    assert (report.best_f1, report.best_confidence) == (1.0, 0.5)
    assert (report.images, report.instances, report.gold_fingerprint) == (2, 2, "print")


def test_average_precision_and_its_curve() -> None:
    report = evaluate(TWO, predicted(FOUR))
    expected = (51 * 1 + 50 * 2 / 3) / 101  # precision 1 up to recall 0.5, then 2/3
    assert report.mask["ap"] == pytest.approx(expected) and report.mask["ap75"] == pytest.approx(expected)
    assert report.mask["ar_1"] == pytest.approx(0.5) and report.mask["ar"] == pytest.approx(1.0)
    curve = report.details["pr"]["a"]["iou50"]
    assert curve[50] == pytest.approx(1.0) and curve[51] == pytest.approx(2 / 3) and len(curve) == 101
    assert report.details["pr"]["b"] == {"iou50": None, "iou75": None}
    assert report.details["pr"]["all"]["iou50"] == curve
    assert report.details["recall"][51] == pytest.approx(0.51)


def test_the_best_confidence_lies_halfway_to_the_next_score() -> None:
    report = evaluate(TWO, predicted(FOUR, milliseconds=4.0))
    # F1 by number kept: 2/3, 1/2, 4/5, 4/6
    assert report.best_f1 == pytest.approx(0.8) and report.best_confidence == pytest.approx(0.6)
    row = report.per_class["a"]
    assert (row["precision"], row["recall"]) == (pytest.approx(2 / 3), 1.0)
    assert (row["best_f1"], row["best_confidence"], row["instances"]) == (pytest.approx(0.8), pytest.approx(0.6), 2)
    assert report.details["images"] == {"0.png": {"matched": 2, "missed": 0, "false_alarms": 1, "f1": 0.8}}
    assert report.milliseconds == 4.0


def test_a_threshold_cannot_part_equal_scores() -> None:
    found = [Instance(0, A, 0.6), Instance(0, FAR, 0.6), Instance(0, box(160, 10), 0.2)]
    report = evaluate(gold([TruthInstance(0, A)]), predicted(found))
    assert report.best_f1 == pytest.approx(2 / 3) and report.best_confidence == pytest.approx(0.4)


def test_a_class_without_gold_is_undefined_and_left_out() -> None:
    found = [*FOUR, Instance(1, FAR, 0.95), Instance(1, A, 0.95)]
    report, without = evaluate(TWO, predicted(found)), evaluate(TWO, predicted(FOUR))
    assert report.mask == without.mask and report.best_f1 == without.best_f1
    assert report.per_class["b"] == {
        **dict.fromkeys(("ap", "ap50", "ap75", "ar", "best_confidence", "best_f1", "precision", "recall")),
        "instances": 0,
    }


@pytest.mark.parametrize("predictions", [[], predicted([]), predicted([Instance(0, FAR, 0.9)])])
def test_nothing_found_is_0_and_not_undefined(predictions: list[ImagePredictions]) -> None:
    report = evaluate(TWO, predictions)
    assert report.mask["ap"] == report.box["ap"] == report.mask["ar"] == 0.0 and report.mask["ap_large"] is None
    assert (report.best_f1, report.best_confidence, report.per_class["a"]["recall"]) == (0.0, None, 0.0)
    assert report.details["images"]["0.png"]["missed"] == 2
    assert report.milliseconds is None


def test_an_image_without_an_entry_has_no_detections() -> None:
    truth = gold([TruthInstance(0, A)], [TruthInstance(0, A)])
    report = evaluate(truth, predicted([Instance(0, A, 0.9)]))
    assert report.mask["ar"] == pytest.approx(0.5) and report.best_f1 == pytest.approx(2 / 3)
    assert report.details["images"]["1.png"] == {"matched": 0, "missed": 1, "false_alarms": 0, "f1": 0.0}


def test_a_detection_on_a_crowd_is_neither_hit_nor_false_alarm() -> None:
    truth = gold([TruthInstance(0, A), TruthInstance(0, box(60, 60, 60), crowd=True)], [])
    found = [Instance(0, A, 0.5), Instance(0, box(60, 60), 0.9), Instance(0, box(90, 90), 0.8)]
    report = evaluate(truth, predicted(found, []))
    assert report.mask["ap"] == pytest.approx(1.0) and report.best_f1 == 1.0 and report.instances == 1
    assert report.details["images"]["0.png"] == {"matched": 1, "missed": 0, "false_alarms": 0, "f1": 1.0}
    assert report.details["images"]["1.png"]["f1"] is None
    assert sum(report.details["score_histogram"]["unmatched"]) == 0


def test_the_histogram_counts_scores_by_their_fate() -> None:
    histogram = evaluate(TWO, predicted(FOUR)).details["score_histogram"]
    assert len(histogram["edges"]) == 21
    places = {name: np.flatnonzero(histogram[name]).tolist() for name in ("matched", "unmatched")}
    assert places == {"matched": [14, 18], "unmatched": [10, 16]}  # 0.7 and 0.9; 0.5 and 0.8
    assert sum(histogram["matched"]) == sum(histogram["unmatched"]) == 2


def test_size_and_box_come_from_the_file_or_the_mask() -> None:
    stated = TruthInstance(0, A, area=5000.0, bbox_xywh=(10.0, 10.0, 20.0, 40.0))
    found = predicted([Instance(0, A, 0.9)])
    from_file = evaluate(gold([stated]), found)
    assert (from_file.mask["ap_small"], from_file.mask["ap_medium"]) == (None, pytest.approx(1.0))
    assert from_file.box["ap50"] == pytest.approx(1.0) and from_file.box["ap"] == pytest.approx(0.1)  # IoU 0.5
    from_mask = evaluate(gold([stated]), found, area_from="mask")
    assert (from_mask.mask["ap_small"], from_mask.mask["ap_medium"]) == (pytest.approx(1.0), None)


def test_classes_say_what_the_predictions_mean() -> None:
    truth = gold([TruthInstance(0, A), TruthInstance(1, B)], names=("Cat", "dog"))
    found = predicted([Instance(2, A, 0.9), Instance(0, B, 0.9)])
    report = evaluate(truth, found, classes=Classes(("dog", "bird", "cat")))
    assert report.mask["ap"] == pytest.approx(1.0) and tuple(report.per_class) == ("dog", "bird", "cat")
    assert report.gold_fingerprint == "print"


def test_max_detections_is_per_image_and_class() -> None:
    assert evaluate(TWO, predicted(FOUR), max_detections=1).mask["ar"] == pytest.approx(0.5)
    report = evaluate(TWO, predicted(FOUR), max_detections=2)
    assert report.mask["ar"] == report.mask["ar_1"] == pytest.approx(0.5)
    assert sum(report.details["score_histogram"]["unmatched"]) == 1


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([ImagePredictions("x.png", ())], "'x.png' of the predictions is not in"),
        ([*predicted([]), *predicted([])], "occurs twice"),
        (predicted([Instance(2, A, 0.5)]), "class index 2"),
        (predicted([Instance(-1, A, 0.5)]), "class index -1"),
        (predicted([Instance(0, A, math.nan)]), "score nan"),
        (predicted([Instance(0, A, 1.5)]), "score 1.5"),
        (
            predicted([Instance(0, masks.encode(np.ones((9, 5), dtype=bool)), 0.5)]),
            "5 x 9 pixels, but the image has 200 x 200",
        ),
        (predicted([Instance(0, Rle(SIZE, SIZE, A.counts[:-1]), 0.5)]), "invalid mask"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(predictions: list[ImagePredictions], message: str) -> None:
    with pytest.raises(DataError) as error:
        evaluate(TWO, predictions)
    assert message in str(error.value)


def test_an_empty_gold_set_is_refused() -> None:
    with pytest.raises(DataError, match="no image"):
        evaluate(gold(), [])


def test_a_gold_set_of_negatives_alone_is_undefined() -> None:
    report = evaluate(gold([], []), predicted([Instance(0, A, 0.9)], []))
    assert set(report.mask.values()) == {None} and (report.best_f1, report.instances) == (None, 0)


def test_the_report_is_ready_for_json() -> None:
    report = evaluate(TWO, predicted(FOUR))
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert "details" not in values and values["mask"]["ap_large"] is None and values["per_class"]["a"]["instances"] == 2
    assert -1 not in [*values["mask"].values(), *values["box"].values()]
    json.dumps(report.details, allow_nan=False)


def test_recovery_is_the_share_of_the_bases_ap() -> None:
    perfect = evaluate(TWO, predicted([Instance(0, A, 0.9), Instance(0, B, 0.9)]))
    half, none = evaluate(TWO, predicted(FOUR)), evaluate(TWO, [])
    assert recovery(perfect, half) == pytest.approx(half.mask["ap"]) and recovery(half, none) == 0.0
    assert recovery(none, perfect) is None


def test_a_models_own_boxes_count_where_it_gives_them() -> None:
    truth = gold([TruthInstance(0, A)])
    x, y, width, height = masks.bbox_xywh(A)
    entry = predicted([Instance(0, A, 0.9)])[0]
    assert evaluate(truth, [dataclasses.replace(entry, boxes_xywh=((x, y, width, height),))]).box[
        "ap"
    ] == pytest.approx(1)
    report = evaluate(truth, [dataclasses.replace(entry, boxes_xywh=((x, y, width / 4, height),))])
    assert report.box["ap50"] == 0
    assert report.mask["ap"] == pytest.approx(1)
    with pytest.raises(DataError, match="2 boxes for 1"):
        evaluate(truth, [dataclasses.replace(entry, boxes_xywh=((x, y, width, height),) * 2)])


def test_classes_one_after_the_other_score_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    # One class has objects and nothing found, one has detections alone, and one has neither.
    scenes = [
        [TruthInstance(int(rng.integers(3)), box(*rng.integers(0, 30, 2)), bool(rng.random() < 0.2)) for _ in range(6)]
        for _ in range(4)
    ]
    predictions = predicted(
        *[
            [
                Instance(int(rng.choice([0, 2, 3])), box(*rng.integers(0, 30, 2)), float(rng.choice([0.2, 0.5, 0.9])))
                for _ in range(9)
            ]
            for _ in scenes
        ]
    )
    truth = gold(*scenes, names=("both", "missed", "more", "found", "none"))
    whole = evaluate(truth, predictions, intervals=True, replicates=20, errors=True)
    monkeypatch.setattr("autodistill_rfdetr_seg.evaluation.coco_arrays._PAIRS_AT_ONCE", 1)
    parts = evaluate(truth, predictions, intervals=True, replicates=20, errors=True)
    assert parts.to_dict() == whole.to_dict() and parts.details == whole.details
    assert 0 < (whole.mask["ap50"] or 0) < 1 and whole.per_class["missed"]["ap"] == 0
    assert whole.per_class["found"]["ap"] is whole.per_class["none"]["ap"] is None


@pytest.mark.parametrize("limit", [1, 4, 10, 100])
def test_matches_are_the_same_from_the_evaluation_and_from_its_diagnostics(limit: int) -> None:
    found_in_all = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        images = [
            [
                TruthInstance(int(rng.integers(2)), box(*rng.integers(0, 30, 2)), bool(rng.random() < 0.3))
                for _ in range(5)
            ]
            for _ in range(2)
        ]
        truth = gold(*images)
        scores = [0.25, 0.5, 0.75]
        found = predicted(
            *[
                [
                    Instance(int(rng.integers(2)), box(*rng.integers(0, 30, 2)), float(rng.choice(scores)))
                    for _ in range(14)
                ]
                for _ in images
            ]
        )
        gold_set = CocoGold(truth)
        evaluation = gold_set.on_masks(gold_set.detections(found), limit)
        quick, slow = evaluation.arrays_and_matches()[1], evaluation.matches_at((0.5, 0.75)).at()
        order = np.argsort(slow.rows)
        for name in ("rows", "scores", "classes", "images", "matched"):
            assert np.array_equal(np.sort(quick.rows), np.sort(slow.rows))
            assert np.array_equal(getattr(quick, name)[np.argsort(quick.rows)], getattr(slow, name)[order]), name
        assert np.array_equal(quick.gold, slow.gold)
        found_in_all += int(slow.matched.sum())
    assert found_in_all > 10
