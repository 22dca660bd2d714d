"""Boundary AP: how well the outlines of masks fit, by vernier."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..core import masks
from ..core.types import ImagePredictions


def boundary_ap(
    dataset: Mapping[str, Any], results: Sequence[Mapping[str, Any]], predictions: Sequence[ImagePredictions]
) -> dict[str, float | None]:
    """{"ap", "ap50"} of the outlines of masks (Cheng et al., "Boundary IoU", 2021); None if undefined.

    The IoU is that of the pixels within 2% of the image's diagonal from the outlines, or of the masks where that is
    lower. `dataset` and `results` are those of `coco.to_dataset` and `coco.to_results`, with ids from 1. At most 100
    detections count per image and class.
    """
    from vernier.instance import Boundary, Evaluator

    if not dataset["annotations"]:
        return {"ap": None, "ap50": None}
    boxes = masks.boxes_xywh([one.rle for prediction in predictions for one in prediction.instances])
    rows = [{**row, "bbox": box} for row, box in zip(results, boxes, strict=True)]
    found = Evaluator(iou=Boundary()).evaluate(json.dumps(dataset).encode(), json.dumps(rows).encode())
    ap, ap50 = (float(value) for value in found.stats[:2])
    return {"ap": None if ap < 0 else ap, "ap50": None if ap50 < 0 else ap50}
