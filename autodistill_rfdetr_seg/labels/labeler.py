"""Images → base → store. Resumable; an unreadable image stops nothing else; memory does not grow with the folder."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.config import MAX_MEGAPIXELS, LabelingConfig
from ..core.errors import AutodistillSegError, BaseModelError
from ..images.file_copies import size_and_mtime, without_copies
from ..images.image_opening import KnownImage, image_id
from ..system.folders import printable
from ..system.locks import locked
from .base_source import BaseSource, Item, Outcome
from .image_slices import items_of_slice
from .label_account import write_account, write_failures
from .label_store import LabelStore
from .ray_labeling import label_in_actors
from .stored_labels import Key, Provenance, StoredLabels
from .threaded_labeling import known_items_first, label_in_threads
from .worker_labeling import label_in_workers

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelSummary:
    """What a labeling did.

    Attributes:
        labeled: how many images the base labeled now.
        stored: how many images have a content that was stored before.
        failures: {path, reason} of each image that failed.
        dropped: how many detections were not usable, by reason.
        several: the files with several pages or frames, of which the first is labeled.
    """

    labeled: int
    stored: int
    failures: tuple[Mapping[str, str], ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    several: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data, by the keys of release 0.1.0."""
        data = asdict(self)
        return {"labelled": data.pop("labeled"), **data}


def label_images(
    source: BaseSource,
    images: Sequence[Item],
    folder: Path,
    options: LabelingConfig | None = None,
    *,
    root: Path | None = None,
    groups: Mapping[str, str] | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> LabelSummary:
    """Labels those of `images` (path, name relative to their folder) that the store in `folder` does not have.

    Writes `labels.json` (classes, base, the names of all images) and `failures.jsonl` next to the shards at its end;
    the latter also if `max_failures` stops it. An image that cannot be read, or that the base fails on, is a failure
    with a reason; the others are labeled.
    A content is labeled once, also if its file is renamed or copied. `labels.json` also has `root`, the folder that
    names are relative to, and `groups` (name → group) of images that belong in the same split.

    Raises:
        DataError: another process writes to the store, or more than `max_failures` images failed.
        AutodistillSegError: the base cannot be built.
    """
    options = options or LabelingConfig()
    with open_labeling(source, folder, options, max_megapixels=max_megapixels, progress=progress) as labeling:
        labeling.label(images)
        return labeling.finish([name for _, name in images], root, groups or {})


@contextlib.contextmanager
def open_labeling(
    source: BaseSource,
    folder: Path,
    options: LabelingConfig,
    *,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> Iterator[Labeling]:
    """A labeling whose images come in parts; within the block no other process writes to the store.

    Raises:
        DataError: another process writes to it.
    """
    with locked(folder, options.slice):
        yield Labeling(source, folder, options, max_megapixels, progress)


class Labeling:
    """A labeling whose images come in parts, each gone when the next one comes; else as `label_images`.

    The caller holds the lock of `folder`: see `open_labeling`.
    """

    def __init__(
        self, source: BaseSource, folder: Path, options: LabelingConfig, max_megapixels: float, progress: bool
    ) -> None:
        self._source, self._folder, self._options = source, folder, options
        self._max_megapixels, self._progress = max_megapixels, progress
        self._store = LabelStore(folder)
        self._rows = _Stored(self._store, source.provenance)
        self._failures: list[Mapping[str, str]] = []
        self._dropped: Counter[str] = Counter()
        self._several: list[str] = []
        self._labeled = self._stored = 0

    def row_of(self, name: str) -> Key | None:
        """The row that the store has for an image's name; its file may have changed since."""
        return self._rows.keys.get(name)

    def label(self, images: Sequence[Item]) -> None:
        """Labels those of `images` that are in the slice and not stored. Raises as `label_images`."""
        from tqdm import tqdm

        options, max_megapixels, progress = self._options, self._max_megapixels, self._progress
        self._rows.read_new()
        mine = items_of_slice(images, options.slice, max_megapixels, progress)
        todo = [(path, name) for path, name in mine if not _is_stored(path, self._rows.keys.get(name))]
        source = self._source if self._source.items else self._source.with_items(images)
        # A base that knows images by name may answer differently for a copy, which has another name.
        firsts, copies = (
            (todo, {}) if source.by_image else without_copies(todo, max_megapixels=max_megapixels, progress=progress)
        )
        self._stored += len(mine) - len(todo)
        bar = tqdm(total=len(todo), desc="Labeling", unit="image", disable=not (progress and todo))
        with bar, self._store:
            known = (
                frozenset()
                if source.by_image
                else self._rows.of_size(size_and_mtime(path, max_megapixels)[0] for path, _ in firsts)
            )
            for (_, name), outcome in _asked(source, firsts, known, options, max_megapixels):
                twins = copies.get(name, ())
                self._take(name, outcome, twins)
                # Last, so that what the bar has counted is stored.
                bar.update(1 + len(twins))

    def _take(self, name: str, outcome: Outcome, twins: Sequence[tuple[str, int]]) -> None:
        """Stores what was found of an image for it and its copies, or notes that it failed."""
        if isinstance(outcome, AutodistillSegError):
            failed = (printable(one) for one in (name, *(twin for twin, _ in twins)))
            self._failures += [{"path": one, "reason": outcome.message} for one in failed]
            _log.warning("%s", outcome)
            _check_failures(self._failures, self._options, self._folder)
        elif isinstance(outcome, KnownImage):
            self._rows.take(outcome.sha256, ((name, outcome.mtime_ns), *twins))
            self._stored += 1 + len(twins)
        else:
            for row in (outcome, *(_copied(outcome, *twin) for twin in twins)):
                self._dropped.update(row.dropped)
                self._store.append(row, self._source.provenance)
                self._several += [row.image.path] if row.frames > 1 else []
                self._labeled += 1

    def finish(
        self, names: Iterable[str], root: Path | None, groups: Mapping[str, str], *, skipped: int = 0
    ) -> LabelSummary:
        """Writes `failures.jsonl` and `labels.json`; `names` are those of all images, and `skipped` how many of them
        were stored before and in no part."""
        write_failures(self._folder, self._failures, self._options.slice)
        write_account(self._folder, self._source, sorted(map(printable, names)), root, groups)
        return LabelSummary(
            self._labeled,
            self._stored + skipped,
            tuple(self._failures),
            dict(self._dropped),
            tuple(sorted(self._several)),
        )


class _Stored:
    """The rows that this base made before: the newest of each name, and of each content."""

    def __init__(self, store: LabelStore, provenance: Provenance) -> None:
        self._store, self._provenance = store, provenance
        self.keys: dict[str, Key] = {}
        self._contents: dict[str, Key] = {}
        self._shards: set[str] = set()
        self.read_new()

    def read_new(self) -> None:
        """Reads the shards that were written since the last time."""
        for key in self._store.rows(self._provenance.fingerprint, heal=True, known=self._shards):
            self.keys[key.path] = self._contents[key.sha256] = key

    def of_size(self, sizes: Iterable[int]) -> frozenset[str]:
        """The contents (SHA-256) with one of these sizes (bytes): a file of another size has none of them."""
        if not self._contents:
            return frozenset()
        wanted = set(sizes)
        return frozenset(content for content, key in self._contents.items() if key.file_bytes in wanted)

    def take(self, content: str, files: Iterable[tuple[str, int]]) -> None:
        """Stores the row of a content for each of `files` (name, mtime_ns) that does not have it yet."""
        key = self._contents[content]
        for name, mtime_ns in files:
            if name not in self.keys or self.keys[name].sha256 != content:
                made = replace(self._provenance, versions=self._store.versions(key))
                self._store.append(_copied(self._store.read(key), name, mtime_ns), made)


def _asked(
    source: BaseSource,
    items: Sequence[Item],
    known: frozenset[str],
    options: LabelingConfig,
    max_megapixels: float,
) -> Iterator[tuple[Item, Outcome]]:
    """Each item with its row, its error, or as a known image if its content (SHA-256) is in `known`."""
    done = 0
    for found in known_items_first(items, known, max_megapixels):
        done += 1
        yield found
    if not (rest := items[done:]):
        return
    if options.engine == "ray":
        yield from label_in_actors(source, rest, known, options, max_megapixels)
    elif options.workers or options.timeout_per_image:
        yield from label_in_workers(source, rest, known, options, max_megapixels)
    else:
        yield from label_in_threads(source, rest, known, options.batch_size, max_megapixels)


def _copied(row: StoredLabels, name: str, mtime_ns: int) -> StoredLabels:
    image = replace(row.image, id=image_id(name, row.image.sha256), path=name)
    return replace(row, image=image, mtime_ns=mtime_ns)


def _check_failures(failures: Sequence[Mapping[str, str]], options: LabelingConfig, folder: Path) -> None:
    most = options.max_failures
    if most is not None and len(failures) > most:
        write_failures(folder, failures, options.slice)
        raise BaseModelError(
            f"{len(failures)} images failed, more than --max-failures {most}; the last, {failures[-1]['path']}: "
            f"{failures[-1]['reason']}",
            f"What was labeled is kept in {folder}; continue with --resume.",
        )


def _is_stored(path: Path, key: Key | None) -> bool:
    """Whether the store's row was made from this file, judged by size and time without reading it."""
    if key is None:
        return False
    try:
        stat = path.stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (key.file_bytes, key.mtime_ns)
