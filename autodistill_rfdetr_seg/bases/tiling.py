"""Large images and small objects: run the base on overlapping tiles, and join the answers.

Two instances of one class from two tiles are one object where both tiles looked and said the same: in the zone that
the tiles share, their masks agree. What lies side by side shares no pixels there, so touching neighbors stay apart,
and tiles that share no pixels join nothing. Chained, this joins an object over as many tiles as it crosses.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.errors import UsageError
from ..core.types import Instance, Rle
from .contract import same_class

# IoU in the shared zone above which two masks are one object: from a half on, a mask has at most one such partner among
# masks that do not overlap.
AGREE_IOU = 0.5
# A mask with more than this fraction inside another one is a part of it.
PART = 0.5
# A mask that ends this many pixels before its tile does may be cut there: bases blur and resize, and stop short.
EDGE = 2


class Window(NamedTuple):
    """A part of an image in pixels; `bottom` and `right` are exclusive."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """An object as one tile shows it, in pixels of the whole image; `cut` if it may continue outside the tile."""

    tile: int
    instance: Instance
    area: int
    box: Window
    cut: bool


def ask_in_tiles(
    ask: Callable[[Window], Sequence[Instance]],
    height: int,
    width: int,
    tile: int,
    overlap: float,
    classes: Sequence[int] = (),
) -> list[Instance]:
    """The instances of a large image of `height` x `width` pixels, their masks of that size.

    `ask` is called for each tile and gives the instances in it, their masks of the tile's size. Only what is of one
    class is joined: `classes` as for `same_class`.

    Tiles are `tile` x `tile` pixels (less where the image is smaller), overlap by at least `overlap` of that and are
    spread evenly. Of an image that fits into one tile the answer is given back as it is; otherwise instances come best
    score first, then from the top down.

    An object that some tile saw whole is that tile's instance, unchanged. One that every tile cut has the union of the
    masks and the mean of the scores weighted by area: a cut piece is scored for the part that shows, so a sliver should
    say little, and a maximum would favour what was looked at more often.

    Raises:
        UsageError: `tile` is under 10 pixels, or `overlap` is not in 0..0.9.
    """
    windows = tile_windows(height, width, tile, overlap)
    if len(windows) == 1:
        return list(ask(windows[0]))
    pieces: list[_Piece] = []
    for number, window in enumerate(windows):
        pieces += [_piece(number, window, instance, height, width) for instance in ask(window)]
    joined = [_join([pieces[at] for at in group]) for group in _groups(pieces, windows, classes)]
    return sorted(joined, key=_order)


def tile_windows(height: int, width: int, tile: int, overlap: float) -> list[Window]:
    """The tiles of an image of `height` x `width` pixels, row by row; `ask_in_tiles` describes them.

    Raises:
        UsageError: `tile` is under 10 pixels, or `overlap` is not in 0..0.9.
    """
    if tile < 10:
        raise UsageError(f"A tile of {tile} pixels is too small.", "Give at least 10; bases do well with 512 to 1024.")
    if not 0 <= overlap <= 0.9:
        raise UsageError(f"The overlap of tiles is {overlap}, which is not in 0..0.9.", "0.2 is a good start.")
    rows, columns = (_starts(length, tile, overlap) for length in (height, width))
    return [
        Window(top, left, min(top + tile, height), min(left + tile, width))
        for top, left in itertools.product(rows, columns)
    ]


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    if length <= tile:
        return [0]
    shared = math.ceil(overlap * tile)
    last = math.ceil((length - tile) / (tile - shared))
    return [at * (length - tile) // last for at in range(last + 1)]


def paste(rle: Rle, top: int, left: int, height: int, width: int) -> Rle:
    """A crop's RLE in a frame of `height` x `width` pixels, where the crop's first pixel is at (`top`, `left`).

    Only the crop is decoded, never the frame.

    Raises:
        ValueError: the crop reaches out of the frame.
    """
    if min(top, left) < 0 or top + rle.height > height or left + rle.width > width:
        raise ValueError(
            f"A crop of {rle.width} x {rle.height} at ({left}, {top}) leaves the {width} x {height} frame."
        )
    from pycocotools import mask as coco_mask

    # Its own box is all that is looked at: a small object in a large tile costs little.
    x, y, columns, rows = (int(value) for value in masks.bbox_xywh(rle))
    inside = coco_mask.decode(masks.to_coco(rle))[y : y + rows, x : x + columns]
    return masks.encode_at(inside, top + y, left + x, height, width)


def _piece(number: int, window: Window, instance: Instance, height: int, width: int) -> _Piece:
    rle = paste(instance.rle, window.top, window.left, height, width)
    x, y, columns, rows = (int(value) for value in masks.bbox_xywh(rle))
    box = Window(y, x, y + rows, x + columns)
    cut = (
        (window.top > 0 and box.top <= window.top + EDGE)
        or (window.left > 0 and box.left <= window.left + EDGE)
        or (window.bottom < height and box.bottom >= window.bottom - EDGE)
        or (window.right < width and box.right >= window.right - EDGE)
    )
    return _Piece(number, dataclasses.replace(instance, rle=rle), masks.area(rle), box, cut)


def _groups(pieces: Sequence[_Piece], windows: Sequence[Window], classes: Sequence[int]) -> list[list[int]]:
    """Positions in `pieces` of what is one object each, by union-find over the pairs that belong together."""
    parent = list(range(len(pieces)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    of_tile: list[list[int]] = [[] for _ in windows]
    for at, piece in enumerate(pieces):
        of_tile[piece.tile].append(at)
    for one, two in itertools.combinations(range(len(windows)), 2):
        zone = _shared(windows[one], windows[two])
        if zone is None:
            continue
        first, second = ([at for at in of_tile[tile] if _shared(pieces[at].box, zone)] for tile in (one, two))
        for a, b in _pairs([pieces[at] for at in first], [pieces[at] for at in second], zone, classes):
            low, high = sorted((root(first[a]), root(second[b])))
            parent[high] = low
    groups: dict[int, list[int]] = {}
    for at in range(len(pieces)):
        groups.setdefault(root(at), []).append(at)
    return list(groups.values())


def _shared(one: Window, two: Window) -> Window | None:
    top, left = max(one.top, two.top), max(one.left, two.left)
    bottom, right = min(one.bottom, two.bottom), min(one.right, two.right)
    return Window(top, left, bottom, right) if top < bottom and left < right else None


def _pairs(
    first: Sequence[_Piece], second: Sequence[_Piece], zone: Window, classes: Sequence[int]
) -> Iterator[tuple[int, int]]:
    """Positions in `first` and `second`, the pieces of two tiles that share `zone`, of those that are one object.

    Those that agree in the zone are, each with its best partner, so that a part and a whole that a base gives of one
    object stay two. A cut piece without such a partner is part of the one that holds what both tiles saw of it (an arm
    of a U whose bend only the other tile sees), unless it goes on where the other, seen whole, does not.
    """
    if not first or not second:
        return
    height, width = first[0].instance.rle.height, first[0].instance.rle.width
    inside = np.ones((zone.bottom - zone.top, zone.right - zone.left), dtype=bool)
    frame = masks.encode_at(inside, zone.top, zone.left, height, width)
    one, two = _within(first, frame), _within(second, frame)
    same = same_class([piece.instance for piece in first], [piece.instance for piece in second], classes)
    iou = masks.iou_matrix(one, two) * same
    best = (iou == iou.max(axis=1, keepdims=True)) & (iou == iou.max(axis=0)) & (iou > AGREE_IOU)
    yield from zip(*(at.tolist() for at in np.nonzero(best)), strict=True)
    a_areas, b_areas = (np.array([masks.area(rle) for rle in rles], dtype=np.float64) for rles in (one, two))
    intersection = iou * (a_areas[:, None] + b_areas) / (1 + iou)
    yield from _parts(first, second, a_areas, np.where(best.any(axis=1, keepdims=True), 0, intersection))
    swapped = np.where(best.any(axis=0), 0, intersection).T
    yield from ((a, b) for b, a in _parts(second, first, b_areas, swapped))


def _parts(
    parts: Sequence[_Piece],
    wholes: Sequence[_Piece],
    areas: npt.NDArray[np.float64],
    intersection: npt.NDArray[np.float64],
) -> Iterator[tuple[int, int]]:
    """(part, whole) for each cut piece of which one of `wholes` holds most; `areas` (N,) are the parts' in the zone."""
    for at, whole in enumerate(intersection.argmax(axis=1).tolist()):
        held = intersection[at, whole] > PART * areas[at]
        ends_in_zone = areas[at] == parts[at].area
        if held and parts[at].cut and (ends_in_zone or wholes[whole].cut):
            yield at, whole


def _within(pieces: Sequence[_Piece], frame: Rle) -> list[Rle]:
    """The pieces' masks inside `frame`."""
    from pycocotools import mask as coco_mask

    both = (coco_mask.merge([masks.to_coco(p.instance.rle), masks.to_coco(frame)], intersect=True) for p in pieces)
    return [Rle(frame.height, frame.width, raw["counts"]) for raw in both]


def _join(pieces: Sequence[_Piece]) -> Instance:
    """One instance of the pieces of one object."""
    if len(pieces) == 1:
        return pieces[0].instance
    from pycocotools import mask as coco_mask

    instances = [piece.instance for piece in pieces]
    areas = np.array([piece.area for piece in pieces], dtype=np.float64)
    rles = [instance.rle for instance in instances]
    iou = masks.iou_matrix(rles, rles)
    holds = iou * (areas[:, None] + areas) / (1 + iou) > PART * areas
    whole = [i for i, piece, held in zip(instances, pieces, holds, strict=True) if not piece.cut and held.all()]
    if whole:
        return min(whole, key=_order)
    raw = coco_mask.merge([masks.to_coco(rle) for rle in rles], intersect=False)
    judged = [i.mask_score is not None for i in instances]
    return dataclasses.replace(
        min(instances, key=_order),
        rle=Rle(rles[0].height, rles[0].width, raw["counts"]),
        score=_mean([i.score for i in instances], areas),
        mask_score=_mean([i.mask_score or 0.0 for i in instances], areas * judged) if any(judged) else None,
    )


def _mean(values: Sequence[float], weights: npt.NDArray[np.float64]) -> float:
    # Rounding may leave the range that the values span, and a score over 1 is refused downstream.
    return min(max(float(np.average(values, weights=weights)), min(values)), max(values))


def _order(instance: Instance) -> tuple[float, float, float, int, bytes]:
    x, y, _, _ = masks.bbox_xywh(instance.rle)
    return (-instance.score, y, x, instance.class_index, instance.rle.counts)
