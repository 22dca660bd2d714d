"""What a run's labels lack of the images asked for: those that failed, have gone since, or wait for labels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..system.file_hash import file_sha256
from .label_store import Key
from .labeler import LabelAccount, in_slice, read_failures


@dataclass(frozen=True)
class Gaps:
    """Of the `images` asked for, those that are not in the dataset: `failures` ({path, reason}), `gone` (labelled, but
    there is no file any more) and `not_labelled`, by name; `slices` ("2/3") are those that the latter belong to."""

    images: int
    failures: tuple[Mapping[str, str], ...] = ()
    gone: tuple[str, ...] = ()
    not_labelled: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.failures or self.gone or self.not_labelled)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "images"}

    def as_lines(self) -> list[str]:
        """The gaps for reading in a terminal."""
        lines = [f"failed  {failure['path']}: {failure['reason']}" for failure in self.failures]
        lines += [f"gone    {name}" for name in self.gone]
        if self.not_labelled:
            where = f" (slice {', '.join(self.slices)})" if self.slices else ""
            lines.append(f"{len(self.not_labelled)} of {self.images} images are not labelled{where}")
        return lines


def find_gaps(
    labels: Path, account: LabelAccount, keys: Mapping[str, Key], images: Path, built: Collection[str]
) -> Gaps:
    """What the store `labels`, whose rows are `keys` by name, lacks of its account; `built` are the dataset's names."""
    failures = failed(labels, account, keys, images)
    waiting = sorted(set(account.images) - keys.keys() - failures.keys())
    return Gaps(
        images=len(account.images),
        failures=tuple(failures.values()),
        gone=gone((name for name in keys if name not in built and name not in failures), images),
        not_labelled=tuple(waiting),
        slices=_slices(labels, waiting),
    )


def failed(labels: Path, account: LabelAccount, keys: Mapping[str, Key], images: Path) -> dict[str, Mapping[str, str]]:
    """The failures ({path, reason}) by name, but for those whose file is, to the byte, what a row was made of."""
    asked = set(account.images)
    found = {failure["path"]: failure for failure in read_failures(labels)}
    return {
        name: failure
        for name, failure in sorted(found.items())
        if name in asked and not (name in keys and _is_of(keys[name], images / name))
    }


def gone(names: Iterable[str], images: Path) -> tuple[str, ...]:
    """The names under which there is nothing in `images`, in order."""
    return tuple(sorted(name for name in names if _is_absent(images / name)))


def _is_of(key: Key, path: Path) -> bool:
    try:
        return file_sha256(path) == key.sha256
    except DataError:
        return False


def _is_absent(path: Path) -> bool:
    """Whether there is no such file; one that cannot be reached for another reason is not said to have gone."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _slices(labels: Path, names: Collection[str]) -> tuple[str, ...]:
    """The slices that the names belong to, if the run was labeled in slices: each finished one leaves its failures."""
    ended = (re.fullmatch(r"failures-\d+-of-(\d+)", path.stem) for path in labels.glob("failures-*.jsonl"))
    counts = {int(match[1]) for match in ended if match}
    if len(counts) != 1:
        return ()
    count = counts.pop()
    slices = range(1, count + 1)
    return tuple(f"{i}/{count}" for i in slices if any(in_slice(name, (i, count)) for name in names))
