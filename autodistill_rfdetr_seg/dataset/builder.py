"""Builds the dataset: label store → refine → split → COCO folders, all that can be redone without running the base.

The dataset is written to a temporary folder and renamed when it is complete. The same labels and options give the same
bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import coco
from ..core.config import MAX_MEGAPIXELS, DatasetConfig, RefineConfig, SplitConfig
from ..core.errors import DataError
from ..core.plain_text import short_list
from ..core.types import SPLITS, Classes, SegDataset
from ..labels.current_labels import CurrentLabels
from ..labels.label_account import LabelAccount, read_account
from ..labels.missing_images import MissingImages, find_missing_images, unresolved_failures, without_file
from ..labels.stored_labels import HUMAN, Key
from ..system.files import fingerprint, replacing_folder, restore_folder
from ..system.folders import flat_stems
from ..system.locks import locked
from ..system.machine import usable_cores
from ..system.task_processes import TaskProcesses
from .dataset_index import INDEX, EarlierPlaces, annotations_fingerprint, dataset_of, read_index, write_index
from .image_building import IMAGES_A_TASK, BuildRules, ImageTask, SplitTask, build_images
from .label_counts import LabelCounts
from .split_assignment import assign
from .split_groups import SplitGroups

_log = logging.getLogger(__name__)

# Increased when the same labels and options give another dataset than an earlier version did.
_RULES = 4
# A process takes about a second to start, as long as it works on so many images.
_IMAGES_A_PROCESS = 1500
# With more, they wait for the one process that writes the files.
_MOST_PROCESSES = 12


@dataclass(frozen=True)
class BuildOptions:
    """The options that determine a dataset, apart from the labels."""

    refine: RefineConfig = dataclasses.field(default_factory=RefineConfig)
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    dataset: DatasetConfig = dataclasses.field(default_factory=DatasetConfig)

    def as_json(self) -> dict[str, Any]:
        """The options as JSON-ready data."""
        # Not the number of processes: on another machine it is another, and the dataset is the same.
        dataset = self.dataset.model_dump(mode="json", exclude={"processes"})
        if dataset["split_json"] is None:
            # So that the datasets of earlier releases, which had no such option, still count.
            del dataset["split_json"]
        return {
            "refine": self.refine.model_dump(mode="json"),
            "split": self.split.model_dump(mode="json"),
            "dataset": dataset,
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

    def result(dataset: SegDataset, built: Collection[str], worked: bool) -> BuildResult:
        return BuildResult(dataset, worked, find_missing_images(labels, account, current, failures, images, built))

    # A file that was replaced by one that cannot be labeled: its row belongs to another picture.
    rows = current.without(failures)
    if not rows.keys:
        raise DataError(f"No image of {images} is labeled.", "labels/failures.jsonl has the reasons.")
    inputs = _inputs_fingerprint(account, rows.keys, options)
    had = read_index(folder) if (folder / INDEX).is_file() else None
    if had is not None and had["inputs"] == inputs:
        return result(dataset_of(folder, had), had["images"], worked=False)
    rows = _without_missing(rows, images)
    keys = rows.keys
    inputs = _inputs_fingerprint(account, keys, options)
    if had is not None and had["inputs"] == inputs:
        return result(dataset_of(folder, had), had["images"], worked=False)
    earlier = EarlierPlaces.of_index(had)
    del had  # the index of a million images takes more memory than everything else here
    rules = BuildRules(
        rows.base,
        rows.human,
        images,
        account.classes,
        options.refine,
        options.dataset.segmentation,
        max_megapixels,
        earlier=folder,
    )
    # They start while the splits are planned.
    with TaskProcesses(build_images, rules, _processes(options.dataset, len(keys))) as crew:
        groups = SplitGroups.from_labels(keys, account.groups, options.split)
        places = _places(keys, groups, options.split, earlier)
        head = {"inputs": inputs, "options": options.as_json(), "kept_together": groups.as_json(places)}
        del groups
        with replacing_folder(folder) as partial:
            written, file_names = _write(partial, rows, crew, account, options, places, earlier, progress)
            index = head | written
            write_index(partial, index, _index_entries(rows, places, file_names))
    dataset = SegDataset(folder, Classes(account.classes.names), index["counts"], index["fingerprint"])
    return result(dataset, keys, worked=True)


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


def _inputs_fingerprint(account: LabelAccount, keys: Mapping[str, Key], options: BuildOptions) -> str:
    # The name of a shard contains its checksum, so it changes with its content.
    rows = sorted((key.image_id, key.shard, key.row) for key in keys.values())
    return fingerprint(_RULES, rows, account.classes.ontology, options.as_json())


def _places(
    keys: Mapping[str, Key], groups: SplitGroups, split: SplitConfig, earlier_places: EarlierPlaces
) -> dict[str, str]:
    """The split of each image by path: a group goes to one split, and an image that had a split keeps it."""
    fractions = {name: getattr(split, name) for name in SPLITS}
    earlier = earlier_places.splits(split)
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
    crew: TaskProcesses,
    account: LabelAccount,
    options: BuildOptions,
    places: Mapping[str, str],
    earlier: EarlierPlaces,
    progress: bool,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Writes the splits; the entries of the index but for its images, and the file name of each path."""
    from tqdm import tqdm

    stems = flat_stems({path: key.image_id for path, key in rows.keys.items()})
    paths = {split: sorted(path for path, place in places.items() if place == split) for split in SPLITS}
    totals = LabelCounts(account.classes)
    file_names: dict[str, str] = {}
    counts: dict[str, Mapping[str, int]] = {}
    bar = tqdm(total=len(rows.keys), desc="Building", unit="image", disable=not progress)

    def tasks() -> Iterator[SplitTask]:
        for split, of_split in paths.items():
            for at in range(0, len(of_split), IMAGES_A_TASK):
                images = [
                    ImageTask(path, key, stems[path], path in rows.by_people, earlier.places.get(key.sha256))
                    for path in of_split[at : at + IMAGES_A_TASK]
                    for key in [rows.keys[path]]
                ]
                yield SplitTask(split, partial / split, images)

    def entries(split: str) -> Iterator[coco.EncodedImage]:
        for at in range(0, len(paths[split]), IMAGES_A_TASK):
            built = next(answers)
            totals.update(built.counts)
            for path, image in zip(paths[split][at:], built.encoded, strict=False):
                file_names[path] = image.file_name
                bar.update()
                yield image

    for split in SPLITS:
        if paths[split]:
            (partial / split).mkdir()
    answers = crew.run(tasks())
    with bar, contextlib.closing(answers):
        for split in SPLITS:
            if paths[split]:
                path = partial / split / coco.ANNOTATIONS
                counts[split] = coco.write_encoded(path, entries(split), account.classes, _info(account, options))
                if options.dataset.split_json is not None:
                    coco.write_parts(path, options.dataset.split_json)
    written = {
        "fingerprint": annotations_fingerprint(partial),
        "classes": list(account.classes.names),
        "counts": counts,
        **totals.as_json(),
    }
    return written, file_names


def _processes(config: DatasetConfig, images: int) -> int:
    """How many processes build a dataset: as many as asked for, or as pay for the second that each takes to start."""
    if config.processes is not None:
        return config.processes
    return max(1, min(usable_cores(), _MOST_PROCESSES, images // _IMAGES_A_PROCESS))


def _index_entries(
    rows: CurrentLabels, places: Mapping[str, str], file_names: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """The entries of `images` in the index, by path."""
    for path in sorted(file_names):
        key = rows.keys[path]
        entry = {"split": places[path], "file_name": file_names[path], "sha256": key.sha256, "id": key.image_id}
        yield path, {**entry, "source": HUMAN} if path in rows.by_people else entry


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
