"""Imports corrections: an edited COCO file replaces the labels of the base, now and in every later `label`.

An image counts as corrected if its annotations differ from the run's dataset. From then on `label`, `build` and
`--overwrite` use the corrected labels. Labels in it that the person did not change keep the base as their source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import coco
from ..core import masks
from ..core.errors import DataError
from ..core.name_keys import class_key
from ..core.types import SPLITS, Classes, GroundTruth, Instance, TruthImage
from ..dataset.dataset_index import read_index
from ..dataset.refine_rules.mask_cleaning import clean_masks
from ..labels.current_labels import CurrentLabels
from ..labels.label_account import read_account
from ..labels.label_store import LabelStore
from ..labels.stored_labels import HUMAN, Key, Provenance, StoredLabels
from ..readers import AnnotatedSource, read_source
from ..system.config_files import read_run_config, run_megapixels
from ..system.run_folder import RunFolder
from .match_images import UnmatchedImage, match_run_images, original_names

# Rounding coordinates leaves at least this IoU; a mask below it was changed by a person.
_ROUNDED_IOU = 0.98


@dataclass(frozen=True)
class ImportSummary:
    """What an import did.

    `imported` counts the images that now have corrected labels, `unchanged` those equal to the run. `unmatched` are
    the images of the file that match no image of the run; `renamed` maps the file names that differ from the run's to
    the paths in the run.
    """

    imported: int
    unchanged: int
    unmatched: tuple[UnmatchedImage, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The file names in `unmatched`."""
        return tuple(one.name for one in self.unmatched)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data, `unknown` included; `unmatched` is called `unplaced` there."""
        data = asdict(self)
        return {**data, "unplaced": data.pop("unmatched"), "unknown": list(self.unknown)}


def import_labels(run: RunFolder, source: Path, *, everything: bool = False) -> ImportSummary:
    """Imports the images that a person has changed, from a COCO or YOLO-seg dataset in any layout.

    An image is matched by its content if the image file is next to the JSON, else by its name in the dataset or in the
    user's folder, else by the name it had before Roboflow, Label Studio or another tool changed it: see
    `match_run_images`. A mask counts as changed if a pixel differs; a polygon, if the difference is more than rounding.
    With `everything`, unchanged images count as checked by a person too, and every mask is imported as it is in the
    file. All checks are done before anything is stored.

    Raises:
        MissingInputError, DataError: the file does not exist or is invalid, it has a class that the run does not have,
            the size of an image differs from the run, or no image matches one of the run.
    """
    account = read_account(run.labels)
    annotated = read_source(source, images="ignored", max_megapixels=run_megapixels(run))
    coco.refuse_errors(annotated.problems)
    coco.log_warnings(annotated.problems)
    rows, keys = _rows(run)
    found = match_source(run, annotated)
    matched, unmatched, renamed = found.matched, found.unmatched, found.renamed
    if not matched:
        raise _nothing_matched(source, run, unmatched)
    changed, unchanged = _changed(run, rows, keys, matched, account.classes, everything)
    with LabelStore(run.human) as store:
        for row in changed:
            store.append(row, Provenance(HUMAN, {}, account.classes.names))
    return ImportSummary(len(changed), unchanged, unmatched, renamed)


@dataclass(frozen=True)
class SourceMatches:
    """The images of an annotated source in the run's classes, each with its path in the run; and what was not found."""

    matched: tuple[tuple[TruthImage, str], ...]
    unmatched: tuple[UnmatchedImage, ...]
    renamed: Mapping[str, str]


def match_source(run: RunFolder, annotated: AnnotatedSource) -> SourceMatches:
    """Matches the images of an annotated source to those of the run: see `match_run_images`.

    Raises:
        DataError: the source has a class that the run does not have.
    """
    rows, keys = _rows(run)
    classes, max_megapixels = read_account(run.labels).classes, run_megapixels(run)
    matched: list[tuple[TruthImage, str]] = []
    unmatched: list[UnmatchedImage] = []
    renamed: dict[str, str] = {}
    for split, truth in annotated.splits.items():
        originals = original_names(annotated.files[split]) if annotated.format == "coco" else {}
        images = _with_run_classes(truth, classes).images
        matches = match_run_images(images, originals, run.dataset, keys, rows.keys, max_megapixels)
        matched += [(image, matches.paths[image.image_id]) for image in images if image.image_id in matches.paths]
        unmatched += matches.unmatched
        renamed |= matches.renamed
    return SourceMatches(tuple(matched), tuple(unmatched), renamed)


def _rows(run: RunFolder) -> tuple[CurrentLabels, Mapping[str, Key]]:
    """The rows of the run's images, and all that `label` ever wrote: what it left out may be part of the next one."""
    account = read_account(run.labels)
    rows = CurrentLabels.from_stores(run.labels, run.human, account, account.root or Path(read_run_config(run).images))
    return rows, {**rows.base.keys(account.fingerprint), **rows.keys}


def _changed(
    run: RunFolder,
    rows: CurrentLabels,
    keys: Mapping[str, Key],
    matched: Sequence[tuple[TruthImage, str]],
    classes: Classes,
    everything: bool,
) -> tuple[list[StoredLabels], int]:
    """The new rows of the images that a person has changed, and the number of unchanged images."""
    index: Mapping[str, Any] = read_index(run.dataset)["images"] if run.dataset.is_dir() else {}
    built = {split: _by_file_name(run.dataset / split) for split in SPLITS}
    changed: list[StoredLabels] = []
    unchanged = 0
    for image, path in matched:
        entry = index.get(path)
        current = () if entry is None else built[entry["split"]].get(entry["file_name"], ())
        stored = rows.read(path) if path in rows.keys else rows.base.read(keys[path])
        _check_size(stored, image)
        instances, same = _corrected(image, current, exact=everything)
        if same and not everything:
            unchanged += 1
        else:
            changed.append(replace(stored, instances=instances, dropped={}, names=classes.names))
    return changed, unchanged


def _nothing_matched(source: Path, run: RunFolder, unmatched: Sequence[UnmatchedImage]) -> DataError:
    if not unmatched:
        return DataError(f"{source} lists no image.", "Import annotations of images of this run.")
    first = unmatched[0]
    message = f"No image of {source} matches an image of the run {run.root}. The first, {first.name}: {first.reason}."
    return DataError(message, first.hint)


def _with_run_classes(truth: GroundTruth, classes: Classes) -> GroundTruth:
    known = {class_key(name) for name in classes.names}
    used = {truth.classes.names[i.class_index] for image in truth.images for i in image.instances}
    unknown = sorted(name for name in used if class_key(name) not in known)
    if unknown:
        raise DataError(
            f"The file has the class {unknown[0]!r}, but the run does not ({', '.join(classes.names)}).",
            "Label with an ontology that has this class first: an import never drops a person's labels.",
        )
    return coco.align(truth, classes)


def _by_file_name(folder: Path) -> Mapping[str, tuple[Instance, ...]]:
    """The current labels of each image of a split, by file name."""
    if not folder.is_dir():
        return {}
    rows = coco.read_rows(folder)
    return {
        image.image_id: tuple(
            coco.label_of(one, row) for one, row in zip(image.instances, rows[image.image_id], strict=True)
        )
        for image in coco.read(folder).images
    }


def _check_size(stored: StoredLabels, image: TruthImage) -> None:
    if (image.height, image.width) != (stored.image.height, stored.image.width):
        raise DataError(
            f"{image.image_id} is {image.width}x{image.height} in the file and {stored.image.width}x"
            f"{stored.image.height} in the run.",
            "Annotate the images of the dataset without resizing or rotating them. Nothing was imported.",
        )


def _corrected(image: TruthImage, current: Sequence[Instance], *, exact: bool) -> tuple[tuple[Instance, ...], bool]:
    """The labels of the image after the correction, and whether they all equal the `current` ones of the dataset.

    A label that was not changed is the one of the dataset, with its mask, scores and source. Each of those is matched
    at most once.
    """
    rounded = not exact and any(one.polygons for one in image.instances)
    # A polygon has no holes, so an editor shows a mask with holes without them: both forms are candidates.
    candidates = [*current, *(clean_masks(current, 0, np.inf)[0] if rounded else ())]
    iou = masks.iou_matrix([one.rle for one in image.instances], [one.rle for one in candidates])
    pairs = sorted((-float(iou[i, j]), int(i), int(j)) for i, j in np.argwhere(iou >= _ROUNDED_IOU))
    matched: dict[int, int] = {}
    for _, i, j in pairs:
        one, candidate = image.instances[i], candidates[j]
        if i in matched or j % len(current) in matched.values() or one.class_index != candidate.class_index:
            continue
        same = iou[i, j] == 1 and j < len(current)
        if same or (rounded and one.polygons and masks.differ_in_outline_alone(candidate.rle, one.rle)):
            matched[i] = j % len(current)
    instances = tuple(
        current[matched[i]] if i in matched else Instance(one.class_index, one.rle, 1.0, source=HUMAN)
        for i, one in enumerate(image.instances)
    )
    return instances, len(matched) == len(current) == len(instances)
