"""What each detection of an evaluation was matched with, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Detections:
    """Results (N,): `scores`, `classes` and `images` (indices)."""

    scores: FloatArray
    classes: IntArray
    images: IntArray

    @classmethod
    def from_columns(cls, image_ids: npt.ArrayLike, category_ids: npt.ArrayLike, scores: npt.ArrayLike) -> Detections:
        """From ids that count from 1."""
        images, classes = (np.asarray(ids).astype(np.int64) - 1 for ids in (image_ids, category_ids))
        return cls(np.asarray(scores, dtype=np.float64), classes, images)


@dataclass(frozen=True, slots=True)
class Matches:
    """The matches between detections and gold set at one IoU threshold, for all sizes.

    Per detection (N,): `scores`, `classes` and `images` (indices), `rows` (the index of its result), and `matched`.
    Detections that match a crowd are left out. `gold` (classes, images) counts the instances that are not crowds.
    """

    scores: FloatArray
    classes: IntArray
    images: IntArray
    rows: IntArray
    matched: BoolArray
    gold: IntArray

    def with_classes(self, chosen: BoolArray) -> Matches:
        """The matches of the classes where `chosen` (classes,) is true; the gold counts of the others are 0."""
        kept = chosen[self.classes]
        parts = (self.scores[kept], self.classes[kept], self.images[kept], self.rows[kept], self.matched[kept])
        return Matches(*parts, np.where(chosen[:, None], self.gold, 0))


@dataclass(frozen=True, slots=True)
class DetectionMatches:
    """The matches of COCOeval at several IoU thresholds (T,), for all sizes.

    Per detection (N,): `scores`, `classes`, `images` and `rows` as in `Matches`. `objects` (T, N) is the index of the
    gold annotation that it matches, -1 for none, and `ignored` (T, N) says that it matches a crowd. Detections are
    sorted by class and image, and within these by descending score. `gold` (classes, images) counts the instances that
    are not crowds.
    """

    thresholds: FloatArray
    scores: FloatArray
    classes: IntArray
    images: IntArray
    rows: IntArray
    objects: IntArray
    ignored: BoolArray
    gold: IntArray

    def at(self, index: int = 0) -> Matches:
        """The matches at one of the thresholds."""
        kept = ~self.ignored[index]
        parts = (self.scores[kept], self.classes[kept], self.images[kept], self.rows[kept])
        return Matches(*parts, self.objects[index][kept] >= 0, self.gold)

    def of_images(self, images: IntArray) -> DetectionMatches:
        """The matches in these images (indices without repetition), which then are numbered in this order."""
        place = np.full(self.gold.shape[1], -1)
        place[images] = np.arange(len(images))
        kept = place[self.images] >= 0
        parts = (self.scores[kept], self.classes[kept], place[self.images][kept], self.rows[kept])
        return DetectionMatches(
            self.thresholds, *parts, self.objects[:, kept], self.ignored[:, kept], self.gold[:, images]
        )


def from_status(status: Mapping[int, str], detections: Detections, gold: IntArray) -> Matches:
    """The matches in the `dt_status` of hotcoco's `image_diagnostics`, by the id of the result, which count from 1.

    It leaves out detections that match a crowd and those over the maximum.
    """
    rows = np.fromiter(status, dtype=np.int64, count=len(status)) - 1
    matched = np.fromiter((one == "tp" for one in status.values()), dtype=bool, count=len(status))
    order = np.argsort(rows)
    rows, matched = rows[order], matched[order]
    return Matches(detections.scores[rows], detections.classes[rows], detections.images[rows], rows, matched, gold)


def from_eval_images(
    found: Sequence[dict[str, Any] | None], thresholds: Sequence[float], classes: int, images: int
) -> DetectionMatches:
    """The matches in the `eval_imgs` of a hotcoco evaluation of one area range.

    Ids of images, categories, annotations and results must count from 1.
    """
    gold = np.zeros((classes, images), dtype=np.int64)
    parts: list[tuple[list[float], IntArray, list[int], IntArray, BoolArray]] = []
    for one in found:
        if one is None:
            continue
        place = np.array([one["category_id"] - 1, one["image_id"] - 1])
        gold[place[0], place[1]] = len(one["gtIgnore"]) - sum(one["gtIgnore"])
        count = len(one["dtScores"])
        if count:
            ignored = np.array(one["dtIgnore"], dtype=bool)
            objects = np.array(one["dtMatches"], dtype=np.int64)
            parts.append((one["dtScores"], np.tile(place, (count, 1)), one["dtIds"], objects, ignored))
    number = len(thresholds)
    if not parts:
        none, pairs = np.zeros(0, dtype=np.int64), np.zeros((number, 0), dtype=np.int64)
        return DetectionMatches(
            np.asarray(thresholds), np.zeros(0), none, none, none, pairs - 1, pairs.astype(bool), gold
        )
    places = np.concatenate([part[1] for part in parts])
    return DetectionMatches(
        thresholds=np.asarray(thresholds, dtype=np.float64),
        scores=np.concatenate([part[0] for part in parts]).astype(np.float64),
        classes=places[:, 0],
        images=places[:, 1],
        rows=np.concatenate([part[2] for part in parts]).astype(np.int64) - 1,
        objects=np.concatenate([part[3] for part in parts], axis=1) - 1,
        ignored=np.concatenate([part[4] for part in parts], axis=1),
        gold=gold,
    )
