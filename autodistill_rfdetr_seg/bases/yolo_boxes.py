"""Box rows of YOLO: the label files of a `data.yaml`, a line `class cx cy w h`, and a score where there is one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from ..errors import DataError, MissingInputError

YAML_SUFFIXES = (".yaml", ".yml")
_SPLITS = ("train", "val", "valid", "test")
# Beside label files: the names of the classes, as some tools write them.
_NO_LABELS = ("classes.txt", "obj.names", "notes.txt")
_Parts = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64]]


def read_yolo(path: Path) -> tuple[tuple[str, ...], dict[str, _Parts]]:
    """Class names, and by image (its path from the yaml's folder, POSIX, without a suffix) what its label file says:
    boxes (N, 4) XYXY in shares of the image, classes (N,), scores (N,), 1 where the file has none.

    Raises:
        MissingInputError: the file is not there.
        DataError: it is no `data.yaml`, names a folder that is not there or outside its own, or a line is no box.
    """
    if not path.is_file():
        raise MissingInputError(f"There is no file {path}.", "Give a COCO .json or a YOLO data.yaml.")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(data, dict):
        raise DataError(f"{path} is no data.yaml: it holds no `names` and splits.")
    names = _names(data.get("names"), path)
    home = path.parent.resolve()
    found: dict[str, _Parts] = {}
    for images, labels in _folders(data, path):
        for file in sorted(labels.rglob("*.txt")):
            if file.name in _NO_LABELS:
                continue
            image = (images / file.relative_to(labels)).with_suffix("")
            key = PurePosixPath(image.relative_to(home)).as_posix()
            found[key] = _read_labels(file, names)
    if not found:
        raise DataError(f"{path} has no label files.", "They lie in `labels/…` beside `images/…`, one a .txt.")
    return names, found


def _names(given: Any, path: Path) -> tuple[str, ...]:
    if isinstance(given, dict) and sorted(given) == list(range(len(given))):
        given = [given[number] for number in range(len(given))]
    if not isinstance(given, list) or not given or not all(isinstance(one, str) and one.strip() for one in given):
        raise DataError(
            f"{path}: `names` must list the classes as text, or map 0, 1, 2 … to it, not {given!r}.",
            "YAML takes yes, no, on and off for booleans: put them in quotes.",
        )
    names = tuple(one.strip() for one in given)
    if len(set(names)) < len(names):
        raise DataError(f"{path}: `names` has a class twice.")
    return names


def _folders(data: dict[Any, Any], path: Path) -> Iterator[tuple[Path, Path]]:
    """The folder of images and that of labels of each entry of a split, each pair once."""
    home = path.parent.resolve()
    root = home / str(data.get("path") or ".")
    seen = set()
    for split in _SPLITS:
        entries = data.get(split)
        for entry in entries if isinstance(entries, list) else [] if entries is None else [entries]:
            if not isinstance(entry, str):
                raise DataError(f"{path}: `{split}` must name folders, not {entry!r}.")
            if entry.endswith(".txt"):
                raise DataError(
                    f"{path}: `{split}` names the list {entry}, which is not read here.", "Name folders of images."
                )
            images = (root / entry).resolve()
            if not images.is_dir() and entry.startswith("../"):
                # Roboflow writes `../train/images` for a folder beside the yaml; so ultralytics reads it.
                images = (home / entry.removeprefix("../")).resolve()
            if not images.is_relative_to(home):
                raise DataError(f"{path}: `{split}` names {entry}, which lies outside of the file's folder.")
            labels = _labels_of(images, home)
            if not labels.is_dir():
                there = ", ".join(sorted(one.name for one in home.iterdir() if one.is_dir())) or "no folder"
                raise DataError(f"{path}: `{split}` names {entry}, and there is no folder {labels}; here is {there}.")
            if images not in seen:
                seen.add(images)
                yield images, labels


def _labels_of(images: Path, home: Path) -> Path:
    """The folder of labels for one of images: its last `images` is `labels`; itself where it has none."""
    parts = list(images.relative_to(home).parts)
    for at in range(len(parts) - 1, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return home.joinpath(*parts)


def _read_labels(file: Path, names: tuple[str, ...]) -> _Parts:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as text: {error}.") from error
    rows = [_row(line, f"{file}, line {at}", len(names)) for at, line in enumerate(lines, 1) if line.strip()]
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    centre, half = table[:, 1:3], table[:, 3:5] / 2
    return np.hstack([centre - half, centre + half]), table[:, 0].astype(np.int64), table[:, 5]


def _row(line: str, place: str, classes: int) -> list[float]:
    """Class, cx, cy, w, h, score."""
    try:
        numbers = [float(part) for part in line.split()]
    except ValueError as error:
        raise DataError(f"{place}: {line.strip()[:60]!r} is not a row of numbers.") from error
    if len(numbers) not in (5, 6):
        hint = "Polygon and pose rows are no boxes." if len(numbers) > 6 else None
        raise DataError(f"{place}: a row of {len(numbers)} numbers, not `class cx cy w h` or these and a score.", hint)
    if not all(math.isfinite(number) and 0 <= number <= 1 for number in numbers[1:]):
        raise DataError(
            f"{place}: {line.strip()[:60]!r} has numbers outside of 0..1.", "Boxes are shares of the image."
        )
    if not (numbers[0].is_integer() and 0 <= numbers[0] < classes):
        raise DataError(f"{place}: the class {line.split()[0]} is none of the {classes} in `names`.")
    return numbers if len(numbers) == 6 else [*numbers, 1.0]
