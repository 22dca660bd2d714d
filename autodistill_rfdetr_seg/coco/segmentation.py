"""Converts a `segmentation` of a COCO file to a checked `Rle`, and a mask to a polygon.

pycocotools' C code trusts what it is given: run lengths that do not add up, a missing terminator or a polygon far
outside of the image read or write past the end of an array. Everything is therefore checked in numpy before
(`run_lengths` checks compressed masks).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.masks import MAX_SIDE
from ..core.types import Rle
from .problems import shown
from .run_lengths import check_runs, encode_runs, runs_of_string

_MAX_PERIMETER = 4e6  # pixels; the C code keeps 5 points a pixel of a polygon's outline
_MIN_POLYGON_IOU = 0.95
_SIMPLIFY_PIXELS = 0.5


def parse(segmentation: object, height: int, width: int) -> Rle:
    """The mask of polygons, an uncompressed or a compressed RLE, in an image of `height` x `width` pixels.

    Raises:
        ValueError: it is none of these, or not one of this image; the message says what is wrong.
    """
    if isinstance(segmentation, dict):
        return _parse_rle(segmentation, height, width)
    if isinstance(segmentation, list):
        return _parse_polygons(polygons(segmentation), height, width)
    raise ValueError(f"`segmentation` must be a list of polygons or an RLE, not {shown(segmentation)}")


def polygons(segmentation: Sequence[Any]) -> list[npt.NDArray[np.float64]]:
    """The polygons of a `segmentation` list, each (N, 2) float64 [x, y] pixels.

    Raises:
        ValueError: the list is empty, or a polygon is not at least three pairs of finite numbers.
    """
    if not segmentation:
        raise ValueError("`segmentation` is empty: there is no mask")
    if not all(isinstance(part, list) for part in segmentation):
        raise ValueError("`segmentation` must be a list of polygons, each itself a list of x, y pairs")
    return [_polygon(part) for part in segmentation]


def leaves(segmentation: Sequence[Any], height: int, width: int) -> bool:
    """Whether a polygon of a valid `segmentation` extends more than 1 pixel beyond the image."""
    far = np.array([width, height]) + 1
    return any(bool((points < -1).any() or (points > far).any()) for points in polygons(segmentation))


def union(rles: Sequence[Rle]) -> Rle:
    """The pixels that any of the masks covers, all of one size."""
    from pycocotools import mask as coco_mask

    return Rle(rles[0].height, rles[0].width, coco_mask.merge([masks.to_coco(rle) for rle in rles])["counts"])


def to_json(rle: Rle) -> dict[str, Any]:
    """The compressed RLE as in a JSON file: `size` [height, width], `counts` a string."""
    return {"counts": rle.counts.decode("ascii"), "size": [rle.height, rle.width]}


def to_polygon(rle: Rle) -> list[list[float]] | None:
    """COCO's form of the mask as one polygon, or None if it would not give the same mask.

    None for several parts or holes, and if pycocotools' rasterization has an IoU under 0.95 with the mask.
    """
    import cv2

    x, y, box_width, box_height = (int(side) for side in masks.bbox_xywh(rle))
    crop = masks.decode(rle)[y : y + box_height, x : x + box_width].astype(np.uint8)
    if crop.size == 0:
        return None
    parts, _ = cv2.findContours(crop, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if len(parts) != 1:
        return None
    outline = _outline(crop) + np.array([x, y])
    for simplify in (_SIMPLIFY_PIXELS, 0.0):
        points = cv2.approxPolyDP(outline.astype(np.float32), simplify, True)[:, 0] if simplify else outline
        flat = [round(float(value), 2) for value in points.ravel()]
        if len(flat) >= 6:
            drawn = _rasterize([np.asarray(flat).reshape(-1, 2)], rle.height, rle.width)
            if masks.iou_matrix([drawn], [rle])[0, 0] >= _MIN_POLYGON_IOU:
                return [flat]
    return None


def to_polygons(rle: Rle) -> tuple[list[list[float]], bool]:
    """The mask as polygons, one for each 8-connected part, the largest first, and whether they give the same mask.

    They do not where the mask has holes (which come back filled), several parts (which some readers take for several
    objects, or take one of), or is too thin for a polygon. An empty mask gives no polygon.
    """
    import cv2

    whole = to_polygon(rle)
    if whole is not None:
        return whole, True
    mask, top, left = masks.decode_box(rle)
    # A frame, so that no hole touches the border of the crop.
    filled = masks.fill_holes(np.pad(mask, 1), np.inf)[1:-1, 1:-1]
    count, parts, stats, _ = cv2.connectedComponentsWithStats(filled.astype(np.uint8), connectivity=8)
    found = []
    for part in sorted(range(1, count), key=lambda part: -int(stats[part, cv2.CC_STAT_AREA])):
        x, y, width, height = (int(side) for side in stats[part, :4])
        crop = parts[y : y + height, x : x + width] == part
        polygon = to_polygon(masks.encode_at(crop, top + y, left + x, rle.height, rle.width))
        if polygon is None:
            outline = _outline(crop.astype(np.uint8)) + np.array([left + x, top + y])
            polygon = [[round(float(value), 2) for value in outline.ravel()]]
        found += polygon
    return found, False


def _outline(crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The outline between inside and outside of a one-part mask, (N, 2) [x, y] with pixel 0 spanning 0..1."""
    from skimage.measure import find_contours

    lines = find_contours(np.pad(crop, 1).astype(np.float64), 0.5, fully_connected="high")
    longest: npt.NDArray[np.float64] = max(lines, key=len)
    return longest[:-1, ::-1] - 0.5  # (row, column) of a pixel's center in the padded crop → x, y of its corner


def _parse_rle(segmentation: dict[str, Any], height: int, width: int) -> Rle:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)):
        raise ValueError(f"the RLE's `size` must be [height, width], not {shown(size)}")
    if size == [width, height] and width != height:
        raise ValueError(f"the RLE's `size` is {shown(size)}, width before height; the format has [{height}, {width}]")
    if size != [height, width]:
        raise ValueError(f"the RLE's `size` is {shown(size)}, but the image is [{height}, {width}]")
    if isinstance(counts, str):
        try:
            raw = counts.encode("ascii")
        except UnicodeEncodeError:
            raise ValueError("the RLE's `counts` have characters that no RLE has") from None
        runs = runs_of_string(raw)
        check_runs(runs, height, width)
        # A run of zero pixels inside is legal, but pycocotools' IoU may stop at one.
        return Rle(height, width, raw) if np.all(runs[1:] > 0) else encode_runs(runs, height, width)
    if isinstance(counts, list):
        if not all(type(run) is int and 0 <= run <= MAX_SIDE**2 for run in counts):
            raise ValueError("the RLE's `counts` must be integers of at least 0")
        runs = np.asarray(counts, dtype=np.int64)
        check_runs(runs, height, width)
        return encode_runs(runs, height, width)
    raise ValueError(f"the RLE's `counts` must be text or a list, not {shown(counts)}")


def _polygon(part: list[Any]) -> npt.NDArray[np.float64]:
    if len(part) < 6 or len(part) % 2:
        raise ValueError(f"a polygon needs at least 3 x, y pairs, and one has {len(part)} numbers")
    if not all(type(value) in (int, float) for value in part):
        raise ValueError("a polygon has a value that is not a number")
    try:
        points = np.asarray(part, dtype=np.float64)
    except OverflowError:
        points = np.full(2, np.inf)
    if not np.isfinite(points).all():
        raise ValueError("a polygon has a number that is not finite")
    return points.reshape(-1, 2)


def _parse_polygons(parts: list[npt.NDArray[np.float64]], height: int, width: int) -> Rle:
    size = np.array([width, height])
    for points in parts:
        if (points < -size).any() or (points > 2 * size).any():
            raise ValueError(f"a polygon is far outside the image of {width} x {height} pixels")
        if np.abs(np.diff(points, axis=0)).max(axis=1).sum() > _MAX_PERIMETER:
            raise ValueError("a polygon's outline is too long")
    return _rasterize(parts, height, width)


def _rasterize(parts: list[npt.NDArray[np.float64]], height: int, width: int) -> Rle:
    from pycocotools import mask as coco_mask

    drawn = coco_mask.frPyObjects([points.ravel().tolist() for points in parts], height, width)
    return Rle(height, width, (drawn[0] if len(drawn) == 1 else coco_mask.merge(drawn))["counts"])
