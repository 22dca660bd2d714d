"""Writes a COCO file of `write` again as several files of fewer images: some tools read no file of gigabytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..system.files import replacing
from .written_file import WrittenFile


def write_parts(path: Path, images: int) -> list[Path]:
    """Writes files beside the COCO file `path` with at most `images` images each, and returns their paths.

    `_annotations.coco.json` gets `_annotations.part-1-of-12.coco.json` and so on. Ids are those of the whole file, and
    each part has all categories. A file with no more images than that gets no parts.

    Raises:
        DataError: `write` did not write the file so.
    """
    with WrittenFile(path) as whole:
        count = -(-len(whole) // images)
        if count < 2:
            return []
        stem, dot, suffix = path.name.partition(".")
        parts = [path.with_name(f"{stem}.part-{at}-of-{count}{dot}{suffix}") for at in range(1, count + 1)]
        for at, part in enumerate(parts):
            first, end = at * images, min((at + 1) * images, len(whole))
            with replacing(part) as temporary, temporary.open("wb") as file:
                _write_part(file, whole, first, end)
        return parts


def _write_part(file: Any, whole: WrittenFile, first: int, end: int) -> None:
    """Writes the images `first` to `end` (exclusive, counted from 0), with the bytes of the whole file."""
    file.write(b'{"annotations":[')
    for at in range(first, end):
        if rows := whole.annotation_lines(at):
            file.write(b"\n" + rows if file.tell() == len(b'{"annotations":[') else b",\n" + rows)
    file.write(b'\n],"categories":' + whole.categories + b',"images":[\n')
    file.write(whole.image_lines(first, end))
    file.write(b'\n],"info":' + whole.info + b"}\n")
