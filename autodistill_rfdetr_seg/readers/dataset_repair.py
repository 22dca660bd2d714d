"""Writes a dataset as a clean COCO-seg folder, with a list of every change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from .. import coco
from ..coco import problem_kinds as kinds
from ..core.config import MAX_MEGAPIXELS
from ..core.errors import DataError, OutputExistsError
from ..core.types import GroundTruth, TruthImage, TruthInstance
from ..system.files import check_apart, check_output, replacing_folder, write_json
from .annotated_source import AnnotatedSource, read_source
from .clean_dataset import write_clean
from .problem_summary import group_rows, problem_row
from .yolo.yolo_problem_kinds import BOX, POSE

CHANGES = "changes.json"


@dataclass(frozen=True)
class Repaired:
    """What `repair` wrote: the folder, images and instances of each split, and every problem with its treatment.

    `left_out` counts the problems after which something of the source is not in the folder: errors, and the boxes and
    poses of YOLO.
    """

    root: Path
    counts: Mapping[str, Mapping[str, int]]
    problems: tuple[coco.Problem, ...]
    left_out: int

    def as_json(self) -> dict[str, Any]:
        """JSON-ready: what was written, and a row for each kind of problem."""
        return {
            "output": str(self.root),
            "counts": {split: dict(count) for split, count in self.counts.items()},
            "left_out": self.left_out,
            "kinds": group_rows(self.problems),
        }


def repair(
    source: str | Path,
    output: str | Path,
    *,
    trust_images: bool = False,
    crowds: Literal["keep", "objects"] = "keep",
    max_megapixels: float = MAX_MEGAPIXELS,
    overwrite: bool = False,
    progress: bool = True,
) -> Repaired:
    """Writes the valid part of `source` as COCO-seg into `output`, with the same splits and hard-linked images.

    What is obviously meant is corrected, what cannot be read is left out, and `output/changes.json` lists each case.
    Nothing with a mask and an image is left out, except an image whose stated size is not its file's: with
    `trust_images` a size that is off by a pixel or two, or swapped, is taken from the image, where masks then move.
    With `crowds` "objects" each annotation with `iscrowd` 1 becomes an object like others: CVAT writes every brush mask
    as a crowd. An image of more than `max_megapixels` million pixels is left out. `source` is not written to.

    Raises:
        MissingInputError: there is nothing annotated at `source`.
        DataError: it is unclear what is meant, or nothing of it is valid.
        OutputExistsError: `output` is not empty, and was not written by this function, or `overwrite` is not set.
    """
    source, output = Path(source), Path(output)
    check_output(output, resume=False, overwrite=overwrite)
    if output.is_dir() and any(output.iterdir()) and not (output / CHANGES).is_file():
        raise OutputExistsError(f"{output} contains files that `repair` has not written.", "Give another --output.")
    check_apart(output, source)
    found = read_source(
        source, images="checked", trust_images=trust_images, max_megapixels=max_megapixels, progress=progress
    )
    problems = list(found.problems)
    splits = {split: _joined(_named_once(truth)) for split, truth in found.splits.items()}
    if crowds == "objects":
        splits = {split: _without_crowds(truth) for split, truth in splits.items()}
    if not any(truth.images for truth in splits.values()):
        coco.refuse_errors(problems)
        raise DataError(f"There is no image in {source}.")
    with replacing_folder(output) as folder:
        unreadable: list[coco.Problem] = []

        def leave_out(split: str, image: TruthImage, error: DataError) -> None:
            kind, file = kinds.IMAGE_UNREADABLE, found.files[split]
            unreadable.append(coco.Problem(kind, error.message, file, image.file_id, split=split))

        info = {"description": "Repaired by autodistill-rfdetr-seg.", "version": "1.0"}
        written = write_clean(
            splits, folder, info=info, leave_out=leave_out, max_megapixels=max_megapixels, progress=progress
        )
        problems += unreadable
        left_out = sum(_leaves_out(one.kind) for one in problems)
        result = Repaired(output, written["counts"], tuple(problems), left_out)
        write_json(folder / CHANGES, _changes_json(found, result))
        _check(folder, max_megapixels)
    return result


def _changes_json(found: AnnotatedSource, result: Repaired) -> dict[str, Any]:
    """The content of `changes.json`."""
    return {
        "source": str(found.root),
        **result.as_json(),
        "changes": [{**problem_row(one), "done": one.kind.treatment} for one in result.problems],
    }


def _leaves_out(kind: coco.Kind) -> bool:
    """Whether an object or an image is missing in the output; objects without a pixel are ignored."""
    return kind.leaves_out and (kind.severity == "error" or kind in (BOX, POSE))


def _check(folder: Path, max_megapixels: float) -> None:
    """Reads the output as any user would; an error in it is a bug of this package."""
    coco.refuse_errors(read_source(folder, images="checked", max_megapixels=max_megapixels).problems)


def _named_once(truth: GroundTruth) -> GroundTruth:
    """Joins classes of the same name under the first."""
    names = tuple(dict.fromkeys(truth.classes.names))
    index = [names.index(name) for name in truth.classes.names]
    images = (
        replace(image, instances=tuple(replace(one, class_index=index[one.class_index]) for one in image.instances))
        for image in truth.images
    )
    return replace(truth, classes=replace(truth.classes, names=names), images=tuple(images))


def _joined(truth: GroundTruth) -> GroundTruth:
    """Joins rows of the same image file, with the same mask of the same class once."""
    images: dict[Path, TruthImage] = {}
    for image in truth.images:
        other = images.get(image.path)
        images[image.path] = image if other is None else _with(other, image)
    return replace(truth, images=tuple(images.values()))


def _with(image: TruthImage, other: TruthImage) -> TruthImage:
    there = {(one.class_index, one.rle) for one in image.instances}
    further: tuple[TruthInstance, ...] = tuple(
        one for one in other.instances if (one.class_index, one.rle) not in there
    )
    return replace(image, instances=image.instances + further)


def _without_crowds(truth: GroundTruth) -> GroundTruth:
    images = (
        replace(image, instances=tuple(replace(one, crowd=False) for one in image.instances)) for image in truth.images
    )
    return replace(truth, images=tuple(images))
