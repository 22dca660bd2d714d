"""Reads COCO files as gold sets, and as the labels that `write` wrote."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.bulk_objects import many_objects
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from ..core.types import Classes, FileId, GroundTruth, Instance, TruthBox, TruthImage, TruthInstance
from .class_alignment import ground_truth
from .json_documents import load
from .layout import locate
from .parsing import CocoFile, ImageCheck, parse
from .problems import Problem, by_kind

_log = logging.getLogger(__name__)


def read(
    source: str | Path,
    *,
    images: ImageCheck = "located",
    max_megapixels: float = MAX_MEGAPIXELS,
    quiet: bool = False,
    progress: bool = False,
) -> GroundTruth:
    """The gold set of a COCO file, or of a folder that contains one, in any layout that `layout` knows.

    Classes come in the order of their category ids, images in that of their ids; a row that only names other rows'
    supercategory is no class. `area` and `bbox` are as stated, None where they are to be computed from the mask;
    crowds are kept. What is written in another form and plainly meant is read, and the log counts it, once a kind,
    unless `quiet`.

    Args:
        images: "located" finds each file, which need not exist; "checked" also compares its header with the stated
            size; "ignored" looks for none.
        max_megapixels: an image whose header is read and states more million pixels is refused.

    Raises:
        MissingInputError: there is no such file.
        DataError: something in it is wrong; the message names the file, image id and annotation id.
    """
    path = locate(source)
    problems: list[Problem] = []
    file = parse(path, problems.append, images=images, max_megapixels=max_megapixels, progress=progress)
    refuse_errors(problems)
    if not quiet:
        log_warnings(problems)
    return truth_of(file)


@many_objects()
def truth_of(file: CocoFile) -> GroundTruth:
    """The valid parts of a COCO file as a gold set."""
    index = {key: index for index, key in enumerate(file.categories)}
    instances: dict[FileId, list[TruthInstance]] = {key: [] for key in file.images}
    boxes: dict[FileId, list[TruthBox]] = {}
    for row in file.annotations:
        at = index[row.category]
        if row.rle is not None:
            instances[row.image].append(
                TruthInstance(at, row.rle, row.crowd, row.area, row.bbox_xywh, row.polygons, row.id, row.score)
            )
        elif row.bbox_xywh is not None:
            boxes.setdefault(row.image, []).append(TruthBox(at, row.bbox_xywh, row.score, row.crowd, row.id))
    images = tuple(
        TruthImage(
            image.file_name,
            image.path,
            image.height,
            image.width,
            tuple(instances[key]),
            image.id,
            image.upright,
            tuple(boxes.get(key, ())),
        )
        for key, image in file.images.items()
    )
    classes = file.categories.values()
    return ground_truth(Classes(tuple(row.name for row in classes)), images, tuple(row.id for row in classes))


def refuse_errors(problems: Sequence[Problem]) -> None:
    """Raises DataError for the first error among the problems, with the number of the others."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if not errors:
        return
    first, more = errors[0], len(errors) - 1
    others = f" ({more} more error{'s' if more > 1 else ''})" if more else ""
    hint = first.kind.hint or "Correct it, or leave it out with `autodistill-seg repair`."
    raise DataError(f"{first.place}: {first.message}{others}.", f"{hint} `autodistill-seg validate` lists them all.")


def log_warnings(problems: Sequence[Problem]) -> None:
    """Logs what was read as it is obviously meant: one line for each kind and file, with the number."""
    for file in dict.fromkeys(problem.file for problem in problems):
        for group in by_kind(one for one in problems if one.file == file and one.severity == "warning"):
            kind = group[0].kind
            treatment = f": {kind.treatment}" if kind.treatment else ""
            _log.warning("%s: %d x %s%s (first: %s)", file, len(group), kind.name, treatment, group[0].detail)


def read_rows(source: str | Path) -> dict[str, list[dict[str, Any]]]:
    """What `read` does not return: the annotation rows of each image of a valid COCO file, by file name.

    Rows (`id`, `score` …, their masks left out) are in the order of `read`'s instances.

    Raises:
        MissingInputError, DataError: the file is missing, or cannot be read.
    """
    data = load(locate(source), raise_error)
    names = {row["id"]: row["file_name"] for row in data["images"]}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values()}
    for row in data["annotations"]:
        rows[names[row["image_id"]]].append({key: value for key, value in row.items() if key != "segmentation"})
    return rows


def label_of(one: TruthInstance, row: Mapping[str, Any]) -> Instance:
    """The label that `write` wrote, from its instance in `read` and its row in `read_rows`: scores and source are
    unchanged. A row without a score, which `write` never writes, gets a score of 1."""
    further = {name: row[name] for name in ("mask_score", "stability", "source") if name in row}
    return Instance(one.class_index, one.rle, row.get("score", 1.0), **further)


def raise_error(problem: Problem) -> None:
    """An `OnProblem` that raises DataError for the first error, and ignores warnings."""
    if problem.severity == "error":
        raise DataError(f"{problem.place}: {problem.message}.", "`coco.validate` lists every problem of a file.")
