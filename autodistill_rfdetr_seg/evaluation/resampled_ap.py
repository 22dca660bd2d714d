"""AP of resampled gold sets: each image counts with a weight, such as how often a bootstrap drew it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .coco_arrays import IOU_THRESHOLDS, RECALL_THRESHOLDS
from .detection_matches import DetectionMatches
from .detections import FloatArray, IntArray

# Numbers of one array that are computed at once.
_CHUNK = 2_000_000
_EPSILON = float(np.spacing(1))  # as in COCOeval


@dataclass(frozen=True, slots=True)
class _ClassMatches:
    """The detections of one class by descending score: their image (D,), hits and false alarms (T, D); the gold
    instances of each image (images,)."""

    images: IntArray
    hits: FloatArray
    alarms: FloatArray
    gold: FloatArray


class ResampledAp:
    """Computes AP for weights of images, from the matches of one evaluation.

    A detection is matched within its image, so a resampled gold set needs no new matching. With whole numbers as
    weights AP is that of COCOeval for a gold set that has each image so many times, one after the other. (Where an
    image has several detections of one score, COCOeval would take them in turn from each copy; here all copies of the
    first come before those of the second.)
    """

    def __init__(self, matches: DetectionMatches) -> None:
        if not np.array_equal(matches.thresholds, IOU_THRESHOLDS):
            raise ValueError("AP needs the matches at COCO's ten IoU thresholds.")
        self._classes = [
            _class_matches(matches, index) for index in np.flatnonzero(matches.gold.sum(axis=1) > 0).tolist()
        ]

    def __call__(self, weights: FloatArray) -> FloatArray:
        """AP at each IoU threshold, (R, 10) float64, for weights (R, images); NaN without a gold instance.

        It is the mean over the classes that have a gold instance in the resampled set, as in COCO.
        """
        total = np.zeros((len(weights), len(IOU_THRESHOLDS)))
        defined = np.zeros(len(weights))
        for one in self._classes:
            positives = weights @ one.gold
            has_gold = positives > 0
            total[has_gold] += _class_ap(one, weights[has_gold], positives[has_gold])
            defined += has_gold
        with np.errstate(invalid="ignore"):
            result: FloatArray = total / defined[:, None]
        return result


def _class_matches(matches: DetectionMatches, index: int) -> _ClassMatches:
    of_class = np.flatnonzero(matches.classes == index)
    order = of_class[np.argsort(-matches.scores[of_class], kind="stable")]
    found, ignored = matches.objects[:, order] >= 0, matches.ignored[:, order]
    # Detections after the last hit change no recall, and so no AP.
    last = int(np.flatnonzero((found & ~ignored).any(axis=0)).max(initial=-1)) + 1
    return _ClassMatches(
        images=matches.images[order[:last]],
        hits=(found & ~ignored)[:, :last].astype(np.float64),
        alarms=(~found & ~ignored)[:, :last].astype(np.float64),
        gold=matches.gold[index].astype(np.float64),
    )


def _class_ap(one: _ClassMatches, weights: FloatArray, positives: FloatArray) -> FloatArray:
    """AP of one class, (R, T)."""
    result = np.zeros((len(weights), len(one.hits)))
    if not len(one.images):
        return result
    step = max(1, _CHUNK // one.hits.size)
    for start in range(0, len(weights), step):
        part = slice(start, start + step)
        of_detection = weights[part][:, None, one.images]
        hits = np.cumsum(of_detection * one.hits, axis=2)
        precision = hits / (hits + np.cumsum(of_detection * one.alarms, axis=2) + _EPSILON)
        # The best precision at this recall or a higher one.
        best = np.maximum.accumulate(precision[:, :, ::-1], axis=2)[:, :, ::-1]
        recall = hits / positives[part, None, None]
        for at in np.ndindex(recall.shape[:2]):
            places = np.searchsorted(recall[at], RECALL_THRESHOLDS, side="left")
            result[start + at[0], at[1]] = best[at][places[places < recall.shape[2]]].sum()
    return result / len(RECALL_THRESHOLDS)
