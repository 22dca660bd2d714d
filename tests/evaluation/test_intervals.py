"""Intervals of scores: pycocotools' AP of each resampled set, their coverage, and the sentence about two models."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from autodistill_rfdetr_seg import coco
from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.errors import GateError, UsageError
from autodistill_rfdetr_seg.core.types import (
    Classes,
    GroundTruth,
    ImagePredictions,
    Instance,
    Rle,
    TruthImage,
    TruthInstance,
)
from autodistill_rfdetr_seg.evaluation import check_gate_names, check_gates, evaluate
from autodistill_rfdetr_seg.evaluation.bootstrap import Interval, group_weights, interval
from autodistill_rfdetr_seg.evaluation.coco_arrays import IOU_THRESHOLDS
from autodistill_rfdetr_seg.evaluation.comparison_sentence import comparison_sentence
from autodistill_rfdetr_seg.evaluation.gold_groups import gold_groups
from autodistill_rfdetr_seg.evaluation.intervals import ModelComparison, compare
from autodistill_rfdetr_seg.evaluation.prediction_matches import match_predictions
from autodistill_rfdetr_seg.evaluation.resampled_ap import ResampledAp
from helpers.coco_results import theirs_evaluated

SIDE = 60
CLASSES = Classes(("a", "b"))


def square(x: int, y: int, side: int) -> Rle:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[y : y + side, x : x + side] = True
    return masks.encode(mask)


def scenes(images: int, seed: int, error: float = 1.5) -> tuple[GroundTruth, list[ImagePredictions]]:
    """Images with squares, some of them crowds, and detections that are shifted, missing or too many."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for at in range(images):
        objects, instances = [], []
        for _ in range(int(rng.integers(0, 5))):
            x, y, side = (int(value) for value in (*rng.integers(0, 36, 2), rng.integers(8, 20)))
            label = int(rng.integers(2))
            objects.append(TruthInstance(label, square(x, y, side), bool(rng.random() < 0.15)))
            moved = np.clip(np.array([x, y]) + rng.normal(0, error, 2), 0, 40).astype(int)
            if rng.random() < 0.8:
                # Equal scores in other images, but not in one: see `ResampledAp`.
                score = 0.3 + 0.1 * len(instances)
                instances.append(Instance(label, square(*moved, side), score))
        if rng.random() < 0.4:
            instances.append(Instance(int(rng.integers(2)), square(*rng.integers(0, 40, 2), 12), 0.35))
        name = f"{at:03d}.png"
        truth.append(TruthImage(name, Path(name), SIDE, SIDE, tuple(objects), at + 1))
        found.append(ImagePredictions(name, tuple(instances)))
    return GroundTruth(CLASSES, tuple(truth), "print"), found


def resampled_ap(truth: GroundTruth, found: list[ImagePredictions]) -> ResampledAp:
    return ResampledAp(match_predictions(truth, found, limit=100, thresholds=IOU_THRESHOLDS.tolist()))


@pytest.mark.parametrize("seed", range(4))
def test_ap_of_a_resampled_set_is_pycocotools_own(tmp_path: Path, seed: int) -> None:
    truth, found = scenes(8, seed)
    weights = np.vstack([np.ones(8), group_weights(range(8), 5, seed), np.eye(8)[:2]])
    values = resampled_ap(truth, found)(weights)
    dataset, rows = coco.to_dataset(truth, ids="dense"), coco.to_results(found, truth, "dense")
    for at, times in enumerate(weights.astype(int)):
        images, annotations, results = [], [], []
        for index, count in enumerate(times.tolist()):
            for _ in range(count):
                images.append({**dataset["images"][index], "id": len(images) + 1})
                for row in dataset["annotations"]:
                    if row["image_id"] == index + 1:
                        annotations.append({**row, "id": len(annotations) + 1, "image_id": len(images)})
                results += [{**row, "image_id": len(images)} for row in rows if row["image_id"] == index + 1]
        path = tmp_path / "set.json"
        path.write_text(json.dumps({**dataset, "images": images, "annotations": annotations}))
        if not results or not annotations:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            precision = theirs_evaluated(COCO(str(path)), results, "segm").eval["precision"][..., 0, 2]
        defined = precision[0, 0] > -1
        expected = precision[:, :, defined].mean(axis=(1, 2)) if defined.any() else np.full(10, np.nan)
        assert values[at] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_report_has_intervals_around_its_scores() -> None:
    truth, found = scenes(30, 1)
    report = evaluate(truth, found, intervals=True, replicates=300)
    for kind, scores in (("mask", report.mask), ("box", report.box)):
        for name, bounds in report.intervals[kind].items():
            assert bounds is not None
            assert bounds["low"] < (scores[name] or 0) < bounds["high"]
            assert 0.05 < bounds["high"] - bounds["low"] < 0.6
    again = evaluate(truth, found, intervals=True, replicates=300)
    assert again.intervals == report.intervals
    assert evaluate(truth, found).intervals == {}
    json.dumps(report.to_dict(), allow_nan=False)


def test_images_of_one_group_count_once() -> None:
    truth, found = scenes(40, 2)
    names = [image.image_id for image in truth.images]
    alone = evaluate(truth, found, intervals=True, replicates=400).intervals["mask"]["ap"]
    of_twenty = evaluate(
        truth, found, intervals=True, replicates=400, groups={name: str(at // 2) for at, name in enumerate(names)}
    ).intervals["mask"]["ap"]
    of_eight = evaluate(truth, found, intervals=True, groups={name: str(at // 5) for at, name in enumerate(names)})
    assert alone and of_twenty
    assert of_twenty["low"] < alone["high"] and of_twenty != alone
    assert of_eight.intervals["mask"]["ap"] is None
    # Twice the same images are as good as once: the width stays, where independent images would make it smaller.
    doubled = GroundTruth(
        CLASSES,
        truth.images
        + tuple(
            dataclasses.replace(one, image_id=f"b{one.image_id}", file_id=1000 + at)
            for at, one in enumerate(truth.images)
        ),
        "p",
    )
    again = [*found, *(ImagePredictions(f"b{one.image_id}", one.instances) for one in found)]
    groups = {f"{letter}{name}": name for name in names for letter in ("", "b")}
    twice = evaluate(doubled, again, intervals=True, replicates=400, groups=groups).intervals["mask"]["ap"]
    apart = evaluate(doubled, again, intervals=True, replicates=400).intervals["mask"]["ap"]
    assert twice and apart
    width = alone["high"] - alone["low"]
    assert twice["high"] - twice["low"] == pytest.approx(width, rel=0.1)
    assert apart["high"] - apart["low"] == pytest.approx(width / 2**0.5, rel=0.15)


@pytest.mark.parametrize("images", [1, 9])
def test_a_few_images_have_no_interval(images: int) -> None:
    truth, found = scenes(images, 3)
    assert set(evaluate(truth, found, intervals=True).intervals["mask"].values()) == {None}


def test_nothing_but_crowds_and_nothing_at_all_have_no_interval() -> None:
    truth, found = scenes(12, 4)
    for keep in (False, True):
        images = tuple(
            TruthImage(
                one.image_id,
                one.path,
                SIDE,
                SIDE,
                tuple(TruthInstance(o.class_index, o.rle, True) for o in one.instances if keep),
                one.file_id,
            )
            for one in truth.images
        )
        report = evaluate(GroundTruth(CLASSES, images, "p"), found, intervals=True, replicates=50)
        assert report.mask["ap"] is None and set(report.intervals["mask"].values()) == {None}


def test_equal_predictions_have_an_interval_of_no_width_for_their_difference() -> None:
    truth, found = scenes(20, 5)
    one = evaluate(truth, found, intervals=True, replicates=100).resampled
    assert one is not None
    compared = compare(one, one, 20, 40)
    assert compared.difference == 0
    assert compared.difference_interval == Interval(0, 0, 0)
    assert compared.recovery_interval == Interval(1, 1, 0)
    assert "cannot tell" in comparison_sentence(compared) and "not even 100 times" in comparison_sentence(compared)


def test_an_interval_is_students_around_the_estimate_without_its_bias() -> None:
    values = np.array([0.5, 0.6, 0.7, 0.8, np.nan] * 1)
    assert interval(values, 0.6, 20) is None  # too often undefined
    values = np.tile([0.5, 0.6, 0.7, 0.8], 50)
    found = interval(values, 0.6, 16)
    error = values.std(ddof=1) * (16 / 15) ** 0.5
    # The bias is 0.65 - 0.6; 2.1314 is Student's quantile for 15 degrees of freedom.
    reach = 2.1314 * error * (1 + 2.5 / 16)
    assert found is not None and found.error == pytest.approx(error)
    assert (found.low, found.high) == pytest.approx((0.55 - reach, 0.55 + reach), abs=1e-4)
    assert interval(values, 0.6, 9) is None and interval(values, None, 16) is None
    limited = interval(values, 0.6, 16, (0.5, 0.7))
    assert limited is not None and (limited.low, limited.high) == (0.5, 0.7)


def test_the_sentence_says_how_many_more_images_it_takes() -> None:
    def said(difference: float, error: float, images: int = 19, groups: int = 19) -> str:
        bounds = Interval(difference - 2 * error, difference + 2 * error, error) if groups >= 10 else None
        return comparison_sentence(ModelComparison(difference, bounds, None, images, groups, 53))

    assert said(0.2, 0.05) == (
        "The target is better than the base: mask AP +0.200, 95% interval +0.100 to +0.300, from 53 instances in 19 "
        "images."
    )
    assert said(-0.2, 0.05).startswith("The target is worse than the base")
    # (2.8 x 0.1 / 0.1)^2 = 7.84 times as many: 6.84 x 19 = 130.
    assert said(0.1, 0.1) == (
        "53 instances in 19 images cannot tell base and target apart (mask AP +0.100, 95% interval -0.100 to +0.300); "
        "about 130 more images would, if the difference is what it seems."
    )
    assert "not even 100 times" in said(0.001, 0.1)
    assert said(0.1, 0.1, groups=3) == (
        "53 instances in 19 images, which are 3 groups of look-alikes, are too few for an interval: it takes at least "
        "10 different images."
    )


def test_gates_on_the_ends_of_intervals() -> None:
    truth, found = scenes(30, 7)
    report = evaluate(truth, found, intervals=True, replicates=200)
    low = (report.intervals["mask"]["ap50"] or {})["low"]
    check_gates({"target.mask.ap50.low": low, "mask.ap50.low": low - 0.01}, report.to_dict())
    with pytest.raises(GateError, match=r"mask\.ap50\.low >= "):
        check_gates({"target.mask.ap50.low": low + 0.001}, report.to_dict())
    metrics = {
        "target": report.to_dict(),
        "recovery": 0.9,
        "intervals": {"recovery": {"low": 0.7, "high": 1.1}, "difference": None},
    }
    check_gates({"recovery": 0.9, "recovery.low": 0.7, "target.mask.ap.high": 0.1}, metrics)
    with pytest.raises(GateError, match=r"recovery\.low >= 0\.8 was not met: it is 0\.700"):
        check_gates({"recovery.low": 0.8}, metrics)
    with pytest.raises(GateError, match="undefined"):
        check_gates({"difference.low": 0.0}, metrics)
    with pytest.raises(UsageError, match="names no metric"):
        check_gates({"target.mask.ap50.lowest": 0.1}, metrics)
    names = {"target.mask.ap50.low": 0.5, "recovery.low": 0.5, "base.box.ap.high": 0.1, "recovery": 0.1}
    check_gate_names(names, CLASSES, [], None)
    with pytest.raises(UsageError):
        check_gate_names({"target.mask.ar.low": 0.5}, CLASSES, [], None)


def test_groups_are_look_alikes_or_neighbors_of_one_view() -> None:
    rng = np.random.default_rng(0)
    apart = {f"{at:02d}.jpg": int(rng.integers(2**63)) for at in range(10)}
    looks = {**apart, "copy.jpg": apart["03.jpg"] ^ 1, "flat.jpg": None}
    found = gold_groups(looks, 4)
    assert found.of["copy.jpg"] == found.of["03.jpg"] and len(set(found.of.values())) == 11 and not found.one_view
    view = {f"f{at:04d}.png": 12345 ^ (1 << at % 3) for at in range(27)}
    runs = gold_groups(view, 4)
    assert (
        len(set(runs.of.values())) == 7 and runs.one_view
    )  # the third root of 27 is 3, and 4 the power of two next to it
    assert runs.of["f0000.png"] == runs.of["f0003.png"] != runs.of["f0004.png"]
    assert gold_groups({}, 4).of == {}
