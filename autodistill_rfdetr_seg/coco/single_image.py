"""One image at a time, as servers receive and return them: a COCO file with polygons, and a mask of polygons or an
RLE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core import masks
from ..core.types import Classes, Rle, TruthImage
from . import segmentation as segmentations
from .writing import category_rows


def image_file(image: TruthImage, classes: Classes, file_name: str) -> tuple[dict[str, Any], int]:
    """The COCO file of one image of a dataset, masks as polygons, and how many of them lost pixels by that.

    A crowd and an empty mask are left out. An image without objects gets one row that belongs to no image: Roboflow
    recognizes a COCO file by its rows, and would read one without rows as another format.
    """
    rows: list[dict[str, Any]] = []
    simplified = 0
    for instance in image.instances:
        polygons, exact = segmentations.to_polygons(instance.rle)
        if instance.crowd or not polygons:
            continue
        simplified += not exact
        rows.append(
            {
                "id": len(rows) + 1,
                "image_id": 1,
                "category_id": instance.class_index + 1,
                "segmentation": polygons,
                "area": masks.area(instance.rle),
                "bbox": list(masks.bbox_xywh(instance.rle)),
                "iscrowd": 0,
            }
        )
    nobody = {"id": 1, "image_id": 2, "category_id": 1, "segmentation": [], "area": 1, "bbox": [0, 0, 1, 1]}
    return {
        "info": {},
        "licenses": [],
        "categories": category_rows(classes),
        "images": [{"id": 1, "file_name": file_name, "height": image.height, "width": image.width}],
        "annotations": rows or [{**nobody, "iscrowd": 0}],
    }, simplified


def from_answer(found: Mapping[str, Any], height: int, width: int) -> Rle | None:
    """The mask of one prediction of a Roboflow Inference server: its `rle` (or `rle_mask`), or the polygon of `points`.

    Returns:
        The mask in an image of `height` x `width` pixels; None if it has none, or a polygon of fewer than 3 points.

    Raises:
        ValueError: its mask is not of such an image.
    """
    rle = found.get("rle_mask") or found.get("rle")
    if rle:
        return segmentations.parse(rle, height, width)
    points = found.get("points") or []
    if len(points) < 3:
        return None
    try:
        flat = [float(point[axis]) for point in points for axis in ("x", "y")]
    except (KeyError, TypeError) as error:
        raise ValueError("a point of its outline has no x and y") from error
    return segmentations.parse([flat], height, width)
