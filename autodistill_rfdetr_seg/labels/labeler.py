"""Images → base → store. Resumable; an unreadable image stops nothing else; memory does not grow with the folder."""

from __future__ import annotations

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

    def __add__(self, other: LabelSummary) -> LabelSummary:
        """What both labelings did."""
        return LabelSummary(
            self.labeled + other.labeled,
            self.stored + other.stored,
            (*self.failures, *other.failures),
            dict(Counter(self.dropped) + Counter(other.dropped)),
            tuple(sorted((*self.several, *other.several))),
        )

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
    names: Sequence[str] | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> LabelSummary:
    """Labels those of `images` (path, name relative to their folder) that the store in `folder` does not have.

    Writes `labels.json` (classes, base, the names of all images) and `failures.jsonl` next to the shards at its end;
    the latter also if `max_failures` stops it. An image that cannot be read, or that the base fails on, is a failure
    with a reason; the others are labeled.
    A content is labeled once, also if its file is renamed or copied. `labels.json` also has `root`, the folder that
    names are relative to, and `groups` (name → group) of images that belong in the same split. `names` are those of all
    images, where `images` are only a part of them.

    Raises:
        DataError: another process writes to the store, or more than `max_failures` images failed.
        AutodistillSegError: the base cannot be built.
    """
    from tqdm import tqdm

    options = options or LabelingConfig()
    mine = items_of_slice(images, options.slice, max_megapixels, progress)
    with locked(folder, options.slice):
        store = LabelStore(folder)
        rows = _Stored(store, source.provenance)
        todo = [(path, name) for path, name in mine if not _is_stored(path, rows.keys.get(name))]
        source = source if source.items else source.with_items(images)
        # A base that knows images by name may answer differently for a copy, which has another name.
        firsts, copies = (
            (todo, {}) if source.by_image else without_copies(todo, max_megapixels=max_megapixels, progress=progress)
        )
        failures: list[Mapping[str, str]] = []
        dropped: Counter[str] = Counter()
        several: list[str] = []
        labeled = 0
        stored = len(mine) - len(todo)
        bar = tqdm(total=len(todo), desc="Labeling", unit="image", disable=not (progress and todo))
        with bar, store:
            known = (
                frozenset()
                if source.by_image
                else rows.of_size(size_and_mtime(path, max_megapixels)[0] for path, _ in firsts)
            )
            for (_, name), outcome in _asked(source, firsts, known, options, max_megapixels):
                twins = copies.get(name, ())
                if isinstance(outcome, AutodistillSegError):
                    failed = (printable(one) for one in (name, *(twin for twin, _ in twins)))
                    failures += [{"path": one, "reason": outcome.message} for one in failed]
                    _log.warning("%s", outcome)
                    _check_failures(failures, options, folder)
                elif isinstance(outcome, KnownImage):
                    rows.take(outcome.sha256, ((name, outcome.mtime_ns), *twins))
                    stored += 1 + len(twins)
                else:
                    for row in (outcome, *(_copied(outcome, *twin) for twin in twins)):
                        dropped.update(row.dropped)
                        store.append(row, source.provenance)
                        several += [row.image.path] if row.frames > 1 else []
                        labeled += 1
                # Last, so that what the bar has counted is stored.
                bar.update(1 + len(twins))
        write_failures(folder, failures, options.slice)
        every = [name for _, name in images] if names is None else names
        write_account(folder, source, sorted(map(printable, every)), root, groups or {})
    return LabelSummary(labeled, stored, tuple(failures), dict(dropped), tuple(sorted(several)))


class _Stored:
    """The rows that this base made before: the newest of each name, and of each content."""

    def __init__(self, store: LabelStore, provenance: Provenance) -> None:
        self._store, self._provenance = store, provenance
        self.keys: dict[str, Key] = {}
        self._contents: dict[str, Key] = {}
        for key in store.rows(provenance.fingerprint, heal=True):
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
