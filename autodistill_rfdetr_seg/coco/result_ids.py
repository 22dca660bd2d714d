"""Finds the image and the class of the gold set that each id of a results file means.

COCO says that they are the ids of the gold set's file. Other tools write a file's name, its stem or the stem's number
for the image, and classes counted from 0 or 1. Those are taken where exactly one reading fits the whole file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from ..core.errors import DataError
from ..core.name_keys import class_key
from ..core.plain_text import short_list
from ..core.types import FileId, GroundTruth
from .problems import shown
from .results import Ids
from .values import as_id as read_id

_log = logging.getLogger(__name__)

_SHOWN = 4
Row = Mapping[str, object]
K = TypeVar("K")
V = TypeVar("V")


def as_id(value: object) -> FileId | None:
    """The id that a JSON value is (a whole number, also written as 1.0, or text), or None."""
    if type(value) is int:  # nearly all are
        return value
    found = read_id(value)
    return None if found is None else found.stated


def match_images(path: Path, rows: Sequence[Row], gold: GroundTruth) -> list[str]:
    """The `image_id` of the gold image that each row of the results file `path` is of.

    A row's own `file_name` is used before its `image_id`.

    Raises:
        DataError: an id is of no image, or no reading fits all of them; both sides' ids are shown.
    """
    found = _distinct(path, rows, "image_id")
    ids = Ids.from_gold(gold)
    files = FileNames(ids.images)
    own = {} if ids.named else either_way({number: name for name, number in ids.images.items()})
    by_row = _named(rows, "file_name", files.find)
    by_id = _injective(found, own)
    by_name = _injective(found, {value: files.find(value) for value in found})
    if len(by_row) == len(rows):
        if by_id is not None and _of_rows(rows, "image_id", by_id) != by_row:
            _log.warning("%s: `file_name` of the results is used; their `image_id` names other images.", path)
        return by_row
    if by_id is not None:
        if by_name is not None and by_name != by_id:
            at = next(value for value in found if by_id[value] != by_name[value])
            _log.warning(
                "%s: `image_id` is read as the id in the gold file, as in COCO (%s is %s). Read as the number in "
                "the file's name it is another image (%s).",
                path,
                shown(at),
                by_id[at],
                by_name[at],
            )
        return _of_rows(rows, "image_id", by_id)
    if by_name is not None:
        _log.warning("%s: `image_id` is read as the file's name (%s is %s).", path, shown(found[0]), by_name[found[0]])
        return _of_rows(rows, "image_id", by_name)
    strange = next((value for value in found if value not in own and files.find(value) is None), None)
    wrong = "the image ids cannot all be read in one way, each as another image"
    if strange is not None:
        number = next(at for at, row in enumerate(rows) if as_id(row.get("image_id")) == strange)
        wrong = f"`image_id` {shown(strange)} of result {number} is not in the gold set"
    have = "no ids" if ids.named else f"the image ids {listed(ids.images.values())}"
    raise DataError(
        f"{path}: {wrong}. The results have the image ids {listed(found)}; the gold set has {have} and the files "
        f"{listed(ids.images)}.",
        "Write for all results the id of the gold file's image, its file name, its stem, or the stem's number.",
    )


def match_categories(path: Path, rows: Sequence[Row], gold: GroundTruth) -> list[int]:
    """The class index of the gold set that each row of the results file `path` is of.

    A row's own `category_name` is used before its `category_id`.

    Raises:
        DataError: an id is of no class, or more than one reading fits; both sides' ids are shown.
    """
    found = _distinct(path, rows, "category_id")
    ids, names = Ids.from_gold(gold), gold.classes.names
    classes = ClassNames(names)
    own = {} if ids.named else either_way({number: at for at, number in enumerate(ids.categories)})
    by_row = _named(rows, "category_name", classes.find)
    by_id = _all(found, own)
    by_name = _all(found, {value: classes.find(value) for value in found})
    if len(by_row) == len(rows):
        if by_id is not None and _of_rows(rows, "category_id", by_id) != by_row:
            _log.warning("%s: `category_name` of the results is used; their `category_id` names other classes.", path)
        return by_row
    for fits in (by_id, by_name):
        if fits is not None:
            return _of_rows(rows, "category_id", fits)
    have = "no category ids" if ids.named else f"the category ids {listed(ids.categories)}"
    both = f"The results have the category ids {listed(found)}; the gold set has {have} and the classes {listed(names)}"
    places = [_all(found, either_way({at + first: at for at in range(len(names))})) for first in (0, 1)]
    fitting = [(first, place) for first, place in enumerate(places) if place is not None]
    if len(fitting) > 1:
        raise DataError(
            f"{path}: the category ids can count the classes from 0 or from 1. {both}.",
            "Write the gold file's own category ids, or the classes' names as `category_name`.",
        )
    for first, place in fitting:
        said = ", ".join(f"{value} is {names[at]}" for value, at in list(place.items())[:_SHOWN])
        _log.warning("%s: `category_id` is read as the class counted from %d (%s).", path, first, said)
        return _of_rows(rows, "category_id", place)
    strange = next((value for value in found if value not in own), found[0])
    number = next(at for at, row in enumerate(rows) if as_id(row.get("category_id")) == strange)
    raise DataError(
        f"{path}: `category_id` {shown(strange)} of result {number} is not in the gold set. {both}.",
        "Write the id of the gold file's category, the class's name, or the class counted from 0 or 1.",
    )


class FileNames:
    """Finds the image that a file name, a stem or a stem's number means, if it is exactly one."""

    def __init__(self, names: Iterable[str]) -> None:
        paths = {name: _path(name) for name in names}
        self._full = _unique((str(path), name) for name, path in paths.items())
        self._bare = _unique((str(path.with_suffix("")), name) for name, path in paths.items())
        self._base = _unique((path.name, name) for name, path in paths.items())
        self._stem = _unique((path.stem, name) for name, path in paths.items())
        self._number = _unique((int(path.stem), name) for name, path in paths.items() if _digits(path.stem))

    def find(self, value: object) -> str | None:
        """The name of the image that `value` means, or None."""
        if isinstance(value, int):
            return self._number.get(value)
        if not isinstance(value, str) or not value.strip():
            return None
        path = _path(value)
        whole, bare = str(path), str(path.with_suffix("")) if path.name else ""
        # The value may be a path or its last part, with the suffix, without one, or with another.
        by_path = ((self._full, whole), (self._bare, whole), (self._bare, bare))
        by_name = ((self._base, path.name), (self._stem, path.name), (self._stem, path.stem))
        for table, key in (*by_path, *by_name):
            if key in table:
                return table[key]
        return self._number.get(int(value)) if _digits(value) else None


class ClassNames:
    """Finds the class that a name means, exactly or ignoring case and spaces."""

    def __init__(self, names: Sequence[str]) -> None:
        self._exact = {name: at for at, name in enumerate(names)}
        self._loose = _unique((class_key(name), at) for at, name in enumerate(names))

    def find(self, value: object) -> int | None:
        """The class index that `value` means, or None."""
        if not isinstance(value, str):
            return None
        return self._exact.get(value, self._loose.get(class_key(value)))


def either_way(known: Mapping[FileId, V]) -> dict[FileId, V]:
    """The same, with a number also found by its text and text by its number: 7 and "7" are one id."""
    other: dict[FileId, V] = {}
    for key, value in known.items():
        if isinstance(key, int):
            other[str(key)] = value
        elif _digits(key) and str(int(key)) == key:
            other[int(key)] = value
    return {**other, **known}


def listed(values: Iterable[object]) -> str:
    """The first few of some JSON values, for a message."""
    return short_list(map(shown, values), _SHOWN)


def _distinct(path: Path, rows: Sequence[Row], key: str) -> list[FileId]:
    """The different ids under `key`, in the order of their first use."""
    values = [row.get(key) for row in rows]
    if set(map(type, values)) == {int}:
        return list(dict.fromkeys(values))  # type: ignore[arg-type]
    found: dict[FileId, None] = {}
    for number, row in enumerate(rows):
        value = as_id(row.get(key))
        if value is None:
            raise DataError(f"{path}: `{key}` of result {number} must be a number or text, not {shown(row.get(key))}.")
        found[value] = None
    return list(found)


def _of_rows(rows: Sequence[Row], key: str, meant: Mapping[FileId, V]) -> list[V]:
    """What the id under `key` of each row means; each must mean something."""
    values = [row.get(key) for row in rows]
    if set(map(type, values)) == {int}:
        return [meant[value] for value in values]  # type: ignore[index]
    return [meant[value] for value in map(as_id, values) if value is not None]


def _named(rows: Sequence[Row], key: str, find: Callable[[object], V | None]) -> list[V]:
    """What the names under `key` mean, of the rows whose name means something."""
    names = [row.get(key) for row in rows]
    if set(names) == {None}:
        return []
    return [meant for name in names if (meant := find(name)) is not None]


def _all(found: Sequence[FileId], known: Mapping[FileId, V | None]) -> dict[FileId, V] | None:
    """What each of `found` means, or None if one of them means nothing."""
    meant = {value: known.get(value) for value in found}
    every = {value: one for value, one in meant.items() if one is not None}
    return every if len(every) == len(meant) else None


def _injective(found: Sequence[FileId], known: Mapping[FileId, V | None]) -> dict[FileId, V] | None:
    """As `_all`, but None also if two of them mean the same."""
    every = _all(found, known)
    return every if every is not None and len(set(every.values())) == len(every) else None


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(name.replace("\\", "/"))


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 60


def _unique(pairs: Iterable[tuple[K, V]]) -> dict[K, V]:
    """The pairs whose key is unique."""
    found: dict[K, V] = {}
    twice: set[K] = set()
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            twice.add(key)
    return {key: value for key, value in found.items() if key not in twice}
