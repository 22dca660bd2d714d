"""Files of the same content, found without reading more of a folder than it takes."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError
from ..system.file_hash import file_sha256
from ..system.folders import printable
from .image_opening import max_file_bytes

_GLANCE = 4096  # bytes


class File(NamedTuple):
    """A file, its name relative to its folder, and its size (bytes) and time, which are -1 where it is no image's."""

    path: Path
    name: str
    size: int
    mtime_ns: int


def same_at_a_glance(
    items: Iterable[tuple[Path, str]], *, max_megapixels: float = MAX_MEGAPIXELS, progress: bool = False
) -> list[list[File]]:
    """The files that may be copies of each other, together, by name: of one size, middle and end. Few are read so far.

    What can be no image, or cannot be read, is by itself.
    """
    from tqdm import tqdm

    by_size: dict[int, list[File]] = defaultdict(list)
    alone: list[list[File]] = []
    for path, name in items:
        # Before the content is read: what is changed later is then known by its time.
        file = File(path, name, *stamp(path, max_megapixels))
        if file.size > 0 and printable(name) == name:
            by_size[file.size].append(file)
        else:
            alone.append([file])
    together: dict[tuple[int, bytes | str], list[File]] = defaultdict(list)
    shared = sum(len(same) for same in by_size.values() if len(same) > 1)
    with tqdm(total=shared, desc="Comparing", unit="file", leave=False, disable=not (progress and shared)) as bar:
        for size, same in by_size.items():
            for file in same:
                together[size, _glance(file) if len(same) > 1 else b""].append(file)
                bar.update(len(same) > 1)
    return [*alone, *(sorted(same, key=lambda file: file.name) for same in together.values())]


def without_copies(
    items: Iterable[tuple[Path, str]], *, max_megapixels: float = MAX_MEGAPIXELS, progress: bool = False
) -> tuple[list[tuple[Path, str]], dict[str, list[tuple[str, int]]]]:
    """The first file of each content, by name, and (name, mtime_ns) of the further ones with the same by the first's
    name."""
    firsts: list[tuple[Path, str]] = []
    copies: dict[str, list[tuple[str, int]]] = {}
    for same in same_at_a_glance(items, max_megapixels=max_megapixels, progress=progress):
        seen: dict[str, str] = {}
        for path, name, _, mtime_ns in same:
            content = _content(path) if len(same) > 1 else None
            if content is not None and content in seen:
                copies.setdefault(seen[content], []).append((name, mtime_ns))
            else:
                firsts.append((path, name))
                if content is not None:
                    seen[content] = name
    return sorted(firsts, key=lambda item: item[1]), copies


def stamp(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Size and mtime_ns; -1 where it cannot be reached, is no file, or is too large to be an image."""
    try:
        stat = path.stat()
    except OSError:
        return -1, -1
    fits = S_ISREG(stat.st_mode) and stat.st_size <= max_file_bytes(max_megapixels)
    return (stat.st_size, stat.st_mtime_ns) if fits else (-1, -1)


def _glance(file: File) -> bytes | str:
    """What names a file's middle and end; its own name where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with file.path.open("rb") as opened:
            for at in (file.size // 2, max(0, file.size - _GLANCE)):
                opened.seek(at)
                digest.update(opened.read(_GLANCE))
    except OSError:
        return file.name
    return digest.digest()


def _content(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except DataError:
        return None
