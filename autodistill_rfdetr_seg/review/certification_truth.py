"""Says which labels are right and how many objects were missed in each region, from complete annotations of images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..core import masks
from ..core.types import GroundTruth, ImagePredictions, TruthImage
from ..evaluation.prediction_matches import match_predictions
from .certification_items import CertificationItems, LabelItem, cells_of, grid_of


@dataclass(frozen=True)
class Judged:
    """Whether each label is right, and the numbers of wrong labels and missed objects of each region, by their
    references. Only what lies in the annotated images is there."""

    right: Mapping[str, bool]
    wrong: Mapping[str, int]
    missed: Mapping[str, int]


def judge_items(items: CertificationItems, truths: Mapping[str, TruthImage]) -> Judged:
    """What the annotations of images (by the path of the user's image) say about their labels and regions.

    Labels are matched with annotations of their class at mask IoU 0.5, each at most once, as in COCOeval. A label that
    is matched with a crowd is right, and a crowd is not a missed object.
    """
    labels_of: dict[str, list[LabelItem]] = defaultdict(list)
    for label in items.labels:
        if label.image in truths:
            labels_of[label.image].append(label)
    # Without file ids, so that annotations and images keep this order.
    images = tuple(replace(truths[path], image_id=path, file_id=None) for path in sorted(truths))
    truth = GroundTruth(items.classes, images, "")
    found = [ImagePredictions(path, tuple(one.instance for one in labels_of[path])) for path in sorted(truths)]
    matches = match_predictions(truth, found)
    every = [one for path in sorted(truths) for one in labels_of[path]]
    right = {every[row].reference for row in matches.rows[(matches.objects[0] >= 0) | matches.ignored[0]].tolist()}
    return Judged(
        {one.reference: one.reference in right for one in every},
        _wrong_in_regions(items, every, right),
        _missed_in_regions(items, images, labels_of, set(matches.objects[0].tolist())),
    )


def _wrong_in_regions(items: CertificationItems, labels: list[LabelItem], right: set[str]) -> dict[str, int]:
    wrong = np.bincount([one.region for one in labels if one.reference not in right], minlength=len(items.regions))
    return {region.reference: int(wrong[at]) for at, region in enumerate(items.regions)}


def _missed_in_regions(
    items: CertificationItems,
    images: tuple[TruthImage, ...],
    labels_of: Mapping[str, list[LabelItem]],
    matched: set[int],
) -> dict[str, int]:
    """The number of annotations in each region that no label is matched with; `matched` are their indices."""
    regions_of: dict[str, list[str]] = defaultdict(list)
    for region in items.regions:
        regions_of[region.image].append(region.reference)
    missed: dict[str, int] = {}
    first = 0
    for image in images:
        names = regions_of[image.image_id]
        missed |= dict.fromkeys(names, 0)
        lost = [one.rle for at, one in enumerate(image.instances, start=first) if not one.crowd and at not in matched]
        first += len(image.instances)
        cuts = grid_of(len(labels_of[image.image_id]))
        for cell in cells_of(masks.boxes_xywh(lost), image.width, image.height, cuts).tolist():
            missed[names[cell]] += 1
    return missed
