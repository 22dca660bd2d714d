"""Where COCO files lie in a folder: beside the images, one folder a split, or all in `annotations/`.

The layouts are those of Roboflow and this package (`train/_annotations.coco.json`), CVAT and Datumaro
(`annotations/instances_default.json`), COCO itself (`annotations/instances_train2017.json`) and Label Studio
(`result.json`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import DataError, MissingInputError
from ..records import SPLITS
from .image_files import subset_of

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
_SHOWN = 8


def find_files(folder: Path) -> dict[str, Path]:
    """The COCO files of a folder by split ("train", "valid", "test"), or one under "" where it is of no split.

    Empty where there is none.

    Raises:
        DataError: there are several, and it cannot be told which is meant.
    """
    apart = folder / "annotations"
    for found in (
        {"": folder / ANNOTATIONS} if (folder / ANNOTATIONS).is_file() else {},
        _split_folders(folder),
        _in_one_folder(apart) if apart.is_dir() else {},
        _in_one_folder(folder),
    ):
        if found:
            return found
    return {}


def locate(source: str | Path) -> Path:
    """The COCO file that `source` is, or the only one that the folder `source` holds.

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
            f"There is no COCO file in {path}.{listing(path)}", f"Name a JSON file, or a folder with {ANNOTATIONS}."
        )
    if len(files) > 1:
        raise DataError(
            f"{path} holds the splits {', '.join(files)}.", f"Name one, such as {next(reversed(files.values()))}."
        )
    return next(iter(files.values()))


def split_of(name: str) -> str | None:
    """The split that a name speaks of ("val2017" of "valid"), or None."""
    plain = re.sub(r"[ _-]?\d+\Z", "", name.strip().lower())
    return _SPLIT_OF.get(plain)


def listing(folder: Path) -> str:
    """What a folder holds, as a sentence for a message; empty where it cannot be listed."""
    try:
        names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir() if path.name[0] != ".")
    except OSError:
        return ""
    if not names:
        return " It is empty."
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f" It holds {', '.join(names[:_SHOWN])}{more}."


def _split_folders(folder: Path) -> dict[str, Path]:
    """The COCO files of the folders of the splits in `folder`."""
    named: dict[str, Path] = {}
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        split = split_of(inner.name)
        if split is None or not (files := find_files_of_split(inner)):
            continue
        if split in named:
            raise DataError(
                f"{folder} holds {named[split].parent.name} and {inner.name}, and both mean the {split} split.",
                "Remove or rename one of the two.",
            )
        named[split] = files
    return _ordered(named)


def find_files_of_split(folder: Path) -> Path | None:
    """The COCO file of a split's folder; None where there is none."""
    for place in (folder, folder / "annotations"):
        found = _in_one_folder(place) if place.is_dir() else {}
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise _several(folder, list(found.values()))
    return None


def _in_one_folder(folder: Path) -> dict[str, Path]:
    """The COCO files that lie in a folder itself, by split."""
    if (folder / ANNOTATIONS).is_file():
        return {"": folder / ANNOTATIONS}
    files = sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
    # COCO's own folder has captions and key points of the same images too.
    files = [path for path in files if path.name.lower().startswith("instances_")] or files
    if len(files) > 1:
        files = [path for path in files if _looks_like_coco(path)]
    if len(files) <= 1:
        return {split_of(subset_of(path)) or "": path for path in files}
    named: dict[str, Path] = {}
    for path in files:
        split = split_of(subset_of(path))
        if split is None or split in named:
            raise _several(folder, files)
        named[split] = path
    return _ordered(named)


def _looks_like_coco(path: Path) -> bool:
    """Whether the first part of a file has a key of a COCO file, and not of a list of results."""
    with path.open("rb") as file:
        head = file.read(4096).replace(b"\0", b"")
    start = head.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")[:1]
    return start == b"{" and any(key in head for key in (b'"images"', b'"annotations"', b'"categories"', b'"info"'))


def _ordered(named: Mapping[str, Path]) -> dict[str, Path]:
    return {split: named[split] for split in SPLITS if split in named}


def _several(folder: Path, files: list[Path]) -> DataError:
    names = ", ".join(path.name for path in files[:_SHOWN])
    return DataError(f"{folder} holds several COCO files: {names}.", "Name the one that is meant.")
