"""What each detection of an evaluation was matched with, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .detections import BoolArray, Detections, FloatArray, IntArray


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


def from_tables(tables: Iterable[tuple[Detections, Any]], detections: Detections, gold: IntArray) -> Matches:
    """The matches in vernier's tables (Arrow record batches) of some of the detections each; ids count from 1.

    Those that match a crowd, and those over the maximum, are left out.
    """
    import pyarrow as pa

    parts = [(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool))]
    for found, table in tables:
        columns = pa.record_batch(table)
        status = columns["match_status_at_50"].cast(pa.string()).to_numpy(zero_copy_only=False)
        kept = (status == "tp") | (status == "fp")
        parts.append((found.rows[columns["detection_id"].to_numpy()[kept] - 1], status[kept] == "tp"))
    rows, matched = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(rows)
    rows = rows[order]
    return Matches(
        detections.scores[rows], detections.classes[rows], detections.images[rows], rows, matched[order], gold
    )


def from_cells(
    cells: Iterable[tuple[Detections, dict[str, Any] | None]],
    thresholds: Sequence[float],
    classes: int,
    images: int,
) -> DetectionMatches:
    """The matches in the cells (`evalImgs`) of an evaluation of one area range, one of an image and a class each.

    Ids of images, categories, annotations and detections must count from 1.
    """
    gold = np.zeros((classes, images), dtype=np.int64)
    parts: list[tuple[list[float], IntArray, IntArray, IntArray, BoolArray]] = []
    for found, one in cells:
        if one is None:
            continue
        place = np.array([one["category_id"] - 1, one["image_id"] - 1])
        gold[place[0], place[1]] = np.count_nonzero(np.asarray(one["gtIgnore"]) == 0)
        count = len(one["dtScores"])
        if count:
            ignored = np.array(one["dtIgnore"], dtype=bool)
            objects = np.array(one["dtMatches"], dtype=np.int64)
            rows = found.rows[np.array(one["dtIds"], dtype=np.int64) - 1]
            parts.append((one["dtScores"], np.tile(place, (count, 1)), rows, objects, ignored))
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
        rows=np.concatenate([part[2] for part in parts]),
        objects=np.concatenate([part[3] for part in parts], axis=1) - 1,
        ignored=np.concatenate([part[4] for part in parts], axis=1),
        gold=gold,
    )
