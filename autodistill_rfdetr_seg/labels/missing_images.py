"""The requested images that are missing from a run's dataset: those that failed, have no file, or have no labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..system.file_hash import file_sha256
from .current_labels import CurrentLabels
from .image_slices import in_slice
from .label_account import LabelAccount, read_failures

Failures = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class MissingImages:
    """Of the `images` that were requested, those that are not in the dataset.

    Attributes:
        images: how many were requested.
        failures: {path, reason} of each that could not be labeled.
        gone: the names of those that are labeled, but whose file does not exist any more.
        not_labeled: the names of those without labels.
        slices: the slices ("2/3") that these belong to, if the run is labeled in slices.
    """

    images: int
    failures: tuple[Mapping[str, str], ...] = ()
    gone: tuple[str, ...] = ()
    not_labeled: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.failures or self.gone or self.not_labeled)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {
            "failures": self.failures,
            "gone": self.gone,
            "not_labelled": self.not_labeled,
            "slices": self.slices,
        }

    def as_lines(self) -> list[str]:
        """The missing images, for reading in a terminal."""
        lines = [f"failed  {failure['path']}: {failure['reason']}" for failure in self.failures]
        lines += [f"gone    {name}" for name in self.gone]
        if self.not_labeled:
            where = f" (slice {', '.join(self.slices)})" if self.slices else ""
            lines.append(f"{len(self.not_labeled)} of {self.images} images are not labeled{where}")
        return lines


def find_missing_images(
    labels: Path,
    account: LabelAccount,
    current: CurrentLabels,
    failures: Failures,
    images: Path,
    built: Collection[str],
) -> MissingImages:
    """What a dataset lacks of the images in the account of the store `labels`.

    `current` are the labels of all images, `failures` as `unresolved_failures` gives them, and `built` the names of the
    images in the dataset.
    """
    waiting = sorted(set(account.images) - current.keys.keys() - failures.keys())
    return MissingImages(
        images=len(account.images),
        failures=tuple(failures.values()),
        gone=without_file((name for name in current.keys if name not in built and name not in failures), images),
        not_labeled=tuple(waiting),
        slices=_slices(labels, waiting),
    )


def unresolved_failures(labels: Path, account: LabelAccount, current: CurrentLabels, images: Path) -> Failures:
    """The failures ({path, reason}) of the last labeling by name.

    One whose file now has the very content that a row was made from is left out: it is labeled.
    """
    requested = set(account.images)
    found = {failure["path"]: failure for failure in read_failures(labels)}
    return {
        name: failure
        for name, failure in sorted(found.items())
        if name in requested and not _is_labeled(name, current, images)
    }


def without_file(names: Iterable[str], images: Path) -> tuple[str, ...]:
    """The names under which there is no file in `images`, sorted."""
    return tuple(sorted(name for name in names if _is_absent(images / name)))


def _is_labeled(name: str, current: CurrentLabels, images: Path) -> bool:
    if name not in current.keys:
        return False
    try:
        content = current.hashed_files.get(name) or file_sha256(images / name)
    except DataError:
        return False
    return content == current.keys[name].sha256


def _is_absent(path: Path) -> bool:
    """Whether there is no such file; one that cannot be reached for another reason does not count as absent."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _slices(labels: Path, names: Collection[str]) -> tuple[str, ...]:
    """The slices that the names belong to, if the run was labeled in slices: each finished one has a failures file."""
    finished = (re.fullmatch(r"failures-\d+-of-(\d+)", path.stem) for path in labels.glob("failures-*.jsonl"))
    counts = {int(match[1]) for match in finished if match}
    if len(counts) != 1:
        return ()
    count = counts.pop()
    return tuple(f"{i}/{count}" for i in range(1, count + 1) if any(in_slice(name, (i, count)) for name in names))
