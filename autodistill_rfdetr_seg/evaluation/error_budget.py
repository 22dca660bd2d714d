"""The error budget of a model: AP lost by kind of error, counts by class and size, confusion matrix, calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .. import coco
from ..core.types import GroundTruth, ImagePredictions
from .detection_matches import Matches
from .error_kinds import KINDS, SIZES, DetectionError, find_errors

BACKGROUND = "background"
_CALIBRATION_BINS = 10
_KEPT = 50
# hotcoco's names of the kinds.
_TIDE = {
    "class": "Cls",
    "localization": "Loc",
    "both": "Both",
    "duplicate": "Dupe",
    "background": "Bkg",
    "missed": "Miss",
}


def tide_errors(
    truth: GroundTruth, predictions: Sequence[ImagePredictions], area_from: Literal["file", "mask"], limit: int
) -> dict[str, Any]:
    """hotcoco's TIDE analysis of masks at IoU 0.5 (Bolya et al., 2020), of at most `limit` detections per image and
    class: `delta_ap` and `counts` by kind. The gold set must have an instance."""
    from hotcoco import COCO, COCOeval

    gold = COCO(coco.to_dataset(truth, area_from, "dense"))
    evaluator = COCOeval(gold, gold.load_res(coco.to_results(predictions, truth, "dense")), "segm")
    params = evaluator.params
    params.max_dets, params.area_rng, params.area_rng_lbl = [limit], [[0.0, 1e10]], ["all"]
    evaluator.evaluate()
    return dict(evaluator.tide_errors())


def ap50_lost(
    truth: GroundTruth, predictions: Sequence[ImagePredictions], area_from: Literal["file", "mask"], limit: int
) -> dict[str, float]:
    """The mask AP50 that would be gained without errors of each kind, by `tide_errors`."""
    found = tide_errors(truth, predictions, area_from, limit)["delta_ap"]
    return {kind: float(found[_TIDE[kind]]) for kind in KINDS}


def error_budget(
    truth: GroundTruth,
    predictions: Sequence[ImagePredictions],
    lost: Mapping[str, float] | None,
    matches: Matches,
    confidence: float | None,
    max_detections: int,
) -> tuple[dict[str, Any], list[DetectionError]]:
    """The budget, ready for JSON, and every error.

    `lost` is `ap50_lost`, None if there is nothing to score. Counts are of detections with at least `confidence`, the
    threshold with the best F1; without one there are none.

    Returns:
        "ap50_lost": {kind: the mask AP50 that would be gained without errors of this kind}, each kind alone;
        "counts": {kind: n}, "by_class": {class: {kind: n}}, "by_size": {size: {kind: n}};
        "confusion": {"names": classes and "background", "matrix": rows of the gold class, columns of the detection's};
        "calibration": see `calibration`; "confidence".
    """
    errors: list[DetectionError] = []
    pairs: Counter[tuple[int | None, int | None]] = Counter()
    if confidence is not None:
        for found in find_errors(truth, predictions, confidence, max_detections):
            errors += found.errors
            pairs.update(found.pairs)
    names = truth.classes.names
    last = len(names)
    matrix = np.zeros((last + 1, last + 1), dtype=int)
    for (gold, detected), count in pairs.items():
        matrix[last if gold is None else gold, last if detected is None else detected] += count
    return {
        "confidence": confidence,
        "ap50_lost": {kind: None if lost is None else lost[kind] for kind in KINDS},
        "counts": _counts(errors),
        "by_class": {name: _counts([one for one in errors if one.class_index == at]) for at, name in enumerate(names)},
        "by_size": {size: _counts([one for one in errors if one.size == size]) for size in SIZES},
        "confusion": {"names": [*names, BACKGROUND], "matrix": matrix.tolist()},
        "calibration": calibration(matches),
    }, errors


def surest(errors: Sequence[DetectionError]) -> list[DetectionError]:
    """Some errors of each class and kind for pictures: wrong detections with the highest score, missed objects in the
    order of the images."""
    kept: Counter[tuple[int, str]] = Counter()
    found = []
    for one in sorted(errors, key=lambda one: -(one.score or 0.0)):
        kept[one.class_index, one.kind] += 1
        if kept[one.class_index, one.kind] <= _KEPT:
            found.append(one)
    return found


def _counts(errors: Sequence[DetectionError]) -> dict[str, int]:
    counts = Counter(one.kind for one in errors)
    return {kind: counts[kind] for kind in KINDS}


def calibration(matches: Matches) -> dict[str, Any]:
    """How often detections of a score are right, at IoU 0.5.

    Returns:
        "bins": for each of 10 equal ranges of scores that has detections, {"low", "high", "score": their mean score,
        "right": the fraction that matches an object, "count"}; "ece": the expected calibration error, the mean of
        |score - right| over detections (Naeini et al., 2015), None without detections, or if all scores are equal:
        there is no curve then.
    """
    edges = np.linspace(0, 1, _CALIBRATION_BINS + 1)
    place = np.clip(np.digitize(matches.scores, edges) - 1, 0, _CALIBRATION_BINS - 1)
    bins = []
    for index in np.unique(place).tolist():
        inside = place == index
        bins.append(
            {
                "low": float(edges[index]),
                "high": float(edges[index + 1]),
                "score": float(matches.scores[inside].mean()),
                "right": float(matches.matched[inside].mean()),
                "count": int(inside.sum()),
            }
        )
    if len(np.unique(matches.scores)) < 2:
        return {"bins": bins, "ece": None}
    total = sum(one["count"] for one in bins)
    return {"bins": bins, "ece": sum(one["count"] * abs(one["score"] - one["right"]) for one in bins) / total}
