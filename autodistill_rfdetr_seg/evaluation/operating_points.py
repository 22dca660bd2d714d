"""Numbers at a confidence threshold: the threshold with the best F1, score histograms, counts by image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .detection_matches import Matches
from .detections import FloatArray


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The confidence threshold with the best F1, and the scores there; None if undefined."""

    confidence: float | None
    f1: float | None
    precision: float | None
    recall: float | None


def best_operating_point(scores: FloatArray, matched: npt.NDArray[np.bool_], gold: int) -> OperatingPoint:
    """The threshold with the maximum F1 over detections (N,) and `gold` instances; the highest one if several are
    equal.

    It is halfway to the next lower score (or 0), so that `>` and `>=` keep the same detections.
    """
    if not gold:
        return OperatingPoint(None, None, None, None)
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    hits = np.cumsum(matched[order])
    kept = np.arange(1, len(scores) + 1)
    f1 = 2 * hits / (kept + gold)
    # A threshold cannot separate equal scores: only the last of them is a candidate.
    f1[:-1][scores[:-1] == scores[1:]] = -1
    if not len(f1) or not hits[-1]:
        return OperatingPoint(None, 0.0, None, 0.0)
    best = int(f1.argmax())
    below = float(scores[best + 1]) if best + 1 < len(scores) else 0.0
    confidence = (float(scores[best]) + below) / 2
    return OperatingPoint(confidence, float(f1[best]), float(hits[best] / kept[best]), float(hits[best] / gold))


def score_histogram(matches: Matches, bins: int = 20) -> dict[str, list[float] | list[int]]:
    """The numbers of matched and unmatched detections in each of `bins` equal score ranges over 0..1."""
    edges = np.arange(bins + 1) / bins
    parts = {"matched": matches.matched, "unmatched": ~matches.matched}
    counts = {name: np.histogram(matches.scores[part], edges)[0].tolist() for name, part in parts.items()}
    return {"edges": edges.tolist(), **counts}


def image_counts(matches: Matches, confidence: float) -> dict[str, npt.NDArray[np.int64]]:
    """Per image (images,): `matched`, `missed` and `false_alarms` for detections with at least `confidence`."""
    images = matches.gold.shape[1]
    kept = matches.scores >= confidence
    matched = np.bincount(matches.images[kept & matches.matched], minlength=images)
    false_alarms = np.bincount(matches.images[kept & ~matches.matched], minlength=images)
    return {"matched": matched, "missed": matches.gold.sum(axis=0) - matched, "false_alarms": false_alarms}
