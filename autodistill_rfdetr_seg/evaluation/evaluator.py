"""One evaluator for labels and predictions: a gold set and predictions → `Report`.

Every number is computed from vernier's arrays, and equal to pycocotools'. vernier's own summary assumes 100 detections.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import coco
from ..coco.mask_measures import measure
from ..coco.run_lengths import check
from ..core.bulk_objects import many_objects
from ..core.config import EvaluationConfig
from ..core.errors import DataError
from ..core.types import Classes, GroundTruth, ImagePredictions, TruthImage
from ..readers import read_gold
from . import gold_coverage as coverage
from .boundary_ap import boundary_ap
from .coco_arrays import IOU_THRESHOLDS, RECALL_THRESHOLDS, CocoArrays, CocoGold, class_summary, curves
from .detection_matches import Matches
from .error_budget import ap50_lost, error_budget, surest
from .intervals import ResampledScores, ScoreMatches, resample
from .metric import summary
from .operating_points import best_operating_point, image_counts, score_histogram

_DEFAULTS = EvaluationConfig()


@dataclass(frozen=True)
class Report:
    """The scores of predictions on a gold set. Metrics are 0..1, and None if undefined, never -1.

    `mask` and `box` have the twelve metrics of COCO: `ap` (IoU 0.50:0.95), `ap50`, `ap75`, `ap_small|medium|large`,
    `ar_1`, `ar_10`, `ar` (at `max_detections`), `ar_small|medium|large`. `per_class` has for each class name, on masks,
    {ap, ap50, ap75, ar, instances, best_confidence, best_f1, precision, recall}; the last four are at the confidence
    threshold with the best F1 at IoU 0.5. `best_confidence` and `best_f1` are over all classes together, without
    classes that have no gold instance, as in AP. `instances` does not count crowds. `milliseconds` is the median over
    the predictions. `coverage` counts what of the gold set and the predictions is not scored
    (`gold_coverage.Coverage`); `notes` says it in sentences. `intervals` has for `mask` and `box` the 95% interval of
    `ap`, `ap50` and `ap75`, {"low", "high"} or None if undefined; it is empty if none were computed. `resampled` are
    the scores that they come from. `errors` is the error budget (`error_budget.error_budget`) with the AP of outlines
    (`boundary`); empty if it was not computed.

    `details` is for the charts of the report:
      pr: {class name: {"iou50", "iou75": 101 precisions, or None}}, the mean over classes under "all"
      recall: the 101 recalls of these
      score_histogram: {"edges": 21, "matched": 20, "unmatched": 20}
      images: {image id: {"matched", "missed", "false_alarms", "f1"}} at `best_confidence`
      errors: with `errors`, some errors of each class and kind (`error_kinds.DetectionError`), the surest first
    """

    mask: Mapping[str, float | None]
    box: Mapping[str, float | None]
    per_class: Mapping[str, Mapping[str, float | int | None]]
    best_confidence: float | None
    best_f1: float | None
    images: int
    instances: int
    max_detections: int
    milliseconds: float | None
    gold_fingerprint: str
    coverage: Mapping[str, Any]
    notes: tuple[str, ...]
    details: Mapping[str, Any] = field(repr=False)
    intervals: Mapping[str, Mapping[str, Mapping[str, float] | None]] = field(default_factory=dict)
    errors: Mapping[str, Any] = field(default_factory=dict, repr=False)
    resampled: ResampledScores | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but `details` and `resampled`, ready for JSON."""
        left_out = {"details", "resampled"}
        return {
            item.name: copy.deepcopy(getattr(self, item.name)) for item in fields(self) if item.name not in left_out
        }


@many_objects()
def evaluate(
    gold: GroundTruth | str | Path,
    predictions: Sequence[ImagePredictions],
    *,
    classes: Classes | None = None,
    max_detections: int = _DEFAULTS.max_detections,
    area_from: Literal["file", "mask"] = _DEFAULTS.area_from,
    crowds: Literal["ignore", "objects"] = _DEFAULTS.crowds,
    class_match: coco.ClassMatch | None = None,
    intervals: bool = False,
    groups: Mapping[str, str] | None = None,
    replicates: int | None = None,
    errors: bool = False,
    progress: bool = False,
    checked: bool = False,
) -> Report:
    """Scores predictions on a gold set (or the COCO file or folder that contains it).

    `classes` are the classes of the predictions, if they differ from those of the gold set; the gold set is aligned to
    them by name. For a gold set that is aligned already, `class_match` says what the alignment left out. An image
    without predictions has no detections. `max_detections` is per image and class. With `crowds` "objects" a crowd
    region (`iscrowd` 1) is an object like any other; otherwise it counts neither as found nor as missed.

    With `intervals` the report has 95% intervals, by bootstrap over images: see `intervals`. Images with the same value
    in `groups` (image id → group) are drawn together; the others are independent. `replicates` is the number of
    resampled gold sets. With `errors` it has the error budget. Predictions that `coco.read_results` has read for this
    gold set are `checked` already.

    Raises:
        MissingInputError: the file does not exist.
        DataError: the gold set is invalid or empty; a prediction has an unknown image or class, a mask with another
            size than its image, or a score outside of 0..1; or an image occurs twice.
    """
    truth = gold if isinstance(gold, GroundTruth) else read_gold(gold)
    fingerprint = truth.fingerprint
    if classes is not None:
        class_match = coco.match_classes(truth, classes)
        truth = coco.align(truth, classes)
    if crowds == "objects":
        truth = crowds_as_objects(truth)
    # COCOeval processes images in the order of their ids, which matters for equal scores.
    truth = replace(truth, images=tuple(coco.in_id_order(truth.images)))
    if not truth.images:
        raise DataError("The gold set has no images.")
    if not checked:
        _check(predictions, truth)
    gold_set = CocoGold(truth, area_from)
    detections = gold_set.detections(predictions)
    on_masks = gold_set.on_masks(detections, max_detections)
    on_boxes = gold_set.on_boxes(detections, max_detections)
    with ThreadPoolExecutor(1) as pool:
        box_arrays = pool.submit(on_boxes.arrays)
        mask, matches = on_masks.arrays_and_matches()
        box = box_arrays.result()
    scored = matches.with_classes(matches.gold.sum(axis=1) > 0)
    resampled = None
    if intervals:
        # An image that is in no group is one of its own; a number is no name of a group.
        of_image = [(groups or {}).get(image.image_id, at) for at, image in enumerate(truth.images)]
        thresholds = IOU_THRESHOLDS.tolist()
        both = ScoreMatches(on_masks.matches_at(thresholds), on_boxes.matches_at(thresholds))
        resampled = resample(both, of_image, replicates, progress)
    best = best_operating_point(scored.scores, scored.matched, int(scored.gold.sum()))
    details = _details(truth, mask, scored, best.confidence)
    budget: dict[str, Any] = {}
    if errors:
        lost = ap50_lost(truth, predictions, area_from, max_detections) if scored.gold.any() else None
        budget, kinds = error_budget(truth, predictions, lost, scored, best.confidence, max_detections)
        budget["boundary"] = boundary_ap(gold_set, detections)
        details["errors"] = [one.to_dict() for one in surest(kinds)]
    found = coverage.measure(truth, predictions, class_match, max_detections, best.confidence)
    times = [entry.milliseconds for entry in predictions if entry.milliseconds is not None]
    return Report(
        mask=summary(mask),
        box=summary(box),
        per_class={name: _class_row(mask, matches, index) for index, name in enumerate(truth.classes.names)},
        best_confidence=best.confidence,
        best_f1=best.f1,
        images=len(truth.images),
        instances=int(scored.gold.sum()),
        max_detections=max_detections,
        milliseconds=statistics.median(times) if times else None,
        gold_fingerprint=fingerprint,
        coverage=found.to_dict(),
        notes=coverage.sentences(found),
        details=details,
        intervals={} if resampled is None else resampled.intervals(),
        errors=budget,
        resampled=resampled,
    )


def recovery(base: Report, target: Report) -> float | None:
    """The target's mask AP divided by the base's; None if either is undefined or the base's is 0."""
    reached, possible = target.mask["ap"], base.mask["ap"]
    return reached / possible if reached is not None and possible else None


def crowds_as_objects(truth: GroundTruth) -> GroundTruth:
    """The gold set with its crowd regions as objects like any other."""
    images = (
        replace(image, instances=tuple(replace(one, crowd=False) for one in image.instances)) for image in truth.images
    )
    return replace(truth, images=tuple(images))


def _check(predictions: Sequence[ImagePredictions], truth: GroundTruth) -> None:
    """Refuses what COCOeval would accept silently or crash on."""
    images = {image.image_id: image for image in truth.images}
    seen: set[str] = set()
    for prediction in predictions:
        image = images.get(prediction.image_id)
        if image is None:
            raise DataError(f"Image {prediction.image_id!r} of the predictions is not in the gold set.")
        if prediction.image_id in seen:
            raise DataError(f"Image {prediction.image_id!r} occurs twice in the predictions.")
        seen.add(prediction.image_id)
        _check_instances(prediction, image, truth.classes)
    _check_masks(predictions)


def _check_instances(prediction: ImagePredictions, image: TruthImage, classes: Classes) -> None:
    where = f"Image {prediction.image_id!r}: a prediction"
    boxes = prediction.boxes_xywh
    if boxes is not None and len(boxes) != len(prediction.instances):
        raise DataError(f"Image {prediction.image_id!r}: {len(boxes)} boxes for {len(prediction.instances)} instances.")
    for instance in prediction.instances:
        rle = instance.rle
        if not 0 <= instance.class_index < len(classes.names):
            raise DataError(f"{where} has class index {instance.class_index}; the classes are {list(classes.names)}.")
        if not 0 <= instance.score <= 1:
            raise DataError(f"{where} has the score {instance.score}, which is not in 0..1.")
        if rle.height != image.height or rle.width != image.width:
            raise DataError(
                f"{where} has a mask of {rle.width} x {rle.height} pixels, but the image has "
                f"{image.width} x {image.height}.",
                "Predict on the image as it is stored, without rotating or resizing it.",
            )


def _check_masks(predictions: Sequence[ImagePredictions]) -> None:
    found = [(prediction.image_id, one.rle) for prediction in predictions for one in prediction.instances]
    plain = measure([rle.counts for _, rle in found], [(rle.height, rle.width) for _, rle in found]).plain
    for at in np.flatnonzero(~plain).tolist():
        image_id, rle = found[at]
        try:
            check(rle)
        except ValueError as error:
            raise DataError(f"Image {image_id!r}: a prediction has an invalid mask: {error}.") from error


def _class_row(arrays: CocoArrays, matches: Matches, index: int) -> dict[str, float | int | None]:
    of_class = matches.classes == index
    instances = int(matches.gold[index].sum())
    best = best_operating_point(matches.scores[of_class], matches.matched[of_class], instances)
    return {
        **class_summary(arrays, index),
        "instances": instances,
        "best_confidence": best.confidence,
        "best_f1": best.f1,
        "precision": best.precision,
        "recall": best.recall,
    }


def _details(truth: GroundTruth, arrays: CocoArrays, scored: Matches, confidence: float | None) -> dict[str, Any]:
    lines = {name: curves(arrays, index) for index, name in enumerate(truth.classes.names)}
    counts = image_counts(scored, 0.0 if confidence is None else confidence)
    images = {}
    for at, image in enumerate(truth.images):
        row: dict[str, float | int | None] = {name: int(values[at]) for name, values in counts.items()}
        matched, wrong = int(counts["matched"][at]), int(counts["missed"][at] + counts["false_alarms"][at])
        images[image.image_id] = {**row, "f1": 2 * matched / (2 * matched + wrong) if matched + wrong else None}
    return {
        "pr": {**lines, "all": curves(arrays, None)},
        "recall": RECALL_THRESHOLDS.tolist(),
        "score_histogram": score_histogram(scored),
        "images": images,
    }
