"""What a build does for each image by itself: its row is read and refined, its file linked, its labels encoded.

Nothing here depends on another image, so that several processes may work on one dataset; `builder` writes the files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import coco
from ..core.config import RefineConfig
from ..core.errors import DataError
from ..core.types import Classes
from ..images.image_opening import open_image
from ..images.rgb_image import write_png
from ..labels.current_labels import read_current
from ..labels.label_store import LabelStore
from ..labels.stored_labels import Key, StoredLabels
from ..system.file_hash import file_sha256
from ..system.files import link, link_or_copy
from .label_counts import LabelCounts
from .refine import refine

# Images that a process works on at a time: a few shards of the store, about a quarter of a second.
IMAGES_A_TASK = 256


@dataclass(frozen=True)
class BuildRules:
    """What is the same for all images of a build: where rows and images are, the rules, and how masks are written.

    `earlier` is the folder of the dataset that is replaced.
    """

    base: LabelStore
    human: LabelStore
    images: Path
    classes: Classes
    refine: RefineConfig
    segmentation: coco.Segmentation
    max_megapixels: float
    earlier: Path


@dataclass(frozen=True, slots=True)
class ImageTask:
    """An image to build: its path, its row, its name in the dataset without a suffix, and the split and the name of its
    file in the dataset that is replaced, if it was there."""

    path: str
    key: Key
    stem: str
    by_person: bool
    earlier: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class SplitTask:
    """Some images of one split, and the folder that they go to."""

    split: str
    folder: Path
    images: Sequence[ImageTask]


@dataclass(frozen=True, slots=True)
class BuiltImages:
    """The text of the images of a task for the COCO file, in their order, and the counts of their labels."""

    encoded: Sequence[coco.EncodedImage]
    counts: LabelCounts


def build_images(rules: BuildRules, task: SplitTask) -> BuiltImages:
    """Links or writes the images of a task, refines their labels and encodes them.

    Raises:
        DataError: an image is missing, or has changed since it was labeled; a label cannot be written.
        UnknownNameError: a threshold names an unknown class.
    """
    counts = LabelCounts(rules.classes)
    encoded = []
    for image in task.images:
        row = read_current(rules.base, rules.human, image.path, image.key, by_person=image.by_person)
        name = _place_image(rules, image, row, task.folder)
        labels = row.with_classes(rules.classes)
        if not image.by_person:
            labels = refine(labels, rules.refine, rules.classes)
        counts.add(labels, row, task.split)
        file = task.folder / coco.ANNOTATIONS
        encoded.append(coco.encode_image(file, name, labels, rules.classes, rules.segmentation))
    return BuiltImages(encoded, counts)


def _place_image(rules: BuildRules, image: ImageTask, row: StoredLabels, folder: Path) -> str:
    """Links the user's file into the dataset, or writes a PNG if other readers would see other pixels than we did.

    A file that cannot be linked (another file system) is linked from the previous dataset, so that it is copied only
    once. Returns the name in `folder`.
    """
    source = rules.images / image.path
    stat = _stat(source)
    unchanged = stat is not None and (stat.st_size, stat.st_mtime_ns) == (row.file_bytes, row.mtime_ns)
    if not unchanged and (stat is None or file_sha256(source) != row.image.sha256):
        raise DataError(
            f"The image {source} {'is missing' if stat is None else 'has changed'} since it was labeled.",
            "Run `label --resume` to update the labels.",
        )
    if row.link_suffix is not None:
        name = image.stem + row.link_suffix
        if not link(source, folder / name) and not _link_earlier(rules, image, row, folder / name):
            link_or_copy(source, folder / name)
    else:
        name = f"{image.stem}.png"
        write_png(folder / name, open_image(source, max_megapixels=rules.max_megapixels).pixels)
    return name


def _link_earlier(rules: BuildRules, image: ImageTask, row: StoredLabels, target: Path) -> bool:
    """Links the copy in the previous dataset, if its content is the image's: someone may have edited it."""
    if image.earlier is None:
        return False
    file = rules.earlier.joinpath(*image.earlier)
    return file.is_file() and file_sha256(file) == row.image.sha256 and link(file, target)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
