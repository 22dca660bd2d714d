"""Removes instances that are of an object which another one has already: greedy non-maximum suppression on masks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .instance_mask import Crop, Mask, shared_pixels
from .output_decoding import Detection

Array = np.ndarray[Any, Any]
# Under so many cells of the model's mask logits, two masks are compared by their pixels.
_FEW_CELLS = 16
# How many bits of each byte are set, where numpy (before 2.0) does not count them itself.
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)
_count_bits = getattr(np, "bitwise_count", _BITS.__getitem__)


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
    reasons: list[str | None] = [None] * len(iou)
    better = np.tri(len(iou), k=-1, dtype=bool)
    if classes is not None:
        better &= np.equal.outer(classes, classes)
    over = {
        name: better & (matrix > limit)
        for name, matrix, limit in (("iou", iou, iou_limit), ("iom", iom, iom_limit))
        if limit is not None
    }
    kept = np.ones(len(iou), dtype=bool)
    # Those that overlap none by that much stay, and are not looked at one by one.
    for at in np.flatnonzero(sum(rivals.any(axis=1) for rivals in over.values())).tolist() if over else []:
        reasons[at] = next((name for name, rivals in over.items() if (rivals[at] & kept).any()), None)
        kept[at] = reasons[at] is None
    return reasons


def remove_duplicates(found: Sequence[Detection], limits: DuplicateLimits) -> list[Detection]:
    """The instances without those that overlap a better one by more than the limits; `found` is best first.

    Masks from one run of the model are compared in the resolution that it gives them in, others by their pixels.
    """
    if len(found) < 2 or all(limit is None for limit in limits):
        return list(found)
    classes = [one.class_id for one in found]
    across = limits.agnostic_iou is not None or limits.agnostic_iom is not None
    pairs = _touching(found, None if across else classes)
    if not len(pairs):
        return list(found)
    iou, iom = _overlaps([one.compact_mask for one in found], pairs)
    kept = np.arange(len(found))
    for iou_limit, iom_limit, groups in (
        (limits.iou, limits.iom, classes),
        (limits.agnostic_iou, limits.agnostic_iom, None),
    ):
        some = None if groups is None else [groups[at] for at in kept]
        reasons = suppressed(iou[np.ix_(kept, kept)], iom[np.ix_(kept, kept)], some, iou_limit, iom_limit)
        kept = kept[[reason is None for reason in reasons]]
    return [found[at] for at in kept.tolist()]


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
    shared, areas = np.zeros(len(pairs)), np.zeros((len(pairs), 2))
    by_pixels = np.ones(len(pairs), dtype=bool)
    grids = [mask.grid() for mask in masks]
    keys = {grid[0] for grid in grids if grid is not None}
    if len(keys) == 1:
        ((shape, *_),) = keys
        whole = np.zeros((len(masks), *shape), dtype=bool)
        for cells, grid in zip(whole, grids, strict=True):
            if grid is not None:
                crop = grid[1]
                cells[crop.top : crop.bottom, crop.left : crop.right] = crop.pixels
        flat = whole.reshape(len(masks), -1)
        counts = np.count_nonzero(flat, axis=1)
        by_pixels = counts[pairs].min(axis=1) < _FEW_CELLS
        packed = np.packbits(flat, axis=1)
        both = packed[pairs[:, 0]] & packed[pairs[:, 1]]
        shared, areas = _count_bits(both).sum(axis=1, dtype=np.float64), counts[pairs].astype(np.float64)
    crops: dict[int, tuple[Crop, int]] = {}
    for row in np.flatnonzero(by_pixels).tolist():
        for place, at in enumerate(pairs[row].tolist()):
            if at not in crops:
                crop = masks[at].crop()
                crops[at] = (crop, int(np.count_nonzero(crop.pixels)))
            areas[row, place] = crops[at][1]
        first, second = pairs[row].tolist()
        shared[row] = shared_pixels(crops[first][0], crops[second][0])
    iou, iom = np.zeros((len(masks), len(masks))), np.zeros((len(masks), len(masks)))
    for matrix, parts in ((iou, areas.sum(axis=1) - shared), (iom, areas.min(axis=1))):
        values = shared / np.maximum(parts, 1)
        matrix[pairs[:, 0], pairs[:, 1]] = matrix[pairs[:, 1], pairs[:, 0]] = values
    return iou, iom
