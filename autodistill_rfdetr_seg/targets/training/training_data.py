"""The dataset that training is asked to use, read by our own reader, and the folder that RF-DETR reads in its place.

RF-DETR's reader is given nothing but what this package wrote: a dataset that `build` made, as it stands, and of
anything else a copy of what was understood, its images hard-linked. So there is one judge of a file, and an empty
dataset costs a second and not a minute.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ... import coco
from ...core.config import MAX_MEGAPIXELS
from ...core.errors import DataError, MissingInputError, TrainingError
from ...core.types import GroundTruth, SegDataset
from ...dataset.dataset_index import INDEX, annotations_fingerprint, read_index
from ...readers import AnnotatedSource, joined_classes, read_source, write_clean
from ...readers.yolo.yolo_problem_kinds import NO_LABELS
from ...system.files import replacing_folder
from ...system.machine import same_disk
from .dataset_survey import Survey, survey_split

# rfdetr's name (`dataset_file`) of the format that this package writes.
READER = "roboflow"
# Not moved with what a training leaves, as its name begins with a dot.
_PREPARED = ".dataset"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """A dataset to train on: its folder, and what was understood of it.

    `fingerprint` names the content, None where that is known once it is prepared. `as_it_is` where `build` made the
    dataset and nobody has edited it since: RF-DETR reads that itself. An image of more than `max_megapixels` million
    pixels cannot be decoded.
    """

    root: Path
    source: AnnotatedSource
    fingerprint: str | None = None
    as_it_is: bool = False
    max_megapixels: float = MAX_MEGAPIXELS

    @property
    def splits(self) -> dict[str, GroundTruth]:
        """The splits that training reads; the test split where there is one with images."""
        found = self.source.splits
        return {name: found[name] for name in ("train", "valid", "test") if name in found and found[name].images}

    def folder(self, work: Path) -> Path:
        """The folder that RF-DETR reads, for a training that works in `work`."""
        return self.root if self.as_it_is else work / _PREPARED

    def copied_bytes(self, work: Path) -> int:
        """Bytes of the images that `prepare` has to copy, as they lie on another disk than `work`."""
        if self.as_it_is or same_disk(self.root, work):
            return 0
        return sum(image.path.stat().st_size for truth in self.splits.values() for image in truth.images)

    def prepare(self, work: Path, *, progress: bool = True) -> str:
        """Makes `folder(work)` what it is to be; what names its content.

        Raises:
            DataError: an image cannot be decoded.
        """
        if self.as_it_is and self.fingerprint is not None:
            return self.fingerprint
        info = {"description": "What autodistill-rfdetr-seg understood of a dataset, for training.", "version": "1.0"}
        with replacing_folder(self.folder(work)) as folder:
            written = write_clean(self.splits, folder, info=info, max_megapixels=self.max_megapixels, progress=progress)
        return self.fingerprint or str(written["fingerprint"])


def find_dataset(
    dataset: str | os.PathLike[str] | SegDataset, *, max_megapixels: float = MAX_MEGAPIXELS, progress: bool = False
) -> TrainingData:
    """The dataset that was meant, after making sure that there is something to learn from and to choose by.

    What is wrong in its files is left to `preflight`, which names it.

    Raises:
        MissingInputError: there is no such file or folder.
        DataError: it is no dataset, it cannot be told what is meant, or the test split has an error.
        TrainingError: train or valid holds no instance with a mask.
    """
    path = dataset.root if isinstance(dataset, SegDataset) else Path(dataset).expanduser()
    if not path.exists():
        raise MissingInputError(f"There is no dataset {path}.")
    source = read_source(path, images="checked", max_megapixels=max_megapixels, progress=progress)
    root = source.root.resolve()
    if "" in source.splits and len(source.splits) == 1:
        raise DataError(
            f"{path} is one set of images, and training needs a train and a valid split.",
            f"Put the images and {coco.ANNOTATIONS} of each into the folders train and valid.",
        )
    as_it_is = False
    digest = dataset.fingerprint if isinstance(dataset, SegDataset) else None
    if (root / INDEX).is_file():
        digest = annotations_fingerprint(root)
        as_it_is = digest == read_index(root)["fingerprint"]
        if not as_it_is:
            _log.warning("The annotations in %s were edited after it was built: they are taken as they are now.", root)
    data = TrainingData(root, source, digest, as_it_is, max_megapixels)
    _check_splits(data)
    if "test" in source.splits:
        # Preflight looks at what is trained on; what is wrong in the test split is told here.
        problems = [problem for problem in source.problems_of("test") if problem.split in ("test", None)]
        coco.refuse_errors(problems)
        coco.log_warnings(problems)
    return data


def survey(data: TrainingData) -> tuple[Survey, Survey]:
    """What the train and the valid split hold."""
    classes = joined_classes(data.splits)
    train, valid = (
        survey_split(data.splits[split], split, classes, data.source.problems_of(split))
        if split in data.splits
        else Survey.empty(split, classes, data.source.problems_of(split))
        for split in ("train", "valid")
    )
    return train, valid


def _check_splits(data: TrainingData) -> None:
    """Refuses a dataset without an instance to learn from or to choose by, where no error in its files explains it."""
    hints: Mapping[str, str] = {
        "train": "Look at the raw labels, and loosen the filters (confidence, area, NMS) or the prompts.",
        "valid": "Give it a larger share of the images, or label more of them.",
    }
    for split, hint in hints.items():
        truth = data.source.splits.get(split)
        if truth is None:
            known = ", ".join(name for name in data.source.splits) or "none"
            raise DataError(
                f"{data.root} has no {split} split, only {known}.{coco.listing(data.root)}",
                f"Put images and annotations of it into {data.root / split}.",
            )
        if any(not one.crowd for image in truth.images for one in image.instances):
            continue
        problems = data.source.problems_of(split)
        if any(problem.severity == "error" for problem in problems):
            continue
        what = f"no instance in its {len(truth.images)} images" if truth.images else "no image"
        if no_labels := [problem for problem in problems if problem.kind == NO_LABELS]:
            what, hint = f"{what}: {no_labels[0].message}", NO_LABELS.hint
        if left_out := sum(problem.kind.leaves_out for problem in problems):
            what = f"no instance with a mask in its {len(truth.images)} images ({left_out} objects are left out)"
            hint = "`autodistill-seg validate` says why."
        if crowds := sum(len(image.instances) for image in truth.images):
            what = f"nothing but {crowds} crowds in its {len(truth.images)} images, and RF-DETR leaves crowds out"
            hint = "If they are objects (CVAT writes every brush mask so): `autodistill-seg repair --crowds objects`."
        why = ", so no checkpoint can be chosen" if split == "valid" else ""
        raise TrainingError(f"The {split} split of {data.root} has {what}{why}.", hint)
