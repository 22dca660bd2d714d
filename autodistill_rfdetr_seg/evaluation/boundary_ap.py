"""Boundary AP: how well the outlines of masks fit, by vernier."""

from __future__ import annotations

from .coco_arrays import CocoGold
from .detections import Detections


def boundary_ap(gold: CocoGold, detections: Detections) -> dict[str, float | None]:
    """{"ap", "ap50"} of the outlines of masks (Cheng et al., "Boundary IoU", 2021); None if undefined.

    The IoU is that of the pixels within 2% of the image's diagonal from the outlines, or of the masks where that is
    lower. At most 100 detections count per image and class.
    """
    from vernier.instance import Boundary, Evaluator

    if gold.is_empty:
        return {"ap": None, "ap50": None}
    found = Evaluator(iou=Boundary()).evaluate(gold.dataset(), detections.by_image())
    ap, ap50 = (float(value) for value in found.stats[:2])
    return {"ap": None if ap < 0 else ap, "ap50": None if ap50 < 0 else ap50}
