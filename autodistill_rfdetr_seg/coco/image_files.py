"""Which file is meant by a `file_name`: exactly the one it names, or the only one that it can mean.

Tools write names of another system (`images\\a.png`), of another place (`/home/me/a.png`), percent-encoded, in other
letter case or Unicode form, or leave out the folder that the images lie in. Nothing outside of the dataset's folder is
ever looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from ..folders import name_key
from . import kinds
from .problem import Teller, shown

# Folders that hold JSON files alone, beside the images' own.
_ANNOTATION_FOLDERS = ("annotations", "annotation")
_SHOWN = 3
_MOST_FILES = 1_000_000


@dataclass(frozen=True)
class ImageFiles:
    """Where the images of one COCO file lie: `home`, which nothing leaves, and the `roots` to which names are relative,
    the likeliest first."""

    home: Path
    roots: tuple[Path, ...]
    _real_home: str = field(default="", repr=False)

    @classmethod
    def of(cls, file: Path, names: Sequence[str]) -> ImageFiles:
        """Those of the COCO file `file`, whose images have these names.

        Besides the JSON's own folder these are the layouts of CVAT and Datumaro (`annotations/instances_default.json`,
        `images/default/`), COCO (`annotations/instances_train2017.json`, `train2017/`) and Label Studio
        (`result.json`, `images/`).
        """
        apart = file.parent.name.lower() in _ANNOTATION_FOLDERS
        home = file.parent.parent if apart else file.parent
        subset = subset_of(file)
        among = [file.parent, file.parent / "images"]
        if apart:
            among = [home / "images" / subset, home / subset, home / subset / "images", home / "images", home, *among]
        elif subset:
            among += [home / "images" / subset, home / subset, home / subset / "images"]
        roots = [root for root in dict.fromkeys(among) if root.is_dir()] or [file.parent]
        return cls(home, _likeliest_first(roots, names), os.path.realpath(home))

    def find(self, name: object, place: Teller) -> Path | None:
        """The file that `name` means; None where `place` was told of an error that is not that it is missing.

        What is not there is given as the path where it would be.
        """
        if not isinstance(name, str) or not name.strip() or "\0" in name or not _is_text(name):
            what = "text" if not isinstance(name, str) or not name.strip() else "a file name"
            place.tell(kinds.FILE_NAME, f"`file_name` must be {what}, not {shown(name)}")
            return None
        if _is_inside(name):
            for root in self.roots:
                if os.path.isfile(root / name):  # noqa: PTH113 - it is False for a name that no file can have
                    return self._kept_inside(root / name, place)
        fits = self._fits(name)
        if len(fits) == 1:
            path = self.home / fits[0]
            place.tell(kinds.FILE_NAME_FORM, f"`file_name` {shown(name)} is taken for {fits[0]}")
            return self._kept_inside(path, place)
        if fits:
            among = ", ".join(fits[:_SHOWN]) + (f" and {len(fits) - _SHOWN} more" if len(fits) > _SHOWN else "")
            place.tell(kinds.FILE_NAME_AMBIGUOUS, f"`file_name` {shown(name)} fits {len(fits)} files: {among}")
            return None
        reason = unsafe_file_name(name)
        if reason:
            place.tell(kinds.FILE_NAME, reason)
            return None
        return self.roots[0] / name

    def guess(self, name: str) -> Path:
        """The file of exactly this name where it is there, else where it would be; what leads outside is left out."""
        for root in self.roots if _is_inside(name) else ():
            path = root / name
            if os.path.isfile(path) and self._is_kept_inside(path):  # noqa: PTH113
                return path
        windows = PureWindowsPath(name)
        return self.roots[0].joinpath(*(part for part in windows.parts if part not in ("..", windows.anchor)))

    def searched(self) -> str:
        """The folders that names are looked for in, for a message."""
        return ", ".join(map(str, self.roots))

    def _kept_inside(self, path: Path, place: Teller) -> Path | None:
        if self._is_kept_inside(path):
            return path
        place.tell(kinds.IMAGE_LINK, f"the image file {shown(path.name)} is a link that leaves the folder {self.home}")
        return None

    def _is_kept_inside(self, path: Path) -> bool:
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
        last = {fit for spelling in spellings for fit in self._by_last_part.get(name_key(spelling.rsplit("/")[-1]), ())}
        return sorted(last)

    def _key(self, root: Path, name: str) -> str:
        inside = [part for part in PurePosixPath(name).parts if part != "."]
        return name_key("/".join([*root.relative_to(self.home).parts, *inside]))

    @cached_property
    def _files(self) -> list[str]:
        """All files of the folder, hidden ones and linked folders left out; read where a name is not found at once.

        None of a folder that holds much more than a dataset, such as a home folder.
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
        return _grouped((name_key(name.rsplit("/")[-1]), name) for name in self._files)


def _likeliest_first(roots: Sequence[Path], names: Sequence[str]) -> tuple[Path, ...]:
    """The folders, the one first in which most names are found; of equals the first."""
    inside = [name for name in names if _is_inside(name)]
    best, most = roots[0], -1
    for root in roots:
        found = sum(os.path.isfile(root / name) for name in inside)  # noqa: PTH113
        if found > most:
            best, most = root, found
        if most == len(names):
            break
    return (best, *(root for root in roots if root != best))


def subset_of(file: Path) -> str:
    """The part of the data that a file's name speaks of: `train2017` of `instances_train2017.json`; "" for none."""
    stem = file.stem
    for prefix in ("instances_", "person_keypoints_", "annotations_"):
        if stem.lower().startswith(prefix):
            return stem[len(prefix) :]
    return re.sub(r"[_-](annotations?|instances|coco)\Z", "", stem) if stem != "_annotations.coco" else ""


def unsafe_file_name(name: object) -> str | None:
    """Why `name` cannot be a file inside the JSON's folder, or None where it can."""
    if not isinstance(name, str) or not name.strip():
        return f"`file_name` must be text, not {shown(name)}"
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.drive or windows.root:
        return f"`file_name` {shown(name)} is an absolute path; it must be relative to the JSON's folder"
    if ".." in windows.parts:
        return f"`file_name` {shown(name)} leaves the JSON's folder"
    if "\0" in name or not PurePosixPath(name).name or not _is_text(name):
        return f"`file_name` {shown(name)} is not a file name"
    return None


def _is_inside(name: str) -> bool:
    return unsafe_file_name(name) is None


def _is_text(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups
