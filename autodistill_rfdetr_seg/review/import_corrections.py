"""A person's work into a run: an edited COCO file back in, so that it wins over any later label of the base.

An image whose annotations differ from the run's dataset has been worked on by a person; from then on it is taken as
they left it, in `label`, `build` and `--overwrite` alike. What they did not touch in it stays marked as the base's.
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
from ..labels.current_labels import Rows
from ..labels.label_store import HUMAN, Key, LabelStore, Provenance, StoredLabels
from ..labels.labeler import read_account
from ..readers import read_source
from ..system.config_files import read_run_config, run_megapixels
from ..system.run_folder import RunFolder
from .match_images import Unplaced, original_names, place

# What rounding leaves of a mask at the least: where less is the same, a person has been at it.
_ROUNDED_IOU = 0.98


@dataclass(frozen=True)
class ImportSummary:
    """How many images were taken as a person's, and how many are as the run had them; the images of the file that are
    none of the run's, each with the reason; and those that the file calls otherwise than the run (file name → path)."""

    imported: int
    unchanged: int
    unplaced: tuple[Unplaced, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The file names in `unplaced`."""
        return tuple(one.name for one in self.unplaced)

    def as_json(self) -> dict[str, Any]:
        """JSON-ready data, `unknown` included."""
        return {**asdict(self), "unknown": list(self.unknown)}


def import_labels(run: RunFolder, source: Path, *, everything: bool = False) -> ImportSummary:
    """Imports the images of annotated images (COCO or YOLO-seg, in any layout) that a person has changed.

    An image is found by its content where the file lies beside the JSON, else by its name in the dataset or in the
    user's folder, else by the name it had before Roboflow, Label Studio or another tool changed it: see `place`.
    A mask is changed where a pixel of it is; a polygon, where rounding cannot explain how it differs.
    With `everything` unchanged images count as checked by a person too, and each mask is taken as the file has it.
    What is wrong is found before anything is stored.

    Raises:
        MissingInputError, DataError: there is no such file, it is wrong, it has a class that the run has not, an image
            has another size than in the run, or no image of it is one of the run's.
    """
    account = read_account(run.labels)
    max_megapixels = run_megapixels(run)
    found = read_source(source, images="ignored", max_megapixels=max_megapixels)
    coco.refuse_errors(found.problems)
    coco.log_warnings(found.problems)
    rows = Rows.of(run.labels, run.human, account, account.root or Path(read_run_config(run).images))
    # Images that the last labelling did not name may be named again by the next.
    keys = {**rows.base.keys(account.fingerprint), **rows.keys}
    placed: list[tuple[TruthImage, str]] = []
    unplaced: list[Unplaced] = []
    renamed: dict[str, str] = {}
    for split, truth in found.splits.items():
        originals = original_names(found.files[split]) if found.format == "coco" else {}
        images = _with_our_classes(truth, account.classes).images
        one = place(images, originals, run.dataset, keys, rows.keys, max_megapixels)
        placed += [(image, one.paths[image.image_id]) for image in images if image.image_id in one.paths]
        unplaced += one.unplaced
        renamed |= one.renamed
    if not placed:
        raise _none_of_ours(source, run, unplaced)
    changed, unchanged = _changed(run, rows, keys, placed, account.classes, everything)
    with LabelStore(run.human) as store:
        for row in changed:
            store.append(row, Provenance(HUMAN, {}, account.classes.names))
    return ImportSummary(len(changed), unchanged, tuple(unplaced), renamed)


def _changed(
    run: RunFolder,
    rows: Rows,
    keys: Mapping[str, Key],
    placed: Sequence[tuple[TruthImage, str]],
    classes: Classes,
    everything: bool,
) -> tuple[list[StoredLabels], int]:
    """The rows of the images that a person has changed, and how many others there are."""
    index: Mapping[str, Any] = read_index(run.dataset)["images"] if run.dataset.is_dir() else {}
    now = {split: _by_file_name(run.dataset / split) for split in SPLITS}
    changed: list[StoredLabels] = []
    unchanged = 0
    for image, path in placed:
        entry = index.get(path)
        had = () if entry is None else now[entry["split"]].get(entry["file_name"], ())
        stored = rows.read(path) if path in rows.keys else rows.base.read(keys[path])
        _check_size(stored, image)
        instances, same = _as_left(image, had, exact=everything)
        if same and not everything:
            unchanged += 1
        else:
            changed.append(replace(stored, instances=instances, dropped={}, names=classes.names))
    return changed, unchanged


def _none_of_ours(source: Path, run: RunFolder, unplaced: Sequence[Unplaced]) -> DataError:
    if not unplaced:
        return DataError(f"{source} lists no image.", "Import what was exported from this run.")
    first = unplaced[0]
    said = f"No image of {source} is one of the run {run.root}; the first, {first.name}: {first.reason}."
    return DataError(said, first.hint)


def _with_our_classes(truth: GroundTruth, classes: Classes) -> GroundTruth:
    known = {class_key(name) for name in classes.names}
    used = {truth.classes.names[i.class_index] for image in truth.images for i in image.instances}
    strange = sorted(name for name in used if class_key(name) not in known)
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
            "Annotate the dataset's images as they are. Nothing has been imported.",
        )


def _as_left(image: TruthImage, had: Sequence[Instance], *, exact: bool) -> tuple[tuple[Instance, ...], bool]:
    """The image's labels as a person left them, and whether these are the ones it `had`, all untouched.

    An untouched one is the dataset's, with its mask, scores and source; each of the dataset's is found once at most.
    """
    rounded = not exact and any(one.polygons for one in image.instances)
    # A polygon has no holes: what an editor was given of a mask with some is that without them.
    given = [*had, *(clean_masks(had, 0, np.inf)[0] if rounded else ())]
    overlap = masks.iou_matrix([one.rle for one in image.instances], [one.rle for one in given])
    pairs = sorted((-float(overlap[at, of]), int(at), int(of)) for at, of in np.argwhere(overlap >= _ROUNDED_IOU))
    found: dict[int, int] = {}
    for _, at, of in pairs:
        one, theirs = image.instances[at], given[of]
        if at in found or of % len(had) in found.values() or one.class_index != theirs.class_index:
            continue
        same = overlap[at, of] == 1 and of < len(had)
        if same or (rounded and one.polygons and masks.differ_in_outline_alone(theirs.rle, one.rle)):
            found[at] = of % len(had)
    instances = tuple(
        had[found[at]] if at in found else Instance(one.class_index, one.rle, 1.0, source=HUMAN)
        for at, one in enumerate(image.instances)
    )
    return instances, len(found) == len(had) == len(instances)
