"""How much a base's masks agree with themselves when it is asked again: a score that needs no ground truth.

A base is asked about changed *views* of the image, and each mask held against the best of the same class in the
answer, brought back. One that can `segment` boxes is asked about the mirrored image alone, as its image encoder is the
dear part, and once more with its boxes moved. `stability` is the mean over the questions; the moved boxes count as one.

The views for a base without `segment` are those that found errors on real sets (`benchmarks/review_order.py`). A
mirrored image alone is not enough: a base of symmetric filters gives the same answer for it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.errors import AutodistillSegError, BaseModelError
from ..core.types import Instance, Rle
from ..images.rgb_image import RgbImage
from .contract import Boxes, Masks, same_class

Agreement = npt.NDArray[np.float64]
Ask = Callable[[Sequence[RgbImage]], Sequence[Sequence[Instance] | None]]
Segment = Callable[[RgbImage, Boxes], Masks]

_log = logging.getLogger(__name__)

# Moved boxes an instance, and by how much at most each edge moves, as a share of the box's side.
MOVES = 4
MOVE = 0.1
SEED = 0
# Scale of the smaller view, and factor of light of the brighter one.
SMALLER = 2 / 3
BRIGHTER = 1.1
# Dense masks that one call of `segment` may answer with.
MOST_BYTES = 256 * 2**20


class View(NamedTuple):
    """A change of an image (HWC uint8 RGB), and what brings a mask (HW bool) of the changed image back to (H, W)."""

    name: str
    change: Callable[[RgbImage], RgbImage]
    back: Callable[[masks.BoolMask, tuple[int, int]], masks.BoolMask]


def ask_again(
    images: Sequence[RgbImage],
    answers: Sequence[Sequence[Instance]],
    ask: Ask,
    segment: Segment | None,
    classes: Sequence[int] = (),
) -> list[tuple[Instance, ...]]:
    """The instances that a base gave for each image (HWC uint8 RGB), with their stability.

    `ask` gives the base's instances for a batch of images, None for one it failed on. A question that the base fails on
    does not count; where all of them do, there is no stability. Of what has no instance nothing is asked. `classes` as
    for `same_class`.
    """
    some = [at for at, one in enumerate(answers) if one]
    questions: dict[int, list[Agreement]] = {at: [] for at in some}
    for view in views_of(segment is not None):
        for at, again in zip(some, ask([view.change(images[at]) for at in some]), strict=True):
            if again is None:
                _log.warning("The base failed on an image made %s: stability goes without it.", view.name)
            else:
                questions[at].append(agreement(answers[at], again, view, classes))
    for at in some:
        if segment is None:
            continue
        try:
            questions[at].append(box_agreement(answers[at], images[at], segment))
        except AutodistillSegError as error:
            _log.warning("Stability goes without moved boxes: %s", error.message)
    return [with_stability(one, questions.get(at, ())) for at, one in enumerate(answers)]


def views_of(segments: bool) -> tuple[View, ...]:
    """The views a base is asked about; `segments`: it can be run with moved boxes as well."""
    mirror = View("mirrored", _mirror, lambda mask, _: mask[:, ::-1])
    if segments:
        return (mirror,)
    return (mirror, View("smaller", _smaller, _enlarged), View("brighter", _brighter, lambda mask, _: mask))


def agreement(
    instances: Sequence[Instance], again: Sequence[Instance], view: View, classes: Sequence[int] = ()
) -> Agreement:
    """Mask IoU (N,) of each instance with the best of the same class in the answer to a view; 0 where there is none.

    Another prompt of the class may win in a view: that is no disagreement. One mask is dense at a time.
    """
    if not instances or not again:
        return np.zeros(len(instances))
    height, width = instances[0].rle.height, instances[0].rle.width
    back = [masks.encode(view.back(masks.decode(one.rle), (height, width))) for one in again]
    best: Agreement = (
        masks.iou_matrix([one.rle for one in instances], back) * same_class(instances, again, classes)
    ).max(axis=1)
    return best


def moved(boxes_xyxy: Boxes, height: int, width: int) -> Boxes:
    """Each of (N, 4) boxes `MOVES` times, (N * MOVES, 4), every edge moved by up to `MOVE` of its side, seeded.

    A box's moves depend on its place in the order alone. Boxes stay in the image and keep an area.
    """
    shifts = np.random.default_rng(SEED).uniform(-MOVE, MOVE, (len(boxes_xyxy), MOVES, 4))
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    there = boxes_xyxy[:, None] + shifts * np.tile(sides, 2)[:, None]
    return np.clip(there, 0, [width, height, width, height]).reshape(-1, 4)


def box_agreement(instances: Sequence[Instance], image: RgbImage, segment: Segment) -> Agreement:
    """Mean mask IoU (N,) of each instance with what `segment` gives for its moved boxes.

    All boxes go in one call, so that an image is encoded once, unless their masks would exceed `MOST_BYTES`.

    Raises:
        BaseModelError: the answer has another number or size of masks than was asked for.
    """
    if not instances:
        return np.zeros(0)
    height, width = image.shape[:2]
    tight = np.array([masks.bbox_xywh(one.rle) for one in instances], dtype=np.float64)
    tight[:, 2:] += tight[:, :2]
    boxes = moved(tight, height, width)
    at_once = max(1, MOST_BYTES // (height * width))
    found: list[Rle] = []
    for start in range(0, len(boxes), at_once):
        some = boxes[start : start + at_once]
        answer = segment(image, some).masks
        if answer.shape != (len(some), height, width):
            raise BaseModelError(
                f"The base gives masks of shape {answer.shape} for {len(some)} boxes of an image of {height}x{width}."
            )
        found += [masks.encode(mask) for mask in answer]
    return np.array(
        [masks.iou_matrix([one.rle], found[at * MOVES : (at + 1) * MOVES]).mean() for at, one in enumerate(instances)]
    )


def with_stability(instances: Sequence[Instance], questions: Sequence[Agreement]) -> tuple[Instance, ...]:
    """The instances with the mean (0..1) of their agreements, one (N,) a question; a value that the base gave is
    kept.
    """
    if not questions:
        return tuple(instances)
    means = np.clip(np.mean(np.stack(questions), axis=0), 0, 1).tolist()
    return tuple(
        one if one.stability is not None else dataclasses.replace(one, stability=mean)
        for one, mean in zip(instances, means, strict=True)
    )


def _mirror(pixels: RgbImage) -> RgbImage:
    return np.ascontiguousarray(pixels[:, ::-1])


def _smaller(pixels: RgbImage) -> RgbImage:
    import cv2

    height, width = pixels.shape[:2]
    size = (max(1, round(width * SMALLER)), max(1, round(height * SMALLER)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _enlarged(mask: masks.BoolMask, size: tuple[int, int]) -> masks.BoolMask:
    import cv2

    large = cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(large, dtype=bool)


def _brighter(pixels: RgbImage) -> RgbImage:
    table = np.minimum(np.rint(np.arange(256) * BRIGHTER), 255).astype(np.uint8)
    return np.asarray(table[pixels], dtype=np.uint8)
