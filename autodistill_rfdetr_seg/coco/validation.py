"""Every problem of a COCO file, ours or a user's, told at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import masks
from ..errors import MissingInputError
from . import segmentation as segmentations
from .annotation import Annotation, Image
from .parsing import CocoFile, locate, parse, unsafe_file_name
from .problem import Note, Problem, Teller, as_number

_ORIENTATION = 0x0112  # the EXIF tag: 1 is upright, 2-8 are mirrored or turned
_TURNED = (2, 3, 4, 5, 6, 7, 8)
_BOX_SLACK = (
    2.0,
    0.05,
)  # an edge may be off by 2 pixels and 5 % of the longer side: a sliver of a polygon has no pixel
_AREA_SLACK = (12.0, 0.12)  # pixels, share of the mask: a polygon's exact area differs from its pixels'


def validate(source: str | Path, check_images: bool = True) -> list[Problem]:
    """All problems of the COCO file `source` (a JSON file, or a folder with `_annotations.coco.json`).

    An "error" is what `read` refuses, or what makes another reader fail or see something else; a "warning" may not
    be what was meant. `check_images` opens each image's header. Never raises for what a file holds.
    """
    problems: list[Problem] = []
    try:
        path = locate(source)
    except MissingInputError as error:
        return [Problem("error", error.message, Path(source))]
    file = parse(path, problems.append)
    for annotation in file.annotations:
        _check_mask(annotation, path, problems.append)
    if check_images:
        for image in file.images.values():
            _check_image(image, path, problems.append)
    _check_names(file, problems.append)
    return problems


def look_at_mask(row: Mapping[str, Any], height: int, width: int) -> str | None:
    """What is wrong with one raw annotation's mask, in the same words for each such row; None where nothing is.

    "mask cannot be read", "mask is empty", or "box is not the mask's", by the slack of `validate`.
    """
    try:
        rle = segmentations.parse(row.get("segmentation"), height, width)
    except ValueError:
        return "mask cannot be read"
    if not masks.area(rle):
        return "mask is empty"
    numbers = [as_number(side) for side in row.get("bbox") or ()]
    if len(numbers) != 4 or None in numbers:
        return "box is missing"
    x, y, box_width, box_height = (side or 0.0 for side in numbers)
    return "box is not the mask's" if _far((x, y, box_width, box_height), masks.bbox_xywh(rle)) else None


def look_at_image(path: Path, row: Mapping[str, Any]) -> list[str]:
    """What is wrong with one raw image row of the COCO file `path`, in the same words for each such row.

    "image file is missing", "image file cannot be opened", "image size is not the file's", "image is turned by EXIF".
    """

    if unsafe_file_name(row["file_name"]):
        return ["image file is outside of the folder"]
    try:
        size, orientation = _header(path.parent / row["file_name"], decode=False)
    except FileNotFoundError:
        return ["image file is missing"]
    except Exception:  # noqa: BLE001 - Pillow raises whatever a format's parser stumbles over
        return ["image file cannot be opened"]
    wrong = [] if size == (row["width"], row["height"]) else ["image size is not the file's"]
    return [*wrong, "image is turned by EXIF"] if orientation in _TURNED else wrong


def _check_mask(annotation: Annotation, path: Path, note: Note) -> None:
    """Hold what the row states against its mask."""
    place = Teller(note, path, annotation.image_id, annotation.id)
    area = masks.area(annotation.rle)
    if not area:
        place.warning("the mask covers no pixel")
        return
    pixels, share = _AREA_SLACK
    if annotation.area is not None and abs(annotation.area - area) > pixels + share * area:
        place.warning(f"`area` is {annotation.area:g}, but the mask covers {area} pixels")
    if annotation.bbox_xywh is None:
        place.warning("`bbox` is missing; most readers need it")
        return
    drawn = masks.bbox_xywh(annotation.rle)
    if _far(annotation.bbox_xywh, drawn):
        place.error(f"`bbox` is {_listed(annotation.bbox_xywh)}, but the mask's box is {_listed(drawn)}")


def _far(stated_xywh: tuple[float, float, float, float], drawn_xywh: tuple[float, float, float, float]) -> bool:
    """Whether a stated box is another than the mask's."""
    pixels, share = _BOX_SLACK
    return _edge_distance(stated_xywh, drawn_xywh) > pixels + share * max(drawn_xywh[2:])


def _edge_distance(
    first_xywh: tuple[float, float, float, float], second_xywh: tuple[float, float, float, float]
) -> float:
    """How many pixels the farthest pair of like edges is apart."""
    starts = zip(first_xywh[:2], second_xywh[:2], strict=True)
    (x, y, width, height), (x2, y2, width2, height2) = first_xywh, second_xywh
    ends = ((x + width, x2 + width2), (y + height, y2 + height2))
    return max(abs(one - two) for one, two in (*starts, *ends))


def _check_image(image: Image, path: Path, note: Note) -> None:
    """Hold the stated size against the image file, whose header alone is read."""

    place = Teller(note, path, image.id)
    file = path.parent / image.file_name
    try:
        (width, height), orientation = _header(file)
    except FileNotFoundError:
        place.error(f"the image file {image.file_name!r} is not there")
        return
    except Exception as error:  # noqa: BLE001 - Pillow raises whatever a format's parser stumbles over
        place.error(f"the image file {image.file_name!r} cannot be opened ({error})")
        return
    turned = orientation in (5, 6, 7, 8)
    stated = (image.width, image.height)
    if orientation in _TURNED:
        place.warning(
            f"{image.file_name!r} has EXIF orientation {orientation}: a reader that applies it and one that does not "
            "(RF-DETR) see different images; save it upright"
        )
    if stated != (width, height) and not (turned and stated == (height, width)):
        place.error(f"the file says {stated[0]} x {stated[1]} pixels, but {image.file_name!r} is {width} x {height}")


def _header(file: Path, decode: bool = True) -> tuple[tuple[int, int], int]:
    """Width and height of an image file as they stand in it, and its EXIF orientation.

    A PNG may hold that after its pixels, and Pillow decodes them all to see: not looked for without `decode`.
    """
    from PIL import Image as Pillow

    with Pillow.open(file) as opened:
        exif = opened.getexif() if decode else Pillow.Image.getexif(opened)
        return opened.size, exif.get(_ORIENTATION, 1)


def _check_names(file: CocoFile, note: Note) -> None:
    first: dict[str, str] = {}
    for category in file.categories.values():
        other = first.setdefault(" ".join(category.name.casefold().split()), category.name)
        if other != category.name:
            note(
                Problem(
                    "warning", f"categories {other!r} and {category.name!r} differ in case or space alone", file.path
                )
            )


def _listed(box_xywh: tuple[float, float, float, float]) -> str:
    return "[" + ", ".join(f"{side:g}" for side in box_xywh) + "]"
