"""Which row each image of a run has: the base's, or, where a person has worked on the very same content, theirs.

A person's work is found by content: it goes where the file goes, whatever its name, and holds for copies too. Where the
path itself has a row of this content that one counts, else the newest of any path.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.errors import DataError
from ..core.plain_text import short_list
from ..core.types import Classes
from ..images.image_opening import image_id
from ..system.file_hash import file_sha256
from .label_store import HUMAN, Key, LabelStore, StoredLabels
from .labeler import LabelAccount

_log = logging.getLogger(__name__)

_NAMED = 5


@dataclass(frozen=True)
class Rows:
    """Where the row of each image of a run lies, by its path.

    `by_people` are the paths whose row is a person's. `changed` and `gone` are the paths of people's rows that hold for
    no image: another content lies there now, or none.
    """

    base: LabelStore
    human: LabelStore
    keys: Mapping[str, Key]
    by_people: frozenset[str]
    changed: tuple[str, ...]
    gone: tuple[str, ...]

    @classmethod
    def of(cls, labels: Path, human: Path, account: LabelAccount, images: Path) -> Rows:
        """The rows of the images that `account` names; `images` is the folder that their names are relative to."""
        base, people = LabelStore(labels), LabelStore(human)
        names = set(account.images)
        keys = {path: key for path, key in base.keys(account.fingerprint).items() if path in names}
        work = list(people.rows(HUMAN))
        contents = dict(_contents(account.images, keys, work, images)) if work else {}
        theirs = _of_contents(work, contents)
        held = {contents[path] for path in theirs}
        idle = sorted({key.path: key.sha256 for key in work if key.path not in theirs}.items())
        lost = [path for path, sha256 in idle if sha256 not in held]
        changed = tuple(path for path in lost if path in contents)
        gone = tuple(path for path in lost if path not in contents)
        return cls(base, people, keys | theirs, frozenset(theirs), changed, gone)

    def without(self, paths: Collection[str]) -> Rows:
        """The rows of all other images."""
        return replace(self, keys={path: key for path, key in self.keys.items() if path not in paths})

    def read(self, path: str) -> StoredLabels:
        """The row of the image `path`."""
        key = self.keys[path]
        if path not in self.by_people:
            return self.base.read(key)
        row = self.human.read(key)
        return replace(row, image=replace(row.image, id=key.image_id, path=path))

    def warn_of_idle_work(self) -> None:
        """Says what of people's work holds for no image, and why."""
        if self.changed:
            verb = "has" if len(self.changed) == 1 else "have"
            _log.warning(
                "%s %s changed since a person worked on it: the base's labels of what is there now count.",
                short_list(self.changed),
                verb,
            )
        if self.gone:
            _log.warning(
                "A person's work on %s counts for nothing: no image of the run has that content. It is kept.",
                short_list(self.gone),
            )


def refuse_lost_classes(human: Path, classes: Classes) -> None:
    """Nothing, where `classes` has every class that people drew in the images of the store `human`.

    Raises:
        DataError: it has not; the class and the images are named.
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


def _contents(
    names: Sequence[str], keys: Mapping[str, Key], work: Sequence[Key], images: Path
) -> Iterator[tuple[str, str]]:
    """SHA-256 of what lies at each path: as the base's row says, else (the base failed on it) of the file."""
    sizes = {key.file_bytes for key in work}
    for path in names:
        if path in keys:
            yield path, keys[path].sha256
        elif (file := images / path).is_file():
            # Another size is other content, which need not be read.
            yield path, file_sha256(file) if file.stat().st_size in sizes else ""


def _of_contents(work: Sequence[Key], contents: Mapping[str, str]) -> dict[str, Key]:
    """The row of people's `work`, the oldest first, that holds for each path (path → SHA-256)."""
    own = {(key.path, key.sha256): key for key in work}
    newest = {key.sha256: key for key in work}
    found = {path: own.get((path, sha256), newest.get(sha256)) for path, sha256 in contents.items()}
    return {
        path: replace(key, path=path, image_id=image_id(path, key.sha256))
        for path, key in found.items()
        if key is not None
    }
