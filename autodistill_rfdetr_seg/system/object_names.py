"""Which names of objects can be files of a folder: none may leave it, and no two may be the same file."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..core.name_keys import name_key

# File systems take 255; a file that is being written has a longer name.
_LONGEST_PART = 200  # bytes
_WINDOWS = re.compile(r'[<>:"|?*\x00-\x1f]|[. ](/|$)|(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.[^/]*)?(/|$)', re.IGNORECASE)


def name_problem(name: str) -> str | None:
    """Why an object's name cannot be a file's path (POSIX, relative), to be read after "names that"; None if it can."""
    parts = name.split("/")
    if {"", ".", ".."} & set(parts):
        return "have an empty part, `.` or `..`"
    if "\\" in name or "\0" in name:
        return "have a backslash or a zero byte"
    if name.encode("utf-8", "replace").decode() != name:
        return "are not UTF-8"
    if any(len(part.encode("utf-8", "surrogateescape")) > _LONGEST_PART for part in parts):
        return f"are longer than {_LONGEST_PART} bytes"
    if os.name == "nt" and _WINDOWS.search(name):
        return "Windows does not allow"
    return None


def colliding_names(names: Iterable[str], *, ignore_case: bool) -> set[str]:
    """The names that cannot be files beside the others, the first by name being kept: the same but for letter case and
    the encoding of accents (if the file system does not tell these apart), or below another file."""
    files: set[str] = set()
    folders: set[str] = set()
    colliding: set[str] = set()
    for name in sorted(names):
        key = name_key(name) if ignore_case else name
        parts = key.split("/")
        above = {"/".join(parts[:count]) for count in range(1, len(parts))}
        if key in files or key in folders or above & files:
            colliding.add(name)
        else:
            files.add(key)
            folders |= above
    return colliding


def ignores_case(folder: Path) -> bool:
    """Whether the file system of an existing folder takes `A` and `a` for one file."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".case-a-") as file:
        path = Path(file.name)
        return path.with_name(path.name.swapcase()).exists()
