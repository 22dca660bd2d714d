"""Reads the annotations about which nothing is to be reported, many at once; `annotation` reads the others.

Most files have nothing else: masks as compressed RLE with box and area, as this package and pycocotools write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.types import Rle
from .annotation import area_differs
from .parts import Annotation, Known, Row
from .run_lengths import measure
from .stated_boxes import are_far

_NUMBERS = {int, float}


def plain_masks(
    segmentations: Sequence[Any], sizes: Sequence[tuple[int, int] | None]
) -> tuple[list[Rle | None], npt.NDArray[np.int64]]:
    """The masks of valid compressed RLEs in images of these sizes (height, width), and their areas in pixels.

    None, and an area of 0, for any other form, for an invalid RLE, for one with a run of zero pixels inside, and where
    there is no size.
    """
    found: list[Rle | None] = [None] * len(segmentations)
    areas = np.zeros(len(segmentations), dtype=np.int64)
    places: list[int] = []
    counts: list[bytes] = []
    for at, (segmentation, size) in enumerate(zip(segmentations, sizes, strict=True)):
        if size is None or type(segmentation) is not dict:
            continue
        text, stated = segmentation.get("counts"), segmentation.get("size")
        if type(text) is not str or not text.isascii() or type(stated) is not list or len(stated) != 2:
            continue
        if type(stated[0]) is int and type(stated[1]) is int and (stated[0], stated[1]) == size:
            places.append(at)
            counts.append(text.encode("ascii"))
    chosen = [sizes[at] or (0, 0) for at in places]
    plain, measured = measure(counts, [height * width for height, width in chosen])
    for index in np.flatnonzero(plain).tolist():
        found[places[index]] = Rle(*chosen[index], counts[index])
    areas[places] = measured
    return found, areas


def plain_annotations(rows: Sequence[Row], known: Known) -> list[Annotation | None]:
    """The annotations of the rows that `read_annotation` would read without reporting anything; None for the others."""
    found: list[Annotation | None] = [None] * len(rows)
    places = [at for at, row in enumerate(rows) if _is_plain(row, known)]
    chosen = [rows[at] for at in places]
    images = [known.images[row["image_id"]] for row in chosen]
    rles, drawn_areas = plain_masks(
        [row.get("segmentation") for row in chosen],
        [(image.height, image.width) if image.stated is None else None for image in images],
    )
    kept = [at for at, rle in enumerate(rles) if rle is not None]
    if not kept:
        return found
    chosen, boxes_drawn = [chosen[at] for at in kept], masks.box_array_xywh([rle for rle in rles if rle is not None])
    try:
        stated = np.array([[row["area"], *row["bbox"]] for row in chosen], dtype=np.float64)
    except OverflowError:  # an integer of hundreds of digits
        return found
    drawn = drawn_areas[kept]
    numbers = np.isfinite(stated).all(axis=1) & (stated[:, [0, 3, 4]] >= 0).all(axis=1) & (drawn > 0)
    stated = np.where(numbers[:, None], stated, 0.0)
    sound = numbers & ~area_differs(stated[:, 0], drawn) & ~are_far(stated[:, 1:], boxes_drawn)
    values = stated.tolist()
    for index in np.flatnonzero(sound).tolist():
        row, (area, x, y, width, height) = chosen[index], values[index]
        score = row.get("score")
        found[places[kept[index]]] = Annotation(
            row["id"],
            row["image_id"],
            row["category_id"],
            rles[kept[index]],
            False,
            area,
            (x, y, width, height),
            False,
            None if score is None else float(score),
        )
    return found


def _is_plain(row: Row, known: Known) -> bool:
    """Whether the values of a row, other than its mask, are of the format's own types, and refer to what there is."""
    box, score, crowd = row.get("bbox"), row.get("score"), row.get("iscrowd")
    return (
        type(row.get("id")) is int
        and type(row.get("image_id")) is int
        and row["image_id"] in known.images
        and type(row.get("category_id")) is int
        and row["category_id"] in known.categories
        and type(crowd) is int
        and crowd == 0
        and type(row.get("area")) in _NUMBERS
        and type(box) is list
        and len(box) == 4
        and _NUMBERS.issuperset(map(type, box))
        and (score is None or (type(score) in _NUMBERS and 0 <= score <= 1))
    )
