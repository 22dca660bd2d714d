"""Finds files of the same content, reading as little of a folder as possible."""

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

_SAMPLE = 4096  # bytes


class StampedFile(NamedTuple):
    """A file, its name relative to its folder, and its size (bytes) and time, both -1 if it cannot be an image."""

    path: Path
    name: str
    size: int
    mtime_ns: int


def possible_copies(
    items: Iterable[tuple[Path, str]], *, max_megapixels: float = MAX_MEGAPIXELS, progress: bool = False
) -> list[list[StampedFile]]:
    """Groups the files that may be copies of each other, sorted by name: those of the same size, middle and end.

    Only files of the same size are read. A file that cannot be an image, or cannot be read, is a group of its own.
    """
    from tqdm import tqdm

    by_size: dict[int, list[StampedFile]] = defaultdict(list)
    alone: list[list[StampedFile]] = []
    for path, name in items:
        # Taken before the content is read, so that a later change shows in the time.
        file = StampedFile(path, name, *size_and_mtime(path, max_megapixels))
        if file.size > 0 and printable(name) == name:
            by_size[file.size].append(file)
        else:
            alone.append([file])
    groups: dict[tuple[int, bytes | str], list[StampedFile]] = defaultdict(list)
    shared = sum(len(same) for same in by_size.values() if len(same) > 1)
    with tqdm(total=shared, desc="Comparing", unit="file", leave=False, disable=not (progress and shared)) as bar:
        for size, same in by_size.items():
            for file in same:
                groups[size, _sample_hash(file) if len(same) > 1 else b""].append(file)
                bar.update(len(same) > 1)
    return [*alone, *(sorted(same, key=lambda file: file.name) for same in groups.values())]


def without_copies(
    items: Iterable[tuple[Path, str]], *, max_megapixels: float = MAX_MEGAPIXELS, progress: bool = False
) -> tuple[list[tuple[Path, str]], dict[str, list[tuple[str, int]]]]:
    """The first file of each content, by name, and the other files of that content: name of the first → (name,
    mtime_ns) each."""
    firsts: list[tuple[Path, str]] = []
    copies: dict[str, list[tuple[str, int]]] = {}
    for same in possible_copies(items, max_megapixels=max_megapixels, progress=progress):
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


def size_and_mtime(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Size and mtime_ns; -1 each if it cannot be reached, is not a file, or is too large to be an image."""
    try:
        stat = path.stat()
    except OSError:
        return -1, -1
    fits = S_ISREG(stat.st_mode) and stat.st_size <= max_file_bytes(max_megapixels)
    return (stat.st_size, stat.st_mtime_ns) if fits else (-1, -1)


def _sample_hash(file: StampedFile) -> bytes | str:
    """A hash of a file's middle and end; its name if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with file.path.open("rb") as opened:
            for at in (file.size // 2, max(0, file.size - _SAMPLE)):
                opened.seek(at)
                digest.update(opened.read(_SAMPLE))
    except OSError:
        return file.name
    return digest.digest()


def _content(path: Path) -> str | None:
    try:
        return file_sha256(path)
    except DataError:
        return None
