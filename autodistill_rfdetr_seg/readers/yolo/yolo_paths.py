"""Resolves the paths of a dataset, below its root only; each folder is listed once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from ...core.errors import DataError
from ...core.name_keys import name_key
from ...system.folders import real_path


class Found(NamedTuple):
    """A file or folder below the root, and whether its name on disk is spelled differently (case, Unicode form)."""

    path: Path
    respelled: bool


@dataclass(frozen=True, slots=True)
class _Folder:
    names: dict[str, bool]  # each name, and whether it is a link
    loose: dict[str, list[str]]  # the names that differ only in case and Unicode form


class Places:
    """The files and folders below a dataset's `root`.

    A name that does not exist is read as the one that differs only in letter case or Unicode form.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = real_path(root)
        self._listed: dict[Path, _Folder] = {}
        self._inside: dict[Path, bool] = {}

    def find(self, start: Path, stated: str, *, strip: bool = False) -> Found | None:
        """What `stated`, absolute or counted from `start`, leads to; None if it does not exist.

        With `strip` a path that starts with `../` and leads nowhere counts without that: Roboflow writes them so, and
        ultralytics reads them so. Backslashes separate where they lead somewhere.

        Raises:
            DataError: it leads out of the root, or several names fit.
        """
        slashed = stated.replace("\\", "/")
        texts = list(dict.fromkeys([stated, slashed]))
        if strip and slashed.startswith("../"):
            texts.append(slashed[3:])
        paths = [Path(os.path.normpath(start / text)) for text in texts if "\0" not in text]
        for path in paths:
            if os.path.exists(path):  # noqa: PTH110 - Path.exists raises for what no path can be
                return Found(self.below(path, stated), False)
        for path in paths:
            if self._starts_with_root(path) and (respelled := self._respelled(path)):
                return Found(self.below(respelled, stated), True)
        return None

    def is_inside(self, folder: Path) -> bool:
        """Whether a folder, links resolved, is below the root."""
        if folder not in self._inside:
            self._inside[folder] = real_path(folder).is_relative_to(self._real)
        return self._inside[folder]

    def leads_out(self, file: Path) -> bool:
        """Whether a file of a folder below the root is a link to somewhere else."""
        linked = self._list(file.parent).names.get(file.name, False)
        return linked and not real_path(file).is_relative_to(self._real)

    def names(self, folder: Path) -> dict[str, bool]:
        """The names in a folder, hidden ones left out, and whether each is a link; empty if there is no folder.

        Raises:
            DataError: it cannot be listed.
        """
        return self._list(folder).names

    def alike(self, folder: Path, name: str) -> list[str]:
        """The names in a folder that equal `name` except for letter case and Unicode form."""
        return self._list(folder).loose.get(name_key(name), [])

    def shown(self, path: Path) -> str:
        """A path below the root as POSIX text relative to it."""
        return path.relative_to(self.root).as_posix()

    def below(self, path: Path, stated: str) -> Path:
        """The file or folder at `path`, as a path that starts with the root.

        Raises:
            DataError: it is not below the root; the message names `stated`.
        """
        lexically = self._starts_with_root(path)
        if lexically and self.is_inside(path.parent) and self.names(path.parent).get(path.name) is False:
            return path
        real = real_path(path)
        if not real.is_relative_to(self._real):
            raise DataError(
                f"{stated!r} leads to {path}, outside the dataset's folder {self.root}.",
                "Put the data.yaml into the folder of images and labels, with paths relative to it.",
            )
        return path if lexically else self.root / real.relative_to(self._real)

    def _starts_with_root(self, path: Path) -> bool:
        return ".." not in path.parts and path.is_relative_to(self.root)

    def _respelled(self, path: Path) -> Path | None:
        here = self.root
        for part in path.relative_to(self.root).parts:
            if part not in self._list(here).names:
                fitting = self.alike(here, part)
                if len(fitting) > 1:
                    raise DataError(f"{path} does not exist, and {here} has {fitting[0]!r} and {fitting[1]!r}.")
                if not fitting:
                    return None
                part = fitting[0]
            here /= part
        return here

    def _list(self, folder: Path) -> _Folder:
        if folder not in self._listed:
            names: dict[str, bool] = {}
            loose: dict[str, list[str]] = {}
            try:
                with os.scandir(folder) as entries:
                    for entry in sorted(entries, key=lambda one: one.name):
                        if not entry.name.startswith(".") and _can_be_read(entry):
                            names[entry.name] = entry.is_symlink()
                            loose.setdefault(name_key(entry.name), []).append(entry.name)
            except (FileNotFoundError, NotADirectoryError):
                names, loose = {}, {}
            except OSError as error:
                raise DataError(f"The folder {folder} cannot be listed: {error.strerror or error}.") from error
            self._listed[folder] = _Folder(names, loose)
        return self._listed[folder]


def _can_be_read(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, a folder, or a broken link: opening a pipe would block."""
    return entry.is_file() or entry.is_dir() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110


def looked_for(start: Path, stated: str) -> str:
    """The path that `stated` leads to, for a message; one of another system as it is stated."""
    if PureWindowsPath(stated).drive and os.name != "nt":
        return stated
    return os.path.normpath(start / stated.replace("\\", "/").replace("\0", "\\0"))
