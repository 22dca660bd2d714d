"""Reads a COCO file of any tool: the valid parts are returned, every problem goes to `on_problem`, which may raise
(`read`) or collect (`validate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.bulk_objects import many_objects
from ..core.config import MAX_MEGAPIXELS
from ..core.types import FileId
from . import problem_kinds as kinds
from .annotation import NO_CATEGORY, read_annotation, read_box
from .categories import Category, read_categories, unique_names, without_placeholders
from .image_files import ImageFiles
from .image_rows import read_images, with_file_name
from .json_documents import load
from .parts import Annotation, Image, Known, Row
from .plain_rows import plain_annotations
from .problems import OnProblem, Problem, ProblemReporter, shown
from .values import Id, as_id, in_order

# What is done with the image files: each header is read ("checked"), or the files are only found ("located"), or not
# even searched ("ignored"). For "boxes" they are not searched either, sizes may be missing, and only the boxes of
# annotations are read, not the masks.
ImageCheck = Literal["checked", "located", "ignored", "boxes"]
_Read = Callable[[Row, FileId | None, OnProblem, Path, Known], Annotation | None]


@dataclass(frozen=True, slots=True)
class CocoFile:
    """The valid parts of a COCO file: classes and images by the key of their id, in the order of the ids;
    annotations in the file's own order."""

    path: Path
    categories: dict[FileId, Category]
    images: dict[FileId, Image]
    annotations: tuple[Annotation, ...]


@many_objects()
def parse(
    path: Path,
    on_problem: OnProblem,
    *,
    images: ImageCheck = "located",
    trust_images: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = False,
) -> CocoFile:
    """The valid parts of the COCO file `path`; everything else is reported to `on_problem` and left out.

    `trust_images` takes a size that is off by a pixel or two, or swapped, from the image file. An image whose header is
    read and states more than `max_megapixels` million pixels is left out.
    """
    document = load(path, on_problem)
    rows = {key: _rows(document, key, path, on_problem) for key in ("categories", "images", "annotations")}
    if isinstance(document, dict) and not isinstance(document.get("annotations"), list):
        rows["images"] = []  # They would all count as images without objects.
    rows["images"] = [with_file_name(row, path, on_problem) for row in rows["images"]]
    categories = read_categories(_with_ids(rows["categories"], "category", path, on_problem), path, on_problem)
    files = ImageFiles.for_names(
        path, [row["file_name"] for row in rows["images"] if isinstance(row.get("file_name"), str)]
    )
    numbered = list(_with_ids(rows["images"], "image", path, on_problem))
    found, left_out = read_images(numbered, files, path, on_problem, images, trust_images, max_megapixels, progress)
    known = Known(found, left_out, frozenset(categories), unique_names(categories))
    read = read_box if images == "boxes" else read_annotation
    annotations = tuple(_annotations(rows["annotations"], path, on_problem, known, read, progress))
    if isinstance(document, dict) and not found:
        on_problem(Problem(kinds.NO_IMAGES, "the file lists no valid image", path))
    used = {row.category for row in annotations}
    classes = without_placeholders(_with_unlisted(categories, used), used, path, on_problem)
    return CocoFile(path, classes, {key: found[key] for key in in_order(found)}, annotations)


def _rows(document: Any, key: str, path: Path, on_problem: OnProblem) -> list[Row]:
    """The objects in the document's list `key`."""
    if not isinstance(document, dict):
        if document is not None and key == "categories":
            message = f"the file must be a JSON object, not {type(document).__name__}"
            on_problem(Problem(kinds.NOT_COCO, message, path))
        return []
    rows = document.get(key)
    if not isinstance(rows, list):
        state = f"must be a list, not {type(rows).__name__}" if key in document else "is missing"
        on_problem(Problem(kinds.NOT_COCO, f"`{key}` {state}", path))
        return []
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            message = f"`{key}[{index}]` must be an object, not {type(row).__name__}"
            on_problem(Problem(kinds.ROW, message, path))
    return [row for row in rows if isinstance(row, dict)]


def _with_ids(rows: Sequence[Row], kind: str, path: Path, on_problem: OnProblem) -> Iterator[tuple[Id, Row]]:
    """The rows that have an id; an id that is not an integer is reported."""
    for index, row in enumerate(rows):
        number = as_id(row.get("id"))
        if number is None:
            message = f"the {kind} at index {index} has no integer `id`: {shown(row.get('id'))}"
            on_problem(Problem(kinds.NO_ID, message, path))
            continue
        reporter = ProblemReporter(on_problem, path, number.stated if kind == "image" else None)
        if number.form != "plain":
            form = kinds.ID_TEXT if number.form == "text" else kinds.ID_FORM
            reporter.add(form, f"the {kind} id {shown(row['id'])} is {form.treatment}")
        yield number, row


def _annotations(
    rows: Sequence[Row], path: Path, on_problem: OnProblem, known: Known, read: _Read, progress: bool
) -> Iterator[Annotation]:
    from tqdm import tqdm

    plain = plain_annotations(rows, known) if read is read_annotation else [None] * len(rows)
    if _all_differ(plain):
        yield from (one for one in plain if one is not None)
        return
    seen: set[FileId] = set()
    drawn: set[tuple[FileId, FileId, bytes]] = set()
    bar = tqdm(rows, desc=f"Reading {path.name}", unit="annotation", disable=not progress or None, delay=2)
    for index, row in enumerate(bar):
        one = plain[index]
        if one is not None and one.id and one.id not in seen:
            seen.add(one.id)
            yield _reported_if_twice(one, drawn, path, on_problem, known)
            continue
        number = as_id(row.get("id"))
        reporter = ProblemReporter(on_problem, path, None, None if number is None else number.stated)
        if number is None:
            said = "no `id`" if row.get("id") is None else f"the `id` {shown(row['id'])}"
            reporter.add(kinds.ANNOTATION_ID, f"the annotation at index {index} has {said}")
        elif number.key in seen:
            reporter.add(kinds.ANNOTATION_ID, f"the annotation id {shown(number.stated)} is used twice (index {index})")
        elif number.key == 0:
            reporter.add(kinds.ANNOTATION_ID_ZERO, "an annotation id of 0 counts as unmatched in pycocotools")
        elif number.form == "number":
            reporter.add(kinds.ID_FORM, f"the annotation id {shown(row['id'])} is read as {number.key}")
        if number is not None:
            seen.add(number.key)
        found = read(row, None if number is None else number.stated, on_problem, path, known)
        if found is not None:
            yield _reported_if_twice(found, drawn, path, on_problem, known)


def _all_differ(found: Sequence[Annotation | None]) -> bool:
    """Whether every annotation was found, and they have different ids, none of them 0, and different masks."""
    ids = {one.id for one in found if one is not None} - {0}
    drawn = {(one.image, one.category, one.rle.counts) for one in found if one is not None and one.rle is not None}
    return len(ids) == len(drawn) == len(found)


def _reported_if_twice(
    one: Annotation,
    drawn: set[tuple[FileId, FileId, bytes]],
    path: Path,
    on_problem: OnProblem,
    known: Known,
) -> Annotation:
    """The annotation; a second one with the same category and mask is reported. `drawn` has those before it."""
    if one.rle is not None:
        if (what := (one.image, one.category, one.rle.counts)) in drawn:
            ProblemReporter(on_problem, path, known.images[one.image].id, one.id).add(
                kinds.ANNOTATION_TWICE, "another annotation of the image has the same category and mask"
            )
        drawn.add(what)
    return one


def _with_unlisted(categories: dict[FileId, Category], used: set[FileId]) -> dict[FileId, Category]:
    """The categories, and one named by its id for each that annotations use and the file does not list."""
    missing = {
        key: Category(key, "no category" if key == NO_CATEGORY else f"category {key}", None)
        for key in used - categories.keys()
    }
    return {**categories, **missing}
