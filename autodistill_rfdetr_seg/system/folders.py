"""Walks folders, linked ones too, each real folder once; expands patterns; makes file names."""

from __future__ import annotations

import glob
import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..core.name_keys import name_key
from ..core.plain_text import short_list

_LONGEST_STEM = 180  # bytes: a suffix and a part of an id come to it


@dataclass
class Links:
    """The links to folders that a walk found: those `followed`, and those `not_followed`, which lead to folders that
    are read anyway."""

    followed: list[Path] = field(default_factory=list)
    not_followed: list[Path] = field(default_factory=list)


def walk(root: Path, links: Links | None = None, closed: list[Path] | None = None) -> Iterator[tuple[Path, list[str]]]:
    """Each folder under `root`, itself included, with the names of its files; hidden ones are left out.

    A linked folder is followed, unless it is read anyway or contains the link itself. Real folders come first and so
    keep their own names, then links in the order of their paths. Links are added to `links`, folders that cannot be
    listed to `closed`.
    """
    links = Links() if links is None else links

    def note(error: OSError) -> None:
        if closed is not None:
            closed.append(Path(os.fsdecode(error.filename)))

    home = real_path(root)
    seen: set[Path] = set()
    queue = deque([root])
    while queue:
        start = queue.popleft()
        real = real_path(start)
        if start is not root:
            if real in seen or home.is_relative_to(real) or real_path(start.parent).is_relative_to(real):
                links.not_followed.append(start)
                continue
            links.followed.append(start)
        found: list[Path] = []
        for name, folders, files in os.walk(start, onerror=note):
            folder = Path(name)
            here = real / folder.relative_to(start)
            seen.add(here)
            shown = sorted(one for one in folders if not one.startswith("."))
            linked = [one for one in shown if (folder / one).is_symlink()]
            found += [folder / one for one in linked]
            folders[:] = [one for one in shown if one not in linked and here / one not in seen]
            yield folder, sorted(one for one in files if not one.startswith("."))
        queue += sorted(found)


def expand(pattern: Path, closed: list[Path] | None = None) -> list[Path]:
    """The files that `pattern` matches (`*`, `?`, `[…]`; `**` for folders of any depth, read as `walk` does), and the
    folders if it does not end in `**`; in no order, some perhaps more than once."""
    parts = pattern.parts
    if "**" not in parts:
        return [Path(name) for name in glob.glob(str(pattern))]  # noqa: PTH207 - Path.glob takes no absolute one
    at = parts.index("**")
    rest = parts[at + 1 :]
    while rest[:1] == ("**",):
        rest = rest[1:]
    found: list[Path] = []
    for head in expand(Path(*parts[:at])):
        if not head.is_dir():
            continue
        for folder, names in walk(head, closed=closed):
            if rest:
                found += expand(Path(glob.escape(str(folder)), *rest), closed)
            else:
                found += [folder / name for name in names]
    return found


def real_path(path: Path) -> Path:
    """The path with its links resolved, as far as they exist."""
    # Path.resolve() raises if links form a circle.
    return Path(os.path.realpath(path))


def flattened(path: str) -> str:
    """A relative POSIX path as one name, its folders joined by `__`."""
    return path.replace("/", "__")


def flat_stems(ids: Mapping[str, str]) -> dict[str, str]:
    """A stem for the file of each path (POSIX, relative) in one flat folder, `ids` by path.

    Folders are joined by `__`. Stems are unique even without suffix, letter case and the encoding of accents: if two
    would be the same, or one is long, the first 8 characters of the path's id are added.
    """
    stems = {path: flattened(_without_suffix(path)) for path in ids}
    uses = Counter(name_key(stem) for stem in stems.values())
    for path, stem in stems.items():
        if uses[name_key(stem)] > 1 or len(stem.encode("utf-8", "surrogateescape")) > _LONGEST_STEM:
            short = stem.encode("utf-8", "surrogateescape")[:_LONGEST_STEM].decode("utf-8", "ignore")
            stems[path] = f"{short}_{ids[path][:8]}"
    return stems


def _without_suffix(path: str) -> str:
    """A POSIX path without its last suffix, many times as fast as by pathlib."""
    head, slash, name = path.rpartition("/")
    dot = name.rfind(".")
    return f"{head}{slash}{name[:dot]}" if 0 < dot < len(name) - 1 else path


def printable(name: str) -> str:
    """A file's name as text that can be written: bytes in it that are not UTF-8 become `\\xff`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def folder_contents(folder: Path) -> str:
    """The names in a folder for a message, folders with a slash, hidden ones left out: `images/, a.txt and 3 more`."""
    try:
        names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    except OSError:
        return "nothing that can be listed"
    return short_list((name for name in names if not name.startswith(".")), 10) or "nothing"
