"""What tools make of an image's name, and which of the images that are known a name can stand for. Pure text."""

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
# Folders that exports make by themselves, so that they say nothing of where an image was.
_MADE_BY_TOOLS = re.compile(
    r"images?|imgs?|jpegimages|data|media|uploads?|default|label-studio|local-files|obj_\w+_data"
    r"|(train|valid|val|test)(\d{4})?|\d+"
)
# A name's key → the images that have it, and whether the name holds the image's folders itself.
_Level = Mapping[str, Mapping[str, bool]]


def earlier(name: str) -> list[str]:
    """The names that a file may have had before tools renamed it: `name` itself, then those with more taken off.

    Windows separators become `/`. Taken off are Roboflow's hash, with the suffix put back, Label Studio's eight hex
    digits, percent-encoding, and what stands before the path in an address of Label Studio's local files.
    """
    found = [name.replace("\\", "/").rpartition("?d=")[2]]
    for one in found:  # it grows
        head, slash, base = one.rpartition("/")
        for taken_off in (_roboflow, _label_studio, unquote):
            was = f"{head}{slash}{taken_off(base)}"
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
    """The stem's letters and digits, one dash for all between: uploads replace spaces, brackets and the like."""
    return re.sub(r"[\W_]+", "-", _stem(name)).strip("-")


class KnownNames:
    """Images that are known, by their relative POSIX paths, and the further names that each has (path → names)."""

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        self._names = {path: tuple(others) for path, others in names.items()}

    def exact(self, name: str) -> tuple[str, ...]:
        """The images of which `name` is the path or a further name; else those that have its last part as one."""
        for key in (name, _base(name)):
            found = {path for path in (key,) if path in self._names and key == name} | self._further.get(key, set())
            if found:
                return tuple(sorted(found))
        return ()

    def fitting(self, name: str) -> tuple[str, ...]:
        """The images that `name` fits best: as it is, without regard to case, by its last part, or by that without its
        suffix or its signs. Of several in different folders, those count that share the most with the name's own; one
        in a folder of another name does not fit.
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
    """Those of `paths` (path → whether a name that holds its folders has fitted) whose folders are nearest `name`'s."""
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
