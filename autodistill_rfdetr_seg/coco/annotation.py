"""One row of a foreign COCO file's `annotations`, every field checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..records import Rle
from . import segmentation as segmentations
from .problem import Note, Teller, as_number, shown

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Image:
    """One row of `images`; `file_name` is as stated and stays inside the folder; sides in pixels."""

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """One row of `annotations`; `rle` is checked, `area` and `bbox_xywh` as stated, `polygons` the form of the mask."""

    id: int
    image_id: int
    category_id: int
    rle: Rle
    crowd: bool
    area: float | None
    bbox_xywh: tuple[float, float, float, float] | None
    polygons: bool


def read_annotation(
    row: Row, note: Note, path: Path, *, images: dict[int, Image], known_images: set[int], known_categories: set[int]
) -> Annotation | None:
    """The annotation, or None where `note` was told of an error; `known_*` are the ids that the file lists."""
    number, image_id, category_id = row["id"], row.get("image_id"), row.get("category_id")
    place = Teller(note, path, image_id if type(image_id) is int else None, number)
    for key, value, known in (("image_id", image_id, known_images), ("category_id", category_id, known_categories)):
        if type(value) is not int:
            place.error(f"`{key}` must be an integer, not {shown(value)}")
        elif value not in known:
            place.error(f"`{key}` {shown(value)} is not listed in the file")
    if number == 0:
        place.warning("an annotation id of 0 counts as unmatched in pycocotools, and CVAT refuses it")
    area, bbox, crowd = _area(row, place), _bbox(row, place), _crowd(row, place)
    image = images.get(image_id) if type(image_id) is int else None
    rle = _mask(row, image, place)
    if not place.sound or image is None or rle is None:
        return None
    polygons = isinstance(row["segmentation"], list)
    return Annotation(number, image.id, row["category_id"], rle, crowd, area, bbox, polygons)


def _area(row: Row, place: Teller) -> float | None:
    stated = row.get("area")
    area = as_number(stated)
    if stated is not None and (area is None or area < 0):
        place.error(f"`area` must be a number of at least 0, not {shown(stated)}")
    return area


def _bbox(row: Row, place: Teller) -> tuple[float, float, float, float] | None:
    stated = row.get("bbox")
    if stated is None:
        return None
    numbers = [as_number(side) for side in stated] if isinstance(stated, list) and len(stated) == 4 else []
    x, y, width, height = numbers or (None, None, None, None)
    if x is None or y is None or width is None or height is None or width < 0 or height < 0:
        place.error(f"`bbox` must be [x, y, width, height], four numbers, not {shown(stated)}")
        return None
    return (x, y, width, height)


def _crowd(row: Row, place: Teller) -> bool:
    stated = row.get("iscrowd", 0)
    if not isinstance(stated, int) or stated not in (0, 1):
        place.error(f"`iscrowd` must be 0 or 1, not {shown(stated)}")
        return False
    if stated:
        place.warning("iscrowd is 1: RF-DETR leaves the annotation out of training")
    return bool(stated)


def _mask(row: Row, image: Image | None, place: Teller) -> Rle | None:
    if image is None:
        return None
    segmentation = row.get("segmentation")
    try:
        rle = segmentations.parse(segmentation, image.height, image.width)
    except ValueError as error:
        place.error(str(error))
        return None
    if isinstance(segmentation, list) and segmentations.leaves(segmentation, image.height, image.width):
        place.warning("a polygon reaches outside of the image; the part outside is cut off")
    return rle
