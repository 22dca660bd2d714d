"""One row of a foreign COCO file's `annotations`, every field checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import masks
from ..records import FileId, Rle
from . import kinds
from . import segmentation as segmentations
from .mask_forms import is_missing, plain_form
from .problem import Note, Teller, shown
from .values import as_id, number_of

Row = dict[str, Any]
Box = tuple[float, float, float, float]

# An edge may be off by 2 pixels and 5 % of the longer side: a sliver of a polygon has no pixel.
_BOX_SLACK = (2.0, 0.05)
# Pixels, and a share of the mask: a polygon's exact area is not that of its pixels.
_AREA_SLACK = (12.0, 0.12)
# How far a stated size may be from the image's where the image is trusted; more is no slip of a pixel.
_TRUSTED_PIXELS = 2


@dataclass(frozen=True, slots=True)
class Image:
    """One row of `images`.

    `file_name` is as stated; `path` is where the file lies (where it would, if it is not there), `upright` as in
    `TruthImage`. Sides are in pixels; `stated` (height, width) are those that the row states, where the image's own are
    trusted instead.
    """

    id: FileId
    file_name: str
    height: int
    width: int
    path: Path
    upright: bool = True
    stated: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Annotation:
    """One row of `annotations`; `image` and `category` are keys of the file's images and categories.

    `rle` is checked, and None where the row has a box alone. `area` and `bbox_xywh` are as stated, None where they are
    to be computed from the mask. `polygons` tells the form of the mask.
    """

    id: FileId | None
    image: FileId
    category: FileId
    rle: Rle | None
    crowd: bool
    area: float | None
    bbox_xywh: Box | None
    polygons: bool
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What an annotation may point to: sound `images` by key, keys of image rows that are left out, categories."""

    images: Mapping[FileId, Image]
    left_out: frozenset[FileId]
    categories: frozenset[FileId]


def read_annotation(row: Row, number: FileId | None, note: Note, path: Path, known: Known) -> Annotation | None:
    """The annotation, or None where `note` was told of an error that leaves neither a mask nor a box in an image.

    `number` is the row's id, None where it has none of its own. A category that the file does not list is an error,
    and so is a box without a mask; the annotation is given all the same.
    """
    image_id = as_id(row.get("image_id"))
    place = Teller(note, path, None if image_id is None else image_id.stated, number)
    pointed = _pointed(row, place, known)
    if pointed is None:
        return None
    image, category = pointed
    keys, crowd, score = (number, image, category), _crowd(row, place), _score(row, place)
    if is_missing(row.get("segmentation")):
        what = "`segmentation` is empty" if "segmentation" in row else "`segmentation` is missing"
        place.tell(kinds.NO_MASK, f"{what}: there is no mask")
        box = _stated_box(row.get("bbox"))
        return None if box is None else Annotation(*keys, None, crowd, None, box, False, score)
    rle = _mask(row, known.images[image], place)
    if rle is None:
        return None
    polygons = isinstance(row["segmentation"], list)
    return Annotation(*keys, rle, crowd, _area(row, rle, place), _bbox(row, rle, place), polygons, score)


def read_box(row: Row, number: FileId | None, note: Note, path: Path, known: Known) -> Annotation | None:
    """As `read_annotation`, for whoever needs the boxes alone: the mask is looked at only where no box is stated."""
    image_id = as_id(row.get("image_id"))
    place = Teller(note, path, None if image_id is None else image_id.stated, number)
    pointed = _pointed(row, place, known)
    if pointed is None:
        return None
    image, category = pointed
    crowd, score, box = _crowd(row, place), _score(row, place), _stated_box(row.get("bbox"))
    if box is None and row.get("bbox") is None and not is_missing(row.get("segmentation")):
        rle = _mask(row, known.images[image], place)
        box = None if rle is None else masks.bbox_xywh(rle)
        if rle is None:
            return None
    if box is None:
        message = f"`bbox` must be [x, y, width, height], four numbers, not {shown(row.get('bbox'))}"
        place.tell(kinds.NO_BOX, message)
        return None
    return Annotation(number, image, category, None, crowd, None, box, False, score)


def _pointed(row: Row, place: Teller, known: Known) -> tuple[FileId, FileId] | None:
    """The keys of the row's image and category; None where `place` was told that there is no such image, or none is
    named. A category that is not listed is told, and given."""
    image_id, category_id = as_id(row.get("image_id")), as_id(row.get("category_id"))
    if image_id is None or image_id.key not in known.images:
        _tell_unknown_image(row, place, known)
        return None
    if category_id is None:
        place.tell(kinds.UNKNOWN_CATEGORY, f"`category_id` must be an integer, not {shown(row.get('category_id'))}")
        return None
    if category_id.key not in known.categories:
        place.tell(kinds.UNKNOWN_CATEGORY, f"`category_id` {shown(category_id.stated)} is not listed in the file")
    for one in (image_id, category_id):
        if one.form == "number":
            place.tell(kinds.ID_FORM, f"{shown(one.stated)} is read as the id {one.key}")
    return image_id.key, category_id.key


def _tell_unknown_image(row: Row, place: Teller, known: Known) -> None:
    image_id = as_id(row.get("image_id"))
    if image_id is None:
        place.tell(kinds.UNKNOWN_IMAGE, f"`image_id` must be an integer, not {shown(row.get('image_id'))}")
    elif image_id.key in known.left_out:
        place.tell(kinds.IMAGE_LEFT_OUT, f"its image, id {shown(image_id.stated)}, is left out")
    else:
        place.tell(kinds.UNKNOWN_IMAGE, f"`image_id` {shown(image_id.stated)} is not listed in the file")


def _crowd(row: Row, place: Teller) -> bool:
    if "iscrowd" not in row:
        place.tell(kinds.CROWD_MISSING, "`iscrowd` is missing")
        return False
    stated = row["iscrowd"]
    if not isinstance(stated, bool) and type(stated) is int and stated in (0, 1):
        crowd = bool(stated)
    else:
        number = 0.0 if stated is None else float(stated) if isinstance(stated, bool) else number_of(stated)
        if number not in (0, 1):
            place.tell(kinds.CROWD_WRONG, f"`iscrowd` must be 0 or 1, not {shown(stated)}")
            return False
        crowd = bool(number)
        place.tell(kinds.CROWD_FORM, f"`iscrowd` {shown(stated)} is read as {int(crowd)}")
    if crowd:
        place.tell(kinds.CROWD, "iscrowd is 1: RF-DETR leaves the annotation out of training")
    return crowd


def _mask(row: Row, image: Image, place: Teller) -> Rle | None:
    segmentation, told = plain_form(row.get("segmentation"))
    try:
        rle, moved = _parsed(segmentation, image)
    except ValueError as error:
        place.tell(kinds.MASK, str(error))
        return None
    for kind in sorted(told, key=lambda kind: kind.name):
        place.tell(kind, f"{kind.name}: {kind.treatment}")
    if moved:
        place.tell(kinds.MASK_MOVED, f"the mask is of {image.stated}, the image of {(image.height, image.width)}")
    if isinstance(segmentation, list) and segmentations.leaves(segmentation, image.height, image.width):
        place.tell(kinds.MASK_OUTSIDE, "a polygon reaches outside of the image; the part outside is cut off")
    return rle


def _parsed(segmentation: Any, image: Image) -> tuple[Rle, bool]:
    """The mask in the image's own size, and whether it was written for another, stated one."""
    if image.stated is None or isinstance(segmentation, list):
        return segmentations.parse(segmentation, image.height, image.width), False
    rle = segmentations.parse(segmentation, *image.stated)
    if max(abs(image.height - rle.height), abs(image.width - rle.width)) > _TRUSTED_PIXELS:
        raise ValueError(
            f"the RLE is of {rle.width} x {rle.height} pixels, and the image has {image.width} x {image.height}"
        )
    return masks.resize_canvas(rle, image.height, image.width), True


def _area(row: Row, rle: Rle, place: Teller) -> float | None:
    stated = row.get("area")
    drawn = masks.area(rle)
    if not drawn:
        place.tell(kinds.MASK_EMPTY, "the mask covers no pixel")
    if stated is None:
        place.tell(kinds.AREA_MISSING, "`area` is missing")
        return None
    area = number_of(stated)
    if area is None or area < 0 or isinstance(stated, str):
        place.tell(kinds.AREA_FORM, f"`area` must be a number of at least 0, not {shown(stated)}")
        return area if area is not None and area >= 0 else None
    if area_differs(area, drawn):
        place.tell(kinds.AREA_DIFFERS, f"`area` is {area:g}, but the mask covers {drawn} pixels")
    return area


def area_differs(stated: float, drawn: int) -> bool:
    """Whether a stated area is another than that of a mask of `drawn` pixels."""
    pixels, share = _AREA_SLACK
    return drawn > 0 and abs(stated - drawn) > pixels + share * drawn


def _bbox(row: Row, rle: Rle, place: Teller) -> Box | None:
    stated = row.get("bbox")
    if stated is None:
        place.tell(kinds.BOX_MISSING, "`bbox` is missing; most readers need it")
        return None
    box = _stated_box(stated)
    if box is None:
        place.tell(kinds.BOX_FORM, f"`bbox` must be [x, y, width, height], four numbers, not {shown(stated)}")
        return None
    if isinstance(stated, list) and any(isinstance(side, str) for side in stated):
        place.tell(kinds.BOX_FORM, f"`bbox` holds text: {shown(stated)}")
    drawn = masks.bbox_xywh(rle)
    if masks.area(rle) and _far(box, drawn):
        place.tell(kinds.BOX_DIFFERS, f"`bbox` is {_listed(box)}, but the mask's box is {_listed(drawn)}")
        return None
    return box


def _stated_box(stated: object) -> Box | None:
    """The box that is four numbers, sides of at least 0; None where it is not."""
    numbers = [number_of(side) for side in stated] if isinstance(stated, list) and len(stated) == 4 else []
    x, y, width, height = numbers or (None, None, None, None)
    if x is None or y is None or width is None or height is None or width < 0 or height < 0:
        return None
    return (x, y, width, height)


def _score(row: Row, place: Teller) -> float | None:
    stated = row.get("score")
    if stated is None:
        return None
    score = number_of(stated)
    if score is None or not 0 <= score <= 1:
        place.tell(kinds.SCORE_FORM, f"`score` must be a number from 0 to 1, not {shown(stated)}")
        return None
    return score


def _far(stated_xywh: Box, drawn_xywh: Box) -> bool:
    """Whether a stated box is another than the mask's."""
    pixels, share = _BOX_SLACK
    (x, y, width, height), (x2, y2, width2, height2) = stated_xywh, drawn_xywh
    edges = ((x, x2), (y, y2), (x + width, x2 + width2), (y + height, y2 + height2))
    return max(abs(one - two) for one, two in edges) > pixels + share * max(width2, height2)


def _listed(box_xywh: Box) -> str:
    return "[" + ", ".join(f"{side:g}" for side in box_xywh) + "]"
