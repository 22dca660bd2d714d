"""Finds the image files of a folder. A file is judged by its suffix and first bytes; no pixel is decoded."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from ..core.errors import MissingInputError
from ..system.folders import Links, walk
from .image_formats import IMAGE_SUFFIXES, SIGNATURE_BYTES, has_image_signature


def discover(folder: Path, links: Links | None = None) -> list[Path]:
    """Every image file under `folder`, sorted by relative POSIX path; hidden files and folders are left out.

    A file is found by its content. A file with an image's suffix but other content is in the list too, so that opening
    it reports what is wrong with it; so is a folder that cannot be listed. Linked folders are followed as `walk` in
    `folders` does, and noted in `links`; pipes and devices are left out.

    Raises:
        MissingInputError: the folder does not exist, or holds no image.
    """
    if not folder.exists():
        raise MissingInputError(f"There is no folder {folder}.", "Give the folder that holds the images.")
    if not folder.is_dir():
        raise MissingInputError(f"{folder} is not a folder.", "Give the folder that holds the images.")
    unlistable: list[Path] = []
    files = (inner / name for inner, names in walk(folder, links, unlistable) for name in names)
    found = [path for path in files if may_be_image(path)] + unlistable
    if not found:
        known = ", ".join(sorted(IMAGE_SUFFIXES))
        raise MissingInputError(f"There is no image in {folder}.", f"Known formats: {known}.")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def may_be_image(path: Path) -> bool:
    """Whether `discover` lists it: a file with an image's suffix or content."""
    return _may_be_file(path) and (path.suffix.lower() in IMAGE_SUFFIXES or _starts_as_image(path))


def relative_paths(paths: Iterable[Path], root: Path) -> list[tuple[Path, str]]:
    """Each path with its POSIX path relative to `root`."""
    return [(path, path.relative_to(root).as_posix()) for path in paths]


def _may_be_file(path: Path) -> bool:
    """Whether it is a file, or that cannot be known (a broken link): opening it then reports why."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _starts_as_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return has_image_signature(file.read(SIGNATURE_BYTES))
    except OSError:
        return False
