"""A small report's content, with numbers that are all different so that a swapped one is seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from autodistill_rfdetr_seg.core import masks
from autodistill_rfdetr_seg.core.types import Classes, Instance, TruthInstance
from autodistill_rfdetr_seg.report import PageData, Sample

EVIL_CLASS = "<script>alert(1)</script>"
EVIL_IMAGE = '"><img src=x onerror=alert(1)>'


def square(side: int, x: int, y: int, size: int) -> masks.Rle:
    mask = np.zeros((side, side), bool)
    mask[y : y + size, x : x + size] = True
    return masks.encode(mask)


def evaluation(names: list[str], ap: float, milliseconds: float | None, confidence: float = 0.42) -> dict[str, Any]:
    keys = ("ap", "ap50", "ap75", "ap_medium", "ap_large", "ar_1", "ar_10", "ar", "ar_medium", "ar_large")
    part = {key: round(ap + 0.01 * at, 3) for at, key in enumerate(keys)} | {"ap_small": None, "ar_small": None}
    row = {
        "ap50": 0.9,
        "ap75": 0.8,
        "ar": 0.7,
        "best_confidence": 0.3,
        "best_f1": 0.6,
        "precision": 0.5,
        "recall": 0.75,
    }
    return {
        "mask": part,
        "box": {key: None if value is None else round(value + 0.2, 3) for key, value in part.items()},
        "per_class": {name: {"ap": round(ap - 0.001 * at, 3), "instances": 9, **row} for at, name in enumerate(names)},
        "best_confidence": confidence,
        "best_f1": 0.555,
        "images": 7,
        "instances": 18,
        "max_detections": 100,
        "milliseconds": milliseconds,
    }


def evaluation_errors(names: list[str]) -> dict[str, Any]:
    """An error budget with the same number in every cell."""
    kinds = dict.fromkeys(("class", "localization", "both", "duplicate", "background", "missed"), 7)
    count = len(names) + 1
    return {
        "confidence": 0.42,
        "ap50_lost": dict.fromkeys(kinds, 0.123),
        "counts": kinds,
        "by_class": dict.fromkeys(names, kinds),
        "by_size": dict.fromkeys(("small", "medium", "large"), kinds),
        "confusion": {"names": [*names, "background"], "matrix": [[3] * count] * count},
        "calibration": {"bins": [{"score": 0.4, "right": 0.3}, {"score": 0.8, "right": 0.9}], "ece": 0.11},
        "boundary": {"ap": 0.222, "ap50": 0.333},
    }


def detail() -> dict[str, Any]:
    precision = [1.0] * 51 + [0.5] * 20 + [0.0] * 30
    return {
        "recall": [at / 100 for at in range(101)],
        "pr": {"all": {"iou50": precision, "iou75": precision}},
        "score_histogram": {
            "edges": [at / 20 for at in range(21)],
            "matched": [1] * 18 + [12, 10],
            "unmatched": [4321, 30, 11] + [0] * 17,
        },
        "images": {},
    }


def page_data(names: list[str], *, samples: int = 2, gold: bool = True, image_name: str = "one.jpg") -> PageData:
    """A run over `names`, its base and target scored against people's labels, or (`gold=False`) against the base's."""
    base = evaluation(names, 0.412, 480.0, confidence=0.31) if gold else None
    target = evaluation(names, 0.383, 12.0)
    metrics = {
        "reference": "gold" if gold else "base labels",
        "images": 7,
        "instances": 18,
        "classes": names,
        "max_detections": 100,
        "score_floor": 0.01,
        "base": base,
        "target": target,
        "recovery": 0.383 / 0.412 if gold else None,
        "fingerprints": {"dataset": "0123456789abcdef"},
        "versions": {},
    }
    image = np.full((120, 120, 3), 128, np.uint8)
    last = len(names) - 1
    found = (Instance(0, square(120, 20, 20, 40), 0.91), Instance(last, square(120, 70, 70, 30), 0.52))
    truth = tuple(TruthInstance(one.class_index, one.rle) for one in found)
    return PageData(
        title="Test run",
        metrics=metrics,
        details={"base": detail() if gold else None, "target": detail()},
        samples=[Sample(image_name, image, truth if gold else None, found, found[:1], "F1 0.67")] * samples,
        classes=Classes(tuple(names)),
        dataset={
            "counts": {
                "train": {"images": 1600, "instances": 11904, "negatives": 41},
                "valid": {"images": 200, "instances": 1493, "negatives": 6},
            },
            "kept": 750,
            "rejected": {"mask_nms": 200, "too_small": 50},
            "per_class": {name: {"kept": 375, "rejected": {"mask_nms": 100, "too_small": 25}} for name in names},
        },
        versions={"rfdetr": "1.11.2"},
        config_text="base: {name: grounded-sam}\ntarget: {size: nano}\n",
        failures=[{"path": "bad/broken.jpg", "reason": "image file is truncated"}],
    )
