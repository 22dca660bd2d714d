"""Finds the COCO files of a folder: beside the images, one folder a split, or all in `annotations/`.

The layouts are those of Roboflow and this package (`train/_annotations.coco.json`), CVAT and Datumaro
(`annotations/instances_default.json`), COCO itself (`annotations/instances_train2017.json`), Label Studio
(`result.json`) and FiftyOne (`labels.json`); a JSON file alone in a folder may have any name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import DataError, MissingInputError
from ..core.plain_text import short_list
from ..core.types import SPLITS
from ..system.folders import folder_contents
from .image_files import ANNOTATION_FOLDERS, OTHER_KINDS, subset_of

ANNOTATIONS = "_annotations.coco.json"
# Other names of the splits, in lower case and without a year.
_SPLIT_OF = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
# The keys of a COCO file with masks; the last is in every row.
_KEYS = (b'"images"', b'"annotations"', b'"categories"', b'"segmentation"')
_BLOCK = 2**20


def find_files(folder: Path) -> dict[str, Path]:
    """The COCO files of a folder by split ("train", "valid", "test"), or one under "" if it is of no split.

    Empty if there is none.

    Raises:
        DataError: there are several, and it is unclear which is meant.
    """
    if (folder / ANNOTATIONS).is_file():
        return {"": folder / ANNOTATIONS}
    if found := _split_folders(folder):
        return found
    for apart in _annotation_folders(folder):
        if found := _split_folders(apart) or _in_one_folder(apart):
            return found
    return _in_one_folder(folder)


def locate(source: str | Path) -> Path:
    """The COCO file `source`, or the only one in the folder `source`.

    Raises:
        MissingInputError: there is none.
        DataError: there are several.
    """
    path = Path(source)
    if not path.is_dir():
        if not path.is_file():
            raise MissingInputError(
                f"There is no COCO file {path}.", f"Name a JSON file, or a folder with {ANNOTATIONS}."
            )
        return path
    files = find_files(path)
    if not files:
        raise MissingInputError(
            f"There is no COCO file in {path}, which contains {folder_contents(path)}.",
            f"Name a JSON file, or a folder with {ANNOTATIONS}.",
        )
    if len(files) > 1:
        raise DataError(
            f"{path} contains the splits {', '.join(files)}.", f"Name one, such as {next(reversed(files.values()))}."
        )
    return next(iter(files.values()))


def split_of(name: str) -> str | None:
    """The split in a name ("valid" of "val2017"), or None."""
    plain = re.sub(r"[ _-]?\d+\Z", "", name.strip().lower())
    return _SPLIT_OF.get(plain)


def _split_folders(folder: Path) -> dict[str, Path]:
    """The COCO files of the folders of the splits in `folder`."""
    named: dict[str, Path] = {}
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        split = split_of(inner.name)
        if split is None or not (files := find_files_of_split(inner)):
            continue
        if split in named:
            raise DataError(
                f"{folder} contains {named[split].parent.name} and {inner.name}, and both mean the {split} split.",
                "Remove or rename one of the two.",
            )
        named[split] = files
    return _ordered(named)


def find_files_of_split(folder: Path) -> Path | None:
    """The COCO file of a split's folder; None if there is none."""
    for place in (folder, *_annotation_folders(folder)):
        found = _in_one_folder(place)
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise _several(folder, list(found.values()))
    return None


def _annotation_folders(folder: Path) -> list[Path]:
    """The folders in `folder` that contain annotations only."""
    named = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    return [named[name] for name in ANNOTATION_FOLDERS if name in named]


def _in_one_folder(folder: Path) -> dict[str, Path]:
    """The COCO files directly in a folder, by split."""
    if (folder / ANNOTATIONS).is_file():
        return {"": folder / ANNOTATIONS}
    shown = (path for path in folder.iterdir() if not path.name.startswith("."))
    files = sorted(path for path in shown if path.suffix.lower() == ".json" and path.is_file())
    if len(files) > 1:
        files = _likeliest(files)
    if len(files) <= 1:
        return {split_of(subset_of(path)) or "": path for path in files}
    named: dict[str, Path] = {}
    for path in files:
        split = split_of(subset_of(path))
        if split is None or split in named:
            raise _several(folder, files)
        named[split] = path
    return _ordered(named)


def _likeliest(files: list[Path]) -> list[Path]:
    """The files of several JSON files that can be the annotations: for each split, those most like COCO's masks.

    Other files of an export (a list of classes, results, a tool's settings) lack a key of the format, and the captions
    and key points in COCO's own folder are of the same split as its masks.
    """
    ranks = {path: _rank(path) for path in files}
    sound = [path for path in files if ranks[path][0] > 1] or [path for path in files if ranks[path][0]]
    best: dict[str, tuple[int, bool]] = {}
    for path in sound:
        split = split_of(subset_of(path)) or ""
        best[split] = max(best.get(split, (0, False)), ranks[path])
    return [path for path in sound if ranks[path] == best[split_of(subset_of(path)) or ""]]


def _rank(path: Path) -> tuple[int, bool]:
    """How much a JSON file is like COCO's masks, and whether its name is not that of another kind of file.

    0 has none of the format's keys, 1 some, 2 its lists, 3 masks too.
    """
    keys: set[bytes] = set()
    with path.open("rb") as file:
        start = file.read(64).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")[:1]
        if start != b"{":
            return 0, False
        file.seek(0)
        tail = b""
        while len(keys) < len(_KEYS) and (block := file.read(_BLOCK)):
            text = tail + block.replace(b"\0", b"")
            keys |= {key for key in _KEYS if key in text}
            tail = text[-20:]
    others = path.name.lower().startswith(OTHER_KINDS)
    level = len(keys) - 1 if keys.issuperset(_KEYS[:3]) else min(len(keys), 1)
    return level, not others


def _ordered(named: Mapping[str, Path]) -> dict[str, Path]:
    return {split: named[split] for split in SPLITS if split in named}


def _several(folder: Path, files: list[Path]) -> DataError:
    names = short_list(path.name for path in files)
    return DataError(f"{folder} contains several COCO files: {names}.", "Name the one that is meant.")
