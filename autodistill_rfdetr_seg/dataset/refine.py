"""The rules between what the base said and what the dataset keeps. Pure functions; every drop has a reason.

Each rule takes the instances that are left and returns those it keeps and those it takes away, in the order given.
`refine` runs them in turn: thresholds first, as they are cheap; mask cleaning before areas and NMS, which look at the
cleaned mask.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ..core import masks
from ..core.config import RefineConfig
from ..core.errors import UnknownNameError
from ..core.types import Classes, ImageLabels, Instance, Rejected, Rle

Kept = tuple[list[Instance], list[Rejected]]
Rule = Callable[[list[Instance]], Kept]


def refine(labels: ImageLabels, config: RefineConfig, classes: Classes) -> ImageLabels:
    """The labels that the rules keep, best score first, and those they reject with a reason each.

    Raises:
        UnknownNameError: a confidence is given for a class that is not in `classes`.
    """
    kept = ranked(labels.instances)
    rejected = list(labels.rejected)
    for _, rule in rules(config, classes, labels.image.height * labels.image.width):
        kept, taken = rule(kept)
        rejected += taken
    return dataclasses.replace(labels, instances=tuple(kept), rejected=tuple(rejected))


def ranked(instances: Sequence[Instance]) -> list[Instance]:
    """The instances as the rules want them: by score, then by what the base said first.

    The order decides which of two equal scores wins NMS.
    """
    return sorted(instances, key=lambda instance: -instance.score)


def rules(config: RefineConfig, classes: Classes, size: int) -> list[tuple[str, Rule]]:
    """The rules for an image of `size` pixels in the order they run, each with its name.

    A rule that changes masks drops nothing, and one that drops hands on the very objects it keeps.

    Raises:
        UnknownNameError: as `refine`.
    """
    thresholds = class_thresholds(config, classes)
    largest = size if config.max_area is None else pixels(config.max_area, size)
    return [
        ("confidence", lambda found: over_confidence(found, thresholds)),
        ("stability", lambda found: stable(found, config.min_stability)),
        ("clean", lambda found: cleaned(found, pixels(config.island_area, size), pixels(config.hole_area, size))),
        ("area", lambda found: within_area(found, max(1.0, pixels(config.min_area, size)), largest)),
        ("nms", lambda found: nms(found, config.nms_iou, config.nms_iom, per_class=True)),
        (
            "agnostic_nms",
            lambda found: nms(found, config.agnostic_nms_iou, config.agnostic_nms_iom, per_class=False),
        ),
        ("max_instances", lambda found: best(found, config.max_instances)),
    ]


def pixels(limit: float, size: int) -> float:
    """An area limit in pixels: values under 1 are a share of the image's `size` in pixels."""
    return limit * size if 0 < limit < 1 else limit


def class_thresholds(config: RefineConfig, classes: Classes) -> list[float]:
    """The minimum confidence of each class; a class that the mapping leaves out has none."""
    if isinstance(config.confidence, float):
        return [config.confidence] * len(classes.names)
    for name in config.confidence:
        if name not in classes.names:
            raise UnknownNameError("class in the confidence thresholds:", name, classes.names)
    return [config.confidence.get(name, 0.0) for name in classes.names]


def over_confidence(instances: Sequence[Instance], thresholds: Sequence[float]) -> Kept:
    """Drops (`confidence`) what scores under its class's threshold."""
    return _partition(instances, [i.score >= thresholds[i.class_index] for i in instances], "confidence")


def stable(instances: Sequence[Instance], least: float | None) -> Kept:
    """Drops (`unstable`) what has a stability under `least`; None switches the test off."""
    if least is None:
        return list(instances), []
    return _partition(instances, [i.stability is None or i.stability >= least for i in instances], "unstable")


def cleaned(instances: Sequence[Instance], island_area: float, hole_area: float) -> Kept:
    """Removes islands under `island_area` and fills holes up to `hole_area` pixels; drops nothing."""
    if not (island_area or hole_area):
        return list(instances), []
    return [dataclasses.replace(i, rle=_clean(i, island_area, hole_area)) for i in instances], []


def _clean(instance: Instance, island_area: float, hole_area: float) -> Rle:
    # Nothing is lost by the crop: what reaches its edge from within is no hole in the whole image either.
    mask, top, left = masks.decode_box(instance.rle)
    if island_area:
        mask = masks.remove_islands(mask, island_area)
    if hole_area:
        mask = masks.fill_holes(mask, hole_area)
    return masks.encode_at(mask, top, left, instance.rle.height, instance.rle.width)


def within_area(instances: Sequence[Instance], smallest: float, largest: float) -> Kept:
    """Drops (`empty`, `too_small`, `too_large`) masks outside `smallest`…`largest` pixels, both included."""
    kept: list[Instance] = []
    rejected: list[Rejected] = []
    for instance in instances:
        area = masks.area(instance.rle)
        if smallest <= area <= largest:
            kept.append(instance)
        else:
            reason = "empty" if area == 0 else "too_small" if area < smallest else "too_large"
            rejected.append(Rejected(instance, reason))
    return kept, rejected


def nms(instances: Sequence[Instance], iou: float | None, iom: float | None, *, per_class: bool) -> Kept:
    """Greedy mask NMS over instances in falling order of score.

    Drops (`mask_nms`, `nested`, or `agnostic_nms`, `agnostic_nested`) a mask whose IoU with one already kept is over
    `iou`, or whose intersection over the smaller of the two is over `iom`; None switches a test off.
    """
    prefix = "" if per_class else "agnostic_"
    if len(instances) < 2 or (iou is None and iom is None):
        return list(instances), []
    rles = [i.rle for i in instances]
    overlap = masks.iou_matrix(rles, rles)
    if np.count_nonzero(overlap) == np.count_nonzero(overlap.diagonal()):
        return list(instances), []
    nested = masks.intersection_over_minimum(overlap, np.array([masks.area(r) for r in rles], dtype=np.float64))
    of_class = np.array([i.class_index for i in instances])
    kept_at: list[int] = []
    rejected: list[Rejected] = []
    for at, instance in enumerate(instances):
        rivals = [k for k in kept_at if not per_class or of_class[k] == of_class[at]]
        if iou is not None and rivals and overlap[at, rivals].max() > iou:
            rejected.append(Rejected(instance, f"{prefix}nms" if prefix else "mask_nms"))
        elif iom is not None and rivals and nested[at, rivals].max() > iom:
            rejected.append(Rejected(instance, f"{prefix}nested"))
        else:
            kept_at.append(at)
    return [instances[at] for at in kept_at], rejected


def best(instances: Sequence[Instance], count: int | None) -> Kept:
    """Drops (`max_instances`) all but the `count` best, given in falling order of score."""
    if count is None:
        return list(instances), []
    return list(instances[:count]), [Rejected(i, "max_instances") for i in instances[count:]]


def _partition(instances: Sequence[Instance], keep: Sequence[bool], reason: str) -> Kept:
    kept = [i for i, good in zip(instances, keep, strict=True) if good]
    return kept, [Rejected(i, reason) for i, good in zip(instances, keep, strict=True) if not good]
