"""Reads the rows of a COCO file's `images`, and compares them with the headers of their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import DataError
from ..core.masks import MAX_SIDE
from ..core.types import FileId
from ..images.image_header import Header, read_header
from . import problem_kinds as kinds
from .image_files import ImageFiles
from .parts import TRUSTED_PIXELS, Image, Row
from .problems import OnProblem, ProblemReporter, shown
from .values import Id, as_id, number_of

# Where tools without `file_name` write the name of an image's file.
_NAME_KEYS = ("filename", "path", "coco_url", "url", "name")


def read_images(
    rows: Sequence[tuple[Id, Row]],
    files: ImageFiles,
    path: Path,
    on_problem: OnProblem,
    check: str,
    trust_images: bool,
    max_megapixels: float,
    progress: bool,
) -> tuple[dict[FileId, Image], frozenset[FileId]]:
    """The valid images by the key of their id, and the keys of those that are left out."""
    from tqdm import tqdm

    found: dict[FileId, Image] = {}
    first: dict[FileId, Row] = {}
    left_out: set[FileId] = set()
    bar = tqdm(rows, desc=f"Images of {path.name}", unit="image", disable=not progress or None, delay=2)
    for number, row in bar:
        reporter = ProblemReporter(on_problem, path, number.stated)
        if number.key in first:
            if all(first[number.key].get(key) == row.get(key) for key in ("file_name", "width", "height")):
                reporter.add(
                    kinds.ROW_TWICE, f"the image id {shown(number.stated)} is listed twice, with the same file"
                )
            else:
                reporter.add(kinds.ID_TWICE, f"the image id {shown(number.stated)} is used twice")
                left_out.add(number.key)
            continue
        first[number.key] = row
        image = _read_image(number, row, files, reporter, check, trust_images, max_megapixels)
        if image is None:
            left_out.add(number.key)
        else:
            found[number.key] = image
    _report_files_twice(found, path, on_problem)
    return {key: image for key, image in found.items() if key not in left_out}, frozenset(left_out)


def with_file_name(row: Row, path: Path, on_problem: OnProblem) -> Row:
    """The row with a `file_name`, taken from another key if it has none."""
    if row.get("file_name") is not None:
        return row
    key = next((key for key in _NAME_KEYS if isinstance(row.get(key), str) and row[key].strip()), None)
    if key is None:
        return row
    number = as_id(row.get("id"))
    reporter = ProblemReporter(on_problem, path, None if number is None else number.stated)
    reporter.add(kinds.FILE_NAME_KEY, f"`{key}` {shown(row[key])} is read as the file's name")
    return {**row, "file_name": row[key]}


def _report_files_twice(images: dict[FileId, Image], path: Path, on_problem: OnProblem) -> None:
    first: dict[str, Image] = {}
    for image in images.values():
        other = first.setdefault(os.path.normcase(image.path), image)
        if other is not image:
            message = (
                f"the image is listed twice: `file_name` {shown(image.file_name)} is that of image id {other.id} too"
            )
            ProblemReporter(on_problem, path, image.id).add(kinds.FILE_TWICE, message)


def _read_image(
    number: Id,
    row: Row,
    files: ImageFiles,
    reporter: ProblemReporter,
    check: str,
    trust_images: bool,
    max_megapixels: float,
) -> Image | None:
    file = (
        files.find(row.get("file_name"), reporter)
        if check in ("checked", "located")
        else _unchecked(row, files, reporter)
    )
    if file is None:
        return None
    sides = [_side(row.get(key), key, reporter) for key in ("height", "width")]
    if max(side or 0 for side in sides) > MAX_SIDE:
        reporter.add(kinds.IMAGE_TOO_LARGE, f"{shown(row['file_name'])} has a side of over {MAX_SIDE} pixels")
        return None
    height, width = sides
    stated = (height, width) if height and width else None
    if check == "boxes":
        return Image(number.stated, row["file_name"], *(stated or (0, 0)), file)
    if stated is not None and check != "checked":
        return Image(number.stated, row["file_name"], *stated, file)
    header = _header(file, row, files, reporter, max_megapixels)
    if header is None:
        return None
    return _sized(Image(number.stated, row["file_name"], 0, 0, file), stated, header, reporter, trust_images)


def _unchecked(row: Row, files: ImageFiles, reporter: ProblemReporter) -> Path | None:
    """Where the file would be, for callers that need no image: the name may be of another machine."""
    name = row.get("file_name")
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        reporter.add(kinds.FILE_NAME, f"`file_name` must be text, not {shown(name)}")
        return None
    return files.guess(name)


def _side(stated: object, key: str, reporter: ProblemReporter) -> int | None:
    """The stated side, None if it must be taken from the file; problems are reported."""
    if stated is None:
        reporter.add(kinds.SIZE_MISSING, f"`{key}` is missing")
        return None
    number = number_of(stated)
    if number is None or not number.is_integer() or number < 1:
        reporter.add(kinds.SIZE, f"`{key}` must be an integer of at least 1, not {shown(stated)}")
        return None
    if type(stated) is not int:
        reporter.add(kinds.SIZE_FORM, f"`{key}` {shown(stated)} is read as {int(number)}")
    return int(number)


def _header(file: Path, row: Row, files: ImageFiles, reporter: ProblemReporter, max_megapixels: float) -> Header | None:
    name = shown(row["file_name"])
    if os.path.exists(file) and not os.path.isfile(file):  # noqa: PTH110, PTH113 - opening a pipe would block
        reporter.add(kinds.IMAGE_UNREADABLE, f"{name} is a folder or a device, not an image file")
        return None
    try:
        header = read_header(file, max_megapixels=max_megapixels)
    except FileNotFoundError:
        other = files.of_another_suffix(row["file_name"])
        near = f"; {other} exists, which may be the image in another format" if other else ""
        message = f"the image file {name} does not exist; looked in {files.searched()}{near}"
        reporter.add(kinds.IMAGE_MISSING, message)
        return None
    except DataError as error:
        reporter.add(kinds.IMAGE_UNREADABLE, f"the image file {name} cannot be opened ({error.message.rstrip('.')})")
        return None
    if max(header[:2]) > MAX_SIDE:
        reporter.add(kinds.IMAGE_TOO_LARGE, f"the image file {name} has a side of over {MAX_SIDE} pixels")
        return None
    return header


def _sized(
    image: Image, stated: tuple[int, int] | None, header: Header, reporter: ProblemReporter, trust_images: bool
) -> Image | None:
    """The image with its size, compared with that of its file."""
    name, own = shown(image.file_name), header.upright
    stored = (header.height, header.width)
    size = own if stated is None else stated
    upright = size != stored or own == stored
    if header.is_turned:
        reporter.add(
            kinds.TURNED,
            f"{name} has EXIF orientation {header.orientation}: a reader that applies it and one that does not "
            f"(RF-DETR) see different images; its masks are read as drawn {'upright' if upright else 'unturned'}",
        )
    if size in (own, stored):
        return _with_size(image, size, upright, None)
    said = f"the file says {size[1]} x {size[0]} pixels, but {name} is {own[1]} x {own[0]}"
    swapped = size == own[::-1]
    slip = max(abs(one - other) for one, other in zip(size, own, strict=True)) <= TRUSTED_PIXELS
    if trust_images and (swapped or slip):
        reporter.add(kinds.SIZE_TRUSTED, said)
        return _with_size(image, own, True, size)
    reporter.add(kinds.SIZE_SWAPPED if swapped else kinds.SIZE_DIFFERS, said)
    return None


def _with_size(image: Image, size: tuple[int, int], upright: bool, stated: tuple[int, int] | None) -> Image:
    return Image(image.id, image.file_name, *size, image.path, upright, stated)
