"""Matches predictions with a gold set, for callers that need no scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..core.types import GroundTruth, ImagePredictions
from .coco_arrays import CocoGold
from .detection_matches import DetectionMatches


def match_predictions(
    truth: GroundTruth,
    predictions: Sequence[ImagePredictions],
    *,
    area_from: Literal["file", "mask"] = "file",
    limit: int | None = None,
    thresholds: Sequence[float] = (0.5,),
) -> DetectionMatches:
    """The matches on masks at these IoU thresholds; images are numbered in the order of `coco.in_id_order`.

    At most `limit` detections count per image and class; None counts every one.
    """
    most = max((len(one.instances) for one in predictions), default=0) if limit is None else limit
    gold = CocoGold(truth, area_from)
    return gold.on_masks(gold.detections(predictions), max(1, most)).matches_at(thresholds)
