"""Removes instances that are of an object which another one has already: greedy non-maximum suppression on masks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .instance_mask import Crop, Mask, shared_pixels
from .output_decoding import Detection

Array = np.ndarray[Any, Any]
# Under so many cells of the model's mask logits, two masks are compared by their pixels.
_FEW_CELLS = 16


class DuplicateLimits(NamedTuple):
    """How much masks may overlap, 0..1, within a class and (`agnostic`) across classes; None for any amount.

    `iou` is of intersection over union, `iom` of intersection over the smaller mask.
    """

    iou: float | None = None
    iom: float | None = None
    agnostic_iou: float | None = None
    agnostic_iom: float | None = None


def suppressed(
    iou: Array, iom: Array, classes: Sequence[int] | None, iou_limit: float | None, iom_limit: float | None
) -> list[str | None]:
    """For each instance, best first, the limit ("iou" or "iom") over which it overlaps a better one that is kept; None
    if it is kept. `iou` and `iom` are (N, N); only instances of one of `classes` are compared, all where it is None."""
    reasons: list[str | None] = []
    kept: list[int] = []
    for at in range(len(iou)):
        rivals = [k for k in kept if classes is None or classes[k] == classes[at]]
        reason = None
        if rivals and iou_limit is not None and iou[at, rivals].max() > iou_limit:
            reason = "iou"
        elif rivals and iom_limit is not None and iom[at, rivals].max() > iom_limit:
            reason = "iom"
        else:
            kept.append(at)
        reasons.append(reason)
    return reasons


def remove_duplicates(found: Sequence[Detection], limits: DuplicateLimits) -> list[Detection]:
    """The instances without those that overlap a better one by more than the limits; `found` is best first.

    Masks from one run of the model are compared in the resolution that it gives them in, others by their pixels.
    """
    result = list(found)
    for iou_limit, iom_limit, per_class in (
        (limits.iou, limits.iom, True),
        (limits.agnostic_iou, limits.agnostic_iom, False),
    ):
        if len(result) < 2 or (iou_limit is None and iom_limit is None):
            continue
        classes = [one.class_id for one in result]
        pairs = _touching(result, classes if per_class else None)
        if not len(pairs):
            continue
        iou, iom = _overlaps([one.compact_mask for one in result], pairs)
        reasons = suppressed(iou, iom, classes if per_class else None, iou_limit, iom_limit)
        result = [one for one, reason in zip(result, reasons, strict=True) if reason is None]
    return result


def _touching(found: Sequence[Detection], classes: Sequence[int] | None) -> Array:
    """Pairs (first, second) of instances whose masks may share pixels, and which are of one of `classes`."""
    top, left, bottom, right = np.array([one.compact_mask.box for one in found]).T
    near = (np.minimum.outer(bottom, bottom) > np.maximum.outer(top, top)) & (
        np.minimum.outer(right, right) > np.maximum.outer(left, left)
    )
    if classes is not None:
        near &= np.equal.outer(classes, classes)
    return np.argwhere(np.triu(near, 1))


def _overlaps(masks: Sequence[Mask], pairs: Array) -> tuple[Array, Array]:
    """Intersection over union, and over the smaller mask, (N, N) each; only of `pairs`, 0 elsewhere."""
    iou, iom = np.zeros((len(masks), len(masks))), np.zeros((len(masks), len(masks)))
    grids: dict[int, tuple[Any, Crop, int]] = {}
    crops: dict[int, tuple[Crop, int]] = {}
    for at in np.unique(pairs).tolist():
        grid = masks[at].grid()
        if grid is not None and (cells := int(np.count_nonzero(grid[1].pixels))) >= _FEW_CELLS:
            grids[at] = (*grid, cells)
    for first, second in pairs.tolist():
        one, two = grids.get(first), grids.get(second)
        if one is not None and two is not None and one[0] == two[0]:
            (_, a, a_area), (_, b, b_area) = one, two
        else:
            for at in (first, second):
                if at not in crops:
                    crop = masks[at].crop()
                    crops[at] = (crop, int(np.count_nonzero(crop.pixels)))
            (a, a_area), (b, b_area) = crops[first], crops[second]
        shared = shared_pixels(a, b)
        if shared:
            iou[first, second] = iou[second, first] = shared / (a_area + b_area - shared)
            iom[first, second] = iom[second, first] = shared / min(a_area, b_area)
    return iou, iom
