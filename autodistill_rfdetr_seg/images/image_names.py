"""Matches image names that tools have changed to known images. Works on text only, opens no file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import PurePosixPath
from urllib.parse import unquote

from ..core.name_keys import name_key
from ..system.folders import flattened
from .image_formats import IMAGE_SUFFIXES

# Roboflow: `NAME_png.rf.HASH.jpg`, or `NAME.rf.HASH.jpg` where the name had no suffix.
_ROBOFLOW = re.compile(r"(?P<name>.+?)(?:_(?P<suffix>[^_.]+))?\.rf\.[\w-]+\.(?P<now>\w+)")
# Label Studio: eight hex digits of a random number, a dash, and the name.
_LABEL_STUDIO = re.compile(r"[0-9a-f]{8}-(?P<name>.+)")
# Folders that exports create by themselves: they do not tell where an image was.
_MADE_BY_TOOLS = re.compile(
    r"images?|imgs?|jpegimages|data|media|uploads?|default|label-studio|local-files|obj_\w+_data"
    r"|(train|valid|val|test)(\d{4})?|\d+"
)
# A name's key → the images that have it, and whether the name holds the image's folders itself.
_Level = Mapping[str, Mapping[str, bool]]


def earlier_names(name: str) -> list[str]:
    """The names that a file may have had before tools renamed it: `name` itself, then those with more parts removed.

    Windows separators become `/`. Removed are Roboflow's hash (the suffix is restored), Label Studio's eight hex
    digits, percent-encoding, and the part before the path in a URL of Label Studio's local files.
    """
    found = [name.replace("\\", "/").rpartition("?d=")[2]]
    for one in found:  # it grows
        head, slash, base = one.rpartition("/")
        for without_part in (_roboflow, _label_studio, unquote):
            was = f"{head}{slash}{without_part(base)}"
            if was not in found:
                found.append(was)
    return found


def _roboflow(base: str) -> str:
    match = _ROBOFLOW.fullmatch(base)
    if match is None:
        return base
    name, suffix, now = match["name"], match["suffix"], match["now"]
    if suffix is None:
        return f"{name}.{now}"
    return f"{name}.{suffix}" if f".{suffix.lower()}" in IMAGE_SUFFIXES else f"{name}_{suffix}.{now}"


def _label_studio(base: str) -> str:
    match = _LABEL_STUDIO.fullmatch(base)
    return base if match is None else match["name"]


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _stem(name: str) -> str:
    return name_key(PurePosixPath(name).stem)


def _in_words(name: str) -> str:
    """The stem's letters and digits, joined by dashes: uploads replace spaces, brackets and other signs."""
    return re.sub(r"[\W_]+", "-", _stem(name)).strip("-")


class KnownNames:
    """The known images, by relative POSIX path, and further names of each (path → names)."""

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._names = {path: tuple(others) for path, others in names.items()}

    def exact(self, name: str) -> tuple[str, ...]:
        """The images whose path or further name is `name`; else those whose further name is its last part."""
        for key in (name, _base(name)):
            found = {path for path in (key,) if path in self._names and key == name} | self._further.get(key, set())
            if found:
                return tuple(sorted(found))
        return ()

    def fitting(self, name: str) -> tuple[str, ...]:
        """The images that `name` fits best: exactly, ignoring case, by its last part, or by that without its suffix or
        signs. Of several images, those whose folders share the most with the name's own are returned; an image in a
        folder of another name does not fit.
        """
        for key, level in self._levels:
            if found := _nearest(name, level.get(key(name), {})):
                return found
        return ()

    @cached_property
    def _further(self) -> Mapping[str, set[str]]:
        found: dict[str, set[str]] = {}
        for path, others in self._names.items():
            for name in others:
                found.setdefault(name, set()).add(path)
        return found

    @cached_property
    def _levels(self) -> list[tuple[Callable[[str], str], _Level]]:
        """The ways to compare two names, the strictest first."""
        ways = (str, name_key, _base, lambda name: name_key(_base(name)), _stem, _in_words)
        return [(way, self._level(way)) for way in ways]

    def _level(self, way: Callable[[str], str]) -> _Level:
        found: dict[str, dict[str, bool]] = {}
        for path in self._names:
            for name, whole in self._all_of(path):
                of_key = found.setdefault(way(name), {})
                of_key[path] = of_key.get(path, False) or whole
        return found

    def _all_of(self, path: str) -> Iterator[tuple[str, bool]]:
        yield path, False
        yield flattened(path), True
        for name in self._names[path]:
            yield name, True


def _nearest(name: str, paths: Mapping[str, bool]) -> tuple[str, ...]:
    """Those of `paths` (path → whether the fitting name includes its folders) whose folders match `name`'s best."""
    own = [name_key(part) for part in PurePosixPath(name).parts[:-1]]
    placed = any(not _MADE_BY_TOOLS.fullmatch(part) for part in own if part != "/")
    shared: dict[str, int] = {}
    for path, whole in paths.items():
        theirs = [name_key(part) for part in PurePosixPath(path).parts[:-1]]
        same = 0
        while same < min(len(own), len(theirs)) and own[-1 - same] == theirs[-1 - same]:
            same += 1
        if whole or same or not (placed and theirs):
            shared[path] = same
    most = max(shared.values(), default=0)
    return tuple(sorted(path for path, same in shared.items() if same == most))
