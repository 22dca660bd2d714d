"""Joins what was found in overlapping tiles of an image.

Two instances of one class from two tiles are one object where both tiles looked and said the same: in the zone that
the tiles share, their masks agree. What lies side by side shares no pixels there, so touching neighbors stay apart,
and tiles that share no pixels join nothing. Chained, this joins an object over as many tiles as it crosses.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .instance_mask import Crop, Mask, shared_pixels

Array = np.ndarray[Any, Any]
# IoU in the shared zone above which two masks are one object: from a half on, a mask has at most one such partner among
# masks that do not overlap.
AGREE_IOU = 0.5
# A mask with more than this fraction inside another one is a part of it.
PART = 0.5
# A mask that ends this many pixels before its tile does may be cut there: models blur and resize, and stop short.
EDGE = 2


class Window(NamedTuple):
    """A part of an image in pixels; `bottom` and `right` are exclusive."""

    top: int
    left: int
    bottom: int
    right: int


def tile_windows(height: int, width: int, tile: int, overlap: float) -> list[Window]:
    """The tiles of an image of `height` x `width` pixels, row by row: `tile` x `tile` pixels (less where the image is
    smaller), overlapping by at least `overlap` of that, and spread evenly.

    Raises:
        ValueError: `tile` is under 10 pixels, or `overlap` is not in 0..0.9.
    """
    if tile < 10:
        raise ValueError(f"A tile of {tile} pixels is too small: it needs at least 10.")
    if not 0 <= overlap <= 0.9:
        raise ValueError(f"The overlap of tiles is {overlap}, which is not in 0..0.9.")
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


@dataclass(frozen=True)
class Piece:
    """An object as the tile number `tile` shows it: its `mask` of the whole image, class and score.

    `mask_score` is the segmenter's own score, where there is one.
    """

    tile: int
    mask: Mask
    class_id: int
    score: float
    mask_score: float | None = None


class Joined(NamedTuple):
    """One object: the place of its best piece, the places of all, and the mask and scores of the whole.

    `union` says that the mask is made of all of them; otherwise it is that of the best piece.
    """

    best: int
    places: tuple[int, ...]
    union: bool
    mask: Mask
    score: float
    mask_score: float | None


class _Shown(NamedTuple):
    """A piece with its pixels: their number, their box, and whether the object may go on outside the tile."""

    piece: Piece
    crop: Crop
    area: int
    box: Window
    cut: bool


def join_pieces(
    pieces: Sequence[Piece], windows: Sequence[Window], height: int, width: int, score_ratio: float = 0.0
) -> list[Joined]:
    """The objects that the pieces of an image of `height` x `width` pixels are of, best score first, then from the top
    down.

    An object that some tile saw whole is that tile's piece, unchanged. One that every tile cut has the union of the
    masks and the mean of the scores weighted by area: a cut piece is scored for the part that shows, so a sliver should
    say little, and a maximum would favor what was looked at more often. Two pieces are not joined where the lower score
    is less than `score_ratio` of the higher one: a network also gives what it does not believe in.
    """
    shown = [_show(piece, windows[piece.tile], height, width) for piece in pieces]
    joined = [_join(shown, group, height, width) for group in _groups(shown, windows, score_ratio)]
    boxes = [_union_box([shown[at].box for at in one.places]) for one in joined]

    def order(at: int) -> tuple[float, int, int, int, int]:
        one = joined[at]
        return (-one.score, boxes[at].top, boxes[at].left, pieces[one.best].class_id, one.best)

    return [joined[at] for at in sorted(range(len(joined)), key=order)]


def _show(piece: Piece, window: Window, height: int, width: int) -> _Shown:
    crop = piece.mask.crop()
    rows, columns = (np.flatnonzero(crop.pixels.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        box = Window(window.top, window.left, window.top, window.left)
        return _Shown(piece, crop, 0, box, False)
    box = Window(
        crop.top + int(rows[0]),
        crop.left + int(columns[0]),
        crop.top + int(rows[-1]) + 1,
        crop.left + int(columns[-1]) + 1,
    )
    # A network's mask is no finer than its logits.
    edge = max(EDGE, math.ceil(piece.mask.cell))
    cut = (
        (window.top > 0 and box.top <= window.top + edge)
        or (window.left > 0 and box.left <= window.left + edge)
        or (window.bottom < height and box.bottom >= window.bottom - edge)
        or (window.right < width and box.right >= window.right - edge)
    )
    return _Shown(piece, crop, int(np.count_nonzero(crop.pixels)), box, cut)


def _groups(shown: Sequence[_Shown], windows: Sequence[Window], score_ratio: float) -> list[list[int]]:
    """Positions in `shown` of what is one object each, by union-find over the pairs that belong together."""
    parent = list(range(len(shown)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    of_tile: list[list[int]] = [[] for _ in windows]
    for at, one in enumerate(shown):
        of_tile[one.piece.tile].append(at)
    for one_tile, two_tile in itertools.combinations(range(len(windows)), 2):
        zone = _shared(windows[one_tile], windows[two_tile])
        if zone is None:
            continue
        first, second = ([at for at in of_tile[tile] if _shared(shown[at].box, zone)] for tile in (one_tile, two_tile))
        for a, b in _pairs([shown[at] for at in first], [shown[at] for at in second], zone):
            scores = sorted((shown[first[a]].piece.score, shown[second[b]].piece.score))
            if scores[0] >= score_ratio * scores[1]:
                low, high = sorted((root(first[a]), root(second[b])))
                parent[high] = low
    groups: dict[int, list[int]] = {}
    for at in range(len(shown)):
        groups.setdefault(root(at), []).append(at)
    return list(groups.values())


def _shared(one: Window, two: Window) -> Window | None:
    top, left = max(one.top, two.top), max(one.left, two.left)
    bottom, right = min(one.bottom, two.bottom), min(one.right, two.right)
    return Window(top, left, bottom, right) if top < bottom and left < right else None


def _union_box(boxes: Sequence[Window]) -> Window:
    tops, lefts, bottoms, rights = zip(*boxes, strict=True)
    return Window(min(tops), min(lefts), max(bottoms), max(rights))


def _pairs(first: Sequence[_Shown], second: Sequence[_Shown], zone: Window) -> Iterator[tuple[int, int]]:
    """Positions in `first` and `second`, the pieces of two tiles that share `zone`, of those that are one object.

    Those that agree in the zone are, each with its best partner, so that a part and a whole that a model gives of one
    object stay two. A cut piece without such a partner is part of the one that holds what both tiles saw of it (an arm
    of a U whose bend only the other tile sees), unless it goes on where the other, seen whole, does not.
    """
    if not first or not second:
        return
    one, two = ([_within(piece.crop, zone) for piece in some] for some in (first, second))
    a_areas, b_areas = (
        np.array([np.count_nonzero(crop.pixels) for crop in crops], dtype=np.float64) for crops in (one, two)
    )
    same = np.equal.outer([p.piece.class_id for p in first], [p.piece.class_id for p in second])
    intersection = np.zeros(same.shape)
    for a, b in np.argwhere(same).tolist():
        intersection[a, b] = shared_pixels(one[a], two[b])
    iou = intersection / np.maximum(a_areas[:, None] + b_areas - intersection, 1)
    best = (iou == iou.max(axis=1, keepdims=True)) & (iou == iou.max(axis=0)) & (iou > AGREE_IOU)
    yield from zip(*(at.tolist() for at in np.nonzero(best)), strict=True)
    yield from _parts(first, second, a_areas, np.where(best.any(axis=1, keepdims=True), 0, intersection))
    swapped = np.where(best.any(axis=0), 0, intersection).T
    yield from ((a, b) for b, a in _parts(second, first, b_areas, swapped))


def _parts(
    parts: Sequence[_Shown], wholes: Sequence[_Shown], areas: Array, intersection: Array
) -> Iterator[tuple[int, int]]:
    """(part, whole) for each cut piece of which one of `wholes` holds most; `areas` (N,) are the parts' in the zone."""
    for at, whole in enumerate(intersection.argmax(axis=1).tolist()):
        held = intersection[at, whole] > PART * areas[at]
        ends_in_zone = areas[at] == parts[at].area
        if held and parts[at].cut and (ends_in_zone or wholes[whole].cut):
            yield at, whole


def _within(crop: Crop, zone: Window) -> Crop:
    """The part of a crop inside `zone`."""
    top, left = max(crop.top, zone.top), max(crop.left, zone.left)
    bottom, right = max(min(crop.bottom, zone.bottom), top), max(min(crop.right, zone.right), left)
    return Crop(top, left, crop.pixels[top - crop.top : bottom - crop.top, left - crop.left : right - crop.left])


def _join(shown: Sequence[_Shown], group: Sequence[int], height: int, width: int) -> Joined:
    """One object of the pieces at the places of `group`."""

    def order(at: int) -> tuple[float, int, int, int, int]:
        one = shown[at]
        return (-one.piece.score, one.box.top, one.box.left, one.piece.class_id, at)

    def unchanged(at: int) -> Joined:
        piece = shown[at].piece
        return Joined(at, tuple(group), False, piece.mask, piece.score, piece.mask_score)

    if len(group) == 1:
        return unchanged(group[0])
    whole = [
        at
        for at in group
        if not shown[at].cut
        and all(shared_pixels(shown[at].crop, shown[k].crop) > PART * shown[k].area for k in group if k != at)
    ]
    if whole:
        return unchanged(min(whole, key=order))
    areas = [float(shown[at].area) for at in group]
    scores = [(shown[at].piece.mask_score, area) for at, area in zip(group, areas, strict=True)]
    judged = [(score, area) for score, area in scores if score is not None]
    return Joined(
        min(group, key=order),
        tuple(group),
        True,
        Mask(height, width, _union([shown[at].crop for at in group])),
        _mean([shown[at].piece.score for at in group], areas),
        _mean([score for score, _ in judged], [area for _, area in judged]) if judged else None,
    )


def _union(crops: Sequence[Crop]) -> Crop:
    box = _union_box([Window(one.top, one.left, one.bottom, one.right) for one in crops])
    pixels = np.zeros((box.bottom - box.top, box.right - box.left), dtype=bool)
    for one in crops:
        pixels[one.top - box.top : one.bottom - box.top, one.left - box.left : one.right - box.left] |= one.pixels
    return Crop(box.top, box.left, pixels)


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    # Rounding may leave the range that the values span, and a score over 1 is refused downstream.
    return min(max(float(np.average(values, weights=weights)), min(values)), max(values))
