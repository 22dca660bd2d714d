"""From a mask to objects, for `ThresholdBase`: touching ones parted, each measured and scored; into detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...core.masks import BoolMask, fill_holes
from .threshold_signals import Floats

if TYPE_CHECKING:
    import supervision as sv

Labels = npt.NDArray[np.int32]


def part(signal: Floats, mask: BoolMask, split: float, seam: float, speck: float) -> Labels:
    """The mask's objects, touching ones parted where they are narrow or where a seam runs; 0 is the ground.

    Markers are the maxima of log(distance to the edge or a seam): a depth in the log is a *ratio* of widths, so an even
    bar, ring or elbow stays whole however long, and small objects part like large ones.
    """
    import cv2
    from skimage.segmentation import watershed

    if not split:
        return np.asarray(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[1], dtype=np.int32)
    smooth = cv2.GaussianBlur(signal, (0, 0), 1.0)
    dip = cv2.morphologyEx(smooth, cv2.MORPH_BLACKHAT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11)))
    solid = _fill_bores(mask)
    core = _fill_bores(fill_holes(solid & (dip <= seam), speck))
    depth = cv2.GaussianBlur(cv2.distanceTransform(core.astype(np.uint8), cv2.DIST_L2, 5), (0, 0), 1.0)
    # Two pixels more: a ragged edge moves the width of a thin part by a pixel, which is no neck.
    depth = np.log(np.where(solid, depth, 0) + 2).astype(np.float32)
    maxima = _peaks(depth, solid, -np.log(split))
    markers = cv2.connectedComponents(maxima.astype(np.uint8), connectivity=8)[1]
    labels: Labels = (watershed(-depth, markers, mask=solid) * mask).astype(np.int32)
    return labels


def _peaks(depth: Floats, solid: BoolMask, height: float) -> BoolMask:
    """`h_maxima` of the depth, HW float32, inside `solid`; outside of it the depth is the same everywhere, and least.

    Connected parts of `solid` do not change each other's maxima: each is searched in its own box, as the time goes
    into sorting the pixels.
    """
    import cv2
    from skimage.morphology import h_maxima

    count, parts, stats, _ = cv2.connectedComponentsWithStats(solid.astype(np.uint8), connectivity=8)
    # One pixel of ground around each, where the image has it.
    boxes = [
        (slice(max(y - 1, 0), y + tall + 1), slice(max(x - 1, 0), x + wide + 1))
        for x, y, wide, tall, _ in stats[1:count].tolist()
    ]
    if sum(depth[box].size for box in boxes) >= depth.size:
        whole: BoolMask = h_maxima(depth, height).astype(bool) & solid
        return whole
    peaks = np.zeros_like(solid)
    ground = depth[~solid][0] if len(boxes) else 0
    for number, box in enumerate(boxes, start=1):
        own = parts[box] == number
        peaks[box] |= h_maxima(np.where(own, depth[box], ground), height).astype(bool) & own
    return peaks


def _fill_bores(mask: BoolMask) -> BoolMask:
    """The mask with its compact convex holes filled: the bore of a ring belongs to one object, while the gap between
    touching round objects has hollow sides."""
    import cv2

    filled: BoolMask = mask.copy()
    count, parts, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    for part in range(1, count):
        x, y, width, height, area = stats[part].tolist()
        inner = x > 0 and y > 0 and x + width < mask.shape[1] and y + height < mask.shape[0]
        if not inner or area < 0.5 * width * height or max(width, height) > 2 * min(width, height):
            continue
        hole = parts[y : y + height, x : x + width] == part
        hull = np.zeros(hole.shape, dtype=np.uint8)
        points = cv2.findNonZero(hole.astype(np.uint8))
        cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
        if area > 0.9 * np.count_nonzero(hull):
            filled[y : y + height, x : x + width] |= hole
    return filled


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One object: its mask cropped to its box, whose first row and column are `top` and `left`."""

    prompt: int
    top: int
    left: int
    mask: BoolMask
    area: int
    score: float


def measure(prompt: int, labels: Labels, label: int, place: tuple[slice, slice], signal: Floats) -> FoundObject:
    """One object cut out of the label image, scored by its contrast to what surrounds it, its shape and its size."""
    import cv2

    rows, columns = place
    top, left = max(rows.start - 3, 0), max(columns.start - 3, 0)
    window = (slice(top, rows.stop + 3), slice(left, columns.stop + 3))
    inside = labels[window] == label
    # Glints and dark spots are part of the object; the bore of a ring is larger.
    inside = fill_holes(inside, 0.04 * float(inside.sum()))
    outline, area = inside.astype(np.uint8), int(inside.sum())
    contour = max(cv2.findContours(outline, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0], key=len)
    solidity = min((cv2.contourArea(contour) + 1) / (cv2.contourArea(cv2.convexHull(contour)) + 1), 1.0)
    ring = (cv2.dilate(outline, np.ones((5, 5), np.uint8)) > 0) & ~inside
    level = float(signal[window][inside].mean())
    # A neighbor that is brighter says nothing against an object.
    contrast = level - float(np.minimum(signal[window][ring], level).mean()) if ring.any() else 0.0
    shape = min(max((solidity - 0.5) / 0.45, 0.05), 1.0) ** 0.7
    score = min(max(contrast, 0.0), 1.0) * shape * (1 - float(np.exp(-area / 100)))
    tight = inside[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return FoundObject(prompt, rows.start, columns.start, tight, area, score)


def to_detections(found: Sequence[FoundObject], height: int, width: int) -> sv.Detections:
    """The objects, best first, as `ThresholdBase.predict` gives those of an image of `height` x `width` pixels."""
    import supervision as sv

    masks = np.zeros((len(found), height, width), dtype=bool)
    boxes = np.zeros((len(found), 4), dtype=np.float32)
    for out, box, o in zip(masks, boxes, found, strict=True):
        rows, columns = o.mask.shape
        out[o.top : o.top + rows, o.left : o.left + columns] = o.mask
        box[:] = o.left, o.top, o.left + columns, o.top + rows
    return sv.Detections(
        xyxy=boxes,
        mask=masks,
        confidence=np.array([o.score for o in found], dtype=np.float32),
        class_id=np.array([o.prompt for o in found], dtype=int),
    )
