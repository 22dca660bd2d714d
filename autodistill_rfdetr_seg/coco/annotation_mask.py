"""Reads the mask of one row of a COCO file's `annotations`."""

from __future__ import annotations

from typing import Any

from ..core import masks
from ..core.types import Rle
from . import problem_kinds as kinds
from . import segmentation as segmentations
from .mask_forms import plain_form, without_third_values
from .parts import TRUSTED_PIXELS, Image, Row
from .problems import ProblemReporter
from .stated_boxes import is_far, stated_box

# In images with sides of at least this length, numbers from 0 to 1 are shares of the sides rather than pixels.
_SHARES_FROM = 8


def read_mask(row: Row, image: Image, reporter: ProblemReporter) -> tuple[Rle, bool] | None:
    """The mask, and whether it is stated as polygons only; None after an error."""
    segmentation, changes = plain_form(row.get("segmentation"))
    polygons = isinstance(segmentation, list) and not any(isinstance(part, dict) for part in segmentation)
    try:
        rle, moved = _parsed(segmentation, image)
        if polygons:
            _refuse_shares(segmentation, image)
            triples = without_third_values(segmentation)
            if triples is not None and _are_triples(row, rle, triples, image):
                segmentation, changes = triples, changes | {kinds.MASK_FORM}
                rle = segmentations.parse(triples, image.height, image.width)
    except ValueError as error:
        reporter.add(kinds.MASK, str(error))
        return None
    for kind in sorted(changes, key=lambda kind: kind.name):
        reporter.add(kind, f"{kind.name}: {kind.treatment}")
    if moved:
        reporter.add(kinds.MASK_MOVED, f"the mask is of {image.stated}, the image of {(image.height, image.width)}")
    if polygons and segmentations.leaves(segmentation, image.height, image.width):
        reporter.add(kinds.MASK_OUTSIDE, "a polygon extends beyond the image; the part outside is cut off")
    return rle, polygons


def _parsed(segmentation: Any, image: Image) -> tuple[Rle, bool]:
    """The mask in the image's own size, and whether it was written for another, stated one."""
    if isinstance(segmentation, list) and any(isinstance(part, dict) for part in segmentation):
        parts = [_parsed(part if isinstance(part, dict) else [part], image) for part in segmentation]
        return segmentations.union([rle for rle, _ in parts]), any(moved for _, moved in parts)
    if image.stated is None or isinstance(segmentation, list):
        return segmentations.parse(segmentation, image.height, image.width), False
    rle = segmentations.parse(segmentation, *image.stated)
    if max(abs(image.height - rle.height), abs(image.width - rle.width)) > TRUSTED_PIXELS:
        raise ValueError(
            f"the RLE is of {rle.width} x {rle.height} pixels, and the image has {image.width} x {image.height}"
        )
    return masks.resize_canvas(rle, image.height, image.width), True


def _refuse_shares(polygons: list[list[float]], image: Image) -> None:
    """Raises ValueError if all numbers are from 0 to 1, and not only the corners of one pixel."""
    if min(image.height, image.width) < _SHARES_FROM or any(max(part) > 1 or min(part) < 0 for part in polygons):
        return
    if any(not float(value).is_integer() for part in polygons for value in part):
        raise ValueError(
            "all numbers of its polygons are from 0 to 1: they look like shares of width and height, and must be pixels"
        )


def _are_triples(row: Row, pairs: Rle, triples: list[list[float]], image: Image) -> bool:
    """Whether polygons have x, y and a third value, not pairs; the stated box shows which.

    Raises:
        ValueError: the box does not show it.
    """
    box = stated_box(row.get("bbox"))
    if box is not None and not is_far(box, masks.bbox_xywh(pairs)):
        return False
    if box is not None and not is_far(box, masks.bbox_xywh(segmentations.parse(triples, image.height, image.width))):
        return True
    raise ValueError(
        "every third number of its polygons is 0, 1 or 2, and `bbox` does not say whether they are x, y and a third "
        "value: write x and y alone"
    )
