"""Pure mask functions: RLE ↔ bool, area, box, IoU, holes, islands.

A dense mask is HW bool, row-major in memory; an `Rle` is COCO's compressed encoding, column-major. Boxes say their
convention in their name: `bbox_xywh` is COCO's [x, y, width, height] in pixels, `xyxy` is [x0, y0, x1, y1] with the far
edge exclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..runtime.instance_mask import Crop
from .types import Rle

BoolMask = npt.NDArray[np.bool_]

# Pixels of an image's height or width: pycocotools counts the pixels of an image in 31 bits.
MAX_SIDE = 2**15


def encode(mask: npt.NDArray[Any]) -> Rle:
    """The RLE of a dense HW mask (bool, or any number where non-zero is inside).

    Only the mask's own box is looked at closely: for an object in a large frame that is many times faster than
    pycocotools' encoder, and gives the same bytes.
    """
    if mask.ndim != 2:
        raise ValueError(f"A mask has 2 axes (height, width), not {mask.ndim}.")
    inside = mask if mask.dtype == np.bool_ else mask != 0
    height, width = inside.shape
    rows = np.flatnonzero(inside.any(axis=1))
    if not len(rows):
        return _compress([height * width], height, width)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(inside[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    return encode_at(inside[top:bottom, left:right], top, left, height, width)


def encode_at(crop: npt.NDArray[Any], top: int, left: int, height: int, width: int) -> Rle:
    """The RLE, in a frame of `height` x `width` pixels, of a crop (bool, or 0 and 1) at (`top`, `left`)."""
    # One empty row above and below each column, so that every run starts and ends within its column.
    rows = crop.shape[0] + 2
    padded = np.zeros((crop.shape[1], rows), dtype=np.bool_)
    padded[:, 1:-1] = crop.T
    flat = padded.ravel()
    column, edge = np.divmod(np.flatnonzero(flat[1:] != flat[:-1]) + 1, rows)
    bounds = (left + column) * height + top + edge - 1
    # A run that ends a column of the frame continues in the next if that starts inside the mask.
    apart = np.ones(len(bounds), dtype=bool)
    meets = np.flatnonzero(bounds[1:-1:2] == bounds[2::2])
    apart[2 * meets + 1] = apart[2 * meets + 2] = False
    counts = np.diff(bounds[apart], prepend=0, append=height * width).tolist()
    return _compress(counts if counts[-1] or len(counts) == 1 else counts[:-1], height, width)


def encode_crop(crop: Crop, height: int, width: int) -> Rle:
    """The RLE of a crop in a frame of `height` x `width` pixels."""
    return encode_at(crop.pixels, crop.top, crop.left, height, width)


def _compress(counts: list[int], height: int, width: int) -> Rle:
    from pycocotools import mask as coco_mask

    raw = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return Rle(int(height), int(width), raw["counts"])


def decode(rle: Rle) -> BoolMask:
    """The dense HW bool mask of an RLE."""
    from pycocotools import mask as coco_mask

    return np.ascontiguousarray(coco_mask.decode(to_coco(rle))).astype(bool)


def decode_box(rle: Rle) -> tuple[BoolMask, int, int]:
    """The dense mask within its own box and a pixel or two around it, as far as the image goes; its top and left.

    Top and left are even: OpenCV numbers parts by squares of 2 x 2 pixels, so that it numbers those of the crop as it
    would those of the whole.
    """
    from pycocotools import mask as coco_mask

    x, y, width, height = (int(side) for side in bbox_xywh(rle))
    top, left = max(0, y - 1) // 2 * 2, max(0, x - 1) // 2 * 2
    whole = coco_mask.decode(to_coco(rle))
    return np.ascontiguousarray(whole[top : y + height + 1, left : x + width + 1]).astype(bool), top, left


def decode_crop(rle: Rle, top: int = 0, left: int = 0) -> Crop:
    """The pixels of a mask within its own box; `top` and `left` are where its image, a tile, begins in a whole one."""
    from pycocotools import mask as coco_mask

    x, y, width, height = (int(side) for side in bbox_xywh(rle))
    inside = coco_mask.decode(to_coco(rle))[y : y + height, x : x + width]
    return Crop(top + y, left + x, inside.astype(bool))


def resize_canvas(rle: Rle, height: int, width: int) -> Rle:
    """The mask in a frame of `height` x `width` pixels, cut off or filled with zeros at the right and bottom."""
    mask = decode(rle)[:height, :width]
    return encode(np.pad(mask, ((0, height - mask.shape[0]), (0, width - mask.shape[1]))))


def to_coco(rle: Rle) -> dict[str, Any]:
    """pycocotools' form of an RLE, its counts as bytes."""
    return {"size": [rle.height, rle.width], "counts": rle.counts}


def area(rle: Rle) -> int:
    """The number of pixels inside."""
    from pycocotools import mask as coco_mask

    return int(coco_mask.area(to_coco(rle)))


def bbox_xywh(rle: Rle) -> tuple[float, float, float, float]:
    """The tight box of the mask, [x, y, width, height] in pixels; zeros for an empty mask."""
    from pycocotools import mask as coco_mask

    x, y, width, height = coco_mask.toBbox(to_coco(rle)).tolist()
    return (x, y, width, height)


def areas(rles: Sequence[Rle]) -> list[int]:
    """`area` of each mask, faster than one by one."""
    from hotcoco import mask as coco_mask

    return [int(one) for one in coco_mask.area([to_coco(rle) for rle in rles])] if rles else []


def boxes_xywh(rles: Sequence[Rle]) -> list[tuple[float, float, float, float]]:
    """`bbox_xywh` of each mask, faster than one by one."""
    return [(x, y, width, height) for x, y, width, height in box_array_xywh(rles).tolist()]


def given_or_own_boxes_xywh(
    rles: Sequence[Rle], given: Sequence[tuple[float, float, float, float] | None]
) -> list[tuple[float, float, float, float]]:
    """Each given box, and `bbox_xywh` of the mask where there is none."""
    own = iter(boxes_xywh([rle for rle, box in zip(rles, given, strict=True) if box is None]))
    return [next(own) if box is None else box for box in given]


def box_array_xywh(rles: Sequence[Rle]) -> npt.NDArray[np.float64]:
    """`bbox_xywh` of each mask, (N, 4) float64."""
    from pycocotools import mask as coco_mask

    if not rles:
        return np.zeros((0, 4))
    result: npt.NDArray[np.float64] = np.asarray(coco_mask.toBbox([to_coco(rle) for rle in rles]), dtype=np.float64)
    return result


def iou_matrix(first: Sequence[Rle], second: Sequence[Rle]) -> npt.NDArray[np.float64]:
    """Mask IoU of every pair, shape (len(first), len(second)), float64 in 0..1."""
    return _overlaps(first, second, of_first=False)


def covered_fraction(first: Sequence[Rle], second: Sequence[Rle]) -> npt.NDArray[np.float64]:
    """The fraction of each first mask's pixels that each second one covers, (len(first), len(second)) float64."""
    return _overlaps(first, second, of_first=True)


def _overlaps(first: Sequence[Rle], second: Sequence[Rle], *, of_first: bool) -> npt.NDArray[np.float64]:
    """The pixels of both masks of a pair as a fraction of those of either, or `of_first`, as pycocotools computes it
    for crowds."""
    from pycocotools import mask as coco_mask

    if not first or not second:
        return np.zeros((len(first), len(second)))
    one, two = [to_coco(r) for r in first], [to_coco(r) for r in second]
    found = coco_mask.iou(one, two, [int(of_first)] * len(two))
    result: npt.NDArray[np.float64] = np.asarray(found, dtype=np.float64)
    return result


def intersection_over_minimum(iou: npt.NDArray[np.float64], areas: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Intersection over the smaller mask, from the IoU matrix (N, N) and areas (N,): 1 where one mask is nested."""
    total = areas[:, None] + areas[None, :]
    intersection = iou * total / (1.0 + iou)
    smaller = np.maximum(np.minimum(areas[:, None], areas[None, :]), 1e-9)
    result: npt.NDArray[np.float64] = np.minimum(intersection / smaller, 1.0)
    return result


def remove_islands(mask: BoolMask, min_area: float) -> BoolMask:
    """The mask without its connected parts (8-connected) under `min_area` pixels; the largest part always stays."""
    import cv2

    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    areas = stats[1:, cv2.CC_STAT_AREA]
    keep = areas >= min_area
    keep[int(areas.argmax())] = True
    kept: BoolMask = np.concatenate([[False], keep])[parts]
    return kept


def fill_holes(mask: BoolMask, max_area: float) -> BoolMask:
    """The mask with its holes (4-connected, not touching the border) of up to `max_area` pixels filled."""
    import cv2

    count, parts, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    if count <= 1:
        return mask
    height, width = mask.shape
    touches = (
        (stats[:, cv2.CC_STAT_LEFT] == 0)
        | (stats[:, cv2.CC_STAT_TOP] == 0)
        | (stats[:, cv2.CC_STAT_LEFT] + stats[:, cv2.CC_STAT_WIDTH] == width)
        | (stats[:, cv2.CC_STAT_TOP] + stats[:, cv2.CC_STAT_HEIGHT] == height)
    )
    fill = ~touches & (stats[:, cv2.CC_STAT_AREA] <= max_area)
    fill[0] = False
    filled: BoolMask = mask | fill[parts]
    return filled


def differ_in_outline_alone(first: Rle, second: Rle) -> bool:
    """Whether two masks of one image differ, if at all, in pixels up to 1 from the first one's outline alone, and have
    as many parts (8-connected) and holes (4-connected)."""
    import cv2

    one, two = (decode(rle) for rle in (first, second))
    rows, columns = (np.flatnonzero((one | two).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return True
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    # Framed, so that all that lies outside is one part, and no outline lies on the crop's edge.
    old, new = (np.pad(mask[box], 2).astype(np.uint8) for mask in (one, two))
    around = np.ones((3, 3), np.uint8)
    if (new > cv2.dilate(old, around)).any() or (cv2.erode(old, around) > new).any():
        return False
    return _parts_and_holes(old) == _parts_and_holes(new)


def _parts_and_holes(framed: npt.NDArray[np.uint8]) -> tuple[int, int]:
    import cv2

    parts, _ = cv2.connectedComponents(framed, connectivity=8)
    outside, _ = cv2.connectedComponents(1 - framed, connectivity=4)
    return parts - 1, outside - 2
