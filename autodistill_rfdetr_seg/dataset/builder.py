"""Builds the dataset: label store → refine → split → COCO folders, all that can be redone without running the base.

The dataset is written to a temporary folder and renamed when it is complete. The same labels and options give the same
bytes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import coco
from ..core.config import MAX_MEGAPIXELS, DatasetConfig, RefineConfig, SplitConfig
from ..core.errors import DataError
from ..core.plain_text import short_list
from ..core.types import SPLITS, Classes, ImageLabels, SegDataset
from ..images.image_opening import open_image
from ..images.rgb_image import write_png
from ..labels.current_labels import CurrentLabels
from ..labels.label_account import LabelAccount, read_account
from ..labels.missing_images import MissingImages, find_missing_images, unresolved_failures, without_file
from ..labels.stored_labels import HUMAN, Key, StoredLabels
from ..system.file_hash import file_sha256
from ..system.files import fingerprint, link, link_or_copy, read_json, replacing_folder, restore_folder, write_json
from ..system.folders import flat_stems
from ..system.locks import locked
from .dataset_index import INDEX, annotations_fingerprint, read_dataset, read_index, split_of_content
from .refine import refine
from .split_assignment import assign
from .split_groups import SplitGroups

_log = logging.getLogger(__name__)

# Increased when the same labels and options give another dataset than an earlier version did.
_RULES = 4


@dataclass(frozen=True)
class BuildOptions:
    """The options that determine a dataset, apart from the labels."""

    refine: RefineConfig = dataclasses.field(default_factory=RefineConfig)
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    dataset: DatasetConfig = dataclasses.field(default_factory=DatasetConfig)

    def as_json(self) -> dict[str, Any]:
        """The options as JSON-ready data."""
        return {
            "refine": self.refine.model_dump(mode="json"),
            "split": self.split.model_dump(mode="json"),
            "dataset": self.dataset.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class BuildResult:
    """A built dataset; `worked` is False if it existed already. `missing` are the requested images it does not have."""

    dataset: SegDataset
    worked: bool
    missing: MissingImages


def build(
    labels: Path,
    images: Path,
    folder: Path,
    options: BuildOptions,
    *,
    human: Path | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    progress: bool = True,
) -> BuildResult:
    """Builds the dataset in `folder` from the label store `labels` and the user's `images`.

    An image whose content a person has corrected (a row in the store `human`) is taken as they left it: no rule
    applies. Corrections that match no image are logged. Images that are missing since they were labeled are left out
    and logged; the result lists everything that is missing. `max_megapixels` (millions) limits the images that are
    opened to be written as PNG.

    Returns:
        The dataset; it is not built again if it already exists, from the same labels and options.

    Raises:
        DataError: no finished labels; a split would be empty; an image has changed since it was labeled, or all of
            them are missing; another process builds here.
        UnknownNameError: a threshold names an unknown class.
    """
    with locked(folder.parent):
        restore_folder(folder)
        return _build(labels, images, folder, options, human, max_megapixels, progress)


def _build(
    labels: Path,
    images: Path,
    folder: Path,
    options: BuildOptions,
    human: Path | None,
    max_megapixels: float,
    progress: bool,
) -> BuildResult:
    account = read_account(labels)
    current = CurrentLabels.from_stores(labels, human or labels.parent / "human", account, images)
    current.warn_of_unused_work()
    failures = unresolved_failures(labels, account, current, images)

    def result(dataset: SegDataset, worked: bool) -> BuildResult:
        built = read_index(folder)["images"]
        missing = find_missing_images(labels, account, current, failures, images, built)
        return BuildResult(dataset, worked, missing)

    # A file that was replaced by one that cannot be labeled: its row belongs to another picture.
    rows = current.without(failures)
    if not rows.keys:
        raise DataError(f"No image of {images} is labeled.", "labels/failures.jsonl has the reasons.")
    inputs = _inputs_fingerprint(account, rows.keys, options)
    built = read_dataset(folder) if (folder / INDEX).is_file() else None
    had = None if built is None else read_json(folder / INDEX)["inputs"]
    if built is not None and had == inputs:
        return result(built, worked=False)
    rows = _without_missing(rows, images)
    keys = rows.keys
    inputs = _inputs_fingerprint(account, keys, options)
    if built is not None and had == inputs:
        return result(built, worked=False)
    groups = SplitGroups.from_labels(keys, account.groups, options.split)
    places = _places(keys, groups, options.split, folder)
    file_names = flat_stems({path: key.image_id for path, key in keys.items()})
    with replacing_folder(folder) as partial:
        earlier = _files_of(folder)
        index = _write(partial, rows, images, account, options, places, file_names, earlier, max_megapixels, progress)
        index = {"inputs": inputs, "options": options.as_json(), "kept_together": groups.as_json(places), **index}
        write_json(partial / INDEX, index)
    return result(read_dataset(folder), worked=True)


def _without_missing(rows: CurrentLabels, images: Path) -> CurrentLabels:
    """The rows of the images that still exist; raises DataError if none does."""
    missing = without_file(rows.keys, images)
    if not missing:
        return rows
    if len(missing) == len(rows.keys):
        raise DataError(
            f"All {len(missing)} labeled images are missing from {images}.",
            "Restore the folder, or label the images where they are now.",
        )
    some = short_list(missing, 10)
    _log.warning("%d of %d labeled images are missing and left out: %s", len(missing), len(rows.keys), some)
    return rows.without(missing)


def _files_of(folder: Path) -> dict[str, Path]:
    """SHA-256 of each original image → its file in the existing dataset in `folder`; empty if there is none."""
    entries = read_json(folder / INDEX)["images"].values() if (folder / INDEX).is_file() else ()
    places = ((entry["sha256"], folder / entry["split"] / entry["file_name"]) for entry in entries)
    return {sha256: path for sha256, path in places if path.is_file()}


def _inputs_fingerprint(account: LabelAccount, keys: Mapping[str, Key], options: BuildOptions) -> str:
    # The name of a shard contains its checksum, so it changes with its content.
    rows = sorted((key.image_id, key.shard, key.row) for key in keys.values())
    return fingerprint(_RULES, rows, account.classes.ontology, options.as_json())


def _places(keys: Mapping[str, Key], groups: SplitGroups, split: SplitConfig, folder: Path) -> dict[str, str]:
    """The split of each image by path: a group goes to one split, and an image that had a split keeps it."""
    fractions = {name: getattr(split, name) for name in SPLITS}
    earlier: dict[str, str] = {}
    if (folder / INDEX).is_file() and read_json(folder / INDEX)["options"]["split"] == split.model_dump(mode="json"):
        earlier = split_of_content(folder)
    members: dict[str, list[str]] = defaultdict(list)
    for path in sorted(keys):
        members[groups.group_of[path]].append(keys[path].sha256)
    # Groups are assigned by content, so that the name of a file does not matter.
    named = {group: min(contents) for group, contents in members.items()}
    sizes = {named[group]: len(contents) for group, contents in members.items()}
    # Groups change as images are added: new images go where most of their group is.
    previous = {
        named[group]: splits.most_common(1)[0][0]
        for group, contents in members.items()
        if (splits := Counter(earlier[content] for content in contents if content in earlier))
    }
    split_of = assign(sizes, fractions, split.seed, previous)
    places = {path: earlier.get(key.sha256, split_of[named[groups.group_of[path]]]) for path, key in keys.items()}
    used = Counter(places.values())
    empty = [name for name in SPLITS if fractions[name] > 0 and not used[name]]
    if empty:
        raise DataError(
            f"The split {empty[0]!r} would be empty: there are only {len(members)} different labeled images or groups.",
            f"Label more images, or set the fraction of {empty[0]!r} to 0 (--split 0.8,0.2,0).",
        )
    return places


def _write(
    partial: Path,
    rows: CurrentLabels,
    images: Path,
    account: LabelAccount,
    options: BuildOptions,
    places: Mapping[str, str],
    stems: Mapping[str, str],
    earlier: Mapping[str, Path],
    max_megapixels: float,
    progress: bool,
) -> dict[str, Any]:
    from tqdm import tqdm

    tally = _Tally(account.classes)
    index: dict[str, dict[str, str]] = {}
    counts: dict[str, Mapping[str, int]] = {}
    bar = tqdm(total=len(rows.keys), desc="Building", unit="image", disable=not progress)

    def entries(split: str) -> Iterator[tuple[str, ImageLabels]]:
        for path in sorted(path for path, place in places.items() if place == split):
            row = rows.read(path)
            name = _place_image(images / path, row, partial / split, stems[path], earlier, max_megapixels)
            labels = row.with_classes(account.classes)
            if path not in rows.by_people:
                labels = refine(labels, options.refine, account.classes)
            tally.add(labels, row, split)
            index[path] = {"split": split, "file_name": name, "sha256": row.image.sha256, "id": row.image.id}
            if path in rows.by_people:
                index[path]["source"] = HUMAN
            bar.update()
            yield name, labels

    with bar:
        for split in SPLITS:
            if any(place == split for place in places.values()):
                (partial / split).mkdir()
                info = _info(account, options)
                path = partial / split / coco.ANNOTATIONS
                counts[split] = coco.write(path, entries(split), account.classes, info, options.dataset.segmentation)
    return {
        "fingerprint": annotations_fingerprint(partial),
        "classes": list(account.classes.names),
        "counts": counts,
        **tally.as_json(),
        "images": {path: index[path] for path in sorted(index)},
    }


def _info(account: LabelAccount, options: BuildOptions) -> dict[str, Any]:
    """Provenance for `info` in the COCO file; no time, so that the same input gives the same bytes."""
    return {
        "description": "Labeled by a model with autodistill-rfdetr-seg; not checked by a person.",
        "version": "1.0",
        "base": account.base,
        "base_args": dict(account.args),
        "ontology": account.classes.ontology,
        "versions": dict(account.versions),
        "options": options.as_json(),
    }


def _place_image(
    source: Path, row: StoredLabels, folder: Path, stem: str, earlier: Mapping[str, Path], max_megapixels: float
) -> str:
    """Links the user's file into the dataset, or writes a PNG if other readers would see other pixels than we did.

    A file that cannot be linked (another file system) is linked from the previous dataset (`earlier`), so that it is
    copied only once. Returns the name in `folder`.
    """
    stat = _stat(source)
    unchanged = stat is not None and (stat.st_size, stat.st_mtime_ns) == (row.file_bytes, row.mtime_ns)
    if not unchanged and (stat is None or file_sha256(source) != row.image.sha256):
        raise DataError(
            f"The image {source} {'is missing' if stat is None else 'has changed'} since it was labeled.",
            "Run `label --resume` to update the labels.",
        )
    if row.link_suffix is not None:
        name = stem + row.link_suffix
        if not link(source, folder / name):
            copied = earlier.get(row.image.sha256)
            # The content is compared: someone may have edited the copy in the dataset.
            if copied is None or file_sha256(copied) != row.image.sha256 or not link(copied, folder / name):
                link_or_copy(source, folder / name)
    else:
        name = f"{stem}.png"
        write_png(folder / name, open_image(source, max_megapixels=max_megapixels).pixels)
    return name


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:
        return None


class _Tally:
    """Counts labels kept and rejected, for the summary and the report."""

    def __init__(self, classes: Classes) -> None:
        self._names = classes.names
        self._kept: Counter[int] = Counter()
        self._rejected: Counter[str] = Counter()
        self._by_class: dict[int, Counter[str]] = defaultdict(Counter)
        self._in_split: dict[str, set[int]] = {}

    def add(self, labels: ImageLabels, row: StoredLabels, split: str) -> None:
        self._in_split.setdefault(split, set()).update(instance.class_index for instance in labels.instances)
        self._kept.update(instance.class_index for instance in labels.instances)
        self._rejected.update(rejected.reason for rejected in labels.rejected)
        self._rejected.update(row.dropped)
        for rejected in labels.rejected:
            self._by_class[rejected.instance.class_index][rejected.reason] += 1

    def as_json(self) -> dict[str, Any]:
        return {
            "kept": sum(self._kept.values()),
            "rejected": dict(sorted(self._rejected.items())),
            "too_rare": {
                name: lacking
                for index, name in enumerate(self._names)
                if (lacking := [split for split, seen in self._in_split.items() if index not in seen])
            },
            "per_class": {
                name: {"kept": self._kept[index], "rejected": dict(sorted(self._by_class[index].items()))}
                for index, name in enumerate(self._names)
            },
        }
