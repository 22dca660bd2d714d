"""Finds the images that a `data.yaml` declares for each split: a folder, a list of images, or a list of these."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from ...coco.problems import OnProblem, ProblemReporter
from ...core.errors import DataError, MissingInputError
from ...images.image_formats import IMAGE_SUFFIXES
from ...system.files import read_user_text
from ...system.folders import folder_contents, walk
from . import yolo_problem_kinds as kinds
from .data_yaml import DataYaml
from .yolo_paths import Found, Places, looked_for

# The folders of images of a split that is not declared.
_USUAL = {"train": ("train/images",), "valid": ("valid/images", "val/images"), "test": ("test/images",)}
_DATASETS = "../datasets/"


def split_images(data: DataYaml, places: Places, on_problem: OnProblem) -> dict[str, list[Path]]:
    """The images of each declared split, in the order of the declaration, folders sorted; each image once.

    Raises:
        MissingInputError: a declared folder or list does not exist; the message names it and what does exist.
        DataError: one leads out of the folder of the data.yaml, or is neither a folder nor a list.
    """
    splits = data.splits or _usual(data, places, on_problem)
    start = _start(data, places, on_problem)
    found: dict[str, list[Path]] = {}
    for split, declared in splits.items():
        images: dict[Path, None] = {}
        there = [_find_declared(data, places, start, split, stated, on_problem) for stated in declared]
        if split == "test" and None in there:
            continue
        for path in (one for one in there if one is not None):
            for image, reporter in _images(path, places, start, on_problem):
                if image in images:
                    reporter.add(kinds.LISTED_TWICE, f"{places.shown(image)} is listed twice in the {split} split")
                images[image] = None
        if not images:
            message = f"the {split} split ({', '.join(declared)}) has no image"
            ProblemReporter(on_problem, data.file).add(kinds.NO_IMAGES, message)
        found[split] = list(images)
    return found


def _usual(data: DataYaml, places: Places, on_problem: OnProblem) -> dict[str, tuple[str, ...]]:
    """The usual folders of the splits, for a data.yaml that declares none."""
    found: dict[str, tuple[str, ...]] = {}
    for split, usual in _USUAL.items():
        there = [name for name in usual if (data.root / name).is_dir()]
        if len(there) > 1:
            raise DataError(f"{data.file} declares no split, and there are {' and '.join(there)}.", "Write `val:`.")
        if there:
            found[split] = (there[0],)
    if not found:
        raise DataError(
            f"{data.file} declares no split, and its folder contains no train/images: {folder_contents(data.root)}.",
            "Write `train: train/images` and `val: valid/images`, with the folders of your images.",
        )
    listed = ", ".join(names[0] for names in found.values())
    ProblemReporter(on_problem, data.file).add(kinds.UNDECLARED, f"no split is declared; {listed} are read")
    return found


def _start(data: DataYaml, places: Places, on_problem: OnProblem) -> Path:
    """The folder that the paths of splits are relative to.

    `path` counts from the file's folder; ultralytics counts it from its datasets folder too (`coco8`, formerly
    `../datasets/coco8`), which is where the file's folder lies: there it may be that folder itself, or one below.
    """
    if data.path is None:
        return data.root
    stated = data.path.replace("\\", "/")
    for text in (data.path, stated):
        path = Path(os.path.normpath(data.root / text))
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for what no path can be
            return path
    base = data.root.absolute().parent
    for name in (stated, stated.removeprefix(_DATASETS)):
        path = Path(os.path.normpath(base / name))
        if not Path(name).is_absolute() and os.path.isdir(path) and places.is_inside(path):  # noqa: PTH112
            message = f"`path: {data.path}` is read as {path}"
            ProblemReporter(on_problem, data.file).add(kinds.DATASETS, message)
            return places.below(path, data.path)
    found = places.find(data.root, data.path)
    if found is None or not found.path.is_dir():
        raise MissingInputError(
            f"{data.file}: `path` names {looked_for(data.root, data.path)}, and there is no such folder. "
            f"{data.root} contains {folder_contents(data.root)}.",
            "Write `path: .` for the folder of the file itself, or remove `path`.",
        )
    _report_spelling(found, data.path, data, places, on_problem)
    return found.path


def _find_declared(
    data: DataYaml, places: Places, start: Path, split: str, stated: str, on_problem: OnProblem
) -> Path | None:
    """The folder or list that is declared; None for a test split that is not there."""
    try:
        found = places.find(start, stated, strip=True)
    except DataError as error:
        inner = stated.replace("\\", "/").removeprefix("../")
        both = f"There is {start / inner} too: write `{inner}` if that is meant." if (start / inner).exists() else None
        raise DataError(f"{data.file}: the {split} split: {error.message}", both or error.hint) from error
    if found is not None:
        _report_spelling(found, stated, data, places, on_problem)
        return found.path
    sought = looked_for(start, stated)
    if split == "test":  # Roboflow writes `test: ../test/images` even if there is none.
        ProblemReporter(on_problem, data.file).add(kinds.NO_TEST, f"`test` names {sought}, which does not exist")
        return None
    near = start if places.is_inside(start) else data.root
    raise MissingInputError(
        f"{data.file}: the {split} split names {sought}, and there is no such folder or list. "
        f"{near} contains {folder_contents(near)}.",
        "Correct the path: it is relative to `path`, or to the file's folder without one.",
    )


def _report_spelling(found: Found, stated: str, data: DataYaml, places: Places, on_problem: OnProblem) -> None:
    if found.respelled:
        message = f"{stated!r} is read as {places.shown(found.path)!r}"
        ProblemReporter(on_problem, data.file).add(kinds.SPELLING, message)


def _images(path: Path, places: Places, start: Path, on_problem: OnProblem) -> Iterator[tuple[Path, ProblemReporter]]:
    """The images of a folder or of a list, and where each is named."""
    if not path.is_dir():
        yield from _listed(path, places, start, on_problem)
        return
    closed: list[Path] = []
    for folder, names in walk(path, closed=closed):
        reporter = ProblemReporter(on_problem, folder)
        if not places.is_inside(folder):
            reporter.add(kinds.OUTSIDE, f"the folder {places.shown(folder)} is a link that leads out of the dataset")
            continue
        known = places.names(folder)
        for image in (folder / name for name in names if name in known):
            if image.suffix.lower() in IMAGE_SUFFIXES and _is_ours(image, places, reporter):
                yield image, reporter
    for folder in closed:
        ProblemReporter(on_problem, folder).add(kinds.CLOSED, "the folder cannot be listed")


def _is_ours(image: Path, places: Places, reporter: ProblemReporter) -> bool:
    if places.leads_out(image):
        reporter.add(kinds.OUTSIDE, f"{places.shown(image)} is a link that leads out of the dataset")
        return False
    return True


def _listed(file: Path, places: Places, start: Path, on_problem: OnProblem) -> Iterator[tuple[Path, ProblemReporter]]:
    """The images that the lines of a list name."""
    if not file.is_file():
        raise DataError(f"{file} is neither a folder nor a list of images.")
    for line, text in enumerate(read_user_text(file).split("\n"), start=1):
        stated = text.strip()
        if not stated:
            continue
        reporter = ProblemReporter(on_problem, file, line=line)
        image = _listed_image(stated, file, places, start, reporter)
        if image is not None and _is_ours(image, places, reporter):
            yield image, reporter


def _listed_image(stated: str, file: Path, places: Places, start: Path, reporter: ProblemReporter) -> Path | None:
    """The image of a line: with `./` from the list's own folder; else from there, `path` or the root, if exactly one
    exists."""
    bases = list(dict.fromkeys([file.parent, start, places.root]))
    if stated.replace("\\", "/").startswith("./"):
        bases = [file.parent, *(bases[1:] if not _is_there(file.parent, stated) else ())]
    found: dict[Path, Found] = {}
    outside = None
    for base in bases:
        try:
            one = places.find(base, stated)
        except DataError as error:
            outside = error
            continue
        if one is not None:
            found.setdefault(one.path, one)
    if len(found) > 1:
        listed = " or ".join(places.shown(path) for path in found)
        reporter.add(kinds.TWO_FIT, f"{stated!r} could be {listed}")
        return None
    if not found and (moved := _of_another_place(stated, places)) is not None:
        reporter.add(kinds.ELSEWHERE, f"{stated!r} is read as {places.shown(moved.path)}")
        found[moved.path] = moved
    if not found:
        kind, words = (kinds.OUTSIDE, outside.message) if outside else (kinds.MISSING, f"{stated!r} is not there")
        reporter.add(kind, words)
        return None
    image = next(iter(found.values()))
    if image.path.suffix.lower() not in IMAGE_SUFFIXES or not image.path.is_file():
        reporter.add(kinds.NOT_IMAGE, f"{stated!r} is no image")
        return None
    if image.respelled:
        reporter.add(kinds.SPELLING, f"{stated!r} is read as {places.shown(image.path)!r}")
    return image.path


def _of_another_place(stated: str, places: Places) -> Found | None:
    """The image of an absolute path of another machine: the file below the root that most of its last parts lead to."""
    windows = PureWindowsPath(stated)
    if not windows.root or ".." in windows.parts:
        return None
    parts = windows.parts[1:]
    for at in range(len(parts) - 1):  # A name alone could be that of any image.
        try:
            found = places.find(places.root, "/".join(parts[at:]))
        except DataError:
            return None
        if found is not None and found.path.is_file():
            return found
    return None


def _is_there(base: Path, stated: str) -> bool:
    return os.path.exists(base / stated.replace("\\", "/"))  # noqa: PTH110 - Path.exists raises for a NUL
