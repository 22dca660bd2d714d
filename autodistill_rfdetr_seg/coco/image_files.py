"""Finds the file of a `file_name`: exactly the one it names, or the only one that it can mean.

Tools write names of another system (`images\\a.png`), of another machine (`/home/me/a.png`), percent-encoded, in other
letter case or Unicode form, or leave out the folder of the images. Nothing outside the dataset's folder is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from ..core.name_keys import name_key
from ..core.plain_text import short_list
from ..images.image_formats import IMAGE_SUFFIXES
from . import problem_kinds as kinds
from .problems import ProblemReporter, shown
from .values import is_text

# Folders with JSON files only, beside the folders of the images.
ANNOTATION_FOLDERS = ("annotations", "annotation", "labels")
# Folders with images only: of most tools, FiftyOne, Supervisely.
_IMAGE_FOLDERS = ("images", "data", "img")
# Folders whose files have the names of the images but are other pictures.
_MASK_FOLDERS = {"mask", "masks", "panoptic", "semantic", "segmentationclass", "segmentationobject"}
_NOT_IMAGES = _MASK_FOLDERS | {"labels", "thumbnails", "__macosx"}
# The start of the names of COCO's other files, beside those with masks.
OTHER_KINDS = ("person_keypoints_", "captions_", "panoptic_", "stuff_", "image_info_")
# Names of most images; no check of a path is needed for them.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\.[A-Za-z0-9]+")
_SHOWN = 3
_MOST_FILES = 1_000_000


@dataclass(frozen=True)
class ImageFiles:
    """Where the images of one COCO file are: all below `home`; names are relative to one of `roots`, the most likely
    first. Roots that were chosen only because of their usual name are `loose`."""

    home: Path
    roots: tuple[Path, ...]
    loose: frozenset[Path] = frozenset()
    _real_home: str = field(default="", repr=False)

    @classmethod
    def for_names(cls, file: Path, names: Sequence[str]) -> ImageFiles:
        """Where the images of the COCO file `file`, with these names, are.

        Besides the JSON's own folder these are the layouts of CVAT and Datumaro (`annotations/instances_default.json`,
        `images/default/`), COCO (`annotations/instances_train2017.json`, `train2017/`), Label Studio (`result.json`,
        `images/`), FiftyOne (`labels.json`, `data/`) and Supervisely (`img/`); `annotations/train/` has its images in
        `images/train/`.
        """
        if not file.parent.name:  # A file in the working folder, whose name says where the images are.
            file = file.absolute()
        home, subset = _home_and_subset(file)
        among = [file.parent, *(file.parent / name for name in _IMAGE_FOLDERS)]
        of_subset = [*(home / name / subset for name in _IMAGE_FOLDERS), home / subset]
        of_subset += [home / subset / name for name in _IMAGE_FOLDERS]
        if home != file.parent:
            among = [*of_subset, *(home / name for name in _IMAGE_FOLDERS), home, *among]
        elif subset:
            among = [*of_subset, *among]
        roots = [root for root in dict.fromkeys(among) if root.is_dir()] or [file.parent]
        loose = frozenset(file.parent / name for name in _IMAGE_FOLDERS) if home == file.parent else frozenset[Path]()
        return cls(home, _likeliest_first(roots, names), loose, os.path.realpath(home))

    def find(self, name: object, reporter: ProblemReporter) -> Path | None:
        """The file that `name` means; None after an error other than a missing file.

        For a missing file, the path where it would be.
        """
        if not isinstance(name, str) or not name.strip() or "\0" in name or not is_text(name):
            what = "text" if not isinstance(name, str) or not name.strip() else "a file name"
            reporter.add(kinds.FILE_NAME, f"`file_name` must be {what}, not {shown(name)}")
            return None
        if _is_inside(name):
            for root in self.roots:
                if os.path.isfile(root / name):  # noqa: PTH113 - it is False for a name that no file can have
                    return self._kept_inside(root / name, reporter)
        fits = self._fits(name)
        if len(fits) == 1:
            path = self.home / fits[0]
            if not os.path.isfile(path):  # noqa: PTH113 - a link that leads nowhere, a pipe
                return path
            reporter.add(kinds.FILE_NAME_FORM, f"`file_name` {shown(name)} is read as {fits[0]}")
            return self._kept_inside(path, reporter)
        if fits:
            reporter.add(
                kinds.FILE_NAME_AMBIGUOUS, f"`file_name` {shown(name)} fits {len(fits)} files: {short_list(fits, 3)}"
            )
            return None
        reason = unsafe_file_name(name)
        if reason:
            last = PurePosixPath(name.replace("\\", "/")).name
            reporter.add(kinds.FILE_NAME, f"{reason}, and no file in {self.home} is called {shown(last)}")
            return None
        return self.roots[0] / name

    def guess(self, name: str) -> Path:
        """The file of exactly this name where it is there, else where it would be; never outside, and another one for
        another name.

        Folders that merely have a usual name are not looked in: the file may have come without its images, and lie
        beside a folder of others that are called the same.
        """
        roots = self._certain_roots
        for root in roots if _is_inside(name) else ():
            path = os.path.join(root, name)  # noqa: PTH118 - takes a fifth of the time of Path, for each image
            if os.path.isfile(path) and self._is_kept_inside(path):  # noqa: PTH113
                return Path(path)
        if _PLAIN_NAME.fullmatch(name):
            return roots[0] / name
        return roots[0].joinpath(*_parts_inside(name))

    @cached_property
    def _certain_roots(self) -> list[Path]:
        return [root for root in self.roots if root not in self.loose] or [self.home]

    def searched(self) -> str:
        """The folders that are searched, for a message."""
        return ", ".join(map(str, self.roots))

    def of_another_suffix(self, name: str) -> str | None:
        """The only image that differs from `name` just in its suffix, relative to `home`; None if there is not
        exactly one.
        """
        stem = str(PurePosixPath(name.replace("\\", "/")).with_suffix(""))
        found = self._with_any_suffix(stem)
        return found[0] if len(found) == 1 and os.path.isfile(self.home / found[0]) else None  # noqa: PTH113

    def _kept_inside(self, path: Path, reporter: ProblemReporter) -> Path | None:
        if self._is_kept_inside(path):
            return path
        reporter.add(
            kinds.IMAGE_LINK, f"the image file {shown(path.name)} is a link that leaves the folder {self.home}"
        )
        return None

    def _is_kept_inside(self, path: str | Path) -> bool:
        real = os.path.realpath(path)
        return real == self._real_home or real.startswith(self._real_home.rstrip(os.sep) + os.sep)

    def _fits(self, name: str) -> list[str]:
        """The files that the name can mean, relative to `home`: by its whole path first, else by its last part."""
        plain = PurePosixPath(name.replace("\\", "/"))
        spellings = {str(plain), unquote(str(plain))}
        for spelling in sorted(spellings):
            whole = {fit for root in self.roots for fit in self._index.get(self._key(root, spelling), ())}
            if whole:
                return sorted(whole)
        # A URL may end with a query.
        for ways in (spellings, {spelling.split("?")[0] for spelling in spellings}):
            keys = {name_key(spelling.rsplit("/")[-1]) for spelling in ways}
            last = {fit for key in keys for fit in self._by_last_part.get(key, ())}
            if last:
                return sorted(last)
        return self._with_any_suffix(str(plain)) if plain.suffix.lower() not in IMAGE_SUFFIXES else []

    def _with_any_suffix(self, stem: str) -> list[str]:
        """The images of this name and any suffix, in the folders that names are relative to."""
        keys = [self._key(root, stem + suffix) for root in self.roots for suffix in sorted(IMAGE_SUFFIXES)]
        return sorted({fit for key in keys for fit in self._index.get(key, ())})

    def _key(self, root: Path, name: str) -> str:
        inside = [part for part in PurePosixPath(name).parts if part != "."]
        return name_key("/".join([*root.relative_to(self.home).parts, *inside]))

    @cached_property
    def _files(self) -> list[str]:
        """All files of the folder, hidden ones and linked folders left out; read only if a name is not found directly.

        None if the folder has far more files than a dataset, such as a home folder.
        """
        found: list[str] = []
        for folder, folders, names in os.walk(self.home):
            folders[:] = sorted(one for one in folders if not one.startswith("."))
            inside = PurePosixPath(Path(folder).relative_to(self.home).as_posix())
            found += [str(inside / name) for name in sorted(names) if not name.startswith(".")]
            if len(found) > _MOST_FILES:
                return []
        return found

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        return _grouped((name_key(name), name) for name in self._files)

    @cached_property
    def _by_last_part(self) -> dict[str, list[str]]:
        images = (name for name in self._files if not _NOT_IMAGES.intersection(name.lower().split("/")[:-1]))
        return _grouped((name_key(name.rsplit("/")[-1]), name) for name in images)


def _likeliest_first(roots: Sequence[Path], names: Sequence[str]) -> tuple[Path, ...]:
    """The folders, first the one in which most names are found; of equals the first."""
    inside = [name for name in names if _is_inside(name)]
    best, most = roots[0], -1
    for root in roots:
        found = sum(os.path.isfile(root / name) for name in inside)  # noqa: PTH113
        if found > most:
            best, most = root, found
        if most == len(names):
            break
    return (best, *(root for root in roots if root != best))


def _home_and_subset(file: Path) -> tuple[Path, str]:
    """The dataset's folder, and the part of the data that a COCO file describes."""
    if file.parent.name.lower() in ANNOTATION_FOLDERS:
        return file.parent.parent, subset_of(file)
    if file.parent.parent.name.lower() in ANNOTATION_FOLDERS:
        home, subset = file.parent.parent.parent, file.parent.name
        if any((home / name / subset).is_dir() for name in (*_IMAGE_FOLDERS, ".")):
            return home, subset
    return file.parent, subset_of(file)


def subset_of(file: Path) -> str:
    """The part of the data in a file's name: `train2017` of `instances_train2017.json`; "" for none."""
    stem = file.stem
    for prefix in ("instances_", "annotations_", *OTHER_KINDS):
        if stem.lower().startswith(prefix):
            return stem[len(prefix) :]
    return re.sub(r"[_-](annotations?|instances|coco)\Z", "", stem) if stem != "_annotations.coco" else ""


def unsafe_file_name(name: object) -> str | None:
    """Why `name` cannot be a file inside the JSON's folder, or None if it can."""
    if not isinstance(name, str) or not name.strip():
        return f"`file_name` must be text, not {shown(name)}"
    if _PLAIN_NAME.fullmatch(name):
        return None
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.drive or windows.root:
        return f"`file_name` {shown(name)} is an absolute path; it must be relative to the JSON's folder"
    if ".." in windows.parts:
        return f"`file_name` {shown(name)} leaves the JSON's folder"
    if "\0" in name or not PurePosixPath(name).name or not is_text(name):
        return f"`file_name` {shown(name)} is not a file name"
    return None


def _parts_inside(name: str) -> list[str]:
    """The parts of a file's name, without `..`, drives and the query of a URL."""
    whole, before = (PureWindowsPath(text) for text in (name, name.split("?")[0]))
    path = before if before.suffix.lower() in IMAGE_SUFFIXES and whole.suffix.lower() not in IMAGE_SUFFIXES else whole
    return [part for part in path.parts if part not in (path.anchor, "..")] or ["_"]


def _is_inside(name: str) -> bool:
    return unsafe_file_name(name) is None


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups
