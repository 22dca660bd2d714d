"""What predictions of held-out images say against labels: objects missed, spurious labels, wrong classes, bad masks.

Nothing is learned from truth. A disagreement counts by how rare it is among all labels: its `tail` is the fraction of
labels (for a missed object: the number of unlabeled objects for each label that is found) that look as bad or worse. If
most labels are right, and each kind of error is as frequent as the others, a lower tail is more evidence of an error,
whatever its kind. This is the p-value of conformal prediction
(Vovk et al., "Algorithmic Learning in a Random World", 2005) of the label among all labels; the kinds are those of
Tkachenko et al., "ObjectLab: Automated Diagnosis of Mislabeled Images in Object Detection Data", 2023.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.types import ImagePredictions, Instance, TruthImage
from ..runtime.duplicate_removal import suppressed

Kind = Literal["missed", "spurious", "wrong_class", "badly_drawn"]
KINDS: tuple[Kind, ...] = ("missed", "spurious", "wrong_class", "badly_drawn")

# The recalibrated score from which a student is sure.
SURE = 0.5
# A detection of at least this mask IoU is of the object of a label; of at least the lower one, it may be.
_SAME_OBJECT = 0.5
_TOUCHES = 0.1
# Below this mask IoU a detection may be of another object than a label that another detection explains.
_APART = 0.3

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One thing that speaks against a label, or for an object without one.

    `index` is the place of the label among the image's instances, None for a missed object. `found` is what the student
    has there, None where it has nothing; `iou` the mask IoU of the two, None likewise. `tail` in 0..1 is how rare such
    a disagreement is: the lower, the more suspicious.
    """

    kind: Kind
    image_id: str
    index: int | None
    found: Instance | None
    iou: float | None
    tail: float


class _Evidence(NamedTuple):
    """Per label of all images (N,): `support` is the best score of a detection that may be of it (NaN where
    the label is not judged), `margin` by how much
    the best score of another class at its place is above that of its own, `iou` the mask IoU with the student's mask
    (NaN where the student is not sure of one); and the detections themselves, by image and place, -1 for none."""

    support: _Floats
    margin: _Floats
    iou: _Floats
    place: npt.NDArray[np.int64]
    rival: npt.NDArray[np.int64]


def find_suspicions(
    images: Sequence[TruthImage], predictions: Sequence[ImagePredictions], known: Mapping[str, Collection[int]]
) -> list[Suspicion]:
    """The suspicions against the labels of `images`, and the missed objects, the most suspicious first.

    Each image has the predictions with its id, by a student that was not trained on it, as
    `StudentAgreement.recalibrated` gives them: from a score of 0.5 on the student is sure. `known` has the classes that
    the student of each image id knows; labels of other classes are not judged. A label has at most one suspicion, the
    one with the lowest tail. The tails assume that most labels are right; they are no error probabilities.
    """
    found = {one.image_id: one.instances for one in predictions}
    pairs = [(image, found[image.image_id]) for image in images]
    overlaps = [
        masks.iou_matrix([one.rle for one in image.instances], [one.rle for one in some]) for image, some in pairs
    ]
    parts = [
        _evidence(image, some, iou, known[image.image_id]) for (image, some), iou in zip(pairs, overlaps, strict=True)
    ]
    if not parts:
        return []
    every = _Evidence(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    tails = _label_tails(every)
    suspicions: list[Suspicion] = []
    start = 0
    for (image, some), iou, part in zip(pairs, overlaps, parts, strict=True):
        for at in range(len(image.instances)):
            kind, tail = min(((kind, tails[kind][start + at]) for kind in tails), key=lambda one: one[1])
            if tail < 1:
                rival = int(part.rival[at] if kind == "wrong_class" else part.place[at])
                seen = None if rival < 0 else some[rival]
                own = None if rival < 0 else float(iou[at, rival])
                suspicions.append(Suspicion(kind, image.image_id, at, seen, own, float(tail)))
        start += len(image.instances)
    suspicions += _missed(pairs, overlaps, every.support)
    return sorted(suspicions, key=lambda one: (one.tail, KINDS.index(one.kind), one.image_id, one.index or 0))


def _evidence(image: TruthImage, found: Sequence[Instance], iou: _Floats, known: Collection[int]) -> _Evidence:
    count = len(image.instances)
    judged = np.array([one.class_index in known for one in image.instances], dtype=bool)
    support, margin, best_iou = np.where(judged, 0.0, np.nan), np.full(count, -1.0), np.full(count, np.nan)
    place, rival = np.full(count, -1), np.full(count, -1)
    scores = np.array([one.score for one in found])
    classes = np.array([one.class_index for one in found], dtype=int)
    # Of two labels that a detection touches, it is of the one that it overlaps most.
    owner = iou.argmax(axis=0) if count and len(found) else np.zeros(len(found), dtype=int)
    for at, label in enumerate(image.instances if len(found) else ()):
        own = (owner == at) & (iou[at] >= _TOUCHES)
        if own.any():
            support[at] = scores[own].max() if judged[at] else np.nan
            chosen = int(np.where(own, scores * iou[at], -1.0).argmax())
            place[at] = chosen
            if scores[own].max() >= SURE:
                best_iou[at] = iou[at, chosen]
        here = iou[at] >= _SAME_OBJECT
        other = here & (classes != label.class_index)
        if other.any():
            same = scores[here & (classes == label.class_index)].max(initial=0.0)
            rival[at] = int(np.where(other, scores, -1.0).argmax())
            if judged[at] and scores[rival[at]] >= SURE:
                margin[at] = scores[rival[at]] - same
    return _Evidence(support, margin, best_iou, place, rival)


def _label_tails(every: _Evidence) -> dict[Kind, _Floats]:
    """The tail of each label by kind; 1 where that kind has nothing against it."""
    judged = np.isfinite(every.support)
    count = max(1, int(judged.sum()))
    support = np.where(judged, every.support, np.inf)
    known = np.isfinite(every.iou)
    iou = np.where(known, every.iou, np.inf)
    return {
        "spurious": np.where(support < SURE, _upto(support) / count, 1.0),
        "wrong_class": np.where(every.margin > 0, _upto(-every.margin) / count, 1.0),
        "badly_drawn": np.where(iou < _SAME_OBJECT, _upto(iou) / max(1, int(known.sum())), 1.0),
    }


def _upto(values: _Floats) -> _Floats:
    """How many values are at most each one."""
    return np.searchsorted(np.sort(values), values, "right").astype(np.float64)


def _missed(
    pairs: Sequence[tuple[TruthImage, Sequence[Instance]]], overlaps: Sequence[_Floats], support: _Floats
) -> list[Suspicion]:
    """The detections that are of no label.

    The tail is a q-value (Storey, "A direct approach to false discovery rates", 2002): the number of such detections
    for each label that is found, at the score up to its own where that is lowest.
    """
    found = [
        (image.image_id, one)
        for (image, some), iou in zip(pairs, overlaps, strict=True)
        for one in _unlabeled(some, iou)
    ]
    found.sort(key=lambda one: -one[1].score)
    matched = np.sort(support[np.isfinite(support)])
    # Between two of them the ratio is lowest just above the lower one.
    until = [*(one.score for _, one in found[1:]), np.nextafter(SURE, 0)]
    labels = len(matched) - np.searchsorted(matched, until[: len(found)], "right")
    ratios = np.arange(1, len(found) + 1) / np.maximum(1, labels)
    tails = np.minimum(1.0, np.minimum.accumulate(ratios[::-1])[::-1])
    return [
        Suspicion("missed", name, None, one, None, float(tail)) for (name, one), tail in zip(found, tails, strict=True)
    ]


def _unlabeled(found: Sequence[Instance], iou: _Floats) -> list[Instance]:
    """The sure detections of an image that are of no label, without duplicates, best first."""
    explained: npt.NDArray[np.bool_] = np.asarray((iou >= _SAME_OBJECT).any(axis=1))
    best = iou.max(axis=0, initial=0.0)
    owner = iou.argmax(axis=0) if len(iou) else np.zeros(len(found), dtype=int)
    chosen = [
        one
        for at, one in enumerate(found)
        if one.score >= SURE and (best[at] < _TOUCHES or (best[at] < _APART and len(iou) and explained[owner[at]]))
    ]
    chosen.sort(key=lambda one: -one.score)
    rles = [one.rle for one in chosen]
    between = masks.iou_matrix(rles, rles)
    reasons = suppressed(between, between, None, _SAME_OBJECT, None)
    return [one for one, reason in zip(chosen, reasons, strict=True) if reason is None]
