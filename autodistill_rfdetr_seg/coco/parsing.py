"""A foreign COCO file → its sound parts; every fault goes to a `Note`, which may raise (read) or collect (validate)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from ..errors import MissingInputError
from . import segmentation as segmentations
from .annotation import Annotation, Image, Row, read_annotation
from .problem import Note, Problem, Teller, shown

ANNOTATIONS = "_annotations.coco.json"
_NO_PARENT = ("", "none", "null")  # what exports write for "has no supercategory"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Category:
    """One row of `categories`."""

    id: int
    name: str
    supercategory: str | None


@dataclass(frozen=True, slots=True)
class CocoFile:
    """What is sound of a COCO file: classes and images by id, ids ascending, annotations in the file's order."""

    path: Path
    categories: dict[int, Category]
    images: dict[int, Image]
    annotations: tuple[Annotation, ...]


def locate(source: str | Path) -> Path:
    """The JSON file that `source` is, or that the folder `source` holds as `_annotations.coco.json`.

    Raises:
        MissingInputError: there is none.
    """
    path = Path(source)
    if path.is_dir():
        path = path / ANNOTATIONS
    if not path.is_file():
        raise MissingInputError(f"There is no COCO file {path}.", f"Name a JSON file, or a folder with {ANNOTATIONS}.")
    return path


def parse(path: Path, note: Note) -> CocoFile:
    """The sound parts of the COCO file `path`; everything else is told to `note` and left out."""
    document = load(path, note)
    rows = {key: _rows(document, key, path, note) for key in ("categories", "images", "annotations")}
    categories = _unique(rows["categories"], _category, "category", path, note)
    images = _unique(rows["images"], _image, "image", path, note)
    _check_file_names(images, path, note)
    known = [{row["id"] for row in rows[key] if type(row.get("id")) is int} for key in ("images", "categories")]
    read = partial(read_annotation, images=images, known_images=known[0], known_categories=known[1])
    annotations = _unique(rows["annotations"], read, "annotation", path, note)
    if isinstance(document, dict) and not images:
        note(Problem("warning", "the file lists no sound image", path))
    classes = without_placeholders(categories, {row.category_id for row in annotations.values()}, path, note)
    return CocoFile(path, classes, dict(sorted(images.items())), tuple(annotations.values()))


def load(path: Path, note: Note) -> Any:
    """The JSON document of `path`, or None where there is none to read."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        note(Problem("error", f"the file cannot be read ({error.strerror})", path))
    except RecursionError:
        note(Problem("error", "the file is nested too deep for a COCO file", path))
    except ValueError as error:  # bad JSON, bad UTF-8, an integer of thousands of digits
        note(Problem("error", f"the file is not JSON ({error})", path))
    return None


def unsafe_file_name(name: object) -> str | None:
    """Why `name` cannot be a file inside the JSON's folder, or None where it can."""
    if not isinstance(name, str) or not name.strip():
        return f"`file_name` must be text, not {shown(name)}"
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.drive or windows.root:
        return f"`file_name` {shown(name)} is an absolute path; it must be relative to the JSON's folder"
    if ".." in windows.parts:
        return f"`file_name` {shown(name)} leaves the JSON's folder"
    if "\0" in name or not PurePosixPath(name).name or any("\ud800" <= letter <= "\udfff" for letter in name):
        return f"`file_name` {shown(name)} is not a file name"
    return None


def _rows(document: Any, key: str, path: Path, note: Note) -> list[Row]:
    """The objects in the document's list `key`."""
    if not isinstance(document, dict):
        if document is not None and key == "categories":
            note(Problem("error", f"the file must hold a JSON object, not {type(document).__name__}", path))
        return []
    rows = document.get(key)
    if not isinstance(rows, list):
        state = f"must be a list, not {type(rows).__name__}" if key in document else "is missing"
        note(Problem("error", f"`{key}` {state}", path))
        return []
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            note(Problem("error", f"`{key}[{index}]` must be an object, not {type(row).__name__}", path))
    return [row for row in rows if isinstance(row, dict)]


def _unique(
    rows: list[Row], read: Callable[[Row, Note, Path], T | None], kind: str, path: Path, note: Note
) -> dict[int, T]:
    """The sound rows by id; of rows that share an id, the first."""
    found: dict[int, T] = {}
    seen: set[int] = set()
    for index, row in enumerate(rows):
        number = row.get("id")
        image_id = row.get("image_id") if kind == "annotation" else number
        place = Teller(note, path, image_id if kind != "category" and type(image_id) is int else None)
        if type(number) is not int:
            place.error(f"the {kind} at index {index} has no integer `id`: {shown(number)}")
        elif number in seen:
            place.error(f"the {kind} id {shown(number)} is used twice")
        else:
            seen.add(number)
            value = read(row, note, path)
            if value is not None:
                found[number] = value
    return found


def _category(row: Row, note: Note, path: Path) -> Category | None:
    name, parent = row.get("name"), row.get("supercategory")
    if not isinstance(name, str) or not name.strip():
        note(Problem("error", f"`name` of category {shown(row['id'])} must be text, not {shown(name)}", path))
        return None
    return Category(row["id"], name, parent if isinstance(parent, str) else None)


def _image(row: Row, note: Note, path: Path) -> Image | None:
    place = Teller(note, path, row["id"])
    name, height, width = row.get("file_name"), row.get("height"), row.get("width")
    reason = unsafe_file_name(name)
    if reason:
        place.error(reason)
    for key, side in (("height", height), ("width", width)):
        if type(side) is not int or side < 1:
            place.error(f"`{key}` must be an integer of at least 1, not {shown(side)}")
        elif side > segmentations.MAX_SIDE:
            place.error(f"`{key}` {shown(side)} is over {segmentations.MAX_SIDE} pixels")
    if not (place.sound and isinstance(name, str) and isinstance(height, int) and isinstance(width, int)):
        return None
    return Image(row["id"], name, height, width)


def _check_file_names(images: dict[int, Image], path: Path, note: Note) -> None:
    first: dict[PurePosixPath, int] = {}
    for image in images.values():
        other = first.setdefault(PurePosixPath(image.file_name), image.id)
        if other != image.id:
            message = f"the image is listed twice: `file_name` {shown(image.file_name)} is that of image id {other} too"
            note(Problem("error", message, path, image.id))


def without_placeholders(
    categories: dict[int, Category], used: set[int], path: Path, note: Note
) -> dict[int, Category]:
    """The classes by id, ascending: without rows that no annotation uses and that only are others' supercategory.

    Roboflow's export puts such a row first. Where nothing would remain everything does, as in RF-DETR's reader.
    """
    ordered = [categories[key] for key in sorted(categories)]
    children: dict[str, set[int]] = {}
    for row in ordered:
        if row.supercategory is not None and row.supercategory.lower() not in _NO_PARENT:
            children.setdefault(row.supercategory, set()).add(row.id)
    kept = {row.id: row for row in ordered if row.id in used or not children.get(row.name, set()) - {row.id}} or {
        row.id: row for row in ordered
    }
    first: dict[str, int] = {}
    for row in ordered:
        if row.id not in kept:
            note(Problem("warning", f"category {shown(row.name)} only names a supercategory; it is no class", path))
        elif first.setdefault(row.name, row.id) != row.id:
            note(Problem("error", f"categories {first[row.name]} and {row.id} share the name {shown(row.name)}", path))
    return kept
