"""Scores a model, an export or a file of predictions on gold sets, without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from .. import coco
from ..core.bulk_objects import many_objects
from ..core.config import MAX_MEGAPIXELS, EvaluationConfig
from ..core.types import Classes, GroundTruth, ImagePredictions
from ..labels.base_source import BaseSource
from ..readers import read_gold as read_one
from . import Report, evaluate
from .gold_predictions import base_predictor, predict_gold, target_predictor
from .gold_sets import in_classes, named_sets, predictions_for

_DEFAULTS = EvaluationConfig()


def evaluate_model(
    model: Any,
    gold: GroundTruth | str | Path,
    *,
    score_floor: float = _DEFAULTS.score_floor,
    max_detections: int = _DEFAULTS.max_detections,
    area_from: Literal["file", "mask"] = _DEFAULTS.area_from,
    crowds: Literal["ignore", "objects"] = _DEFAULTS.crowds,
    tiles: int | None = None,
    overlap: float = _DEFAULTS.overlap,
    max_megapixels: float = MAX_MEGAPIXELS,
    replicates: int | None = _DEFAULTS.replicates,
    progress: bool = True,
) -> Report:
    """Scores a model, a target (`RFDETRSeg`) or any base, on a gold set (or the COCO file or folder that contains it).

    Classes are matched by name; the `notes` of the report say what this leaves out of the gold set. Instances with a
    score below `score_floor` are ignored. With `tiles` a target predicts large images in tiles of that many pixels,
    which overlap by the fraction `overlap`. An image with more than `max_megapixels` million pixels is refused. The 95%
    intervals come from `replicates` resampled gold sets (None: as many as are usual; 0: no intervals). This does not
    check whether the model was trained on the images; `evaluate_stage` does, for a run.

    Raises:
        MissingInputError, DataError: the gold set is missing, invalid, or has no class in common with the model.
    """
    truth = gold if isinstance(gold, GroundTruth) else read_one(gold, images="checked", max_megapixels=max_megapixels)
    rules = {"max_detections": max_detections, "area_from": area_from, "crowds": crowds, "replicates": replicates}
    return _on_sets(model, {"gold": truth}, score_floor, (tiles, overlap), rules, max_megapixels, progress)[""]


def evaluate_model_on_sets(
    model: Any,
    gold: Sequence[str | Path],
    *,
    score_floor: float = _DEFAULTS.score_floor,
    max_detections: int = _DEFAULTS.max_detections,
    area_from: Literal["file", "mask"] = _DEFAULTS.area_from,
    crowds: Literal["ignore", "objects"] = _DEFAULTS.crowds,
    tiles: int | None = None,
    overlap: float = _DEFAULTS.overlap,
    max_megapixels: float = MAX_MEGAPIXELS,
    replicates: int | None = _DEFAULTS.replicates,
    progress: bool = True,
) -> dict[str, Report]:
    """`evaluate_model` on one or more gold sets: the report on all images under "", and one per set if there are more.

    Raises:
        MissingInputError, DataError: see `evaluate_model`.
    """
    rules = {"max_detections": max_detections, "area_from": area_from, "crowds": crowds, "replicates": replicates}
    return _on_sets(
        model, named_sets(gold, max_megapixels), score_floor, (tiles, overlap), rules, max_megapixels, progress
    )


def _on_sets(
    model: Any,
    sets: Mapping[str, GroundTruth],
    score_floor: float,
    tiling: tuple[int | None, float],
    rules: Mapping[str, Any],
    max_megapixels: float,
    progress: bool,
) -> dict[str, Report]:
    rules = {**rules, "intervals": rules["replicates"] != 0, "errors": True, "progress": progress}
    names = getattr(model, "class_names", None)
    if names is not None:
        classes, predict = Classes(tuple(names)), target_predictor(model, score_floor, len(names), *tiling)
    else:
        source = BaseSource.from_model(model)
        classes, predict = source.classes, base_predictor(source)
    gold = in_classes(sets, classes)
    found = predict_gold(predict, gold.truth, max_megapixels=max_megapixels, progress=progress)
    predictions = [_above_floor(one, score_floor) for one in found]
    reports = {"": evaluate(gold.truth, predictions, class_match=gold.match, **rules)}
    if len(gold.parts) > 1:
        for name, part in gold.parts.items():
            of_part = predictions_for(part, predictions)
            reports[name] = evaluate(part, of_part, class_match=gold.matches[name], **rules)
    return reports


@many_objects()
def evaluate_predictions(
    predictions: str | Path,
    gold: GroundTruth | str | Path,
    *,
    score_floor: float = 0.0,
    max_detections: int = _DEFAULTS.max_detections,
    area_from: Literal["file", "mask"] = _DEFAULTS.area_from,
    crowds: Literal["ignore", "objects"] = _DEFAULTS.crowds,
    replicates: int | None = 0,
    errors: bool = False,
    progress: bool = False,
) -> Report:
    """Scores a file of predictions (COCO results, or the output of `predict --output`) on its gold set.

    Predictions with a score below `score_floor` are ignored. `coco.read_results` describes the formats. `replicates` is
    the number of resampled gold sets for the 95% intervals; None is as many as are usual, and 0 computes none. With
    `errors` the report has the error budget.

    Raises:
        MissingInputError, DataError: a file is missing or invalid, or the two do not belong together.
    """
    truth = gold if isinstance(gold, GroundTruth) else read_one(gold, images="ignored")
    found = [_above_floor(one, score_floor) for one in coco.read_results(predictions, truth)]
    return evaluate(
        truth,
        found,
        max_detections=max_detections,
        area_from=area_from,
        crowds=crowds,
        intervals=replicates != 0,
        replicates=replicates,
        errors=errors,
        progress=progress,
        checked=True,
    )


def _above_floor(prediction: ImagePredictions, floor: float) -> ImagePredictions:
    kept = [at for at, instance in enumerate(prediction.instances) if instance.score >= floor]
    boxes = prediction.boxes_xywh
    return ImagePredictions(
        prediction.image_id,
        tuple(prediction.instances[at] for at in kept),
        prediction.milliseconds,
        None if boxes is None else tuple(boxes[at] for at in kept),
    )
