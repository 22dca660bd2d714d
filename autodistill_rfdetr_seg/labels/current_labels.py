"""The row that counts for each image of a run: a person's if there is one for the same content, else the base's.

A person's work belongs to a content: it follows a file that is moved or renamed, and applies to its copies. A row of
the same path counts first, then the newest row of any path.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.errors import DataError
from ..core.plain_text import short_list
from ..core.types import Classes
from ..images.image_opening import image_id
from ..system.file_hash import file_sha256
from .label_account import LabelAccount
from .label_store import LabelStore
from .stored_labels import HUMAN, Key, StoredLabels

_log = logging.getLogger(__name__)

_NAMED = 5


@dataclass(frozen=True)
class CurrentLabels:
    """The row of each image of a run, by its path.

    Attributes:
        base: the store of the base's labels.
        human: the store of people's work.
        keys: the row of each image.
        by_people: the paths whose row is a person's.
        changed: the paths of people's rows that match no image, because another content is there now.
        gone: likewise, because no image is there.
        hashed_files: the SHA-256 of each file that was read to find this out.
    """

    base: LabelStore
    human: LabelStore
    keys: Mapping[str, Key]
    by_people: frozenset[str]
    changed: tuple[str, ...]
    gone: tuple[str, ...]
    hashed_files: Mapping[str, str]

    @classmethod
    def from_stores(cls, labels: Path, human: Path, account: LabelAccount, images: Path) -> CurrentLabels:
        """The rows of the images in `account`; `images` is the folder that their names are relative to."""
        base, people = LabelStore(labels), LabelStore(human)
        names = set(account.images)
        keys = {path: key for path, key in base.keys(account.fingerprint).items() if path in names}
        work = list(people.rows(HUMAN))
        hashed = _hash_unlabeled(account.images, keys, work, images) if work else {}
        contents = hashed | {path: key.sha256 for path, key in keys.items()}
        theirs = _rows_by_content(work, contents)
        used = {contents[path] for path in theirs}
        unused = sorted({key.path: key.sha256 for key in work if key.path not in theirs}.items())
        lost = [path for path, sha256 in unused if sha256 not in used]
        changed = tuple(path for path in lost if path in contents)
        gone = tuple(path for path in lost if path not in contents)
        read = {path: sha256 for path, sha256 in hashed.items() if sha256}
        return cls(base, people, keys | theirs, frozenset(theirs), changed, gone, read)

    def without(self, paths: Collection[str]) -> CurrentLabels:
        """The rows of all other images."""
        return replace(self, keys={path: key for path, key in self.keys.items() if path not in paths})

    def read(self, path: str) -> StoredLabels:
        """The row of the image `path`."""
        return read_current(self.base, self.human, path, self.keys[path], by_person=path in self.by_people)

    def warn_of_unused_work(self) -> None:
        """Logs which of people's work matches no image, and why."""
        if self.changed:
            verb = "has" if len(self.changed) == 1 else "have"
            _log.warning(
                "%s %s changed since a person worked on it: the base's labels of the present content are used.",
                short_list(self.changed),
                verb,
            )
        if self.gone:
            _log.warning(
                "A person's work on %s is not used: no image of the run has that content. It is kept.",
                short_list(self.gone),
            )


def read_current(base: LabelStore, human: LabelStore, path: str, key: Key, *, by_person: bool) -> StoredLabels:
    """The row `key` that counts for the image `path`: of the store `human` where it is a person's, else of `base`."""
    if not by_person:
        return base.read(key)
    row = human.read(key)
    return replace(row, image=replace(row.image, id=key.image_id, path=path))


def refuse_lost_classes(human: Path, classes: Classes) -> None:
    """Checks that `classes` has every class that people drew in the images of the store `human`.

    Raises:
        DataError: a class is missing; it and its images are named.
    """
    store = LabelStore(human)
    images: dict[str, list[str]] = {}
    for row in store.read_all(store.keys(HUMAN)):
        for name in row.drawn.difference(classes.names):
            images.setdefault(name, []).append(row.image.path)
    if images:
        name, paths = min(images.items())
        raise DataError(
            f"The ontology has no class {name!r}, which a person drew in {short_list(paths)}.",
            "Keep the class; or label into another --output, and import this run's dataset there, its class renamed.",
        )


def _hash_unlabeled(names: Sequence[str], keys: Mapping[str, Key], work: Sequence[Key], images: Path) -> dict[str, str]:
    """SHA-256 of each file that has no row of the base (the base failed on it); empty for a size that no work has."""
    sizes = {key.file_bytes for key in work}
    files = ((path, images / path) for path in names if path not in keys)
    return {path: file_sha256(file) if file.stat().st_size in sizes else "" for path, file in files if file.is_file()}


def _rows_by_content(work: Sequence[Key], contents: Mapping[str, str]) -> dict[str, Key]:
    """The row of people's `work` (oldest first) for each path in `contents` (path → SHA-256) that has one."""
    own = {(key.path, key.sha256): key for key in work}
    newest = {key.sha256: key for key in work}
    found = {path: own.get((path, sha256), newest.get(sha256)) for path, sha256 in contents.items()}
    return {
        path: replace(key, path=path, image_id=image_id(path, key.sha256))
        for path, key in found.items()
        if key is not None
    }
