"""A person's work into a run: an edited COCO file back in, so that it wins over any later label of the base.

An image whose annotations differ from the run's dataset has been worked on by a person; from then on it is taken as
they left it, in `label`, `build` and `--overwrite` alike. What they did not touch in it stays marked as the base's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import coco, masks
from .dataset import read_index
from .errors import DataError
from .images import file_sha256
from .labeling import read_account
from .records import Classes, GroundTruth, Instance, TruthImage
from .stages import RunFolder
from .store import HUMAN, Key, LabelStore, Provenance, StoredLabels

# Editors round coordinates: a mask this alike is the one they were given.
_SAME_IOU = 0.98


@dataclass(frozen=True)
class ImportSummary:
    """Images taken as a person's, images that are as the run had them, and file names that are none of the run's."""

    imported: int
    unchanged: int
    unknown: tuple[str, ...]


def import_labels(run: RunFolder, source: Path, *, everything: bool = False) -> ImportSummary:
    """Imports the images of a COCO file (or the folder that holds it) that a person has changed.

    An image is found by its content where the file lies beside the JSON, else by its name in the dataset or in the
    user's folder. With `everything` unchanged images count as checked by a person too.

    Raises:
        MissingInputError, DataError: there is no such file, it is wrong, it has a class that the run has not, or no
            image of it is one of the run's.
    """
    account = read_account(run.labels)
    truth = _with_our_classes(coco.read(source), account.classes)
    base = LabelStore(run.labels)
    keys = base.keys(account.fingerprint)
    find = _Finder(run, keys)
    now = {split: _by_file_name(run.dataset / split) for split in ("train", "valid", "test")}
    provenance = Provenance(HUMAN, {}, account.classes.names)
    imported = unchanged = 0
    unknown = []
    with LabelStore(run.human) as store:
        for image in truth.images:
            path = find(image)
            if path is None:
                unknown.append(image.image_id)
                continue
            place = find.index.get(path)
            had = () if place is None else now[place["split"]].get(place["file_name"], ())
            row = _row(base.read(keys[path]), image, had, account.classes)
            if not everything and len(had) == len(row.instances) and all(i.source != HUMAN for i in row.instances):
                unchanged += 1
                continue
            store.append(row, provenance)
            imported += 1
    if not imported and not unchanged:
        raise DataError(
            f"No image of {source} is one of the run {run.root}.", "Import what was exported from this run."
        )
    return ImportSummary(imported, unchanged, tuple(unknown))


def _with_our_classes(truth: GroundTruth, classes: Classes) -> GroundTruth:
    known = {name.strip().casefold() for name in classes.names}
    used = {truth.classes.names[i.class_index] for image in truth.images for i in image.instances}
    strange = sorted(name for name in used if name.strip().casefold() not in known)
    if strange:
        raise DataError(
            f"The file has the class {strange[0]!r}, which the run has not ({', '.join(classes.names)}).",
            "Label with an ontology that names it first: a person's work is never dropped silently.",
        )
    return coco.align(truth, classes)


def _by_file_name(folder: Path) -> Mapping[str, tuple[Instance, ...]]:
    """What the dataset holds now of each image of a split, by file name."""
    if not folder.is_dir():
        return {}
    return {
        image.image_id: tuple(Instance(i.class_index, i.rle, 1.0) for i in image.instances)
        for image in coco.read(folder).images
    }


def _row(stored: StoredLabels, image: TruthImage, had: tuple[Instance, ...], classes: Classes) -> StoredLabels:
    if (image.height, image.width) != (stored.image.height, stored.image.width):
        raise DataError(
            f"{image.image_id} is {image.width}x{image.height} in the file and {stored.image.width}x"
            f"{stored.image.height} in the run.",
            "Annotate the dataset's images as they are.",
        )
    scores = {i.rle: i.score for i in stored.instances}
    instances = []
    for one in image.instances:
        same = _same(one.class_index, one.rle, had)
        source, rle = (HUMAN, one.rle) if same is None else ("base", same.rle)
        instances.append(Instance(one.class_index, rle, scores.get(rle, 1.0), source=source))
    return replace(stored, instances=tuple(instances), dropped={}, names=classes.names)


def _same(class_index: int, rle: Any, had: tuple[Instance, ...]) -> Instance | None:
    """The instance of the dataset that this one is, untouched."""
    rivals = [i for i in had if i.class_index == class_index]
    overlap = masks.iou_matrix([rle], [i.rle for i in rivals])
    best = int(overlap[0].argmax()) if rivals else 0
    return rivals[best] if rivals and overlap[0, best] >= _SAME_IOU else None


class _Finder:
    """Which image of the run an image of a COCO file is."""

    def __init__(self, run: RunFolder, keys: Mapping[str, Key]) -> None:
        self.index: Mapping[str, Any] = read_index(run.dataset)["images"] if run.dataset.is_dir() else {}
        self._paths = set(keys)
        self._by_content = {key.sha256: path for path, key in sorted(keys.items())}
        self._by_name = {entry["file_name"]: path for path, entry in self.index.items()}

    def __call__(self, image: TruthImage) -> str | None:
        name = self._by_name.get(Path(image.image_id).name) or self._by_name.get(image.image_id)
        if name in self._paths:
            return name
        if image.path.is_file() and (path := self._by_content.get(file_sha256(image.path))):
            return path
        return image.image_id if image.image_id in self._paths else None
