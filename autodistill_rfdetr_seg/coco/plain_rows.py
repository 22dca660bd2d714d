"""Reads the annotations about which nothing is to be reported, many at once; `annotation` reads the others.

Most files have nothing else: masks as compressed RLE with box and area, as this package and pycocotools write them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ..core.types import Rle
from .annotation import area_differs
from .mask_measures import MeasuredMasks, measure
from .parts import Annotation, Box, Known, Row
from .stated_boxes import are_far

_NUMBERS = {int, float}
_Value = TypeVar("_Value")


def plain_masks(
    segmentations: Sequence[Any], sizes: Sequence[tuple[int, int] | None]
) -> tuple[list[Rle | None], MeasuredMasks]:
    """The masks of valid compressed RLEs in images of these sizes (height, width), and their measures.

    None, and zeros, for any other form, for an invalid RLE, for one with a run of zero pixels inside, and where there
    is no size.
    """
    parts = _plain_parts(lambda part: _compressed(segmentations[part], sizes[part]), 0, len(segmentations))
    places = [at for part, _ in parts for at in part]
    counts = [text for _, texts in parts for text in texts]
    chosen = [sizes[at] or (0, 0) for at in places]
    measured = measure(counts, chosen)
    found: list[Rle | None] = [None] * len(segmentations)
    for at, plain, (height, width), text in zip(places, measured.plain.tolist(), chosen, counts, strict=True):
        if plain:
            found[at] = Rle(height, width, text)
    return found, measured if len(places) == len(segmentations) else measured.spread(places, len(segmentations))


def plain_numbers(values: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """The values (N,) if all are finite numbers of JSON, else None."""
    if not _all(type, values, _NUMBERS):
        return None
    try:
        found = np.array(values, dtype=np.float64)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return found if np.isfinite(found).all() else None


def plain_boxes(values: Sequence[Any]) -> list[Box] | None:
    """The values as boxes if all are lists of four finite numbers of JSON, else None."""
    sides = _plain_sides(values)
    if sides is None:
        return None
    found = iter(sides.tolist())
    return list(zip(found, found, found, found, strict=True))


def _plain_sides(values: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """The numbers (4 N,) of the values if all are lists of four finite numbers of JSON, else None."""
    if not _all(type, values, {list}) or not _all(len, values, {4}):
        return None
    return plain_numbers(list(chain.from_iterable(values)))


class _Columns(NamedTuple):
    """The values of rows (N,), other than their masks; `boxes` (N, 4)."""

    ids: list[int]
    images: list[int]
    categories: list[int]
    areas: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.float64]
    scores: list[float | None]


def plain_annotations(rows: Sequence[Row], known: Known) -> list[Annotation | None]:
    """The annotations of the rows that `read_annotation` would read without reporting anything; None for the others."""
    parts = _plain_parts(lambda part: _plain_columns(rows[part], known), 0, len(rows))
    found: list[Annotation | None] = [None] * len(rows)
    if not parts:
        return found
    places = [at for part, _ in parts for at in part]
    ids, images, categories, areas, boxes, scores = _joined([columns for _, columns in parts])
    of_row = [known.images[image] for image in images]
    rles, measured = plain_masks(
        [rows[at].get("segmentation") for at in places],
        [(image.height, image.width) if image.stated is None else None for image in of_row],
    )
    sound = measured.plain & (measured.areas > 0) & (areas >= 0) & (boxes[:, 2:] >= 0).all(axis=1)
    sound &= ~area_differs(areas, measured.areas) & ~are_far(boxes, measured.boxes_xywh.astype(np.float64))
    made = map(
        Annotation,
        _copied(ids),
        images,
        categories,
        rles,
        repeat(False),
        areas.tolist(),
        map(tuple, boxes.tolist()),
        repeat(False),
        [None if score is None else float(score) for score in scores],
    )
    for at, is_sound, annotation in zip(places, sound.tolist(), made, strict=True):
        if is_sound:
            found[at] = annotation
    return found


def _joined(parts: Sequence[_Columns]) -> _Columns:
    if len(parts) == 1:
        return parts[0]
    return _Columns(
        ids=[one for part in parts for one in part.ids],
        images=[one for part in parts for one in part.images],
        categories=[one for part in parts for one in part.categories],
        areas=np.concatenate([part.areas for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
        scores=[one for part in parts for one in part.scores],
    )


def _copied(ids: list[int]) -> list[int]:
    """The same numbers as new objects: a kept one would keep the memory around it, where the JSON document was."""
    try:
        copied: list[int] = np.array(ids, dtype=np.int64).tolist()
    except OverflowError:
        return ids
    return copied


def _compressed(segmentations: Sequence[Any], sizes: Sequence[tuple[int, int] | None]) -> list[bytes] | None:
    """The run lengths, if all are compressed RLEs of these sizes, as far as can be seen without reading them."""
    if None in sizes or not _all(type, segmentations, {dict}):
        return None
    texts = [segmentation.get("counts") for segmentation in segmentations]
    stated = [segmentation.get("size") for segmentation in segmentations]
    if (
        not _all(type, texts, {str})
        or not all(map(str.isascii, texts))
        or not _all(type, stated, {list})
        or not _all(type, chain.from_iterable(stated), {int})
        or list(map(tuple, stated)) != list(sizes)
    ):
        return None
    return [text.encode("ascii") for text in texts]


def _plain_columns(rows: Sequence[Row], known: Known) -> _Columns | None:
    """The values of the rows, if those of all are of the format's own types, and refer to what there is."""

    def values(key: str) -> list[Any]:
        return [row.get(key) for row in rows]

    scores = values("score")
    stated = [score for score in scores if score is not None]
    if (
        not _all(type, ids := values("id"), {int})
        or not _all(type, images := values("image_id"), {int})
        or not known.images.keys() >= set(images)
        or not _all(type, categories := values("category_id"), {int})
        or not known.categories >= set(categories)
        or not _all(type, crowds := values("iscrowd"), {int})
        or any(crowds)
        or (areas := plain_numbers(values("area"))) is None
        or (sides := _plain_sides(values("bbox"))) is None
        or not _all(type, stated, _NUMBERS)
        or not all(0 <= score <= 1 for score in stated)
    ):
        return None
    return _Columns(ids, images, categories, areas, sides.reshape(-1, 4), scores)


def _plain_parts(read: Callable[[slice], _Value | None], start: int, stop: int) -> list[tuple[range, _Value]]:
    """The indices from `start` to `stop` of rows that are plain, in ranges, each with what `read` makes of its rows; it
    is asked about as many rows at once as possible, and gives None where one of them is not plain.

    Not a closure that calls itself: such a cycle keeps the rows in memory while the garbage collector is off.
    """
    if start < stop and (found := read(slice(start, stop))) is not None:
        return [(range(start, stop), found)]
    if stop - start < 2:
        return []
    middle = (start + stop) // 2
    return [*_plain_parts(read, start, middle), *_plain_parts(read, middle, stop)]


def _all(what: Callable[[Any], Any], values: Iterable[Any], allowed: set[Any]) -> bool:
    return allowed.issuperset(map(what, values))
