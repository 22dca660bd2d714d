"""pycocotools' own figures."""

from __future__ import annotations

from typing import Any

from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = (
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar_1",
    "ar_10",
    "ar",
    "ar_small",
    "ar_medium",
    "ar_large",
)


def theirs_evaluated(theirs: COCO, results: list[dict[str, Any]], kind: str, limit: int = 100) -> COCOeval:
    if kind == "bbox":
        boxes = [coco_mask.toBbox(row["segmentation"]).tolist() for row in results]
        rows = [
            {**{key: value for key, value in row.items() if key != "segmentation"}, "bbox": box}
            for row, box in zip(results, boxes, strict=True)
        ]
    else:
        rows = [dict(row) for row in results]
    evaluator = COCOeval(theirs, theirs.loadRes(rows), kind)
    evaluator.params.maxDets = [1, 10, limit]
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator


def same(found: float | None, expected: float) -> bool:
    return found is None if expected == -1 else found is not None and abs(found - expected) < 1e-6
