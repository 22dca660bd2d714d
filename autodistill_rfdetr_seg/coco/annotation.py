"""Reads one row of a COCO file's `annotations` and checks every field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core import masks
from ..core.types import FileId, Rle
from . import problem_kinds as kinds
from .annotation_mask import read_mask
from .mask_forms import is_missing
from .parts import Annotation, Box, Known, Row
from .problems import OnProblem, ProblemReporter, shown
from .stated_boxes import is_far, stated_box
from .values import as_id, number_of

# The key of the class for annotations without a category: no id of a file is empty.
NO_CATEGORY = ""
# Where tools write a category: some write its name instead of its id.
_CATEGORY_KEYS = ("category_id", "category_name", "category")
# Pixels, and a share of the mask: the exact area of a polygon differs from that of its pixels.
_AREA_SLACK = (12.0, 0.12)


def read_annotation(
    row: Row, number: FileId | None, on_problem: OnProblem, path: Path, known: Known
) -> Annotation | None:
    """The annotation; None if an error leaves it without a mask and a box in an image.

    `number` is the row's id, None if it has none. A category that cannot be determined is an error, and the
    annotation gets a class of its own (`NO_CATEGORY`). A box without a mask is an error too; the annotation is
    returned all the same.
    """
    pointed = _pointed(row, number, on_problem, path, known)
    if pointed is None:
        return None
    reporter, image, category = pointed
    keys, crowd, score = (number, image, category), _crowd(row, reporter), _score(row, reporter)
    if is_missing(row.get("segmentation")):
        what = "`segmentation` is empty" if "segmentation" in row else "`segmentation` is missing"
        reporter.add(kinds.NO_MASK, f"{what}: there is no mask")
        box = stated_box(row.get("bbox"))
        return None if box is None else Annotation(*keys, None, crowd, None, box, False, score)
    mask = read_mask(row, known.images[image], reporter)
    if mask is None:
        return None
    rle, polygons = mask
    return Annotation(*keys, rle, crowd, _area(row, rle, reporter), _bbox(row, rle, reporter), polygons, score)


def read_box(row: Row, number: FileId | None, on_problem: OnProblem, path: Path, known: Known) -> Annotation | None:
    """As `read_annotation`, for callers that need boxes only: the mask is read only if no box is stated."""
    pointed = _pointed(row, number, on_problem, path, known)
    if pointed is None:
        return None
    reporter, image, category = pointed
    crowd, score, box = _crowd(row, reporter), _score(row, reporter), stated_box(row.get("bbox"))
    if row.get("bbox") is None and not is_missing(row.get("segmentation")):
        mask = read_mask(row, known.images[image], reporter)
        if mask is None:
            return None
        box = masks.bbox_xywh(mask[0])
    if box is None:
        message = f"`bbox` must be [x, y, width, height], four numbers, not {shown(row.get('bbox'))}"
        reporter.add(kinds.NO_BOX, message)
        return None
    return Annotation(number, image, category, None, crowd, None, box, False, score)


def _pointed(
    row: Row, number: FileId | None, on_problem: OnProblem, path: Path, known: Known
) -> tuple[ProblemReporter, FileId, FileId] | None:
    """The reporter of the row, and the keys of its image and category; None if there is no such image."""
    image_id = as_id(row.get("image_id"))
    reporter = ProblemReporter(on_problem, path, None if image_id is None else image_id.stated, number)
    if image_id is None or image_id.key not in known.images:
        _report_unknown_image(row, reporter, known)
        return None
    if image_id.form == "number":
        reporter.add(kinds.ID_FORM, f"{shown(image_id.stated)} is read as the id {image_id.key}")
    return reporter, image_id.key, _category(row, reporter, known)


def _report_unknown_image(row: Row, reporter: ProblemReporter, known: Known) -> None:
    image_id = as_id(row.get("image_id"))
    if image_id is None:
        reporter.add(kinds.UNKNOWN_IMAGE, f"`image_id` must be an integer, not {shown(row.get('image_id'))}")
    elif image_id.key in known.left_out:
        reporter.add(kinds.IMAGE_LEFT_OUT, f"its image, id {shown(image_id.stated)}, is left out")
    else:
        reporter.add(kinds.UNKNOWN_IMAGE, f"`image_id` {shown(image_id.stated)} is not listed in the file")


def _category(row: Row, reporter: ProblemReporter, known: Known) -> FileId:
    """The key of the category: by its id, else by its name if only one category has it."""
    stated = row.get("category_id")
    category_id = as_id(stated)
    if category_id is not None and category_id.key in known.categories:
        if category_id.form == "number":
            reporter.add(kinds.ID_FORM, f"{shown(stated)} is read as the id {category_id.key}")
        return category_id.key
    if category_id is not None and category_id.form != "text":
        reporter.add(kinds.UNKNOWN_CATEGORY, f"`category_id` {shown(category_id.stated)} is not listed in the file")
        return category_id.key
    for key in _CATEGORY_KEYS:
        name = row.get(key)
        if isinstance(name, str) and name.strip() in known.names:
            reporter.add(kinds.CATEGORY_BY_NAME, f"`{key}` {shown(name)} is read as the category of that name")
            return known.names[name.strip()]
    if category_id is not None:
        reporter.add(kinds.UNKNOWN_CATEGORY, f"`category_id` {shown(stated)} is not listed in the file")
        return category_id.key
    reporter.add(kinds.CATEGORY_MISSING, f"`category_id` must be an integer, not {shown(stated)}")
    return NO_CATEGORY


def _crowd(row: Row, reporter: ProblemReporter) -> bool:
    if "iscrowd" not in row:
        reporter.add(kinds.CROWD_MISSING, "`iscrowd` is missing")
        return False
    stated = row["iscrowd"]
    if not isinstance(stated, bool) and type(stated) is int and stated in (0, 1):
        crowd = bool(stated)
    else:
        number = 0.0 if stated is None else float(stated) if isinstance(stated, bool) else number_of(stated)
        if number not in (0, 1):
            reporter.add(kinds.CROWD_WRONG, f"`iscrowd` must be 0 or 1, not {shown(stated)}")
            return False
        crowd = bool(number)
        reporter.add(kinds.CROWD_FORM, f"`iscrowd` {shown(stated)} is read as {int(crowd)}")
    if crowd:
        reporter.add(kinds.CROWD, "iscrowd is 1: RF-DETR leaves the annotation out of training")
    return crowd


def _score(row: Row, reporter: ProblemReporter) -> float | None:
    stated = row.get("score")
    if stated is None:
        return None
    score = number_of(stated)
    if score is None or not 0 <= score <= 1:
        reporter.add(kinds.SCORE_FORM, f"`score` must be a number from 0 to 1, not {shown(stated)}")
        return None
    return score


def _area(row: Row, rle: Rle, reporter: ProblemReporter) -> float | None:
    stated = row.get("area")
    drawn = masks.area(rle)
    if not drawn:
        reporter.add(kinds.MASK_EMPTY, "the mask covers no pixel")
    if stated is None:
        reporter.add(kinds.AREA_MISSING, "`area` is missing")
        return None
    area = number_of(stated)
    if area is None or area < 0 or isinstance(stated, str):
        reporter.add(kinds.AREA_FORM, f"`area` must be a number of at least 0, not {shown(stated)}")
        return area if area is not None and area >= 0 else None
    if area_differs(area, drawn):
        reporter.add(kinds.AREA_DIFFERS, f"`area` is {area:g}, but the mask covers {drawn} pixels")
    return area


def area_differs(stated: npt.ArrayLike, drawn: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether stated areas differ from those of masks of `drawn` pixels; one number each, or an array (N,)."""
    pixels, share = _AREA_SLACK
    areas = np.asarray(drawn)
    found: npt.NDArray[np.bool_] = (areas > 0) & (np.abs(np.asarray(stated) - areas) > pixels + share * areas)
    return found


def _bbox(row: Row, rle: Rle, reporter: ProblemReporter) -> Box | None:
    stated = row.get("bbox")
    if stated is None:
        reporter.add(kinds.BOX_MISSING, "`bbox` is missing; most readers need it")
        return None
    box = stated_box(stated)
    if box is None:
        reporter.add(kinds.BOX_FORM, f"`bbox` must be [x, y, width, height], four numbers, not {shown(stated)}")
        return None
    if any(isinstance(side, str) for side in stated):
        reporter.add(kinds.BOX_FORM, f"`bbox` contains text: {shown(stated)}")
    drawn = masks.bbox_xywh(rle)
    if masks.area(rle) and is_far(box, drawn):
        reporter.add(kinds.BOX_DIFFERS, f"`bbox` is {_listed(box)}, but the mask's box is {_listed(drawn)}")
        return None
    return box


def _listed(box_xywh: Box) -> str:
    return "[" + ", ".join(f"{side:g}" for side in box_xywh) + "]"
