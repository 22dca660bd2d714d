"""Puts what students say against labels, scores and stability into one order of labels and missed objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.plain_text import short_list
from ..core.types import Classes, ImagePredictions, TruthImage
from .audit_record import AuditItem
from .label_suspicions import Suspicion, find_suspicions
from .label_table import Candidate
from .review_order import candidate_ranks
from .student_agreement import FEWEST_LABELS, LEAST_F1, StudentAgreement

# The rank of an object without a label, which has neither score nor stability: that of a label in the middle.
_MIDDLE = 0.5


def audit_items(
    images: Sequence[TruthImage],
    predictions: Sequence[ImagePredictions],
    known: Mapping[str, Collection[int]],
    labels: Sequence[Candidate],
    classes: Classes,
    split_of: Mapping[str, str],
) -> list[AuditItem]:
    """The labels and the missed objects of `images` in the order to check them.

    The order is by the product of two fractions: the tail of the student's disagreement (`find_suspicions`; 1 where
    there is none) and the rank of the label by score and stability (`review_ranks`). The product is Fisher's method
    (1925) of combining two independent tests; nothing is learned from truth. Where no student knows a class only the
    ranks are left, and where all scores are equal and none has a stability either, `rank` is None: there is no order.

    `predictions` and `known` are as for `find_suspicions`, `labels` those of these images, each image's in their order;
    `split_of` has the split of each image id.
    """
    ranks = candidate_ranks(labels)
    suspicions = find_suspicions(images, predictions, known)
    of_label = {(one.image_id, one.index): one for one in suspicions if one.index is not None}
    ordered = bool(suspicions) or bool(np.ptp(ranks)) if len(ranks) else bool(suspicions)
    places = _places(labels)
    items = [
        _of_label(label, of_label.get(place), float(rank) if ordered else None, classes)
        for label, place, rank in zip(labels, places, ranks, strict=True)
    ]
    items += [_of_missed(one, split_of[one.image_id], classes) for one in suspicions if one.index is None]
    return sorted(items, key=lambda one: 1.0 if one.rank is None else one.rank)


def students_text(students: Sequence[StudentAgreement]) -> list[str]:
    """For each student in a sentence, which classes it knows, and what follows."""
    sentences = []
    for at, one in enumerate(students, start=1):
        text = f"Student {at} agrees with the labels of its {one.images} held-out images"
        text += " to an undefined degree" if one.ap50 is None else f" to a mask AP50 of {one.ap50:.2f}"
        few = one.untested
        unknown = [name for name in one.classes if name not in (*one.known, *few)]
        reasons = [f"does not know {short_list(unknown)} (F1 below {LEAST_F1:g})"] if unknown else []
        reasons += [f"was asked about fewer than {FEWEST_LABELS} labels of {short_list(few)}"] if few else []
        if reasons:
            end = "does not judge these" if one.known else "says nothing against these labels"
            text += f"; it {', '.join(reasons)}, and {end}"
        sentences.append(f"{text}.")
    if not any(one.known for one in students):
        sentences.append("No student knows a class: the order is by score and stability alone.")
    return sentences


def _places(labels: Sequence[Candidate]) -> list[tuple[str, int]]:
    """Image and number within the image of each label."""
    seen: dict[str, int] = {}
    places = []
    for label in labels:
        places.append((label.entry.image, seen.get(label.entry.image, 0)))
        seen[label.entry.image] = places[-1][1] + 1
    return places


def _of_label(label: Candidate, suspicion: Suspicion | None, rank: float | None, classes: Classes) -> AuditItem:
    entry = label.entry
    tail = 1.0 if suspicion is None else suspicion.tail
    return AuditItem(
        split=entry.split,
        image=entry.image,
        annotation_id=entry.annotation_id,
        class_name=entry.class_name,
        kind=None if suspicion is None else suspicion.kind,
        tail=tail,
        rank=None if rank is None else tail * rank,
        score=entry.score,
        stability=entry.stability,
        **_found(suspicion, classes),
    )


def _of_missed(suspicion: Suspicion, split: str, classes: Classes) -> AuditItem:
    assert suspicion.found is not None
    return AuditItem(
        split=split,
        image=suspicion.image_id,
        annotation_id=None,
        class_name=classes.names[suspicion.found.class_index],
        kind=suspicion.kind,
        tail=suspicion.tail,
        rank=suspicion.tail * _MIDDLE,
        score=None,
        stability=None,
        rle=suspicion.found.rle,
        **_found(suspicion, classes),
    )


def _found(suspicion: Suspicion | None, classes: Classes) -> dict[str, Any]:
    if suspicion is None or suspicion.found is None:
        return {}
    name = classes.names[suspicion.found.class_index]
    return {"found_class": name, "found_score": suspicion.found.score, "iou": suspicion.iou}
